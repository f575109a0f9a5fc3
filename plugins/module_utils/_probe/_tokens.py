# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Probes that carry a token, and the reading of tokens, which another process gets.

What that process is like is not known here. Lines of JSON come from it: ``{"header": "Name: secret", "ends": 815}``, a
header for each request and the moment (nanoseconds of CLOCK_BOOTTIME) from which it must not be used any more, or
``{"error": "..."}``, why there is no new one. A byte sent to it asks for a new one at once. Its end is its death.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._burst import Burst
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._lane import Host, Probe, monotonic_ns
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import Kind, LaneSpec
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._stream import StreamLane
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import boot_ns

MOST_LINE = 64 * 1024
"""Bytes of a line beyond which it cannot be one."""
GONE = "The source of tokens is gone."
_BUDGET = 20
"""Probes of a burst: unlike the page of versions, what needs a token costs a service real work."""


class TokenLane(StreamLane):
    """HTTP with a token. Without a valid one nothing is sent, and the probe is void."""

    def __init__(self, number: int, spec: LaneSpec, host: Host, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(number, spec, host, tls)
        self.burst = Burst(spec.rate, budget=_BUDGET)
        self.refused: Callable[[], None] = lambda: None
        self._plain = self.request
        self._ends = 0

    def use(self, header: bytes, ends: int) -> None:
        """Carry this header from now on."""
        self.request = self._plain[:-2] + header + b"\r\n\r\n"
        self._ends = ends

    def send(self, probe: Probe) -> None:
        """Send the probe, if there is a token."""
        if boot_ns() < self._ends:
            super().send(probe)
            return
        probe.sent = monotonic_ns()
        self.host.finish(probe, Kind.VOID_TOKEN, probe.sent)

    def failed(self) -> None:
        """A probe found the target down. A token may have been revoked before its end, so another one is asked for."""
        super().failed()
        if self.last_kind is Kind.UNAUTHORIZED:
            self.refused()


class TokenFeed:
    """Hands what the source sends to the lanes, and never waits for it."""

    def __init__(self, connection: socket.socket, host: Host, lanes: Sequence[TokenLane]) -> None:
        self._connection = connection
        self._host = host
        self._lanes = lanes
        self._rest = b""
        self._ends = 0
        self._asked = False
        self._gone = False
        self._error = ""
        for lane in lanes:
            lane.refused = self._ask
        connection.setblocking(False)
        host.watch(connection.fileno(), select.EPOLLIN, self)

    def ready(self, _mask: int) -> None:
        """There is something to read."""
        try:
            data = self._connection.recv(MOST_LINE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone = True
            self._host.forget(self._connection.fileno())
            self._connection.close()
            return
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest if len(rest) <= MOST_LINE else b""
        for line in lines:
            self._take(line)

    def _take(self, line: bytes) -> None:
        """One line. What cannot be read is not repeated anywhere: there may be half a token in it."""
        try:
            header, ends, error = parse(line)
        except ValueError:
            self._error = "The source of tokens sent a line that cannot be read."
            return
        if header:
            self._asked = False
            self._ends = ends
            for lane in self._lanes:
                lane.use(header, ends)
        if header or error:
            self._error = error

    def _ask(self) -> None:
        if self._asked or self._gone:
            return
        self._asked = True
        with contextlib.suppress(OSError):
            self._connection.send(b"?")

    def status(self) -> dict[str, Any]:
        """For the heartbeat: whether there is a valid token, whether anybody gets new ones, and the last trouble."""
        error = " ".join(text for text in (self._error, GONE if self._gone else "") if text)
        return {"valid": boot_ns() < self._ends, "source": "gone" if self._gone else "running", "error": error}

    def close(self) -> None:
        """Give the descriptor back, which also ends the source."""
        if not self._gone:
            self._host.forget(self._connection.fileno())
            self._connection.close()


def parse(line: bytes) -> tuple[bytes, int, str]:
    """(header, its end, error) of one line, empty where the line says nothing of it. Raises ValueError."""
    record = json.loads(line)
    if not isinstance(record, dict):
        raise ValueError("no object")
    header, ends = record.get("header", ""), record.get("ends", 0)
    if not isinstance(header, str) or not isinstance(ends, int) or not all(" " <= sign <= "~" for sign in header):
        raise ValueError("no header")
    return header.encode("ascii"), ends, str(record.get("error") or record.get("fatal") or "")
