# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From probes to outages, with bounds that can be proved.

Every probe is evidence over its window, from before it was sent until its answer came: an *up* window contains a moment
at which the target was up, a *down* window one at which it was down. Nothing is known about where in the window. So two
failures belong to different outages exactly if a whole up window lies between their windows, and the sweep below finds
the fewest outages that explain all failures.

What holds for every history that agrees with the evidence: it has at least as many outages as are reported (none is
split, none is invented). In every history with exactly that many, each outage begins inside
``[begin_low, begin_high]`` and ends inside ``[end_low, end_high]``, so that its length lies in ``[lower, upper]``.
A member of a group that could as well belong to the next one counts as a failure but never stretches the lower bound.

All times are whole numbers of one monotonic clock (nanoseconds here); windows are closed.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

MOST_GAPS = 100
"""Gaps between proofs of up that are remembered of one lane, the longest ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """One outage. ``preceded`` is False when no up window was seen before it.

    recovery: the begin of the first up window after it, whose end is ``end_high``; None when there was none.
    """

    begin_low: int
    begin_high: int
    end_low: int
    end_high: int
    lower: int
    failures: int
    kinds: dict[int, int]
    preceded: bool
    recovery: int | None

    @property
    def recovered(self) -> bool:
        """An up window was seen after it."""
        return self.recovery is not None

    @property
    def upper(self) -> int:
        """The longest the outage can have been."""
        return self.end_high - self.begin_low

    @property
    def point(self) -> tuple[int, int]:
        """The best single guess for begin and end."""
        begin = (self.begin_low + self.begin_high) // 2
        return begin, max(begin, (self.end_low + self.end_high) // 2)


@dataclass(slots=True)
class _Group:
    """Failures that one outage explains: the first to end, and the members not yet known to belong to no later one.

    limit is the end of the first up window that lies behind the first failure; proof the end of the first one that
    lies behind all failures.
    """

    first_end: int
    last_begin: int
    last_end: int
    members: deque[tuple[int, int]] = field(default_factory=deque)
    unobserved: int = 0
    failures: int = 0
    kinds: dict[int, int] = field(default_factory=dict)
    limit: int | None = None
    recovery: int | None = None
    proof: int | None = None
    begin_low: int | None = None
    settled: bool = False

    def add(self, begin: int, end: int, horizon: int) -> None:
        """A further failure."""
        self.members.append((end, begin))
        self.last_end = max(self.last_end, end)
        self.proof = None
        while self.limit is None and self.members[0][0] < end - horizon:
            # No up window can begin before this one ended any more: it belongs here.
            self.last_begin = max(self.last_begin, self.members.popleft()[1])

    def count(self, kind: int) -> None:
        """Count a failure."""
        self.failures += 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1


class Sweep:
    """Takes windows in the order of their ends and collects outages in ``spans``.

    ``begin`` is when observation began; ``horizon`` is longer than any window, and bounds what is remembered.
    ``longest_gap`` is the longest stretch that contains no whole up window: no outage that nothing shows was longer.
    ``gaps()`` are the longest ones: a stretch that is longer than the shortest of them contains a whole up window
    unless it lies inside of one of them.
    """

    def __init__(self, begin: int, horizon: int) -> None:
        self.begin = begin
        self.horizon = horizon
        self.spans: list[Span] = []
        self.longest_gap = 0
        self._gaps: list[tuple[int, int, int]] = []
        self._latest_up = begin
        self._ups: deque[tuple[int, int]] = deque()
        self._group: _Group | None = None

    def up(self, begin: int, end: int, *, thinned: bool = False) -> None:
        """The target was up at some moment of the window.

        thinned: windows before this one were left out (``_proofs``), and ``without_up`` is told of the gaps among them.
        """
        if not thinned:
            self.longest_gap = max(self.longest_gap, end - self._latest_up)
        group = self._group
        if group is not None and not group.settled:
            self._end_group(group, begin, end)
        if begin > self._latest_up or not self._ups:
            if not thinned:
                self.without_up(self._latest_up, end)
            self._latest_up = max(begin, self._latest_up)
            self._remember(begin, end)

    def without_up(self, begin: int, end: int) -> None:
        """No whole up window lies in between."""
        self.longest_gap = max(self.longest_gap, end - begin)
        entry = (end - begin, begin, end)
        if len(self._gaps) < MOST_GAPS:
            heapq.heappush(self._gaps, entry)
        elif entry > self._gaps[0]:
            heapq.heapreplace(self._gaps, entry)

    def _end_group(self, group: _Group, begin: int, end: int) -> None:
        """An up window while an outage is not settled: it may end it, and later settles it."""
        if group.limit is None and begin >= group.first_end:
            group.limit = end
            group.recovery = begin
        if group.proof is None and begin >= group.last_end:
            group.proof = end
        if group.proof is not None and group.proof <= end - self.horizon:
            # Whatever fails from now on was sent behind a proof of recovery: all members belong here.
            self._settle(group, None)

    def _remember(self, begin: int, end: int) -> None:
        ups = self._ups
        ups.append((end, begin))
        if self._group is None or self._group.settled:
            while len(ups) > 1 and ups[1][0] < end - self.horizon:
                ups.popleft()

    def down(self, begin: int, end: int, kind: int = 0) -> None:
        """The target was down at some moment of the window; kind is only counted."""
        group = self._group
        if group is not None and (group.limit is None or begin < group.limit):
            group.add(begin, end, self.horizon)
        else:
            self._close(begin)
            group = self._group = _Group(first_end=end, last_begin=begin, last_end=end)
        group.count(kind)

    def gap(self, begin: int, end: int) -> None:
        """Nothing was observed in between: never counted as proved downtime."""
        if self._group is not None and self._group.limit is None:
            self._group.unobserved += end - begin

    def gaps(self) -> list[tuple[int, int]]:
        """The longest stretches without a whole up window, in the order of time; complete after ``finish``."""
        return sorted((begin, end) for _length, begin, end in self._gaps)

    def finish(self, end: int) -> list[Span]:
        """Observation ended; returns all outages."""
        if end > self._latest_up:
            self.without_up(self._latest_up, end)
        self._close(None, end)
        return self.spans

    def _settle(self, group: _Group, before: int | None) -> None:
        """Fix the bounds. Members with no whole up window between them and the next outage may belong to that one."""
        proof = None if before is None else self._last_good(before)
        for end, begin in group.members:
            if before is None or (proof is not None and end <= proof):
                group.last_begin = max(group.last_begin, begin)
        group.members.clear()
        group.begin_low = self._last_good(group.last_begin)
        group.settled = True

    def _last_good(self, before: int) -> int | None:
        """The latest begin of an up window that ended by then."""
        for end, begin in reversed(self._ups):
            if end <= before:
                return begin
        return None

    def _close(self, next_begin: int | None, now: int = 0) -> None:
        """The group is complete: the next one begins with a failure that began then, or observation ends now."""
        group, self._group = self._group, None
        if group is None:
            return
        if not group.settled:
            self._settle(group, next_begin)
        begin_low = self.begin if group.begin_low is None else group.begin_low
        end_high = max(now, group.last_begin, group.first_end) if group.limit is None else group.limit
        self.spans.append(
            Span(
                begin_low=min(begin_low, group.first_end),
                begin_high=group.first_end,
                end_low=group.last_begin,
                end_high=end_high,
                lower=max(0, group.last_begin - group.first_end - group.unobserved),
                failures=group.failures,
                kinds=group.kinds,
                preceded=group.begin_low is not None,
                recovery=group.recovery,
            )
        )


def find_outages(
    ups: Iterable[tuple[int, int]], downs: Iterable[tuple[int, int]], begin: int, end: int, horizon: int = 1 << 62
) -> list[Span]:
    """The outages that all windows together show; observation lasted from begin to end."""
    sweep = Sweep(begin, horizon)
    evidence = [(stop, start, 1) for start, stop in ups] + [(stop, start, 0) for start, stop in downs]
    for stop, start, is_up in sorted(evidence):
        if is_up:
            sweep.up(start, stop)
        else:
            sweep.down(start, stop)
    return sweep.finish(end)
