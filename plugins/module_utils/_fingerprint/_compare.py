# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of a cloud between two fingerprints, and what of that was allowed. Pure.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._model import (
    Fingerprint,
    Part,
    Thing,
)

ADDED, REMOVED, CHANGED = "added", "removed", "changed"
CHANGES = (ADDED, REMOVED, CHANGED)


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """A change that is no loss; each part is a pattern as the shell has them, and all have to match.

    ``field`` matters for what changed only: every field that did has to be allowed.
    """

    kind: str = "*"
    change: str = "*"
    id: str = "*"
    name: str = "*"
    field: str = "*"
    why: str = ""

    def covers(self, kind: str, change: str, id_: str, name: str) -> bool:
        """Whether it is about such a change of such a thing."""
        pairs = ((kind, self.kind), (change, self.change), (id_, self.id), (name, self.name))
        return all(fnmatchcase(word, pattern) for word, pattern in pairs)


MORE_LIMITS = Allowance(kind="*_quotas", change=ADDED, why="A new release may count more than the old one did.")
"""What is no loss in any cloud: Neutron 2026.2, for one, limits routes. A limit that changed or is gone is told."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that is not as it was. ``fields`` has what changed, each with both values."""

    kind: str
    one: str
    service: str
    change: str
    id: str
    name: str
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """What happened, in one sentence."""
        who = f"The {self.one} {self.name}" + (f" ({self.id})" if self.id != self.name else "")
        if self.change == ADDED:
            return f"{who} was not there before."
        if self.change == REMOVED:
            return f"{who} is gone."
        apart = (f"{name} was {short(old)} and is {short(new)}" for name, (old, new) in self.fields.items())
        return f"{who} changed: {'; '.join(apart)}."


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One kind compared: what is apart, what of that was allowed, and why it could not be compared."""

    kind: str
    one: str
    service: str
    count: int = 0
    apart: tuple[Difference, ...] = ()
    allowed: tuple[Difference, ...] = ()
    unknown: str = ""
    absent: bool = False


def short(value: Any, limit: int = 100) -> str:
    """Return a value as text of bounded length."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def compare(before: Fingerprint, after: Fingerprint, allowances: Iterable[Allowance] = ()) -> list[Comparison]:
    """Compare every kind that either fingerprint has, in the order of the first."""
    rules = [MORE_LIMITS, *allowances]
    known = {**after.parts, **before.parts}
    kinds = dict.fromkeys([*before.parts, *after.parts])
    return [_compared(kind, known[kind], before.parts.get(kind), after.parts.get(kind), rules) for kind in kinds]


def _compared(kind: str, known: Part, old: Part | None, new: Part | None, rules: Sequence[Allowance]) -> Comparison:
    told = Comparison(kind=kind, one=known.one, service=known.service)
    unknown = _why_unknown(kind, old, new)
    if unknown or old is None or new is None:
        return replace(told, unknown=unknown)
    apart = _differences(kind, old, new)
    left = [one for one in apart if not _allowed(one, rules)]
    return replace(
        told,
        count=len(old.things),
        apart=tuple(left),
        allowed=tuple(one for one in apart if one not in left),
        absent=old.absent and new.absent,
    )


def _why_unknown(kind: str, old: Part | None, new: Part | None) -> str:
    """Return why a kind cannot be compared; an empty text when it can."""
    if old is None:
        return f"The {kind} were not looked at before, so it is not known whether any is missing."
    if new is None:
        return f"The {kind} were looked at before and are not now: the catalogue has lost {old.service}."
    if old.trouble:
        return f"The {kind} could not be seen before: {old.trouble}"
    return f"The {kind} could not be seen: {new.trouble}" if new.trouble else ""


def _differences(kind: str, old: Part, new: Part) -> list[Difference]:
    found = []
    for id_ in sorted({*old.things, *new.things}):
        was, now = old.things.get(id_), new.things.get(id_)
        change, fields = _change(was, now)
        if change:
            name = (was or now or Thing(name=id_)).name
            found.append(
                Difference(kind=kind, one=old.one, service=old.service, change=change, id=id_, name=name, fields=fields)
            )
    return found


def _change(was: Thing | None, now: Thing | None) -> tuple[str, dict[str, tuple[Any, Any]]]:
    if was is None:
        return ADDED, {}
    if now is None:
        return REMOVED, {}
    # Fields that only one of them has were not compared then: another version of the collection took it.
    both = [name for name in was.fields if name in now.fields]
    fields = {name: (was.fields[name], now.fields[name]) for name in both if was.fields[name] != now.fields[name]}
    return CHANGED if fields else "", fields


def _allowed(one: Difference, rules: Sequence[Allowance]) -> bool:
    fitting = [rule for rule in rules if rule.covers(one.kind, one.change, one.id, one.name)]
    if one.change != CHANGED:
        return bool(fitting)
    return all(any(fnmatchcase(name, rule.field) for rule in fitting) for name in one.fields)
