# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules resource_save and resource_get, as tasks."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.openstack.upgrade_test.plugins.module_utils._memory import MEMORY
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.modules import resource_get, resource_save


@pytest.fixture
def run_dir(tmp_path: Path) -> str:
    return str(RunDirectory.create(tmp_path / "runs").path)


def call(capsys: pytest.CaptureFixture[str], module: ModuleType, **options: Any) -> dict[str, Any]:
    with patch_module_args(options), pytest.raises(SystemExit):
        module.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.mark.parametrize("module", [resource_save, resource_get])
def test_documentation_and_arguments_agree(module: ModuleType) -> None:
    """Every option is documented with its type and whether it is required."""
    options = yaml.safe_load(module.DOCUMENTATION)["options"]

    assert {key: (one["type"], one.get("required", False)) for key, one in options.items()} == {
        key: (one["type"], one.get("required", False)) for key, one in module.ARGUMENT_SPEC.items()
    }


def test_a_value_comes_back(run_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What one task saves another recalls; saving it again changes nothing."""
    given = {"run_dir": run_dir, "project": "nova", "key": "server", "value": {"id": "1"}}

    assert call(capsys, resource_save, **given)["changed"]
    assert not call(capsys, resource_save, **given)["changed"]
    assert call(capsys, resource_get, run_dir=run_dir, project="nova", key="server")["value"] == {"id": "1"}
    assert call(capsys, resource_get, run_dir=run_dir, project="nova")["values"] == {"server": {"id": "1"}}


def test_several_values_at_once(run_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A dictionary of values goes beside what is there."""
    call(capsys, resource_save, run_dir=run_dir, project="nova", key="a", value="1")

    result = call(capsys, resource_save, run_dir=run_dir, project="nova", values={"b": 2, "c": None})
    assert result["values"] == {"a": "1", "b": 2, "c": None}


def test_what_is_missing_is_an_error_unless_there_is_a_default(
    run_dir: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty id would be used for what nobody meant, so a key that is not there fails and names those that are."""
    call(capsys, resource_save, run_dir=run_dir, project="nova", key="a", value="1")

    failed = call(capsys, resource_get, run_dir=run_dir, project="nova", key="b")
    assert failed["msg"] == "key: nothing was saved under nova b; saved there is a."
    assert call(capsys, resource_get, run_dir=run_dir, project="nova", key="b", default="x")["value"] == "x"


def test_check_mode_writes_nothing(run_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In check mode it says that it would, and does not."""
    result = call(capsys, resource_save, run_dir=run_dir, project="nova", key="a", value="1", _ansible_check_mode=True)

    assert result["changed"]
    assert not (Path(run_dir) / MEMORY).exists()


def test_a_secret_is_refused(run_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A value that the run directory may not keep fails the task with what to do instead."""
    result = call(capsys, resource_save, run_dir=run_dir, project="nova", values={"password": "hunter22"})

    assert result["failed"] is True
    assert "save the path of the file" in result["msg"]


def test_grenades_database_is_taken_in(run_dir: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All sections of a grenade_db.ini are remembered, once."""
    path = tmp_path / "grenade_db.ini"
    path.write_text("[network]\nnet_id = 7f\n")

    assert call(capsys, resource_save, run_dir=run_dir, from_ini=str(path))["changed"]
    assert not call(capsys, resource_save, run_dir=run_dir, from_ini=str(path))["changed"]
    assert call(capsys, resource_get, run_dir=run_dir, project="network", key="net_id")["value"] == "7f"


@pytest.mark.parametrize("options", [{"key": "a"}, {"project": "nova"}, {"project": "nova", "key": "a"}])
def test_incomplete_options(run_dir: str, options: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """A key needs its project and its value."""
    assert call(capsys, resource_save, run_dir=run_dir, **options)["failed"] is True
