# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the journal of resources says was made, was removed and is left.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def left_behind(journal: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the resources that may still exist: intended or created, and neither deleted nor found lost."""
    alive: dict[tuple[str, str, str], dict[str, str]] = {}
    for entry in journal:
        words = {key: str(entry.get(key) or "") for key in ("service", "type", "name", "id")}
        key = words["service"], words["type"], words["name"]
        if entry.get("event") in ("intent", "created"):
            alive[key] = {**words, "id": words["id"] or alive.get(key, {}).get("id", "")}
        else:
            alive.pop(key, None)
    return list(alive.values())


def tally(journal: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how many resources were created and deleted, and which are left."""
    entries = list(journal)
    events = [str(entry.get("event")) for entry in entries]
    return {"created": events.count("created"), "deleted": events.count("deleted"), "left": left_behind(entries)}
