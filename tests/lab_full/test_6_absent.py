# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab goes with its storage, and the machine is as it was."""

from __future__ import annotations

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._machine import Machine, remove_all
from ansible_collections.openstack.upgrade_test.tests.lab_full._full import FullLab


def test_absent_leaves_nothing(lab: FullLab, before: Machine) -> None:
    """No process of Ceph or any other, no loop device, mount, interface or route is left; /etc is as it was."""
    if not lab.owned:
        pytest.skip(f"{lab.root} is somebody's own")
    remove_all(lab, before, namespaces=8)
