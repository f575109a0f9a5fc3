# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Probes over TCP: connect only, or an HTTP GET over a new or a kept-alive connection, plain or TLS."""

from __future__ import annotations

import errno
import select
import socket
import ssl

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._burst import Bucket
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
    handshake_end,
    monotonic_ns,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import (
    FLAG_RETRIED,
    FLAG_REUSED,
    Kind,
    LaneSpec,
)

_HEARING = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
_WRITABLE = select.EPOLLOUT
_EVENTS = _HEARING | _WRITABLE
_BROKEN = select.EPOLLERR | select.EPOLLHUP
_READABLE = select.EPOLLIN | select.EPOLLRDHUP | _BROKEN
_TYPE = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_MORE_THAN_DATA = ~(select.EPOLLIN | _WRITABLE)
_UNDER_WAY = (0, errno.EINPROGRESS)
_HUNG_UP = select.EPOLLRDHUP
_READ = 16384
_FULL_HANDSHAKE_EVERY = 10
"""Resumed TLS sessions do not show the certificate, so every tenth handshake is a full one."""


_LONGEST_USUAL = 4096
"""Bytes of a response beyond which it is not remembered."""

_ALARMS = (5, 0.1)
"""Alarms by closed connections: at once, and further ones per second."""


class StreamLane(Lane):
    """Opens connections and keeps at most one idle.

    usual: the last response that came in one piece; usual_meaning: what it was found to be (kind, status, whether its
    connection can be kept). Most responses are the one before again, and to see that costs a tenth of reading them.
    prompt: the answer was there when one could first be read, so that the next one is looked for at that time; to be
    told of it is dearer.
    """

    def __init__(self, number: int, spec: LaneSpec, host: Host, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(number, spec, host)
        self.keeps = spec.mode == "kept"
        self.connect_only = spec.mode == "tcp"
        self.request = build_request(spec.path, spec.host_header, keep=self.keeps)
        self.tls = tls if spec.tls else None
        self.speaks_first = not (self.connect_only or spec.tls)
        self.session: ssl.SSLSession | None = None
        self.idle: Connection | None = None
        self.prompt = False
        self.usual = b""
        self.usual_meaning = (Kind.UP, 0, False)
        self._opened = 0
        self._alarms = Bucket(*_ALARMS)

    def send(self, probe: Probe) -> None:
        """Over the idle connection, else over a new one."""
        connection, self.idle = self.idle, None
        if connection is None:
            self.open(probe)
        else:
            connection.reuse(probe)

    def open(self, probe: Probe) -> None:
        """Over a new connection."""
        self._opened += 1
        probe.sent = monotonic_ns()
        try:
            connection = Connection(self, probe)
        except OSError as error:
            self.host.finish(probe, kind_of_error(error.errno or 0, at_once=True), monotonic_ns(), error.errno or 0)
            return
        connection.connect()

    def session_to_resume(self) -> ssl.SSLSession | None:
        """The TLS session for the next handshake, or None for a full one."""
        return self.session if self._opened % _FULL_HANDSHAKE_EVERY else None

    def idle_closed(self, connection: Connection) -> None:
        """The peer closed the idle connection: normal by itself, but the first sign when a listener dies."""
        if self.idle is connection:
            self.idle = None
        self.suspect()

    def suspect(self) -> None:
        """A connection was closed under us. Many servers do that as a habit, which soon stops to raise an alarm."""
        now = monotonic_ns()
        if self._alarms.spend(now):
            self.host.note_sign(self, now)
            self.host.alarm(self)

    def failed(self) -> None:
        """The target is down: the next closed connection is worth a look again."""
        self._alarms.refill()

    def expire(self, probe: Probe) -> None:
        """Not answered in time."""
        probe.carrier.expire()

    def close(self) -> None:
        """Close the idle connection."""
        if self.idle is not None:
            self.idle.close()
            self.idle = None


class Connection:
    """One TCP connection and the probe that is on it, if any."""

    def __init__(self, lane: StreamLane, probe: Probe) -> None:
        self._lane = lane
        self._probe: Probe | None = probe
        self._reader: ResponseReader | None = None
        self._tls: TlsFilter | None = None
        self._out = b""
        self._asked = 0
        self._connecting = True
        self._hurried = False
        self._used = False
        self._watched = False
        self._socket = socket.SocketType(lane.spec.family, _TYPE)
        self._fd = self._socket.fileno()
        probe.carrier = self

    def connect(self) -> None:
        """Begin to connect."""
        lane, connection = self._lane, self._socket
        try:
            connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            if lane.spec.tls or lane.keeps:
                # Without it a request in several pieces waits for the peer's delayed acknowledgement (40 ms).
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = connection.connect_ex(lane.spec.sockaddr)
            if lane.connect_only:
                self._asked = monotonic_ns()
        except OSError as error:
            self._fail(Kind.VOID_LOCAL, error.errno or 0)
            return
        if number not in _UNDER_WAY:
            self._fail(kind_of_error(number, at_once=True), number)
        elif not lane.speaks_first or not self._spoke_at_once(lane.request):
            self._hurry(True)
            self._watched = True
            lane.host.watch(self._fd, _EVENTS, self)

    def _spoke_at_once(self, request: bytes) -> bool:
        """Over a short path the connection stands already: to see that here spares a turn of the loop."""
        try:
            sent = self._socket.send(request)
        except BlockingIOError:
            return False
        except OSError as error:
            self._fail(kind_of_error(error.errno or 0), error.errno or 0)
            return True
        self._connecting = False
        if self._probe is not None:
            self._probe.connected = monotonic_ns()
        if sent < len(request):
            self._out = request[sent:]
            return False
        lane = self._lane
        if lane.prompt:
            lane.host.looks.append(self)
        else:
            self._watched = True
            lane.host.watch(self._fd, _HEARING, self)
        return True

    def look(self) -> None:
        """Read an answer that should be there by now; if it is not, wait for it."""
        self._receive(_HUNG_UP)
        if self._fd >= 0:
            self._lane.prompt = False
            self._watched = True
            self._lane.host.watch(self._fd, _HEARING, self)

    def reuse(self, probe: Probe) -> None:
        """Send a further request over the open connection."""
        probe.sent = monotonic_ns()
        probe.carrier = self
        probe.flags |= FLAG_REUSED
        self._probe = probe
        request = self._lane.request
        self._write(request if self._tls is None else self._tls.encrypt(request))

    def ready(self, mask: int) -> None:
        """The socket has events."""
        if self._connecting:
            if mask & _BROKEN:
                self._refused()
                return
            if not mask & _WRITABLE:
                return
            self._connected()
        elif self._out and mask & _WRITABLE:
            self._write(b"")
        if mask & _READABLE and self._fd >= 0:
            self._receive(mask & _MORE_THAN_DATA)

    def _refused(self) -> None:
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._fail(kind_of_error(number) if number else Kind.RESET, number)

    def _connected(self) -> None:
        self._connecting = False
        probe, lane = self._probe, self._lane
        if probe is None:
            return
        probe.connected = monotonic_ns()
        if lane.connect_only:
            self._finish(Kind.UP, handshake_end(self._socket, self._asked, probe.connected))
        elif lane.tls is None:
            self._hurry(False)
            self._write(lane.request)
        else:
            self._tls = TlsFilter(lane.tls, lane.spec.server_name, lane.session_to_resume())
            self._shake_hands(b"")

    def _write(self, data: bytes) -> None:
        """Send these bytes behind those that could not be sent yet."""
        if self._out:
            data = self._out + data
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            self._out = data
        except OSError as error:
            self._broken(kind_of_error(error.errno or 0), error.errno or 0)
        else:
            self._out = data[sent:]

    def _receive(self, more: int) -> None:
        """Read what is there. A short read has emptied the socket, unless there is more than data (events)."""
        while self._fd >= 0:
            try:
                data, ancillary, _flags, _address = self._socket.recvmsg(_READ, ANCILLARY)
            except BlockingIOError:
                return
            except OSError as error:
                self._broken(kind_of_error(error.errno or 0), error.errno or 0)
                return
            if not data:
                self._ended()
                return
            self._got(data, ancillary)
            if not more and len(data) < _READ:
                return

    def _got(self, data: bytes, ancillary: list[tuple[int, int, bytes]]) -> None:
        probe = self._probe
        if probe is None:
            # Bytes that nobody asked for: the connection is of no use any more.
            self._idle_ended()
            return
        moment = arrival(ancillary, probe.sent)
        try:
            plain = data if self._tls is None else self._decrypt(data)
        except ssl.SSLError as error:
            self._fail(Kind.TLS, error.errno or 0)
            return
        if not plain:
            return
        if not probe.first:
            probe.first = moment
        if self._reader is None and plain == self._lane.usual:
            kind, status, reusable = self._lane.usual_meaning
            self._complete(probe, kind, status, moment, reusable=reusable)
        else:
            self._read(probe, plain, moment)

    def _read(self, probe: Probe, plain: bytes, moment: int) -> None:
        """Take the next bytes of a response that is not the usual one."""
        lane, reader = self._lane, self._reader
        whole = reader is None and len(plain) <= _LONGEST_USUAL
        if reader is None:
            reader = self._reader = ResponseReader()
        try:
            if not reader.feed(plain):
                return
        except HttpError as error:
            self._fail(kind_of_http_error(error), reader.status)
            return
        kind = kind_of_response(lane.spec, reader)
        if whole:
            lane.usual = plain
            lane.usual_meaning = (kind, reader.status, reader.reusable)
        self._complete(probe, kind, reader.status, moment, reusable=reader.reusable)

    def _decrypt(self, data: bytes) -> bytes:
        if self._tls is None or self._probe is None:
            return b""
        return self._tls.decrypt(data) if self._probe.secured or self._used else self._shake_hands(data)

    def _shake_hands(self, data: bytes) -> bytes:
        """One step of the TLS handshake; returns what came right behind its end."""
        tls, probe = self._tls, self._probe
        if tls is None or probe is None:
            return b""
        done = tls.shake_hands(data)
        self._out += tls.outgoing()
        if done:
            probe.secured = monotonic_ns()
            self._hurry(False)
            self._out += tls.encrypt(self._lane.request)
        if self._out:
            self._write(b"")
        return tls.decrypt(b"") if done and self._fd >= 0 else b""

    def _complete(self, probe: Probe, kind: Kind, status: int, moment: int, *, reusable: bool) -> None:
        """The response is complete: keep the connection for the next probe, if it can be and none is kept yet."""
        lane = self._lane
        if self._tls is not None and not self._used:
            lane.session = self._tls.session() or lane.session
        self._probe = None
        if reusable and lane.keeps and lane.idle is None and not self._out:
            self._reader = None
            self._used = True
            lane.idle = self
        else:
            self.close()
            lane.prompt = not lane.keeps and probe.sent >= lane.host.napped_from
        lane.host.finish(probe, kind, moment, status)

    def _ended(self) -> None:
        """The peer closed."""
        probe = self._probe
        if probe is None:
            self._idle_ended()
            return
        if self._retries():
            return
        if self._tls is not None and not probe.secured and not self._used:
            self._fail(Kind.TLS, 0)
            return
        reader = self._reader or ResponseReader()
        try:
            reader.end()
        except HttpError as error:
            self._fail(kind_of_http_error(error), reader.status)
        else:
            self._complete(
                probe, kind_of_response(self._lane.spec, reader), reader.status, monotonic_ns(), reusable=False
            )

    def _broken(self, kind: Kind, number: int) -> None:
        """The connection broke."""
        if self._probe is None:
            self._idle_ended()
        elif not self._retries():
            self._fail(kind, number)

    def _retries(self) -> bool:
        """A reused connection that ends before any byte of the response met a normal race: ask again on a new one."""
        probe = self._probe
        if not self._used or self._reader is not None or probe is None:
            return False
        self._probe = None
        self.close()
        probe.flags = (probe.flags | FLAG_RETRIED) & ~FLAG_REUSED
        self._lane.suspect()
        self._lane.open(probe)
        return True

    def _idle_ended(self) -> None:
        self.close()
        self._lane.idle_closed(self)

    def expire(self) -> None:
        """The probe on this connection was not answered in time."""
        kind = kind_of_silence(connected=not self._connecting, started=self._reader is not None)
        self._fail(kind, 0)

    def _fail(self, kind: Kind, status: int) -> None:
        self._finish(kind, monotonic_ns(), status)

    def _finish(self, kind: Kind, end: int, status: int = 0) -> None:
        probe, self._probe = self._probe, None
        self.close()
        if probe is not None:
            self._lane.host.finish(probe, kind, end, status)

    def _hurry(self, wanted: bool) -> None:
        """Say whether the next step is ours: until the request is sent it is, then only the answer is waited for."""
        self._lane.host.hurried += wanted - self._hurried
        self._hurried = wanted

    def close(self) -> None:
        """Close the socket; harmless when it is closed."""
        if self._fd >= 0:
            if self._hurried:
                self._hurry(False)
            if self._watched:
                self._lane.host.forget(self._fd)
            self._fd = -1
            self._socket.close()


class TlsFilter:
    """TLS between bytes and bytes, so that the socket stays ours with its time stamps."""

    __slots__ = ("_incoming", "_object", "_outgoing")

    def __init__(self, context: ssl.SSLContext, server_name: str, session: ssl.SSLSession | None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_name or None, session=session
        )

    def shake_hands(self, data: bytes) -> bool:
        """Take bytes of the handshake; True when it is complete. Raises ssl.SSLError."""
        if data:
            self._incoming.write(data)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def outgoing(self) -> bytes:
        """Bytes to send."""
        return self._outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        """The bytes to send for a piece of plain text."""
        self._object.write(data)
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        """The plain text that is complete now. Raises ssl.SSLError."""
        if data:
            self._incoming.write(data)
        plain = b""
        while True:
            try:
                piece = self._object.read(_READ)
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                return plain
            if not piece:
                return plain
            plain += piece
            # To ask for more than there can be is answered with an exception, which costs as much as the decryption. A
            # record is never longer than what is read at once (RFC 8446, 5.1), so nothing of it is left behind.
            if not self._incoming.pending:
                return plain

    def session(self) -> ssl.SSLSession | None:
        """The session of a full handshake, to be resumed by the next connections; to copy it out is dear."""
        return None if self._object.session_reused else self._object.session
