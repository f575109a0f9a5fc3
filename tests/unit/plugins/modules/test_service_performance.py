# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""service_performance as a task: a real server, a real log, windows from a run or from an option."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import FLAG_BURST
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._seconds import export
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.modules import service_performance


def run(capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    """The result of the module."""
    with patch_module_args(options), pytest.raises(SystemExit):
        service_performance.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def operation(url: str, **more: Any) -> dict[str, Any]:
    return {"name": "nova show versions", "service": "nova", "via": "public", "url": url, **more}


def test_measures_and_compares(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The phases of the run are the windows; a second look at the log with other windows sends nothing."""
    record = RunDirectory.create(tmp_path / "runs")
    now = time.time()
    record.begin_phase("before", now=now - 100)
    record.begin_phase("control plane", now=now)
    place = {"directory": str(tmp_path / "o")}
    result = run(capsys, operations=[operation(url)], duration=4, rate=50, run_dir=str(record.path), **place)

    assert result["observer"]["state"] == "ended"
    assert [window["name"] for window in result["windows"]] == ["before", "during"]
    measured, canary = result["performance"]
    assert (measured["name"], measured["mode"], measured["auth"]) == ("nova show versions", "new", False)
    assert canary["mode"] == "canary"
    (during,) = measured["windows"].values()
    assert during["requests"] > 50
    assert during["failed"] == 0
    assert 0 < during["sent_ms"]["p50"] <= during["planned_ms"]["p50"] <= during["planned_ms"]["max"]

    windows = [{"name": "before", "begin": now, "end": now + 2}, {"name": "after", "begin": now + 2, "end": now + 9}]
    again = run(capsys, state="compared", windows=windows, **place)

    assert set(again["performance"][0]["windows"]) == {"before", "after"}
    assert set(again["performance"][0]["ratios"]) == {"after"}
    assert sum(one["requests"] for one in again["performance"][0]["windows"].values()) <= during["requests"] + 100


def test_without_windows_the_whole_is_one(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing has to be known of phases."""
    result = run(capsys, operations=[operation(url)], duration=0.5, rate=50, directory=str(tmp_path))

    assert set(result["performance"][0]["windows"]) == {"whole"}


def test_failures_are_not_answered_with_more_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A service that is down gets the requests that were planned, and no burst of them."""
    result = run(
        capsys, operations=[operation("http://127.0.0.1:1/")], duration=2, rate=20, directory=str(tmp_path / "o")
    )

    (whole,) = result["performance"][0]["windows"].values()
    assert whole["failed"] == whole["requests"]
    assert whole["planned_ms"]["p50"] is None
    exported = io.StringIO()
    export(tmp_path / "o", exported)
    records = [json.loads(line) for line in exported.getvalue().splitlines()]
    sent = [one for one in records if one["kind"] == "sample" and one["target"]["name"] == "nova show versions"]
    assert 20 <= whole["failed"] <= len(sent) <= 41
    assert [one for one in sent if one["flags"] & FLAG_BURST] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "operations"),
        ({"operations": []}, "operations: name at least one operation"),
        ({"operations": [{"name": "a"}]}, "operations[0]: 'url' is missing"),
        ({"operations": [{"name": "a", "url": "http://127.0.0.1/", "authenticated": True}]}, "needs a token"),
        ({"state": "compared"}, "holds no samples of an observer"),
        ({"state": "compared", "windows": [{"name": "a", "begin": 5, "end": 5}]}, "windows[0]: must end at least"),
        ({"state": "compared", "windows": [{"name": "a", "begin": 5, "end": 9}] * 2}, "'a' is there twice"),
        ({"state": "compared", "run_dir": "/nonexistent"}, "is not a run directory"),
    ],
)
def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, Any], message: str) -> None:
    """A mistake is one line that names the option."""
    result = run(capsys, directory=str(tmp_path / "o"), **options)

    assert result["failed"]
    assert message in result["msg"]
    assert "\n" not in result["msg"]


def test_check_mode_sends_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In check mode the operations are listed and nothing happens, even before there is a run."""
    options = {"operations": [operation("http://127.0.0.1:1/")], "run_dir": str(tmp_path / "none")}
    result = run(capsys, directory=str(tmp_path / "o"), _ansible_check_mode=True, **options)

    assert "would send 2 probes per second to 1 targets" in result["observer"]["message"]
    assert list(tmp_path.iterdir()) == []
