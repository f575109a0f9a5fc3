# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The response times of operations as the rows of a table, in every form of the report.

Note that this plugin util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WINDOWS = ("before", "during", "after")
QUANTILES = ("p50", "p95", "p99")
CANARY = "canary"
NOTHING = "\u2013"
ENDLESS = "\u221e"


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One operation: what it took in each window, and how many times that is what it took before, as texts.

    ``rise`` is the greatest of these ratios during the upgrade, 0 without any; infinite where too many requests failed.
    """

    operation: str
    over: str
    windows: Mapping[str, str]
    failed: Mapping[str, int]
    ratios: Mapping[str, Mapping[str, str]]
    rise: float
    above: int
    delayed: Sequence[str]

    def worst(self) -> tuple[str, str]:
        """The highest quantile of which there is a ratio during the upgrade, and that ratio; empty without one."""
        found = self.ratios["during"]
        known = [quantile for quantile in (*self.delayed[-1:], *reversed(QUANTILES)) if found[quantile] != NOTHING]
        return (known[0], found[known[0]]) if known else ("", "")


def speeds(results: Mapping[str, Any]) -> list[Speed]:
    """Return a row for each operation, in the order in which they were asked, the observer's own host last."""
    rows = sorted(results["performance"], key=lambda one: one["mode"] == CANARY)
    many = len({one["host"] for one in rows}) > 1
    return [_speed(one, many) for one in rows]


def _speed(one: Mapping[str, Any], many: bool) -> Speed:
    own = one["mode"] == CANARY
    words = ["loopback" if own else one["mode"], "token" if one["auth"] else "", f"from {one['host']}" if many else ""]
    windows = {name: one["windows"].get(name) for name in WINDOWS}
    return Speed(
        operation="the observer's own host" if own else one["name"],
        over=", ".join(word for word in words if word),
        windows={name: _quantiles(part) for name, part in windows.items()},
        failed={name: part["failed"] if part else 0 for name, part in windows.items()},
        ratios={
            name: {quantile: _ratio(one["ratios"].get(name, {}).get(quantile)) for quantile in QUANTILES}
            for name in WINDOWS[1:]
        },
        rise=max((_value(ratio) for ratio in one["ratios"].get("during", {}).values()), default=0.0),
        above=sum(part["seconds_above"] for part in windows.values() if part),
        delayed=tuple(one["delayed"]),
    )


def _quantiles(part: Mapping[str, Any] | None) -> str:
    if not part or not part["requests"]:
        return NOTHING
    return " / ".join(_milliseconds(part["planned_ms"][quantile]) for quantile in QUANTILES)


def _milliseconds(value: float | None) -> str:
    if value is None:
        return "failed"
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _value(ratio: Sequence[float | None] | None) -> float:
    return 0.0 if ratio is None else math.inf if ratio[0] is None else ratio[0]


def _ratio(ratio: Sequence[float | None] | None) -> str:
    """Write a ratio with its interval; there is none where too few requests were measured."""
    if ratio is None:
        return NOTHING
    value, low, high = (ENDLESS if one is None else f"{one:.2f}" for one in ratio)
    return f"{value}\u00d7 ({low} to {high})"
