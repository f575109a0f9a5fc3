# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status file: it is always whole, and needs nothing once it is there."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._observer import write_status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._status import PAGE, StatusFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the status is."""
    return tmp_path / "status.json"


@pytest.fixture
def status(path: Path) -> Iterator[StatusFile]:
    """A status that was written twice."""
    file = StatusFile(path)
    for number in range(2):
        file.write({"number": number})
    yield file
    file.close()


def inodes(folder: Path) -> set[int]:
    """The files of a folder, whatever their names."""
    return {file.stat().st_ino for file in folder.iterdir()}


def test_the_last_one_counts(path: Path, status: StatusFile) -> None:
    """Each write replaces the status, long or short, and only the owner may read it."""
    for text in ("short", "long" * PAGE, "short again"):
        status.write({"text": text})

        assert json.loads(path.read_text()) == {"text": text}
        assert path.stat().st_mode & 0o777 == 0o600


def test_takes_no_further_room(path: Path, status: StatusFile) -> None:
    """Two files of whole blocks take turns, so that a full disk cannot keep the status from being told."""
    before = inodes(path.parent)
    for number in range(5):
        status.write({"error": "x" * number * 100})

        assert inodes(path.parent) == before
        assert path.stat().st_size == PAGE


def test_needs_no_descriptor(path: Path, status: StatusFile) -> None:
    """A process that can open nothing any more can still tell so."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
    try:
        for number in range(5):
            status.write({"number": number})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert json.loads(path.read_text()) == {"number": 4}


def test_file_system_without_links(path: Path, status: StatusFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no links, the status is replaced all the same."""

    def refuse(*_arguments: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    for number in range(5):
        status.write({"number": number})

        assert json.loads(path.read_text()) == {"number": number}


def test_replaced_by_another(path: Path, status: StatusFile) -> None:
    """Who else writes the status does not stop it."""
    write_status(path, {"other": True})
    for number in range(3):
        status.write({"number": number})

        assert json.loads(path.read_text()) == {"number": number}


def test_whole_at_any_moment(path: Path, status: StatusFile) -> None:
    """A reader that opened the status meanwhile reads the one that it opened."""
    with path.open() as reader:
        status.write({"number": 2})

        assert json.load(reader) == {"number": 1}


def test_leaves_nothing_else(path: Path, status: StatusFile) -> None:
    """In the end the status is all there is, and what a killed one left does not disturb the next."""
    (path.parent / "status.old").write_text("left")
    (path.parent / "status.tmp").write_text("left")
    status.write({"number": 2})
    status.close()
    write_status(path, {"number": 3})

    assert [file.name for file in path.parent.iterdir()] == ["status.json"]
    assert json.loads(path.read_text()) == {"number": 3}


def test_refusal_is_survived(tmp_path: Path) -> None:
    """Where nothing can be written, nothing is raised."""
    file = StatusFile(tmp_path / "not there" / "status.json")
    file.write({})
    file.close()
