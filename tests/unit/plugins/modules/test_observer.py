# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""observer as a task."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._log import LogWriter
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._observer import identity
from ansible_collections.openstack.upgrade_test.plugins.modules import observer


def run(capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    """The result of the module."""
    with patch_module_args(options), pytest.raises(SystemExit):
        observer.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def heartbeat(directory: Path, state: str = "running", **more: Any) -> None:
    """Let the test itself pose as an observer."""
    counts = {"up": 3, "down": 1, "void": 0}
    status = {"state": state, "time": time.time(), **identity(), "counts": counts, **more}
    (directory / "status.json").write_text(json.dumps(status))


def test_status_only_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status tells what the heartbeat says and writes nothing."""
    heartbeat(tmp_path)
    result = run(capsys, directory=str(tmp_path))

    assert result["changed"] is False
    assert (result["observer"]["state"], result["observer"]["samples"]) == ("running", 4)
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_stop_in_check_mode_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Check mode says that it would be ended."""
    heartbeat(tmp_path)
    result = run(capsys, directory=str(tmp_path), state="stopped", _ansible_check_mode=True)

    assert result["changed"] is True
    assert not (tmp_path / "stop").exists()


def test_stop_of_an_ended_observer_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stopping twice is no change."""
    heartbeat(tmp_path, "ended")
    result = run(capsys, directory=str(tmp_path), state="stopped")

    assert (result["changed"], result["observer"]["state"]) == (False, "ended")


def test_stop_that_takes_too_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An observer that does not end is an error that names the option, and its stop file stays."""
    heartbeat(tmp_path)
    result = run(capsys, directory=str(tmp_path), state="stopped", timeout=0.2)

    assert result["msg"].startswith("timeout: the observer")
    assert (tmp_path / "stop").exists()


def test_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No folder, no observer: lost in the status, an error when it is to be stopped."""
    missing = str(tmp_path / "missing")

    assert run(capsys, directory=missing)["observer"]["state"] == "lost"
    assert run(capsys, directory=missing, state="stopped")["msg"].startswith("directory: ")


def recorded(directory: Path) -> None:
    """A log of one lane without any sample."""
    lane = {"name": "a", "service": "s", "via": "public", "mode": "new", "rate": 1.0, "address": "a:1"}
    writer = LogWriter(directory)
    writer.write_run(
        {"boot_id": "b", "clocks": [1, 10**18, 0], "timeout": 1.0, "slow_after": 1.0, "lanes": [lane]},
    )
    writer.close()


def test_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The log is written to dest as lines of JSON; in check mode nothing is."""
    recorded(tmp_path)
    dest = tmp_path / "out.jsonl"
    options = {"directory": str(tmp_path), "state": "exported", "dest": str(dest)}
    checked = run(capsys, **options, _ansible_check_mode=True)
    written = dest.exists()
    result = run(capsys, **options)

    assert (checked["changed"], written, result["changed"]) == (True, False, True)
    assert json.loads(dest.read_text())["kind"] == "run"


def test_export_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Mistakes name their option."""
    missing = run(capsys, directory=str(tmp_path), state="exported", dest=str(tmp_path / "out.jsonl"))

    assert "directory: " in missing["msg"]
    assert "dest" in run(capsys, directory=str(tmp_path), state="exported")["msg"]
