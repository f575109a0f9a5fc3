# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kinds of things a cloud has, where they are listed, and which of their fields an upgrade must leave alone.

Fields that change by themselves are left out: heartbeats, generations, times of the last update, counters of use of the
hosts. So are those that a new release may well add to, such as the traits of a resource provider.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Entry = Mapping[str, Any]
# The oldest version in which no path needs a project, and attachments are listed.
_VOLUME = {"OpenStack-API-Version": "volume 3.67"}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of thing. ``path`` may have ``{own}``, the administrator's project.

    With ``of`` there is one request for each thing of that kind, whose id is ``{id}`` in the path, and the things are
    named after it. ``entries`` makes a list of entries of an answer's body when that is more than one key of it.
    """

    name: str
    one: str
    service: str
    path: str
    fields: tuple[str, ...]
    many: str = ""
    id: str = "id"
    named: str = "name"
    of: str = ""
    only: Callable[[Entry], bool] = lambda _fields: True
    entries: Callable[[Any], list[dict[str, Any]]] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"


def by_key(body: Any, key: str) -> list[dict[str, Any]]:
    """Return the members of a dictionary as entries: their key is the id, their value stands in ``value``."""
    return [{"id": one, "name": one, "value": value} for one, value in (body.get(key) or {}).items()]


def held(body: Any) -> list[dict[str, Any]]:
    """Return allocations as entries, by who holds them; their generation counts every write and says nothing."""
    return [{**one, "resources": one["value"]["resources"]} for one in by_key(body, "allocations")]


def assignments(body: Any) -> list[dict[str, Any]]:
    """Return role assignments as entries; they have no id but what they say."""
    return [{"id": _words(one), "name": _words(one), "scope": one.get("scope")} for one in body["role_assignments"]]


def _words(assignment: Entry) -> str:
    who = next((f"{kind} {assignment[kind]['id']}" for kind in ("user", "group") if kind in assignment), "nobody")
    scope = assignment.get("scope", {})
    kind = next((one for one in ("project", "domain", "system") if one in scope), "nothing")
    where = scope.get(kind, {}).get("id", "all") if kind != "nothing" else ""
    inherited = ", inherited" if "OS-INHERIT:inherited_to" in scope else ""
    return f"role {assignment['role']['id']} of {who} in {kind} {where}{inherited}"


def _limits(body: Any, key: str, used: str) -> list[dict[str, Any]]:
    quotas = {name: one for name, one in (body.get(key) or {}).items() if isinstance(one, Mapping)}
    return [
        {"id": name, "name": name, "limit": one.get("limit"), "used": one.get(used)} for name, one in quotas.items()
    ]


_KEYSTONE = (
    Kind(
        name="domains",
        one="domain",
        service="keystone",
        path="/domains",
        many="domains",
        fields=("name", "enabled"),
    ),
    Kind(
        name="projects",
        one="project",
        service="keystone",
        path="/projects",
        many="projects",
        fields=("name", "domain_id", "parent_id", "enabled", "tags"),
    ),
    Kind(
        name="users",
        one="user",
        service="keystone",
        path="/users",
        many="users",
        fields=("name", "domain_id", "enabled", "default_project_id"),
    ),
    Kind(name="groups", one="group", service="keystone", path="/groups", many="groups", fields=("name", "domain_id")),
    Kind(name="roles", one="role", service="keystone", path="/roles", many="roles", fields=("name", "domain_id")),
    Kind(
        name="role_assignments",
        one="role assignment",
        service="keystone",
        path="/role_assignments",
        entries=assignments,
        fields=("scope",),
    ),
    Kind(
        name="catalogue_services",
        one="service of the catalogue",
        service="keystone",
        path="/services",
        many="services",
        fields=("name", "type", "enabled"),
    ),
    Kind(
        name="endpoints",
        one="endpoint",
        service="keystone",
        path="/endpoints",
        many="endpoints",
        named="url",
        fields=("url", "interface", "region_id", "service_id", "enabled"),
    ),
)
_GLANCE = (
    Kind(
        name="images",
        one="image",
        service="glance",
        path="/images?visibility=all&limit=200",
        many="images",
        fields=(
            *("name", "status", "checksum", "os_hash_algo", "os_hash_value", "size", "virtual_size", "visibility"),
            *("owner", "protected", "min_disk", "min_ram", "disk_format", "container_format", "tags", "stores"),
        ),
    ),
    Kind(
        name="hidden_images",
        one="hidden image",
        service="glance",
        path="/images?visibility=all&os_hidden=true&limit=200",
        many="images",
        fields=("name", "status", "checksum", "os_hash_value", "size", "visibility", "owner"),
    ),
)
_NOVA = (
    Kind(
        name="servers",
        one="server",
        service="nova",
        path="/servers/detail?all_tenants=1",
        many="servers",
        fields=(
            *("name", "tenant_id", "user_id", "status", "OS-EXT-STS:vm_state", "OS-EXT-STS:power_state"),
            *("OS-EXT-STS:task_state", "OS-EXT-SRV-ATTR:host", "OS-EXT-SRV-ATTR:hypervisor_hostname", "flavor"),
            *("OS-EXT-SRV-ATTR:instance_name", "OS-EXT-SRV-ATTR:root_device_name", "OS-EXT-AZ:availability_zone"),
            *("image", "created", "OS-SRV-USG:launched_at", "addresses", "key_name", "metadata", "security_groups"),
            *("os-extended-volumes:volumes_attached", "config_drive", "locked", "tags", "server_groups", "description"),
        ),
    ),
    Kind(
        name="flavors",
        one="flavor",
        service="nova",
        path="/flavors/detail?is_public=None",
        many="flavors",
        fields=(
            *("name", "ram", "disk", "vcpus", "swap", "OS-FLV-EXT-DATA:ephemeral", "rxtx_factor"),
            *("os-flavor-access:is_public", "OS-FLV-DISABLED:disabled", "extra_specs"),
        ),
    ),
    Kind(
        name="aggregates",
        one="aggregate",
        service="nova",
        path="/os-aggregates",
        many="aggregates",
        fields=("name", "availability_zone", "hosts", "metadata"),
    ),
    Kind(
        name="server_groups",
        one="server group",
        service="nova",
        path="/os-server-groups?all_projects=True",
        many="server_groups",
        fields=("name", "policy", "members", "project_id", "rules"),
    ),
    Kind(
        name="compute_services",
        one="compute service",
        service="nova",
        path="/os-services",
        many="services",
        named="binary",
        fields=("binary", "host", "zone", "status", "state", "forced_down"),
    ),
    Kind(
        name="hypervisors",
        one="hypervisor",
        service="nova",
        # Not with details: for these nova asks every compute, and waits long for one that is away.
        path="/os-hypervisors",
        many="hypervisors",
        named="hypervisor_hostname",
        fields=("hypervisor_hostname", "state", "status"),
    ),
    Kind(
        name="compute_quotas",
        one="compute quota",
        service="nova",
        of="projects",
        path="/os-quota-sets/{id}/detail",
        entries=lambda body: _limits(body, "quota_set", "in_use"),
        fields=("limit", "used"),
    ),
)
_PLACEMENT = (
    Kind(
        name="resource_providers",
        one="resource provider",
        service="placement",
        path="/resource_providers",
        many="resource_providers",
        id="uuid",
        fields=("name", "parent_provider_uuid"),
    ),
    Kind(
        name="inventories",
        one="inventory",
        service="placement",
        of="resource_providers",
        path="/resource_providers/{id}/inventories",
        entries=lambda body: by_key(body, "inventories"),
        fields=("value",),
    ),
    Kind(
        name="allocations",
        one="allocation",
        service="placement",
        of="resource_providers",
        path="/resource_providers/{id}/allocations",
        entries=held,
        fields=("resources",),
    ),
)
_NEUTRON = (
    Kind(
        name="networks",
        one="network",
        service="neutron",
        path="/networks",
        many="networks",
        fields=(
            *("name", "project_id", "status", "admin_state_up", "shared", "router:external", "mtu", "subnets", "tags"),
            *("provider:network_type", "provider:physical_network", "provider:segmentation_id"),
            *("port_security_enabled", "availability_zones", "dns_domain"),
        ),
    ),
    Kind(
        name="subnets",
        one="subnet",
        service="neutron",
        path="/subnets",
        many="subnets",
        fields=(
            *("name", "project_id", "network_id", "cidr", "ip_version", "gateway_ip", "enable_dhcp", "tags"),
            *("allocation_pools", "dns_nameservers", "host_routes", "ipv6_ra_mode", "ipv6_address_mode"),
        ),
    ),
    Kind(
        name="ports",
        one="port",
        service="neutron",
        path="/ports",
        many="ports",
        fields=(
            *("name", "project_id", "network_id", "status", "admin_state_up", "mac_address", "fixed_ips", "tags"),
            *("device_id", "device_owner", "security_groups", "allowed_address_pairs", "port_security_enabled"),
            *("binding:host_id", "binding:vif_type", "binding:vnic_type", "extra_dhcp_opts", "qos_policy_id"),
        ),
    ),
    Kind(
        name="routers",
        one="router",
        service="neutron",
        path="/routers",
        many="routers",
        fields=(
            *("name", "project_id", "status", "admin_state_up", "external_gateway_info", "routes", "ha", "distributed"),
            *("availability_zones", "tags"),
        ),
    ),
    Kind(
        name="floating_ips",
        one="floating IP",
        service="neutron",
        path="/floatingips",
        many="floatingips",
        named="floating_ip_address",
        fields=(
            *("floating_ip_address", "fixed_ip_address", "port_id", "router_id", "status", "project_id"),
            *("port_forwardings", "tags"),
        ),
    ),
    Kind(
        name="security_groups",
        one="security group",
        service="neutron",
        path="/security-groups",
        many="security_groups",
        fields=("name", "project_id", "stateful", "shared", "tags"),
    ),
    Kind(
        name="security_group_rules",
        one="security group rule",
        service="neutron",
        path="/security-group-rules",
        many="security_group_rules",
        named="security_group_id",
        fields=(
            *("security_group_id", "direction", "ethertype", "protocol", "port_range_min", "port_range_max"),
            *("remote_ip_prefix", "remote_group_id", "remote_address_group_id"),
        ),
    ),
    Kind(
        name="trunks",
        one="trunk",
        service="neutron",
        path="/trunks",
        many="trunks",
        fields=("name", "project_id", "port_id", "status", "admin_state_up", "sub_ports"),
    ),
    Kind(
        name="qos_policies",
        one="QoS policy",
        service="neutron",
        path="/qos/policies",
        many="policies",
        fields=("name", "project_id", "shared", "is_default", "rules"),
    ),
    Kind(
        name="subnet_pools",
        one="subnet pool",
        service="neutron",
        path="/subnetpools",
        many="subnetpools",
        fields=("name", "project_id", "prefixes", "shared", "is_default", "address_scope_id", "ip_version"),
    ),
    Kind(
        name="rbac_policies",
        one="RBAC policy",
        service="neutron",
        path="/rbac-policies",
        many="rbac_policies",
        named="action",
        fields=("action", "object_type", "object_id", "target_tenant", "project_id"),
    ),
    Kind(
        name="agents",
        one="agent",
        service="neutron",
        path="/agents",
        many="agents",
        named="binary",
        fields=("agent_type", "binary", "host", "alive", "admin_state_up", "availability_zone"),
    ),
    Kind(
        name="routers_of_agents",
        one="router of an agent",
        service="neutron",
        of="agents",
        only=lambda fields: fields.get("agent_type") == "L3 agent",
        path="/agents/{id}/l3-routers",
        many="routers",
        fields=("name",),
    ),
    Kind(
        name="networks_of_agents",
        one="network of an agent",
        service="neutron",
        of="agents",
        only=lambda fields: fields.get("agent_type") == "DHCP agent",
        path="/agents/{id}/dhcp-networks",
        many="networks",
        fields=("name",),
    ),
    Kind(
        name="network_quotas",
        one="network quota",
        service="neutron",
        of="projects",
        path="/quotas/{id}/details.json",
        entries=lambda body: _limits(body, "quota", "used"),
        fields=("limit", "used"),
    ),
)
_CINDER = (
    Kind(
        name="volumes",
        one="volume",
        service="cinder",
        headers=_VOLUME,
        path="/volumes/detail?all_tenants=1",
        many="volumes",
        fields=(
            *("name", "os-vol-tenant-attr:tenant_id", "status", "size", "volume_type", "bootable", "encrypted"),
            *("attachments", "os-vol-host-attr:host", "snapshot_id", "source_volid", "metadata", "multiattach"),
            *("availability_zone", "created_at", "migration_status", "replication_status", "volume_image_metadata"),
        ),
    ),
    Kind(
        name="attachments",
        one="attachment",
        service="cinder",
        headers=_VOLUME,
        path="/attachments/detail?all_tenants=1",
        many="attachments",
        named="volume_id",
        fields=("volume_id", "instance", "status", "attach_mode"),
    ),
    Kind(
        name="snapshots",
        one="snapshot",
        service="cinder",
        headers=_VOLUME,
        path="/snapshots/detail?all_tenants=1",
        many="snapshots",
        fields=("name", "volume_id", "status", "size", "metadata", "os-extended-snapshot-attributes:project_id"),
    ),
    Kind(
        name="backups",
        one="backup",
        service="cinder",
        headers=_VOLUME,
        path="/backups/detail?all_tenants=1",
        many="backups",
        fields=("name", "volume_id", "snapshot_id", "status", "size", "is_incremental", "object_count", "container"),
    ),
    Kind(
        name="volume_types",
        one="volume type",
        service="cinder",
        headers=_VOLUME,
        path="/types?is_public=None",
        many="volume_types",
        fields=("name", "is_public", "extra_specs", "qos_specs_id", "description"),
    ),
    Kind(
        name="volume_services",
        one="volume service",
        service="cinder",
        headers=_VOLUME,
        path="/os-services",
        entries=lambda body: [
            {**one, "id": f"{one['binary']} on {one['host']}", "name": one["binary"]} for one in body["services"]
        ],
        fields=("binary", "host", "zone", "status", "state", "frozen"),
    ),
    Kind(
        name="volume_quotas",
        one="volume quota",
        service="cinder",
        headers=_VOLUME,
        of="projects",
        path="/os-quota-sets/{id}?usage=True",
        entries=lambda body: _limits(body, "quota_set", "in_use"),
        fields=("limit", "used"),
    ),
)
_HEAT = (
    Kind(
        name="stacks",
        one="stack",
        service="heat",
        path="/{own}/stacks?global_tenant=True&show_nested=True",
        many="stacks",
        named="stack_name",
        fields=("stack_name", "stack_status", "project", "parent", "creation_time", "updated_time", "deletion_time"),
    ),
    Kind(
        name="engines",
        one="engine",
        service="heat",
        path="/{own}/services",
        # Every start of an engine has a new id, and a killed one stays as down; what counts is which hosts have one.
        entries=lambda body: [
            {"id": host, "name": host, "status": "up"}
            for host in sorted({one["host"] for one in body["services"] if one["status"] == "up"})
        ],
        fields=("status",),
    ),
)
_SWIFT = (
    Kind(
        name="accounts",
        one="account",
        service="swift",
        of="projects",
        path="/AUTH_{id}",
        method="HEAD",
        entries=lambda headers: [
            {"id": name, "name": name, "value": headers[key]}
            for name, key in (
                ("containers", "x-account-container-count"),
                ("objects", "x-account-object-count"),
                ("bytes", "x-account-bytes-used"),
            )
            if key in headers
        ],
        fields=("value",),
    ),
)

KINDS: tuple[Kind, ...] = (*_KEYSTONE, *_GLANCE, *_PLACEMENT, *_NEUTRON, *_NOVA, *_CINDER, *_HEAT, *_SWIFT)
NAMES: tuple[str, ...] = tuple(kind.name for kind in KINDS)
