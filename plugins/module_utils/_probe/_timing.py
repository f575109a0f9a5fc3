# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time: the grid of planned moments, a wait that is exact to tens of microseconds, and the clocks' offsets."""

from __future__ import annotations

import ctypes
import os
import random
import select
import time
from typing import NamedTuple

SECOND = 1_000_000_000
JITTER = 0.2
"""The share of a slot by which a moment may be moved: enough to break aliasing, little enough to keep gaps short."""
GRACE = 2_000_000
"""Lateness in nanoseconds that is always tolerated, however dense the grid."""


class Grid:
    """Planned moments of one lane: evenly spaced from a random phase, each delayed by up to a fifth of the slot."""

    __slots__ = ("_jitter", "_random", "_slot", "grace", "period")

    def __init__(self, start: int, rate: float, phase: float, source: random.Random) -> None:
        self.period = int(SECOND / rate)
        self.grace = max(self.period // 2, GRACE)
        self._slot = start + int(phase * self.period)
        self._jitter = JITTER * self.period
        self._random = source.random

    def next(self) -> int:
        """The next planned moment."""
        moment = self._slot + int(self._random() * self._jitter)
        self._slot += self.period
        return moment

    def skip(self, now: int) -> int:
        """Leave out the slots that have passed; returns how many."""
        missed = max(0, (now - self._slot) // self.period + 1)
        self._slot += missed * self.period
        return missed


MOST_EVENTS = 64
"""Events that are taken at once; Python else makes room for a thousand each time."""
_PR_SET_TIMERSLACK = 29
"""prctl: by how many nanoseconds the kernel may let this thread sleep longer, 50000 when nobody says."""


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSetting(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Waiter:
    """epoll together with one absolute timer, because epoll's own timeout counts in milliseconds.

    Python has timerfd from 3.13 only, hence ctypes; without it the wait falls back to select on the epoll descriptor.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.register = self._epoll.register
        self.unregister = self._epoll.unregister
        self._armed = 0
        self._setting = _TimerSetting()
        self._reference = ctypes.byref(self._setting)
        self._timer = self._open_timer()

    def _open_timer(self) -> int:
        try:
            library = ctypes.PyDLL(None, use_errno=True)
            library.prctl(_PR_SET_TIMERSLACK, 1)
            self._settime = library.timerfd_settime
            timer = int(library.timerfd_create(time.CLOCK_MONOTONIC, os.O_CLOEXEC))
        except (AttributeError, OSError):
            return -1
        if timer >= 0:
            self.register(timer, select.EPOLLIN | select.EPOLLET)
        return timer

    def wait(self, until: int) -> list[tuple[int, int]]:
        """The events that are there, or that come before the monotonic moment, as (descriptor, mask)."""
        if self._timer < 0:
            return self._select(until)
        if until != self._armed:
            self._arm(until)
        events = self._epoll.poll(-1, MOST_EVENTS)
        for descriptor, _mask in events:
            if descriptor == self._timer:
                self._armed = 0
        return events

    def nap(self, until: int) -> list[tuple[int, int]]:
        """The events that are there at the monotonic moment, for whose sake it does not wake up earlier."""
        left = until - time.monotonic_ns()
        if left > 0:
            time.sleep(left / SECOND)
        # The timer may have been armed for this moment and be over: whoever waits for it arms it again.
        self._armed = 0
        return self._epoll.poll(0, MOST_EVENTS)

    def _arm(self, until: int) -> None:
        self._armed = until
        value = self._setting.value
        value.seconds, value.nanoseconds = divmod(max(until, 1), SECOND)
        self._settime(self._timer, 1, self._reference, None)

    def _select(self, until: int) -> list[tuple[int, int]]:
        left = (until - time.monotonic_ns()) / SECOND
        if left > 0:
            select.select([self._epoll], [], [], left)
        return self._epoll.poll(0, MOST_EVENTS)

    def close(self) -> None:
        """Give the descriptors back."""
        self._epoll.close()
        if self._timer >= 0:
            os.close(self._timer)


class Clocks(NamedTuple):
    """Nanoseconds: the monotonic clock, and what the wall and the boot clock are ahead of it."""

    monotonic: int
    wall_offset: int
    boot_offset: int


def read_clocks() -> Clocks:
    """Read the three clocks next to each other."""
    before = time.monotonic_ns()
    wall = time.time_ns()
    boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    monotonic = (before + time.monotonic_ns()) // 2
    return Clocks(monotonic, wall - monotonic, boot - monotonic)


def boot_ns() -> int:
    """The boot clock, by which tokens age: it cannot be set, and goes on while the machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """The identity of this boot; empty where the kernel does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
