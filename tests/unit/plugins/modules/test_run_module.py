# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.openstack.upgrade_test.plugins.modules import run as module

Result = tuple[Any, dict[str, Any]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    def run(**params: Any) -> Result:
        with patch_module_args({"runs_dir": str(tmp_path / "runs"), **params}), pytest.raises(SystemExit) as end:
            module.main()
        return end.value.code, json.loads(capsys.readouterr().out)

    return run


def test_life_of_a_run(call: Any) -> None:
    """A run is opened, marked, found and closed, and each step says where it lies."""
    opened = call(state="opened", phase="before", cloud="lab", services=["nova"])[1]
    marked = call(state="marked", phase="upgrade", mark="half")[1]
    again = call(state="marked", phase="upgrade")[1]
    current = call(state="current")[1]
    closed = call(state="closed")[1]
    twice = call(state="closed")[1]

    assert [one["changed"] for one in (opened, marked, again, current, closed, twice)] == [
        True,
        True,
        False,
        False,
        True,
        False,
    ]
    assert [one["run"]["phase"] for one in (opened, marked, closed)] == ["before", "upgrade", "end"]
    assert [one["run"]["state"] for one in (opened, current, closed, twice)] == ["open", "open", "closed", "closed"]
    assert len({one["run"]["run_dir"] for one in (opened, marked, current, closed)}) == 1
    assert opened["run"]["services"] == ["nova"]


def test_second_open_names_the_first(call: Any) -> None:
    """A second run is refused with the id of the first and the command that closes it."""
    first = call(state="opened")[1]["run"]["run_id"]
    code, result = call(state="opened")

    assert code == 1
    assert first in result["msg"]
    assert "openstack.upgrade_test.cleanup" in result["msg"]


def test_interrupted(call: Any) -> None:
    """A run whose procedure did not end is closed as interrupted."""
    call(state="opened")

    assert call(state="closed", completed=False)[1]["run"]["state"] == "interrupted"


@pytest.mark.parametrize("params", [{"state": "current"}, {"state": "closed"}, {"state": "marked", "mark": "x"}])
def test_no_run_is_a_clear_error(call: Any, params: dict[str, str]) -> None:
    """Without a run the error is one line that says what to do."""
    code, result = call(**params)

    assert code == 1
    assert "there is no run" in result["msg"]
    assert "\n" not in result["msg"]


def test_closed_run_cannot_be_marked(call: Any) -> None:
    """What is closed stays as it is."""
    call(state="opened")
    call(state="closed")

    assert call(state="marked", mark="late")[0] == 1


def test_check_mode_writes_nothing(call: Any, tmp_path: Path) -> None:
    """With --check a whole procedure can be gone through, and nothing exists afterwards."""
    opened = call(state="opened", phase="before", _ansible_check_mode=True)
    marked = call(state="marked", phase="upgrade", _ansible_check_mode=True)
    closed = call(state="closed", _ansible_check_mode=True)

    assert [code for code, _result in (opened, marked, closed)] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == []


def test_check_mode_leaves_an_open_run_alone(call: Any) -> None:
    """With --check an open run is neither marked nor closed."""
    call(state="opened", phase="before")
    call(state="marked", phase="upgrade", mark="x", _ansible_check_mode=True)
    call(state="closed", _ansible_check_mode=True)
    run = call(state="current")[1]["run"]

    assert (run["phase"], run["state"]) == ("before", "open")


def test_unusable_folder_is_a_clear_error(call: Any, tmp_path: Path) -> None:
    """A folder that cannot be made is named with its option."""
    (tmp_path / "file").write_text("")
    code, result = call(state="opened", runs_dir=str(tmp_path / "file" / "runs"))

    assert code == 1
    assert result["msg"].startswith("runs_dir:")
