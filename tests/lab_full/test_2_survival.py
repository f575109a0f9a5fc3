# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resources of seven services: deep, quick, verified where they lie; each loss that is planted is found and named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible_collections.openstack.upgrade_test.tests.lab._admin import quiet
from ansible_collections.openstack.upgrade_test.tests.lab._resources import (
    Outcomes,
    Resources,
    failed,
    in_depth,
    message,
    passed,
)
from ansible_collections.openstack.upgrade_test.tests.lab_full._full import STORAGE, FullLab

DEEP = {"keystone", "glance", "neutron", "nova", "cinder", "swift", "heat"}
OFFSET, SECTOR = 1024 * 1024, 512
EDIT = """
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(int(sys.argv[2]))
    before = file.read(len(sys.argv[3]) // 2)
    file.seek(int(sys.argv[2]))
    file.write(bytes.fromhex(sys.argv[3]))
print(before.hex())
"""
EDIT_VOLUME = """
import sys
import rados, rbd
with rados.Rados(conffile="/etc/ceph/ceph.conf", rados_id="cinder") as cluster, cluster.open_ioctx("volumes") as pool:
    with rbd.Image(pool, f"volume-{sys.argv[1]}") as image:
        before = image.read(int(sys.argv[2]), len(sys.argv[3]) // 2)
        image.write(bytes.fromhex(sys.argv[3]), int(sys.argv[2]))
        image.flush()
print(before.hex())
"""


def test_untouched_resources_pass(second_look: Outcomes) -> None:
    """What nobody touched is as it was, where it was, and nothing went unseen."""
    assert failed(second_look) == set(), second_look


def test_each_service_is_looked_at_in_depth(second_look: Outcomes) -> None:
    """Eight checks or more of each service with the API; without, of each that has data of its own."""
    online, offline = in_depth(second_look)

    assert online >= DEEP
    assert offline >= DEEP - {"heat"}


def test_it_does_not_take_long(resources: Resources, second_look: Outcomes) -> None:
    """Three minutes to make, one to compare."""
    assert resources.seconds("present") <= 180
    assert resources.seconds("verified") <= 60


def test_without_any_api(resources: Resources) -> None:
    """With every API stopped, all that can be seen where it lies still is as it was."""
    outcomes = resources.without_any_api()

    assert failed(outcomes) == set(), outcomes
    assert set(passed(outcomes)) >= DEEP - {"heat"}


@contextmanager
def overwritten(lab: FullLab, host: str, script: str, *where: str, content: bytes) -> Iterator[None]:
    """Some bytes on a host are others for a while."""
    before = lab.ssh(host, script, *where, content.hex()).strip()
    try:
        yield
    finally:
        lab.ssh(host, script, *where, before)


def path_on(lab: FullLab, host: str, id_: str) -> str:
    """Where a host keeps an object, as the first look found it."""
    evidence = json.loads((lab.latest() / "evidence/hosts.json").read_text(encoding="utf-8"))
    return str(evidence[host]["services"]["swift"]["objects"][id_]["path"])


def test_corrupted_copy_of_an_object(lab: FullLab, resources: Resources) -> None:
    """One copy of three that is not what was stored is named with its host; whoever asks Swift may never notice."""
    stored = resources.facts("swift", "object")
    file = path_on(lab, STORAGE[1], stored["id"])
    with overwritten(lab, STORAGE[1], EDIT, file, "1000", content=b"corrupted"):
        _played, outcomes = resources.bring("verified_noapi")

    assert failed(outcomes) == {("swift", "noapi_object_copies")}
    assert f"on {STORAGE[1]} sha256 was" in message(outcomes, "noapi_object_copies")


def test_overwritten_block_of_a_volume(lab: FullLab, resources: Resources) -> None:
    """A block that somebody has overwritten in Ceph is named by the volume that it belongs to."""
    volume = resources.facts("cinder", "volume-ceph")
    with overwritten(lab, STORAGE[0], EDIT_VOLUME, volume["id"], "4096", content=b"overwritten"):
        _played, outcomes = resources.bring("verified_noapi")

    assert failed(outcomes) == {("cinder", "noapi_volume_ceph_content")}
    assert volume["name"] in message(outcomes, "noapi_volume_ceph_content")


def test_lost_number_on_a_volume(lab: FullLab, resources: Resources) -> None:
    """A write that was acknowledged and is not on the disk is named by its number."""
    volume = resources.facts("cinder", "volume-ceph")
    third = str(OFFSET + 2 * SECTOR)
    with overwritten(lab, STORAGE[0], EDIT_VOLUME, volume["id"], third, content=bytes(SECTOR)):
        _played, outcomes = resources.bring("verified_noapi")

    assert failed(outcomes) == {("cinder", "noapi_volume_ceph_numbers")}
    assert "3 missing" in message(outcomes, "noapi_volume_ceph_numbers")


@contextmanager
def sql(lab: FullLab, database: str, plant: str, undo: str) -> Iterator[None]:
    """A database says something else for a while."""

    def execute(statement: str) -> None:
        client = f"mariadb --defaults-file={lab.root}/hosts/control1/etc/mariadb.cnf {database}"
        lab.sh("control1", f'{client} -e "{statement}"')

    execute(plant)
    try:
        yield
    finally:
        execute(undo)


def test_quota_usage_out_of_step(lab: FullLab, resources: Resources) -> None:
    """A usage that counts one volume more than there is, is named with both numbers."""
    project = lab.admin().cloud.identity.find_project(f"upgrade-test-{lab.latest().name}").id
    where = f"where resource = 'volumes' and project_id = '{project}'"
    change = "update quota_usages set in_use = in_use {} 1 " + where
    with sql(lab, "cinder", change.format("+"), change.format("-")):
        _played, outcomes = resources.bring("verified")

    assert failed(outcomes) == {("cinder", "usage_in_step")}
    assert "volumes" in message([one for one in outcomes if one["service"] == "cinder"], "usage_in_step")


def test_use_leaves_things_as_they_were(resources: Resources) -> None:
    """What users do after an upgrade works with the old resources, which then still are what they were."""
    used = resources.use()

    assert {one["service"] for one in used if one["status"] == "pass"} >= DEEP


def test_stack_that_never_ends(lab: FullLab, resources: Resources) -> None:
    """A stack that stays in progress is named, and is not taken for one that will be done soon."""
    stack = resources.facts("heat", "old-stack")["id"].rpartition("/")[2]
    change = f"update stack set status = '{{}}' where id = '{stack}'"
    with sql(lab, "heat", change.format("IN_PROGRESS"), change.format("COMPLETE")):
        _played, outcomes = resources.bring("verified")

    assert failed(outcomes) == {("heat", "no_stack_in_progress"), ("heat", "old_stack_unchanged")}
    assert "old-stack" in message(outcomes, "no_stack_in_progress")


def test_resource_replaced_behind_heats_back(lab: FullLab, resources: Resources) -> None:
    """What a stack calls its own and is another one now is named, although the stack calls itself complete."""
    stacked = next(one for one in resources.facts("heat", "stack")["resources"] if one["name"] == "port")
    with quiet():
        network = lab.admin().cloud.network
        port: Any = network.get_port(stacked["physical_id"])
        network.delete_port(port)
        other = network.create_port(name=port.name, network_id=port.network_id, project_id=port.project_id)
    _played, outcomes = resources.bring("verified")
    with quiet():
        network.delete_port(other)  # or the stack could not remove its network

    assert failed(outcomes) == {("heat", "resources_exist")}
    assert f"port (OS::Neutron::Port {stacked['physical_id']})" in message(outcomes, "resources_exist")


def test_removed_twice(lab: FullLab, resources: Resources) -> None:
    """All of it goes, within two minutes; a second removal finds nothing to do."""
    took = resources.remove_twice()

    assert took <= 120
    with quiet():
        cloud = lab.admin().cloud
        volumes = [one.name for one in cloud.block_storage.volumes(all_projects=True) if "upgrade-test-" in one.name]
    assert volumes == []
    resources.close()
