# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an ordinary user does with each service, from nothing to nothing: make, use, remove.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

The services' samples say what that is. All is journaled before it is made, so what a cut leaves behind is found.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Cloud, CloudError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import Finding
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import VALIDATOR
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._journal import Journal
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._phases import ABSENT, work
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import SERVICES
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import Options, Sample, Workshop
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Service
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.nova import SERVICE as NOVA

CHECK = "cycle"
COMPUTE = "nova-compute"


def cycle(shop: Workshop, services: Sequence[Service]) -> list[Outcome]:
    """Go through the cycles of services side by side; return their outcomes.

    They work with each other's resources, so what is left of a cycle is removed before the first and after the last.
    """
    made = _samples(shop, services)
    for sample in reversed(made):
        _clear(sample)
    with ThreadPoolExecutor(max_workers=len(made) or 1) as pool:
        list(pool.map(_go_through, made))
    for sample in reversed(made):
        _clear(sample)
    return shop.outcomes


def _samples(shop: Workshop, services: Sequence[Service]) -> list[Sample]:
    """Return the samples of services; of one that has no endpoint for the user it is told."""
    made: list[Sample] = []
    for service in services:
        try:
            made += [service.sample(service, shop)] if service.sample else []
        except CloudError as problem:
            shop.outcomes.append(_outcome(service, shop.phase, Status.FAIL, f"{service.name}: {problem}"))
    return made


def _outcome(service: Service, phase: str, status: Status, message: str) -> Outcome:
    return Outcome(
        validator=VALIDATOR,
        check=CHECK,
        service=service.name,
        subject=service.name,
        status=status,
        message=message,
        phase=phase,
    )


def _clear(sample: Sample) -> None:
    with suppress(CloudError):
        sample.clear()


def _go_through(sample: Sample) -> None:
    """Go through one service's cycles; a bug in them must not take the others' outcomes along."""
    try:
        sample.examine({f"{CHECK}_{name}": act for name, act in sample.cycles().items()})
    except Exception as problem:
        text = f"The cycle of {sample.service.name} broke: {type(problem).__name__}: {problem}"
        sample.record(CHECK, Finding(subject=sample.service.name, status=Status.ERROR, message=text))


def nobody(services: Sequence[Service], phase: str) -> list[Outcome]:
    """Return the outcomes when there is no ordinary user who could go through anything."""
    how = "name one with user_cloud, or a run with run_dir"
    return [
        _outcome(service, phase, Status.UNKNOWN, f"There is no ordinary user to try {service.name} as: {how}.")
        for service in services
        if service.sample
    ]


@contextmanager
def workshop(user: Cloud, run: RunDirectory | None, options: Options, phase: str) -> Iterator[Workshop]:
    """Give the place to work in: that of the run, or one that is emptied and goes with its journal."""
    if run:
        with run.alone():
            yield Workshop(cloud=user, journal=Journal(run), options=options, phase=phase, validator=VALIDATOR)
        return
    with tempfile.TemporaryDirectory(prefix="upgrade-test-") as folder:
        journal = Journal(RunDirectory.create(folder))
        shop = Workshop(cloud=user, journal=journal, options=options, phase=phase, validator=VALIDATOR)
        try:
            yield shop
        finally:
            left = {item.service for item in journal.items() if item.id}
            if left:
                work(shop, [service for service in SERVICES if service.name in left], ABSENT)


def computes_of(cloud: Cloud) -> dict[str, list[str]]:
    """Return the hosts that a server can start on, by zone, as an administrator is told; empty when he is not."""
    if not cloud.endpoints(NOVA.types):
        return {}
    try:
        zones = NOVA.api(cloud).get("/os-availability-zone/detail")["availabilityZoneInfo"]
    except CloudError:
        return {}
    found = {str(zone["zoneName"]): usable(zone.get("hosts") or {}) for zone in zones if zone["zoneState"]["available"]}
    return {zone: hosts for zone, hosts in found.items() if hosts}


def usable(hosts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the hosts of a zone whose compute is there and not switched off."""
    states = {host: services.get(COMPUTE, {}) for host, services in hosts.items()}
    return sorted(host for host, state in states.items() if state.get("available") and state.get("active"))
