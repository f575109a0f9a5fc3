# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The services that the collection knows, in the order in which one needs the other.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Cloud, CloudError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Service
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.cinder import SERVICE as CINDER
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.glance import SERVICE as GLANCE
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.heat import SERVICE as HEAT
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.keystone import SERVICE as KEYSTONE
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.neutron import SERVICE as NEUTRON
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.nova import SERVICE as NOVA
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.placement import SERVICE as PLACEMENT
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.swift import SERVICE as SWIFT

SERVICES: tuple[Service, ...] = (
    KEYSTONE,
    GLANCE,
    PLACEMENT,
    SWIFT,
    NEUTRON,
    CINDER,
    NOVA,
    HEAT,
)
NAMES: tuple[str, ...] = tuple(service.name for service in SERVICES)


def chosen(names: Sequence[str] | None) -> list[Service]:
    """Return the named services in the registry's order, or all; CloudError names what is unknown and what is known."""
    if not names:
        return list(SERVICES)
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise CloudError(f"services: {', '.join(map(repr, unknown))} is not known; known are {', '.join(NAMES)}.")
    return [service for service in SERVICES if service.name in names]


def present(cloud: Cloud, names: Sequence[str] | None) -> list[Service]:
    """Return the services to work with: those named, which the catalogue must have, or all that it has."""
    if not names:
        return [service for service in SERVICES if cloud.endpoints(service.types)]
    services = chosen(names)
    for service in services:
        service.api(cloud)
    return services


def samples(cloud: Cloud, names: Sequence[str] | None) -> list[Service]:
    """Return the services whose samples to work with: as ``present``, and what their samples need."""
    services = present(cloud, names)
    needed = {name for service in services if service.sample for name in service.sample.requires}
    return [service for service in SERVICES if service in services or service.name in needed]


def recognise(names: Sequence[str], services: Sequence[Service] = SERVICES) -> tuple[str, str] | None:
    """Return service and component of a process by what names its program, or None when it is of none of them."""
    for name in names:
        for service in services:
            component = _component(service, name)
            if component:
                return service.name, component
    return None


def _component(service: Service, name: str) -> str | None:
    components = service.components
    if name in components.wsgi:
        return components.wsgi[name]
    if name in components.tools or not name.startswith(components.prefixes):
        return None
    return name
