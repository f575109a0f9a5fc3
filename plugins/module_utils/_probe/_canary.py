# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The canary: a process beside the observer that answers over loopback.

When it does not answer, the observer's own host is in trouble, and silence of a target proves nothing.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections import deque

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._child import fork_child
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._lane import (
    ANCILLARY,
    SO_TIMESTAMPNS,
    Host,
    Lane,
    Probe,
    arrival,
    monotonic_ns,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import Kind, LaneSpec

SPEC = LaneSpec(name="canary", mode="canary", rate=10.0)
PATIENCE = 250_000_000
"""Nanoseconds for an answer over loopback beyond which the observer's host counts as unfit."""


def start_canary() -> tuple[socket.socket, int]:
    """Fork the process; returns our end of the connection and its pid. It ends when that end is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _address = listener.accept()
    pid = fork_child(theirs.fileno(), lambda: _serve(theirs.fileno()))
    theirs.close()
    ours.setblocking(False)
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ours.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return ours, pid


def _serve(connection: int) -> None:
    """The life of the child: answer each byte until the parent is gone."""
    while data := os.read(connection, 4096):
        os.write(connection, data)


class CanaryLane(Lane):
    """Asks the canary; ``fit`` tells whether silence since a moment can be blamed on the target."""

    def __init__(self, number: int, host: Host, connection: socket.socket, pid: int) -> None:
        super().__init__(number, SPEC, host)
        self._socket = connection
        self._pid = pid
        self._waiting: deque[Probe] = deque()
        self._unfit_until = 0
        self._gone = False
        host.watch(connection.fileno(), select.EPOLLIN, self)

    def fit(self, since: int, now: int) -> bool:
        """True when no answer since that moment was late, and none is."""
        owes = bool(self._waiting) and now - self._waiting[0].sent > PATIENCE
        return self._gone or (self._unfit_until < since and not owes)

    def send(self, probe: Probe) -> None:
        """Ask."""
        probe.sent = monotonic_ns()
        try:
            self._socket.send(b"?")
        except OSError as error:
            self.host.finish(probe, Kind.VOID_LOCAL, monotonic_ns(), error.errno or 0)
            return
        self._waiting.append(probe)

    def ready(self, _mask: int) -> None:
        """Answers came, in the order of the questions."""
        try:
            data, ancillary, _flags, _address = self._socket.recvmsg(4096, ANCILLARY)
        except OSError:
            return
        if not data:
            # Somebody ended it: without a canary every silence is taken at its word.
            self._gone = True
            self.host.forget(self._socket.fileno())
            return
        for _byte in data:
            probe = self._waiting.popleft()
            moment = arrival(ancillary, probe.sent)
            if moment - probe.sent > PATIENCE:
                self._unfit_until = moment
            self.host.finish(probe, Kind.UP, moment)

    def expire(self, probe: Probe) -> None:
        """Not answered in time; a late answer is still expected in its place."""
        self.host.finish(probe, Kind.TIMEOUT, monotonic_ns())

    def close(self) -> None:
        """End the process."""
        if self._socket.fileno() >= 0:
            self.host.forget(self._socket.fileno())
            self._socket.close()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
