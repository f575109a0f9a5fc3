# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bursts: when something happens to a target, probe densely until it is over, within a budget."""

from __future__ import annotations

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import SECOND

FIRST_STEP = 500_000
"""Nanoseconds between the first probes of a burst."""
YOUNG = 10_000_000
"""Nanoseconds of age up to which an event has that step."""
STEP = 1_000_000
"""Nanoseconds between the probes of a burst on an older event, at least."""
SHARE_OF_AGE = 50
"""Later the step is the age of the event divided by this: 2 % of it."""
QUIET = 250_000_000
"""Nanoseconds since the last burst after which a failure is another event, and no sign of the same one."""
ENOUGH = 5
"""Successes in a row that end a burst."""
BUDGET = 500.0
"""Probes that can be spent at once."""
MOST_OWED = 3
"""Probes of a lane sent since the latest one that is over at which its burst waits."""
MOST_IN_FLIGHT = 12
"""Probes of a lane under way at which its burst waits in any case."""


class Bucket:
    """Tokens that fill up at a steady rate."""

    __slots__ = ("_capacity", "_filled", "_rate", "_tokens")

    def __init__(self, capacity: float, rate: float) -> None:
        self._capacity = self._tokens = capacity
        self._rate = rate
        self._filled = 0

    def spend(self, now: int) -> bool:
        """Take one token; False when there is none for now (monotonic ns)."""
        self._tokens = min(self._capacity, self._tokens + (now - self._filled) * self._rate / SECOND)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def refill(self) -> None:
        """All tokens are back."""
        self._tokens = self._capacity


class Burst:
    """Decides about probes beyond the grid of one lane; pure but for the tokens it counts."""

    __slots__ = ("_began", "_bucket", "_last", "_successes", "active", "number")

    def __init__(self, rate: float, budget: float = BUDGET) -> None:
        self.active = False
        self.number = 0
        self._began = 0
        self._last = -QUIET
        self._successes = 0
        self._bucket = Bucket(budget, max(10.0, rate))

    def trigger(self, now: int) -> bool:
        """Something happened; True when that begins a burst, which then has a new number.

        A target that fails now and then does not make each of its failures the begin of something new.
        """
        self._successes = 0
        if self.active:
            return False
        self.active = True
        self.number += 1
        if now - self._last > QUIET:
            self._began = now
        return True

    def saw(self, *, up: bool) -> None:
        """A probe of the lane was answered."""
        self._successes = self._successes + 1 if up else 0
        if self._successes >= ENOUGH:
            self.active = False

    def step(self, now: int) -> int:
        """Nanoseconds until the next probe of the burst."""
        self._last = now
        age = now - self._began
        return FIRST_STEP if age < YOUNG else max(STEP, age // SHARE_OF_AGE)

    def may_send(self, now: int, owed: int, in_flight: int) -> bool:
        """True when a probe of the burst may be sent now; owed of those in flight were sent after all that are over.

        Only a target that answers at once, if only with a failure, is asked more often. One that is silent or slow may
        be overloaded, and then a burst would be what keeps it down. A single packet that the network delays, while
        later ones are answered, says nothing of the kind.
        """
        return owed < MOST_OWED and in_flight < MOST_IN_FLIGHT and self._bucket.spend(now)
