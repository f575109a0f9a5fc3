# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Cloud, connect
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._discovery import discover
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import Scope, examine
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import present, recognise
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import current_version
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.heat import newest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.swift import account
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._small_cloud import (
    SmallCloud,
    small_cloud,
)

pytest.importorskip("openstack")
pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB")
PROJECT = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def small() -> Iterator[SmallCloud]:
    with small_cloud() as cloud:
        cloud.types |= {
            "object-store": f"/v1/AUTH_{PROJECT}",
            "volumev3": "/v3",
            "orchestration": f"/v1/{PROJECT}",
        }
        yield cloud


def test_each_is_watched_where_it_tells_its_versions(small: SmallCloud, cloud: Cloud) -> None:
    """Versions are asked for without project or account; Cinder and Heat offer a choice, which is 300."""
    targets = {target["service"]: target for target in discover(cloud, None, ["public"])["targets"]}

    assert targets["swift"]["url"] == f"{small.url}/info"
    assert {targets[name]["url"] for name in ("cinder", "heat")} == {f"{small.url}/"}
    assert {tuple(targets[name]["expect"]["status"]) for name in ("cinder", "heat")} == {(300,)}


def test_the_project_stays_open_where_the_path_holds_it(small: SmallCloud, cloud: Cloud) -> None:
    """The administrator who discovers is not the user who asks."""
    asked = {one["service"]: one.get("auth_url") for one in discover(cloud, None, ["public"])["targets"]}
    measured = {one["name"]: one["url"] for one in discover(cloud, None, ["public"])["operations"]}

    assert asked["swift"] == f"{small.url}/v1/AUTH_{{project_id}}?limit=1&format=json"
    assert asked["heat"] == measured["heat list stacks"] == f"{small.url}/v1/{{project_id}}/stacks?limit=1"
    assert asked["cinder"] == f"{small.url}/v3/volumes?limit=1"


def test_what_cannot_be_asked_for_is_left_out(small: SmallCloud, cloud: Cloud) -> None:
    """An object store whose URL holds no account is watched without a token."""
    small.types["object-store"] = "/swift/v1"
    other = connect(cloud.access)
    (target,) = discover(other, ["swift"], ["public"])["targets"]

    assert "auth_url" not in target
    assert target["url"] == f"{small.url}/swift/info"


def test_a_choice_of_versions_is_an_answer(small: SmallCloud, cloud: Cloud) -> None:
    """300 is no failure of the request: what it holds decides."""
    small.statuses["GET /"] = 300
    (examined,) = examine(cloud, present(cloud, ["heat"]), Scope(agent_wait=0.1))
    outcomes = examined.outcomes
    (found,) = (one for one in outcomes if one.check == "endpoint_answers")

    assert found.status is Status.FAIL
    assert "answers, but not with a version document" in found.message


def test_the_account_is_the_one_of_the_catalogue(cloud: Cloud) -> None:
    """An operator may have chosen another prefix than AUTH."""
    assert account(cloud) == f"/AUTH_{PROJECT}"


def test_swift_tells_its_own_release_as_its_version() -> None:
    """Swift's only API version never changes, but it says which release it is."""
    assert current_version({"swift": {"version": "2.37.1"}, "slo": {}}) == {
        "version": "v1",
        "min_version": "",
        "max_version": "2.37.1",
    }


def test_an_engine_that_was_killed_does_not_hide_the_one_after_it() -> None:
    """Of each host the last report counts, also when the new engine has not yet reported a second time."""
    engine = {"binary": "heat-engine", "host": "control1"}
    killed = {**engine, "status": "down", "created_at": "2026-01-01T00:00:00", "updated_at": "2026-01-01T01:00:00"}
    new = {**engine, "status": "up", "created_at": "2026-01-01T02:00:00", "updated_at": None}
    other = {**engine, "host": "control2", "status": "down", "created_at": "2026-01-01T00:00:00", "updated_at": None}

    assert {(beat.host, beat.alive) for beat in newest([new, killed, other])} == {
        ("control1", True),
        ("control2", False),
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cinder.wsgi.api", ("cinder", "cinder-api")),
        ("cinder-volume", ("cinder", "cinder-volume")),
        ("cinder-manage", None),
        ("heat.wsgi.api", ("heat", "heat-api")),
        ("heat-engine", ("heat", "heat-engine")),
        ("heat-manage", None),
        ("swift-object-server", ("swift", "swift-object-server")),
        ("swift-object-replicator", ("swift", "swift-object-replicator")),
        ("swift-ring-builder", None),
    ],
)
def test_processes_are_told_from_tools(name: str, expected: tuple[str, str] | None) -> None:
    """What serves is watched, what an operator runs is not."""
    assert recognise([name]) == expected
