# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The compactor: a process beside the observer that makes closed segments small and keeps the log below its limit.

It hears through a socket below which number segments are closed, and answers with what it has done. It runs at the
lowest priority and nothing waits for it but the observer's end, and that not for long. When it dies, the log merely
stays as large as it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import select
import signal
import socket
import time
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._blocks import Typical
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._child import fork_child
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._compact import (
    carry_over,
    compact,
    drop_detail,
    has_detail,
    is_compact,
    remove_partial,
    run_record,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._log import number_of, segments

FULL, FIT = 6 / 8, 5 / 8
"""Shares of the limit: beyond the first, latencies are given up until the closed segments are below the second."""
PATIENCE = 10.0
"""Seconds that the end of an observer waits for the last segment to be compacted."""


class Housekeeping:
    """The work of the compactor on the segments of one directory."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._typical: Typical = {}
        self._next = 0
        self._failed: dict[Path, Typical] = {}
        self._trouble: dict[Path, str] = {}

    def tidy(self, below: int) -> dict[str, Any]:
        """Compact what is closed, and give up latencies if the log is too large; returns a report.

        The report has ``below`` and the ``size`` of the segments below, how many of them are ``without_latency``, and
        the ``trouble`` with those that stay as they are.
        """
        closed = [path for path in segments(self._directory) if number_of(path) < below]
        for path, typical in list(self._failed.items()):
            self._compact(path, typical)
        for path in closed:
            if number_of(path) >= self._next:
                self._visit(path)
        self._next = max(self._next, below)
        without_latency = self._fit(closed)
        trouble = "; ".join(f"{path.name} stays as it is: {why}" for path, why in self._trouble.items())
        size = sum(path.stat().st_size for path in closed)
        return {"below": below, "size": size, "without_latency": without_latency, "trouble": trouble}

    def _visit(self, path: Path) -> None:
        """See a closed segment for the first time."""
        before = dict(self._typical)
        if not self._compact(path, self._typical):
            carry_over(path, before)
            self._typical = before

    def _compact(self, path: Path, typical: Typical) -> bool:
        """Compact one segment; one for which there was no room is tried again."""
        before = dict(typical)
        self._failed.pop(path, None)
        self._trouble.pop(path, None)
        try:
            compact(path, typical)
        except OSError as error:
            self._trouble[path] = error.strerror or str(error)
            self._failed[path] = before
        except Exception as error:  # whatever is in one segment must not keep the others from being compacted
            self._trouble[path] = str(error)
        return path not in self._trouble

    def _fit(self, closed: list[Path]) -> int:
        """Give up the oldest latencies when there is too much; returns how many segments have none."""
        size = sum(path.stat().st_size for path in closed)
        full = bool(self._max_bytes) and size > FULL * self._max_bytes
        without = 0
        for path in closed:
            record = run_record(path)
            if full and size > FIT * self._max_bytes and has_detail(record):
                before = path.stat().st_size
                with contextlib.suppress(OSError):
                    drop_detail(path)
                    without += 1
                size += path.stat().st_size - before
            else:
                without += is_compact(record) and not has_detail(record)
        return without


class Compactor:
    """The observer's end: ``state`` is running, ended or died, ``report`` the last one."""

    def __init__(self, directory: Path, connection: socket.socket, pid: int) -> None:
        self.state = "running"
        self.report: dict[str, Any] = {}
        self.pid = pid
        self._directory = directory
        self._socket = connection
        self._told = 0
        self._buffer = b""

    def tell(self, below: int) -> None:
        """Segments below that number are closed. Never waits."""
        if self.state != "running" or below == self._told:
            return
        with contextlib.suppress(OSError):  # full: another time; broken: ``poll`` sees it
            self._socket.send(b"%d\n" % below)
            self._told = below

    def poll(self) -> None:
        """Take reports. Never waits."""
        while self.state == "running":
            try:
                data = self._socket.recv(4096)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._reap()
                return
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            if lines:
                self.report = json.loads(lines[-1])

    def _reap(self) -> None:
        self._socket.close()
        _pid, status = os.waitpid(self.pid, 0)
        self.state = "died" if status else "ended"

    def finish(self, below: int, patience: float = PATIENCE) -> None:
        """The session is over: let it compact what is left, for a while."""
        deadline = time.monotonic() + patience
        self.tell(below)
        if self.state == "running":
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
        while self.state == "running" and (left := deadline - time.monotonic()) > 0:
            select.select([self._socket], [], [], left)
            self.poll()
        self.close()

    def close(self) -> None:
        """End the process, whatever it does; the log is whole at any moment."""
        if self.state == "running":
            os.kill(self.pid, signal.SIGKILL)
            self._reap()
            remove_partial(self._directory)


def start_compactor(directory: Path, max_bytes: int) -> Compactor:
    """Fork the process; it ends when the observer does. Raises OSError."""
    ours, theirs = socket.socketpair()
    pid = fork_child(theirs.fileno(), lambda: _live(theirs, directory, max_bytes))
    theirs.close()
    ours.setblocking(False)
    return Compactor(directory, ours, pid)


def _live(connection: socket.socket, directory: Path, max_bytes: int) -> None:
    """The life of the child."""
    gc.enable()
    os.nice(19)
    folder = os.open(directory, os.O_RDONLY)
    # The one of an observer that was killed may still be at work on its last segment.
    fcntl.flock(folder, fcntl.LOCK_EX)
    remove_partial(directory)
    work = Housekeeping(directory, max_bytes)
    while data := connection.recv(4096):
        below = int(data.split()[-1])
        connection.sendall(json.dumps(work.tidy(below)).encode() + b"\n")
