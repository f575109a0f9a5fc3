# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots. The database's clients are stand-ins here; tests/lab takes and restores those of a real server."""

from __future__ import annotations

import gzip
import os
import stat
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._snapshot import (
    MANIFEST,
    Server,
    Snapshot,
    SnapshotError,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "etc/nova"
    made.mkdir(parents=True)
    (made / "nova.conf").write_text("[DEFAULT]\n")
    (made / "nova.conf").chmod(0o640)
    (made / "link").symlink_to("nova.conf")
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups/run"


class Clients:
    """Commands mariadb and mariadb-dump that do what a test wants."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        self.write(
            "mariadb", 'echo "$*" >> $0.args; [[ -t 0 ]] || cat >> $0.input\nprintf "mysql\\nnova\\nkeystone\\n"'
        )
        self.dumps("echo 'CREATE DATABASE it;'; echo '-- Dump completed on 2026-11-21'")

    def write(self, name: str, script: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/usr/bin/env bash\n{script}\n")
        path.chmod(0o755)

    def dumps(self, script: str) -> None:
        self.write("mariadb-dump", f'echo "$*" >> $0.args\n{script}')

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clients:
    return Clients(tmp_path / "bin", monkeypatch)


def test_a_folder_comes_back_as_it_was(source: Path, folder: Path) -> None:
    """Contents, modes and links are restored; what is new is gone; what was there stays beside it."""
    Snapshot(folder).take([], [str(source)])
    (source / "nova.conf").write_text("changed\n")
    (source / "new").touch()
    Snapshot(folder).restore()

    assert sorted(path.name for path in source.iterdir()) == ["link", "nova.conf"]
    assert (source / "nova.conf").read_text() == "[DEFAULT]\n"
    assert stat.S_IMODE((source / "nova.conf").stat().st_mode) == 0o640
    assert os.readlink(source / "link") == "nova.conf"
    assert (source.parent / ".nova.before-restore/new").exists()


def test_a_folder_that_was_removed_comes_back(source: Path, folder: Path) -> None:
    """There need be nothing in its place, and it can be restored twice."""
    Snapshot(folder).take([], [str(source)])
    for _time in range(2):
        source.rename(source.parent / f"gone-{_time}")
        Snapshot(folder).restore()

    assert (source / "nova.conf").exists()


def test_only_its_owner_can_read_it(source: Path, folder: Path) -> None:
    """A snapshot has secrets in it."""
    Snapshot(folder).take([], [str(source)])

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]}
    assert modes.pop("run") == 0o700
    assert set(modes.values()) == {0o600}
    assert len(modes) == 2


def test_what_is_from_before_the_upgrade_is_not_replaced(source: Path, folder: Path) -> None:
    """A second take adds what is missing and leaves the rest alone."""
    [first] = Snapshot(folder).take([], [str(source)])
    (source / "nova.conf").write_text("changed by the upgrade\n")
    other = source.parent / "other"
    other.mkdir()

    assert Snapshot(folder).take([], [str(source), str(other)])[0] == first


@pytest.mark.parametrize("damage", ["change", "cut", "remove"])
def test_a_damaged_snapshot_is_found_and_not_restored(source: Path, folder: Path, damage: str) -> None:
    """Nothing is brought back unless all of it is what was taken."""
    [item] = Snapshot(folder).take([], [str(source)])
    path = folder / item.file
    data = path.read_bytes()
    if damage == "change":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "cut":
        path.write_bytes(data[:-5])
    else:
        path.unlink()
    (source / "nova.conf").write_text("now\n")

    assert list(Snapshot(folder).faults()) == [f"path {source}"]
    with pytest.raises(SnapshotError, match="nothing was restored, because"):
        Snapshot(folder).restore()
    assert (source / "nova.conf").read_text() == "now\n"


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    """A path that is not there and a snapshot that is not there are told as such."""
    with pytest.raises(SnapshotError, match=r"paths: /nowhere is not there\."):
        Snapshot(folder).take([], ["/nowhere"])
    with pytest.raises(SnapshotError, match="there is no snapshot in"):
        Snapshot(tmp_path / "none").restore()


def test_databases_are_dumped_and_piped_back(clients: Clients, folder: Path) -> None:
    """Each has a file of its own; the same bytes go back to the server; a file has the password, no argument."""
    server = Server(defaults_file="/root/.my.cnf", socket="/run/m.sock")
    taken = Snapshot(folder, server).take(server.chosen(["all"], []), [])

    assert [item.name for item in taken] == ["keystone", "nova"]
    words = clients.read("mariadb-dump.args").splitlines()[0].split()
    assert words[:3] == ["--defaults-file=/root/.my.cnf", "--socket=/run/m.sock", "--single-transaction"]
    assert words[-3:] == ["--add-drop-database", "--databases", "keystone"]
    dump = gzip.decompress((folder / taken[0].file).read_bytes())
    (clients.folder / "mariadb.input").unlink(missing_ok=True)
    Snapshot(folder, server).restore()
    assert clients.read("mariadb.input").encode() == dump * 2


def test_which_databases(clients: Clients) -> None:
    """Those that are named have to be there, optional ones need not; the server's own are never taken."""
    assert Server().chosen(["nova"], ["keystone", "heat"]) == ["keystone", "nova"]
    assert Server().chosen([], []) == []
    with pytest.raises(SnapshotError, match=r"databases: heat is not there; there are keystone, nova\."):
        Server().chosen(["heat"], [])


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'CREATE'; echo 'Access denied' >&2; exit 2", "the dump failed: Access denied"),
        ("echo 'CREATE'", "the dump ended before its end"),
    ],
)
def test_a_dump_that_fails_leaves_nothing(clients: Clients, folder: Path, script: str, words: str) -> None:
    """A dump that was cut short is no snapshot, and is not taken for one later."""
    clients.dumps(script)

    with pytest.raises(SnapshotError, match=words):
        Snapshot(folder).take(["nova"], [])
    assert list(folder.iterdir()) == []


def test_a_restore_that_fails_says_why(clients: Clients, folder: Path) -> None:
    """The server's own words are told, also when it stops to listen in the middle."""
    Snapshot(folder).take(["nova"], [])
    clients.write("mariadb", "echo 'ERROR 1044: denied' >&2; exit 1")

    with pytest.raises(SnapshotError, match="database nova: it could not be restored: ERROR 1044: denied"):
        Snapshot(folder).restore()


def test_a_broken_manifest_is_one_line(folder: Path) -> None:
    """It names the file."""
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text("{")

    with pytest.raises(SnapshotError, match=r"manifest\.json cannot be read"):
        Snapshot(folder).items()


def test_removing_twice(source: Path, folder: Path) -> None:
    """The second time there is nothing to remove."""
    Snapshot(folder).take([], [str(source)])

    assert Snapshot(folder).remove()
    assert not Snapshot(folder).remove()
