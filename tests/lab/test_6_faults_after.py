# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that an upgrade can leave: an API instance that stayed behind, an agent that is dead inside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._lab import NEW, OLD, Lab, Played, not_good, records


@pytest.fixture(scope="module")
def run_id(upgraded: Lab) -> Iterator[str]:
    """A run with a real server, without whose ports the agent would not die."""
    played = upgraded.play("validate", given(upgrade_test_stage="before"), timeout=600)
    assert played.rc == 0
    assert not_good(upgraded.latest()) == []
    yield upgraded.latest().name
    if (upgraded.runs / "current").exists():
        upgraded.play("cleanup", {"upgrade_test_cleanup_abandon": True}, timeout=600)


def given(**more: Any) -> dict[str, Any]:
    """The variables of all the playbooks here; agents of the lab report every ten seconds."""
    return {
        "upgrade_test_from_release": NEW,
        "upgrade_test_to_release": NEW,
        "upgrade_test_agent_wait": 45,
        "upgrade_test_persistent_resources": True,
        **more,
    }


def look(lab: Lab) -> tuple[Played, list[dict[str, Any]]]:
    """Validate after the upgrade; the playbook, and the outcomes that it added."""
    file = lab.latest() / "outcomes.jsonl"
    before = len(records(file))
    more = {"upgrade_test_depth": "normal", "upgrade_test_services": ["glance", "neutron"]}
    played = lab.play("validate", given(upgrade_test_stage="after", **more), timeout=600)
    assert "Traceback" not in played.text
    return played, records(file)[before:]


def bad(outcomes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The outcomes that are neither good nor left out; the logs tell of the restarts."""
    return [one for one in outcomes if one["status"] not in ("pass", "skip") and one["check"] != "log_errors"]


@pytest.fixture(scope="module")
def found(upgraded: Lab, run_id: str) -> tuple[Played, list[dict[str, Any]]]:
    """What is found when an API instance runs the old release, and an agent has a setting that it does not get over."""
    overrides = {"control2": {"glance": OLD}}
    try:
        played = upgraded.deploy(
            upgrade_test_lab_release=NEW, upgrade_test_lab_release_overrides=overrides, upgrade_test_lab_tunnel_types=""
        )
        assert played.rc == 0
        assert {host for host, count in played.changed.items() if count} >= {"control2", "compute1"}
        seen = look(upgraded)
    finally:
        repaired = upgraded.deploy(upgrade_test_lab_release=NEW)
    assert repaired.rc == 0
    return seen


def test_instance_on_the_old_release(found: tuple[Played, list[dict[str, Any]]]) -> None:
    """``release_version`` fails, and names the service, the instance and both versions."""
    played, outcomes = found

    assert played.rc != 0
    (behind,) = [one for one in bad(outcomes) if one["validator"] == "release_version"]
    assert (behind["service"], behind["host"], behind["status"]) == ("glance", "control2", "fail")
    for word in ("glance", "control2", OLD, NEW):
        assert word in behind["message"], word
        assert any(word in message for message in played.messages), word


def test_agent_dead_inside(found: tuple[Played, list[dict[str, Any]]]) -> None:
    """``system_health`` fails, and names the agent and its host, although the agent's process lives."""
    played, outcomes = found

    # Others see what follows from it: a server that does not start, a queue that nobody reads.
    dead = [one for one in bad(outcomes) if one["check"] == "agent_reports"]
    assert [(one["service"], one["host"], one["status"]) for one in dead] == [("neutron", "compute1", "fail")]
    for word in ("Open vSwitch agent", "compute1"):
        assert word in dead[0]["message"], word
        assert any(word in message for message in played.messages), word
    alive = [one for one in outcomes if one["validator"] == "release_version" and one["host"] == "compute1"]
    assert any("neutron-openvswitch-agent" in one["subject"] and one["status"] == "pass" for one in alive)


def test_both_repaired(upgraded: Lab, found: tuple[Played, list[dict[str, Any]]]) -> None:
    """With the instance on the new release, and the agent alive again, everything passes."""
    played, outcomes = look(upgraded)

    assert played.rc == 0
    assert bad(outcomes) == []


def test_nothing_is_left(upgraded: Lab, run_id: str) -> None:
    """``cleanup`` removes it all."""
    played = upgraded.play("cleanup", timeout=600)

    assert played.rc == 0
    assert upgraded.admin().of_tests(f"upgrade-test-{run_id}") == frozenset()
