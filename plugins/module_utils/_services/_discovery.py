# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cloud offers, and what can be observed of it.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    Cloud,
    CloudError,
    MissingError,
    RefusedError,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import Beat
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import present
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Service, current_version
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.neutron import SERVICE as NEUTRON
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.neutron import agent_beat
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.nova import SERVICE as NOVA
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.nova import service_beat


def discover(cloud: Cloud, names: Sequence[str] | None, via: Sequence[str]) -> dict[str, Any]:
    """Return what ``cloud_info`` returns; CloudError when a service that was asked for is not in the catalogue."""
    services = present(cloud, names)
    with ThreadPoolExecutor(max_workers=8) as pool:
        described = pool.map(lambda service: describe(cloud, service), services)
        agents = pool.submit(_listed, cloud, NEUTRON, "/agents", "agents", _agent)
        computes = pool.submit(_listed, cloud, NOVA, "/os-services", "services", _compute_service)
        return {
            "cloud": cloud.name,
            "auth_url": cloud.auth_url,
            "region": cloud.region_name,
            "services": list(described),
            "targets": [
                target for service in services for target in targets(service, cloud.endpoints(service.types), via)
            ],
            "operations": [
                operation
                for service in services
                for operation in operations(service, cloud.endpoints(service.types), via)
            ],
            "agents": agents.result(),
            "compute_services": computes.result(),
        }


def describe(cloud: Cloud, service: Service) -> dict[str, Any]:
    """Return one service's entry; its versions are empty texts when it does not answer."""
    endpoints = cloud.endpoints(service.types)
    entry = next(entry for entry in cloud.catalog if entry.get("type") in service.types)
    return {
        "service": service.name,
        "type": str(entry["type"]),
        "name": str(entry.get("name", "")),
        "interfaces": endpoints,
        **_version(cloud, service),
    }


def _version(cloud: Cloud, service: Service) -> dict[str, str]:
    try:
        url = service.probe_url(service.api(cloud).url)
        return current_version(cloud.request("GET", url, service.name, authenticated=False).body)
    except CloudError:
        return current_version(None)


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


def _listed(cloud: Cloud, service: Service, path: str, key: str, shape: Callable[[Any], Any]) -> list[Any]:
    """Return a list that only an administrator may see; empty when the service refuses or does not exist."""
    if not cloud.endpoints(service.types):
        return []
    try:
        return [shape(entry) for entry in service.api(cloud).get(path)[key]]
    except (RefusedError, MissingError):
        return []


def _agent(entry: Any) -> dict[str, Any]:
    beat: Beat = agent_beat(entry)
    return {"agent_type": beat.type, "binary": beat.binary, "host": beat.host, "alive": beat.alive}


def _compute_service(entry: Any) -> dict[str, Any]:
    beat: Beat = service_beat(entry)
    return {"binary": beat.binary, "host": beat.host, "alive": beat.alive, "enabled": beat.enabled}
