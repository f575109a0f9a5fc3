# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases of the samples: services side by side, each after what it needs.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import CloudError, RefusedError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import EVIDENCE
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import (
    Finding,
    differences,
    finding,
    in_words,
    sides,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import (
    PATIENCE,
    VALIDATOR,
    Sample,
    Workshop,
    bad_status,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Service
from ansible_collections.openstack.upgrade_test.plugins.module_utils._wait import look_until

USAGE = "usage"
PRESENT, VERIFIED, EXERCISED, ABSENT = "present", "verified", "exercised", "absent"
CHECK = {PRESENT: "created", VERIFIED: "verified", EXERCISED: "exercised", ABSENT: "removed"}


def work(shop: Workshop, services: Sequence[Service], state: str) -> dict[str, Any]:
    """Bring the samples of services to a state; return what to tell of them.

    Services that do not need each other are worked on side by side. Outcomes are collected in the workshop.
    """
    if state == PRESENT:
        _side_by_side(services, lambda service: _early(shop, service))
    told: dict[str, Any] = {}
    for level in levels(services, reverse=state == ABSENT):
        for part in _side_by_side(level, lambda service: _work_on(shop, service, state)):
            told.update(part)
    return told


def foresee(shop: Workshop, services: Sequence[Service], state: str) -> dict[str, Any]:
    """Return the module's result for check mode: whether something would be made or removed, by the journal."""
    kept = [item for item in shop.journal.items() if item.name.startswith(shop.prefix)]
    wanted = {service.name for service in services if service.sample}
    missing = wanted - {item.service for item in kept if item.facts}
    changed = {PRESENT: bool(missing), ABSENT: bool(kept)}.get(state, True)
    words = {
        PRESENT: f"make the samples of {', '.join(sorted(missing))}",
        EXERCISED: f"work with the samples of {', '.join(sorted(wanted))}",
        ABSENT: f"remove {len(kept)} resources",
    }
    return {
        "changed": changed,
        "msg": f"Would {words[state]}." if changed else "Would do nothing.",
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


def locked_out(services: Sequence[Service], problem: CloudError, phase: str) -> list[Outcome]:
    """Return the outcomes when the user himself is not let in: keystone's failure, and nothing known of the others."""

    def outcome(service: Service) -> Outcome:
        to_blame = service.types == ("identity",)
        message = str(problem) if to_blame else f"The samples of {service.name} could not be looked at: {problem}"
        return Outcome(
            validator=VALIDATOR,
            check="user_authenticates" if to_blame else "verified",
            service=service.name,
            subject="user" if to_blame else service.name,
            status=_blame(problem) if to_blame else Status.UNKNOWN,
            message=message,
            phase=phase,
        )

    return [outcome(service) for service in services if service.sample]


def _blame(problem: CloudError) -> Status:
    return Status.FAIL if isinstance(problem, RefusedError) else bad_status(problem)


def _requires(service: Service) -> tuple[str, ...]:
    return (*service.sample.requires, *service.sample.after) if service.sample else ()


def _side_by_side(services: Iterable[Service], one: Callable[[Service], dict[str, Any]]) -> list[dict[str, Any]]:
    services = list(services)
    with ThreadPoolExecutor(max_workers=len(services) or 1) as pool:
        return list(pool.map(one, services))


def _early(shop: Workshop, service: Service) -> dict[str, Any]:
    """Note what the quotas say at the beginning, and make what other services need."""
    if service.sample:
        sample = service.sample

        def begin() -> None:
            made = sample(service, shop)
            _note_usage(made)
            made.early_create()

        _guarded(shop, service, PRESENT, begin)
    return {}


def _note_usage(sample: Sample) -> None:
    """Keep what the quotas say before anything of the run counts against them."""
    run, name = sample.shop.journal.run, f"{USAGE}-{sample.service.name}.json"
    used = {} if (run.path / EVIDENCE / name).exists() else sample.used()
    if used:
        run.write_evidence(name, used)


def _work_on(shop: Workshop, service: Service, state: str) -> dict[str, Any]:
    """Bring one service's sample to a state; whatever goes wrong becomes an outcome."""
    kind = service.sample
    if kind is None:
        if state != ABSENT:
            _record(
                shop, service, state, f"An ordinary user has no resources of his own in {service.name}.", Status.SKIP
            )
        return {}
    told: dict[str, Any] = {}

    def bring() -> None:
        sample = kind(service, shop)
        {PRESENT: _create, VERIFIED: _verify, EXERCISED: _exercise, ABSENT: _remove}[state](sample)
        told.update(sample.told() if state != ABSENT else {})

    _guarded(shop, service, state, bring)
    return told


def _guarded(shop: Workshop, service: Service, state: str, act: Callable[[], None]) -> None:
    """Do something; a bug in one service's sample must not take the others' outcomes along."""
    try:
        act()
    except CloudError as problem:
        _record(shop, service, state, f"The samples of {service.name}: {problem}", bad_status(problem))
    except Exception as problem:
        message = f"The samples of {service.name}: {type(problem).__name__}: {problem}"
        _record(shop, service, state, message, Status.ERROR)


def _create(sample: Sample) -> None:
    begin = clock.monotonic()
    sample.create()
    items = sample.shop.journal.items(sample.service.name)
    names = ", ".join(item.name for item in items if item.name.startswith(sample.shop.prefix))
    message = f"The samples of {sample.service.name} are there: {names}."
    took = round(clock.monotonic() - begin, 1)
    sample.record("created", finding(sample.service.name, True, message, evidence={"seconds": took}))


def _verify(sample: Sample) -> None:
    sample.examine(sample.checks())


def _exercise(sample: Sample) -> None:
    exercises = sample.exercises()
    sample.shop.changed |= bool(exercises)
    sample.examine({f"exercise_{name}": act for name, act in exercises.items()})


def _remove(sample: Sample) -> None:
    """Delete, then see that nothing is left and that the quotas have it back."""
    sample.remove()
    if any(one.service == sample.service.name and one.check == "removed" for one in sample.shop.outcomes):
        return  # it is known what is left, and that it counts
    left = look_until(sample.left, lambda found: not found, PATIENCE, step=1)
    if left:
        message = f"Of the samples of {sample.service.name} are left: {', '.join(left)}."
        sample.record("removed", finding(sample.service.name, False, message, expected=[], found=left))
        return
    _see_usage_returned(sample)


def _see_usage_returned(sample: Sample) -> None:
    """See that the quotas count as at the beginning; where others work too, that they count what there is."""
    run, whole = sample.shop.journal.run, sample.shop.owner.whole_project
    baseline = run.read_json(f"{EVIDENCE}/{USAGE}-{sample.service.name}.json")
    if not baseline:
        return
    apart = look_until(
        lambda: differences(baseline if whole else sample.counted(), sample.used()),
        lambda found: not found,
        PATIENCE,
        step=1,
    )
    if apart:
        message = f"The quota usage of {sample.service.name} is not back where it was: {in_words(apart)}."
        sample.record("usage_returned", finding(f"{sample.service.name} quota", False, message, **sides(apart)))


def _record(shop: Workshop, service: Service, state: str, message: str, status: Status) -> None:
    """Add an outcome of a whole phase of a service."""
    found = Finding(subject=service.name, status=status, message=message)
    shop.outcomes.append(
        found.as_outcome(validator=VALIDATOR, check=CHECK[state], service=service.name, phase=shop.phase)
    )
