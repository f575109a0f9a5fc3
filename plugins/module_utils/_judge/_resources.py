# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the journal of resources says was made, was removed and is left.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def alive(journal: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the resources that may still exist: intended or created, and neither deleted nor found lost."""
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    for entry in journal:
        words = {key: str(entry.get(key) or "") for key in ("service", "type", "name", "id")}
        key = words["service"], words["type"], words["name"]
        if entry.get("event") in ("intent", "created"):
            found[key] = {**words, "id": words["id"] or found.get(key, {}).get("id", "")}
        else:
            found.pop(key, None)
    return list(found.values())


def tally(journal: Iterable[Mapping[str, Any]], *, still_open: bool) -> dict[str, Any]:
    """Return how many resources were created, how many of them were deleted, which are in use and which are left.

    Each counts once, although the journal may tell of it again when its facts change. Nothing is left behind by a run
    that goes on.
    """
    entries = list(journal)
    created, deleted = _those(entries, "created"), _those(entries, "deleted")
    rest = alive(entries)
    return {
        "created": len(created),
        "deleted": len(created & deleted),
        "in_use": rest if still_open else [],
        "left": [] if still_open else rest,
    }


def _those(entries: Iterable[Mapping[str, Any]], event: str) -> set[tuple[str, ...]]:
    """Return the resources of which the journal tells this event."""
    keys = ("service", "type", "name", "id")
    return {tuple(str(entry.get(key) or "") for key in keys) for entry in entries if entry.get("event") == event}
