# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab for all tests of this folder, which tell one story in the order of their files' names.

Nothing is asked of the machine but root: the lab is deployed below a root of its own and removed at the end, so a lab
of ``make demo`` stays as it is. Environment:

``UPGRADE_TEST_LAB_ROOT``
    A lab that is up already and shall be used instead. It is upgraded, and never removed.
``UPGRADE_TEST_LAB_TEST_ROOT``, ``UPGRADE_TEST_LAB_TEST_NETWORK``
    Where the lab of these tests is deployed, and its network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.openstack.upgrade_test.tests.lab._lab import NEW, OLD, Lab
from ansible_collections.openstack.upgrade_test.tests.lab._machine import Machine, daemons
from ansible_collections.openstack.upgrade_test.tests.lab._resources import resources, second_look

__all__ = ["resources", "second_look"]

LAB = pytest.StashKey[Lab]()
SHOWN = 40  # lines of a playbook's output that a failure shows, each shortened; the file has the rest
WIDTH = 400
DULL = ("ok: ", "skipping: ", "included: ")


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose hosts do not run yet, unless it is somebody's own."""
    assert os.geteuid() == 0, "The lab makes namespaces and network interfaces, so these tests have to be run as root."
    place = tmp_path_factory.mktemp("lab")
    named = os.environ.get("UPGRADE_TEST_LAB_ROOT")
    made = _somebodys(Path(named), place) if named else _own(place)
    request.config.stash[LAB] = made
    yield made
    if made.owned and made.root.exists():
        made.deploy("absent")


def _somebodys(root: Path, place: Path) -> Lab:
    inventory = yaml.safe_load((root / "inventory.yml").read_text(encoding="utf-8"))
    told = inventory["all"]["vars"]
    network, profile = told["upgrade_test_lab_network"], told["upgrade_test_lab_profile"]
    return Lab(root=root, network=network, owned=False, workplace=place, profile=profile)


def _own(place: Path) -> Lab:
    root = Path(os.environ.get("UPGRADE_TEST_LAB_TEST_ROOT", "/var/lib/upgrade-test-lab-of-tests"))
    network = os.environ.get("UPGRADE_TEST_LAB_TEST_NETWORK", "172.24.6.0/24")
    made = Lab(root=root, network=network, owned=True, workplace=place)
    if root.exists():
        assert made.deploy("absent").rc == 0, f"What an earlier session left in {root} could not be removed."
    return made


@pytest.fixture(scope="session")
def before(lab: Lab) -> Machine:
    """The machine when packages and releases were installed, and no host of the lab had been started."""
    return prepared(lab, OLD, NEW)


def prepared(lab: Lab, *releases: str) -> Machine:
    """Install packages and releases of a lab of these tests' own; what the machine is like then."""
    if lab.owned:
        served = daemons()
        assert lab.prepare_machine(*releases).rc == 0
        assert daemons() <= served, "a package has started its service"
    return Machine.look()


@pytest.fixture(scope="session")
def upgradable(lab: Lab) -> Lab:
    """The lab before its upgrade."""
    if lab.release != OLD:
        pytest.skip(f"{lab.root} is at {lab.release or 'no release'}, this needs {OLD}")
    return lab


@pytest.fixture(scope="session")
def upgraded(lab: Lab) -> Lab:
    """The lab after its upgrade."""
    if lab.release != NEW:
        pytest.skip(f"{lab.root} is at {lab.release or 'no release'}, this needs {NEW}")
    return lab


def pytest_configure(config: pytest.Config) -> None:
    """Name each test when it begins: some take minutes."""
    config.option.verbose = max(config.option.verbose, 1)
    for kind in ("DeprecationWarning", "PendingDeprecationWarning"):  # openstacksdk's, which are not ours to correct
        config.addinivalue_line("filterwarnings", f"ignore::{kind}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the last playbooks' output with a failure."""
    report = yield
    lab = item.config.stash.get(LAB, None)
    if report.failed and lab:
        for played in lab.played[-2:]:
            if played.log not in lab.shown:
                lab.shown.add(played.log)
                title = f"playbook {played.name}: exit code {played.rc}, {played.log}"
                lines = [line for line in played.text.splitlines() if line and not line.startswith(DULL)]
                report.sections.append((title, "\n".join(line[:WIDTH] for line in lines[-SHOWN:])))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how long each playbook took."""
    lab = config.stash.get(LAB, None)
    if lab:
        terminalreporter.section("playbooks")
        for played in lab.played:
            terminalreporter.write_line(f"{played.seconds:7.1f} s  exit code {played.rc}  {played.log}")
