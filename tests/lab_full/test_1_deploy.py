# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab comes up with all services, and a second look at it finds nothing to do."""

from __future__ import annotations

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._lab import ALL_SERVICES, NEW, OLD
from ansible_collections.openstack.upgrade_test.tests.lab._machine import Machine, daemons
from ansible_collections.openstack.upgrade_test.tests.lab_full._full import HOSTS, NEXT, FullLab


def test_deploy(lab: FullLab, before: Machine) -> None:
    """``present`` makes a lab with three more hosts; the machine itself serves nothing more than before."""
    if not lab.owned:
        pytest.skip(f"{lab.root} is up already")
    served = daemons()
    played = lab.deploy(upgrade_test_lab_release=OLD, upgrade_test_lab_prepare_releases=[NEW, NEXT])

    assert played.rc == 0
    assert set(played.changed) == HOSTS
    assert daemons() <= served


def test_present_again_changes_nothing(lab: FullLab) -> None:
    """A second ``present`` reports no change on any host."""
    played = lab.deploy_again()

    assert played.rc == 0
    assert played.changed == dict.fromkeys(HOSTS, 0)


def test_a_lab_keeps_its_profile(lab: FullLab) -> None:
    """A lab of the profile full is not taken for one of the profile core; nothing is touched."""
    played = lab.deploy(upgrade_test_lab_release=lab.release, upgrade_test_lab_profile="core")

    assert played.rc != 0
    assert len(played.messages) == 1
    assert "is of the profile full, not core" in played.messages[0]
    assert set(played.changed.values()) == {0}


def test_discover_finds_every_service(lab: FullLab) -> None:
    """``discover`` names all services, and would watch each of them at three places."""
    played = lab.play("discover")

    assert played.rc == 0
    for service in ALL_SERVICES:
        for place in ("public", "control1", "control2"):
            assert f"{service} {place}: http" in played.text, (service, place)
