# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cloud offers, and what can be observed of it.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    Cloud,
    CloudError,
    RefusedError,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import Beat, service_beat
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._journal import Journal
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import SERVICES, present
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import Options, Workshop
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    Service,
    current_version,
    versions_in,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.cinder import SERVICE as CINDER
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.glance import SERVICE as GLANCE
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.heat import SERVICE as HEAT
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.heat import newest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.neutron import SERVICE as NEUTRON
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.neutron import agent_beat
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.nova import SERVICE as NOVA

PATIENCE = 5  # seconds for an endpoint that is not the one in use: it may lie in a network that nobody here reaches
WORKERS = 16

Shape = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A list of what a service consists of: where to ask for it, and what is told of its entries."""

    service: Service
    path: str
    key: str
    shape: Shape


def _each(shape: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Shape:
    return lambda entries: [shape(entry) for entry in entries]


def _beat(beat: Beat) -> dict[str, Any]:
    return {"binary": beat.binary, "host": beat.host, "is_alive": beat.alive, "is_enabled": beat.enabled}


def _process(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Nova or Cinder says of one of its processes."""
    return _beat(service_beat(entry))


def _agent(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"agent_type": entry["agent_type"], **_beat(agent_beat(entry))}


def _hypervisor(entry: Mapping[str, Any]) -> dict[str, Any]:
    up, enabled = entry["state"] == "up", entry["status"] == "enabled"
    return {"host": entry["hypervisor_hostname"], "is_alive": up, "is_enabled": enabled}


def _pool(entry: Mapping[str, Any]) -> dict[str, Any]:
    told = entry.get("capabilities") or {}
    words = {key: str(told.get(key) or "") for key in ("volume_backend_name", "storage_protocol")}
    # Drivers need not tell their state; then it is not known.
    state = told.get("backend_state")
    return {"name": entry["name"], **words, "is_alive": None if state is None else state == "up"}


def _named(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": entry["id"], "name": entry["name"]}


def _images(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those that a server can be booted from."""
    return [_named(entry) for entry in entries if entry["disk_format"] not in ("aki", "ari")]


# What shows the processes needs the rights of an administrator.
LISTINGS: Mapping[str, Listing] = {
    "agents": Listing(service=NEUTRON, path="/agents", key="agents", shape=_each(_agent)),
    "compute_services": Listing(service=NOVA, path="/os-services", key="services", shape=_each(_process)),
    # Not /detail, for which Nova asks each compute service and waits.
    "hypervisors": Listing(service=NOVA, path="/os-hypervisors", key="hypervisors", shape=_each(_hypervisor)),
    "volume_services": Listing(service=CINDER, path="/os-services", key="services", shape=_each(_process)),
    "volume_backends": Listing(
        service=CINDER, path="/scheduler-stats/get_pools?detail=true", key="pools", shape=_each(_pool)
    ),
    "stack_engines": Listing(
        service=HEAT,
        path="/{project_id}/services",
        key="services",
        shape=lambda entries: [_beat(beat) for beat in newest(entries)],
    ),
    "external_networks": Listing(
        service=NEUTRON, path="/networks?router:external=true", key="networks", shape=_each(_named)
    ),
    "images": Listing(service=GLANCE, path="/images?status=active&limit=1000", key="images", shape=_images),
    "flavors": Listing(service=NOVA, path="/flavors", key="flavors", shape=_each(_named)),
}


def discover(cloud: Cloud, names: Sequence[str] | None, via: Sequence[str]) -> dict[str, Any]:
    """Return what ``cloud_info`` returns; CloudError when a service that was asked for is not in the catalogue."""
    services = present(cloud, names)
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        listed = {name: pool.submit(_listed, cloud, listing, services) for name, listing in LISTINGS.items()}
        asked = [one for service in services for one in points(cloud, service)]
        answers = dict(zip(asked, pool.map(lambda one: _ask(cloud, one), asked), strict=True))
        made = list(pool.map(lambda service: resources(cloud, service), services))
        lists = {name: future.result() for name, future in listed.items()}
    return {
        "cloud": cloud.name,
        "auth_url": cloud.auth_url,
        "region": cloud.region_name,
        "regions": regions(cloud.catalog),
        "interface": cloud.interface,
        "roles": cloud.roles,
        "services": [
            {**describe(cloud, service, answers), "resources": types}
            for service, types in zip(services, made, strict=True)
        ],
        "others": others(cloud.catalog),
        "targets": [target for service in services for target in targets(service, cloud.endpoints(service.types), via)],
        "operations": [
            operation for service in services for operation in operations(service, cloud.endpoints(service.types), via)
        ],
        **{name: entries for name, (entries, _why) in lists.items()},
        "unseen": {name: why for name, (_entries, why) in lists.items() if why},
    }


def regions(catalog: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of all regions that the catalogue has."""
    return sorted({_region(point) for entry in catalog for point in entry["endpoints"]} - {""})


def _region(point: Mapping[str, Any]) -> str:
    return str(point.get("region_id") or point.get("region") or "")


def others(catalog: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the services of the catalogue that the collection does not know."""
    known = {type_ for service in SERVICES for type_ in service.types}
    return [
        {"type": str(entry["type"]), "name": str(entry.get("name", ""))}
        for entry in catalog
        if entry["type"] not in known and entry["endpoints"]
    ]


@dataclass(frozen=True, order=True)
class Point:
    """One endpoint of the catalogue; ``used`` tells whether it is the one that the cloud's user uses."""

    region: str
    interface: str
    url: str
    question: str
    used: bool


def points(cloud: Cloud, service: Service) -> list[Point]:
    """Return all endpoints of a service, of all interfaces and regions."""
    mine = (point for entry in _entries(cloud, service) for point in entry["endpoints"])
    used = cloud.endpoints(service.types).get(cloud.interface)
    found = (
        Point(_region(one), str(one["interface"]), url, service.probe_url(url), url == used)
        for one in mine
        if (url := str(one["url"]))
    )
    return sorted(set(found))


def _entries(cloud: Cloud, service: Service) -> list[dict[str, Any]]:
    return [entry for entry in cloud.catalog if entry.get("type") in service.types]


def _ask(cloud: Cloud, point: Point) -> tuple[Any, str]:
    """Return the version document of an endpoint, and what is wrong with it."""
    more = {} if point.used else {"timeout": min(PATIENCE, cloud.access.api_timeout)}
    try:
        document = cloud.request("GET", point.question, point.interface, authenticated=False, **more).body
    except CloudError as error:
        return None, str(error)
    return document, "" if versions_in(document) else "It answers, but not with a version document."


def describe(cloud: Cloud, service: Service, answers: Mapping[Point, tuple[Any, str]]) -> dict[str, Any]:
    """Return one service's entry; its versions are empty texts when it does not answer."""
    mine = points(cloud, service)
    document = next((answers[one][0] for one in mine if one.used), None)
    entry = _entries(cloud, service)[0]
    return {
        "service": service.name,
        "type": str(entry["type"]),
        "name": str(entry.get("name", "")),
        "interfaces": cloud.endpoints(service.types),
        **current_version(document),
        "versions": [
            {"id": str(one.get("id", "")), "status": str(one.get("status", "")), **_range(one)}
            for one in versions_in(document)
        ],
        "endpoints": [_endpoint(one, *answers[one]) for one in mine],
    }


def resources(cloud: Cloud, service: Service) -> list[str] | None:
    """Return the types of what a test makes of a service; None when that depends on what it does not tell."""
    if service.sample is None:
        return []
    # What it would make depends on the service alone; nothing is made, so nothing is journaled.
    shop = Workshop(cloud=cloud, journal=cast(Journal, None), options=Options())
    try:
        return [kind.type for kind in service.sample(service, shop).kinds()]
    except CloudError:
        return None


def _range(version: Mapping[str, Any]) -> dict[str, str]:
    told = current_version({"versions": [version]})
    return {key: told[key] for key in ("min_version", "max_version")}


def _endpoint(point: Point, document: Any, problem: str) -> dict[str, Any]:
    told = {"region": point.region, "interface": point.interface, "url": point.url}
    return {**told, "answers": not problem, "problem": problem, **current_version(document)}


def _listed(cloud: Cloud, listing: Listing, services: Sequence[Service]) -> tuple[list[Any] | None, str]:
    """Return a list, or None and why there is none: nothing may take what nobody could see for empty."""
    name = listing.service.name
    if not cloud.endpoints(listing.service.types):
        return None, f"{name} is not in the catalogue."
    if listing.service not in services:
        return None, f"{name} was not asked for."
    path = listing.path.replace("{project_id}", cloud.project_id)
    try:
        return listing.shape(listing.service.api(cloud).get(path)[listing.key]), ""
    except RefusedError as error:
        return None, f"The user of cloud {cloud.name} may not list it: HTTP {error.status}."
    except (CloudError, KeyError, TypeError) as error:
        return None, str(error) if isinstance(error, CloudError) else f"{name} gave no list of {listing.key}."


def targets(service: Service, endpoints: dict[str, str], via: Sequence[str]) -> list[dict[str, Any]]:
    """Return a target for each wanted interface that has a URL of its own."""
    return _once(service.target(interface, endpoints[interface]) for interface in via if interface in endpoints)


def operations(service: Service, endpoints: dict[str, str], via: Sequence[str]) -> list[dict[str, Any]]:
    """Return the operations to measure, over each wanted interface that has URLs of its own."""
    return _once(
        operation
        for interface in via
        if interface in endpoints
        for operation in service.performance(interface, endpoints[interface])
    )


def _once(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first record of each URL."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        found.setdefault(record["url"], record)
    return list(found.values())
