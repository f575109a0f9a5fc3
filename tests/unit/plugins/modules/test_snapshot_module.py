# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module snapshot, as a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.modules import snapshot
from ansible_collections.openstack.upgrade_test.tests.unit.plugins.modules.test_validators import documented, run


def test_documentation_and_arguments_agree() -> None:
    """Every option is documented with the type, the default and the choices that it has."""
    facts = ("type", "default", "choices", "required", "elements")

    assert {key: [one.get(fact) for fact in facts] for key, one in documented("snapshot").items()} == {
        key: [one.get(fact) for fact in facts] for key, one in snapshot.ARGUMENT_SPEC.items()
    }


@pytest.fixture
def task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nova.conf").write_text("x")
    given = {"directory": str(tmp_path / "snapshot"), "paths": [str(tmp_path / "etc")]}
    return lambda **options: run(capsys, "snapshot", **{**given, **options})


def test_from_take_to_removal(task: Any, tmp_path: Path) -> None:
    """Taken once, whole, restored, removed; each tells what it did."""
    first = task(phase="before")
    [outcome] = first["outcomes"]

    assert (first["changed"], outcome["check"], outcome["status"]) == (True, "snapshot_taken", "pass")
    assert outcome["evidence"]["size"] > 0
    assert len(outcome["evidence"]["sha256"]) == 64
    assert not task()["changed"]
    assert task(state="verified")["outcomes"][0]["status"] == "pass"
    (tmp_path / "etc/nova.conf").write_text("y")
    assert task(state="restored")["changed"]
    assert (tmp_path / "etc/nova.conf").read_text() == "x"
    assert task(state="absent")["changed"]
    assert not task(state="absent")["changed"]


def test_damage_fails(task: Any, tmp_path: Path) -> None:
    """A file that is not what was taken fails the task."""
    item = task()["items"][0]
    (tmp_path / "snapshot" / item["file"]).write_bytes(b"")

    assert task(state="verified")["failed"] is True
    assert "nothing was restored" in task(state="restored")["msg"]


def test_check_mode_does_nothing(task: Any, tmp_path: Path) -> None:
    """In check mode nothing is written, brought back or removed."""
    assert task(_ansible_check_mode=True)["changed"]
    assert not (tmp_path / "snapshot").exists()
    task()
    assert task(state="absent", _ansible_check_mode=True)["changed"]
    assert (tmp_path / "snapshot/manifest.json").exists()


def test_mistakes_are_one_line(task: Any) -> None:
    """What is not there is named with its option."""
    assert task(paths=["/nowhere"])["msg"] == "paths: /nowhere is not there."
    assert task(directory="/proc/none")["msg"].startswith("directory: /proc/none cannot be used")
