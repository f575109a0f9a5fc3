# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab goes with its storage, and the machine is as it was."""

from __future__ import annotations

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._lab import wait_for
from ansible_collections.openstack.upgrade_test.tests.lab._machine import (
    Machine,
    inside,
    lab_namespaces,
    speaking_of,
)
from ansible_collections.openstack.upgrade_test.tests.lab_full._full import FullLab


def test_absent_leaves_nothing(lab: FullLab, before: Machine) -> None:
    """No process of Ceph or any other, no loop device, mount, interface or route is left; /etc is as it was."""
    if not lab.owned:
        pytest.skip(f"{lab.root} is somebody's own")
    namespaces = lab_namespaces(lab.root)
    assert len(namespaces) >= 8, "each host has namespaces of its own"
    played = lab.deploy("absent")

    assert played.rc == 0
    assert not lab.root.exists()
    assert inside(namespaces) == []
    # Ansible keeps its connections for half a minute.
    wait_for(lambda: speaking_of(f"{lab.root}/") == [], f"the end of all processes that have to do with {lab.root}", 45)
    assert before.difference(Machine.look()) == {}
