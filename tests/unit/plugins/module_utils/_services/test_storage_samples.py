# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the samples of cinder, swift and heat conclude from what hosts and APIs show."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import in_step
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._journal import Item
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._look import Look
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._offline import Offline
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._witness import OFFSET, SECTOR
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.cinder import (
    content_facts,
    judge_written,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.glance import SIZE
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.heat import by_name, resource_facts
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.swift import SERVICE as SWIFT
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.swift import hashed

OBJECT = "container/object"
CONTENT = b"what was stored"


def records(*numbers: int) -> bytes:
    """A volume with these numbers behind its content."""
    written = b"".join(f"{number} boot".encode().ljust(SECTOR) for number in numbers)
    return b"c" * SIZE + bytes(OFFSET - SIZE) + written + bytes(SECTOR)


def held(*numbers: int) -> Mapping[str, Any]:
    """What a host shows of such a volume."""
    return {"storage1": content_facts(records(*numbers))}


def test_the_content_of_a_volume_is_told_from_what_is_written_behind_it() -> None:
    """The digest is of the content alone; the numbers are short, whatever they are many."""
    facts = content_facts(records(*range(1, 500), 501))

    assert facts["sha256"] == hashlib.sha256(b"c" * SIZE).hexdigest()
    assert facts["numbers"] == [[1, 499], [501, 501]]


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (held(1, 2), held(1, 2, 3), Status.PASS),
        ({}, held(1, 2, 3), Status.PASS),
        (held(1, 2, 3), held(1, 2), Status.FAIL),
        (held(1, 2), held(1, 3), Status.FAIL),
        (held(1, 2), held(1, 2, 2, 3), Status.FAIL),
        (held(1, 2), held(), Status.FAIL),
        ({}, held(), Status.UNKNOWN),
        (held(1, 2), {}, Status.UNKNOWN),
    ],
)
def test_no_number_on_a_volume_is_lost(before: Mapping[str, Any], now: Mapping[str, Any], expected: Status) -> None:
    """What was there at the first look is there, once and in order, and all after it; what nobody shows is unknown."""
    assert judge_written("volume", before, now).status is expected


def test_quota_usage_out_of_step_names_both_numbers() -> None:
    """A usage that counts what is not there is wrong, and so is one that does not count what is."""
    assert in_step("cinder", {"volumes": 3, "GiB": 3}, {"volumes": 3, "GiB": 3}).status is Status.PASS
    found = in_step("cinder", {"volumes": 4, "GiB": 3}, {"volumes": 3, "GiB": 3})

    assert found.status is Status.FAIL
    assert "volumes: 3 there, 4 counted" in found.message
    assert "GiB" not in found.message


def test_a_resource_that_was_replaced_is_found_whatever_its_order() -> None:
    """The order of the answer means nothing; another real id is another resource, in a nested stack too."""
    one = {"resource_name": "0", "resource_type": "T", "physical_resource_id": "a", "parent_resource": "group"}
    two = {"resource_name": "random", "resource_type": "T", "physical_resource_id": "b"}
    before = by_name(resource_facts([one, two]))

    assert by_name(resource_facts([two, one])) == before
    assert by_name(resource_facts([two, {**one, "physical_resource_id": "c"}])) != before


def test_swift_keeps_an_object_by_the_hash_of_its_salted_path() -> None:
    """As ``swift-get-nodes`` computes it."""
    expected = hashlib.md5(b"pre/AUTH_p/c/osuf", usedforsecurity=False).hexdigest()

    assert hashed("/AUTH_p/c/o", "pre", "suf") == expected


class Node:
    """A storage host of Swift with one copy of one object."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        facts = {
            "account": "AUTH_p",
            "plain": True,
            "sha256": hashlib.sha256(CONTENT).hexdigest(),
            "size": len(CONTENT),
        }
        self.item = Item(service="swift", type="object", name="upgrade-test-r-object", id=OBJECT, facts=facts)
        (folder / "etc").mkdir(parents=True)
        (folder / "etc/swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = salt%\n")
        (folder / "etc/object.ring.gz").write_text("ring")
        name = hashed(f"/AUTH_p/{OBJECT}", "", "salt%")
        self.file = folder / f"node/d/objects/17/{name[-3:]}/{name}/1700000000.00000.data"
        self.file.parent.mkdir(parents=True)
        self.file.write_bytes(CONTENT)

    def look(self) -> dict[str, Any]:
        paths = {"swift_configurations": [f"{self.folder}/etc"], "swift_devices": [f"{self.folder}/node/*"]}
        assert SWIFT.look
        return {"services": {"swift": SWIFT.look(Look(sought=[self.item], paths=paths))}}


def verified(before: Mapping[str, Any], nodes: Mapping[str, Node]) -> dict[str, Status]:
    """What is concluded from the nodes as they are now."""
    items = [next(iter(nodes.values())).item]
    now = {name: node.look() for name, node in nodes.items()}
    case = Offline(service=SWIFT, items=items, before=before, now=now, prefix="upgrade-test-r-")
    assert SWIFT.offline
    SWIFT.offline(case)
    return {outcome.check: outcome.status for outcome in case.outcomes}


def test_every_copy_of_an_object_is_looked_at(tmp_path: Path) -> None:
    """One copy that is corrupted, lost, or in quarantine, and one ring that differs, are each found."""
    nodes = {name: Node(tmp_path / name) for name in ("one", "two", "three")}
    before = {name: node.look() for name, node in nodes.items()}
    good = verified(before, nodes)
    nodes["two"].file.write_bytes(b"what was stared")
    corrupted = verified(before, nodes)
    nodes["two"].file.unlink()
    lost = verified(before, nodes)
    (nodes["two"].folder / "node/d/quarantined/objects/x").mkdir(parents=True)
    (nodes["three"].folder / "etc/object.ring.gz").write_text("another ring")
    worse = verified(before, nodes)

    assert set(good.values()) == {Status.PASS}
    assert [check for check, status in corrupted.items() if status is Status.FAIL] == ["noapi_object_copies"]
    assert [check for check, status in lost.items() if status is Status.FAIL] == ["noapi_object_place"]
    assert {check for check, status in worse.items() if status is Status.FAIL} == {
        "noapi_object_place",
        "noapi_object_ring_equal",
        "noapi_nothing_quarantined",
    }
