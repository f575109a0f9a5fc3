# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is discovered of the lab, the plan that it implies, and expectations over it."""

from __future__ import annotations

import re
from operator import itemgetter

import pytest
import yaml
from ansible_collections.openstack.upgrade_test.tests.lab._lab import SERVICES, Lab, Played

DEAD = {"name": "no agent is alive", "service": "neutron", "query": "agents[?is_alive]"}
ALIVE = {"name": "all agents are alive", "service": "neutron", "query": "agents[?!is_alive]"}
HOSTS = {"name": "somebody looked at the processes", "service": "nova", "query": "processes", "must_be": "filled"}


def plan(played: Played) -> str:
    """The plan that was printed, as one line."""
    return " ".join(played.text.replace('"', " ").replace(",\n", " ").split())


@pytest.fixture(scope="module")
def discovered(lab: Lab) -> Played:
    """The playbook ``discover``, as an operator runs it with the lab's inventory."""
    return lab.play("discover")


def test_the_lab_is_recognised(discovered: Played) -> None:
    """Its services, which tool has deployed it, and what its load balancer serves."""
    told = plan(discovered)

    assert discovered.rc == 0
    assert "deployed by lab (" in told
    assert [name for name in SERVICES if f"{name} (2 servers)" not in told] == []
    assert "does not answer from here" not in told


def test_the_plan_says_what_can_be_decided(discovered: Played) -> None:
    """With its inventory all is given but the release to upgrade to; nothing was made and no run was opened."""
    told = plan(discovered)

    assert "upgrade_test_to_release (U7)" in told
    assert "upgrade_test_hosts (" not in told
    assert discovered.changed == dict.fromkeys(discovered.changed, 0)


def test_with_the_release_the_upgrade_can_be_decided(lab: Lab) -> None:
    """What was missing is named, so that it can be given."""
    told = plan(lab.play("discover", {"upgrade_test_to_release": "2026.1"}))

    assert "upgrade can be decided with what is given" in told


def test_the_instances_are_found_behind_the_load_balancer(lab: Lab) -> None:
    """What its configuration names is what the lab's inventory says of itself."""
    file = lab.workplace / "instances.yml"
    played = lab.play("discover", {"upgrade_test_api_instances": [], "upgrade_test_instances_file": str(file)})
    known = yaml.safe_load(lab.inventory.read_text(encoding="utf-8"))["all"]["vars"]["upgrade_test_api_instances"]
    found = yaml.safe_load(file.read_text(encoding="utf-8"))["upgrade_test_api_instances"]

    assert played.rc == 0
    assert "would not be watched" in plan(played)
    assert sorted(found, key=itemgetter("service", "host")) == sorted(known, key=itemgetter("service", "host"))


def test_a_cloud_of_somebody_else(lab: Lab) -> None:
    """With clouds.yaml alone nothing fails, and what needs hosts is unknown."""
    given = {"upgrade_test_cloud": "lab", "upgrade_test_clouds_yaml": str(lab.clouds_yaml)}
    played = lab._play("discover", (), given, 300, None)

    assert played.rc == 0
    assert "deployed by unknown: no host access" in plan(played)
    assert "hosts in the inventory's group upgrade_test_hosts" in plan(played)


def test_an_expectation_that_does_not_hold_is_told_with_what_was_found(lab: Lab) -> None:
    """The agents that are alive although none should be are named; what holds is not complained of."""
    given = {"upgrade_test_expectations": [ALIVE, HOSTS, DEAD], "upgrade_test_agent_wait": 0}
    played = lab.play("validate", given, timeout=600)

    assert played.rc != 0
    assert len(played.messages) == 1
    assert "3 checks: 2 passed, 1 failed. no agent is alive: found " in played.messages[0]
    assert re.search('"binary": "neutron-.*-agent"', played.messages[0])


def test_without_hosts_their_processes_are_unknown(lab: Lab) -> None:
    """Nobody looked, so nothing is found, and that is no failure."""
    given = {"upgrade_test_cloud": "lab", "upgrade_test_clouds_yaml": str(lab.clouds_yaml)}
    more = {"upgrade_test_expectations": [ALIVE, HOSTS], "upgrade_test_agent_wait": 0}
    played = lab._play("validate", (), {**given, **more}, 300, None)

    assert played.rc == 0, played.messages
    assert "2 checks: 1 passed, 1 could not be seen." in played.text


def test_a_mistake_in_an_expression_is_found_first(lab: Lab) -> None:
    """Before a run is opened or anybody is asked."""
    runs = lab.run_dirs()
    broken = [ALIVE, {**ALIVE, "query": "agents[?!is_alive"}]
    played = lab.play("validate", {"upgrade_test_expectations": broken, "upgrade_test_stage": "before"})

    assert played.rc != 0
    assert played.messages[0].startswith("expectations[1].query: 'agents[?!is_alive' is no JMESPath expression: ")
    assert lab.run_dirs() == runs
