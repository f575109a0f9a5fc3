# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every way of probing shares: a probe on its way, and the lane it runs in."""

from __future__ import annotations

import random
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections import deque
from typing import Any, Protocol

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._burst import Burst
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import Kind, LaneSpec
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import SECOND, Grid

IN_FLIGHT_CAP = 256
"""Unanswered probes of one lane beyond which no more are sent."""
SO_TIMESTAMPNS = 35
"""Ask the kernel for the time of arrival; socket has no name for it."""
ANCILLARY = 64
_TIMESPEC = struct.Struct("@qq")
_TIMESPEC_SIZE = _TIMESPEC.size
_TCP_INFO = struct.Struct("@68xI28xI")
"""Of the kernel's tcp_info: the measured round trip in microseconds, and how many packets were sent again."""

monotonic_ns = time.monotonic_ns
time_ns = time.time_ns


class Probe:
    """One request on its way. Times are monotonic nanoseconds, 0 where a phase was not reached.

    number: the how-manieth of its lane it is.
    """

    __slots__ = (
        "carrier",
        "connected",
        "deadline",
        "done",
        "first",
        "flags",
        "lane",
        "number",
        "plan",
        "secured",
        "sent",
    )

    def __init__(self, lane: Lane, number: int, plan: int, deadline: int, flags: int) -> None:
        self.lane = lane
        self.number = number
        self.plan = plan
        self.deadline = deadline
        self.flags = flags
        self.sent = 0
        self.connected = 0
        self.secured = 0
        self.first = 0
        self.done = False
        self.carrier: Any = None


class Handler(Protocol):
    """Whatever owns a descriptor."""

    def ready(self, mask: int) -> None:
        """The descriptor has events."""


class Looker(Protocol):
    """Whatever expects an answer that it was not promised to be told of."""

    def look(self) -> None:
        """Read the answer if it is there, else see to it that its arrival is told."""


class Host(Protocol):
    """What a lane asks of the loop that runs it.

    hurried: connections that must go on as soon as they can. napped_from: answers to what was sent since then are read
    for the first time in this turn, before which nothing could wake the loop; far in the future in other turns.
    looks: who is to look for an answer when answers are next read, or before the next wait.
    """

    hurried: int
    napped_from: int
    looks: list[Looker]

    def watch(self, descriptor: int, mask: int, handler: Handler) -> None:
        """Call the handler at events of the descriptor."""

    def forget(self, descriptor: int) -> None:
        """The descriptor is about to be closed."""

    def finish(self, probe: Probe, kind: Kind, end: int, status: int = 0) -> None:
        """The probe is over."""

    def note_sign(self, lane: Lane, moment: int) -> None:
        """A connection that stood was closed by the target: when that was the begin of an outage, it began then."""

    def alarm(self, lane: Lane) -> None:
        """Something happened to the target: look closer."""


class Lane(ABC):
    """One target in one connection mode.

    launched: how many probes were sent; latest: the number of the latest of them that is over.
    """

    def __init__(self, number: int, spec: LaneSpec, host: Host) -> None:
        self.number = number
        self.spec = spec
        self.host = host
        self.grid: Grid
        self.burst = Burst(spec.rate)
        self.siblings: tuple[Lane, ...] = (self,)
        self.in_flight = 0
        self.launched = 0
        self.latest = 0
        self.up = 0
        self.down = 0
        self.void = 0
        self.down_since = 0
        self.last_kind = Kind.UP

    def start(self, now: int, source: random.Random, share: float) -> None:
        """Lay the grid; share (0 to 1) staggers the lanes."""
        self.grid = Grid(now, self.spec.rate, (share + source.random() / 8) % 1.0, source)

    @abstractmethod
    def send(self, probe: Probe) -> None:
        """Send the probe now. Must not block; every outcome goes to ``host.finish``."""

    @abstractmethod
    def expire(self, probe: Probe) -> None:
        """The probe was not answered in time."""

    def failed(self) -> None:  # noqa: B027 - most lanes have nothing to note
        """A probe of this lane found the target down."""

    @abstractmethod
    def close(self) -> None:
        """Give descriptors back."""


def keep_stamping() -> socket.SocketType:
    """A socket for whose sake the kernel stamps what arrives, as long as it is open.

    The kernel begins to do so only some time after the first socket has asked for it, and ends with the last one: a
    lane that opens a socket for each probe would miss stamps.
    """
    idle = socket.SocketType(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    idle.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return idle


def arrival(ancillary: list[tuple[int, int, bytes]], sent: int) -> int:
    """The monotonic moment at which the kernel received the data; now, when it does not tell or cannot be right.

    The stamp is of the wall clock, so only its age is used, read next to the monotonic clock: a stalled observer
    then does not count its own sleep as the target's latency, and a stepped clock is noticed.
    """
    now, wall = monotonic_ns(), time_ns()
    for _level, kind, data in ancillary:
        if kind == SO_TIMESTAMPNS and len(data) == _TIMESPEC_SIZE:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            moment = now - (wall - seconds * SECOND - nanoseconds)
            return moment if sent < moment <= now else now
    return now


def handshake_end(connection: socket.SocketType, asked: int, now: int) -> int:
    """The monotonic moment at which the kernel got the answer to a connect asked for by then; now, if it was repeated.

    A handshake carries no time stamp, but the kernel measures its round trip.
    """
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    if len(info) < _TCP_INFO.size:
        return now
    microseconds, repeated = _TCP_INFO.unpack(info)
    return now if repeated or not microseconds else min(now, asked + (microseconds + 1) * 1000)


Pending = deque[Probe]
