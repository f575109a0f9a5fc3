# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nova.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import CloudError, MissingError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import Beat, Health, watch_beats
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._reach import (
    BLOCKED,
    REFUSED,
    CannotPingError,
    http_get,
    ping,
    tcp,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import (
    Item,
    Kind,
    Sample,
    SampleError,
    becomes_true,
    differences,
    in_words,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    Components,
    Operation,
    Probe,
    Service,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.glance import SERVICE as GLANCE
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.neutron import (
    BLOCKED_PORT,
    external_network,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.neutron import SERVICE as NEUTRON

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
]
_HTTP_PATIENCE = 30  # seconds in which a guest that answers pings has to answer HTTP, if it ever will


def health(health: Health) -> None:
    """Nova lists servers, each service process is up and reports, each hypervisor is up."""
    body = health.ask("lists_servers", "server list", "/servers", limit=5)
    if body is not None:
        health.record("lists_servers", "server list", Status.PASS, "Nova lists servers.")
    if health.ask("services", "compute services", "/os-services") is None:
        return
    watch_beats(health, "service_reports", lambda: read_services(health))
    _look_at_hypervisors(health)


def read_services(health: Health) -> list[Beat]:
    """Return Nova's service processes."""
    return [service_beat(service) for service in health.service.api(health.cloud).get("/os-services")["services"]]


def service_beat(service: Mapping[str, Any]) -> Beat:
    """Return what Nova says of one service process; one that is forced down counts as switched off."""
    return Beat(
        type=service["binary"],
        binary=service["binary"],
        host=service["host"],
        alive=service["state"] == "up",
        stamp=str(service.get("updated_at") or ""),
        enabled=service["status"] == "enabled" and not service.get("forced_down"),
    )


def _look_at_hypervisors(health: Health) -> None:
    # Not /detail, for which the API asks each compute for its uptime and waits: that says nothing of the state.
    body = health.ask("hypervisors", "hypervisors", "/os-hypervisors")
    for hypervisor in (body or {}).get("hypervisors", []):
        name, state = hypervisor["hypervisor_hostname"], hypervisor["state"]
        disabled = hypervisor["status"] == "disabled"
        status = Status.PASS if state == "up" else Status.SKIP if disabled else Status.FAIL
        message = f"Hypervisor {name} is {state}{' and disabled by an operator' if disabled else ''}."
        health.record("hypervisor_up", name, status, message, host=name, expected="up", found=state)


class NovaSample(Sample):
    """A real server with a floating address, on the sample network."""

    requires = ("neutron",)
    servers = Kind(type="server", path="/servers", one="server", many="servers", detail="/detail")

    @property
    def ports(self) -> Kind:
        """Ports of the project; the server's own has a name, so that it can be found."""
        return Kind(type="port", path="/ports", one="port", many="ports", scope={"project_id": self.cloud.project_id})

    @property
    def addresses(self) -> Kind:
        """Floating addresses of the project, which have a description for a name."""
        scope = {"project_id": self.cloud.project_id}
        return Kind(
            type="floating_ip",
            path="/floatingips",
            one="floatingip",
            many="floatingips",
            named="description",
            scope=scope,
        )

    def create(self) -> dict[str, Any]:
        """Make port, server and floating address; note the facts once the server runs and answers."""
        network = NEUTRON.api(self.cloud)
        port = self.ensure(self.ports, "port", self._port(), network)
        server = self.ensure(self.servers, "server", self._server(port.id) if not self.item("server") else {})
        body = {"floating_network_id": external_network(self)["id"], "port_id": port.id}
        address = self.ensure(self.addresses, "address", body, network)
        if not server.facts:
            self.wait(f"Server {server.name}: status ACTIVE", lambda: self._is_active(server.id))
            found = self.addresses.get(network, address.id)["floating_ip_address"]
            self.note(address, floating_ip_address=found, port_id=port.id)
            self.note(port, **port_facts(self.ports.get(network, port.id)))
            reach = self._first_answers(found)
            self.note(server, **self._facts(server.id), **reach, floating_ip=found)
        return self.told()

    def told(self) -> dict[str, Any]:
        """Tell of the server and how to reach it."""
        item = self.item("server")
        if not item:
            return {}
        address = str(item.facts.get("floating_ip", ""))
        url = f"http://{address}/" if item.facts.get("http") else ""
        return {"server": {"id": item.id, "name": item.name, "floating_ip": address, "http_url": url}}

    def _neutron(self, type_: str) -> Item:
        """Return a part of the sample network."""
        item = self.shop.journal.find(NEUTRON.name, type_)
        if item is None or not item.id:
            raise SampleError(f"The server needs the sample {type_} of neutron, which was not made.")
        return item

    def _port(self) -> dict[str, Any]:
        group = self._neutron("security_group").id
        return {"network_id": self._neutron("network").id, "security_groups": [group]}

    def _server(self, port: str) -> dict[str, Any]:
        body = {
            "imageRef": self._image(),
            "flavorRef": self._flavor(),
            "networks": [{"port": port}],
            "availability_zone": self.options.availability_zone,
        }
        return {key: value for key, value in body.items() if value is not None}

    def _image(self) -> str:
        """Return the id of the image to boot from: the one named, or the only one that can be booted."""
        wanted = self.options.server_image
        images = GLANCE.api(self.cloud).get("/images", status="active", limit=1000)["images"]
        usable = [i for i in images if i["disk_format"] not in ("aki", "ari") and i["owner"] != self.cloud.project_id]
        fitting = [image for image in (images if wanted else usable) if wanted in (None, image["name"], image["id"])]
        return self._only("server_image", wanted, fitting, usable)

    def _flavor(self) -> str:
        """Return the id of the flavor named, or of the smallest one."""
        wanted = self.options.server_flavor
        flavors = self.api.get("/flavors/detail")["flavors"]
        if not wanted and flavors:
            return str(min(flavors, key=lambda flavor: (flavor["ram"], flavor["vcpus"], flavor["disk"]))["id"])
        return self._only("server_flavor", wanted, [f for f in flavors if wanted in (f["name"], f["id"])], flavors)

    def _only(self, option: str, wanted: str | None, fitting: list[Any], there: list[Any]) -> str:
        if len(fitting) == 1:
            return str(fitting[0]["id"])
        names = ", ".join(sorted(str(entry["name"]) for entry in there)[:10]) or "none"
        if wanted:
            raise SampleError(f"{option}: {wanted!r} fits {len(fitting)}; there are: {names}.")
        raise SampleError(f"{option}: name the one to use; there are: {names}.")

    def _is_active(self, id_: str) -> bool:
        server = self.servers.get(self.api, id_)
        if server["status"] == "ERROR":
            fault = server.get("fault", {}).get("message", "no fault was given")
            raise SampleError(f"Server {server['name']} ({id_}) went into ERROR: {fault}")
        return bool(server["status"] == "ACTIVE")

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
        return {"ping": pings, "http": http, "boot_id": self._boot_id(address) if http else None}

    def _boot_id(self, address: str) -> str | None:
        """Return the boot id that the guest's web server tells, or None when it tells none."""
        if not self.options.boot_id_path:
            return None
        answer = http_get(f"http://{address}/{self.options.boot_id_path.lstrip('/')}")
        return answer[1].strip() or None if answer and answer[0] == 200 else None

    def verify(self) -> None:
        """The server exists, is unchanged, was not interrupted, and answers; what was blocked is blocked."""
        item = self.made("server")
        try:
            now = server_facts(self.servers.get(self.api, item.id))
        except MissingError:
            self.lost("server_exists", item, self._who_deleted(item.id))
            return
        self.judge("server_exists", item.name, good=True, message=f"server {item.name} ({item.id}) exists.")
        actions = [action for action in self._actions(item.id) if action not in item.facts["actions"]]
        self._verify_fields(item, now, {str(action["action"]) for action in actions})
        self._verify_actions(item, actions)
        self._verify_address()
        self._verify_reach(item)

    def _who_deleted(self, id_: str) -> str:
        with suppress(CloudError):
            done = [action for action in self._actions(id_) if "elete" in str(action["action"])]
            if done:
                last = done[-1]
                who = f"by user {last['user_id']}, {last['request_id']}"
                return f" Nova says: {last['action']} at {last['start_time']} {who}."
        return ""

    def _verify_fields(self, item: Item, now: Mapping[str, Any], actions: set[str]) -> None:
        """Compare all fields; the host may differ when an action moved the server on purpose."""
        before = {key: item.facts.get(key) for key in now}
        moved = bool(actions & _MOVING)
        apart = {key: pair for key, pair in differences(before, now).items() if not (moved and key == "hostId")}
        message = f"server {item.name} changed: {in_words(apart)}." if apart else f"server {item.name} is unchanged."
        self.judge(
            "server_unchanged",
            item.name,
            good=not apart,
            message=message,
            expected={key: pair[0] for key, pair in apart.items()},
            found={key: pair[1] for key, pair in apart.items()},
            evidence={"id": item.id, "fields": sorted(now)},
        )

    def _verify_actions(self, item: Item, actions: list[dict[str, Any]]) -> None:
        bad = [action for action in actions if action["action"] in INTERRUPTING]
        words = ", ".join(f"{action['action']} at {action['start_time']}" for action in bad)
        message = (
            f"server {item.name} was interrupted by {words}."
            if bad
            else f"Nobody stopped or restarted server {item.name}."
        )
        names = [action["action"] for action in actions]
        self.judge("server_not_interrupted", item.name, good=not bad, message=message, expected=[], found=names)

    def _verify_address(self) -> None:
        network = NEUTRON.api(self.cloud)
        self.compare(
            self.addresses,
            lambda found: {key: found.get(key) for key in ("floating_ip_address", "port_id")},
            network,
        )
        self.compare(self.ports, port_facts, network)

    def _verify_reach(self, item: Item) -> None:
        address = str(item.facts["floating_ip"])
        self._verify_ping(item, address)
        if not item.facts.get("http"):
            self.record("server_http", item.name, Status.SKIP, "The guest had no web server when it was made either.")
            return
        answers = becomes_true(lambda: http_get(f"http://{address}/") is not None, 5)
        message = f"server {item.name} {'answers' if answers else 'does not answer'} HTTP at {address}."
        self.judge("server_http", item.name, good=answers, message=message)
        self._verify_blocked(item, address)
        self._verify_boot_id(item, address)

    def _verify_ping(self, item: Item, address: str) -> None:
        try:
            answers = becomes_true(lambda: ping(address), 5)
        except CannotPingError as problem:
            self.record("server_ping", item.name, Status.UNKNOWN, str(problem))
            return
        message = f"server {item.name} {'answers' if answers else 'does not answer'} pings at {address}."
        self.judge("server_ping", item.name, good=answers, message=message)

    def _verify_blocked(self, item: Item, address: str) -> None:
        """A port that no rule opens must stay silent; a refusal comes from the guest, so the rules were passed."""
        found = tcp(address, BLOCKED_PORT)
        word = {BLOCKED: "is blocked", REFUSED: "is reached through the security group"}.get(found, "is open")
        message = f"Port {BLOCKED_PORT} of server {item.name} {word}."
        self.judge("port_blocked", item.name, good=found == BLOCKED, message=message, expected=BLOCKED, found=found)

    def _verify_boot_id(self, item: Item, address: str) -> None:
        before, now = item.facts.get("boot_id"), self._boot_id(address)
        if not before or not now:
            when = "now" if before else "when it was made"
            message = f"server {item.name} did not tell its boot id {when}."
            self.record("boot_id_unchanged", item.name, Status.UNKNOWN, message, expected=before, found=now)
            return
        message = f"server {item.name} {'has not rebooted' if now == before else 'has rebooted'}."
        self.judge("boot_id_unchanged", item.name, good=now == before, message=message, expected=before, found=now)

    def remove(self) -> None:
        """Delete the server, its floating address and its port."""
        network = NEUTRON.api(self.cloud)
        doomed = self.sweep(self.servers)
        self.sweep(self.addresses, api=network)
        for id_ in doomed:
            self.wait(f"Server {id_}: its end", lambda i=id_: self._is_gone(i), timeout=120)  # type: ignore[misc]
        self.sweep(self.ports, api=network)

    def _is_gone(self, id_: str) -> bool:
        try:
            self.servers.get(self.api, id_)
        except MissingError:
            return True
        return False


def _when(action: Mapping[str, Any]) -> str:
    return str(action.get("start_time"))


def port_facts(port: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change of a server's port."""
    fields = ("id", "name", "status", "admin_state_up", "mac_address", "fixed_ips", "device_id", "security_groups")
    return {field: port.get(field) for field in fields}


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
    health=health,
    sample=NovaSample,
)
