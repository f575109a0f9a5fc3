# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which release the running processes of OpenStack are of: read once, or watched.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

The version is the one of the metadata in the package folder that a process imports from. It only counts while it is
not newer than the process: a folder that was written after the process had started holds other code than what runs.
"""

from __future__ import annotations

import json
import os
import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils import _packages, _processes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._packages import Change, Loaded, Package
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._observer import (
    STATUS,
    STOP,
    _owned,
    _stop_signals,
    identity,
    write_status,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._processes import (
    Identity,
    Process,
    UnreadableError,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._releases import (
    distribution,
    possible,
    release_of,
    why_undecided,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import recognise
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Service

_SLACK = 2.0  # seconds: the start of a process and the time of a file are not measured by the same clock
_YOUNG = 30.0  # seconds in which a process that is none of ours may still become one by executing another program


@dataclass(frozen=True, kw_only=True)
class Running:
    """One process of a service; ``version`` and ``release`` are empty when not known, and ``problem`` says why.

    ``possible`` are the releases that its version leaves open, ``commit`` is what it was built from. It is ``stale``
    when its code was replaced after it had started. ``direct``: its version is of the code itself, and not of metadata
    beside a working tree, which may hold anything by now.
    """

    service: str
    component: str
    host: str
    pid: int
    started: float
    version: str = ""
    release: str = ""
    possible: tuple[str, ...] = ()
    commit: str = ""
    problem: str = ""
    stale: bool = False
    direct: bool = True
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def instance(self) -> str:
        """The component on its host."""
        return f"{self.host}/{self.component}"

    @property
    def label(self) -> str:
        """How to name it in a sentence."""
        return f"{self.component} on {self.host}"

    def as_record(self) -> dict[str, Any]:
        """Return the form in which it is logged and returned."""
        return {
            "service": self.service,
            "component": self.component,
            "instance": self.instance,
            "pid": self.pid,
            "started": round(self.started, 2),
            "version": self.version,
            "release": self.release,
            "stale": self.stale,
            "evidence": {**self.evidence, "problem": self.problem} if self.problem else self.evidence,
        }


@dataclass(frozen=True, kw_only=True)
class Code:
    """The code of one process: its package, the newest change of it, and what of it is loaded."""

    package: Package
    loaded: Loaded
    change: Change | None

    def staleness(self, service: str, started: float) -> str:
        """Return why a process does not run what is installed; empty when it does."""
        limit, what = started + _SLACK, f"{service} {self.package.version}"
        if self.package.installed > limit:
            return f"it started before {what} was installed in its place"
        if self.loaded.replaced:
            return f"it started before files that it has loaded were replaced ({self.loaded.replaced[0]})"
        if self.change and self.change.time > limit:
            return f"it started before the code of {what} was changed ({self.change.file})"
        return ""

    def evidence(self, started: float) -> dict[str, Any]:
        """Return what was looked at."""
        package, change = self.package, self.change
        found: dict[str, Any] = {
            "metadata": package.path,
            "installed": round(package.installed, 2),
            "mapped_files": len(self.loaded.files),
        }
        if package.editable:
            found["working_tree"] = package.folder
        if package.commit:
            found["commit"] = package.commit
        if self.loaded.replaced:
            found["replaced_files"] = list(self.loaded.replaced[:3])
        if change and change.time > started + _SLACK:
            found |= {"changed_file": change.file, "changed": round(change.time, 2)}
        return found


Key = tuple[int, int, str, int]
Kind = tuple[str, str]


class Watch:
    """Reads the processes again and again, and looks closely only at those it has not seen before."""

    def __init__(self, host: str, services: Sequence[Service], proc: Path = _processes.PROC) -> None:
        """Read the processes of these services on this host."""
        self.host, self.services, self.proc = host, services, proc
        self._kinds: dict[Key, Kind | None] = {}
        self._known: dict[Key, Running] = {}
        self._stacks: dict[tuple[int, int], int] = {}
        self._changes: dict[tuple[int, int], Change | None] = {}
        self._boot = self._last_read = 0.0

    def read(self) -> list[Running]:
        """Return the processes that run now; workers that a process of the same component has forked are left out."""
        begun, self._boot = clock.time(), _processes.boot_time()
        there = list(_processes.identities(self.proc))
        kinds = {one: self._kinds[one.key] if one.key in self._kinds else self._recognise(one) for one in there}
        running = {one: self._known.get(one.key) or self._examine(one, kind) for one, kind in leaders(kinds)}
        # What ended while it was looked at runs nothing.
        running = {one: found for one, found in running.items() if not self._is_gone(found)}
        self._remember(kinds, running, begun)
        return sorted(running.values(), key=lambda one: (one.service, one.component, one.pid))

    def _remember(
        self, kinds: Mapping[Identity, Kind | None], running: Mapping[Identity, Running], begun: float
    ) -> None:
        """Keep what a second look would say again. What could not be read may be readable later."""
        self._kinds = {
            one.key: kind for one, kind in kinds.items() if kind or begun - self._started(one.ticks) > _YOUNG
        }
        self._known = {one.key: found for one, found in running.items() if found.version or found.stale}
        self._stacks, self._last_read = {(one.pid, one.ticks): one.stack for one in kinds}, begun
        self._changes.clear()

    def _is_gone(self, running: Running) -> bool:
        return bool(running.problem) and not (self.proc / str(running.pid)).exists()

    def _started(self, ticks: int) -> float:
        return self._boot + ticks / os.sysconf("SC_CLK_TCK")

    def _recognise(self, one: Identity) -> Kind | None:
        process = self._process(one)
        return recognise(_processes.names_of(process, self.proc), self.services) if process.command else None

    def _process(self, one: Identity) -> Process:
        """Return a process as it is now; if it has taken its own place, it began after the last reading."""
        executed = self._stacks.get((one.pid, one.ticks), one.stack) != one.stack
        return Process(
            pid=one.pid,
            parent=one.parent,
            ticks=one.ticks,
            started=max(self._started(one.ticks), self._last_read if executed else 0.0),
            name=one.name,
            command=_processes.command_of(one.pid, self.proc),
        )

    def _examine(self, one: Identity, kind: Kind) -> Running:
        """Return what a process of a service runs."""
        process, (service, component) = self._process(one), kind
        facts: dict[str, Any] = {
            "service": service,
            "component": component,
            "host": self.host,
            "pid": process.pid,
            "started": process.started,
        }
        try:
            package = _packages.find_package(process, distribution(service), self.proc)
            mapped = _packages.loaded(process, package, self.proc)
        except UnreadableError as problem:
            return Running(**facts, problem=str(problem))
        code = Code(package=package, loaded=mapped, change=self._change_of(process, package, service))
        evidence = {"interpreter": _processes.interpreter(process.pid, self.proc), **code.evidence(process.started)}
        reason = code.staleness(service, process.started)
        if reason:
            evidence["installed_version"] = package.version
            doubt = self._doubt(process, mapped)
            return Running(**facts, problem=reason + doubt, stale=not doubt, evidence=evidence)
        release = release_of(service, package.version) or ""
        return Running(
            **facts,
            version=package.version,
            release=release,
            possible=possible(service, package.version),
            commit=package.commit,
            problem="" if release else why_undecided(service, package.version),
            direct=package.true,
            evidence=evidence,
        )

    def _doubt(self, process: Process, mapped: Loaded) -> str:
        """Return why a process may run what is installed although it is older; empty when it cannot.

        A server that executes itself anew to reload keeps the time of its start. When files that came later are loaded,
        and none that is gone, it may have done so.
        """
        if mapped.replaced or _packages.newest_of(process, mapped, self.proc) <= process.started + _SLACK:
            return ""
        return ", but it has loaded newer files, so it may have executed itself anew"

    def _change_of(self, process: Process, package: Package, service: str) -> Change | None:
        """Return the newest change of a service's code; of the same code only once in a reading."""
        root = self.proc / str(process.pid) / "root"
        try:
            stat = _packages.inside(root, f"{package.folder}/{service}").stat()
        except OSError:
            return None
        key = (stat.st_dev, stat.st_ino)
        if key not in self._changes:
            self._changes[key] = _packages.newest_change(root, package, service)
        return self._changes[key]


def leaders(kinds: Mapping[Identity, Kind | None]) -> list[tuple[Identity, Kind]]:
    """Leave out the workers: processes whose parent is of the same component, and so runs the same code."""
    by_pid = {one.pid: kind for one, kind in kinds.items()}
    return [(one, kind) for one, kind in kinds.items() if kind and by_pid.get(one.parent) != kind]


def observe(watch: Watch, directory: Path, *, interval: float, duration: float) -> dict[str, Any]:
    """Read every ``interval`` seconds and log each change, until the stop file, a signal, or ``duration`` (0: never).

    Returns the last heartbeat. Raises ProbeError when the directory cannot be used or another observer has it.
    """
    with _owned(directory), _stop_signals() as signalled:
        log = _Log(directory, watch.host)
        deadline = clock.monotonic() + duration if duration else float("inf")
        next_read = clock.monotonic()
        while not (signalled.is_set() or (directory / STOP).exists() or clock.monotonic() >= deadline):
            if clock.monotonic() >= next_read:
                log.take(watch.read())
                next_read = max(next_read + interval, clock.monotonic())
            log.beat("running")
            signalled.wait(max(0.05, min(1.0, next_read - clock.monotonic())))
        log.take(watch.read())
        return log.beat("ended")


def releases_of(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Return how many processes of each service run which release."""
    counts: dict[str, dict[str, int]] = {}
    for record in records:
        mine = counts.setdefault(record["service"], {})
        release = record["release"] or "unknown"
        mine[release] = mine.get(release, 0) + 1
    return counts


class _Log:
    """Appends a record when something changed; a disk that refuses is told in the heartbeat and tried again."""

    def __init__(self, directory: Path, host: str) -> None:
        self._path, self._status, self._host = directory / "processes.jsonl", directory / STATUS, host
        self._last: list[dict[str, Any]] | None = None
        self._started = clock.time()
        self._until: float | None = None
        self.readings, self.changes, self.error = 0, 0, ""

    def take(self, found: Sequence[Running]) -> None:
        """Log what runs now, if it is not what ran before; ``until`` is when that was last seen to run."""
        self.readings += 1
        now = clock.time()
        records = [running.as_record() for running in found]
        if records != self._last and not self._write({"time": now, "until": self._until, "processes": records}):
            return
        self._until = now

    def _write(self, change: dict[str, Any]) -> bool:
        try:
            _append(self._path, json.dumps({"schema": 1, "host": self._host, **change}))
        except OSError as problem:
            self.error = f"{self._path}: {problem.strerror}"
            return False
        self._last, self.error = change["processes"], ""
        self.changes += 1
        return True

    def beat(self, state: str) -> dict[str, Any]:
        """Write the heartbeat and return it."""
        status = {
            "schema": 1,
            "state": state,
            "time": clock.time(),
            "started": self._started,
            **identity(),
            "host": self._host,
            "counts": {"readings": self.readings},
            "changes": self.changes,
            "last_reading": self._until,
            "processes": len(self._last or ()),
            "releases": releases_of(self._last or ()),
            "down": [],
            "log_error": self.error,
        }
        write_status(self._status, status)
        return status


def _append(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, line.encode() + b"\n")
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
