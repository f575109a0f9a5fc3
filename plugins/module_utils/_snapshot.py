# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A snapshot of databases and folders on one host: taken, verified, restored, removed.

It stays on the host, because it holds secrets and may be large; what leaves the host is sizes and checksums. The
manifest is written last, so that only what is complete is ever restored.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time as clock
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

SCHEMA = 1
MANIFEST = "manifest.json"
OWN_DATABASES = frozenset({"information_schema", "performance_schema", "mysql", "sys"})
ALL = "all"
COMPLETE = b"-- Dump completed"  # the last line of a dump that was not cut short
CHUNK = 1024 * 1024
_TRUSTED: dict[str, Any] = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
"""How Python is told to unpack an archive as it is; before it could be told, it did nothing else (PEP 706)."""
_LAST = 400  # characters of a client's own complaint


class SnapshotError(Exception):
    """What went wrong with a snapshot, in one sentence for the operator."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One database or folder of a snapshot; ``size`` and ``sha256`` are those of its file."""

    kind: str
    name: str
    file: str
    size: int
    sha256: str
    seconds: float
    taken: float

    @property
    def subject(self) -> str:
        """How a sentence names it."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, kw_only=True)
class Server:
    """How to reach the database server of this host; a password stands in the defaults file, never in an argument."""

    defaults_file: str | None = None
    socket: str | None = None
    user: str | None = None
    options: tuple[str, ...] = field(default_factory=tuple)

    def command(self, *names: str) -> list[str]:
        """Return the first of these clients that is installed, with the options to connect."""
        found = next((path for name in names if (path := shutil.which(name))), None)
        if not found:
            raise SnapshotError(f"databases: there is no {' or '.join(names)} on this host, which is needed for them.")
        first = [f"--defaults-file={self.defaults_file}"] if self.defaults_file else []
        socket = [f"--socket={self.socket}"] if self.socket else []
        user = [f"--user={self.user}"] if self.user else []
        return [found, *first, *socket, *user, *self.options]

    def databases(self) -> list[str]:
        """Return the names of the databases that are not the server's own."""
        argv = [*self.command("mariadb", "mysql"), "--batch", "--skip-column-names", "--execute=SHOW DATABASES"]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode:
            raise SnapshotError(f"databases: the database server did not answer: {_last(done.stderr)}")
        return sorted(set(done.stdout.decode().split()) - OWN_DATABASES)

    def chosen(self, wanted: Sequence[str], optional: Sequence[str]) -> list[str]:
        """Return the databases to take: those named, which have to be there, and those named if they are."""
        if not wanted and not optional:
            return []
        there = self.databases()
        missing = [name for name in wanted if name not in (*there, ALL)]
        if missing:
            raise SnapshotError(f"databases: {', '.join(missing)} is not there; there are {', '.join(there)}.")
        return [name for name in there if name in (*wanted, *optional) or ALL in wanted]


class Snapshot:
    """The snapshot in one folder of this host."""

    def __init__(self, folder: str | os.PathLike[str], server: Server | None = None) -> None:
        """Work in this folder, which need not be there yet."""
        self.folder, self.server = Path(folder), server or Server()

    def items(self) -> list[Item]:
        """Return what the snapshot has; nothing when there is none."""
        try:
            document = json.loads((self.folder / MANIFEST).read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as problem:
            raise SnapshotError(f"directory: {self.folder / MANIFEST} cannot be read: {problem}") from None
        return [Item(**one) for one in document["items"]]

    def take(self, databases: Sequence[str], paths: Sequence[str]) -> list[Item]:
        """Take what is missing; what was taken before is left as it is, since it is from before the upgrade."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = {(one.kind, one.name): one for one in self.items()}
        for kind, names in (("database", databases), ("path", paths)):
            for name in names:
                if (kind, name) not in known:
                    known[kind, name] = self._database(name) if kind == "database" else self._path(name)
                    self._write(list(known.values()))
        return list(known.values())

    def faults(self) -> dict[str, str]:
        """Return what is wrong with the files, by subject; nothing when they are what was taken."""
        return {one.subject: fault for one in self.items() if (fault := self._fault(one))}

    def restore(self) -> list[Item]:
        """Bring back all of it, after all of it was verified."""
        items, faults = self.items(), self.faults()
        if not items:
            raise SnapshotError(f"directory: there is no snapshot in {self.folder}.")
        if faults:
            raise SnapshotError(f"directory: nothing was restored, because {'; '.join(faults.values())}")
        for one in items:
            (self._restore_database if one.kind == "database" else self._restore_path)(one)
        return items

    def remove(self) -> bool:
        """Remove the snapshot; whether there was one."""
        there = self.folder.exists()
        shutil.rmtree(self.folder, ignore_errors=True)
        return there

    def _write(self, items: Sequence[Item]) -> None:
        text = json.dumps({"schema": SCHEMA, "items": [asdict(one) for one in items]}, indent=2, sort_keys=True)
        with _replacing(self.folder / MANIFEST) as file:
            file.write(text.encode() + b"\n")

    def _fault(self, item: Item) -> str:
        try:
            size, sha256 = _measured(self.folder / item.file)
        except OSError as problem:
            return f"{item.file} cannot be read: {problem.strerror}."
        if (size, sha256) != (item.size, item.sha256):
            return f"{item.file} is not what was taken: it has {size} bytes and another checksum."
        return ""

    def _item(self, kind: str, name: str, file: Path, began: float) -> Item:
        size, sha256 = _measured(file)
        return Item(
            kind=kind,
            name=name,
            file=file.name,
            size=size,
            sha256=sha256,
            seconds=round(clock.time() - began, 2),
            taken=began,
        )

    def _database(self, name: str) -> Item:
        """Dump a database as it is at one moment, with what makes it anew."""
        argv = [
            *self.server.command("mariadb-dump", "mysqldump"),
            *("--single-transaction", "--quick", "--routines", "--events", "--triggers", "--hex-blob"),
            *("--add-drop-database", "--databases", name),
        ]
        began, file = clock.time(), self.folder / f"database-{name}.sql.gz"
        with _replacing(file) as target, gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1, mtime=0) as packed:
            with _client(f"database {name}: the dump failed", argv) as dump:
                ending = _copied(dump, packed)
            if COMPLETE not in ending:
                raise SnapshotError(f"database {name}: the dump ended before its end.")
        return self._item("database", name, file, began)

    def _path(self, name: str) -> Item:
        """Pack a file or a folder, with owners and modes."""
        source, began = Path(name), clock.time()
        file = self.folder / f"path-{name.strip('/').replace('/', '-')}.tar.gz"
        if not source.exists():
            raise SnapshotError(f"paths: {name} is not there.")
        with _replacing(file) as target, tarfile.open(fileobj=target, mode="w:gz", compresslevel=1) as archive:
            archive.add(source, arcname=source.name)
        return self._item("path", name, file, began)

    def _restore_database(self, item: Item) -> None:
        argv, failed = self.server.command("mariadb", "mysql"), f"database {item.name}: it could not be restored"
        with _client(failed, argv, feeding=True) as pipe, gzip.open(self.folder / item.file) as dump:
            shutil.copyfileobj(dump, pipe, CHUNK)

    def _restore_path(self, item: Item) -> None:
        """Unpack beside it, then put it in place; what was there stays beside it."""
        target = Path(item.name)
        spare, old = (target.with_name(f".{target.name}.{word}") for word in ("restored", "before-restore"))
        for one in (spare, old):
            _discard(one)
        spare.mkdir(mode=0o700)
        with tarfile.open(self.folder / item.file) as archive:
            # It was made here and its checksum was verified: owners and modes come back as they were.
            archive.extractall(spare, **_TRUSTED)  # noqa: S202
        if target.exists():
            target.rename(old)
        (spare / target.name).rename(target)
        spare.rmdir()


@contextmanager
def _client(failed: str, argv: Sequence[str], *, feeding: bool = False) -> Iterator[IO[bytes]]:
    """Run a client of the database and give the pipe from it, or to it; SnapshotError when it fails."""
    ends = (subprocess.PIPE, subprocess.DEVNULL)
    with tempfile.TemporaryFile() as complaint:
        process = subprocess.Popen(argv, stdin=ends[not feeding], stdout=ends[feeding], stderr=complaint)
        end = process.stdin or process.stdout
        try:
            # It ends early when the server refuses something; then it has said so.
            if end is not None:
                with suppress(BrokenPipeError), end:
                    yield end
        finally:
            rc = process.wait()
        if rc:
            complaint.seek(0)
            raise SnapshotError(f"{failed}: {_last(complaint.read())}")


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write that takes its place when all went well, and leaves nothing when not."""
    spare = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with os.fdopen(os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        spare.replace(path)
    finally:
        spare.unlink(missing_ok=True)


def _copied(source: IO[bytes], target: Any) -> bytes:
    """Copy all there is and return the last few bytes of it."""
    ending = b""
    while chunk := source.read(CHUNK):
        target.write(chunk)
        ending = (ending + chunk)[-200:]
    return ending


def _measured(path: Path) -> tuple[int, str]:
    """Return the size and the checksum of a file."""
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _last(complaint: bytes) -> str:
    text = " ".join(complaint.decode("utf-8", "replace").split()) or "it did not say why."
    return text[-_LAST:]
