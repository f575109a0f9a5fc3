# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ICMP echo, one socket for all lanes of an address family, with the kernel's time of arrival."""

from __future__ import annotations

import os
import select
import socket
import struct

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._classify import kind_of_error
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._lane import (
    ANCILLARY,
    SO_TIMESTAMPNS,
    Host,
    Lane,
    Probe,
    arrival,
    monotonic_ns,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import Kind, LaneSpec, ProbeError

_HEAD = struct.Struct("!BBHHH")
_BODY = struct.Struct("!8sI")
_PADDING = b"upgrade_test".ljust(40, b".")
_TOKEN = os.urandom(8)
_REQUEST = {socket.AF_INET: 8, socket.AF_INET6: 128}
_REPLY = {socket.AF_INET: 0, socket.AF_INET6: 129}
_ICMP_FILTER = 1


def checksum(data: bytes) -> int:
    """The Internet checksum of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    folded: int = total + (total >> 16)
    return ~folded & 0xFFFF


def build_echo(family: int, number: int) -> bytes:
    """An echo request that is recognised by its number when it comes back."""
    kind, sequence = _REQUEST[socket.AddressFamily(family)], number & 0xFFFF
    body = _BODY.pack(_TOKEN, number) + _PADDING
    if family == socket.AF_INET6:
        return _HEAD.pack(kind, 0, 0, os.getpid() & 0xFFFF, sequence) + body
    check = checksum(_HEAD.pack(kind, 0, 0, os.getpid() & 0xFFFF, sequence) + body)
    return _HEAD.pack(kind, 0, check, os.getpid() & 0xFFFF, sequence) + body


def read_echo(family: int, packet: bytes, *, with_header: bool) -> int | None:
    """The number of our own echo that this packet answers, or None."""
    start = (packet[0] & 15) * 4 if with_header and packet else 0
    end = start + _HEAD.size + _BODY.size
    if len(packet) < end or packet[start] != _REPLY[socket.AddressFamily(family)]:
        return None
    token, number = _BODY.unpack_from(packet, start + _HEAD.size)
    return int(number) if token == _TOKEN else None


class EchoSocket:
    """Sends echoes and hands the replies to the probes that wait for them."""

    def __init__(self, family: int, host: Host) -> None:
        self._family = family
        self._host = host
        self._waiting: dict[int, Probe] = {}
        self._number = 0
        self._socket, self._with_header = _open_socket(family)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        host.watch(self._socket.fileno(), select.EPOLLIN | select.EPOLLET, self)

    def send(self, probe: Probe) -> None:
        """Send an echo for the probe."""
        self._number = number = (self._number + 1) & 0xFFFFFFFF
        packet = build_echo(self._family, number)
        probe.sent = monotonic_ns()
        probe.carrier = number
        try:
            self._socket.sendto(packet, probe.lane.spec.sockaddr)
        except OSError as error:
            kind = kind_of_error(error.errno or 0, at_once=True)
            self._host.finish(probe, kind, monotonic_ns(), error.errno or 0)
            return
        self._waiting[number] = probe

    def expire(self, probe: Probe) -> None:
        """No reply in time."""
        self._waiting.pop(probe.carrier, None)
        self._host.finish(probe, Kind.NO_REPLY, monotonic_ns())

    def ready(self, _mask: int) -> None:
        """Read all packets that are there."""
        while True:
            try:
                packet, ancillary, _flags, _address = self._socket.recvmsg(2048, ANCILLARY)
            except BlockingIOError:
                return
            except OSError:
                continue  # an error that the kernel kept from an earlier packet; reading cleared it
            number = read_echo(self._family, packet, with_header=self._with_header)
            probe = self._waiting.pop(number, None) if number is not None else None
            if probe is not None:
                self._host.finish(probe, Kind.UP, arrival(ancillary, probe.sent))

    def close(self) -> None:
        """Close the socket."""
        if self._socket.fileno() >= 0:
            self._host.forget(self._socket.fileno())
            self._socket.close()


def _open_socket(family: int) -> tuple[socket.socket, bool]:
    """A raw socket, or an unprivileged echo socket; and whether packets come with their IPv4 header."""
    six = family == socket.AF_INET6
    protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    flags = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    try:
        raw = socket.socket(family, socket.SOCK_RAW | flags, protocol)
    except PermissionError:
        return _open_unprivileged(family, flags, protocol), False
    if six:
        allowed = [0xFFFFFFFF] * 8
        allowed[129 >> 5] &= ~(1 << (129 & 31)) & 0xFFFFFFFF
        raw.setsockopt(socket.IPPROTO_ICMPV6, _ICMP_FILTER, struct.pack("@8I", *allowed))
    else:
        raw.setsockopt(
            socket.SOL_RAW if hasattr(socket, "SOL_RAW") else 255, _ICMP_FILTER, struct.pack("@I", ~1 & 0xFFFFFFFF)
        )
    return raw, not six


def _open_unprivileged(family: int, flags: int, protocol: int) -> socket.socket:
    try:
        return socket.socket(family, socket.SOCK_DGRAM | flags, protocol)
    except OSError:
        raise ProbeError(
            "targets: ICMP echo needs root on the observer's host, or its group inside net.ipv4.ping_group_range"
        ) from None


class EchoLane(Lane):
    """Ping."""

    def __init__(self, number: int, spec: LaneSpec, host: Host, echo: EchoSocket) -> None:
        super().__init__(number, spec, host)
        self._echo = echo

    def send(self, probe: Probe) -> None:
        """Send one echo."""
        self._echo.send(probe)

    def expire(self, probe: Probe) -> None:
        """No reply in time."""
        self._echo.expire(probe)

    def close(self) -> None:
        """Close the shared socket."""
        self._echo.close()
