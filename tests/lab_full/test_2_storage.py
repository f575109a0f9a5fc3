# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes are real disks of a real server, objects lie on three hosts; both outlive the services that manage them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree import ElementTree

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._lab import wait_for
from ansible_collections.openstack.upgrade_test.tests.lab_full._full import (
    CONTROL,
    HOSTS,
    KINDS,
    STORAGE,
    FullLab,
    User,
)

PATTERN = b"\x5a" * 4096


@dataclass
class Owned:
    """What the user has."""

    user: User
    server: str = ""
    volumes: dict[str, str] = field(default_factory=dict)
    content: bytes = b""


@pytest.fixture(scope="module")
def owned(lab: FullLab) -> Iterator[Owned]:
    """A server with a volume of each backend, and an object."""
    found = Owned(user=lab.user(), content=os.urandom(200_000))
    found.server = found.user.make_server("storage-test")
    for kind in KINDS:
        found.volumes[kind] = found.user.make_volume(f"storage-test-{kind}", kind)
        found.user.attach(found.server, found.volumes[kind])
    found.user.put("storage-test", "object", found.content)
    yield found
    for volume in found.volumes.values():
        found.user.detach(found.server, volume)
    found.user.delete(found.server, *found.volumes.values())


def disk(lab: FullLab, volume: str) -> tuple[str, str]:
    """What the only guest's disk is made of, and how QEMU names it."""
    found = ElementTree.fromstring(lab.sh("compute1", "virsh dumpxml $(virsh list --name)"))
    for device in found.iter("disk"):
        source = {} if (element := device.find("source")) is None else element.attrib
        place = source.get("name", source.get("file", ""))
        if f"volume-{volume}" in place and (alias := device.find("alias")) is not None:
            return place, alias.attrib["name"]
    raise AssertionError(f"the guest has no disk of volume {volume}")


@pytest.mark.parametrize("kind", KINDS)
def test_volume_is_a_disk_of_the_guest(lab: FullLab, owned: Owned, kind: str) -> None:
    """What the guest's disk takes is found where the backend keeps the volume: in Ceph, and in the shared folder."""
    place, alias = disk(lab, owned.volumes[kind])
    for command in ("write -P 0x5a 0 4096", "flush"):
        ask = f'qemu-io -d /machine/peripheral/{alias}/virtio-backend "{command}"'
        lab.sh("compute1", f"virsh qemu-monitor-command $(virsh list --name) --hmp '{ask}'")

    assert place.startswith("volumes/") == (kind == "ceph")
    assert lab.volume_bytes(kind, owned.volumes[kind], len(PATTERN)) == PATTERN


def test_object_lies_on_every_storage_host(lab: FullLab, owned: Owned) -> None:
    """Each of the three holds a copy, found without asking Swift."""
    assert owned.user.get("storage-test", "object") == owned.content
    assert lab.object_copies(owned.content) == len(STORAGE)


def test_apis_stopped(lab: FullLab, owned: Owned) -> None:
    """Nothing of OpenStack is left on control and storage hosts; guest, disks and objects are where they were."""
    (guest,) = [line for line in lab.commands("compute1") if line.startswith("/usr/bin/qemu-system")]
    played = lab.deploy("apis_stopped", upgrade_test_lab_release=lab.release)

    assert played.rc == 0
    for host in (*CONTROL, *STORAGE):
        assert [line for line in lab.commands(host) if "/releases/" in line] == [], host
    assert [line for line in lab.commands("compute1") if line.startswith("/usr/bin/qemu-system")] == [guest]
    for kind in KINDS:
        assert lab.volume_bytes(kind, owned.volumes[kind], len(PATTERN)) == PATTERN
    assert lab.object_copies(owned.content) == len(STORAGE)


def test_present_starts_them_again(lab: FullLab, owned: Owned) -> None:
    """What was stopped serves again, and only that was touched."""
    played = lab.deploy(upgrade_test_lab_release=lab.release)

    assert played.rc == 0
    assert {host for host, count in played.changed.items() if count} == {*CONTROL, *STORAGE}
    assert set(played.changed) == HOSTS
    assert owned.user.get("storage-test", "object") == owned.content
    checked = lab.validate(lab.release)
    assert checked.rc == 0, checked.messages


def test_copies_are_made_again(lab: FullLab, owned: Owned) -> None:
    """A copy that one host has lost comes back from the others by itself."""
    folder = f"{lab.root}/hosts/storage3/var/swift/d/objects"
    # Swift may begin to make it again at once.
    left = lab.sh("storage3", f"rm -r {folder}; find {folder}/.. -path '*/objects/*' -name '*.data' | wc -l")
    assert int(left) == 0

    wait_for(lambda: lab.object_copies(owned.content) == len(STORAGE), "the return of the third copy", 150)
