# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab goes, and the machine is as it was."""

from __future__ import annotations

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._lab import Lab, wait_for
from ansible_collections.openstack.upgrade_test.tests.lab._machine import Machine, inside, lab_namespaces, speaking_of


def test_absent_leaves_nothing(lab: Lab, before: Machine) -> None:
    """No process, namespace, interface, address, route or mount is left, and /etc and /run are as they were."""
    if not lab.owned:
        pytest.skip(f"{lab.root} is somebody's own")
    namespaces = lab_namespaces(lab.root)
    assert len(namespaces) >= 5, "each host has namespaces of its own"
    played = lab.deploy("absent")

    assert played.rc == 0
    assert not lab.root.exists()
    assert inside(namespaces) == []
    # Ansible keeps its connections for half a minute.
    wait_for(lambda: speaking_of(f"{lab.root}/") == [], f"the end of all processes that have to do with {lab.root}", 45)
    assert before.difference(Machine.look()) == {}


def test_absent_again_changes_nothing(lab: Lab) -> None:
    """What is not there need not be removed."""
    if not lab.owned:
        pytest.skip(f"{lab.root} is somebody's own")
    played = lab.deploy("absent")

    assert played.rc == 0
    assert played.changed == {"localhost": 0}
