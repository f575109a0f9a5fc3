# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab comes up, and a second look at it finds nothing to do."""

from __future__ import annotations

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._lab import NEW, OLD, SERVICES, Lab
from ansible_collections.openstack.upgrade_test.tests.lab._machine import Machine, daemons, lab_namespaces

HOSTS = {"localhost", "infra", "control1", "control2", "compute1", "compute2"}


def test_deploy(lab: Lab, before: Machine) -> None:
    """``present`` makes a lab whose hosts are namespaces; the machine itself serves nothing more than before."""
    if not lab.owned:
        pytest.skip(f"{lab.root} is up already")
    served = daemons()
    played = lab.deploy(upgrade_test_lab_release=OLD, upgrade_test_lab_prepare_releases=[NEW])

    assert played.rc == 0
    assert set(played.changed) == HOSTS
    assert lab_namespaces(lab.root) != frozenset()
    assert daemons() <= served


def test_present_again_changes_nothing(lab: Lab) -> None:
    """A second ``present`` reports no change on any host."""
    played = lab.deploy_again()

    assert played.rc == 0
    assert played.changed == dict.fromkeys(HOSTS, 0)


def test_discover_finds_every_service(lab: Lab) -> None:
    """``discover`` names all services, and would watch each of them at three places."""
    played = lab.play("discover")

    assert played.rc == 0
    for service in SERVICES:
        for place in ("public", "control1", "control2"):
            assert f"{service} {place}: http" in played.text, (service, place)
