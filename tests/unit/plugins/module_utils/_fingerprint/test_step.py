# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._model import (
    Fingerprint,
    Part,
    Thing,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._step import in_step
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._tell import told_of_steps
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status

Cloud = dict[str, dict[str, dict[str, Any]]]
GOOD: Cloud = {
    "servers": {
        "s1": {
            "status": "ACTIVE",
            "OS-EXT-SRV-ATTR:host": "h1",
            "os-extended-volumes:volumes_attached": [{"id": "v1"}],
        },
        "s2": {"status": "SHELVED_OFFLOADED", "OS-EXT-SRV-ATTR:host": None, "os-extended-volumes:volumes_attached": []},
    },
    "allocations": {"provider/s1": {"value": {"resources": {"VCPU": 1}}}},
    "ports": {"p1": {"device_id": "s1", "binding:host_id": "h1", "binding:vif_type": "ovs"}},
    "volumes": {
        "v1": {"size": 2, "os-vol-tenant-attr:tenant_id": "t", "attachments": [{"server_id": "s1"}]},
        "v2": {"size": 1, "os-vol-tenant-attr:tenant_id": "t", "attachments": []},
    },
    "snapshots": {"n1": {"size": 2, "os-extended-snapshot-attributes:project_id": "t"}},
    "volume_quotas": {
        "t/volumes": {"limit": 10, "used": 2},
        "t/gigabytes": {"limit": 10, "used": 5},
        "t/snapshots": {"limit": 10, "used": 1},
        "t/groups": {"limit": 10, "used": 0},
    },
}


def seen(cloud: Cloud, **parts: Part) -> Fingerprint:
    known = {
        kind: Part(
            service="x",
            one=kind,
            things={id_: Thing(name=f"name of {id_}", fields=fields) for id_, fields in things.items()},
        )
        for kind, things in cloud.items()
    }
    return Fingerprint(taken=1.0, parts={**known, **parts})


def test_a_cloud_that_agrees_with_itself() -> None:
    """Nothing is wrong, and each check says how many things it looked at."""
    found = in_step(seen(GOOD))

    assert [(one.step.check, one.count, one.faults) for one in found] == [
        ("servers_allocated", 2, ()),
        ("ports_bound", 1, ()),
        ("attachments_agree", 2, ()),
        ("volume_quotas_counted", 4, ()),
    ]
    assert {outcome.status for outcome in told_of_steps(found, "now")} == {Status.PASS}


def lose_allocation(cloud: Cloud) -> None:
    cloud["allocations"] = {}


def lose_binding(cloud: Cloud) -> None:
    cloud["ports"]["p1"]["binding:vif_type"] = "unbound"


def fail_binding(cloud: Cloud) -> None:
    cloud["ports"]["p1"]["binding:vif_type"] = "binding_failed"


def bind_elsewhere(cloud: Cloud) -> None:
    cloud["ports"]["p1"]["binding:host_id"] = "h2"


def forget_in_cinder(cloud: Cloud) -> None:
    cloud["volumes"]["v1"]["attachments"] = []


def forget_in_nova(cloud: Cloud) -> None:
    cloud["servers"]["s1"]["os-extended-volumes:volumes_attached"] = []


def count_a_volume_more(cloud: Cloud) -> None:
    cloud["volume_quotas"]["t/volumes"]["used"] = 3


def count_a_gigabyte_less(cloud: Cloud) -> None:
    cloud["volume_quotas"]["t/gigabytes"]["used"] = 4


@pytest.mark.parametrize(
    ("plant", "check", "words"),
    [
        (lose_allocation, "servers_allocated", "placement has no allocation"),
        (lose_binding, "ports_bound", "is unbound on h1, and the server is on h1"),
        (fail_binding, "ports_bound", "is binding_failed on h1"),
        (bind_elsewhere, "ports_bound", "is ovs on h2, and the server is on h1"),
        (forget_in_cinder, "attachments_agree", "as nova says, and is not as cinder says"),
        (forget_in_nova, "attachments_agree", "as cinder says, and is not as nova says"),
        (count_a_volume_more, "volume_quotas_counted", "counted 3 volumes against the quota"),
        (count_a_gigabyte_less, "volume_quotas_counted", "counted 4 gigabytes against the quota"),
    ],
)
def test_each_disagreement_is_found(plant: Callable[[Cloud], None], check: str, words: str) -> None:
    """One planted fault is found by one check, in a sentence that names the thing."""
    cloud = deepcopy(GOOD)
    plant(cloud)
    bad = [one for one in told_of_steps(in_step(seen(cloud)), "after") if one.status is Status.FAIL]

    assert [one.check for one in bad] == [check]
    assert words in bad[0].message


def test_snapshots_need_not_count_as_gigabytes() -> None:
    """Cinder can be told to leave snapshots out of the gigabytes; then they are right without them."""
    cloud = deepcopy(GOOD)
    cloud["volume_quotas"]["t/gigabytes"]["used"] = 3

    assert all(not one.faults for one in in_step(seen(cloud)))


def test_what_was_not_seen_is_unknown() -> None:
    """Nothing is concluded from half of what is needed."""
    found = in_step(seen(GOOD, volumes=Part(service="cinder", one="volume", trouble="HTTP 500")))
    told = {one.check: one.status for one in told_of_steps(found, "after")}

    assert told["attachments_agree"] is told["volume_quotas_counted"] is Status.UNKNOWN
    assert told["servers_allocated"] is Status.PASS


def test_a_cloud_without_cinder_is_not_asked_for_volumes() -> None:
    """What needs a service that the cloud does not have is not told at all."""
    cloud = {kind: things for kind, things in GOOD.items() if not kind.startswith(("volume", "snapshot"))}

    assert [one.step.check for one in in_step(seen(cloud))] == ["servers_allocated", "ports_bound"]
