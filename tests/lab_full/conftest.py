# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab of the profile full for all tests of this folder, which tell one story in the order of their files' names.

As in ``tests/lab``, a lab of its own below a root of its own. Environment:

``UPGRADE_TEST_LAB_FULL_ROOT``
    A lab of this profile that is up already and shall be used instead. It is upgraded, and never removed.
``UPGRADE_TEST_LAB_FULL_TEST_ROOT``, ``UPGRADE_TEST_LAB_FULL_TEST_NETWORK``
    Where the lab of these tests is deployed, and its network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.openstack.upgrade_test.tests.lab._lab import NEW, OLD, Lab
from ansible_collections.openstack.upgrade_test.tests.lab._machine import Machine
from ansible_collections.openstack.upgrade_test.tests.lab.conftest import (
    LAB,
    prepared,
    pytest_configure,
    pytest_runtest_makereport,
    pytest_terminal_summary,
    resources,
    second_look,
    upgradable,
    upgraded,
)
from ansible_collections.openstack.upgrade_test.tests.lab_full._full import NEXT, FullLab

__all__ = [
    "pytest_configure",
    "pytest_runtest_makereport",
    "pytest_terminal_summary",
    "resources",
    "second_look",
    "upgradable",
    "upgraded",
]


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullLab]:
    """A lab whose hosts do not run yet, unless it is somebody's own."""
    assert os.geteuid() == 0, "The lab makes namespaces and network interfaces, so these tests have to be run as root."
    named = os.environ.get("UPGRADE_TEST_LAB_FULL_ROOT")
    root = named or os.environ.get("UPGRADE_TEST_LAB_FULL_TEST_ROOT", "/var/lib/upgrade-test-lab-full-of-tests")
    network = os.environ.get("UPGRADE_TEST_LAB_FULL_TEST_NETWORK", "172.24.7.0/24")
    if named:
        inventory = yaml.safe_load(Path(named, "inventory.yml").read_text(encoding="utf-8"))
        network = inventory["all"]["vars"]["upgrade_test_lab_network"]
    place = tmp_path_factory.mktemp("lab-full")
    made = FullLab(root=Path(root), network=network, owned=not named, workplace=place, profile="full")
    if made.owned and made.root.exists():
        assert made.deploy("absent").rc == 0, f"What an earlier session left in {root} could not be removed."
    request.config.stash[LAB] = made
    yield made
    if made.owned and made.root.exists():
        made.deploy("absent")


@pytest.fixture(scope="session")
def before(lab: Lab) -> Machine:
    """The machine when packages and releases were installed, and no host of the lab had been started."""
    return prepared(lab, OLD, NEW, NEXT)
