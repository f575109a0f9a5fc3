# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report in Markdown, for job summaries, which take no more than 60 kB.

Note that this plugin util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._speed import WINDOWS, speeds
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._words import (
    MARKS,
    RESULT_MARKS,
    VERDICTS,
    clock,
    duration,
    facts,
    is_unbroken,
    services_title,
    title,
    unended,
)

MOST_BYTES = 60_000
CUT = "\n\n(The rest is left out here; it is in report.html.)\n"


def markdown(results: Mapping[str, Any]) -> str:
    """Return the report, cut at a line when it is too long."""
    parts = (_top, _findings, _services, _speeds, _requirements)
    text = "\n".join(line for part in parts for line in part(results)) + "\n"
    data = text.encode("utf-8", "replace")
    if len(data) <= MOST_BYTES:
        return text
    kept = data[: MOST_BYTES - len(CUT)].decode("utf-8", "ignore")
    return kept[: kept.rindex("\n")] + CUT


def cell(text: object) -> str:
    """Return a text that cannot break out of a table's cell or become markup or a link."""
    flat = re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", str(text))
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", flat)


def _row(*cells: object) -> str:
    return "| " + " | ".join(cell(one) for one in cells) + " |"


def _table(*heads: str) -> list[str]:
    return [_row(*heads), "|" + " --- |" * len(heads)]


def _top(results: Mapping[str, Any]) -> Iterator[str]:
    verdict = results["verdict"]
    yield f"# {MARKS[verdict]} {VERDICTS[verdict].upper()}: {cell(title(results['run']))}"
    yield ""
    yield " \u00b7 ".join(cell(word) for word in facts(results))
    if results["interrupted"]:
        yield f"\n**INTERRUPTED**: {unended(results['run'])}; this is what was seen of it."
    yield ""
    yield from _table("claim", "verdict", "why")
    for claim in results["claims"]:
        asked = "" if claim["asked"] else " (not asked)"
        yield _row(claim["title"] + asked, f"{MARKS[claim['verdict']]} {VERDICTS[claim['verdict']]}", claim["sentence"])


def _findings(results: Mapping[str, Any]) -> Iterator[str]:
    worth = [one for one in results["findings"] if one["severity"] != "note"]
    if worth:
        yield "\n## Why\n"
        yield from _table("finding", "length", "what", "when", "try")
    for one in worth[:30]:
        length = duration(one["seconds"]) if one["seconds"] else ""
        when = f"{clock(one['begin'])} {one['phase']}"
        yield _row(one["id"], length, f"{one['subject']}: {one['what']}", when, one["hint"])
    if len(worth) > 30:
        yield f"\n{len(worth) - 30} more are in report.html."


def _services(results: Mapping[str, Any]) -> Iterator[str]:
    if not results["services"]:
        return
    yield f"\n## {services_title(results)}\n"
    yield from _table(
        "service", "outages", "longest", "downtime", "failed requests", "survived failovers", "no outage longer than"
    )
    for one in results["services"]:
        name = one["name"]
        if not one["watched"]:
            yield _row(name, "not watched", "", "", "", "", "")
            continue
        span = f"{one['downtime_lower']:.2f} to {one['downtime_upper']:.2f} s" if one["outages"] else ""
        longest = duration(one["longest"]) if one["longest"] else "not proven" if one["outages"] else ""
        planned = one["planned_downtime"]
        span = ", ".join(part for part in (span, f"planned {duration(planned)}" if planned else "") if part)
        clean = duration(one["longest_gap"]) if is_unbroken(one) else ""
        yield _row(name, one["outages"], longest, span, one["failed_requests"], one["survived_failovers"], clean)


def _speeds(results: Mapping[str, Any]) -> Iterator[str]:
    rows = speeds(results)
    if not rows:
        return
    yield "\n## Response times in ms: median / 95 of 100 / 99 of 100\n"
    yield from _table("operation", "over", *WINDOWS, "failed during", "95 of 100, during to before")
    for row in rows:
        windows = [row.windows[name] for name in WINDOWS]
        yield _row(row.operation, row.over, *windows, row.failed["during"], row.ratios["during"]["p95"])


def _requirements(results: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## Requirements\n"
    yield from _table("id", "requirement", "service", "result", "why")
    for one in results["requirements"]:
        if one["kind"] != "attested" or one["result"] == "ATTESTED":
            mark = f"{RESULT_MARKS[one['result']]} {one['result']}"
            yield _row(one["id"], one["title"], one["service"], mark, one["sentence"])
