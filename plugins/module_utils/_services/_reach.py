# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reach an address the way a tenant does, without any API: ping, HTTP, TCP.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import http.client
import os
import socket
import struct
import time as clock
from urllib.parse import urlsplit

OPEN, REFUSED, BLOCKED = "open", "refused", "blocked"
_ECHO, _ECHO_REPLY = 8, 0
_BODY_LIMIT = 65536
_PAGE_LIMIT = 16 * 1024 * 1024  # of all numbers that a witness has written


class CannotPingError(Exception):
    """Without the right to send ICMP nothing can be said."""


def ping(address: str, timeout: float = 1.0) -> bool:
    """Whether an IPv4 address answers one ICMP echo within ``timeout`` seconds; raises CannotPingError."""
    token = os.urandom(16)
    with _icmp_socket() as channel:
        raw = channel.type == socket.SOCK_RAW
        request = _echo_request(token)
        deadline = clock.monotonic() + timeout
        try:
            channel.sendto(request, (address, 0))
            return _await_reply(channel, token, deadline, raw=raw)
        except OSError:  # no route, network down, or time over: no answer
            return False


def _icmp_socket() -> socket.socket:
    for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM):
        try:
            return socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
        except PermissionError:
            continue
    raise CannotPingError("This user may not send ICMP: run as root, or widen net.ipv4.ping_group_range.")


def _echo_request(token: bytes) -> bytes:
    identity = os.getpid() & 0xFFFF
    blank = struct.pack("!BBHHH", _ECHO, 0, 0, identity, 1) + token
    return struct.pack("!BBHHH", _ECHO, 0, checksum(blank), identity, 1) + token


def checksum(data: bytes) -> int:
    """Return the Internet checksum of data of even length."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _await_reply(channel: socket.socket, token: bytes, deadline: float, *, raw: bool) -> bool:
    while (left := deadline - clock.monotonic()) > 0:
        channel.settimeout(left)
        packet = channel.recv(2048)
        body = packet[(packet[0] & 0x0F) * 4 :] if raw else packet
        if body[:1] == bytes([_ECHO_REPLY]) and body[8:] == token:
            return True
    return False


def tcp(address: str, port: int, timeout: float = 3.0) -> str:
    """Return ``open``, ``refused`` (an answer came, so nothing blocks the port) or ``blocked`` (none came)."""
    try:
        socket.create_connection((address, port), timeout=timeout).close()
    except ConnectionRefusedError:
        return REFUSED
    except OSError:
        return BLOCKED
    return OPEN


def page(address: str, path: str) -> str:
    """Return a page of the witness in a guest; empty when it has none."""
    answer = http_get(f"http://{address}{path}", timeout=60, limit=_PAGE_LIMIT)
    return answer[1] if answer and answer[0] == 200 else ""


def last_number(address: str, path: str) -> int:
    """Return the last number that the witness in a guest tells of; 0 when it tells of none."""
    word = page(address, path).strip()
    return int(word) if word.isdigit() else 0


def http_get(url: str, timeout: float = 3.0, limit: int = _BODY_LIMIT) -> tuple[int, str] | None:
    """Return status and body of a plain HTTP GET, at most ``limit`` bytes; None when there was no whole answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read(limit)
        cut = bool(response.length) and len(body) < limit  # read() does not complain of an early end
        return None if cut else (response.status, body.decode(errors="replace"))
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
