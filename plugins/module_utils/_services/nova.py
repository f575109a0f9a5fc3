# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nova.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import base64
import os
import time as clock
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Api, CloudError, MissingError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import (
    Finding,
    finding,
    skipped,
    unchanged,
    unseen,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import (
    Health,
    Records,
    service_beats,
    watch_beats,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._journal import Item
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._look import Look, process_facts
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._offline import Offline
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._reach import (
    BLOCKED,
    REFUSED,
    CannotPingError,
    http_get,
    ping,
    tcp,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import (
    RUN_FIELD,
    Checks,
    Kind,
    Sample,
    SampleError,
    the_one,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    BATCH,
    Components,
    Configured,
    Operation,
    Probe,
    Schema,
    Service,
    Upkeep,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._witness import (
    BEAT_LIMIT,
    Beat,
    Silence,
    from_facts,
    read_beat,
    tell,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.glance import SERVICE as GLANCE
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.neutron import (
    BLOCKED_PORT,
    NeutronSample,
    external_network,
    port_facts,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.neutron import SERVICE as NEUTRON
from ansible_collections.openstack.upgrade_test.plugins.module_utils._wait import (
    Patience,
    becomes_true,
    look_until,
)

# Actions on a server that stop it, restart it or replace it. Moving it while it runs is not among them.
INTERRUPTING = frozenset(
    [
        "stop",
        "start",
        "reboot",
        "rebuild",
        "resize",
        "confirmResize",
        "revertResize",
        "migrate",
        "suspend",
        "resume",
        "pause",
        "unpause",
        "shelve",
        "shelveOffload",
        "unshelve",
        "rescue",
        "unrescue",
        "evacuate",
        "restore",
        "softDelete",
        "delete",
        "forceDelete",
    ]
)
_MOVING = frozenset({"live-migration", "migrate", "evacuate", "resize"})
_FIELDS = [
    "id",
    "name",
    "status",
    "hostId",
    "OS-EXT-STS:vm_state",
    "OS-EXT-STS:task_state",
    "OS-EXT-STS:power_state",
    "created",
    "OS-SRV-USG:launched_at",
    "OS-SRV-USG:terminated_at",
    "OS-EXT-AZ:availability_zone",
    "key_name",
    "tenant_id",
    "user_id",
    "metadata",
    "config_drive",
    "OS-DCF:diskConfig",
    "locked",
    "description",
    "tags",
]
WITNESS = "/beat"  # the page of the witness in the guest
_HINTS = "os:scheduler_hints"
_NO_PLACE = "No valid host was found"  # of a server that failed on its hosts, Nova says something else
MOST_APART = 10  # members that a group of servers may have, unless an operator allows more
_PATIENCE = 5  # seconds in which a server that lives has to answer
_RULE_PATIENCE = 30  # seconds in which a new rule has to take effect
_HTTP_PATIENCE = 30  # seconds in which a guest that answers pings has to answer HTTP, if it ever will


def look_at_servers(health: Health) -> None:
    """Nova lists servers."""
    health.served("lists_servers", "server list", "/servers", "Nova lists servers.", limit=5)


def look_at_services(health: Health) -> None:
    """Each service process of Nova is up and reports, each hypervisor is up."""
    if watch_beats(health, "service_reports", Records("compute services", "/os-services", service_beats)):
        _look_at_hypervisors(health)


def _look_at_hypervisors(health: Health) -> None:
    # Not /detail, for which the API asks each compute for its uptime and waits: that says nothing of the state.
    body = health.ask("hypervisors", "hypervisors", "/os-hypervisors")
    for hypervisor in (body or {}).get("hypervisors", []):
        name, state = hypervisor["hypervisor_hostname"], hypervisor["state"]
        disabled = hypervisor["status"] == "disabled"
        status = Status.PASS if state == "up" else Status.SKIP if disabled else Status.FAIL
        message = f"Hypervisor {name} is {state}{' and disabled by an operator' if disabled else ''}."
        health.record("hypervisor_up", name, status, message, host=name, expected="up", found=state)


class _ServerKind(Kind):
    """Servers, whose scheduler hints stand beside them in the body."""

    def create(self, api: Api, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make one."""
        server = {key: value for key, value in body.items() if key != _HINTS}
        hints = {_HINTS: body[_HINTS]} if _HINTS in body else {}
        return dict(api.post(self.path, {self.one: server, **hints})[self.one])


class NovaSample(Sample):
    """A real server with a floating address, on the sample network; one that is paused; what belongs to servers."""

    requires = ("neutron",)
    servers: Kind = _ServerKind(type="server", path="/servers", one="server", many="servers", detail="/detail")
    groups = Kind(type="server_group", path="/os-server-groups", one="server_group", many="server_groups")
    keys = Kind(type="keypair", path="/os-keypairs", one="keypair", many="keypairs", identity="name", nested=True)

    @property
    def network(self) -> NeutronSample:
        """The sample of neutron, to which the server's port and address belong."""
        return NeutronSample(NEUTRON, self.shop)

    def kinds(self) -> Sequence[Kind]:
        """Return the types that nova itself has."""
        return (self.groups, self.keys, self.servers)

    def create(self) -> None:
        """Make the servers and what belongs to them; note the facts once the first one runs and answers."""
        network = self.network
        group = self.keep(self.groups, "server-group", {"policy": "soft-affinity"}, server_group_facts)
        key = {"type": "ssh", "public_key": public_key(os.urandom(32))}
        self.keep(self.keys, "keypair", key, keypair_facts)
        port = self.ensure(network.ports, "port", self._port(), network.api)
        server = self._boot("server", {"networks": [{"port": port.id}], _HINTS: {"group": group.id}})
        paused = self._boot("paused-server", {"networks": [{"uuid": self.made("network", "neutron").id}]})
        body = {"floating_network_id": external_network(self)["id"], "port_id": port.id}
        address = self.ensure(network.addresses, "floating-ip", body, network.api)
        if not server.facts:
            self._await(server.id, "ACTIVE")
            self._finish(server, port, address)
        if not paused.facts:
            self._await(paused.id, "ACTIVE", "PAUSED")
            self._pause(paused.id)
            self.note(paused, **server_facts(self.servers.get(self.api, paused.id)))

    def _finish(self, server: Item, port: Item, address: Item) -> None:
        network = self.network
        found = network.addresses.get(network.api, address.id)["floating_ip_address"]
        reach = self._first_answers(found)
        self.note(address, **address_facts(network.addresses.get(network.api, address.id)))
        self.note(port, **port_facts(network.ports.get(network.api, port.id)))
        self.note(server, **self._facts(server.id), **reach, floating_ip=found)

    def told(self) -> dict[str, Any]:
        """Tell of the server and how to reach it."""
        item = self.item("server")
        if not item:
            return {}
        address = str(item.facts.get("floating_ip", ""))
        url = f"http://{address}/" if item.facts.get("http") else ""
        return {**super().told(), "server": {"id": item.id, "name": item.name, "floating_ip": address, "http_url": url}}

    def _port(self) -> dict[str, Any]:
        group = self.made("security-group", "neutron").id
        return {"network_id": self.made("network", "neutron").id, "security_groups": [group]}

    def _boot(self, suffix: str, more: Mapping[str, Any]) -> Item:
        """Begin to make a server, unless the journal has it."""
        if self.item(suffix):
            return self.made(suffix)
        body = {
            "imageRef": self._image(),
            "flavorRef": self._flavor(),
            "availability_zone": self.options.availability_zone,
            "user_data": self._user_data(),
            "key_name": key.id if (key := self.item("keypair")) else None,
            "description": "Made by openstack.upgrade_test.",
            "metadata": {RUN_FIELD: self.shop.journal.run.run_id},
            "tags": [self.shop.owner.tag],
            **more,
        }
        return self.ensure(self.servers, suffix, {key: value for key, value in body.items() if value is not None})

    def _user_data(self) -> str | None:
        """Return the content of the file that the operator named, as nova wants it."""
        path = self.options.user_data
        if not path:
            return None
        try:
            return base64.b64encode(Path(path).read_bytes()).decode()
        except OSError as problem:
            raise SampleError(f"user_data: {path} cannot be read: {problem.strerror}.") from problem

    def _image(self) -> str:
        """Return the id of the image to boot from: the one named, or the only one that can be booted."""
        wanted = self.options.server_image
        images = GLANCE.api(self.cloud).get("/images", status="active", limit=1000)["images"]
        usable = [i for i in images if i["disk_format"] not in ("aki", "ari") and i["owner"] != self.cloud.project_id]
        fitting = [image for image in (images if wanted else usable) if wanted in (None, image["name"], image["id"])]
        return str(the_one("server_image", wanted, fitting, usable)["id"])

    def _flavor(self) -> str:
        """Return the id of the flavor named, or of the smallest one."""
        wanted = self.options.server_flavor
        flavors = self.api.get("/flavors/detail")["flavors"]
        if not wanted and flavors:
            return str(min(flavors, key=lambda flavor: (flavor["ram"], flavor["vcpus"], flavor["disk"]))["id"])
        fitting = [flavor for flavor in flavors if wanted in (flavor["name"], flavor["id"])]
        return str(the_one("server_flavor", wanted, fitting, flavors)["id"])

    def _await(self, id_: str, *statuses: str) -> None:
        self.wait(f"Server {id_}: status {statuses[0]}", lambda: self._is(id_, statuses))

    def _is(self, id_: str, statuses: Sequence[str]) -> bool:
        server = self.servers.get(self.api, id_)
        if server["status"] == "ERROR":
            fault = server.get("fault", {}).get("message", "no fault was given")
            raise SampleError(f"Server {server['name']} ({id_}) went into ERROR: {fault}")
        return bool(server["status"] in statuses and server.get("OS-EXT-STS:task_state") is None)

    def _act(self, id_: str, action: str, value: Any = None) -> None:
        self.api.request("POST", f"/servers/{id_}/action", json={action: value})

    def _pause(self, id_: str) -> None:
        if not self._is(id_, ["PAUSED"]):
            self._act(id_, "pause")
        self._await(id_, "PAUSED")

    def _facts(self, id_: str) -> dict[str, Any]:
        return {**server_facts(self.servers.get(self.api, id_)), "actions": self._actions(id_)}

    def _actions(self, id_: str) -> list[dict[str, Any]]:
        """Return what was done to a server, oldest first; also of one that was deleted."""
        actions = self.api.get(f"/servers/{id_}/os-instance-actions")["instanceActions"]
        fields = ("action", "start_time", "user_id", "request_id")
        return sorted(({field: action.get(field) for field in fields} for action in actions), key=_when)

    def _first_answers(self, address: str) -> dict[str, Any]:
        """Return how the server can be reached, so that later only what worked once is demanded."""
        try:
            self.wait(f"The server at {address}: an answer to a ping", lambda: ping(address))
            pings = True
        except CannotPingError:
            pings = False
        http = becomes_true(lambda: http_get(f"http://{address}/") is not None, _HTTP_PATIENCE)
        beat = first_beat(address, Patience(_PATIENCE)) if http else None
        boot_id = read_boot_id(address, self.options.boot_id_path) if http else None
        return {"ping": pings, "http": http, "boot_id": boot_id, "witness": beat.as_facts() if beat else None}

    def checks(self) -> Checks:
        """Return the checks: servers are unchanged, were not interrupted, answer; what was blocked is blocked."""
        network = self.network
        return {
            "server_exists": self._existence,
            "server_unchanged": self._same_server,
            "server_not_interrupted": self._no_interruption,
            "paused_server_unchanged": lambda: self.same(self.servers, "paused-server", server_facts),
            "server_group_unchanged": lambda: self.same(self.groups, "server-group", server_group_facts),
            "keypair_unchanged": lambda: self.same(self.keys, "keypair", keypair_facts),
            "floating_ip_unchanged": lambda: self.same(network.addresses, "floating-ip", address_facts, network.api),
            "port_unchanged": lambda: self.same(network.ports, "port", port_facts, network.api),
            "servers_listed": lambda: self.listed(*((kind, self.api) for kind in self.kinds())),
            **reach_checks(self.item("server"), self.options.boot_id_path),
            "usage_in_step": self.usage_in_step,
            "stranger_refused": lambda: self.stranger_refused(f"/servers/{self.made('server').id}"),
            "anonymous_refused": lambda: self.anonymous_refused(f"/servers/{self.made('server').id}"),
        }

    def _existence(self) -> Finding:
        item = self.made("server")
        try:
            self.servers.get(self.api, item.id)
        except MissingError:
            return self.lost(item, self._who_deleted(item.id))
        return finding(item.name, True, f"server {item.name} ({item.id}) exists.")

    def _who_deleted(self, id_: str) -> str:
        with suppress(CloudError):
            done = [action for action in self._actions(id_) if "elete" in str(action["action"])]
            if done:
                last = done[-1]
                who = f"by user {last['user_id']}, {last['request_id']}"
                return f" Nova says: {last['action']} at {last['start_time']} {who}."
        return ""

    def _new_actions(self, item: Item) -> list[dict[str, Any]]:
        return [action for action in self._actions(item.id) if action not in item.facts["actions"]]

    def _same_server(self) -> Finding:
        """Compare all fields; the host may differ when an action moved the server on purpose."""
        item = self.made("server")
        now = server_facts(self.servers.get(self.api, item.id))
        if {str(action["action"]) for action in self._new_actions(item)} & _MOVING:
            now.pop("hostId")
        before = {key: item.facts.get(key) for key in now}
        return unchanged("server", item.name, before, now, id=item.id, fields=sorted(now))

    def _no_interruption(self) -> Finding:
        item = self.made("server")
        actions = self._new_actions(item)
        bad = [action for action in actions if action["action"] in INTERRUPTING]
        words = ", ".join(f"{action['action']} at {action['start_time']}" for action in bad)
        by = f"server {item.name} was interrupted by {words}."
        message = by if bad else f"Nobody stopped or restarted server {item.name}."
        return finding(item.name, not bad, message, expected=[], found=[action["action"] for action in actions])

    def used(self) -> dict[str, int]:
        """Return what the quotas count."""
        limits = self.api.get("/limits")["limits"]["absolute"]
        fields = {"servers": "totalInstancesUsed", "cores": "totalCoresUsed", "MiB": "totalRAMUsed"}
        return {name: limits[field] for name, field in fields.items()}

    def counted(self) -> dict[str, int]:
        """Return the same, counted from the servers that there are."""
        flavors = [server["flavor"] for server in self.servers.all(self.api)]
        cores, memory = sum(flavor["vcpus"] for flavor in flavors), sum(flavor["ram"] for flavor in flavors)
        return {"servers": len(flavors), "cores": cores, "MiB": memory}

    def exercises(self) -> Checks:
        """Return what users do: reboot an old server, plug in a port, open a port, boot a new server in each zone."""
        return {
            "restart_server": self._reboot,
            "attach_port": self._attach_port,
            "rule_takes_effect": self._open_and_close,
            "new_servers": self._new_servers,
        }

    def cycles(self) -> Checks:
        """Return what needs nothing else: a server; deeper, one on each host."""
        return {"server": self._cycle_server, **({"servers": self._cycle_hosts} if self.shop.computes else {})}

    def _cycle_server(self) -> Finding:
        begin = clock.monotonic()
        with self.server_for_a_while("server"):
            took = round(clock.monotonic() - begin, 1)
        return finding("new server", True, f"A new server started within {took} s.", evidence={"seconds": took})

    @contextmanager
    def server_for_a_while(self, suffix: str) -> Iterator[Item]:
        """Give a server that runs, and delete it."""
        with ExitStack() as stack:
            network = self._some_network(suffix, stack)
            server = self._boot(f"cycle-{suffix}", {"networks": [{"uuid": network}]})
            try:
                self._await(server.id, "ACTIVE")
                yield server
            finally:
                self.discard(self.servers, server)

    def _some_network(self, suffix: str, stack: ExitStack) -> str:
        """Return the network of the run, or make one that lasts as long as the stack."""
        known = self.shop.journal.find("neutron", self.name("network"))
        if known and known.facts:
            return known.id
        return stack.enter_context(self.network.network_for_a_while(suffix)).id

    def _cycle_hosts(self) -> Finding:
        """Start as many servers as there are hosts, of which no two may share one: so each host gets one.

        A user may not choose a host, but he may keep his servers apart. One after the other, since two schedulers could
        choose the same host at once.
        """
        wanted = {zone: list(hosts) for zone, hosts in self.shop.computes.items()}
        hosts = {host for those in wanted.values() for host in those}
        if len(hosts) > MOST_APART:
            return unseen(
                "new servers", f"There are {len(hosts)} hosts, and a user keeps at most {MOST_APART} servers apart."
            )
        group = self.ensure(self.groups, "cycle-group", {"policy": "anti-affinity"})
        reached, troubles = dict[str, str](), list[str]()
        try:
            with ExitStack() as stack:
                network = self._some_network("hosts", stack)
                self._reach_hosts(wanted, group, network, reached, troubles)
        finally:
            self.drop(self.groups, group)
        return judge_reached(hosts, reached, troubles)

    def _reach_hosts(
        self,
        wanted: Mapping[str, Sequence[str]],
        group: Item,
        network: str,
        reached: dict[str, str],
        troubles: list[str],
    ) -> None:
        """Start the servers, and note which host each came to and what went wrong."""
        servers: list[Item] = []
        agents = self._hosts_of_agents()
        try:
            for zone, hosts in wanted.items():
                more = {"networks": networks_for(hosts, agents, network), _HINTS: {"group": group.id}}
                for number in range(len(hosts)):
                    server = self._boot(f"cycle-{zone}-{number}", {**more, "availability_zone": zone})
                    servers.append(server)
                    try:
                        self._await(server.id, "ACTIVE")
                        reached[self._host_of(server.id)] = server.id
                    except SampleError as problem:
                        troubles.append(str(problem))
        finally:
            self.discard(self.servers, *servers)

    def _hosts_of_agents(self) -> set[str]:
        """Return the hosts with agents of the network, as an administrator is told; none when he is not."""
        try:
            agents = self.network.service.api(self.shop.admin).get("/agents")["agents"] if self.shop.admin else []
        except CloudError:
            return set()
        return {str(agent["host"]) for agent in agents}

    def _host_of(self, id_: str) -> str:
        """Return the host of a server, which only an administrator is told."""
        cloud = self.shop.admin or self.cloud
        return str(self.servers.get(self.service.api(cloud), id_).get("OS-EXT-SRV-ATTR:host") or "")

    def _reboot(self) -> Finding:
        """Wake the paused server, reboot it, and pause it again."""
        item = self.made("paused-server")
        self._act(item.id, "unpause")
        self._await(item.id, "ACTIVE")
        self._act(item.id, "reboot", {"type": "HARD"})
        self._await(item.id, "ACTIVE")
        self._pause(item.id)
        return finding(item.name, True, f"server {item.name} was woken, rebooted and paused again.")

    def _attach_port(self) -> Finding:
        """Give the old server a second port, which has to become active, and take it away."""
        network, server = self.network, self.made("server")
        body = {"network_id": self.made("network", "neutron").id}
        port = self.ensure(network.ports, "exercise-port", body, network.api)
        path = f"/servers/{server.id}/os-interface"
        self.api.post(path, {"interfaceAttachment": {"port_id": port.id}})
        active = becomes_true(lambda: network.ports.get(network.api, port.id)["status"] == "ACTIVE", 60)
        self.api.request("DELETE", f"{path}/{port.id}")
        self.wait(f"port {port.id}: unplugged", lambda: not network.ports.get(network.api, port.id)["device_id"], 60)
        self.drop(network.ports, port, network.api)
        word = "became" if active else "did not become"
        return finding(server.name, active, f"A new port of server {server.name} {word} active.")

    def _open_and_close(self) -> Finding:
        """A new rule lets in what was blocked, and no longer when it is gone; a refusal comes from the guest."""
        network, server = self.network, self.made("server")
        address = str(server.facts["floating_ip"])
        rule = {"protocol": "tcp", "port_range_min": BLOCKED_PORT, "port_range_max": BLOCKED_PORT}
        id_ = network.let_in(self.made("security-group", "neutron").id, rule)
        opened = becomes_true(lambda: tcp(address, BLOCKED_PORT, 1) != BLOCKED, _RULE_PATIENCE)
        network.api.delete(f"/security-group-rules/{id_}")
        closed = becomes_true(lambda: tcp(address, BLOCKED_PORT, 1) == BLOCKED, _RULE_PATIENCE)
        words = [f"did not open port {BLOCKED_PORT}"] * (not opened) + ["stayed in effect when it was gone"] * (
            not closed
        )
        message = f"A new rule {' and '.join(words) or 'opened a port, and its removal closed it'}."
        return finding(server.name, opened and closed, message)

    def _new_servers(self) -> Finding:
        """Boot a server in each zone, side by side; to choose a host takes the rights of an administrator."""
        zones = self.api.get("/os-availability-zone")["availabilityZoneInfo"]
        names = [zone["zoneName"] for zone in zones if zone["zoneState"]["available"]]
        more = {"networks": [{"uuid": self.made("network", "neutron").id}]}
        servers = [self._boot(f"exercise-server-{zone}", {**more, "availability_zone": zone}) for zone in names]
        for server in servers:
            self._await(server.id, "ACTIVE")
        self.discard(self.servers, *servers)
        return finding("new servers", bool(servers), f"A new server started in each zone: {', '.join(names)}.")

    def remove(self) -> None:
        """Delete the servers, floating addresses and ports, and what belonged to them."""
        network = self.network
        doomed = self.sweep(self.servers)
        self.sweep(network.addresses, api=network.api)
        self.vanish(self.servers, doomed)
        self.sweep(network.ports, api=network.api)
        self.sweep(self.keys)
        self.sweep(self.groups)


def look(look: Look) -> dict[str, Any]:
    """Find the processes of the servers, and what libvirt says of them."""
    servers = [server.id for server in look.items(SERVICE.name, "server")]
    domains: dict[str, dict[str, Any]] = {}
    for process in look.commands():
        for id_ in servers:
            if "-uuid" in process.command and id_ in process.command:
                state = (look.run("virsh", "domstate", id_) or "").strip()
                domains[id_] = {**process_facts(process), **({"state": state} if state else {})}
    return {"domains": domains}


def offline(case: Offline) -> None:
    """Each server's process is the same one, in the same state; the one with an address answers, and is blocked."""
    for server in case.of_type("server"):
        what, fields = f"The process of server {server.name}", ["pid", "started", "state"]
        found = case.stays("domains", server.id, what, fields, movable=True)
        case.record(f"{case.check_of(server)}_process", found)
    case.examine(reach_checks(case.named("server"), case.boot_id_path))


def networks_for(hosts: Sequence[str], agents: set[str], network: str) -> Any:
    """Return what networks new servers on some hosts are to have: none where no host has an agent, dead or alive.

    Such hosts give no server a network; where nobody has agents, the network does without.
    """
    shorts = {name.partition(".")[0] for name in agents}
    connected = not agents or any(host.partition(".")[0] in shorts for host in hosts)
    return [{"uuid": network}] if connected else "none"


def judge_reached(hosts: set[str], reached: Mapping[str, str], troubles: Sequence[str]) -> Finding:
    """Say whether a new server started on each host, and on which it did not."""
    missing = sorted(hosts - reached.keys())
    evidence = {"servers": dict(reached), "troubles": list(troubles)}
    if not missing:
        message = f"A new server started on each of {len(hosts)} hosts: {', '.join(sorted(hosts))}."
        return finding("new servers", True, message, evidence=evidence)
    message = f"No new server started on {', '.join(missing)}."
    if not troubles:
        return unseen("new servers", f"{message} None was sent there.", evidence=evidence)
    if all(_NO_PLACE in one for one in troubles):
        # Hosts may be kept for other flavors, and a full cloud is not a broken one.
        return unseen("new servers", f"{message} The scheduler found no place for it there.", evidence=evidence)
    more = {"expected": sorted(hosts), "found": sorted(reached), "evidence": evidence}
    return finding("new servers", False, f"{message} {troubles[0]}", **more)


def read_boot_id(address: str, path: str | None) -> str | None:
    """Return the boot id that the guest's web server tells, or None when it tells none."""
    if not path:
        return None
    answer = http_get(f"http://{address}/{path.lstrip('/')}")
    return answer[1].strip() or None if answer and answer[0] == 200 else None


def boot_id_now(server: Item, address: str, path: str | None, patience: Patience) -> str | None:
    """Return the boot id that the guest tells, once it is asked what it told before."""
    if not path or not server.facts.get("boot_id"):
        return None
    return patience.until(lambda: read_boot_id(address, path), bool)


def look_at_witness(address: str) -> Beat | None:
    """Return what the witness in the guest tells, or None when there is none."""
    answer = http_get(f"http://{address}{WITNESS}")
    return read_beat(answer[1], clock.time()) if answer and answer[0] == 200 else None


def first_beat(address: str, patience: Patience) -> Beat | None:
    """Return a beat of the witness, which may begin a moment later than the guest's web server."""
    return patience.until(lambda: look_at_witness(address), lambda beat: beat is not None)


def latest_beat(server: Item, address: str, patience: Patience) -> Beat | None:
    """Return what the witness tells, as fresh as it can be had.

    What it tells is as old as its last beat, and a busy host delays a beat: that must not pass for a guest that stood
    still. The time in which a guest really stood still never comes back, however often one looks.
    """
    before = from_facts(server.facts.get("witness"))
    now = first_beat(address, patience) if before else None
    if before is None or now is None or is_timely(before, now):
        return now
    return look_until(lambda: look_at_witness(address), lambda beat: is_timely(before, beat), BEAT_LIMIT)


def is_timely(before: Beat, now: Beat | None) -> bool:
    """Whether a beat is there, and not so late that the guest seems to have stood still."""
    return now is not None and tell(before, now).silence is not Silence.PAUSED


def reach_checks(server: Item | None, boot_id_path: str | None) -> Checks:
    """Return the checks that need no API: the server answers as it did, and tells what it went through."""
    if server is None or not server.facts:
        return {}
    address, patience = str(server.facts["floating_ip"]), Patience(_PATIENCE)

    def answers(ask: Callable[[], bool], what: str) -> Finding:
        good = patience.until(ask, bool)
        word = "answers" if good else "does not answer"
        return finding(server.name, good, f"server {server.name} {word} {what} at {address}.")

    checks: dict[str, Callable[[], Finding]] = {"server_ping": lambda: answers(lambda: ping(address), "pings")}
    if not server.facts.get("http"):
        no_web = skipped(server.name, "The guest had no web server when it was made either.")
        return {**checks, "server_http": lambda: no_web}
    return {
        **checks,
        "server_http": lambda: answers(lambda: http_get(f"http://{address}/") is not None, "HTTP"),
        "port_blocked": lambda: _is_blocked(server, address),
        "boot_id_unchanged": lambda: _same_boot(server, boot_id_now(server, address, boot_id_path, patience)),
        "server_not_silent": lambda: judge_witness(server, latest_beat(server, address, patience)),
    }


def _is_blocked(server: Item, address: str) -> Finding:
    """A port that no rule opens must stay silent; a refusal comes from the guest, so the rules were passed."""
    found = tcp(address, BLOCKED_PORT)
    word = {BLOCKED: "is blocked", REFUSED: "is reached through the security group"}.get(found, "is open")
    message = f"Port {BLOCKED_PORT} of server {server.name} {word}."
    return finding(server.name, found == BLOCKED, message, expected=BLOCKED, found=found)


def _same_boot(server: Item, now: str | None) -> Finding:
    before = server.facts.get("boot_id")
    if not before or not now:
        when = "now" if before else "when it was made"
        return unseen(server.name, f"server {server.name} did not tell its boot id {when}.", expected=before, found=now)
    word = "has not rebooted" if now == before else "has rebooted"
    return finding(server.name, now == before, f"server {server.name} {word}.", expected=before, found=now)


def judge_witness(server: Item, now: Beat | None) -> Finding:
    """Say what the witness in the guest tells of the time since the server was made."""
    before = from_facts(server.facts.get("witness"))
    if before is None:
        return skipped(server.name, f"There is no witness in server {server.name}: it never told of its beats.")
    if now is None:
        return unseen(server.name, f"The witness in server {server.name} does not tell of its beats.")
    told = tell(before, now)
    seconds = f" for {told.lost:.1f} s in all" if told.lost else ""
    good = told.silence is Silence.NONE
    message = f"The witness in server {server.name} says that {told.silence}{seconds}."
    return finding(server.name, good, message, evidence={"before": before.as_facts(), "now": now.as_facts()})


def _when(action: Mapping[str, Any]) -> str:
    return str(action.get("start_time"))


def address_facts(address: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change of a floating address."""
    fields = ("id", "floating_ip_address", "fixed_ip_address", "port_id", "router_id", "floating_network_id")
    return {field: address.get(field) for field in fields}


def server_group_facts(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change of a server group; its members come later."""
    return {key: group.get(key) for key in ("id", "name", "policy", "rules")}


def keypair_facts(key: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change of a key pair."""
    return {field: key.get(field) for field in ("name", "type", "fingerprint", "public_key", "created_at")}


def public_key(raw: bytes) -> str:
    """Return an SSH public key of 32 bytes, to which nobody has the other half: nobody logs in with it."""
    parts = (b"ssh-ed25519", raw)
    packed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return f"ssh-ed25519 {base64.b64encode(packed).decode()}"


def server_facts(server: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change of a server."""
    addresses = sorted(entry["addr"] for entries in server.get("addresses", {}).values() for entry in entries)
    flavor = {key: server["flavor"].get(key) for key in ("original_name", "vcpus", "ram", "disk")}
    image = server["image"]["id"] if isinstance(server.get("image"), Mapping) else None
    return {**{field: server.get(field) for field in _FIELDS}, "addresses": addresses, "flavor": flavor, "image": image}


SERVICE = Service(
    name="nova",
    types=("compute",),
    prefix="/v2.1",
    probe=Probe(path="/", body='"versions"'),
    operations=(
        Operation(name="list servers", path="/servers?limit=1", body='"servers"'),
        Operation(name="list flavors", path="/flavors?limit=1", body='"flavors"'),
    ),
    components=Components(
        wsgi={
            "nova.wsgi.osapi_compute": "nova-api",
            "nova.api.openstack.compute.wsgi": "nova-api",
            "nova-api-wsgi": "nova-api",
            "nova-api-uwsgi": "nova-api",
            "nova-api-os-compute": "nova-api",
            "nova-api": "nova-api",
            "wsgi:nova-api": "nova-api",
            "nova.wsgi.metadata": "nova-metadata",
            "nova.api.metadata.wsgi": "nova-metadata",
            "nova-metadata-wsgi": "nova-metadata",
            "nova-metadata-uwsgi": "nova-metadata",
            "nova-api-metadata": "nova-metadata",
            "wsgi:nova-metadata": "nova-metadata",
        },
        prefixes=("nova-",),
        tools=("nova-manage", "nova-status", "nova-policy", "nova-rootwrap", "nova-rootwrap-daemon"),
    ),
    headers={"OpenStack-API-Version": "compute 2.90"},
    upkeep=Upkeep(
        configuration=Configured(
            names=("nova.conf",),
            folder="/etc/nova",
            listed=True,
            programs={"nova-api": "nova-api-os-compute", "nova-metadata": "nova-api-metadata"},  # since 2026.1
        ),
        schemas=(
            Schema(name="nova_api", section="api_database", migrations="nova/db/api/migrations/versions"),
            Schema(name="nova", section="database", migrations="nova/db/main/migrations/versions"),
        ),
        status="nova-status",
        migrate=("nova-manage", "db", "online_data_migrations", "--max-count", str(BATCH)),
    ),
    health=(look_at_servers, look_at_services),
    sample=NovaSample,
    look=look,
    offline=offline,
    belongings=(("/servers?all_tenants=1&project_id={}", "servers"),),
)
