# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of resources: what was begun, what was made, what was deleted.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RESOURCES, RunDirectory


@dataclass(frozen=True, kw_only=True)
class Item:
    """One resource of the journal that was not deleted; ``id`` is empty when only its intent is known."""

    service: str
    type: str
    name: str
    id: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


class Journal:
    """The journal of resources of one run, safe to use from several threads."""

    def __init__(self, run: RunDirectory) -> None:
        """Read and write the journal in this run directory."""
        self.run = run
        self._lock = Lock()

    def write(self, event: str, item: Item, project_id: str = "") -> None:
        """Append one event."""
        with self._lock:
            self.run.append_resource(
                event,
                service=item.service,
                type=item.type,
                name=item.name,
                id=item.id,
                project_id=project_id,
                facts=dict(item.facts),
            )

    def items(self, service: str = "") -> list[Item]:
        """Return what was begun and not deleted, oldest first, each with its newest id and facts."""
        with self._lock:
            records = self.run.read(RESOURCES)
        return [item for item in still_there(records) if not service or item.service == service]

    def find(self, service: str, name: str) -> Item | None:
        """Return the resource of a service that has this name, or None."""
        return next((item for item in reversed(self.items(service)) if item.name == name), None)


def still_there(records: Sequence[Mapping[str, Any]]) -> list[Item]:
    """Return the items of a journal that were not deleted, oldest first."""
    items: dict[tuple[str, str, str], Item] = {}
    for record in records:
        key = (str(record.get("service")), str(record.get("type")), str(record.get("name")))
        known = items.get(key, Item(service=key[0], type=key[1], name=key[2]))
        if record.get("event") == "deleted":
            items.pop(key, None)
        else:
            facts = record.get("facts") or known.facts
            items[key] = replace(known, id=str(record.get("id") or known.id), facts=facts)
    return list(items.values())
