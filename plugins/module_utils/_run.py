# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run directory: where all records of a run lie. This class is its only writer, and redacts what it writes.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets as randomness
import time as clock
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome
from ansible_collections.openstack.upgrade_test.plugins.module_utils._redact import Redactor, secrets_in_clouds_yaml
from ansible_collections.openstack.upgrade_test.plugins.module_utils._wait import becomes_true

SCHEMA = 1
EVENTS = "events.jsonl"
OUTCOMES = "outcomes.jsonl"
RESOURCES = "resources.jsonl"
EVIDENCE = "evidence"
CLOUDS = "clouds.yaml"
CLOUD_LOCK = ".cloud.lock"
PATIENCE = 900
"""Seconds for which another process that works on the run is waited for: longer than any resource takes."""
OPEN, CLOSED, INTERRUPTED = "open", "closed", "interrupted"
LAST_PHASE = "end"
RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")
KINDS = frozenset({"phase", "play", "task", "mark", "driver"})
RESOURCE_EVENTS = frozenset({"intent", "created", "deleted", "lost"})


class RunError(Exception):
    """What cannot be done with a run, in one sentence for the operator."""


def new_run_id(now: float | None = None) -> str:
    """Return a run id such as ``20261120T091300Z-7f3a`` for this moment (seconds since the epoch)."""
    stamp = clock.strftime("%Y%m%dT%H%M%SZ", clock.gmtime(clock.time() if now is None else now))
    return f"{stamp}-{randomness.token_hex(2)}"


def read_records(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the records of a JSON Lines file and how many lines could not be read; a missing file has none.

    A torn line, as a crash leaves it, is counted and left out.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], 0
    parsed = [_parse(line) for line in lines if line.strip()]
    good = [record for record in parsed if record is not None]
    return good, len(parsed) - len(good)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:  # UnicodeDecodeError is one too
        return None
    return record if isinstance(record, dict) else None


class RunDirectory:
    """One run's directory: appends records, replaces documents, reads both.

    A crash at any point leaves whole records and whole documents, and at most one torn line, which reading leaves out.
    """

    def __init__(self, path: str | os.PathLike[str], secrets: Iterable[str] = ()) -> None:
        """Stand for an existing run directory, or raise RunError; ``secrets`` are never written."""
        self.path = Path(path).expanduser().absolute()
        if not self.path.is_dir():
            raise RunError(f"{self.path} is not a run directory: no such directory.")
        self.redactor = Redactor(secrets)
        self._known_clouds: tuple[int, int] | None = None
        self._learn()

    @classmethod
    def create(
        cls, runs_dir: str | os.PathLike[str], run_id: str | None = None, *, now: float | None = None, **facts: Any
    ) -> RunDirectory:
        """Open a new run below ``runs_dir`` and link ``current`` and ``latest`` to it.

        ``facts`` go into run.json. Raises RunError when a run is open there, or the id is taken or malformed.
        """
        root = Path(runs_dir).expanduser().absolute()
        moment = clock.time() if now is None else now
        run_id = run_id or new_run_id(moment)
        if not RUN_ID.fullmatch(run_id):
            raise RunError(f"run_id: {run_id!r} is not a run id; one looks like 20261120T091300Z-7f3a.")
        _refuse_second(cls.opened(root))
        _make_root(root)
        path = root / run_id
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            raise RunError(f"run_id: {run_id} exists already in {root}.") from None
        run = cls(path)
        run.update(schema=SCHEMA, run_id=run_id, state=OPEN, started=moment, ended=None, **facts)
        run._claim(root)
        return run

    @classmethod
    def opened(cls, runs_dir: str | os.PathLike[str]) -> RunDirectory | None:
        """Return the run that is open below ``runs_dir``, or None; a stale link counts as none."""
        run = cls._linked(Path(runs_dir).expanduser().absolute() / "current")
        return run if run and run.state == OPEN else None

    @classmethod
    def latest(cls, runs_dir: str | os.PathLike[str]) -> RunDirectory | None:
        """Return the newest run below ``runs_dir``, open or not, or None."""
        return cls._linked(Path(runs_dir).expanduser().absolute() / "latest")

    @classmethod
    def find(cls, runs_dir: str | os.PathLike[str], run_id: str | None = None) -> RunDirectory:
        """Return the run of this id, else the open one, else the latest; raise RunError when there is none."""
        root = Path(runs_dir).expanduser().absolute()
        if run_id:
            if not (root / run_id / "run.json").is_file():
                raise RunError(f"run_id: there is no run {run_id} in {root}.")
            return cls(root / run_id)
        run = cls.opened(root) or cls.latest(root)
        if run is None:
            raise RunError(f"runs_dir: there is no run in {root}; open one first (state: opened), or name its folder.")
        return run

    @classmethod
    def _linked(cls, link: Path) -> RunDirectory | None:
        target = link.resolve()
        return cls(target) if link.is_symlink() and (target / "run.json").is_file() else None

    @property
    def run_id(self) -> str:
        """The id, which is also the directory's name."""
        return self.path.name

    @property
    def document(self) -> dict[str, Any]:
        """The content of run.json; empty when there is none yet."""
        return self.read_json("run.json")

    @property
    def state(self) -> str:
        """``open``, ``closed`` or ``interrupted``; a directory without a readable run.json is ``interrupted``."""
        return str(self.document.get("state", INTERRUPTED))

    @property
    def phase(self) -> str:
        """The phase that began last, or an empty text."""
        names = [event.get("name", "") for event in self.read(EVENTS) if event.get("kind") == "phase"]
        return str(names[-1]) if names else ""

    def update(self, **facts: Any) -> dict[str, Any]:
        """Change these facts of run.json and return the whole of it."""
        document = {**self.document, **facts}
        self.write_json("run.json", document)
        return document

    def begin_phase(self, name: str, *, now: float | None = None) -> None:
        """Begin a phase, which ends the one before it; beginning the current one again changes nothing."""
        if name != self.phase:
            self.append_event("phase", name, time=now)

    def close(self, *, completed: bool, now: float | None = None) -> dict[str, Any]:
        """End the run: last phase, final state, no credentials left, no ``current``. Returns run.json's content.

        Closing a closed run changes nothing but removes what an interrupted close left behind.
        """
        moment = clock.time() if now is None else now
        document = self.document
        if document.get("state", OPEN) == OPEN:
            self.begin_phase(LAST_PHASE, now=moment)
            document = self.update(state=CLOSED if completed else INTERRUPTED, ended=moment)
        (self.path / CLOUDS).unlink(missing_ok=True)
        self._release()
        return document

    def append_event(self, kind: str, name: str, *, time: float | None = None, **fields: Any) -> None:
        """Append one event of a kind (``phase``, ``play``, ``task``, ``mark``, ``driver``); None is left out."""
        if kind not in KINDS:
            raise ValueError(f"kind: {kind!r} is none of {', '.join(sorted(KINDS))}.")
        self._append(EVENTS, {"time": time, "kind": kind, "name": name, **fields})

    def append_outcome(self, outcome: Outcome | Mapping[str, Any]) -> None:
        """Append one outcome, given as an Outcome or as its record."""
        self._append(OUTCOMES, outcome.as_record() if isinstance(outcome, Outcome) else dict(outcome))

    def append_resource(
        self,
        event: str,
        *,
        service: str,
        type: str,  # noqa: A002 - the name of the field in the record
        name: str,
        id: str = "",  # noqa: A002 - the name of the field in the record
        project_id: str = "",
        facts: Mapping[str, Any] | None = None,
        time: float | None = None,
    ) -> None:
        """Append one entry to the journal of resources and wait until it is on disk, as a create follows."""
        if event not in RESOURCE_EVENTS:
            raise ValueError(f"event: {event!r} is none of {', '.join(sorted(RESOURCE_EVENTS))}.")
        record = {"time": time, "event": event, "service": service, "type": type, "name": name, "id": id}
        self._append(RESOURCES, {**record, "project_id": project_id, "facts": dict(facts or {})}, durable=True)

    def read(self, name: str) -> list[dict[str, Any]]:
        """Return the records of one JSON Lines file of this directory, oldest line first."""
        return read_records(self.path / name)[0]

    def unreadable(self, name: str) -> int:
        """Return how many lines of one JSON Lines file could not be read."""
        return read_records(self.path / name)[1]

    def read_json(self, name: str) -> dict[str, Any]:
        """Return a document of this directory; empty when it is missing or broken."""
        try:
            document = json.loads((self.path / name).read_bytes())
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def write_json(self, name: str, document: Any) -> Path:
        """Replace a document in one step, redacted; the same document gives the same bytes."""
        self._learn()
        clean = self.redactor.value(document)
        text = json.dumps(clean, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False, default=str)
        return self._replace(name, text + "\n")

    def write_evidence(self, name: str, document: Any) -> Path:
        """Replace a document in the folder of what is too large for a record."""
        (self.path / EVIDENCE).mkdir(mode=0o700, exist_ok=True)
        return self.write_json(f"{EVIDENCE}/{name}", document)

    def write_text(self, name: str, text: str, *, rendered: bool = False) -> Path:
        """Replace a text file in one step, redacted; what was ``rendered`` from redacted values keeps its markup."""
        self._learn()
        return self._replace(name, self.redactor.known(text) if rendered else self.redactor.text(text))

    def write_credentials(self, text: str) -> Path:
        """Replace clouds.yaml, which is the one file that is not redacted; its secrets are never written elsewhere."""
        self.redactor.add(secrets_in_clouds_yaml(text))
        return self._replace(CLOUDS, text)

    def samples_directory(self, observer: str, host: str) -> Path:
        """Return ``samples/<observer>/<host>``, made when it is missing."""
        path = self.path / "samples" / observer / host
        for folder in (self.path / "samples", path.parent, path):
            folder.mkdir(mode=0o700, exist_ok=True)
        return path

    @contextmanager
    def alone(self, lock: str = CLOUD_LOCK, patience: float = PATIENCE) -> Iterator[None]:
        """Keep other processes out meanwhile; those that are in are waited for, ``patience`` seconds, then RunError.

        With the lock of the cloud nobody else makes or removes anything there for this run. A module goes on for a
        while when its playbook was killed, and a clean-up that does not wait for it misses what it makes last.
        """
        descriptor = os.open(self.path / lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not becomes_true(lambda: _got_lock(descriptor), patience, step=0.1):
                holder = os.pread(descriptor, 32, 0).decode() or "unknown"
                raise RunError(
                    f"Process {holder} has worked on run {self.run_id} for {patience:g} s and is not done. "
                    "See what it waits for, end it if need be, and try again."
                )
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def _learn(self) -> None:
        """Know the secrets of clouds.yaml, which another process may have written since the last look."""
        path = self.path / CLOUDS
        with suppress(OSError):
            stat = path.stat()
            if (stat.st_mtime_ns, stat.st_ino) != self._known_clouds:
                self.redactor.add(secrets_in_clouds_yaml(path.read_text(encoding="utf-8", errors="replace")))
                self._known_clouds = (stat.st_mtime_ns, stat.st_ino)

    def _append(self, name: str, record: Mapping[str, Any], *, durable: bool = False) -> None:
        self._learn()
        kept = {key: item for key, item in record.items() if item is not None}
        full = {"schema": SCHEMA, "time": clock.time(), **kept}
        text = json.dumps(self.redactor.value(full), ensure_ascii=False, default=str)
        _append_line(self.path / name, text.encode("utf-8", "replace"), durable=durable)

    def _replace(self, name: str, text: str) -> Path:
        path = self.path / name
        spare = path.with_name(f".{path.name}.{os.getpid()}.new")
        descriptor = os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(spare, path)
        return path

    def _claim(self, root: Path) -> None:
        """Link ``current`` to this run; of two that try at once, one gets a RunError."""
        stale = root / "current"
        if stale.is_symlink() and RunDirectory.opened(root) is None:
            stale.unlink(missing_ok=True)
        try:
            os.symlink(self.run_id, stale)
        except FileExistsError:
            self.update(state=INTERRUPTED, ended=self.document.get("started"))
            _refuse_second(RunDirectory.opened(root))
            raise RunError(f"{stale} is in the way: it is not a link to a run.") from None
        _relink(root / "latest", self.run_id)

    def _release(self) -> None:
        link = self.path.parent / "current"
        with suppress(OSError):
            if link.is_symlink() and os.readlink(link) == self.run_id:
                link.unlink()


def _refuse_second(run: RunDirectory | None) -> None:
    if run is not None:
        raise RunError(
            f"Run {run.run_id} is open in {run.path.parent}. Close it first: "
            f"ansible-playbook openstack.upgrade_test.cleanup -e upgrade_test_run_id={run.run_id}"
        )


def _got_lock(descriptor: int) -> bool:
    """Try to get the lock on an open file, which ends with the descriptor; whether that went well."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make_root(root: Path) -> None:
    """Make the folder of all runs, which no version control should take in."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        descriptor = os.open(root / ".gitignore", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, b"*\n")
        os.close(descriptor)


def _relink(link: Path, target: str) -> None:
    """Point a link to a new target in one step."""
    spare = link.with_name(f".{link.name}.{os.getpid()}.new")
    spare.unlink(missing_ok=True)
    os.symlink(target, spare)
    os.replace(spare, link)


def _append_line(path: Path, line: bytes, *, durable: bool) -> None:
    """Append one line with one write; a torn line before it is ended first, so that it spoils only itself."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        data = (b"\n" if torn else b"") + line + b"\n"
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, "the record was written in part only", str(path))
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
