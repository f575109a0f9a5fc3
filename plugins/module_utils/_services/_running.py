# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which release the running processes of OpenStack are of: read once, judged, or watched.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

The version is the one of the metadata in the package folder that a process imports from. It only counts while it is
not newer than the process: a folder that was written after the process had started holds other code than what runs.
"""

from __future__ import annotations

import json
import os
import time as clock
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils import _processes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._observer import (
    STATUS,
    STOP,
    _owned,
    _stop_signals,
    identity,
    write_status,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._processes import Process, UnreadableError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._releases import (
    distribution,
    first_version,
    release_of,
    why_undecided,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import recognise
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Service

VALIDATOR = "release_version"
_SLACK = 2.0  # seconds: the start of a process and the time of a file are not measured by the same clock
_YOUNG = 30.0  # seconds in which a process that is none of ours may still become one by executing another program


@dataclass(frozen=True, kw_only=True)
class Running:
    """One process of a service; ``version`` and ``release`` are empty when not known, and ``problem`` says why."""

    service: str
    component: str
    host: str
    pid: int
    started: float
    version: str = ""
    release: str = ""
    problem: str = ""
    stale: bool = False
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
            "evidence": {**self.evidence, "problem": self.problem} if self.problem else self.evidence,
        }


class Watch:
    """Reads the processes again and again, and looks closely only at those it has not seen before."""

    def __init__(self, host: str, services: Sequence[Service], proc: Path = _processes.PROC) -> None:
        """Read the processes of these services on this host."""
        self.host, self.services, self.proc = host, services, proc
        self._known: dict[tuple[int, int, str], Running | None] = {}
        self._boot = _processes.boot_time(proc)

    def read(self) -> list[Running]:
        """Return the processes that run now; workers that a process of the same component has forked are left out."""
        parents: dict[int, int] = {}
        seen: dict[tuple[int, int, str], Running | None] = {}
        for pid, parent, ticks, name in _processes.identities(self.proc):
            parents[pid] = parent
            seen[(pid, ticks, name)] = self._look((pid, ticks, name), parent)
        self._known = {key: found for key, found in seen.items() if self._worth_keeping(key, found)}
        return leaders([found for found in seen.values() if found], parents)

    def _worth_keeping(self, key: tuple[int, int, str], found: Running | None) -> bool:
        """Whether a second look would say the same. What could not be read may be readable later."""
        if found is None:
            return clock.time() - self._started(key[1]) > _YOUNG
        return not found.problem or found.stale

    def _started(self, ticks: int) -> float:
        return self._boot + ticks / os.sysconf("SC_CLK_TCK")

    def _look(self, key: tuple[int, int, str], parent: int) -> Running | None:
        if key in self._known:
            return self._known[key]
        pid, ticks, name = key
        command = _processes.command_of(pid, self.proc)
        if not command:
            return None
        process = Process(pid=pid, parent=parent, ticks=ticks, started=self._started(ticks), name=name, command=command)
        return examine(process, self.host, self.services, self.proc)


def leaders(found: Sequence[Running], parents: dict[int, int]) -> list[Running]:
    """Leave out the workers: processes whose parent is of the same component, and so runs the same code."""
    kinds = {running.pid: (running.service, running.component) for running in found}
    alone = [one for one in found if kinds.get(parents.get(one.pid, 0)) != (one.service, one.component)]
    return sorted(alone, key=lambda one: (one.service, one.component, one.pid))


def examine(process: Process, host: str, services: Sequence[Service], proc: Path) -> Running | None:
    """Return what a process is and runs, or None when it is of none of the services."""
    recognised = recognise(_processes.names_of(process, proc), services)
    if recognised is None:
        return None
    service, component = recognised
    facts: dict[str, Any] = {
        "service": service,
        "component": component,
        "host": host,
        "pid": process.pid,
        "started": process.started,
    }
    try:
        package = _processes.find_package(process, distribution(service), proc)
        replaced = _processes.deleted_files(process.pid, proc)
    except UnreadableError as problem:
        return Running(**facts, problem=str(problem))
    evidence = {"metadata": package.path, "installed": round(package.installed, 2)}
    if replaced or package.installed > process.started + _SLACK:
        reason = f"it started before {service} {package.version} was installed in its place"
        evidence |= {"installed_version": package.version, "replaced_files": replaced[:3]}
        return Running(**facts, problem=reason, stale=True, evidence=evidence)
    release = release_of(service, package.version) or ""
    reason = "" if release else why_undecided(service, package.version)
    return Running(**facts, version=package.version, release=release, problem=reason, evidence=evidence)


def judge(found: Iterable[Running], releases: Sequence[str], phase: str) -> list[Outcome]:
    """Return one outcome for each process: whether its release is one of these, or, with none given, is known."""
    return [_judge_one(running, releases, phase) for running in found]


def _judge_one(running: Running, releases: Sequence[str], phase: str) -> Outcome:
    status, message = _verdict(running, releases)
    return Outcome(
        validator=VALIDATOR,
        check="release",
        service=running.service,
        subject=running.component,
        host=running.host,
        phase=phase,
        status=status,
        message=message,
        expected=" or ".join(releases) or None,
        found=running.release or None,
        evidence={"pid": running.pid, "version": running.version, **running.evidence},
    )


def _verdict(running: Running, releases: Sequence[str]) -> tuple[Status, str]:
    label, service = running.label, running.service
    if running.stale:
        return Status.FAIL, f"{label} runs code that is no longer installed: {running.problem}. Restart it."
    if not running.release:
        return Status.UNKNOWN, f"The release of {label} (pid {running.pid}) is not known: {running.problem}."
    runs = f"{label} runs {service} {running.version} ({running.release})"
    if not releases or running.release in releases:
        return Status.PASS, f"{runs}."
    wanted = " or ".join(f"{release} ({service} {first_version(service, release)})" for release in releases)
    return Status.FAIL, f"{runs} and should run {wanted}."


def absence(watch: Watch, phase: str) -> Outcome:
    """Return the one outcome of a host on which no process was found."""
    names = ", ".join(service.name for service in watch.services)
    return Outcome(
        validator=VALIDATOR,
        check="release",
        service="",
        subject=watch.host,
        host=watch.host,
        phase=phase,
        status=Status.SKIP,
        message=f"No process of {names} runs on {watch.host}.",
    )


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


class _Log:
    """Appends a record when something changed; a disk that refuses is told in the heartbeat and tried again."""

    def __init__(self, directory: Path, host: str) -> None:
        self._path, self._status, self._host = directory / "processes.jsonl", directory / STATUS, host
        self._last: list[dict[str, Any]] | None = None
        self._started = clock.time()
        self.readings, self.changes, self.error = 0, 0, ""

    def take(self, found: Sequence[Running]) -> None:
        """Log what runs now, if it is not what ran before."""
        self.readings += 1
        records = [running.as_record() for running in found]
        if records == self._last:
            return
        line = json.dumps({"schema": 1, "time": clock.time(), "host": self._host, "processes": records})
        try:
            _append(self._path, line)
        except OSError as problem:
            self.error = f"{self._path}: {problem.strerror}"
            return
        self._last, self.error = records, ""
        self.changes += 1

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
            "processes": len(self._last or ()),
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
