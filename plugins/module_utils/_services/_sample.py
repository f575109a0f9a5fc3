# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sample resources: made before an upgrade, compared after it, removed at the end.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

Each create is journaled twice: its intent before, its id after. Every name begins with the prefix of the run, and what
can carry a tag carries the run's. So what was made is found again by journal, by name or by tag, whatever happened in
between; and in a project that was made for the run, by its project.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    Access,
    Api,
    BrokenError,
    Cloud,
    CloudError,
    HttpError,
    MissingError,
    RefusedError,
    UnreachableError,
    connect,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import CLOUDS
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import (
    Finding,
    finding,
    in_step,
    skipped,
    unchanged,
    unseen,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._journal import Item, Journal
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._reach import CannotPingError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Service
from ansible_collections.openstack.upgrade_test.plugins.module_utils._wait import becomes_true, look_until

VALIDATOR = "persistent_resource"
PATIENCE = 30  # seconds in which something whose creation was not answered has to appear
MOST_NAMES = 10  # of what there is to choose from, in a message
NAME_PREFIX = "upgrade-test-"
RUN_FIELD = "upgrade_test_run"  # the field with the run's id, where metadata stand in for tags
CLOUD = "upgrade_test"  # the cloud in the run's clouds.yaml of the user who works
STRANGER = (
    "upgrade_test_stranger"  # the cloud in the run's clouds.yaml of a user who has nothing to do with the project
)
READER = "upgrade_test_reader"  # ... and of one who may read in the project, and no more

Checks = Mapping[str, Callable[[], Finding]]
"""Checks by name; each looks when it is called."""
Facts = Callable[[Mapping[str, Any]], dict[str, Any]]
"""What must not change of a resource, out of what the API says of it."""


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
    user_data: str | None = None
    timeout: float = 180


@dataclass(frozen=True, kw_only=True)
class Owner:
    """How a run knows what is its own: by name or by tag; in a project that was made for it, all is its own."""

    run_id: str
    whole_project: bool = False

    @property
    def tag(self) -> str:
        """What everything carries that can."""
        return f"{NAME_PREFIX}{self.run_id}"

    @property
    def prefix(self) -> str:
        """How every name begins."""
        return f"{self.tag}-"

    def marked(self, entry: Mapping[str, Any], named: str) -> bool:
        """Whether name or tag of an entry of a list are the run's."""
        if str(entry.get(named) or "").startswith(self.prefix) or self.tag in (entry.get("tags") or ()):
            return True
        metadata = entry.get("metadata")
        return isinstance(metadata, Mapping) and metadata.get(RUN_FIELD) == self.run_id


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A type of resource behind one collection of an API.

    ``one`` and ``many`` are the keys that wrap it in bodies (``one`` empty: not wrapped; ``nested``: in lists too),
    ``named`` and ``identity`` the fields that hold its name (empty: it has none) and its id, ``scopes`` the queries
    that together list the own project's, ``own`` what it is that the project's user has made, and not the cloud.
    """

    type: str
    path: str
    one: str
    many: str
    named: str = "name"
    identity: str = "id"
    scopes: Sequence[Mapping[str, Any]] = ({},)
    detail: str = ""
    nested: bool = False
    own: Callable[[Mapping[str, Any]], bool] = lambda _entry: True

    def all(self, api: Api) -> list[dict[str, Any]]:
        """Return all of the own project."""
        found: dict[str, dict[str, Any]] = {}
        for scope in self.scopes:
            for entry in api.get(f"{self.path}{self.detail}", **scope)[self.many]:
                plain = entry[self.one] if self.nested else entry
                if self.own(plain):
                    found[self.id_of(plain)] = plain
        return list(found.values())

    def id_of(self, entry: Mapping[str, Any]) -> str:
        """Return the id."""
        return str(entry[self.identity])

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
    validator: str = VALIDATOR
    # For what goes deep: an administrator, who only looks, and the hosts of each zone that a server can start on.
    admin: Cloud | None = None
    computes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    changed: bool = False

    @property
    def owner(self) -> Owner:
        """Whose all of it is."""
        whole = self.cloud.project_name.startswith(NAME_PREFIX)
        return Owner(run_id=self.journal.run.run_id, whole_project=whole)

    @property
    def prefix(self) -> str:
        """How every name begins."""
        return self.owner.prefix

    @cached_property
    def stranger(self) -> Cloud | None:
        """A user of another project, or None when the run has none."""
        path = self.journal.run.path / CLOUDS
        with suppress(OSError):
            if f"{STRANGER}:" in path.read_text(encoding="utf-8"):
                return connect(Access(cloud=STRANGER, clouds_yaml=str(path), api_timeout=self.cloud.access.api_timeout))
        return None


class Sample:
    """The sample resources of one service, phase by phase.

    It cannot do without the services that it ``requires``, and comes ``after`` others, if they are there.
    """

    requires: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def __init__(self, service: Service, shop: Workshop) -> None:
        """Work with one service in a workshop."""
        self.service, self.shop, self.cloud, self.options = service, shop, shop.cloud, shop.options
        self.api = service.api(shop.cloud)

    def kinds(self) -> Sequence[Kind]:
        """Return the types that it makes, in the order of making; they are removed in the opposite one."""
        raise NotImplementedError

    def early_create(self) -> None:
        """Make what the samples of other services need."""

    def create(self) -> None:
        """Make the resources that are missing."""

    def checks(self) -> Checks:
        """Return the checks that compare the resources with the journal, at any time and without changing them."""
        raise NotImplementedError

    def exercises(self) -> Checks:
        """Return what users do with their old resources after an upgrade; each leaves things as they were."""
        return {}

    def cycles(self) -> Checks:
        """Return what a user does with nothing but what he makes for it: make, use, remove."""
        return {}

    def remove(self) -> None:
        """Delete all resources of this service, in the order in which they can be deleted."""
        for kind in reversed(self.kinds()):
            self.sweep(kind)

    def used(self) -> dict[str, int]:
        """Return the usage that quotas are held against; empty when the service has none."""
        return {}

    def counted(self) -> dict[str, int]:
        """Return the same, counted from what there is in the project."""
        return {}

    def told(self) -> dict[str, Any]:
        """Return what is worth telling of the resources, by the end of their names."""
        items = [item for item in self.shop.journal.items(self.service.name) if item.id]
        prefix = self.shop.prefix
        return {item.name.removeprefix(prefix).replace("-", "_"): {"id": item.id, "name": item.name} for item in items}

    # What samples are made of

    def name(self, suffix: str) -> str:
        """Return the full name of a resource."""
        return f"{self.shop.prefix}{suffix}"

    def item(self, suffix: str) -> Item | None:
        """Return what the journal has of a resource of this service, if it was made."""
        item = self.shop.journal.find(self.service.name, self.name(suffix))
        return item if item and item.id else None

    def made(self, suffix: str, service: str = "") -> Item:
        """Return what the journal has of a resource, of this service or another; SampleError when it was not made."""
        item = self.shop.journal.find(service or self.service.name, self.name(suffix))
        if item is None or not item.id:
            raise SampleError(f"The journal has no {suffix} of {service or self.service.name}: make it first.")
        return item

    def ensure(self, kind: Kind, suffix: str, body: Mapping[str, Any], api: Api | None = None) -> Item:
        """Make one resource, unless the journal has it; one whose creation was cut short is found by its name."""
        name, api = self.name(suffix), api or self.api
        known = self.shop.journal.find(self.service.name, name)
        if known and known.id:
            return known
        item = Item(service=self.service.name, type=kind.type, name=name)
        full = {**({kind.named: name} if kind.named else {}), **body}
        self.shop.changed = True
        there = _like(kind, full, api) if known else []
        self.shop.journal.write("intent", item, self.cloud.project_id)
        made = there[0] if there else self._create(kind, full, api)
        return self.note(replace(item, id=kind.id_of(made)))

    def keep(
        self,
        kind: Kind,
        suffix: str,
        body: Mapping[str, Any],
        facts_of: Facts,
        *,
        ready: Callable[[Mapping[str, Any]], bool] | None = None,
        api: Api | None = None,
    ) -> Item:
        """Make one resource, wait until it is ready, and journal what must not change of it."""
        item, api = self.ensure(kind, suffix, body, api), api or self.api
        if item.facts:
            return item
        if ready:
            self.wait(f"{kind.type} {item.name}: its readiness", lambda: ready(kind.get(api, item.id)))
        return self.note(item, **facts_of(kind.get(api, item.id)))

    def _create(self, kind: Kind, body: Mapping[str, Any], api: Api) -> dict[str, Any]:
        """Make one resource. When no answer comes, it may have been made all the same: then it appears by its name."""
        try:
            return kind.create(api, body)
        except UnreachableError:

            def appeared() -> list[dict[str, Any]]:
                with suppress(UnreachableError, BrokenError):
                    return _like(kind, body, api)
                return []

            found = look_until(appeared, bool, PATIENCE, step=2)
            if not found:
                raise
            return found[0]

    def note(self, item: Item, **facts: Any) -> Item:
        """Journal that an item exists, with the facts to compare later."""
        full = replace(item, facts={**item.facts, **facts})
        self.shop.journal.write("created", full, self.cloud.project_id)
        return full

    def wait(self, what: str, done: Callable[[], bool], timeout: float | None = None, step: float = 0.5) -> None:
        """Wait until something is so; SampleError after ``timeout`` seconds."""
        limit = self.options.timeout if timeout is None else timeout
        if not becomes_true(done, limit, step):
            raise SampleError(f"{what} did not come about within {limit:.0f} s.")

    def vanish(self, kind: Kind, ids: Iterable[str], timeout: float = 120) -> None:
        """Wait until deletions that take their time have come to their end."""
        for id_ in ids:
            gone = partial(is_missing, partial(kind.get, self.api, id_))
            self.wait(f"{kind.type} {id_}: its end", gone, timeout=timeout)

    # Checks that samples share

    def all_same(self, parts: Mapping[str, tuple[Kind, Facts]]) -> Checks:
        """Return a check for each of these resources, by the ends of their names, that says whether it is unchanged."""
        return {
            f"{suffix.replace('-', '_')}_unchanged": partial(self.same, kind, suffix, facts_of)
            for suffix, (kind, facts_of) in parts.items()
        }

    def same(self, kind: Kind, suffix: str, facts_of: Facts, api: Api | None = None) -> Finding:
        """Say whether a resource still is what the journal says."""
        item = self.made(suffix)
        try:
            now = facts_of(kind.get(api or self.api, item.id))
        except MissingError:
            return self.lost(item)
        before = {key: item.facts.get(key) for key in now}
        return unchanged(kind.type, item.name, before, now, id=item.id, fields=sorted(now))

    def lost(self, item: Item, why: str = "") -> Finding:
        """Journal and say that a resource is gone although nobody of this run deleted it."""
        self.shop.journal.write("lost", item, self.cloud.project_id)
        message = f"{item.type} {item.name} ({item.id}) no longer exists: it was deleted behind this run's back.{why}"
        return finding(item.name, False, message, expected="exists", found="deleted")

    def listed(self, *kinds: tuple[Kind, Api]) -> Finding:
        """Say whether the lists have exactly the resources that the journal has."""
        journaled = self.shop.journal.items(self.service.name)
        missing, added = [], []
        for kind, api in kinds:
            known = {item.id: item.name for item in journaled if item.type == kind.type and item.id}
            found = {kind.id_of(entry): str(entry.get(kind.named)) for entry in kind.all(api)}
            missing += [known[id_] for id_ in known.keys() - found.keys()]
            added += [found[id_] for id_ in found.keys() - known.keys() if found[id_].startswith(self.shop.prefix)]
        types = ", ".join(kind.type for kind, _api in kinds)
        words = [f"missing: {', '.join(sorted(missing))}"] * bool(missing)
        words += [f"never made: {', '.join(sorted(added))}"] * bool(added)
        message = f"The lists of {types} are {'wrong: ' + '; '.join(words) if words else 'complete'}."
        return finding(f"lists of {self.service.name}", not words, message, expected=[], found=sorted(missing + added))

    def refused(self, subject: str, what: str, ask: Callable[[], object], *statuses: int) -> Finding:
        """Say whether a request is refused as it has to be; a service that fails refuses nobody.

        When nothing answers, it is asked once more: what is to be refused makes nothing twice.
        """
        try:
            try:
                ask()
            except UnreachableError:
                ask()
        except HttpError as problem:
            good = problem.status in statuses
            message = f"{what} is refused." if good else f"{what} is neither allowed nor refused: {problem}"
            return finding(subject, good, message, expected=list(statuses), found=problem.status)
        return finding(subject, False, f"{what} is let through.", expected=list(statuses), found="allowed")

    def stranger_refused(self, *paths: str) -> Finding:
        """Say whether a user of another project sees none of these."""
        subject, stranger = f"stranger at {self.service.name}", self.shop.stranger
        if stranger is None:
            return unseen(subject, "The run has no user of another project, so nobody could try.")
        api, seen = self.service.api(stranger), []
        for path in paths:
            try:
                api.get(path)
                seen.append(path)
            except (RefusedError, MissingError):
                continue
        message = f"A user of another project {'sees ' + ', '.join(seen) if seen else 'sees nothing of it'}."
        return finding(subject, not seen, message, expected=[], found=seen)

    def anonymous_refused(self, path: str) -> Finding:
        """Say whether a request without a token is refused."""
        what = f"A request to {self.service.name} without a token"
        ask = partial(self.api.request, "GET", path, authenticated=False)
        return self.refused(f"nobody at {self.service.name}", what, ask, 401)

    def usage_in_step(self) -> Finding:
        """Say whether the quota usage is what there is."""
        used = self.used()
        if not used:
            return skipped(f"{self.service.name} quota", f"{self.service.name} does not count usage here.")
        return in_step(self.service.name, used, self.counted())

    # Removal

    def sweep(
        self,
        kind: Kind,
        delete: Callable[[str], object] | None = None,
        api: Api | None = None,
        only: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> list[str]:
        """Delete what journal, name, tag or project know of one type; return the ids of what was there.

        What cannot be deleted is recorded, and the rest goes on. ``only`` leaves the others of this type for later.
        """
        api, owner = api or self.api, self.shop.owner
        known = {item.id: item for item in self.shop.journal.items(self.service.name) if item.type == kind.type}
        found = {kind.id_of(entry): entry for entry in kind.all(api)}
        if only:
            found = {id_: entry for id_, entry in found.items() if only(entry)}
            known = {id_: item for id_, item in known.items() if id_ in found}
        named = {
            id_: str(entry.get(kind.named) or id_)
            for id_, entry in found.items()
            if owner.whole_project or owner.marked(entry, kind.named)
        }
        names = {**named, **{id_: item.name for id_, item in known.items() if id_}}
        gone = [
            id_
            for id_, name in names.items()
            if self._delete(kind, id_, name, delete or (lambda i: kind.delete(api, i)))
        ]
        for item in known.values():
            if not item.id and item.name not in named.values():  # an intent that never became a resource
                self.shop.journal.write("deleted", item)
        return gone

    def clear(self) -> None:
        """Delete what a cycle or an exercise that was cut short has left behind, as far as that can be done at once."""
        passing = (self.name("cycle-"), self.name("exercise"))
        for kind in reversed(self.kinds()):
            for item in self.shop.journal.items(self.service.name):
                if item.type == kind.type and item.id and item.name.startswith(passing):
                    with suppress(CloudError):
                        self.drop(kind, item)

    def drop(self, kind: Kind, item: Item, api: Api | None = None) -> None:
        """Delete one resource and journal it."""
        kind.delete(api or self.api, item.id)
        self.shop.journal.write("deleted", item, self.cloud.project_id)

    def discard(self, kind: Kind, *items: Item) -> None:
        """Delete resources whose deletion takes its time, and wait until they are gone."""
        for item in items:
            self.drop(kind, item)
        self.vanish(kind, [item.id for item in items])

    def _delete(self, kind: Kind, id_: str, name: str, delete: Callable[[str], object]) -> bool:
        """Delete one and journal it; whether it was there and is gone."""
        try:
            was_there = bool(delete(id_))
        except CloudError as problem:
            message = f"{kind.type} {name} ({id_}) could not be removed: {problem}"
            left = finding(name, False, message, expected="deleted", found="still there")
            self.record("removed", left)
            return False
        self.shop.journal.write("deleted", Item(service=self.service.name, type=kind.type, name=name, id=id_))
        if was_there:
            self.shop.changed = True
            self.shop.removed.append(name)
        return was_there

    def left(self) -> list[str]:
        """Return what is still there of the run, each as ``type name (id)``."""
        owner = self.shop.owner
        return [
            f"{kind.type} {entry.get(kind.named) or ''} ({kind.id_of(entry)})"
            for kind in self.kinds()
            for entry in kind.all(self.api)
            if owner.whole_project or owner.marked(entry, kind.named)
        ]

    # Outcomes

    def record(self, check: str, found: Finding) -> None:
        """Add the outcome of a check."""
        shop, name = self.shop, self.service.name
        shop.outcomes.append(found.as_outcome(validator=shop.validator, check=check, service=name, phase=shop.phase))

    def examine(self, checks: Checks) -> None:
        """Make checks one after the other, and record an outcome for each, whatever becomes of it."""
        for check, look in checks.items():
            try:
                found = look()
            except CannotPingError as problem:
                found = unseen(check, str(problem))
            except CloudError as problem:
                found = Finding(subject=check, status=bad_status(problem), message=f"{check}: {problem}")
            self.record(check, found)


def _like(kind: Kind, body: Mapping[str, Any], api: Api) -> list[dict[str, Any]]:
    """Return those with the name of a wanted one; what has no name is known by all that it was to be."""
    wanted = [kind.named] if kind.named else [key for key, value in body.items() if isinstance(value, str)]
    return [entry for entry in kind.all(api) if all(entry.get(key) == body[key] for key in wanted)]


def the_one(
    option: str, wanted: str | None, fitting: Sequence[Mapping[str, Any]], there: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the only one of what there is that fits; SampleError, which says what to choose from, if there is none."""
    if len(fitting) == 1:
        return dict(fitting[0])
    names = ", ".join(sorted(str(entry["name"]) for entry in there)[:MOST_NAMES]) or "none"
    if wanted:
        raise SampleError(f"{option}: {wanted!r} fits {len(fitting)}; there are: {names}.")
    raise SampleError(f"{option}: name the one to use; there are: {names}.")


def is_missing(get: Callable[[], object]) -> bool:
    """Whether asking for something finds nothing."""
    try:
        get()
    except MissingError:
        return True
    return False


def bad_status(problem: CloudError) -> Status:
    """Return FAIL when the cloud is to blame, ERROR when the check itself broke."""
    blamed = (BrokenError, UnreachableError, MissingError, SampleError)
    return Status.FAIL if isinstance(problem, blamed) else Status.ERROR
