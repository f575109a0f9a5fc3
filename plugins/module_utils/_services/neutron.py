# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Neutron.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import Beat, Health, watch_beats
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._reach import CannotPingError, ping
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import (
    Item,
    Kind,
    Sample,
    SampleError,
    becomes_true,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    Components,
    Operation,
    Probe,
    Service,
)

CIDR = "10.213.77.0/24"  # of the sample network; private to it, as the router translates addresses
HTTP_PORT, ECHO_PORT = 80, 7
BLOCKED_PORT = 8080  # no rule lets it in, so it must stay blocked
_OPEN: tuple[dict[str, Any], ...] = (
    {"protocol": "icmp"},
    *({"protocol": "tcp", "port_range_min": port, "port_range_max": port} for port in (HTTP_PORT, ECHO_PORT)),
)


def health(health: Health) -> None:
    """Neutron lists networks, and each agent is alive and reports."""
    body = health.ask("lists_networks", "network list", "/networks", limit=5)
    if body is not None:
        health.record("lists_networks", "network list", Status.PASS, "Neutron lists networks.")
    beats = health.ask("agents", "agents", "/agents")
    if beats is None:
        return
    if not beats["agents"] and not health.expected_agents:
        health.record("agents", "agents", Status.SKIP, "Neutron has no agents.")
        return
    watch_beats(health, "agent_reports", lambda: read_agents(health))


def read_agents(health: Health) -> list[Beat]:
    """Return Neutron's agents."""
    return [agent_beat(agent) for agent in health.service.api(health.cloud).get("/agents")["agents"]]


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
    """A network with subnet, a router with an external gateway, and a security group that lets little in."""

    def kind(self, type_: str, path: str) -> Kind:
        """Return one of Neutron's types, limited to the project's own."""
        return Kind(type=type_, path=path, one=type_, many=f"{type_}s", scope={"project_id": self.cloud.project_id})

    @property
    def networks(self) -> Kind:
        """Networks."""
        return self.kind("network", "/networks")

    @property
    def subnets(self) -> Kind:
        """Subnets."""
        return self.kind("subnet", "/subnets")

    @property
    def routers(self) -> Kind:
        """Routers."""
        return self.kind("router", "/routers")

    @property
    def groups(self) -> Kind:
        """Security groups."""
        return self.kind("security_group", "/security-groups")

    def create(self) -> dict[str, Any]:
        """Make what is missing; the router is the slowest, so the network comes first."""
        network = self.ensure(self.networks, "network", {})
        subnet = self.ensure(self.subnets, "subnet", {"network_id": network.id, "ip_version": 4, "cidr": CIDR})
        router = self._router(subnet)
        group = self._group()
        if not group.facts:
            self._note_all([network, subnet, router, group])
        return self.told()

    def told(self) -> dict[str, Any]:
        """Tell of the network, the router and the group."""
        items = [self.item(type_) for type_ in ("network", "subnet", "router", "security_group")]
        return {item.type: {"id": item.id, "name": item.name} for item in items if item}

    def _router(self, subnet: Item) -> Item:
        external = external_network(self)
        router = self.ensure(self.routers, "router", {"external_gateway_info": {"network_id": external["id"]}})
        if not router.facts and not self._interfaces(router.id):
            self.api.put(f"/routers/{router.id}/add_router_interface", {"subnet_id": subnet.id})
        return router

    def _interfaces(self, router: str) -> list[dict[str, Any]]:
        """Return the ports with which a router reaches its subnets; its gateway's port is not among them."""
        ports = self.api.get("/ports", device_id=router)["ports"]
        return [port for port in ports if port["device_owner"] != "network:router_gateway"]

    def _group(self) -> Item:
        group = self.ensure(self.groups, "group", {"description": "Lets in ping, HTTP and echo, and nothing else."})
        if not group.facts:
            there = self.groups.get(self.api, group.id)["security_group_rules"]
            known = [one for one in there if one["direction"] == "ingress"]
            for rule in _OPEN:
                if not any(all(one.get(key) == value for key, value in rule.items()) for one in known):
                    self._let_in(group.id, rule)
        return group

    def _let_in(self, group: str, rule: Mapping[str, Any]) -> None:
        body = {"security_group_id": group, "direction": "ingress", "ethertype": "IPv4", **rule}
        self.api.post("/security-group-rules", {"security_group_rule": body})

    def _note_all(self, items: list[Item]) -> None:
        """Journal what must not change; last comes the group, whose facts mean that all is done."""
        kinds = (self.networks, self.subnets, self.routers, self.groups)
        network, subnet, router, group = (kind.get(self.api, item.id) for kind, item in zip(kinds, items, strict=True))
        self.note(items[0], **network_facts(network))
        self.note(items[1], **subnet_facts(subnet))
        self.note(items[2], **router_facts(router), answers=gateway_answers(router, wait=30))
        self.note(items[3], **group_facts(group))

    def verify(self) -> None:
        """Every part is unchanged and the router's gateway still answers."""
        self.compare(self.networks, network_facts)
        self.compare(self.subnets, subnet_facts)
        answers = self.made("router").facts.get("answers")
        self.compare(self.routers, lambda router: {**router_facts(router), "answers": answers})
        self.compare(self.groups, group_facts)
        self._verify_gateway()

    def _verify_gateway(self) -> None:
        item, check = self.made("router"), "gateway_answers"
        addresses = [part["ip_address"] for part in item.facts.get("external_fixed_ips", [])]
        if not item.facts.get("answers"):
            message = f"router {item.name} did not answer on its external address when it was made either."
            self.record(check, item.name, Status.SKIP, message)
            return
        try:
            answers = any(becomes_true(lambda a=address: ping(a), 5) for address in addresses)  # type: ignore[misc]
        except CannotPingError as problem:
            self.record(check, item.name, Status.UNKNOWN, str(problem))
            return
        word = "answers" if answers else "does not answer"
        message = f"router {item.name} {word} on its external address {', '.join(addresses)}."
        self.judge(check, item.name, good=answers, message=message)

    def remove(self) -> None:
        """Delete router, security group, subnet, network, in this order."""
        self.sweep(self.routers, self._delete_router)
        self.sweep(self.groups)
        self.sweep(self.subnets)
        self.sweep(self.networks)

    def _delete_router(self, id_: str) -> bool:
        for port in self._interfaces(id_):
            for address in port["fixed_ips"]:
                self.api.put(f"/routers/{id_}/remove_router_interface", {"subnet_id": address["subnet_id"]})
        return self.routers.delete(self.api, id_)


def external_network(sample: Sample) -> dict[str, Any]:
    """Return the external network to use; SampleError when it has to be chosen, or does not exist."""
    api = SERVICE.api(sample.cloud)
    networks = api.get("/networks", **{"router:external": True})["networks"]
    wanted = sample.options.external_network
    fitting = [network for network in networks if wanted in (None, network["name"], network["id"])]
    if len(fitting) == 1:
        return dict(fitting[0])
    names = ", ".join(sorted(network["name"] for network in networks)) or "none"
    if wanted:
        raise SampleError(f"external_network: {wanted!r} fits {len(fitting)} external networks; there are: {names}.")
    raise SampleError(f"external_network: name the one to use; there are: {names}.")


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
    health=health,
    sample=NeutronSample,
)
