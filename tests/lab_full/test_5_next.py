# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One release further, with an option that it does not have any more."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._lab import NEW, not_good, records
from ansible_collections.openstack.upgrade_test.tests.lab_full._full import NEXT, FullLab

REMOVED = {"neutron": {"DEFAULT": {"api_workers": 2}}}
"""Neutron 2026.2 has no API server of its own, so none of its options."""
GIVEN = {
    "upgrade_test_from_release": NEW,
    "upgrade_test_to_release": NEXT,
    "upgrade_test_services": ["neutron"],
    "upgrade_test_persistent_resources": False,
    "upgrade_test_depth": "normal",
}


@pytest.fixture(scope="module")
def found(upgraded: FullLab) -> list[dict[str, Any]]:
    """What is found after an upgrade that took an option along."""
    assert upgraded.deploy(upgrade_test_lab_release=NEW, upgrade_test_lab_options=REMOVED).rc == 0
    assert upgraded.play("validate", {**GIVEN, "upgrade_test_stage": "before"}, timeout=600).rc == 0
    assert not_good(upgraded.latest()) == []
    outcomes = upgraded.latest() / "outcomes.jsonl"
    before = len(records(outcomes))
    options = {"upgrade_test_lab_release": NEXT, "upgrade_test_lab_options": REMOVED}
    assert upgraded.deploy("upgraded", **options, timeout=1500).rc == 0
    upgraded.play("validate", {**GIVEN, "upgrade_test_stage": "after"}, timeout=600)
    upgraded.play("cleanup", {"upgrade_test_cleanup_abandon": True}, timeout=600)
    return [one for one in records(outcomes)[before:] if one["status"] == "fail"]


def test_option_that_the_next_release_does_not_have(found: list[dict[str, Any]]) -> None:
    """It is named on each host that sets it, and that it is the upgrade that took it away; nothing else is found."""
    assert {one["check"] for one in found} <= {"configuration", "config_of_old_release"}
    named = [one for one in found if one["check"] == "configuration"]
    assert {one["host"] for one in named} >= {"control1"}
    assert all("DEFAULT/api_workers went away with the upgrade" in one["message"] for one in named)


def test_upgraded_to_the_next_release(upgraded: FullLab, found: list[dict[str, Any]]) -> None:
    """Without the option everything runs the next release, and is healthy."""
    assert upgraded.deploy(upgrade_test_lab_release=NEXT).rc == 0
    assert upgraded.release == NEXT
    checked = upgraded.validate(NEXT)
    assert checked.rc == 0, checked.messages
