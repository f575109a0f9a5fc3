# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The words the sampler, its log and its reader share."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any


class ProbeError(Exception):
    """Something the caller can mend; the text is one line that names the option."""


class Kind(enum.IntEnum):
    """What one probe showed. Below 10: up. From 10: down. From 100: void, which says nothing about the target."""

    UP = 0
    REFUSED = 10
    RESET = 11
    UNREACHABLE = 12
    CONNECT_TIMEOUT = 13
    TIMEOUT = 14
    STALLED = 15
    NO_REPLY = 16
    TLS = 17
    EARLY_CLOSE = 18
    BAD_RESPONSE = 19
    HTTP_5XX_HAPROXY = 20
    HTTP_5XX_SERVICE = 21
    UNAUTHORIZED = 22
    WRONG_STATUS = 23
    WRONG_BODY = 24
    FLOW_BROKEN = 25
    VOID_LATE = 100
    VOID_CROWDED = 101
    VOID_LOCAL = 102
    VOID_STALL = 103
    VOID_CANARY = 104
    VOID_STORAGE = 105
    VOID_TOKEN = 106
    VOID_UNKEPT = 107

    # No probe but a sign: the peer closed a connection on which nothing was under way, at that moment.
    CLOSED = 120

    @property
    def is_down(self) -> bool:
        """True when the probe shows a failure of the target."""
        return 10 <= self < 100

    @property
    def is_void(self) -> bool:
        """True when the probe shows nothing about the target."""
        return self >= 100


UNANSWERED = frozenset({Kind.CONNECT_TIMEOUT, Kind.TIMEOUT, Kind.STALLED, Kind.NO_REPLY})
"""Kinds without an answer: the failing moment lies near the sending, not near the end of the waiting."""

NOT_SENT = frozenset({Kind.VOID_LATE, Kind.VOID_CROWDED, Kind.VOID_STORAGE})
"""Kinds of which one record stands for any number of planned probes."""

FLAG_BURST = 1
"""The probe was sent beyond the fixed schedule, to find the edges of an outage."""
FLAG_RETRIED = 2
"""A kept-alive connection was closed under the request, which was sent again on a fresh one."""
FLAG_REUSED = 4
"""The request went over a connection that had already carried one."""


@dataclass(frozen=True, kw_only=True)
class LaneSpec:
    """One target in one connection mode, resolved: everything needed to probe it.

    mode is new, kept, http, tcp, stream, icmp or canary; rate is probes per second; statuses empty means any 2xx or
    3xx; auth: each request carries a token; echo: the peer sends back what it is sent, in place of HTTP; bursts: more
    is sent when something happens.
    """

    name: str
    service: str = ""
    via: str = ""
    mode: str = "new"
    rate: float = 10.0
    family: int = 2
    sockaddr: tuple[Any, ...] = ()
    address: str = ""
    host_header: str = ""
    path: str = "/"
    tls: bool = False
    server_name: str = ""
    statuses: frozenset[int] = frozenset()
    body: bytes = b""
    auth: bool = False
    echo: bool = False
    bursts: bool = True

    def as_record(self) -> dict[str, Any]:
        """The part of the specification that the log keeps."""
        return {
            "name": self.name,
            "service": self.service,
            "via": self.via,
            "mode": self.mode,
            "rate": self.rate,
            "address": self.address,
            "auth": self.auth,
        }
