# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which proofs of up the evidence needs, so that all others can be left out and the sweep still finds the very same.

Taken in the order of their ends, an up window that began no later than one before it adds nothing. Those that are left
form a chain in which both begins and ends rise. Of it, the bounds of an outage come from few members: for every failure
the last one that ended before it began, and the first one that began after it ended. Between those the chain shows
nothing but the gaps between its members, of which the longest are remembered.

A part of a log (a segment) is thinned without knowing what comes before and after it. So the chain is kept whole where
a probe from the other side of a border can reach: up to the first proof that began inside of the part, and as far back
from its end as a probe can have been under way.

Times are nanoseconds of the monotonic clock. Windows are longer than nothing.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from operator import sub
from typing import NamedTuple

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._evidence import MOST_GAPS

Evidence = tuple[int, int, int]
"""end, begin and kind of one window; kind 0 is up."""
Gap = tuple[int, int, int]
"""length, begin and end of a stretch without a whole up window."""


class Proof(NamedTuple):
    """An up window; thinned: members of the chain were left out right before it."""

    begin: int
    end: int
    thinned: bool


class Proofs:
    """Thins the proofs of one lane in one part of a log.

    begin: where the part begins, with all earlier parts having ended; horizon: longer than any window.
    """

    __slots__ = (
        "_begins",
        "_ends",
        "_gaps",
        "_horizon",
        "_latest",
        "_needed",
        "_passed",
        "_trailing",
        "_wanted",
        "begin",
    )

    def __init__(self, begin: int, horizon: int) -> None:
        self.begin = begin
        self._horizon = horizon
        self._latest = -(1 << 63)
        # The chain as far as it is undecided, and the begins of those members that are needed.
        self._begins: list[int] = []
        self._ends: list[int] = []
        self._needed: list[int] = []
        # Ends behind which the next proof is needed, in rising order: of failures, and the border.
        self._wanted: list[int] = [begin]
        self._passed = 0
        self._gaps: list[Gap] = []
        self._trailing: Proof | None = None

    def take(self, evidence: Sequence[Evidence]) -> None:
        """Evidence in rising order, all of it behind what was taken before."""
        latest, begins, ends, wanted = self._latest, self._begins, self._ends, self._wanted
        for end, begin, kind in evidence:
            if kind:
                self._need_last_before(begin)
                insort(wanted, end)
            elif begin > latest:
                latest = begin
                begins.append(begin)
                ends.append(end)
                if wanted:
                    self._answer(begin)
        self._latest = latest
        ups = (Proof(begin, end, False) for end, begin, kind in reversed(evidence) if not kind)
        self._trailing = next(ups, self._trailing)

    def _need_last_before(self, moment: int) -> None:
        place = bisect_right(self._ends, moment)
        if place:
            self._need(self._begins[place - 1])

    def _answer(self, begin: int) -> None:
        """A new member, while one is wanted."""
        reached = bisect_right(self._wanted, begin)
        if reached or begin < self.begin:
            self._need(begin)
        del self._wanted[:reached]

    def _need(self, begin: int) -> None:
        place = bisect_left(self._needed, begin)
        if place == len(self._needed) or self._needed[place] != begin:
            self._needed.insert(place, begin)

    def settle(self, until: int) -> list[Proof]:
        """All evidence that ends before that moment was taken; returns the proofs that are needed of what is decided.

        What ends more than a horizon before is decided, and the last of it is kept in any case.
        """
        count = bisect_right(self._ends, until - self._horizon)
        ends, begins = self._ends[:count], self._begins[:count]
        del self._ends[:count], self._begins[:count]
        return self._thin(begins, ends) if count else []

    def finish(self, until: int) -> list[Proof]:
        """Like ``settle``, at the end of the part: what is not decided is kept."""
        kept = self.settle(until)
        rest = [Proof(begin, end, False) for begin, end in zip(self._begins, self._ends, strict=True)]
        trailing = self._trailing
        # Behind the last window that ended the gap is measured to the end of that one, be it a member or not.
        if trailing is not None and trailing.end > until - self._horizon and trailing not in rest[-1:]:
            rest.append(trailing)
        return kept + rest

    def gaps(self) -> list[Gap]:
        """The longest gaps among the proofs that were left out."""
        return self._gaps

    def _thin(self, begins: list[int], ends: list[int]) -> list[Proof]:
        reached = bisect_right(self._needed, begins[-1])
        needed, self._needed = self._needed[:reached], self._needed[reached:]
        if not needed or needed[-1] != begins[-1]:
            needed.append(begins[-1])
        kept, start = [], 0
        for begin in needed:
            place = bisect_left(begins, begin, start)
            if place > start:
                self._note_gaps([self._passed, *begins[start:place]], ends[start : place + 1])
            kept.append(Proof(begin, ends[place], place > start))
            self._passed = begin
            start = place + 1
        return kept

    def _note_gaps(self, begins: list[int], ends: list[int]) -> None:
        lengths = list(map(sub, ends, begins))
        shortest = self._gaps[-1][0] if len(self._gaps) == MOST_GAPS else 0
        if max(lengths) >= shortest:
            found: Iterable[Gap] = zip(lengths, begins, ends, strict=True)
            self._gaps = heapq.nlargest(MOST_GAPS, self._gaps + [gap for gap in found if gap[0] >= shortest])
