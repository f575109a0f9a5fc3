# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab goes, and the machine is as it was."""

from __future__ import annotations

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._lab import Lab
from ansible_collections.openstack.upgrade_test.tests.lab._machine import Machine, remove_all


def test_absent_leaves_nothing(lab: Lab, before: Machine) -> None:
    """No process, namespace, interface, address, route or mount is left, and /etc and /run are as they were."""
    if not lab.owned:
        pytest.skip(f"{lab.root} is somebody's own")
    remove_all(lab, before, namespaces=5)


def test_absent_again_changes_nothing(lab: Lab) -> None:
    """What is not there need not be removed."""
    if not lab.owned:
        pytest.skip(f"{lab.root} is somebody's own")
    played = lab.deploy("absent")

    assert played.rc == 0
    assert played.changed == {"localhost": 0}
