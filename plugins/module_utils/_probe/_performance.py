# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast operations were before, during and after: from seconds to quantiles and to ratios with their intervals.

Everything is done on histograms, which can be merged, so that a day costs no more than an hour. A request that failed
counts as slower than every answer: whoever leaves failures out finds a service the faster the more of it is down.

The interval of a ratio is a bootstrap. The quantile of a resample of n values is the value at a rank that is
distributed as Beta(share * n, (1 - share) * n), so one number is drawn for each resample instead of n. Slow requests
come in bunches, and n alone would promise too much: it is divided by the design effect, which is how much more the
blocks of a window differ from each other than chance would have it.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from types import MappingProxyType
from typing import Any, NamedTuple

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._histogram import Histogram, middle_of
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import Target
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._seconds import LaneSecond

BEFORE, DURING, AFTER = "before", "during", "after"
QUANTILES: Mapping[str, float] = MappingProxyType({"p50": 0.5, "p95": 0.95, "p99": 0.99})
LEAST_BEYOND = 5
"""Requests that must lie beyond a quantile of both windows for a ratio of it: below, it is the ratio of accidents."""
RESAMPLES = 1000
CONFIDENCE = 0.95
BLOCKS = 20
BLOCK_SECONDS = (1.0, 10.0)
"""A window is cut into so many blocks, if they are then not shorter and not longer than that."""


class Window(NamedTuple):
    """A stretch of wall time in seconds since the epoch. before, during and after are compared with each other."""

    name: str
    begin: float
    end: float

    def block_of(self, second: float) -> int:
        """The number of the block in which a second lies."""
        shortest, longest = BLOCK_SECONDS
        return int((second - self.begin) / min(max((self.end - self.begin) / BLOCKS, shortest), longest))


class Ratio(NamedTuple):
    """How many times slower, and between which bounds that lies; infinite when requests failed instead."""

    value: float
    low: float
    high: float


class Ranked:
    """A histogram and a number of failures, ready to be asked for many quantiles."""

    def __init__(self, histogram: Histogram, failed: int = 0) -> None:
        self.total = histogram.total + failed
        self.buckets = sorted(histogram.counts)
        self.ranks = list(accumulate(histogram.counts[bucket] for bucket in self.buckets))
        self._maximum = histogram.maximum

    def at(self, share: float) -> float:
        """Milliseconds at or below which the share of all requests was answered; infinite if it was not."""
        place = bisect_left(self.ranks, share * self.total)
        return min(middle_of(self.buckets[place]), self._maximum) / 1000 if place < len(self.buckets) else math.inf

    def up_to(self, bucket: int) -> int:
        """How many requests lie in this bucket or below."""
        place = bisect_left(self.buckets, bucket + 1)
        return self.ranks[place - 1] if place else 0


@dataclass(slots=True)
class Part:
    """What one operation took in one window. seconds_above: in which an answer took longer than the threshold."""

    sent: Histogram = field(default_factory=Histogram)
    planned: Histogram = field(default_factory=Histogram)
    failed: int = 0
    void: int = 0
    dropped: int = 0
    seconds: int = 0
    seconds_above: int = 0
    blocks: dict[int, tuple[Histogram, int]] = field(default_factory=dict)

    def take(self, second: LaneSecond, block: int, threshold: float) -> None:
        """One second of the window; threshold in seconds."""
        self.sent.merge(second.sent)
        self.planned.merge(second.planned)
        self.failed += second.down
        self.void += second.void
        self.dropped += second.dropped
        self.seconds += 1
        self.seconds_above += second.planned.maximum > threshold * 1_000_000
        histogram, failed = self.blocks.get(block) or (Histogram(), 0)
        histogram.merge(second.planned)
        self.blocks[block] = (histogram, failed + second.down)

    def as_record(self) -> dict[str, Any]:
        """As plain data, times in milliseconds; None where requests failed instead."""
        planned, sent = Ranked(self.planned, self.failed), Ranked(self.sent, self.failed)
        seen = self.planned.total + self.dropped + self.failed
        return {
            "requests": seen,
            "failed": self.failed,
            "void": self.void,
            "dropped": self.dropped,
            "coverage": round(seen / max(1, seen + self.void), 6),
            "planned_ms": _quantiles(planned) | {"max": self.planned.maximum / 1000},
            "sent_ms": _quantiles(sent) | {"max": self.sent.maximum / 1000},
            "seconds": self.seconds,
            "seconds_above": self.seconds_above,
        }


@dataclass(frozen=True, kw_only=True)
class Performance:
    """One operation in all windows. ratios: of later windows to the one before, by window and quantile.

    A ratio is missing where there were too few requests for one.
    """

    target: Target
    parts: Mapping[str, Part]
    ratios: Mapping[str, Mapping[str, Ratio]]

    @property
    def is_canary(self) -> bool:
        """Whether this is no operation of a service, but the observer's host asking itself."""
        return self.target.mode == "canary"

    def as_record(self) -> dict[str, Any]:
        """As plain data; of the target name, service, via, mode and auth."""
        fields = ("name", "service", "via", "mode", "auth")
        return {
            **{name: getattr(self.target, name) for name in fields},
            "windows": {name: part.as_record() for name, part in self.parts.items()},
            "ratios": {
                window: {quantile: [_finite(value) for value in ratio] for quantile, ratio in ratios.items()}
                for window, ratios in self.ratios.items()
            },
        }


def compare(seconds: Iterable[LaneSecond], windows: Sequence[Window], threshold: float) -> list[Performance]:
    """Every operation in every window, in the order in which they were first asked; threshold in seconds.

    A second that does not lie in one window with all of it is in none.
    """
    parts: dict[Target, dict[str, Part]] = {}
    for second in seconds:
        mine = parts.setdefault(second.target, {})
        for window in windows:
            if window.begin <= second.second <= window.end - 1:
                part = mine.setdefault(window.name, Part())
                part.take(second, window.block_of(second.second), threshold)
    return [
        Performance(target=target, parts=mine, ratios=dict(_ratios(target, mine))) for target, mine in parts.items()
    ]


def _ratios(target: Target, parts: Mapping[str, Part]) -> Iterator[tuple[str, dict[str, Ratio]]]:
    for name in (DURING, AFTER):
        if BEFORE in parts and name in parts:
            found = {quantile: _ratio(target, parts, name, quantile) for quantile in QUANTILES}
            yield name, {quantile: ratio for quantile, ratio in found.items() if ratio is not None}


def _ratio(target: Target, parts: Mapping[str, Part], name: str, quantile: str) -> Ratio | None:
    """The ratio of a window to the one before; None when there were too few requests, or most failed before already."""
    share = QUANTILES[quantile]
    before, later = Resampled(parts[BEFORE], share), Resampled(parts[name], share)
    if not before.enough or not later.enough or math.isinf(before.value):
        return None
    # The seed makes the same log say the same for ever.
    source = random.Random(f"{target.name} {target.via} {target.mode} {target.auth} {name} {quantile}")  # noqa: S311
    ratios = sorted(later.draw(source) / before.draw_finite(source) for _number in range(RESAMPLES))
    tail = int(RESAMPLES * (1 - CONFIDENCE) / 2)
    return Ratio(later.value / before.value, ratios[tail], ratios[-1 - tail])


class Resampled:
    """One quantile of one window, and what it might as well have been."""

    def __init__(self, part: Part, share: float) -> None:
        self._ranked = Ranked(part.planned, part.failed)
        self.enough = self._ranked.total * min(share, 1 - share) >= LEAST_BEYOND
        self.value = self._ranked.at(share)
        size = self._ranked.total / design_effect(part, share)
        self._shape = (share * size + 0.5, (1 - share) * size + 0.5)
        self._largest = part.planned.maximum / 1000

    def draw(self, source: random.Random) -> float:
        """The quantile of one resample in milliseconds; infinite when it falls among the failures."""
        return self._ranked.at(source.betavariate(*self._shape))

    def draw_finite(self, source: random.Random) -> float:
        """The same, the slowest answer standing for a failure: what is compared with must be a number."""
        return min(self.draw(source), self._largest)


def design_effect(part: Part, share: float) -> float:
    """How much more the blocks of a window differ in their share below its quantile than chance would have it; >= 1."""
    whole = Ranked(part.planned, part.failed)
    place = bisect_left(whole.ranks, share * whole.total)
    if place >= len(whole.buckets) or len(part.blocks) < 2:
        return 1.0
    below = whole.ranks[place] / whole.total
    if below >= 1:
        return 1.0
    ranked = [Ranked(histogram, failed) for histogram, failed in part.blocks.values()]
    squares = sum((block.up_to(whole.buckets[place]) - below * block.total) ** 2 for block in ranked)
    among = len(ranked) / (len(ranked) - 1) * squares / whole.total**2
    return max(1.0, among / (below * (1 - below) / whole.total))


def _quantiles(ranked: Ranked) -> dict[str, float | None]:
    return {name: _finite(ranked.at(share)) if ranked.total else None for name, share in QUANTILES.items()}


def _finite(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None
