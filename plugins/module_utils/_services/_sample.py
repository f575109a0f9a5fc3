# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sample resources: made before an upgrade, compared after it, removed at the end.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

Each create is journaled twice: its intent before, its id after. Every name begins with the prefix of the run. So what
was made is found again by journal or by name, whatever happened in between.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    Api,
    BrokenError,
    Cloud,
    CloudError,
    MissingError,
    UnreachableError,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RESOURCES, RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Service

VALIDATOR = "persistent_resource"
PATIENCE = 30  # seconds in which something whose creation was not answered has to appear
NAME_PREFIX = "upgrade-test-"


class SampleError(CloudError):
    """A sample resource did not become what it should."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the operator chose for the samples; ``timeout`` bounds each single wait, in seconds."""

    server_image: str | None = None
    server_flavor: str | None = None
    external_network: str | None = None
    availability_zone: str | None = None
    boot_id_path: str | None = "/boot_id"
    timeout: float = 180


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

    def find(self, service: str, type_: str) -> Item | None:
        """Return the newest item of a type, or None."""
        items = [item for item in self.items(service) if item.type == type_]
        return items[-1] if items else None


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


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A type of resource behind one collection of an API.

    ``one`` and ``many`` are the keys that wrap it in bodies (``one`` empty: not wrapped), ``named`` the field that
    holds its name, ``scope`` the query that limits a list to the own project.
    """

    type: str
    path: str
    one: str
    many: str
    named: str = "name"
    scope: Mapping[str, Any] = field(default_factory=dict)
    detail: str = ""

    def all(self, api: Api, prefix: str) -> list[dict[str, Any]]:
        """Return those whose name begins with the prefix."""
        found = api.get(f"{self.path}{self.detail}", **self.scope)[self.many]
        return [entry for entry in found if str(entry.get(self.named) or "").startswith(prefix)]

    def get(self, api: Api, id_: str) -> dict[str, Any]:
        """Return one; MissingError when it is not there."""
        return self._unwrap(api.get(f"{self.path}/{id_}"))

    def create(self, api: Api, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make one."""
        return self._unwrap(api.post(self.path, {self.one: dict(body)} if self.one else dict(body)))

    def delete(self, api: Api, id_: str) -> bool:
        """Delete one; whether it was there."""
        return api.delete(f"{self.path}/{id_}")

    def _unwrap(self, body: Any) -> dict[str, Any]:
        return dict(body[self.one] if self.one else body)


@dataclass(kw_only=True)
class Workshop:
    """What the samples of one run share, and where their outcomes are collected."""

    cloud: Cloud
    journal: Journal
    options: Options
    phase: str = ""
    outcomes: list[Outcome] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    changed: bool = False

    @property
    def prefix(self) -> str:
        """How every name begins."""
        return f"{NAME_PREFIX}{self.journal.run.run_id}-"


class Sample:
    """The sample resources of one service: make, compare, remove."""

    requires: tuple[str, ...] = ()

    def __init__(self, service: Service, shop: Workshop) -> None:
        """Work with one service in a workshop."""
        self.service, self.shop, self.cloud, self.options = service, shop, shop.cloud, shop.options
        self.api = service.api(shop.cloud)

    def create(self) -> dict[str, Any]:
        """Make the resources that are missing; return what is worth telling of them."""
        raise NotImplementedError

    def verify(self) -> None:
        """Compare the resources with the journal and record an outcome for each check."""
        raise NotImplementedError

    def remove(self) -> None:
        """Delete all resources of this service, in the order in which they can be deleted."""
        raise NotImplementedError

    def told(self) -> dict[str, Any]:
        """Return what the journal has to tell of the resources, in the form that ``create`` returns."""
        return {}

    def record(self, check: str, subject: str, status: Status, message: str, **more: Any) -> None:
        """Add one outcome."""
        outcome = Outcome(
            validator=VALIDATOR,
            check=check,
            service=self.service.name,
            subject=subject,
            status=status,
            message=message,
            phase=self.shop.phase,
            **more,
        )
        self.shop.outcomes.append(outcome)

    def judge(self, check: str, subject: str, *, good: bool, message: str, **more: Any) -> None:
        """Add an outcome that passes or fails."""
        self.record(check, subject, Status.PASS if good else Status.FAIL, message, **more)

    def item(self, type_: str) -> Item | None:
        """Return what the journal has of a type of this service, if it was made."""
        item = self.shop.journal.find(self.service.name, type_)
        return item if item and item.id else None

    def made(self, type_: str) -> Item:
        """Return what the journal has of a type of this service; SampleError when it was not made."""
        item = self.item(type_)
        if item is None:
            raise SampleError(f"The journal has no {type_} of {self.service.name}: make it first (state: present).")
        return item

    def ensure(self, kind: Kind, suffix: str, body: Mapping[str, Any], api: Api | None = None) -> Item:
        """Make one resource, unless the journal has it; one whose creation was cut short is found by its name."""
        name, api = f"{self.shop.prefix}{suffix}", api or self.api
        known = self.shop.journal.find(self.service.name, kind.type)
        if known and known.id:
            return known
        item = Item(service=self.service.name, type=kind.type, name=name)
        self.shop.changed = True
        there = kind.all(api, name) if known else []
        self.shop.journal.write("intent", item, self.cloud.project_id)
        made = there[0] if there else self._create(kind, {kind.named: name, **body}, api)
        return self.note(replace(item, id=str(made["id"])))

    def _create(self, kind: Kind, body: Mapping[str, Any], api: Api) -> dict[str, Any]:
        """Make one resource. When no answer comes, it may have been made all the same: then it appears by its name."""
        try:
            return kind.create(api, body)
        except UnreachableError:
            found: list[dict[str, Any]] = []

            def appears() -> bool:
                with suppress(UnreachableError, BrokenError):
                    found.extend(kind.all(api, str(body[kind.named])))
                return bool(found)

            if not becomes_true(appears, PATIENCE, step=2):
                raise
            return found[0]

    def note(self, item: Item, **facts: Any) -> Item:
        """Journal that an item exists, with the facts to compare later."""
        full = replace(item, facts={**item.facts, **facts})
        self.shop.journal.write("created", full, self.cloud.project_id)
        return full

    def compare(
        self, kind: Kind, facts_of: Callable[[Mapping[str, Any]], dict[str, Any]], api: Api | None = None
    ) -> None:
        """Record whether a resource still is what the journal says."""
        item, check = self.made(kind.type), f"{kind.type}_unchanged"
        try:
            now = facts_of(kind.get(api or self.api, item.id))
        except MissingError:
            self.lost(check, item)
            return
        apart = differences(item.facts, now)
        good = f"{kind.type} {item.name} is unchanged."
        bad = f"{kind.type} {item.name} changed: {in_words(apart)}."
        evidence = {"id": item.id, "fields": sorted(now)}
        self.judge(check, item.name, good=not apart, message=bad if apart else good, evidence=evidence, **_sides(apart))

    def lost(self, check: str, item: Item, why: str = "") -> None:
        """Record that a resource is gone although nobody of this run deleted it."""
        self.shop.journal.write("lost", item, self.cloud.project_id)
        message = f"{item.type} {item.name} ({item.id}) no longer exists: it was deleted behind this run's back.{why}"
        self.judge(check, item.name, good=False, message=message, expected="exists", found="deleted")

    def sweep(self, kind: Kind, delete: Callable[[str], object] | None = None, api: Api | None = None) -> list[str]:
        """Delete what the journal or the name knows of one type; return the ids of what was there.

        What cannot be deleted is recorded, and the rest goes on.
        """
        api = api or self.api
        known = {item.id: item for item in self.shop.journal.items(self.service.name) if item.type == kind.type}
        named = {str(entry["id"]): str(entry[kind.named]) for entry in kind.all(api, self.shop.prefix)}
        names = {**{id_: item.name for id_, item in known.items() if id_}, **named}
        gone = [
            id_
            for id_, name in names.items()
            if self._delete(kind, id_, name, delete or (lambda i: kind.delete(api, i)))
        ]
        for item in known.values():
            if not item.id and item.name not in named.values():  # an intent that never became a resource
                self.shop.journal.write("deleted", item)
        return gone

    def _delete(self, kind: Kind, id_: str, name: str, delete: Callable[[str], object]) -> bool:
        """Delete one and journal it; whether it was there and is gone."""
        try:
            was_there = bool(delete(id_))
        except CloudError as problem:
            message = f"{kind.type} {name} ({id_}) could not be removed: {problem}"
            self.record("removed", name, Status.FAIL, message, expected="deleted", found="still there")
            return False
        self.shop.journal.write("deleted", Item(service=self.service.name, type=kind.type, name=name, id=id_))
        if was_there:
            self.shop.changed = True
            self.shop.removed.append(name)
        return was_there

    def wait(self, what: str, done: Callable[[], bool], timeout: float | None = None, step: float = 0.5) -> None:
        """Wait until something is so; SampleError after ``timeout`` seconds."""
        limit = self.options.timeout if timeout is None else timeout
        if not becomes_true(done, limit, step):
            raise SampleError(f"{what} did not come about within {limit:.0f} s.")


def becomes_true(done: Callable[[], bool], timeout: float, step: float = 0.5) -> bool:
    """Ask again and again, ``step`` seconds apart, for at most ``timeout`` seconds; at least once."""
    deadline = clock.monotonic() + timeout
    while not done():
        left = deadline - clock.monotonic()
        if left <= 0:
            return False
        clock.sleep(min(step, left))
    return True


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the fields of ``before`` that differ now, each with both values; fields that are new do not count."""
    return {key: (value, after.get(key)) for key, value in before.items() if after.get(key) != value}


def in_words(apart: Mapping[str, tuple[Any, Any]]) -> str:
    """Return differences as text."""
    return "; ".join(f"{key} was {before!r} and is {after!r}" for key, (before, after) in apart.items())


def _sides(apart: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    return {
        "expected": {key: before for key, (before, _after) in apart.items()},
        "found": {key: after for key, (_before, after) in apart.items()},
    }


def bad_status(problem: CloudError) -> Status:
    """Return FAIL when the cloud is to blame, ERROR when the check itself broke."""
    blamed = (BrokenError, UnreachableError, MissingError, SampleError)
    return Status.FAIL if isinstance(problem, blamed) else Status.ERROR


def work(shop: Workshop, services: Sequence[Service], state: str) -> dict[str, Any]:
    """Bring the samples of services to a state: ``present``, ``verified`` or ``absent``; return what to tell of them.

    Services that do not need each other are worked on side by side. Outcomes are collected in the workshop.
    """
    told: dict[str, Any] = {}
    for level in levels(services, reverse=state == "absent"):
        with ThreadPoolExecutor(max_workers=len(level)) as pool:
            for part in pool.map(lambda service: _work_on(shop, service, state), level):
                told.update(part)
    return told


def foresee(shop: Workshop, services: Sequence[Service], state: str) -> dict[str, Any]:
    """Return the module's result for check mode: whether something would be made or removed, by the journal."""
    kept = [item for item in shop.journal.items() if item.name.startswith(shop.prefix)]
    wanted = {service.name for service in services if service.sample}
    missing = wanted - {item.service for item in kept if item.facts}
    changed = bool(missing) if state == "present" else bool(kept)
    word = (
        f"make the samples of {', '.join(sorted(missing))}" if state == "present" else f"remove {len(kept)} resources"
    )
    return {
        "changed": changed,
        "msg": f"Would {word}." if changed else "Would do nothing.",
        "outcomes": [],
        "resources": {},
    }


def levels(services: Sequence[Service], *, reverse: bool = False) -> list[list[Service]]:
    """Group services so that each comes after what it requires, or before it when reversed."""
    waiting, done, ordered = list(services), set[str](), list[list[Service]]()
    names = {service.name for service in services}
    while waiting:
        ready = [one for one in waiting if not (set(_requires(one)) & names) - done] or waiting
        ordered.append(ready)
        done |= {service.name for service in ready}
        waiting = [service for service in waiting if service.name not in done]
    return ordered[::-1] if reverse else ordered


def _requires(service: Service) -> tuple[str, ...]:
    return service.sample.requires if service.sample else ()


def _work_on(shop: Workshop, service: Service, state: str) -> dict[str, Any]:
    """Bring one service's sample to a state; whatever goes wrong becomes an outcome."""
    if service.sample is None:
        if state != "absent":
            _record_absence(shop, service, state)
        return {}
    try:
        sample = service.sample(service, shop)
        if state == "present":
            return _create(sample)
        {"verified": sample.verify, "absent": sample.remove}[state]()
        return sample.told()
    except CloudError as problem:
        _record_problem(shop, service, state, problem, bad_status(problem))
    except Exception as problem:  # a bug in one service's sample must not take the others' outcomes along
        _record_problem(shop, service, state, problem, Status.ERROR)
    return {}


def _record_absence(shop: Workshop, service: Service, state: str) -> None:
    outcome = Outcome(
        validator=VALIDATOR,
        check="created" if state == "present" else "verified",
        service=service.name,
        subject=service.name,
        status=Status.SKIP,
        message=f"An ordinary user has no resources of his own in {service.name}.",
        phase=shop.phase,
    )
    shop.outcomes.append(outcome)


def _create(sample: Sample) -> dict[str, Any]:
    begin = clock.monotonic()
    told = sample.create()
    took = clock.monotonic() - begin
    prefix = sample.shop.prefix
    items = [item for item in sample.shop.journal.items(sample.service.name) if item.name.startswith(prefix)]
    names = ", ".join(item.name for item in items)
    sample.record(
        "created",
        sample.service.name,
        Status.PASS,
        f"The samples of {sample.service.name} are there: {names}.",
        evidence={"seconds": round(took, 1)},
    )
    return told


def _record_problem(shop: Workshop, service: Service, state: str, problem: Exception, status: Status) -> None:
    check = {"present": "created", "verified": "verified", "absent": "removed"}[state]
    text = str(problem) if isinstance(problem, CloudError) else f"{type(problem).__name__}: {problem}"
    shop.outcomes.append(
        Outcome(
            validator=VALIDATOR,
            check=check,
            service=service.name,
            subject=service.name,
            status=status,
            message=f"The samples of {service.name}: {text}",
            phase=shop.phase,
        )
    )
