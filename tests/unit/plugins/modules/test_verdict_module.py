# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.modules import verdict as module

Call = Any


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run(**params: Any) -> tuple[Any, dict[str, Any]]:
        with patch_module_args(params), pytest.raises(SystemExit) as end:
            module.main()
        return end.value.code, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.create(tmp_path / "runs", services=["nova"])
    run.begin_phase("upgrade")
    return run


def fail_driver(run: RunDirectory) -> None:
    named = {"validator": "driver", "check": "upgrade_completed", "service": "", "subject": "lab"}
    run.append_outcome({**named, "status": "fail", "phase": "upgrade", "message": "The command ended with 2."})


@pytest.mark.parametrize(
    ("fail_on", "inconclusive", "not_met"),
    [("not_met", 0, 1), ("inconclusive", 1, 1), ("error", 0, 0), ("never", 0, 0)],
)
def test_fail_on(call: Call, run: RunDirectory, fail_on: str, inconclusive: int, not_met: int) -> None:
    """The task fails from the verdict on that was asked for, and says the verdict either way."""
    run.close(completed=True)
    first = call(run_dir=str(run.path), fail_on=fail_on)
    fail_driver(run)
    second = call(run_dir=str(run.path), fail_on=fail_on)

    assert (first[0], first[1]["verdict"]) == (inconclusive, "inconclusive")
    assert (second[0], second[1]["verdict"]) == (not_met, "not_met")
    assert second[1]["findings"][0]["id"] == "DRV-1"


def test_results_are_written(call: Call, run: RunDirectory) -> None:
    """The results lie in the run directory, and judging again gives the same bytes."""
    run.close(completed=True)
    path = Path(call(run_dir=str(run.path))[1]["results_file"])
    first = path.read_bytes()
    call(run_dir=str(run.path))

    assert path.read_bytes() == first
    assert json.loads(first)["verdict"] == "inconclusive"


def test_check_mode_writes_nothing(call: Call, run: RunDirectory, tmp_path: Path) -> None:
    """With --check the run is judged, and nothing is written; a run that --check did not open is no error."""
    code, result = call(run_dir=str(run.path), _ansible_check_mode=True)

    assert (code, result["verdict"]) == (0, "inconclusive")
    assert not (run.path / "results.json").exists()
    assert call(run_dir=str(tmp_path / "none"), _ansible_check_mode=True)[0] == 0


@pytest.mark.parametrize("kind", ["missing", "empty"])
def test_no_run_directory_is_a_clear_error(call: Call, tmp_path: Path, kind: str) -> None:
    """A folder that is none is named in one line."""
    folder = tmp_path / kind
    if kind == "empty":
        folder.mkdir()
    code, result = call(run_dir=str(folder))

    assert code == 1
    assert str(folder) in result["msg"]
    assert "\n" not in result["msg"]


def test_unknown_requirement_is_refused(call: Call, run: RunDirectory) -> None:
    """An attestation of something that does not exist would be lost silently."""
    attestation = {"requirement": "U99", "by": "x", "url": "y"}
    code, result = call(run_dir=str(run.path), attestations=[attestation])

    assert code == 1
    assert "'U99' is no requirement" in result["msg"]


def test_findings_carry_no_secret(call: Call, run: RunDirectory) -> None:
    """What a module returns is as clean as what lies in the run directory."""
    run.write_credentials("password: c4n4ry-S3cr3t\n")
    line = {
        "validator": "driver",
        "check": "x",
        "service": "",
        "subject": "s",
        "status": "fail",
        "message": "c4n4ry-S3cr3t",
    }
    with (run.path / "outcomes.jsonl").open("a") as file:  # as a writer that does not redact would
        file.write(json.dumps(line) + "\n")
    result = call(run_dir=str(run.path), fail_on="never")[1]

    assert result["findings"]
    assert "c4n4ry" not in json.dumps(result)
    assert "c4n4ry" not in (run.path / "results.json").read_text()
