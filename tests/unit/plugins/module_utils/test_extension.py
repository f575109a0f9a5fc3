# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._extension import (
    CREATE,
    DESTROY,
    EARLY,
    NOAPI,
    VERIFY,
    Extension,
    ExtensionError,
    Keeper,
    read_description,
    task_file,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._resources import alive
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RESOURCES, RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "runs", services=["nova"])


@pytest.fixture
def keeper(run: RunDirectory) -> Keeper:
    return Keeper(run, Extension(validator="extension", name="bulletin", service="bulletin"))


def left(run: RunDirectory) -> list[str]:
    return [one["name"] for one in alive(run.read(RESOURCES))]


def test_an_extension_is_known_from_before_its_first_phase_until_after_its_last(
    run: RunDirectory, keeper: Keeper
) -> None:
    """A crash at any time in between leaves an entry of the journal that cleanup and the report find."""
    assert left(run) == []
    keeper.begin(CREATE)
    assert left(run) == ["bulletin"]
    keeper.end(CREATE)
    keeper.begin(VERIFY)
    keeper.end(VERIFY)
    keeper.begin(DESTROY)
    assert left(run) == ["bulletin"]
    keeper.end(DESTROY)
    assert left(run) == []


def test_each_phase_that_makes_something_is_run_once(keeper: Keeper) -> None:
    """The early phase does not stand for the later one; neither is repeated when it has succeeded."""
    assert keeper.begin(EARLY).due
    keeper.end(EARLY)
    assert not keeper.begin(EARLY).due
    assert keeper.begin(CREATE).due
    keeper.end(CREATE)

    again = keeper.begin(CREATE)
    assert (again.due, again.status) == (False, Status.PASS)
    assert keeper.begin(VERIFY).due


def test_a_create_that_was_cut_short_is_run_again(keeper: Keeper) -> None:
    """Only what has succeeded counts as made."""
    keeper.begin(CREATE)

    assert keeper.begin(CREATE).due


@pytest.mark.parametrize("phase", [VERIFY, NOAPI])
def test_what_was_never_made_is_not_found_to_be_well(keeper: Keeper, phase: str) -> None:
    """Verifying nothing is unknown, neither passed nor skipped."""
    keeper.begin(CREATE)  # and it failed

    due = keeper.begin(phase)
    assert (due.due, due.status) == (False, Status.UNKNOWN)


def test_destroying_twice_changes_nothing(keeper: Keeper) -> None:
    """There is nothing to remove before anything was begun, nor after it was removed."""
    assert not keeper.begin(DESTROY).due
    keeper.begin(CREATE)
    assert keeper.begin(DESTROY).due
    keeper.end(DESTROY)

    assert (keeper.begin(DESTROY).due, keeper.begin(DESTROY).status) == (False, Status.PASS)
    assert keeper.begin(CREATE).due


def test_another_extension_is_another_one(run: RunDirectory, keeper: Keeper) -> None:
    """A folder and a plugin of the same name do not share their entries."""
    keeper.begin(CREATE)
    keeper.end(CREATE)

    assert Keeper(run, Extension(validator="grenade_plugin", name="bulletin", service="x")).begin(CREATE).due


def test_its_service_is_judged(run: RunDirectory, keeper: Keeper) -> None:
    """A service that the collection does not know is one of those under test once it has made something."""
    keeper.begin(CREATE)
    assert run.document["services"] == ["nova"]
    keeper.end(CREATE)

    assert run.document["services"] == ["nova", "bulletin"]


def describe(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "service.yml").write_text(text)
    return folder


def test_a_description_has_defaults(tmp_path: Path) -> None:
    """A name is enough; the outcomes then count for a service of that name."""
    told = read_description(describe(tmp_path, "name: bulletin\n"))

    assert told == {"name": "bulletin", "service": "bulletin", "description": "", "api": {}, "snapshot": {}}
    assert read_description(describe(tmp_path, "name: bulletin\nservice: nova\n"))["service"] == "nova"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [", "cannot be read"),
        ("- name", "has to be a dictionary"),
        ("description: x", "name has to be a name of small letters"),
        ("name: Bulletin Board", "name has to be a name of small letters"),
        ("name: bulletin\nservice: Nova!", "service has to be a name of small letters"),
        ("name: bulletin\ncolour: red", "has the unknown key 'colour'; known are api, description, name"),
        ("name: bulletin\nsnapshot: [a]", "snapshot has to be a dictionary"),
    ],
)
def test_a_wrong_description_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    """The file and what is wrong with it are named."""
    with pytest.raises(ExtensionError, match=words) as caught:
        read_description(describe(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "service.yml") in str(caught.value)


def test_a_missing_description_is_one_line(tmp_path: Path) -> None:
    """A folder that is none of a service says which file it lacks."""
    with pytest.raises(ExtensionError, match=r"service\.yml cannot be read: .*No such file"):
        read_description(tmp_path)


def test_task_files_are_named_after_the_phases(tmp_path: Path) -> None:
    """Either ending of YAML files will do; a phase without one has nothing to do."""
    (tmp_path / "create.yml").touch()
    (tmp_path / "destroy.yaml").touch()

    assert task_file(tmp_path, CREATE) == tmp_path / "create.yml"
    assert task_file(tmp_path, DESTROY) == tmp_path / "destroy.yaml"
    assert task_file(tmp_path, VERIFY) is None
