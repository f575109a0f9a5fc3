# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resources that must survive: deep, quick, verified without any API; each loss that is planted is found and named.

``UPGRADE_TEST_LAB_KILLS`` is how often the work on them is killed at a random moment.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._admin import quiet
from ansible_collections.openstack.upgrade_test.tests.lab._lab import Lab, Played, wait_for
from ansible_collections.openstack.upgrade_test.tests.lab._resources import (
    Outcomes,
    Resources,
    failed,
    in_depth,
    killed_after,
    message,
    passed,
)

DEEP = {"keystone", "glance", "neutron", "nova"}
KILLS = int(os.environ.get("UPGRADE_TEST_LAB_KILLS", "1"))
WITHIN = {("core", "present"): 20, ("core", "absent"): 8, ("full", "present"): 80, ("full", "absent"): 35}
"""Seconds, of each profile, before which they are hardly made, or removed."""
EDIT = """
import pathlib, sys
path, kept = pathlib.Path(sys.argv[1]), pathlib.Path("/run/lab/kept")
if len(sys.argv) > 2:
    kept.write_bytes(path.read_bytes())
    path.write_text(sys.argv[2])
else:
    path.write_bytes(kept.read_bytes())
"""


def test_untouched_resources_pass(second_look: Outcomes) -> None:
    """What nobody touched is as it was, where it was, and nothing went unseen."""
    assert failed(second_look) == set(), second_look


def test_each_service_is_looked_at_in_depth(second_look: Outcomes) -> None:
    """Eight checks or more of each service, with the API; more without."""
    online, offline = in_depth(second_look)

    assert online >= DEEP
    assert offline >= DEEP


def test_without_any_api(resources: Resources) -> None:
    """With every API stopped, all that can be seen where it lies still is as it was."""
    outcomes = resources.without_any_api()

    assert failed(outcomes) == set(), outcomes
    assert set(passed(outcomes)) >= DEEP


@contextmanager
def edited(lab: Lab, host: str, path: str, content: str) -> Iterator[None]:
    """A file on a host has another content for a while."""
    lab.ssh(host, EDIT, path, content)
    try:
        yield
    finally:
        lab.ssh(host, EDIT, path)


def test_truncated_image(lab: Lab, resources: Resources) -> None:
    """An image whose blob lost its end is named, with and without the API, and no other is."""
    image = resources.facts("glance", "image")
    with edited(lab, "control1", f"{lab.root}/shared/images/store/{image['id']}", "x" * 1000):
        _played, outcomes = resources.bring("verified", "verified_noapi")

    assert failed(outcomes) == {("glance", "image_content"), ("glance", "noapi_image_content")}
    assert image["name"] in message(outcomes, "noapi_image_content")
    assert "control1" in message(outcomes, "noapi_image_content")


def test_keys_of_one_instance_differ(lab: Lab, resources: Resources) -> None:
    """A key repository that is not the same on one instance is named with its host, before a token fails by it."""
    with edited(lab, "control2", f"{lab.root}/hosts/control2/etc/keystone/fernet-keys/0", "A" * 43 + "="):
        _played, outcomes = resources.bring("verified_noapi")

    assert failed(outcomes) == {("keystone", "noapi_fernet_keys_equal")}
    assert "control2 differs in 0" in message(outcomes, "noapi_fernet_keys_equal")


def test_widened_security_group(lab: Lab, resources: Resources) -> None:
    """A rule that lets more in is named, and that the blocked port is open is seen from outside."""
    group = resources.facts("neutron", "security-group")["id"]
    with quiet():
        network = lab.admin().cloud.network
        rule = network.create_security_group_rule(
            security_group_id=group, direction="ingress", protocol="tcp", port_range_min=8080, port_range_max=8080
        )
        try:
            _played, outcomes = resources.bring("verified")
        finally:
            network.delete_security_group_rule(rule)

    assert {("neutron", "security_group_unchanged"), ("nova", "port_blocked")} <= failed(outcomes)
    assert "8080" in message(outcomes, "security_group_unchanged")


def test_lost_binding(lab: Lab, resources: Resources) -> None:
    """A port that is bound nowhere any more is named, although its server runs."""
    port = resources.facts("nova", "port")["id"]
    with quiet():
        network = lab.admin().cloud.network
        network.update_port(port, binding_host_id="")
        try:
            _played, outcomes = resources.bring("verified")
        finally:
            network.update_port(port, binding_host_id="compute1")
            wait_for(lambda: network.get_port(port).status == "ACTIVE", "the return of the port", 90)

    assert ("nova", "port_unchanged") in failed(outcomes)
    assert "ACTIVE" in message(outcomes, "port_unchanged")


def test_use_leaves_things_as_they_were(resources: Resources) -> None:
    """What users do after an upgrade works with the old resources, which then still are what they were."""
    used = resources.use()

    assert {one["check"] for one in used} >= {"exercise_rule_takes_effect", "exercise_new_servers"}


def test_rebooted_server(lab: Lab, resources: Resources) -> None:
    """A server that was reset behind Nova's back is named by its boot id and by its witness, and by nothing else."""
    server = resources.facts("nova", "server")["id"]
    lab.ssh("compute1", "import subprocess, sys; subprocess.run(['virsh', 'reset', sys.argv[1]], check=True)", server)
    found: list[Outcomes] = []

    def answers() -> bool:
        found.append(resources.bring("verified")[1])
        # It may come back while it is looked at: after it did not answer a ping, and before it is asked over HTTP.
        return not {("nova", "server_ping"), ("nova", "server_http")} & failed(found[-1])

    wait_for(answers, "the return of the server", 180)

    assert failed(found[-1]) == {("nova", "boot_id_unchanged"), ("nova", "server_not_silent")}
    assert "rebooted" in message(found[-1], "server_not_silent")


def test_removed_role(lab: Lab, resources: Resources) -> None:
    """A user who lost his role is keystone's failure; of the others nothing is known, and so nothing is good."""
    with quiet():
        identity = lab.admin().cloud.identity
        name = f"upgrade-test-{lab.latest().name}"
        project, user, role = (
            identity.find_project(name),
            identity.find_user(name),
            identity.find_role("member"),
        )
        identity.unassign_project_role_from_user(project, user, role)
        try:
            _played, outcomes = resources.bring("verified")
        finally:
            identity.assign_project_role_to_user(project, user, role)

    assert ("keystone", "user_authenticates") in failed(outcomes)
    assert passed(outcomes) == {}


def test_removed_twice(resources: Resources) -> None:
    """All of it goes; a second removal finds nothing to do."""
    resources.remove_twice()
    resources.close()


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_at_any_moment(lab: Lab, number: int) -> None:
    """Whatever was being made (or, at odd numbers, removed) when the playbook was killed, one clean-up leaves nothing.

    Of four, two leave the module alone that was at work, and it goes on; the two others kill it too.
    """
    resources, there = Resources(lab), lab.admin().of_tests()
    state = "absent" if number % 2 else "present"
    moment = random.Random(number).uniform(3, WITHIN[lab.profile, state])
    if state == "absent":
        assert resources.bring("present", phase="before")[0].rc == 0
    killed, _outcomes = resources.bring(state, phase="before", meanwhile=killed_after(moment, alone=number % 4 < 2))
    assert killed.rc == -signal.SIGKILL, f"{state} had ended before {moment:.1f} s"
    played: Played = lab.play("cleanup", {"upgrade_test_cleanup_abandon": True}, timeout=600)

    assert played.rc == 0, (moment, played.messages)
    assert lab.admin().of_tests() - there == frozenset(), moment
