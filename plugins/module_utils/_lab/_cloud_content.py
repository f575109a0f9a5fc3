# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection.

"""What the cloud of the lab contains from the start: services, users, domains, flavors, images, networks, volume types.

Each ``ensure_*`` function makes what is missing and returns the names of what it made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._wait import becomes_true

WAIT = 120.0


class ContentError(Exception):
    """The cloud did not become what it should be; the text says what is missing."""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until ``condition()`` holds.

    :raises ContentError: it did not within two minutes.
    """
    if not becomes_true(condition, WAIT):
        raise ContentError(f"{what} did not happen within {WAIT:.0f} s")


def ensure_services(cloud: Any, services: dict[str, dict[str, str]], region: str) -> list[str]:
    """Services with their three endpoints in the catalogue."""
    known = {service.type: service for service in cloud.identity.services()}
    endpoints = {(point.service_id, point.interface) for point in cloud.identity.endpoints()}
    made = []
    for name, wanted in services.items():
        service = known.get(wanted["type"]) or cloud.identity.create_service(name=name, type=wanted["type"])
        for interface in ("public", "internal", "admin"):
            if (service.id, interface) not in endpoints:
                cloud.identity.create_endpoint(
                    service_id=service.id, interface=interface, url=wanted["url"], region_id=region
                )
                made.append(f"endpoint {name} {interface}")
    return made


def ensure_users(cloud: Any, users: dict[str, dict[str, Any]]) -> list[str]:
    """Users with a project and roles in it."""
    projects = {project.name: project for project in cloud.identity.projects()}
    known = {user.name: user for user in cloud.identity.users()}
    roles = {role.name: role for role in cloud.identity.roles()}
    made = []
    for name, wanted in users.items():
        if wanted["project"] not in projects:
            projects[wanted["project"]] = cloud.identity.create_project(name=wanted["project"], domain_id="default")
        if name in known:
            continue
        project = projects[wanted["project"]]
        user = cloud.identity.create_user(
            name=name, password=wanted["password"], domain_id="default", default_project_id=project.id
        )
        for role in wanted["roles"]:
            if role not in roles:
                roles[role] = cloud.identity.create_role(name=role)
            cloud.identity.assign_project_role_to_user(project, user, roles[role])
        made.append(f"user {name}")
    return made


def ensure_roles(cloud: Any, roles: list[str]) -> list[str]:
    """Roles that no user of the lab has, but a service looks for."""
    known = {role.name for role in cloud.identity.roles()}
    missing = [name for name in roles if name not in known]
    for name in missing:
        cloud.identity.create_role(name=name)
    return [f"role {name}" for name in missing]


def ensure_domains(cloud: Any, domains: dict[str, dict[str, str]]) -> list[str]:
    """Domains, each with a user of its own who administers it."""
    known = {domain.name: domain for domain in cloud.identity.domains()}
    role = cloud.identity.find_role("admin", ignore_missing=False)
    made = []
    for name, wanted in domains.items():
        domain = known.get(name) or cloud.identity.create_domain(name=name)
        user = cloud.identity.find_user(wanted["admin"], domain_id=domain.id)
        if user is None:
            user = cloud.identity.create_user(name=wanted["admin"], password=wanted["password"], domain_id=domain.id)
            made.append(f"domain {name}")
        cloud.identity.assign_domain_role_to_user(domain, user, role)
    return made


def ensure_flavors(cloud: Any, flavors: dict[str, dict[str, int]]) -> list[str]:
    """Public flavors."""
    known = {flavor.name for flavor in cloud.compute.flavors()}
    missing = [name for name in flavors if name not in known]
    for name in missing:
        cloud.compute.create_flavor(name=name, **flavors[name])
    return [f"flavor {name}" for name in missing]


def ensure_images(cloud: Any, images: dict[str, dict[str, Any]]) -> list[str]:
    """Public images with their content; ``kernel`` and ``ramdisk`` name images that come earlier."""
    known = {image.name: image for image in cloud.image.images()}
    made = []
    for name, wanted in images.items():
        if name in known and known[name].status == "active":
            continue
        properties = dict(wanted.get("properties", {}))
        for role in ("kernel", "ramdisk"):
            if role in wanted:
                properties[f"{role}_id"] = known[wanted[role]].id
        known[name] = upload(cloud, name, wanted, properties, known.get(name))
        made.append(f"image {name}")
    return made


def upload(cloud: Any, name: str, wanted: dict[str, Any], properties: dict[str, str], broken: Any) -> Any:
    """Make one image; a ``broken`` one of an interrupted attempt goes first."""
    if broken is not None:
        cloud.image.delete_image(broken)
    container = wanted["format"] if wanted["format"] in {"aki", "ari"} else "bare"
    image = cloud.image.create_image(
        name,
        container_format=container,
        disk_format=wanted["format"],
        visibility="public",
        data=Path(wanted["file"]).read_bytes(),
        allow_duplicates=True,
        **properties,
    )
    wait_until(lambda: cloud.image.get_image(image.id).status == "active", f"upload of image {name}")
    return image


def ensure_networks(cloud: Any, networks: dict[str, dict[str, str]]) -> list[str]:
    """External flat networks with a subnet for floating addresses."""
    made = []
    for name, wanted in networks.items():
        network = cloud.network.find_network(name)
        if network is None:
            network = cloud.network.create_network(
                name=name,
                is_router_external=True,
                is_shared=False,
                provider_network_type="flat",
                provider_physical_network=wanted["physical_network"],
            )
            made.append(f"network {name}")
        if not list(cloud.network.subnets(network_id=network.id)):
            cloud.network.create_subnet(
                network_id=network.id,
                name=name,
                ip_version=4,
                cidr=wanted["cidr"],
                gateway_ip=wanted["gateway"],
                is_dhcp_enabled=False,
            )
    return made


def wait_for_computes(cloud: Any, hosts: list[str]) -> None:
    """Wait until nova-compute on each of ``hosts`` reports from now on."""
    wait_for_reports(lambda: cloud.compute.services(binary="nova-compute"), "nova-compute", hosts)


def wait_for_volume_services(cloud: Any, hosts: list[str]) -> None:
    """Wait until cinder-volume of each of ``hosts`` (``host@backend``) reports from now on."""
    wait_for_reports(lambda: cloud.block_storage.services(binary="cinder-volume"), "cinder-volume", hosts)


def wait_for_reports(services: Callable[[], Iterable[Any]], binary: str, hosts: list[str]) -> None:
    """Wait until the service of each of ``hosts`` is up and has reported from now on; earlier reports do not count."""
    begun = datetime.now(UTC).replace(tzinfo=None).isoformat()

    def missing() -> set[str]:
        return set(hosts) - {one.host for one in services() if one.state == "up" and str(one.updated_at) > begun}

    wait_until(lambda: not missing(), f"the next report of {binary} on {', '.join(hosts)}")


def ensure_volume_types(cloud: Any, types: dict[str, str]) -> list[str]:
    """Public volume types, each of which stands for a backend."""
    known = {one.name for one in cloud.block_storage.types()}
    missing = [name for name in types if name not in known]
    for name in missing:
        cloud.block_storage.create_type(name=name, extra_specs={"volume_backend_name": types[name]})
    return [f"volume type {name}" for name in missing]


def wait_for_agents(cloud: Any, count: int) -> None:
    """Wait until ``count`` network agents report."""
    wait_until(
        lambda: sum(agent.is_alive for agent in cloud.network.agents()) >= count,
        f"the report of {count} network agents",
    )


def ensure_zones(cloud: Any, zones: dict[str, list[str]]) -> list[str]:
    """Availability zones (aggregates) with their hosts; a host may still have to be discovered by the scheduler.

    Nova tells placement of the host only while it is added, and goes on when placement does not know the host yet: then
    the scheduler would never find it in its zone.
    """
    from openstack import exceptions

    known = {aggregate.name: aggregate for aggregate in cloud.compute.aggregates()}
    made: list[str] = []

    def add(aggregate: Any, host: str) -> bool:
        if not any(provider.name == host for provider in cloud.placement.resource_providers()):
            return False
        try:
            cloud.compute.add_host_to_aggregate(aggregate, host)
        except exceptions.NotFoundException:
            return False
        made.append(f"{host} in zone {aggregate.name}")
        return True

    for name, hosts in zones.items():
        aggregate = known.get(name) or cloud.compute.create_aggregate(name=name, availability_zone=name)
        for host in hosts:
            if host not in (aggregate.hosts or []):
                wait_until(lambda a=aggregate, h=host: add(a, h), f"discovery of {host} by nova and placement")  # type: ignore[misc]
    return made
