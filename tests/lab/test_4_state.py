# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of the whole cloud: what happens to things of others is found. And a snapshot of a database."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._admin import quiet
from ansible_collections.openstack.upgrade_test.tests.lab._lab import Lab, document, records

PLAYBOOK = str(Path(__file__).with_name("state.yml"))
NAME = "bystander"
Outcomes = list[dict[str, Any]]


@dataclass
class Bystander:
    """Somebody's things in the cloud, made with admin rights, which no test ever touches."""

    cloud: Any
    made: dict[str, Any]

    @classmethod
    def make(cls, cloud: Any) -> Bystander:
        with quiet():
            project = cloud.identity.create_project(name=NAME, domain_id="default")
            user = cloud.identity.create_user(name=NAME, domain_id="default", password="nobody-needs-to-know")
            role = cloud.identity.find_role("member")
            cloud.identity.assign_project_role_to_user(project, user, role)
            network = cloud.network.create_network(name=NAME, project_id=project.id)
            subnet = cloud.network.create_subnet(
                name=NAME,
                network_id=network.id,
                project_id=project.id,
                ip_version=4,
                cidr="10.77.0.0/24",
                allocation_pools=[{"start": "10.77.0.2", "end": "10.77.0.50"}],  # so that the gateway can move
                is_dhcp_enabled=False,  # so that nothing else comes up in the network meanwhile
            )
            port = cloud.network.create_port(name=NAME, network_id=network.id, project_id=project.id)
            group = cloud.network.create_security_group(name=NAME, project_id=project.id)
            rule = cloud.network.create_security_group_rule(
                security_group_id=group.id,
                project_id=project.id,
                direction="ingress",
                protocol="tcp",
                port_range_min=22,
                port_range_max=22,
                remote_ip_prefix="10.0.0.0/8",
            )
            image = cloud.image.create_image(
                NAME, data=b"content", container_format="bare", disk_format="raw", visibility="private"
            )
            flavor = cloud.compute.create_flavor(name=NAME, ram=64, vcpus=1, disk=1)
        made = {"project": project, "user": user, "role": role, "network": network, "subnet": subnet, "port": port}
        return cls(cloud, {**made, "group": group, "rule": rule, "image": image, "flavor": flavor})

    def remove(self) -> None:
        cloud, made = self.cloud, self.made
        with quiet():
            for delete, name in (
                (cloud.compute.delete_flavor, "flavor"),
                (cloud.image.delete_image, "image"),
                (cloud.network.delete_port, "port"),
                (cloud.network.delete_security_group, "group"),
                (cloud.network.delete_network, "network"),
            ):
                delete(made[name], ignore_missing=True)
            for group in list(cloud.network.security_groups(project_id=made["project"].id)):
                cloud.network.delete_security_group(group)
            cloud.identity.delete_user(made["user"])
            cloud.identity.delete_project(made["project"])


@pytest.fixture(scope="module")
def bystander(lab: Lab) -> Iterator[Bystander]:
    """Somebody's things, and a fingerprint of the cloud with them."""
    found = Bystander.make(lab.admin().cloud)
    assert look(lab, "before")
    yield found
    found.remove()
    if (lab.runs / "current").exists():
        lab.play("cleanup", {"upgrade_test_cleanup_abandon": True}, timeout=600)


def look(lab: Lab, name: str, **more: Any) -> Outcomes:
    """Take a fingerprint; the outcomes that it added."""
    file = (lab.runs / "current/outcomes.jsonl").resolve() if (lab.runs / "current").exists() else None
    before = len(records(file)) if file else 0
    played = lab.play(PLAYBOOK, {"__state_name": name, **more}, timeout=300)
    assert played.rc == 0
    assert "Traceback" not in played.text
    return records(lab.latest() / "outcomes.jsonl")[before:]


def not_good(outcomes: Outcomes) -> list[tuple[str, str, str]]:
    return [(one["check"], one["status"], one["message"]) for one in outcomes if one["status"] not in ("pass", "skip")]


def test_everything_is_seen(lab: Lab, bystander: Bystander) -> None:
    """No kind of thing of this cloud goes unseen, and the services agree with each other."""
    outcomes = records(lab.latest() / "outcomes.jsonl")
    parts = document(lab.latest() / "evidence/fingerprint-before.json")["parts"]

    assert not_good(outcomes) == []
    assert {kind: part["trouble"] for kind, part in parts.items() if part["trouble"]} == {}
    for kind in ("projects", "role_assignments", "images", "flavors", "networks", "ports", "agents", "inventories"):
        assert parts[kind]["things"], kind
    assert {one["service"] for one in outcomes} >= {"keystone", "glance", "placement", "neutron", "nova"}


def test_nothing_happened(lab: Lab, bystander: Bystander) -> None:
    """A cloud that nobody touched is as it was; heartbeats and times are no difference."""
    assert not_good(look(lab, "same", __state_earlier="before")) == []


def remove_role(one: Bystander) -> None:
    made = one.made
    one.cloud.identity.unassign_project_role_from_user(made["project"], made["user"], made["role"])


def disable_user(one: Bystander) -> None:
    one.cloud.identity.update_user(one.made["user"], is_enabled=False)


def bind_port_elsewhere(one: Bystander) -> None:
    one.cloud.network.update_port(one.made["port"], binding_host_id="nowhere")


def widen_rule(one: Bystander) -> None:
    one.cloud.network.delete_security_group_rule(one.made["rule"])
    one.cloud.network.create_security_group_rule(
        security_group_id=one.made["group"].id, direction="ingress", protocol="tcp"
    )


def take_subnet_apart(one: Bystander) -> None:
    one.cloud.network.update_subnet(one.made["subnet"], gateway_ip="10.77.0.99")


def publish_image(one: Bystander) -> None:
    one.cloud.image.update_image(one.made["image"], visibility="public")


def drop_flavor(one: Bystander) -> None:
    one.cloud.compute.delete_flavor(one.made["flavor"])


def cut_quota(one: Bystander) -> None:
    one.cloud.compute.update_quota_set(one.made["project"].id, cores=1)


def cut_network_quota(one: Bystander) -> None:
    one.cloud.network.update_quota(one.made["project"].id, ports=3)


def disable_compute(one: Bystander) -> None:
    (service,) = one.cloud.compute.services(host="compute2", binary="nova-compute")
    one.cloud.compute.disable_service(service)


PLANTS: dict[str, tuple[Callable[[Bystander], None], str]] = {
    "role_assignments_kept": (remove_role, "is gone"),
    "users_kept": (disable_user, "enabled was True and is False"),
    "ports_kept": (bind_port_elsewhere, "binding:host_id was '' and is 'nowhere'"),
    "security_group_rules_kept": (widen_rule, "was not there before"),
    "subnets_kept": (take_subnet_apart, "gateway_ip was '10.77.0.1' and is '10.77.0.99'"),
    "images_kept": (publish_image, "visibility was 'private' and is 'public'"),
    "flavors_kept": (drop_flavor, "is gone"),
    "compute_quotas_kept": (cut_quota, "limit was 20 and is 1"),
    "network_quotas_kept": (cut_network_quota, "is 3"),
    "compute_services_kept": (disable_compute, "status was 'enabled' and is 'disabled'"),
}


@pytest.fixture(scope="module")
def planted(lab: Lab, bystander: Bystander) -> Iterator[Outcomes]:
    """What a look finds when all of it has happened."""
    with quiet():
        for plant, _words in PLANTS.values():
            plant(bystander)
    yield look(lab, "after", __state_earlier="before")
    with quiet():
        (service,) = bystander.cloud.compute.services(host="compute2", binary="nova-compute")
        bystander.cloud.compute.enable_service(service)


@pytest.mark.parametrize("check", PLANTS)
def test_each_change_is_found(planted: Outcomes, check: str) -> None:
    """What happened to somebody else's thing fails, and the sentence says what."""
    words = PLANTS[check][1]
    failed = [one["message"] for one in planted if (one["check"], one["status"]) == (check, "fail")]

    assert any(words in message for message in failed), failed


def test_nothing_else_is_found(planted: Outcomes) -> None:
    """No other kind of thing is blamed. A network's hypervisor and a quota's use may follow from what was done."""
    follow = {"hypervisors_kept", "networks_kept"}
    checks = {one["check"] for one in planted if one["status"] not in ("pass", "skip")}

    assert checks - follow == set(PLANTS)


def test_what_is_allowed_passes(lab: Lab, bystander: Bystander, planted: Outcomes) -> None:
    """The same changes, declared, are no losses; one that is not declared still is."""
    allow = [{"kind": check.removesuffix("_kept")} for check in PLANTS if check != "flavors_kept"]
    follow = [{"kind": "hypervisors"}, {"kind": "networks"}]
    told = look(lab, "allowed", __state_earlier="before", __state_allow=[*allow, *follow])

    assert {check for check, _status, _message in not_good(told)} == {"flavors_kept"}


SQL = """
import subprocess, sys
argv = ["mariadb", "--no-defaults", f"--socket={sys.argv[1]}", "--user=root", "--batch", "--skip-column-names"]
done = subprocess.run(argv, input=sys.argv[2], capture_output=True, text=True)
assert done.returncode == 0, done.stderr
print(done.stdout, end="")
"""


def test_a_snapshot_brings_a_database_and_a_folder_back(lab: Lab) -> None:
    """What was changed, dropped and added since is as it was; sizes and checksums are in the records."""
    socket = f"{lab.root}/hosts/infra/var/mysql/mysql.sock"
    folder = lab.root / "hosts/infra/canary"

    def sql(text: str) -> str:
        return lab.ssh("infra", SQL, socket, shlex.quote(text))

    sql("CREATE OR REPLACE DATABASE canary CHARACTER SET utf8mb4; CREATE TABLE canary.a (x TEXT)")
    sql("INSERT INTO canary.a VALUES ('kept ü')")
    folder.mkdir(exist_ok=True)
    (folder / "a.conf").write_text("kept\n")
    given = {
        "upgrade_test_snapshot_databases": ["canary"],
        "upgrade_test_snapshot_paths": [{"host": "infra", "path": str(folder)}],
    }
    try:
        assert lab.play(PLAYBOOK, {"__state_snapshot": True, **given}).rc == 0
        sql("DROP TABLE canary.a; CREATE TABLE canary.b (y INT)")
        (folder / "a.conf").write_text("changed\n")
        (folder / "b.conf").touch()
        restored = lab.play("restore")

        assert restored.rc == 0
        assert sql("SHOW TABLES FROM canary; SELECT x FROM canary.a").split("\n") == ["a", "kept ü", ""]
        assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("a.conf", "kept\n")]
        taken = [one for one in records(lab.latest() / "outcomes.jsonl") if one["check"] == "snapshot_taken"]
        assert {one["subject"] for one in taken} == {"database canary", f"path {folder}"}
        assert all(one["evidence"]["size"] and len(one["evidence"]["sha256"]) == 64 for one in taken)

        (place,) = (lab.root / "snapshots").iterdir()
        dump = next(place.glob("database-canary*"))
        dump.write_bytes(dump.read_bytes()[:-8])
        sql("DROP TABLE canary.a")
        damaged = lab.play("restore")
        assert damaged.rc != 0
        assert "is not what was taken" in damaged.text
        assert sql("SHOW TABLES FROM canary") == ""
    finally:
        sql("DROP DATABASE canary")
        shutil.rmtree(folder)
        lab.play("cleanup", {"upgrade_test_cleanup_abandon": True}, timeout=600)
