# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of an observer: its directory, its heartbeat, its end."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import queue
import resource
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._canary import start_canary
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._compactor import Compactor, start_compactor
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._log import LogWriter
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import LaneSpec, ProbeError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._sampler import Sampler
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._status import StatusFile
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import SECOND, boot_id, read_clocks

STATUS = "status.json"
STOP = "stop"
STALE_STOP = 60.0
"""Seconds before the start beyond which a stop file is left from an earlier observer."""


MAX_BYTES = 1024**3
"""Bytes of a log beyond which latencies are given up: a year of one lane at 10 probes a second."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to observe. Times in seconds; duration 0 means until stopped; tokens: where they come from, see _tokens."""

    directory: Path
    duration: float = 0.0
    timeout: float = 5.0
    slow_after: float = 1.0
    nice: int = 0
    realtime: bool = False
    max_bytes: int = MAX_BYTES
    tls: ssl.SSLContext | None = None
    tokens: socket.socket | None = None


def observe(plan: Plan, specs: Sequence[LaneSpec]) -> dict[str, Any]:
    """Sample until the stop file, SIGTERM or the duration; returns the last status. Raises ProbeError."""
    with _owned(plan.directory), _stop_signals() as signalled:
        _prepare_process()
        canary = _canary_or_none()
        compactor = _compactor_or_none(plan)
        log = LogWriter(plan.directory, max_bytes=plan.max_bytes)
        sampler = Sampler(specs, log, timeout=plan.timeout, tls=plan.tls, canary=canary, tokens=plan.tokens)
        observer = _Observer(plan, specs, log, sampler, signalled, compactor=compactor)
        try:
            return observer.live(_schedule(plan))
        finally:
            sampler.close()
            log.close()
            if compactor is not None:
                compactor.close()


class _Observer:
    def __init__(
        self,
        plan: Plan,
        specs: Sequence[LaneSpec],
        log: LogWriter,
        sampler: Sampler,
        signalled: threading.Event,
        *,
        compactor: Compactor | None = None,
    ) -> None:
        self._plan = plan
        self._specs = specs
        self._log = log
        self._sampler = sampler
        self._signalled = signalled
        self._compactor = compactor
        self._stop_file = plan.directory / STOP
        self._keeper = _Keeper(plan.directory / STATUS, log)
        self._identity = identity()
        self._started = time.time()
        self._deadline = time.monotonic_ns() + int(plan.duration * SECOND) if plan.duration else 0
        self._scheduler = "normal"
        self._beats = 0

    def live(self, scheduler: str) -> dict[str, Any]:
        """From the first record to the last."""
        self._scheduler = scheduler
        self._log.write_run(self._run_record())
        self._sampler.note_health()
        self._keeper.start(self._status("running"))
        sent_until = self._sampler.run(self._should_stop, self._each_second)
        self._sampler.drain()
        self._sampler.note_health()
        self._log.write_end({"sent_until": sent_until, "reason": self._reason()})
        if self._compactor is not None:
            self._compactor.finish(self._log.number + 1)
        status = self._status("ended")
        self._keeper.finish(status)
        return status

    def _run_record(self) -> dict[str, Any]:
        return {
            "boot_id": boot_id(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "clocks": list(read_clocks()),
            "timeout": self._plan.timeout,
            "slow_after": self._plan.slow_after,
            "scheduler": self._scheduler,
            "lanes": [spec.as_record() for spec in self._specs],
        }

    def _should_stop(self, now: int) -> bool:
        return self._signalled.is_set() or bool(self._deadline and now >= self._deadline) or self._stop_file.exists()

    def _reason(self) -> str:
        if self._signalled.is_set():
            return "signal"
        return "stop file" if self._stop_file.exists() else "duration"

    def _each_second(self, _now: int) -> None:
        self._sampler.note_health()
        if self._compactor is not None:
            self._compactor.tell(self._log.number)
            self._compactor.poll()
            self._log.note_closed(self._compactor.report)
        self._keeper.beat(self._status("running"))
        self._beats += 1
        if self._beats % 60 == 0:
            gc.collect()

    def _status(self, state: str) -> dict[str, Any]:
        lanes = self._sampler.lanes
        return {
            "schema": 1,
            "state": state,
            "time": time.time(),
            "started": self._started,
            **self._identity,
            "scheduler": self._scheduler,
            "counts": {
                "up": sum(lane.up for lane in lanes),
                "down": sum(lane.down for lane in lanes),
                "void": sum(lane.void for lane in lanes),
            },
            "rate": sum(lane.spec.rate for lane in lanes),
            "in_flight": self._sampler.in_flight,
            "targets": len(lanes),
            "down": [
                {
                    "name": lane.spec.name,
                    "service": lane.spec.service,
                    "via": lane.spec.via,
                    "mode": lane.spec.mode,
                    "auth": lane.spec.auth,
                    "kind": lane.last_kind.name.lower(),
                    "for": round((time.monotonic_ns() - lane.down_since) / SECOND, 3),
                }
                for lane in lanes
                if lane.down_since
            ],
            "tokens": self._sampler.tokens.status() if self._sampler.tokens else None,
            "log": self._log_status(),
            "log_error": self._log.error,
            "local_error": self._local_error(),
            "lost_samples": self._log.lost_samples,
        }

    def _local_error(self) -> str:
        """Why the observer's own host refused to send, if it did since the last time."""
        number, self._sampler.local_error = self._sampler.local_error, 0
        return os.strerror(number) if number else ""

    def _log_status(self) -> dict[str, Any]:
        """How large the log is, and what is done about it."""
        report = self._compactor.report if self._compactor else {}
        over = report.get("below", 0) > self._log.number
        return {
            "size": report["size"] if over else self._log.size,
            "limit": self._plan.max_bytes,
            "compactor": self._compactor.state if self._compactor else "not started",
            "without_latency": report.get("without_latency", 0),
            "good_not_recorded": self._log.thinned,
            "trouble": report.get("trouble", ""),
        }


class _Keeper:
    """The thread that may wait for the disk: syncs the log and writes the status file once a second."""

    def __init__(self, path: Path, log: LogWriter) -> None:
        self._file = StatusFile(path)
        self._log = log
        self._work: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self, status: dict[str, Any]) -> None:
        for _turn in range(2):
            self._file.write(status)
        self._thread.start()

    def beat(self, status: dict[str, Any]) -> None:
        if self._work.empty():
            self._work.put(status)

    def finish(self, status: dict[str, Any]) -> None:
        self._work.put(None)
        self._thread.join()
        with contextlib.suppress(OSError):
            self._log.sync()
        self._file.write(status)
        self._file.close()

    def _run(self) -> None:
        while (status := self._work.get()) is not None:
            # A full disk is reported in the status and by the writer; the heartbeat itself goes on.
            with contextlib.suppress(OSError):
                self._log.sync()
            self._file.write(status)


def write_status(path: Path, status: dict[str, Any]) -> None:
    """Replace the status file at once, where there is no more to come soon."""
    with contextlib.closing(StatusFile(path)) as file:
        file.write(status)


def identity() -> dict[str, Any]:
    """What tells this process from every other: pid, its start in the kernel's ticks, the boot."""
    return {"pid": os.getpid(), "pid_start": process_start(os.getpid()), "boot_id": boot_id()}


def process_start(pid: int) -> int:
    """The start time of a process in ticks since boot; 0 when there is no such process (or it is a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return 0 if fields[0] in "ZX" else int(fields[19])
    except (OSError, IndexError, ValueError):
        return 0


@contextlib.contextmanager
def _owned(directory: Path) -> Iterator[None]:
    """The directory, made if need be, and for one observer only."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ProbeError(f"directory: cannot write to {directory}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise ProbeError(f"directory: another observer is already running in {directory}; stop it first") from None
    try:
        _remove_stale_stop(directory / STOP)
        yield
    finally:
        os.close(lock)


def _remove_stale_stop(path: Path) -> None:
    # A fresh one was meant for this observer: whoever wrote it did not want to wait for the start.
    with contextlib.suppress(FileNotFoundError):
        if time.time() - path.stat().st_mtime > STALE_STOP:
            path.unlink()


@contextlib.contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """SIGTERM and SIGINT set the event."""
    event = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        event.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _prepare_process() -> None:
    """All descriptors the host allows, and no pauses by the collector: the loop makes no cycles of its own."""
    with contextlib.suppress(OSError, ValueError):
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.collect()
    gc.freeze()
    gc.disable()


def _canary_or_none() -> tuple[socket.socket, int] | None:
    try:
        return start_canary()
    except OSError:
        return None  # no loopback, no process: observing goes on without the canary


def _compactor_or_none(plan: Plan) -> Compactor | None:
    try:
        return start_compactor(plan.directory, plan.max_bytes)
    except OSError:
        return None  # no process: the log stays as large as it is written


def _schedule(plan: Plan) -> str:
    """Ask for the scheduling that the plan wants; returns what was got."""
    if plan.realtime and _granted_realtime():
        return "fifo"
    try:
        if plan.nice:
            os.setpriority(os.PRIO_PROCESS, 0, plan.nice)
        told = f"normal, nice {plan.nice}" if plan.nice else "normal"
    except OSError:
        told = f"normal (nice {plan.nice} was refused)"
    return f"{told} (real-time scheduling was refused)" if plan.realtime else told


def _granted_realtime() -> bool:
    """Ask for the real-time scheduler. The limit ends a loop that would run wild."""
    try:
        resource.setrlimit(resource.RLIMIT_RTTIME, (2_000_000, 4_000_000))
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except (OSError, AttributeError):
        return False
    return True
