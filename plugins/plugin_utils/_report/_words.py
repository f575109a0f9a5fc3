# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How numbers, times and verdicts are written, in every form of the report.

Note that this plugin util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

VERDICTS: Mapping[str, str] = MappingProxyType({"met": "met", "not_met": "NOT MET", "inconclusive": "inconclusive"})
MARKS: Mapping[str, str] = MappingProxyType({"met": "\u2713", "not_met": "\u2717", "inconclusive": "?"})
RESULT_MARKS: Mapping[str, str] = MappingProxyType(
    {"PASS": "\u2713", "FAIL": "\u2717", "NOT PROVEN": "?", "ATTESTED": "\u270d", "N/A": "\u2013"}
)
TONES: Mapping[str, str] = MappingProxyType({"met": "good", "not_met": "bad", "inconclusive": "unsure"})


def duration(seconds: float) -> str:
    """Write a length of time: ``0.21 s``, ``51.2 s``, ``7 min 05 s``, ``6 h 00 min``."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def clock(moment: float | None) -> str:
    """Write a moment as a time of day, UTC."""
    return time.strftime("%H:%M:%S", time.gmtime(moment)) if moment is not None else ""


def day(moment: float | None) -> str:
    """Write a moment with its date, UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment)) if moment is not None else ""


def offset(seconds: float) -> str:
    """Write a distance in time with its sign."""
    sign = "+" if seconds >= 0 else "\u2212"
    return f"{sign}{abs(seconds):.1f} s"


def number(value: float) -> str:
    """Write a count with groups of three."""
    return f"{value:,.0f}"


def title(run: Mapping[str, Any]) -> str:
    """Name the upgrade."""
    old, new = run.get("from_release") or "", run.get("to_release") or ""
    return f"Upgrade {old} \u2192 {new}" if old and new else "Upgrade"


def unended(run: Mapping[str, Any]) -> str:
    """Say why a run that is judged has no end."""
    return "The run is still open" if run.get("state") == "open" else "The run did not come to its end"


def services_title(results: Mapping[str, Any]) -> str:
    """Say of which time the outages of the services are told."""
    upgraded = any(phase["name"] == "upgrade" for phase in results["phases"])
    return "Services, since the upgrade began" if upgraded else "Services"


def is_unbroken(service: Mapping[str, Any]) -> bool:
    """Whether a service was watched, and no outage of it was seen or planned."""
    return bool(service["watched"] and not service["outages"] and not service["planned_downtime"])


def facts(results: Mapping[str, Any]) -> list[str]:
    """Return the few words under the title: what, where, how long, how many requests."""
    run = results["run"]
    requests = sum(lane["probes"] for lane in results["lanes"])
    length = (run.get("ended") or 0) - (run.get("started") or 0)
    words = [
        "cold" if run.get("strategy") == "cold" else "",
        run.get("driver"),
        f"cloud {run['cloud']}" if run.get("cloud") else "",
        f"run {run.get('run_id', '?')}",
    ]
    words += [duration(length) if length > 0 else "", f"{number(requests)} requests" if requests else ""]
    return [str(word) for word in words if word]
