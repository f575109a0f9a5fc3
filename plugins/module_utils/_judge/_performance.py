# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the latencies of operations say: which were delayed for certain, and which for certain were not.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._policy import Policy
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._performance import (
    AFTER,
    BEFORE,
    DURING,
    QUANTILES,
    Performance,
    Ranked,
    Ratio,
    Window,
)

NAMES = {"before": BEFORE, "upgrade": DURING, "after": AFTER}
"""What the phases of a run are called when their latencies are compared."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one observer measured of one operation, and how its own host answered itself meanwhile (None: unknown)."""

    host: str
    seen: Performance
    canary: Performance | None = None

    @property
    def label(self) -> str:
        """How a sentence names it."""
        return f"{self.seen.target.name} ({self.seen.target.mode} connection)"

    def as_record(self, policy: Policy) -> dict[str, Any]:
        """As plain data; ``delayed`` names the quantiles that were certainly higher during the upgrade."""
        delayed = [delay.quantile for delay in delays([self], policy)]
        return {"host": self.host, **self.seen.as_record(), "delayed": sorted(delayed)}


@dataclass(frozen=True, kw_only=True)
class Delay:
    """A quantile that is certainly higher during the upgrade than before; times in milliseconds."""

    measured: Measured
    quantile: str
    before: float
    ratio: Ratio

    @property
    def sentence(self) -> str:
        """What is to be told of it, with the operation's name."""
        return f"{self.measured.label}: {self.figures}"

    @property
    def figures(self) -> str:
        """What it was before, and how much slower it became."""
        if math.isinf(self.ratio.low):
            return f"{self.quantile} was {self.before:.1f} ms before, and too many requests failed for one during"
        value, low, high = (_times(one) for one in self.ratio)
        return f"{self.quantile} was {self.before:.1f} ms before and {value} that during ({low} to {high})"


def _times(value: float) -> str:
    return f"{value:.2f}\u00d7" if math.isfinite(value) else "no end of"


def measured_of(host: str, seen: Sequence[Performance]) -> list[Measured]:
    """Pair what one observer measured with its canary."""
    canary = next((one for one in seen if one.is_canary), None)
    return [Measured(host=host, seen=one, canary=canary) for one in seen]


def delays(found: Sequence[Measured], policy: Policy) -> list[Delay]:
    """Return which operations were certainly delayed, the worst first; what the observer's own host explains is not."""
    sure = [
        Delay(measured=one, quantile=quantile, before=before, ratio=ratio)
        for one in found
        for quantile in QUANTILES
        if (told := _before_and_ratio(one.seen, quantile))
        for before, ratio in (told,)
        if before * (ratio.low - 1) - _own(one, quantile) > allowed(before, policy)
    ]
    return sorted(sure, key=lambda delay: -delay.ratio.low)


def doubts(found: Sequence[Measured], policy: Policy) -> list[str]:
    """Return why it is not certain that nothing was delayed; nothing means that it is."""
    if not found:
        return ["its response times were not measured"]
    told = [(one, _doubt(one, quantile, policy)) for one in found for quantile in QUANTILES]
    return [f"of {one.label} {why}" for one, why in told if why]


def _doubt(one: Measured, quantile: str, policy: Policy) -> str:
    told = _before_and_ratio(one.seen, quantile)
    if told is None:
        return f"too few requests were measured before or during for a ratio of {quantile}"
    before, ratio = told
    if before * (ratio.high - 1) > allowed(before, policy):
        return f"{quantile} during is {_times(ratio.low)} to {_times(ratio.high)} that before"
    slowest = [part.planned.maximum / 1000 for part in (one.seen.parts[BEFORE], one.seen.parts[DURING])]
    if slowest[1] - slowest[0] > max(allowed(slowest[0], policy), slowest[0] * (policy.slowest_factor - 1)):
        return f"the slowest answer during took {slowest[1]:.0f} ms, before {slowest[0]:.0f} ms"
    return ""


def _before_and_ratio(seen: Performance, quantile: str) -> tuple[float, Ratio] | None:
    ratio = seen.ratios.get(DURING, {}).get(quantile)
    if ratio is None:
        return None
    before = seen.parts[BEFORE]
    return Ranked(before.planned, before.failed).at(QUANTILES[quantile]), ratio


def _own(one: Measured, quantile: str) -> float:
    """By how many milliseconds the observer's own host became slower meanwhile, at most."""
    told = _before_and_ratio(one.canary, quantile) if one.canary else None
    return max(0.0, told[0] * (told[1].high - 1)) if told else 0.0


def allowed(before: float, policy: Policy) -> float:
    """By how many milliseconds an answer may become slower without anybody noticing."""
    return max(before * (policy.unnoticed_factor - 1), policy.unnoticed_delay * 1000)


def windows_of(phases: Sequence[tuple[str, float, float]]) -> list[Window]:
    """Return the windows to compare, from (name, begin, end) of the phases before, upgrade and after."""
    return [Window(NAMES[name], begin, end) for name, begin, end in phases if end - begin >= 1]
