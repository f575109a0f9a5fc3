# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Heat's engines of two releases side by side: a stack never ends, although everything is called up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._lab import NEW, OLD, wait_for
from ansible_collections.openstack.upgrade_test.tests.lab_full._full import FullLab

STEPS = 8
STACK = {
    "heat_template_version": "2021-04-16",
    "resources": {
        f"step{number}": {
            "type": "OS::Heat::TestResource",
            "properties": {"value": "x", "wait_secs": 1},
            **({"depends_on": [f"step{number - 1}"]} if number else {}),
        }
        for number in range(STEPS)
    },
}
ENOUGH = 60
"""Seconds in which engines of one release make this stack several times over."""


@pytest.fixture(scope="module")
def mixed(upgraded: FullLab) -> Iterator[None]:
    """The engine of control2 is of the old release."""
    given = {"upgrade_test_lab_release": NEW, "upgrade_test_lab_release_overrides": {"control2": {"heat": OLD}}}
    try:
        assert upgraded.deploy(**given).rc == 0
        yield
    finally:
        undone = upgraded.deploy(upgrade_test_lab_release=NEW)
    assert undone.rc == 0


@pytest.fixture(scope="module")
def stuck(upgraded: FullLab, mixed: None) -> Iterator[str]:
    """A stack that was begun meanwhile."""
    user = upgraded.user()
    stack = user.begin_stack("stuck", STACK)
    yield stack
    user.cloud.orchestration.delete_stack(stack)


def test_stack_of_engines_of_one_release_ends(upgraded: FullLab) -> None:
    """Without the fault the same stack is made in time."""
    user = upgraded.user()
    stack = user.begin_stack("not-stuck", STACK)
    user.await_stack(stack, "CREATE_COMPLETE", ENOUGH)
    user.cloud.orchestration.delete_stack(stack)


def test_stack_stays_in_progress(upgraded: FullLab, stuck: str) -> None:
    """It is in progress for ever; no engine says why."""
    with suppress(AssertionError):
        wait_for(lambda: upgraded.user().stack_status(stuck) != "CREATE_IN_PROGRESS", "the end of the stack", ENOUGH)

    assert upgraded.user().stack_status(stuck) == "CREATE_IN_PROGRESS"


def test_release_version_names_the_engine(upgraded: FullLab, stuck: str) -> None:
    """What causes it is found: component, host and both releases are named."""
    played = upgraded.validate(NEW)
    told = " ".join(played.messages)

    assert played.rc != 0
    for word in ("heat-engine on control2", OLD, NEW):
        assert word in told, word
    assert "control1" not in told
