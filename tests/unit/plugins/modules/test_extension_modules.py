# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules extension_phase, grenade_plugin and outcome, as tasks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._small_cloud import PASSWORD, clouds_yaml
from ansible_collections.openstack.upgrade_test.tests.unit.plugins.modules.test_validators import (
    documented,
    module,
    run,
)

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB")
LIBRARY = Path(__file__).parents[4] / "roles/extensions/files"


@pytest.mark.parametrize("name", ["extension_phase", "grenade_plugin", "outcome"])
def test_documentation_and_arguments_agree(name: str) -> None:
    """Every option is documented with the type, the default and the choices that it has."""
    facts = ("type", "default", "choices", "required", "elements")

    assert {key: [one.get(fact) for fact in facts] for key, one in documented(name).items()} == {
        key: [one.get(fact) for fact in facts] for key, one in module(name).ARGUMENT_SPEC.items()
    }


@pytest.fixture
def run_dir(tmp_path: Path) -> str:
    return str(RunDirectory.create(tmp_path / "runs", services=["keystone"]).path)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    made = tmp_path / "bulletin"
    made.mkdir()
    (made / "service.yml").write_text("name: bulletin\n")
    (made / "create.yml").touch()
    (made / "verify.yml").touch()
    return str(made)


def phase(capsys: Any, run_dir: str, folder: str, state: str, stage: str, **more: Any) -> dict[str, Any]:
    given = {"run_dir": run_dir, "folder": folder, "state": state, "stage": stage, "phase": "after", **more}
    return run(capsys, "extension_phase", **given)


def test_a_phase_from_begin_to_end(run_dir: str, folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The task file is named at the beginning, and the end makes an outcome; the second time there is nothing to do."""
    begun = phase(capsys, run_dir, folder, "begun", "create")
    assert (begun["due"], begun["tasks"], begun["outcomes"]) == (True, f"{folder}/create.yml", [])

    [outcome] = phase(capsys, run_dir, folder, "ended", "create")["outcomes"]
    assert (outcome["validator"], outcome["service"], outcome["check"], outcome["status"], outcome["phase"]) == (
        "extension",
        "bulletin",
        "created",
        "pass",
        "after",
    )
    again = phase(capsys, run_dir, folder, "begun", "create")
    assert (again["due"], again["outcomes"][0]["status"]) == (False, "pass")


def test_a_task_that_failed_is_named(run_dir: str, folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its name and what it said are the outcome's sentence; the phase does not count as done."""
    phase(capsys, run_dir, folder, "begun", "create")
    result = phase(capsys, run_dir, folder, "ended", "create", failed_task="Pin a notice", failure="HTTP 500")

    assert result["failed"] is True
    assert result["outcomes"][0]["message"] == "bulletin, create: Pin a notice: HTTP 500"
    assert phase(capsys, run_dir, folder, "begun", "create")["due"]


def test_a_phase_without_a_task_file_says_nothing(
    run_dir: str, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A service that has nothing to verify without API makes no claim that it did."""
    result = phase(capsys, run_dir, folder, "begun", "verify_noapi")

    assert (result["due"], result["outcomes"]) == (False, [])


def test_a_description_alone(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What service.yml says can be asked for without a run."""
    assert run(capsys, "extension_phase", state="described", folder=folder)["extension"]["name"] == "bulletin"


def test_a_wrong_folder_is_one_line(run_dir: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The option is named."""
    assert phase(capsys, run_dir, str(tmp_path), "begun", "create")["msg"].startswith("folder: ")


def test_a_check_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    """It has the form of all outcomes, fails the task when it is bad, and does not when it is collected."""
    words = {
        "service": "bulletin",
        "check": "notice_kept",
        "subject": "n1",
        "sentence": "It changed.",
        "phase": "after",
    }

    bad = run(capsys, "outcome", status="fail", expected="a", found="b", **words)
    assert (bad["failed"], bad["msg"], bad["outcomes"][0]["expected"]) == (True, "It changed.", "a")
    assert "failed" not in run(capsys, "outcome", status="fail", collect=True, **words)
    assert "failed" not in run(capsys, "outcome", status="unknown", **words)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A plugin that uses what those of OpenStack use."""
    made = tmp_path / "tree/devstack/upgrade"
    made.mkdir(parents=True)
    (made / "settings").write_text("register_project_for_upgrade tree\nregister_db_to_save tree tree_api\n")
    (made / "resources.sh").write_text(
        "#!/bin/bash\nset -o errexit\nsource $GRENADE_DIR/grenaderc\nsource $GRENADE_DIR/functions\n"
        "source $TOP_DIR/openrc admin admin\nset -o xtrace\n"
        'case $1 in\n"create") resource_save tree id "$(openstack thing create -f value -c id)" ;;\n'
        '"verify") source $TOP_DIR/openrc admin admin; [[ "$(resource_get tree id)" == 4711 ]] '
        '|| die $LINENO "lost on $2" ;;\n'
        '"destroy") openstack thing delete $(resource_get tree id) ;;\nesac\n'
    )
    return tmp_path / "tree"


@pytest.fixture
def bin_dir(tmp_path: Path) -> Path:
    """A command openstack that notes who calls it, and gives an id."""
    made = tmp_path / "bin"
    made.mkdir()
    path = made / "openstack"
    note = tmp_path / "called"
    path.write_text(f'#!/bin/bash\necho "$OS_USERNAME ${{#OS_PASSWORD}} $*" >> {note}\necho 4711\n')
    path.chmod(0o755)
    return made


def grenade(capsys: Any, run_dir: str, plugin: Path, bin_dir: Path, stage: str, **more: Any) -> dict[str, Any]:
    tmp = bin_dir.parent
    options = {
        "run_dir": run_dir,
        "folder": str(plugin),
        "stage": stage,
        "library": str(LIBRARY),
        "environment": {"PATH": f"{bin_dir}:{os.environ['PATH']}"},
        "cloud": "small",
        "clouds_yaml": clouds_yaml(tmp, "http://127.0.0.1:9/v3"),
    }
    return run(capsys, "grenade_plugin", **{**options, **more})


def test_a_plugin_through_its_phases(
    run_dir: str, plugin: Path, bin_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It logs in as the user of clouds.yaml without asking any API, remembers over phases, and leaves no password."""
    for stage, side in (("create", None), ("verify", "pre-upgrade"), ("verify", "post-upgrade"), ("destroy", None)):
        more = {"side": side} if side else {}
        [outcome] = grenade(capsys, run_dir, plugin, bin_dir, stage, phase="before", **more)["outcomes"]
        assert (outcome["status"], outcome["service"]) == ("pass", "tree"), outcome

    assert (tmp_path / "called").read_text().splitlines() == [
        f"user {len(PASSWORD)} thing create -f value -c id",
        f"user {len(PASSWORD)} thing delete 4711",
    ]
    kept = [path.read_text() for path in Path(run_dir).rglob("*") if path.is_file()]
    assert not any(PASSWORD in text for text in kept)
    assert not (Path(run_dir) / "grenade").exists()


def test_a_loss_is_told_in_the_scripts_own_words(
    run_dir: str, plugin: Path, bin_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the script died of is the sentence, and the end of its output is the evidence."""
    grenade(capsys, run_dir, plugin, bin_dir, "create")
    RunDirectory(run_dir).write_json("memory.json", {"projects": {"tree": {"id": "0815"}}})
    result = grenade(capsys, run_dir, plugin, bin_dir, "verify", side="post-upgrade")
    [outcome] = result["outcomes"]

    assert result["failed"] is True
    assert outcome["message"].endswith("[ERROR] resources.sh:9 lost on post-upgrade")
    assert any("Ended with exit code 1" in line for line in outcome["evidence"]["last_lines"])
    assert (Path(run_dir) / outcome["evidence"]["log"]).is_file()


def test_phases_can_be_repeated(
    run_dir: str, plugin: Path, bin_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second create or destroy does not call the script, as those of OpenStack are not made for it."""
    for stage in ("destroy", "create", "create", "destroy", "destroy"):
        assert "failed" not in grenade(capsys, run_dir, plugin, bin_dir, stage)

    assert len((tmp_path / "called").read_text().splitlines()) == 2


def test_check_mode_runs_nothing(
    run_dir: str, plugin: Path, bin_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In check mode no script is called."""
    assert grenade(capsys, run_dir, plugin, bin_dir, "create", _ansible_check_mode=True)["changed"]
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"environment": {"PATH": "/nowhere"}}, "environment: there is no command openstack in /nowhere"),
        ({"commands": {"nova-manage": "ssh"}}, "commands: nova-manage has to be a list of words"),
        ({"folder": "/nowhere"}, "folder: /nowhere has no plugin of Grenade"),
        ({"library": "/nowhere"}, "library: /nowhere/grenade/run-phase could not be started"),
    ],
)
def test_mistakes_are_one_line(options: dict[str, Any], words: str, request: pytest.FixtureRequest) -> None:
    """An option that cannot work is named."""
    place = [request.getfixturevalue(name) for name in ("capsys", "run_dir", "plugin", "bin_dir")]
    result = grenade(*place, "create", **options)

    assert result["msg"].startswith(words)
