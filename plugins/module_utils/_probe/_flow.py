# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One TCP connection that is held open for the whole run: whether the flow survives.

At each planned moment a small request goes over it. While one is under way the next probes wait for the same answer, as
nothing overtakes on a stream: silence lasts until something gets through again, however long TCP takes for it.

The end of the connection is the finding here, never a race that is made good in silence: it is recorded as FLOW_BROKEN
at its moment, and then the connection is opened anew. Only what the service announced, as HTTP can, is its own affair.
"""

from __future__ import annotations

import errno
import select
import socket
from typing import Protocol

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._classify import (
    kind_of_error,
    kind_of_http_error,
    kind_of_response,
    kind_of_silence,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._http import (
    HttpError,
    ResponseReader,
    build_request,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._lane import (
    ANCILLARY,
    SO_TIMESTAMPNS,
    Host,
    Lane,
    Probe,
    arrival,
    monotonic_ns,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import (
    FLAG_BURST,
    FLAG_RETRIED,
    FLAG_REUSED,
    Kind,
    LaneSpec,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import SECOND

PATIENCE = 60 * SECOND
"""Nanoseconds of silence after which an open connection is given up."""
FRESH = SECOND
"""Age at which an attempt to connect has lost its first packet: a new one finds the end of the trouble sooner."""

_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_BROKEN = select.EPOLLERR | select.EPOLLHUP
_TYPE = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_READ = 16384


class Exchange(Protocol):
    """One request and its answer. ``feed`` takes bytes and is True once the answer is complete; raises HttpError."""

    request: bytes

    def begin(self) -> None:
        """A new request is sent."""

    def feed(self, data: bytes) -> bool:
        """Take bytes of the answer."""

    def end(self) -> bool:
        """The connection ended; True when that completes the answer."""

    def result(self) -> tuple[Kind, int]:
        """What the complete answer means, and its status."""

    @property
    def keeps(self) -> bool:
        """Whether the service lets the connection live on."""


class HttpExchange:
    """A GET that asks for the connection to be kept."""

    def __init__(self, spec: LaneSpec) -> None:
        self.request = build_request(spec.path, spec.host_header, keep=True)
        self._spec = spec
        self._reader = ResponseReader()

    def begin(self) -> None:
        self._reader = ResponseReader()

    def feed(self, data: bytes) -> bool:
        return self._reader.feed(data)

    def end(self) -> bool:
        try:
            return self._reader.end()
        except HttpError:
            return False

    def result(self) -> tuple[Kind, int]:
        return kind_of_response(self._spec, self._reader), self._reader.status

    @property
    def keeps(self) -> bool:
        return self._reader.reusable


class EchoExchange:
    """A line that the service sends back."""

    request = b"openstack.upgrade_test\n"
    keeps = True

    def __init__(self) -> None:
        self._got = b""

    def begin(self) -> None:
        self._got = b""

    def feed(self, data: bytes) -> bool:
        self._got += data
        if not self.request.startswith(self._got):
            raise HttpError("something else came back than what was sent")
        return self._got == self.request

    def end(self) -> bool:
        return False

    def result(self) -> tuple[Kind, int]:
        return Kind.UP, 0


class FlowLane(Lane):
    """Holds one connection, and lets probes wait for the answers that come over it."""

    def __init__(self, number: int, spec: LaneSpec, host: Host) -> None:
        super().__init__(number, spec, host)
        self.exchange: Exchange = EchoExchange() if spec.echo else HttpExchange(spec)
        self._flow: Flow | None = None
        self._waiting: list[Probe] = []
        self._held = False

    def send(self, probe: Probe) -> None:
        """Over the open connection, else over a new one."""
        now = probe.sent = monotonic_ns()
        self._waiting.append(probe)
        flow = self._flow
        if flow is not None and flow.connecting and now - flow.since > FRESH:
            flow.close()
            self._open()
        elif flow is not None and flow.asked and now - flow.since > PATIENCE:
            self.ended(flow, Kind.FLOW_BROKEN, errno.ETIMEDOUT)
        else:
            probe.flags |= FLAG_REUSED if flow is not None and flow.used else 0
            self._ask()

    def _open(self) -> None:
        try:
            self._flow = Flow(self)
        except OSError as error:
            number = error.errno or 0
            self._finish(self.waiting(), kind_of_error(number, at_once=True), monotonic_ns(), number)
            return
        self._flow.connect()

    def waiting(self) -> list[Probe]:
        """The probes that wait for an answer."""
        self._waiting = [probe for probe in self._waiting if not probe.done]
        return self._waiting

    def answered(self, flow: Flow, moment: int) -> None:
        """The answer is complete: it came for all that was asked before that moment."""
        kind, status = self.exchange.result()
        waiting = self.waiting()
        first, flow.used = not flow.used, True
        if not self.exchange.keeps:
            self._drop(flow)
            kind = Kind.VOID_UNKEPT if first and kind is Kind.UP else kind
        elif first:
            self._note_opened(waiting)
        self._finish([probe for probe in waiting if probe.sent <= moment], kind, moment, status)
        if self.waiting():
            self._ask()

    def _note_opened(self, waiting: list[Probe]) -> None:
        if self._held and waiting:
            waiting[0].flags |= FLAG_RETRIED
        self._held = True

    def _ask(self) -> None:
        if self._flow is None:
            self._open()
        else:
            self._flow.ask()

    def unreadable(self, flow: Flow, kind: Kind) -> None:
        """What came is no answer; where the next one begins is not known any more."""
        self._drop(flow)
        self._finish(self.waiting(), kind, monotonic_ns(), 0)

    def ended(self, flow: Flow, kind: Kind, status: int) -> None:
        """The connection is over, without a word before. One that had carried something is what is watched here."""
        self._drop(flow)
        if not flow.used or kind.is_void:
            self._finish(self.waiting(), kind, monotonic_ns(), status)
            return
        self._note_break(status)
        if self.waiting():
            self._open()

    def _note_break(self, status: int) -> None:
        now = monotonic_ns()
        probe = Probe(self, 0, now, now, FLAG_BURST)
        probe.sent = now
        self.in_flight += 1
        self.host.finish(probe, Kind.FLOW_BROKEN, now, status)

    def _drop(self, flow: Flow) -> None:
        flow.close()
        if self._flow is flow:
            self._flow = None

    def _finish(self, probes: list[Probe], kind: Kind, moment: int, status: int) -> None:
        for probe in probes:
            self.host.finish(probe, kind, moment, status)

    def expire(self, probe: Probe) -> None:
        """Not answered in time. The connection stays: whether it survives is the question."""
        connected = self._flow is not None and not self._flow.connecting
        self.host.finish(probe, kind_of_silence(connected=connected, started=bool(probe.first)), monotonic_ns())

    def close(self) -> None:
        """Close the connection."""
        if self._flow is not None:
            self._drop(self._flow)


class Flow:
    """The connection. ``since``: when it began to connect, or to wait for the answer that is owed."""

    __slots__ = ("_fd", "_lane", "_out", "_socket", "asked", "connecting", "since", "used")

    def __init__(self, lane: FlowLane) -> None:
        self._lane = lane
        self._out = b""
        self.connecting = True
        self.asked = False
        self.used = False
        self.since = monotonic_ns()
        self._socket = socket.socket(lane.spec.family, _TYPE)
        self._fd = self._socket.fileno()

    def connect(self) -> None:
        """Begin to connect."""
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = self._socket.connect_ex(self._lane.spec.sockaddr)
        except OSError as error:
            number = error.errno or 0
        if number in (0, errno.EINPROGRESS):
            self._lane.host.watch(self._fd, _EVENTS, self)
        else:
            self._lane.ended(self, kind_of_error(number, at_once=True), number)

    def ready(self, mask: int) -> None:
        """The socket has events."""
        if self.connecting:
            if mask & _BROKEN:
                self._broken(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
                return
            if not mask & select.EPOLLOUT:
                return
            self._connected()
        elif self._out and mask & select.EPOLLOUT:
            self._flush()
        while self._fd >= 0 and self._receive():
            pass

    def _connected(self) -> None:
        self.connecting = False
        now = monotonic_ns()
        for probe in self._lane.waiting():
            probe.connected = now
        self.ask()

    def ask(self) -> None:
        """Send a request, unless an answer is owed already."""
        if not self.connecting and not self.asked:
            self.asked = True
            self.since = monotonic_ns()
            self._lane.exchange.begin()
            self._out = self._lane.exchange.request
            self._flush()

    def _flush(self) -> None:
        try:
            self._out = self._out[self._socket.send(self._out) :]
        except BlockingIOError:
            return
        except OSError as error:
            self._broken(error.errno or 0)

    def _receive(self) -> bool:
        """Read once; True when there may be more."""
        try:
            data, ancillary, _flags, _address = self._socket.recvmsg(_READ, ANCILLARY)
        except BlockingIOError:
            return False
        except OSError as error:
            self._broken(error.errno or 0)
            return False
        if data and self.asked:
            self._got(data, arrival(ancillary, self.since))
            return True
        if self.asked and self._lane.exchange.end():
            self._lane.answered(self, monotonic_ns())
        else:
            # The end; or bytes that nobody asked for, after which nothing can be told apart.
            self._lane.ended(self, Kind.FLOW_BROKEN if self.used else Kind.EARLY_CLOSE, 0)
        return False

    def _got(self, data: bytes, moment: int) -> None:
        lane = self._lane
        for probe in lane.waiting():
            probe.first = probe.first or max(moment, probe.sent)
        try:
            complete = lane.exchange.feed(data)
        except HttpError as error:
            lane.unreadable(self, kind_of_http_error(error))
            return
        if complete:
            self.asked = False
            lane.answered(self, moment)

    def _broken(self, number: int) -> None:
        self._lane.ended(self, kind_of_error(number) if number else Kind.RESET, number)

    def close(self) -> None:
        """Close the socket; harmless when it is closed."""
        if self._fd >= 0:
            self._lane.host.forget(self._fd)
            self._fd = -1
            self._socket.close()
