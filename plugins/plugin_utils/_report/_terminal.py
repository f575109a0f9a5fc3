# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The summary that a playbook ends with.

Note that this plugin util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._speed import (
    QUANTILES,
    WINDOWS,
    speeds,
)
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._words import (
    TONES,
    VERDICTS,
    clock,
    duration,
    facts,
    is_unbroken,
    title,
    unended,
)

Line = tuple[str, str]  # its tone (good, bad, unsure, quiet or nothing) and its text
MOST_FINDINGS = 5
MOST_SPEEDS = 6
PLAIN = {
    "\u00d7": "x",
    "\u221e": "no end",
    "\u2192": "->",
    "\u2212": "-",
    "\u2713": "OK",
    "\u2717": "FAIL",
    "\u2013": "-",
    "\u2026": "...",
}
# Terminals act on these: colours, cursor movements, the window's title.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def summary_lines(results: Mapping[str, Any], folder: Path, *, width: int = 80, plain: bool = False) -> list[Line]:
    """Return the summary, line by line; ``plain`` keeps to ASCII."""
    middle = [*_claims(results, width), *_findings(results, width), *_speeds(results)]
    lines = [*_top(results), *middle, *_unbroken(results, width), *_bottom(results, folder, width)]
    return [(tone, _clean(text, plain).rstrip()) for tone, text in lines]


def _clean(text: str, plain: bool) -> str:
    text = CONTROLS.sub("\ufffd", text)
    if plain:
        for sign, word in PLAIN.items():
            text = text.replace(sign, word)
        text = text.encode("ascii", "replace").decode()
    return text


def _top(results: Mapping[str, Any]) -> Iterator[Line]:
    verdict = results["verdict"]
    head = f"{VERDICTS[verdict].upper()}   {title(results['run'])}   {'   '.join(facts(results))}"
    yield TONES[verdict], head
    if results["interrupted"]:
        yield "unsure", f"INTERRUPTED   {unended(results['run'])}; this is what was seen of it."
    yield "", ""


def _claims(results: Mapping[str, Any], width: int) -> Iterator[Line]:
    for claim in results["claims"]:
        asked = claim["asked"]
        word = VERDICTS[claim["verdict"]]
        head = f"  {claim['title'].lower():20}  {word:13} "
        tone = TONES[claim["verdict"]] if asked else "quiet"
        yield from _wrapped(tone, head, claim["sentence"] + ("" if asked else " (not asked)"), width)
    yield "", ""


def _wrapped(tone: str, head: str, text: str, width: int) -> Iterator[Line]:
    room = max(width - len(head) - 1, 30)
    for number, part in enumerate(textwrap.wrap(text, room) or [""]):
        yield tone, (head if number == 0 else " " * len(head)) + part


def _findings(results: Mapping[str, Any], width: int) -> Iterator[Line]:
    worth = [one for one in results["findings"] if one["severity"] != "note"]
    if worth:
        yield "", "  why"
    for one in worth[:MOST_FINDINGS]:
        when = f"{clock(one['begin'])} {one['phase']}".strip()
        head = f"    {one['id']:6} {duration(one['seconds']) if one['seconds'] else '':>9}  "
        text = f"{one['subject']}  {when}  {one['what']}"
        yield from _wrapped("bad" if one["severity"] == "fail" else "unsure", head, text, width)
    if len(worth) > MOST_FINDINGS:
        yield "", f"    ... {len(worth) - MOST_FINDINGS} more in the report"
    survived = sum(1 for one in results["findings"] if one["kind"].startswith("failover."))
    if survived:
        yield "quiet", f"    {survived} failovers of single instances were survived: users did not feel them"
    if worth or survived:
        yield "", ""


def _speeds(results: Mapping[str, Any]) -> Iterator[Line]:
    """Show what was delayed, else the first operations, and the observer's own host to compare with."""
    rows = speeds(results)
    if not rows:
        return
    shown = sorted(rows[:-1], key=lambda row: (not row.delayed, -row.rise))[:MOST_SPEEDS]
    wide = max(len(row.operation) for row in (*shown, rows[-1]))
    yield "", f"  {'response times in ms':{wide + 2}}  {'before':>8}  {'during':>8}  {'after':>8}  during to before"
    for row in (*shown, rows[-1]):
        quantile, ratio = row.worst()
        place = QUANTILES.index(quantile or "p95")
        values = "  ".join(f"{_nth(row.windows[name], place):>8}" for name in WINDOWS)
        tone = "bad" if row.delayed else "quiet"
        yield tone, f"    {row.operation:{wide}}  {values}  {quantile or 'p95'} {ratio or 'too few requests'}"
    if len(rows) - 1 > len(shown):
        yield "", f"    ... {len(rows) - 1 - len(shown)} more in the report"
    yield "", ""


def _nth(quantiles: str, place: int) -> str:
    return quantiles.split(" / ")[place] if " / " in quantiles else quantiles


def _unbroken(results: Mapping[str, Any], width: int) -> Iterator[Line]:
    """Say how long an outage may have been at most where none was seen, and how much of the time was looked at."""
    shown = [one for one in results["services"] if is_unbroken(one)]
    if shown:
        longest = ", ".join(f"{duration(one['longest_gap'])} ({one['name']})" for one in shown)
        sampled = min(one["coverage"] for one in shown)
        text = f"longer than {longest}; {sampled:.2%} of the time was sampled"
        yield from _wrapped("", "  no outage    ", text, width)


def _bottom(results: Mapping[str, Any], folder: Path, width: int) -> Iterator[Line]:
    made = results["resources"]
    for tone, head, rest in (("unsure", "left behind", made["left"]), ("", "in use", made["in_use"])):
        if rest:
            names = ", ".join(f"{one['type']} {one['name']}" for one in rest[:3])
            yield from _wrapped(tone, f"  {head:11}  ", f"{len(rest)} of {made['created']} made: {names}", width)
    if not made["left"] and not made["in_use"]:
        yield "", f"  left behind  nothing ({made['created']} made, {made['deleted']} removed)"
    yield "", f"  report       {(folder / 'report.html').as_uri()}"
    yield "", f"  results      {folder}/results.json   junit.xml   summary.md"
