# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Heat.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Api, MissingError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import (
    Finding,
    finding,
    unchanged,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import (
    Beat,
    Health,
    Records,
    watch_beats,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._journal import Item
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import (
    Checks,
    Kind,
    Sample,
    SampleError,
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
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.cinder import SERVICE as CINDER
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.neutron import SERVICE as NEUTRON
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.swift import SERVICE as SWIFT
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.swift import account
from ansible_collections.openstack.upgrade_test.plugins.module_utils._wait import look_until

WORK_PATIENCE = 60  # seconds that the work on a stack may take before it counts as hanging
OLD_TEMPLATE: dict[str, Any] = {
    "heat_template_version": "2013-05-23",
    "resources": {"random": {"type": "OS::Heat::RandomString"}},
    "outputs": {"value": {"value": {"get_attr": ["random", "value"]}}},
}
_NETWORK = {"network": {"get_resource": "network"}}
# The resources of the large stack: the types of service that one of them needs, and its part of the template.
RESOURCES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "random": ((), {"type": "OS::Heat::RandomString"}),
    "group": (
        (),
        {
            "type": "OS::Heat::ResourceGroup",
            "properties": {"count": 2, "resource_def": {"type": "OS::Heat::RandomString"}},
        },
    ),
    "network": (NEUTRON.types, {"type": "OS::Neutron::Net", "properties": {"name": "stacked-network"}}),
    "subnet": (
        NEUTRON.types,
        {
            "type": "OS::Neutron::Subnet",
            "properties": {**_NETWORK, "name": "stacked-subnet", "cidr": "10.213.80.0/24", "enable_dhcp": False},
        },
    ),
    "port": (
        NEUTRON.types,
        {
            "type": "OS::Neutron::Port",
            "depends_on": "subnet",
            "properties": {**_NETWORK, "name": "stacked-port"},
        },
    ),
    "volume": (CINDER.types, {"type": "OS::Cinder::Volume", "properties": {"name": "stacked-volume", "size": 1}}),
    "container": (SWIFT.types, {"type": "OS::Swift::Container", "properties": {"name": "stacked-container"}}),
}
# Where to ask for what a stack calls its own.
PLACES: dict[str, tuple[Service, str]] = {
    "OS::Neutron::Net": (NEUTRON, "/networks/{}"),
    "OS::Neutron::Subnet": (NEUTRON, "/subnets/{}"),
    "OS::Neutron::Port": (NEUTRON, "/ports/{}"),
    "OS::Cinder::Volume": (CINDER, "/volumes/{}"),
    "OS::Swift::Container": (SWIFT, "/{}"),
}


def look_at_stacks(health: Health) -> None:
    """Heat lists stacks."""
    path = f"/{health.cloud.project_id}/stacks"
    health.served("lists_stacks", "stack list", path, "Heat lists stacks.", limit=5)


def look_at_engines(health: Health) -> None:
    """An engine on each host is up and reports."""
    path = f"/{health.cloud.project_id}/services"
    watch_beats(health, "service_reports", Records("engines", path, lambda body: newest(body["services"])))


def newest(engines: Iterable[Mapping[str, Any]]) -> list[Beat]:
    """Return the engine of each host that reported last: one that was killed stays in Heat's list for ever."""
    return [_beat(engine) for engine in {engine["host"]: engine for engine in sorted(engines, key=_stamp)}.values()]


def _beat(engine: Mapping[str, Any]) -> Beat:
    return Beat(
        type=engine["binary"],
        binary=engine["binary"],
        host=engine["host"],
        alive=engine["status"] == "up",
        stamp=_stamp(engine),
    )


def _stamp(engine: Mapping[str, Any]) -> str:
    """Return when an engine last reported; one that has just started has not done so yet."""
    return str(engine.get("updated_at") or engine.get("created_at") or "")


@dataclass(frozen=True, kw_only=True)
class StackKind(Kind):
    """Stacks, which are addressed by name and id together."""

    def id_of(self, entry: Mapping[str, Any]) -> str:
        """Return both."""
        return f"{entry['stack_name']}/{entry['id']}" if "stack_name" in entry else str(entry["id"])

    def create(self, api: Api, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make one; the answer has its id only."""
        made = api.post(self.path, dict(body))[self.one]
        return {self.named: body[self.named], **made}

    def get(self, api: Api, id_: str) -> dict[str, Any]:
        """Return one; what was deleted counts as missing."""
        found = dict(api.get(f"{self.path}/{id_}")[self.one])
        if found["stack_status"] == "DELETE_COMPLETE":
            raise MissingError(f"Stack {id_} is deleted.", 404)
        return found


class HeatSample(Sample):
    """A stack of what the cloud has, one in an old format, one that failed and must stay repairable; a snapshot."""

    requires = ("neutron",)
    after = ("cinder", "swift", "nova")

    @property
    def stacks(self) -> Kind:
        """Stacks of the project."""
        path = f"/{self.cloud.project_id}/stacks"
        return StackKind(type="stack", path=path, one="stack", many="stacks", named="stack_name")

    def kinds(self) -> Sequence[Kind]:
        """Return the only type; what a stack made goes with it."""
        return (self.stacks,)

    def create(self) -> None:
        """Make the stacks side by side, and note what must not change of them."""
        stacks = {
            "stack": self._template(),
            "old-stack": OLD_TEMPLATE,
            "failed-stack": failing_template(fails=True),
        }
        for suffix, template in stacks.items():
            self._begin(suffix, template)
        for suffix in stacks:
            item = self.made(suffix)
            if not item.facts:
                self._settle(item, "CREATE_FAILED" if suffix == "failed-stack" else "CREATE_COMPLETE")
                if suffix == "old-stack":
                    self._snapshot(item)
                self._note(item)

    def _begin(self, suffix: str, template: Mapping[str, Any]) -> Item:
        body = {
            "template": template,
            "tags": self.shop.owner.tag,
            "timeout_mins": 5,
            "disable_rollback": True,
            "parameters": {"veiled": "hidden from all"} if "parameters" in template else {},
        }
        return self.ensure(self.stacks, suffix, body)

    def _template(self) -> dict[str, Any]:
        """Return a template with a resource of each service that is there."""
        there = {entry.get("type") for entry in self.cloud.catalog}
        resources = {
            name: resource for name, (types, resource) in RESOURCES.items() if not types or there.intersection(types)
        }
        return {
            "heat_template_version": "2018-08-31",
            "parameters": {"veiled": {"type": "string", "hidden": True}},
            "resources": resources,
            "outputs": {"value": {"value": {"get_attr": ["random", "value"]}}},
        }

    def _snapshot(self, item: Item) -> None:
        """Make a snapshot of a stack, and wait until it is whole and the stack is as it was."""
        if not self._snapshots(item):
            self.api.post(f"{self.stacks.path}/{item.id}/snapshots", {"name": self.name("snapshot")})
        self.wait("The snapshot of a stack", lambda: self._snapshots(item) == ["COMPLETE"], timeout=60)
        self._settle(item, "SNAPSHOT_COMPLETE")

    def _snapshots(self, item: Item) -> list[str]:
        found = self.api.get(f"{self.stacks.path}/{item.id}/snapshots")["snapshots"]
        return [one["status"] for one in found if one["name"] == self.name("snapshot")]

    def _settle(self, item: Item, *statuses: str) -> None:
        """Wait until a stack's work has ended, and see that it ended as it should."""
        self.wait(f"Stack {item.name}: the end of its work", lambda: self._has_ended(item))
        found = self._status(item)
        if found not in statuses:
            reason = self.stacks.get(self.api, item.id).get("stack_status_reason")
            raise SampleError(f"Stack {item.name} ended in {found} and not in {' or '.join(statuses)}: {reason}")

    def _has_ended(self, item: Item) -> bool:
        return not self._status(item).endswith("_IN_PROGRESS")

    def _status(self, item: Item) -> str:
        return str(self.stacks.get(self.api, item.id)["stack_status"])

    def _note(self, item: Item) -> Item:
        facts = {"resources": self._resources(item), "events": self._events(item), "template": self._stored(item)}
        return self.note(item, **stack_facts(self.stacks.get(self.api, item.id)), **facts)

    def _resources(self, item: Item) -> list[dict[str, Any]]:
        found = self.api.get(f"{self.stacks.path}/{item.id}/resources", nested_depth=2)["resources"]
        return resource_facts(found)

    def _events(self, item: Item) -> list[str]:
        found = self.api.get(f"{self.stacks.path}/{item.id}/events", limit=1000)["events"]
        return sorted(event["id"] for event in found)

    def _stored(self, item: Item) -> str:
        template = self.api.get(f"{self.stacks.path}/{item.id}/template")
        return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()

    def checks(self) -> Checks:
        """Return the checks: fields, resources by their real ids, what these really are, events; refusals."""
        stacks = ("stack", "old-stack", "failed-stack")
        resources = {
            f"{suffix.replace('-', '_')}_resources_unchanged": partial(self._same_resources, suffix)
            for suffix in stacks
        }
        path = self.stacks.path
        return {
            **self.all_same(dict.fromkeys(stacks, (self.stacks, stack_facts))),
            **resources,
            "resources_exist": self._real_resources,
            "template_unchanged": self._same_template,
            "events_kept": self._same_events,
            "snapshot_kept": self._same_snapshot,
            "no_stack_in_progress": self._nothing_hangs,
            "bad_template_refused": self._bad_template,
            "stacks_listed": lambda: self.listed((self.stacks, self.api)),
            "stranger_refused": lambda: self.stranger_refused(f"{path}/{self.made('stack').id}"),
            "anonymous_refused": lambda: self.anonymous_refused(f"{path}/{self.made('stack').id}"),
        }

    def _same_resources(self, suffix: str) -> Finding:
        item = self.made(suffix)
        before, now = self._both(item)
        return unchanged("The resources of", item.name, by_name(before), by_name(now))

    def _same_template(self) -> Finding:
        item = self.made("stack")
        return unchanged(
            "The template of", item.name, {"sha256": item.facts["template"]}, {"sha256": self._stored(item)}
        )

    def _real_resources(self) -> Finding:
        """What a stack calls its own is there, as the service says that it belongs to."""
        item, gone = self.made("stack"), []
        for resource in self._resources(item):
            where = PLACES.get(resource["type"])
            if where:
                service, path = where
                prefix = account(self.cloud) if service is SWIFT else ""
                try:
                    service.api(self.cloud).get(prefix + path.format(resource["physical_id"]))
                except MissingError:
                    gone.append(f"{resource['name']} ({resource['type']} {resource['physical_id']})")
        message = f"Stack {item.name} has {'lost ' + ', '.join(gone) if gone else 'all that it calls its own'}."
        return finding(item.name, not gone, message, expected=[], found=gone)

    def _same_events(self) -> Finding:
        item = self.made("stack")
        lost = sorted(set(item.facts["events"]) - set(self._events(item)))
        message = f"Stack {item.name} has {f'lost {len(lost)} of its events' if lost else 'all its events'}."
        return finding(item.name, not lost, message, expected=[], found=lost)

    def _same_snapshot(self) -> Finding:
        item, found = self.made("old-stack"), self._snapshots(self.made("old-stack"))
        message = f"The snapshot of stack {item.name} is {'complete' if found == ['COMPLETE'] else 'not there'}."
        return finding(item.name, found == ["COMPLETE"], message, expected=["COMPLETE"], found=found)

    def _nothing_hangs(self) -> Finding:
        """No stack of the project stays at work for ever."""

        def at_work() -> list[str]:
            found = self.stacks.all(self.api)
            return [one["stack_name"] for one in found if one["stack_status"].endswith("_IN_PROGRESS")]

        hanging = look_until(at_work, lambda found: not found, WORK_PATIENCE, step=2)
        message = f"{', '.join(hanging)} stay in progress." if hanging else "No stack is in progress."
        return finding("stacks", not hanging, message, expected=[], found=hanging)

    def _bad_template(self) -> Finding:
        """A template whose resource type does not exist is refused at once, and leaves no stack."""
        resources = {"what": {"type": "OS::Nothing::Such"}}
        body = {"template": {"heat_template_version": "2018-08-31", "resources": resources}}
        path = f"/{self.cloud.project_id}/validate"
        return self.refused("template", "A template with an unknown type", lambda: self.api.post(path, body), 400, 404)

    def counted(self) -> dict[str, int]:
        """Return how many stacks the project has; Heat has no usage to compare it with."""
        return {"stacks": len(self.stacks.all(self.api))}

    def exercises(self) -> Checks:
        """Return what users do: update without a change, check, repair what failed, make and delete a stack."""
        return {
            "update_without_change": self._update_nothing,
            "check_stack": self._check,
            "repair_stack": self._repair,
            "new_stack": self._new_stack,
        }

    def cycles(self) -> Checks:
        """Return what needs nothing else: a stack."""
        return {"stack": self._new_stack}

    def _update_nothing(self) -> Finding:
        """An update with the same template replaces nothing."""
        item = self.made("stack")
        self.api.request("PATCH", f"{self.stacks.path}/{item.id}", json={"tags": self.shop.owner.tag})
        self._settle(item, "UPDATE_COMPLETE")
        before, now = self._both(item)
        self._note(item)
        return unchanged("After an update without a change, the resources of", item.name, by_name(before), by_name(now))

    def _both(self, item: Item) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return list(item.facts["resources"]), self._resources(item)

    def _check(self) -> Finding:
        """Heat itself finds all resources of an old stack."""
        item = self.made("stack")
        self.api.request("POST", f"{self.stacks.path}/{item.id}/actions", json={"check": None})
        self._settle(item, "CHECK_COMPLETE", "CHECK_FAILED")
        good = self._status(item) == "CHECK_COMPLETE"
        self._note(item)
        return finding(item.name, good, f"Heat {'finds' if good else 'does not find'} all resources of {item.name}.")

    def _repair(self) -> Finding:
        """A stack that had failed before can be repaired by an update."""
        item = self.made("failed-stack")
        body = {"template": failing_template(fails=False), "tags": self.shop.owner.tag, "timeout_mins": 5}
        self.api.request("PUT", f"{self.stacks.path}/{item.id}", json=body)
        self._settle(item, "UPDATE_COMPLETE")
        self._note(item)
        return finding(item.name, True, f"Stack {item.name}, which had failed, was repaired.")

    def _new_stack(self) -> Finding:
        item = self._begin("exercise-stack", OLD_TEMPLATE)
        self._settle(item, "CREATE_COMPLETE")
        self.discard(self.stacks, item)
        return finding(item.name, True, "A new stack was made and deleted.")

    def remove(self) -> None:
        """Delete the stacks, and wait until what they had made is gone too."""
        self.vanish(self.stacks, self.sweep(self.stacks))


def failing_template(*, fails: bool) -> dict[str, Any]:
    """Return a template with a resource that fails, or does not."""
    test = {"type": "OS::Heat::TestResource", "properties": {"value": "x", "fail": fails}}
    resources = {"kept": {"type": "OS::Heat::RandomString"}, "failing": test}
    return {"heat_template_version": "2018-08-31", "resources": resources}


def stack_facts(stack: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change of a stack."""
    fields = ("id", "stack_name", "stack_status", "description", "timeout_mins", "disable_rollback", "creation_time")
    outputs = {output["output_key"]: output.get("output_value") for output in stack.get("outputs", [])}
    own = {key: value for key, value in stack.get("parameters", {}).items() if not key.startswith("OS::")}
    return {**{field: stack.get(field) for field in fields}, "outputs": outputs, "parameters": own}


def resource_facts(resources: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what must not change of the resources of a stack and of those nested in it."""
    facts = [
        {
            "name": resource["resource_name"],
            "type": resource["resource_type"],
            "physical_id": resource["physical_resource_id"],
            "within": resource.get("parent_resource", ""),
        }
        for resource in resources
    ]
    return sorted(facts, key=lambda resource: (resource["within"], resource["name"], resource["physical_id"]))


def by_name(resources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return type and real id of each resource by the name that it has in its stack."""
    return {
        f"{resource['within']}/{resource['name']}": f"{resource['type']} {resource['physical_id']}"
        for resource in resources
    }


SERVICE = Service(
    name="heat",
    types=("orchestration",),
    prefix="/v1",
    probe=Probe(path="/", status=(300,), body='"versions"'),
    operations=(Operation(name="list stacks", path="/{own}/stacks?limit=1", body='"stacks"'),),
    components=Components(
        wsgi={
            "heat.wsgi.api": "heat-api",
            "heat.httpd.heat_api": "heat-api",
            "heat-wsgi-api": "heat-api",
            "heat-uwsgi-api": "heat-api",
            "heat-api": "heat-api",
            "wsgi:heat-api": "heat-api",
            "heat.wsgi.cfn": "heat-api-cfn",
            "heat.httpd.heat_api_cfn": "heat-api-cfn",
            "heat-wsgi-api-cfn": "heat-api-cfn",
            "heat-api-cfn": "heat-api-cfn",
            "wsgi:heat-api-cfn": "heat-api-cfn",
        },
        prefixes=("heat-",),
        tools=("heat-manage", "heat-status", "heat-db-setup", "heat-keystone-setup-domain"),
    ),
    upkeep=Upkeep(
        configuration=Configured(programs={"heat-api": "heat-api", "heat-api-cfn": "heat-api-cfn"}),
        schemas=(Schema(name="heat", section="database", migrations="heat/db/migrations/versions"),),
        status="heat-status",
    ),
    health=(look_at_stacks, look_at_engines),
    sample=HeatSample,
)
