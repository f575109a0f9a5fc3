# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.modules import driver


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return RunDirectory.create(tmp_path / "runs").path


def call(capsys: pytest.CaptureFixture[str], **params: Any) -> tuple[Any, dict[str, Any]]:
    with patch_module_args(params), pytest.raises(SystemExit) as ended:
        driver.main()
    return ended.value.code, json.loads(capsys.readouterr().out)


def test_a_failure_fails_the_task(capsys: pytest.CaptureFixture[str], run_dir: Path) -> None:
    """A command that fails fails the task, with its exit code and its last words."""
    argv = [sys.executable, "-c", "print('no space left'); raise SystemExit(5)"]

    code, result = call(capsys, run_dir=str(run_dir), argv=argv, name="lab")

    assert code == 1
    assert result["driver"]["rc"] == 5
    assert result["msg"] == "The deployment command 'lab' ended with exit code 5: no space left"
    assert result["outcomes"][0]["status"] == "fail"


def test_collect_leaves_the_judgement_to_later(capsys: pytest.CaptureFixture[str], run_dir: Path) -> None:
    """With collect a failed command is only reported."""
    code, result = call(capsys, run_dir=str(run_dir), argv=[sys.executable, "-c", "raise SystemExit(5)"], collect=True)

    assert code == 0
    assert result["outcomes"][0]["status"] == "fail"


def test_check_mode_runs_nothing(capsys: pytest.CaptureFixture[str], run_dir: Path) -> None:
    """In check mode no command is started and no file appears."""
    witness = run_dir / "witness"
    argv = [sys.executable, "-c", f"open({str(witness)!r}, 'w')"]

    code, result = call(capsys, run_dir=str(run_dir), argv=argv, _ansible_check_mode=True)

    assert (code, result["changed"]) == (0, True)
    assert not witness.exists()
    assert not (run_dir / "evidence").exists()


def test_a_wrong_run_directory_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A run directory that does not exist is a one-line error."""
    code, result = call(capsys, run_dir=str(tmp_path / "nothing"), state="status")

    assert code == 1
    assert result["msg"].startswith("run_dir: ")
    assert "traceback" not in json.dumps(result).lower()


def test_stopping_nothing_changes_nothing(capsys: pytest.CaptureFixture[str], run_dir: Path) -> None:
    """Where no command was started there is nothing to stop."""
    code, result = call(capsys, run_dir=str(run_dir), state="stopped")

    assert (code, result["changed"], result["driver"]) == (0, False, {"state": "absent"})
