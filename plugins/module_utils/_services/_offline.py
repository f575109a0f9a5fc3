# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify without any API: compare what the hosts hold now with the journal, and with what they held before.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

The first look is kept as the beginning. It can say that things are there, and whether they hold what the journal says;
that nothing moved or was started anew only a second look can say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import EVIDENCE
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import (
    Finding,
    differences,
    finding,
    in_words,
    skipped,
    unseen,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._journal import Item, Journal
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._reach import CannotPingError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import VALIDATOR, Checks, Owner
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Service

FIRST_LOOK = "hosts.json"
Held = Mapping[str, Mapping[str, Any]]
"""What hosts hold of one thing: facts by host."""


@dataclass(kw_only=True)
class Offline:
    """The examination of one service without its API; ``before`` and ``now`` are what each host showed."""

    service: Service
    items: Sequence[Item]
    before: Mapping[str, Any]
    now: Mapping[str, Any]
    prefix: str
    phase: str = ""
    boot_id_path: str | None = None
    outcomes: list[Outcome] = field(default_factory=list)

    def named(self, suffix: str) -> Item | None:
        """Return the resource whose name ends so, if it was made."""
        return next((item for item in self.items if item.name == f"{self.prefix}{suffix}" and item.facts), None)

    def check_of(self, item: Item) -> str:
        """Return the end of a resource's name as the beginning of a check's."""
        return item.name.removeprefix(self.prefix).replace("-", "_")

    def of_type(self, *types: str) -> list[Item]:
        """Return the finished resources of some types."""
        return [item for item in self.items if item.type in types and item.facts]

    def held(self, category: str, evidence: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
        """Return what hosts hold in a category: facts by key and host."""
        found: dict[str, dict[str, Any]] = {}
        for host, seen in (self.now if evidence is None else evidence).items():
            for key, facts in seen.get("services", {}).get(self.service.name, {}).get(category, {}).items():
                found.setdefault(key, {})[host] = facts
        return found

    def stays(
        self, category: str, key: str, what: str, fields: Sequence[str] = (), *, movable: bool = False
    ) -> Finding:
        """Say whether a thing is where it was, and these fields of it as they were."""
        before = self.held(category, self.before).get(key, {})
        now = self.held(category).get(key, {})
        if movable and before and now and not before.keys() & now.keys():
            words = f"moved from {', '.join(sorted(before))} to {', '.join(sorted(now))}"
            return finding(what, True, f"{what} {words}; whether it was interrupted, its boot id tells.")
        return self.seen(judge_place(what, before, now, set(self.now), fields))

    def content(self, category: str, key: str, what: str, expected: Mapping[str, Any]) -> Finding:
        """Say whether each host that holds a thing holds what the journal says."""
        return self.seen(judge_content(what, self.held(category).get(key, {}), expected))

    def seen(self, found: Finding) -> Finding:
        """Return a finding; without any host that could have been looked at, what is unseen does not apply."""
        nobody = "No host is in the inventory's group upgrade_test_hosts, so nobody could look where it lies."
        return skipped(found.subject, nobody) if found.status is Status.UNKNOWN and not self.now else found

    def examine(self, checks: Checks) -> None:
        """Make checks and record an outcome for each."""
        for check, look in checks.items():
            try:
                found = look()
            except CannotPingError as problem:
                found = unseen(check, str(problem))
            self.record(check, found)

    def record(self, check: str, found: Finding) -> None:
        """Add the outcome of a check."""
        name = self.service.name
        self.outcomes.append(
            found.as_outcome(validator=VALIDATOR, check=f"noapi_{check}", service=name, phase=self.phase)
        )


def judge_place(what: str, before: Held, now: Held, looked: set[str], fields: Sequence[str]) -> Finding:
    """Say whether each host that held a thing still does, and whether it is the same one."""
    if not before:
        where = ", ".join(sorted(now))
        nowhere = f"No host of the inventory shows {what}; so nothing is known of it."
        return finding(what, True, f"{what} is on {where}.", found=sorted(now)) if now else unseen(what, nowhere)
    gone = sorted((before.keys() - now.keys()) & looked)
    unlooked = sorted(before.keys() - now.keys() - looked)
    apart = {host: _differ(before[host], now[host], fields) for host in sorted(before.keys() & now.keys())}
    words = [f"it is gone from {', '.join(gone)}"] * bool(gone)
    words += [f"on {host} {in_words(changed)}" for host, changed in apart.items() if changed]
    if words:
        found = {host: dict(facts) for host, facts in now.items()}
        return finding(what, False, f"{what} is not as it was: {'; '.join(words)}.", expected=dict(before), found=found)
    if unlooked:
        return unseen(what, f"{what} was on {', '.join(unlooked)}, which could not be looked at now.")
    return finding(what, True, f"{what} is as it was on {', '.join(sorted(before))}.", found=sorted(now))


def _differ(before: Mapping[str, Any], now: Mapping[str, Any], fields: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    return differences({key: before.get(key) for key in fields}, now)


def judge_content(what: str, held: Held, expected: Mapping[str, Any]) -> Finding:
    """Say whether each host that holds a thing holds what the journal says."""
    if not held:
        return unseen(
            what, f"No host of the inventory shows {what}; so nothing is known of it.", expected=dict(expected)
        )
    apart = {host: _differ(expected, facts, list(expected)) for host, facts in sorted(held.items())}
    words = [f"on {host} {in_words(changed)}" for host, changed in apart.items() if changed]
    message = f"{what} is not what was stored: {'; '.join(words)}." if words else _intact(what, held)
    found = {host: {key: facts.get(key) for key in expected} for host, facts in held.items()}
    return finding(what, not words, message, expected=dict(expected), found=found)


def _intact(what: str, held: Held) -> str:
    return f"{what} is what was stored, on {', '.join(sorted(held))}."


def judge_equal(what: str, held: Held) -> Finding:
    """Say whether all hosts hold the same."""
    if not held:
        return unseen(what, f"No host of the inventory shows {what}; so nothing is known of it.")
    first, *others = sorted(held)
    apart = {host: differences(held[first], held[host]) or differences(held[host], held[first]) for host in others}
    wrong = {host: sorted(changed) for host, changed in apart.items() if changed}
    words = "; ".join(f"{host} differs in {', '.join(keys)}" for host, keys in wrong.items())
    message = f"{what} is not the same on all hosts: beside {first}, {words}." if wrong else _the_same(what, held)
    return finding(what, not wrong, message, found=wrong or sorted(held))


def _the_same(what: str, held: Held) -> str:
    where = ", ".join(sorted(held))
    return f"{what} is the same on {where}." if len(held) > 1 else f"{what} is on one host only, {where}."


def sought(journal: Journal) -> list[dict[str, Any]]:
    """Return what to look for on the hosts: the resources of the journal, with those facts that are single values."""
    return [
        {
            "service": item.service,
            "type": item.type,
            "name": item.name,
            "id": item.id,
            "facts": {key: value for key, value in item.facts.items() if isinstance(value, (str, int, float))},
        }
        for item in journal.items()
        if item.id
    ]


def verify_offline(
    services: Sequence[Service], journal: Journal, evidence: Mapping[str, Any], phase: str, boot_id_path: str | None
) -> list[Outcome]:
    """Return the outcomes for all services, and keep the first evidence as the beginning."""
    run, outcomes = journal.run, list[Outcome]()
    before = run.read_json(f"{EVIDENCE}/{FIRST_LOOK}")
    for service in services:
        items = journal.items(service.name)
        if service.offline and items:
            offline = Offline(
                service=service,
                items=items,
                before=before,
                now=evidence,
                prefix=Owner(run_id=run.run_id).prefix,
                phase=phase,
                boot_id_path=boot_id_path,
            )
            service.offline(offline)
            outcomes += offline.outcomes
    if evidence and not before:
        run.write_evidence(FIRST_LOOK, dict(evidence))
    return outcomes
