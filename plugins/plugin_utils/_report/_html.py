# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one self-contained page: nothing is loaded, everything is readable without scripts.

Note that this plugin util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report import _words
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._lanes import chart
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._speed import speeds

TEMPLATES = Path(__file__).parent
PAGE = "report.html.j2"
SHOWN = 6  # findings that are shown before the others are folded away


def html(results: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> str:
    """Return the page; every value is escaped, as names and errors come from the cloud."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        {name: getattr(_words, name) for name in ("clock", "day", "duration", "number", "offset")}
    )
    environment.tests["unbroken"] = _words.is_unbroken
    return environment.get_template(PAGE).render(view(results, events))


def view(results: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return all that the page shows."""
    worth = [one for one in results["findings"] if one["severity"] != "note"]
    return {
        "results": results,
        "run": results["run"],
        "title": _words.title(results["run"]),
        "unended": _words.unended(results["run"]),
        "facts": _words.facts(results),
        "services_title": _words.services_title(results),
        "verdicts": _words.VERDICTS,
        "marks": _words.MARKS,
        "tones": _words.TONES,
        "result_marks": _words.RESULT_MARKS,
        "shown": worth[:SHOWN],
        "folded": worth[SHOWN:],
        "notes": [one for one in results["findings"] if one["severity"] == "note"],
        "survived": sum(one["kind"].startswith("failover.") for one in results["findings"]),
        "chart": chart(results, events),
        "speeds": speeds(results),
        "checklists": [checklist(claim, results["requirements"]) for claim in results["claims"]],
        "validators": validators(results["validators"]),
        "slug": {"PASS": "good", "FAIL": "bad", "NOT PROVEN": "unsure", "ATTESTED": "good", "N/A": "quiet"},
    }


def checklist(claim: Mapping[str, Any], requirements: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one tag's requirements, each with its services grouped by what is said of them."""
    lines: dict[str, dict[str, Any]] = {}
    for one in requirements:
        if one["tag"] == claim["id"]:
            line = lines.setdefault(one["id"], {**one, "groups": {}})
            key = (one["result"], one["sentence"], tuple(one["evidence"]))
            line["groups"].setdefault(key, []).append(one["service"])
    for line in lines.values():
        line["groups"] = [
            {"result": result, "sentence": sentence, "evidence": evidence, "services": services}
            for (result, sentence, evidence), services in line["groups"].items()
        ]
    order = {"measured": 0, "derived": 1, "note": 2, "attested": 3}
    return {"claim": claim, "lines": sorted(lines.values(), key=lambda line: order[line["kind"]])}


def validators(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one line for each validator and service, with a cell for each phase."""
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for one in records:
        phase = one["phase"] if one["phase"] in ("before", "after") else "upgrade"
        new: dict[str, Any] = {"validator": one["validator"], "service": one["service"], "cells": {}, "not_good": []}
        line = lines.setdefault((one["validator"], one["service"]), new)
        cell = line["cells"].setdefault(phase, {"counts": {}, "found": []})
        for status, count in one["counts"].items():
            cell["counts"][status] = cell["counts"].get(status, 0) + count
        cell["found"] = list(dict.fromkeys([*cell["found"], *one["found"]]))[:4]
        line["not_good"] += one["not_good"]
    return list(lines.values())
