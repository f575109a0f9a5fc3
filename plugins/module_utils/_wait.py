# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for something that comes about by itself, for so long and no longer.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")


class Patience:
    """Patience with one who is asked several things: once he was waited for in vain, he is looked at once each time."""

    def __init__(self, seconds: float) -> None:
        """Begin with the seconds that each wait may take."""
        self._seconds = seconds

    def until(self, look: Callable[[], Seen], good: Callable[[Seen], bool]) -> Seen:
        """Look in the same way until what is seen is good, and return what was seen last."""
        seen = look_until(look, good, self._seconds)
        if not good(seen):
            self._seconds = 0
        return seen


def becomes_true(done: Callable[[], bool], timeout: float, step: float = 0.5) -> bool:
    """Ask again and again, ``step`` seconds apart, for at most ``timeout`` seconds; at least once."""
    return look_until(done, bool, timeout, step)


def look_until(look: Callable[[], Seen], good: Callable[[Seen], bool], timeout: float, step: float = 0.5) -> Seen:
    """Look in the same way until what is seen is good, and return what was seen last."""
    deadline = clock.monotonic() + timeout
    while not good(seen := look()):
        left = deadline - clock.monotonic()
        if left <= 0:
            break
        clock.sleep(min(step, left))
    return seen
