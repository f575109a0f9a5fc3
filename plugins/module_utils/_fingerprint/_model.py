# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fingerprint is made of, and its form in a file.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One thing of the cloud: its name, and the fields that an upgrade must leave as they are."""

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Part:
    """All things of one kind, by id.

    ``trouble`` says why they could not be seen; ``absent`` that the cloud has no such kind, as an extension is missing.
    """

    service: str
    one: str
    things: Mapping[str, Thing] = field(default_factory=dict)
    trouble: str = ""
    absent: bool = False


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """The state of a cloud at one time: its parts, by kind."""

    taken: float
    parts: Mapping[str, Part]

    def things(self, kind: str) -> Mapping[str, Thing] | None:
        """Return the things of a kind, by id; None when they were not seen."""
        part = self.parts.get(kind)
        return None if part is None or part.trouble or part.absent else part.things

    def as_document(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "schema": SCHEMA,
            "taken": self.taken,
            "parts": {
                kind: {
                    "service": part.service,
                    "one": part.one,
                    "trouble": part.trouble,
                    "absent": part.absent,
                    "things": {
                        id_: {"name": thing.name, "fields": dict(thing.fields)} for id_, thing in part.things.items()
                    },
                }
                for kind, part in self.parts.items()
            },
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Fingerprint:
        """Read the JSON form back."""
        return cls(
            taken=float(document["taken"]),
            parts={
                kind: Part(
                    service=part["service"],
                    one=part["one"],
                    trouble=part["trouble"],
                    absent=part["absent"],
                    things={id_: Thing(name=one["name"], fields=one["fields"]) for id_, one in part["things"].items()},
                )
                for kind, part in document["parts"].items()
            },
        )


def canonical(value: Any) -> Any:
    """Return a value in the one form that equal states have: services list the same things in any order."""
    if isinstance(value, Mapping):
        return {str(key): canonical(item) for key, item in sorted(value.items(), key=lambda pair: str(pair[0]))}
    if isinstance(value, (list, tuple)):
        return sorted((canonical(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value
