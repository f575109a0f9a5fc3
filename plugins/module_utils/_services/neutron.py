# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Neutron.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    HttpError,
    MissingError,
    RefusedError,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import (
    Finding,
    finding,
    skipped,
    unchanged,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import (
    Beat,
    Health,
    Records,
    watch_beats,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._journal import Item
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._look import Look
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._offline import Offline
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._reach import CannotPingError, ping
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import (
    Checks,
    Facts,
    Kind,
    Sample,
    the_one,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    Components,
    Configured,
    Operation,
    Probe,
    Schema,
    Service,
    Upkeep,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._wait import becomes_true

CIDR = "10.213.77.0/24"  # of the sample network; private to it, as the router translates addresses
OTHER_CIDR, POOL, EXERCISE_CIDR = "10.213.78.0/26", "10.213.128.0/20", "10.213.79.0/24"
CIDR_V6 = "fd00:213:77::/64"
ROUTE = {"destination": "10.213.99.0/24", "nexthop": "10.213.77.250"}  # nobody is there
PAIR = {"ip_address": "10.213.99.5"}
FAR_AWAY = "10.213.100.0/24"  # nobody is there either, so a rule for it lets nobody in
HTTP_PORT, ECHO_PORT = 80, 7
BLOCKED_PORT = 8080  # no rule lets it in, so it must stay blocked
SWITCH = Path("/run/openvswitch/db.sock")  # where Open vSwitch is asked, on a host that has one
# What nova's sample makes of Neutron's types, too.
_SHARED_KINDS = frozenset({"port", "floatingip"})
# Of these a user of another project must not know that they exist.
_HIDDEN = frozenset({"network", "subnet", "router", "security-group", "open-port", "address-group", "subnetpool"})
# What quotas count, and where it is listed.
_COUNTED = {
    "network": "/networks",
    "subnet": "/subnets",
    "port": "/ports",
    "router": "/routers",
    "floatingip": "/floatingips",
    "security_group": "/security-groups",
    "security_group_rule": "/security-group-rules",
}


def _port(number: int) -> dict[str, int]:
    return {"port_range_min": number, "port_range_max": number}


_OPEN: tuple[dict[str, Any], ...] = (
    {"protocol": "icmp"},
    *({"protocol": "tcp", **_port(number)} for number in (HTTP_PORT, ECHO_PORT)),
)


def look_at_networks(health: Health) -> None:
    """Neutron lists networks."""
    health.served("lists_networks", "network list", "/networks", "Neutron lists networks.", limit=5)


def look_at_agents(health: Health) -> None:
    """Each agent of Neutron is alive and reports."""
    agents = Records("agents", "/agents", lambda body: [agent_beat(agent) for agent in body["agents"]])
    if watch_beats(health, "agent_reports", agents) and not health.beats and not health.scope.expected_agents:
        health.record("agent_reports", "agents", Status.SKIP, "Neutron has no agents.")


def agent_beat(agent: Mapping[str, Any]) -> Beat:
    """Return what Neutron says of one agent."""
    return Beat(
        type=agent["agent_type"],
        binary=agent["binary"],
        host=agent["host"],
        alive=bool(agent["alive"]),
        stamp=str(agent.get("heartbeat_timestamp") or ""),
        enabled=bool(agent.get("admin_state_up", True)),
    )


class NeutronSample(Sample):
    """The network of the servers with its router and security group, and one of all else that a user can make."""

    def kind(self, type_: str, path: str, many: str = "") -> Kind:
        """Return one of Neutron's types, limited to the project's own."""
        scopes = ({"project_id": self.cloud.project_id},)
        return Kind(type=type_, path=path, one=type_, many=many or f"{type_}s", scopes=scopes)

    @property
    def networks(self) -> Kind:
        """Networks."""
        return self.kind("network", "/networks")

    @property
    def subnets(self) -> Kind:
        """Subnets."""
        return self.kind("subnet", "/subnets")

    @property
    def pools(self) -> Kind:
        """Pools of addresses for subnets."""
        return self.kind("subnetpool", "/subnetpools")

    @property
    def routers(self) -> Kind:
        """Routers."""
        return self.kind("router", "/routers")

    @property
    def address_groups(self) -> Kind:
        """Groups of addresses that rules name."""
        return self.kind("address_group", "/address-groups")

    @property
    def groups(self) -> Kind:
        """Security groups; the one that each project gets is not the user's."""
        return replace(self.kind("security_group", "/security-groups"), own=lambda group: group["name"] != "default")

    @property
    def ports(self) -> Kind:
        """Ports that are neither a router's nor an agent's."""
        return replace(self.kind("port", "/ports"), own=is_users_port)

    @property
    def addresses(self) -> Kind:
        """Floating addresses, which have a description for a name."""
        return replace(self.kind("floatingip", "/floatingips"), named="description")

    @property
    def shares(self) -> Kind:
        """Networks that the project shares with another; a share has no name."""
        return replace(self.kind("rbac_policy", "/rbac-policies", "rbac_policies"), named="")

    @cached_property
    def extensions(self) -> frozenset[str]:
        """What this Neutron can do."""
        return frozenset(one["alias"] for one in self.api.get("/extensions")["extensions"])

    def kinds(self) -> Sequence[Kind]:
        """Return the types that it makes, as far as this Neutron has them."""
        wanted = (
            (self.networks, "router"),
            (self.pools, "subnet_allocation"),
            (self.subnets, "router"),
            (self.address_groups, "address-group"),
            (self.groups, "security-group"),
            (self.routers, "router"),
            (self.ports, "router"),
            (self.addresses, "router"),
            (self.shares, "rbac-policies"),
        )
        return [kind for kind, extension in wanted if extension in self.extensions]

    def early_create(self) -> None:
        """Make what servers need: the network, its subnet, the router and the security group."""
        network = self._make(self.networks, "network", {})
        subnet = self._make(self.subnets, "subnet", {"network_id": network.id, "ip_version": 4, "cidr": CIDR})
        self._router(subnet)
        self._group()

    def create(self) -> None:
        """Make the rest, and note what must not change."""
        other = self._make(self.networks, "other-network", {})
        if self._has(self.pools):
            pool = {"prefixes": [POOL], "default_prefixlen": 26}
            self._make(self.pools, "subnetpool", pool)
        body = {"network_id": other.id, "ip_version": 4, "enable_dhcp": False}
        source = {"subnetpool_id": self.made("subnetpool").id} if self._has(self.pools) else {"cidr": OTHER_CIDR}
        self._make(self.subnets, "other-subnet", {**body, **source})
        slaac = {"ip_version": 6, "cidr": CIDR_V6, "ipv6_address_mode": "slaac", "enable_dhcp": True}
        self._make(self.subnets, "subnet-v6", {**body, **slaac})
        self._make(self.ports, "port-with-pair", {"network_id": other.id, "allowed_address_pairs": [PAIR]})
        open_port = {"network_id": other.id, "port_security_enabled": False, "security_groups": []}
        self._make(self.ports, "open-port", open_port)
        if self.shop.stranger and self._has(self.shares):
            share = {"object_type": "network", "object_id": other.id, "action": "access_as_shared"}
            self.ensure(self.shares, "share", {**share, "target_tenant": self.shop.stranger.project_id})
        self._note_all()

    def _has(self, kind: Kind) -> bool:
        return any(one.type == kind.type for one in self.kinds())

    def _make(self, kind: Kind, suffix: str, body: Mapping[str, Any]) -> Item:
        """Make one resource, unless it is finished, and tag it."""
        item = self.ensure(kind, suffix, body)
        if not item.facts and "standard-attr-tag" in self.extensions and kind.type != "address_group":
            self.api.put(f"{kind.path}/{item.id}/tags", {"tags": [self.shop.owner.tag]})
        return item

    def _router(self, subnet: Item) -> None:
        external = external_network(self)
        router = self._make(self.routers, "router", {"external_gateway_info": {"network_id": external["id"]}})
        if not router.facts and not self._interfaces(router.id):
            self.api.put(f"/routers/{router.id}/add_router_interface", {"subnet_id": subnet.id})
        if not router.facts and "extraroute" in self.extensions:
            self.api.put(f"/routers/{router.id}", {"router": {"routes": [ROUTE]}})

    def _interfaces(self, router: str) -> list[dict[str, Any]]:
        """Return the ports with which a router reaches its subnets; its gateway's port is not among them."""
        ports = self.api.get("/ports", device_id=router)["ports"]
        return [port for port in ports if port["device_owner"] != "network:router_gateway"]

    def _group(self) -> None:
        rules = list(_OPEN)
        if self._has(self.address_groups) and "security-groups-remote-address-group" in self.extensions:
            addresses = self._make(self.address_groups, "address-group", {"addresses": [FAR_AWAY]})
            rules.append({"protocol": "tcp", **_port(443), "remote_address_group_id": addresses.id})
        group = self._make(self.groups, "security-group", {"description": "Lets in ping, HTTP and echo."})
        rules.append({"protocol": "tcp", **_port(22), "remote_group_id": group.id})
        if not group.facts:
            there = self.groups.get(self.api, group.id)["security_group_rules"]
            known = [one for one in there if one["direction"] == "ingress"]
            for rule in rules:
                if not any(all(one.get(key) == value for key, value in rule.items()) for one in known):
                    self.let_in(group.id, rule)

    def let_in(self, group: str, rule: Mapping[str, Any]) -> str:
        """Add a rule to a security group; return its id."""
        body = {"security_group_id": group, "direction": "ingress", "ethertype": "IPv4", **rule}
        return str(self.api.post("/security-group-rules", {"security_group_rule": body})["security_group_rule"]["id"])

    @property
    def parts(self) -> dict[str, tuple[Kind, Facts]]:
        """The resources by the end of their names, with what must not change of each."""
        parts: dict[str, tuple[Kind, Facts]] = {
            "network": (self.networks, network_facts),
            "subnet": (self.subnets, subnet_facts),
            "address-group": (self.address_groups, address_group_facts),
            "security-group": (self.groups, group_facts),
            "other-network": (self.networks, network_facts),
            "subnetpool": (self.pools, pool_facts),
            "other-subnet": (self.subnets, subnet_facts),
            "subnet-v6": (self.subnets, subnet_facts),
            "port-with-pair": (self.ports, port_facts),
            "open-port": (self.ports, port_facts),
            "share": (self.shares, share_facts),
            "router": (self.routers, router_facts),
        }
        return {suffix: part for suffix, part in parts.items() if self.item(suffix)}

    def _note_all(self) -> None:
        """Journal what must not change; the router comes last, as its answer is waited for."""
        for suffix, (kind, facts_of) in self.parts.items():
            item = self.made(suffix)
            if not item.facts:
                now = kind.get(self.api, item.id)
                more = self._router_facts(item, now) if suffix == "router" else {}
                self.note(item, **facts_of(now), **more)

    def _router_facts(self, item: Item, router: Mapping[str, Any]) -> dict[str, Any]:
        self.wait(f"router {item.name}: active interfaces", lambda: self._is_active(item.id), timeout=60)
        return {"interfaces": interface_facts(self._interfaces(item.id)), "answers": gateway_answers(router, wait=30)}

    def _is_active(self, router: str) -> bool:
        return all(port["status"] == "ACTIVE" for port in self._interfaces(router))

    def checks(self) -> Checks:
        """Return the checks: every part is unchanged, the gateway answers, nobody else sees or takes anything."""
        return {
            **self.all_same(self.parts),
            "router_interfaces_unchanged": self._same_interfaces,
            "gateway_answers": lambda: gateway_finding(self.made("router")),
            "shared_network_seen": self._sharing,
            "sharing_with_all_refused": self._no_sharing_with_all,
            "resources_listed": lambda: self.listed(
                *((k, self.api) for k in self.kinds() if k.named and k.type not in _SHARED_KINDS)
            ),
            "usage_in_step": self.usage_in_step,
            "stranger_refused": self._no_strangers,
            "anonymous_refused": lambda: self.anonymous_refused(f"/networks/{self.made('network').id}"),
        }

    def _same_interfaces(self) -> Finding:
        """The router still is on its subnets, with active ports."""
        item = self.made("router")
        now = {"interfaces": interface_facts(self._interfaces(item.id))}
        return unchanged("The set of interfaces of", item.name, {"interfaces": item.facts.get("interfaces")}, now)

    def _sharing(self) -> Finding:
        """The project that the network is shared with sees it."""
        subject = self.name("other-network")
        if self.shop.stranger is None or not self.item("share"):
            return skipped(subject, "The run has no other project that a network could be shared with.")
        try:
            self.networks.get(self.service.api(self.shop.stranger), self.made("other-network").id)
        except HttpError as problem:
            return finding(subject, False, f"The project that {subject} is shared with does not see it: {problem}")
        return finding(subject, True, f"The project that {subject} is shared with sees it.")

    def _no_sharing_with_all(self) -> Finding:
        """An ordinary user cannot give a network to the whole cloud."""
        item = self.made("network")
        ask = partial(self.api.put, f"/networks/{item.id}", {"network": {"shared": True}})
        return self.refused(item.name, f"Sharing {item.name} with the whole cloud", ask, 403)

    def _no_strangers(self) -> Finding:
        hidden = {suffix: kind for suffix, (kind, _facts) in self.parts.items() if suffix in _HIDDEN}
        return self.stranger_refused(*(f"{kind.path}/{self.made(suffix).id}" for suffix, kind in hidden.items()))

    def used(self) -> dict[str, int]:
        """Return what the quotas count; empty when the user may not see it."""
        self.api.get("/security-groups", fields="id")  # makes the project's default group, which counts too
        try:
            quota = self.api.get(f"/quotas/{self.cloud.project_id}/details")["quota"]
        except (MissingError, RefusedError):
            return {}
        return {name: quota[name]["used"] for name in _COUNTED if name in quota}

    def counted(self) -> dict[str, int]:
        """Return how many there are of what the quotas count."""
        project = self.cloud.project_id
        return {
            name: len(self.api.get(path, project_id=project, fields="id")[f"{name}s"])
            for name, path in _COUNTED.items()
        }

    def exercises(self) -> Checks:
        """Return what users do: a new network behind the old router."""
        return {"new_network": self._new_network}

    def cycles(self) -> Checks:
        """Return what needs nothing else: a network with DHCP and a port."""
        return {"network": self._cycle_network}

    def _cycle_network(self) -> Finding:
        """A new network gets its DHCP, where agents serve it, and a port; all of it goes again."""
        with self.network_for_a_while("network") as network:
            port = self.ensure(self.ports, "cycle-port", {"network_id": network.id})
            try:
                by_agents = "dhcp_agent_scheduler" in self.extensions
                served = not by_agents or becomes_true(lambda: self._has_dhcp(network.id), 60)
            finally:
                self.drop(self.ports, port)
        word = "and its DHCP" if by_agents else "and a port"
        message = f"A new network was made with its subnet {word}, and deleted."
        if not served:
            message = "A new network was made, and within 60 s no agent served it with DHCP."
        return finding("new network", served, message)

    def _has_dhcp(self, network: str) -> bool:
        ports = self.api.get("/ports", network_id=network, device_owner="network:dhcp")["ports"]
        return any(port["status"] == "ACTIVE" for port in ports)

    @contextmanager
    def network_for_a_while(self, suffix: str) -> Iterator[Item]:
        """Give a network with a subnet, and delete both."""
        network = self.ensure(self.networks, f"cycle-{suffix}", {})
        try:
            body = {"network_id": network.id, "ip_version": 4, "cidr": EXERCISE_CIDR}
            subnet = self.ensure(self.subnets, f"cycle-{suffix}-subnet", body)
            try:
                yield network
            finally:
                self.drop(self.subnets, subnet)
        finally:
            self.drop(self.networks, network)

    def _new_network(self) -> Finding:
        """A new network and subnet, an active interface of the old router on it, and all of it away again."""
        router = self.made("router")
        network = self._make(self.networks, "exercise-network", {})
        body = {"network_id": network.id, "ip_version": 4, "cidr": EXERCISE_CIDR}
        subnet = self._make(self.subnets, "exercise-subnet", body)
        interface = {"subnet_id": subnet.id}
        self.api.put(f"/routers/{router.id}/add_router_interface", interface)
        active = becomes_true(lambda: self._is_active(router.id), 60)
        self.api.put(f"/routers/{router.id}/remove_router_interface", interface)
        self.drop(self.subnets, subnet)
        self.drop(self.networks, network)
        word = "got" if active else "did not get"
        return finding(router.name, active, f"The old router {word} an active interface on a new network.")

    def remove(self) -> None:
        """Delete all of it; a router's interfaces come before the router."""
        for kind in reversed(self.kinds()):
            self.sweep(kind, self._delete_router if kind.type == "router" else None)

    def _delete_router(self, id_: str) -> bool:
        with suppress(MissingError):
            self.api.put(f"/routers/{id_}", {"router": {"routes": []}})
        for port in self._interfaces(id_):
            for address in port["fixed_ips"]:
                self.api.put(f"/routers/{id_}/remove_router_interface", {"subnet_id": address["subnet_id"]})
        return self.routers.delete(self.api, id_)


def look(look: Look) -> dict[str, Any]:
    """Find the namespaces of routers and of DHCP, and the ports with their flows on the virtual switch."""
    servers = {f"qrouter-{router.id}" for router in look.items(SERVICE.name, "router")}
    servers |= {f"qdhcp-{network.id}" for network in look.items(SERVICE.name, "network")}
    there = {line.split()[0] for line in (look.run("ip", "netns", "list") or "").splitlines() if line.strip()}
    namespaces = {name: {"addresses": _addresses(look, name)} for name in sorted(servers & there)}
    ports = [*look.items(SERVICE.name, "port"), *look.items("nova", "port")] if SWITCH.exists() else []
    plugged = {port.id: _plugged(look, port.id) for port in ports}
    return {"namespaces": namespaces, "ports": {id_: facts for id_, facts in plugged.items() if facts}}


def _addresses(look: Look, namespace: str) -> list[str]:
    """Return the addresses in a namespace, the loopback's and those that each interface has by itself left out."""
    printed = look.run("ip", "-json", "-netns", namespace, "address", "show", "scope", "global")
    found = [address for link in json.loads(printed or "[]") for address in link.get("addr_info", [])]
    # Of an address that is left out, ip prints the empty hull.
    return sorted(f"{address['local']}/{address['prefixlen']}" for address in found if "local" in address)


def _plugged(look: Look, port: str) -> dict[str, Any]:
    """Return the interface of a port on the virtual switch and whether flows lead to it; empty when it is not here."""
    columns = ("--columns=name,ofport,mac_in_use", "--format=json", "--no-heading")
    printed = look.run("ovs-vsctl", *columns, "find", "Interface", f"external_ids:iface-id={port}")
    rows = json.loads(printed or "{}").get("data", [])
    if not rows:
        return {}
    name, number = rows[0][0], rows[0][1]
    flows = look.run("ovs-ofctl", "-O", "OpenFlow13", "dump-flows", "br-int", f"in_port={number}") or ""
    return {"interface": name, "has_flows": flows.count("cookie=") > 0}


def offline(case: Offline) -> None:
    """The namespaces have their addresses, the server's port has its flows, the gateway answers."""
    for item in case.of_type("router", "network"):
        name = f"{'qrouter' if item.type == 'router' else 'qdhcp'}-{item.id}"
        if item.type == "router" or item == case.named("network"):  # the other network has no DHCP for its servers
            check = f"{case.check_of(item)}_namespace"
            case.record(check, case.stays("namespaces", name, f"The namespace {name}", ["addresses"]))
    for port in case.held("ports", case.before) or case.held("ports"):
        what = f"Port {port} on the virtual switch"
        case.record("port_flows", case.stays("ports", port, what, ["interface", "has_flows"]))
    router = case.named("router")
    if router:
        case.examine({"gateway_answers": lambda: gateway_finding(router)})


def gateway_finding(router: Item) -> Finding:
    """Say whether a router answers on an external address, as it did when it was made."""
    addresses = [part["ip_address"] for part in router.facts.get("external_fixed_ips", [])]
    if not router.facts.get("answers"):
        message = f"router {router.name} did not answer on its external address when it was made either."
        return skipped(router.name, message)
    answers = any(becomes_true(partial(ping, address), 5) for address in addresses)
    word = "answers" if answers else "does not answer"
    return finding(router.name, answers, f"router {router.name} {word} on its external address {', '.join(addresses)}.")


def external_network(sample: Sample) -> dict[str, Any]:
    """Return the external network to use; SampleError when it has to be chosen, or does not exist."""
    api = SERVICE.api(sample.cloud)
    networks = api.get("/networks", **{"router:external": True})["networks"]
    wanted = sample.options.external_network
    fitting = [network for network in networks if wanted in (None, network["name"], network["id"])]
    return the_one("external_network", wanted, fitting, networks)


def gateway_answers(router: Mapping[str, Any], wait: float) -> bool | None:
    """Whether the router answers a ping on an external address within ``wait`` seconds; None: cannot be tried."""
    addresses = [part["ip_address"] for part in router_facts(router)["external_fixed_ips"]]
    try:
        return becomes_true(lambda: any(ping(address) for address in addresses), wait)
    except CannotPingError:
        return None


def network_facts(network: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change of a network."""
    fields = ["id", "name", "status", "admin_state_up", "shared", "mtu", "port_security_enabled", "router:external"]
    return {**{field: network.get(field) for field in fields}, "subnets": sorted(network.get("subnets", []))}


def subnet_facts(subnet: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change of a subnet."""
    fields = "id name network_id ip_version cidr gateway_ip enable_dhcp allocation_pools dns_nameservers host_routes"
    return {field: subnet.get(field) for field in fields.split()}


def router_facts(router: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change of a router."""
    gateway = router.get("external_gateway_info") or {}
    addresses = sorted(gateway.get("external_fixed_ips", []), key=lambda part: str(part.get("ip_address")))
    return {
        **{field: router.get(field) for field in ("id", "name", "status", "admin_state_up", "routes")},
        "external_network": gateway.get("network_id"),
        "external_fixed_ips": addresses,
    }


def interface_facts(ports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what must not change of a router's interfaces."""
    facts = [{key: port.get(key) for key in ("id", "status", "mac_address", "fixed_ips")} for port in ports]
    return sorted(facts, key=lambda port: str(port["id"]))


def port_facts(port: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change of a port."""
    fields = ["id", "name", "status", "admin_state_up", "mac_address", "fixed_ips", "device_id", "security_groups"]
    fields += ["network_id", "port_security_enabled", "allowed_address_pairs"]
    return {field: port.get(field) for field in fields}


def pool_facts(pool: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change of a pool of addresses."""
    fields = ("id", "name", "prefixes", "default_prefixlen", "min_prefixlen", "max_prefixlen", "ip_version", "shared")
    return {field: pool.get(field) for field in fields}


def address_group_facts(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change of a group of addresses."""
    return {"id": group.get("id"), "name": group.get("name"), "addresses": sorted(group.get("addresses", []))}


def share_facts(share: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change of a share."""
    return {key: share.get(key) for key in ("id", "object_type", "object_id", "action", "target_tenant")}


def is_users_port(port: Mapping[str, Any]) -> bool:
    """Whether a port is the user's own, and not one that Neutron has made for a router or an agent."""
    return not str(port.get("device_owner", "")).startswith("network:")


def group_facts(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change of a security group: its rules in an order that does not depend on the answer."""
    fields = [
        "direction",
        "ethertype",
        "protocol",
        "port_range_min",
        "port_range_max",
        "remote_ip_prefix",
        "remote_group_id",
        "remote_address_group_id",
    ]
    rules = [{field: rule.get(field) for field in fields} for rule in group["security_group_rules"]]
    return {"id": group["id"], "name": group["name"], "rules": sorted(rules, key=str)}


SERVICE = Service(
    name="neutron",
    types=("network",),
    prefix="/v2.0",
    probe=Probe(path="/", body='"versions"'),
    operations=(
        Operation(name="list networks", path="/networks?limit=1&fields=id", body='"networks"'),
        Operation(name="list ports", path="/ports?limit=1&fields=id", body='"ports"'),
    ),
    components=Components(
        wsgi={
            "neutron.wsgi.api": "neutron-api",
            "neutron-api": "neutron-api",
            "neutron-api-uwsgi": "neutron-api",
            "neutron": "neutron-api",
            "wsgi:neutron-api": "neutron-api",
        },
        prefixes=("neutron-",),
        tools=(
            "neutron-db-manage",
            "neutron-status",
            "neutron-debug",
            "neutron-ipset-cleanup",
            "neutron-netns-cleanup",
            "neutron-ovs-cleanup",
            "neutron-linuxbridge-cleanup",
            "neutron-ovn-db-sync-util",
            "neutron-ovn-migration-mtu",
            "neutron-pd-notify",
            "neutron-remove-duplicated-port-bindings",
            "neutron-rootwrap",
            "neutron-rootwrap-daemon",
            "neutron-rootwrap-xen-dom0",
            "neutron-sanitize-port-binding-profile-allocation",
            "neutron-sanitize-port-mac-addresses",
            "neutron-sanity-check",
            "neutron-usage-audit",
            # Kept running on purpose while its agent is upgraded, as ending it would move a router.
            "neutron-keepalived-state-change",
        ),
    ),
    upkeep=Upkeep(
        configuration=Configured(
            names=("neutron.conf", "plugins/ml2/ml2_conf.ini"),
            folder="/etc/neutron",
            listed=True,
            programs={"neutron-api": "neutron-api"},  # after 2026.1
            alike=(
                "neutron-server",
                "neutron-rpc-server",
                "neutron-periodic-workers",
                "neutron-ovn-maintenance-worker",
            ),
        ),
        schemas=(
            Schema(name="neutron", section="database", migrations="neutron/db/migration/alembic_migrations/versions"),
        ),
        status="neutron-status",
    ),
    health=(look_at_networks, look_at_agents),
    sample=NeutronSample,
    look=look,
    offline=offline,
    belongings=(
        ("/networks?project_id={}", "networks"),
        ("/routers?project_id={}", "routers"),
        ("/floatingips?project_id={}", "floatingips"),
    ),
)
