# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Access, Cloud, RefusedError, connect
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services import _health
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import (
    Beat,
    Health,
    Records,
    Scope,
    examine,
    is_offered,
    is_vanished,
    service_beat,
    watch_beats,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import present
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.keystone import left_out
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.neutron import SERVICE as NEUTRON
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._small_cloud import (
    SmallCloud,
    small_cloud,
)

pytest.importorskip("openstack")
pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB")


@pytest.fixture
def small() -> Iterator[SmallCloud]:
    with small_cloud() as cloud:
        cloud.documents["GET /"] = {"versions": [{"id": "v2.0", "status": "CURRENT"}]}
        cloud.documents["GET /v2.0/networks"] = {"networks": []}
        yield cloud


def beat(stamp: str, **more: Any) -> Beat:
    facts = {"type": "L3 agent", "binary": "neutron-l3-agent", "host": "net1", "alive": True}
    return Beat(**{**facts, "stamp": stamp, **more})


def verdict(
    cloud: Cloud,
    readings: Sequence[Sequence[Beat]],
    monkeypatch: pytest.MonkeyPatch,
    expected: Sequence[Any] = (),
    *,
    hosts: Sequence[str] = (),
    running: frozenset[tuple[str, str]] = frozenset(),
    wait: float = 0.2,
) -> list[tuple[Status, str]]:
    """Return what is said of agents that the API shows like this, one reading after the other; the last one stays."""
    monkeypatch.setattr(_health, "POLL", 0.01)
    shown = iter(readings)
    last: list[Sequence[Beat]] = []

    def read(_body: Any) -> Sequence[Beat]:
        last.append(next(shown, last[-1] if last else []))
        return last[-1]

    scope = Scope(agent_wait=wait, expected_agents=expected, hosts=frozenset(hosts), running=running)
    health = Health(service=NEUTRON, cloud=cloud, scope=scope)
    watch_beats(health, "agent_reports", Records("agents", "/networks", read))
    return [(outcome.status, outcome.message) for outcome in health.outcomes]


def outcomes_of(cloud: Cloud, services: Sequence[str], **scope: Any) -> list[Outcome]:
    """Return all that is said of some services."""
    examined = examine(cloud, present(cloud, services), Scope(**{"agent_wait": 0.1, **scope}))
    return [outcome for health in examined for outcome in health.outcomes]


def test_a_new_report_is_healthy(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that reports anew passes, and the check ends there."""
    found = verdict(cloud, [[beat("1")], [beat("1")], [beat("2")]], monkeypatch)

    assert found == [(Status.PASS, "L3 agent on net1 is alive and reported at 2.")]


def test_no_new_report_fails_although_it_is_called_alive(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that is dead inside is found before the API knows of it; agent and host are named."""
    ((status, message),) = verdict(cloud, [[beat("1")]], monkeypatch)

    assert status is Status.FAIL
    assert "L3 agent on net1 has not reported" in message
    assert message.endswith("although it is called alive (last report 1).")


@pytest.mark.parametrize("alive", [True, False])
def test_a_process_that_runs_and_does_not_report(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, *, alive: bool) -> None:
    """Whoever looks for the process finds it, so he is told that it is there."""
    seen = frozenset({("neutron-l3-agent", "net1")})
    ((status, message),) = verdict(cloud, [[beat("1", alive=alive)]], monkeypatch, running=seen)

    assert status is Status.FAIL
    assert message.endswith("; its process runs, so it did not get ready or is dead inside.")


def test_a_dead_agent_fails_even_with_a_new_report(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the API calls dead is dead."""
    ((status, message),) = verdict(cloud, [[beat("1")], [beat("2", alive=False)]], monkeypatch)

    assert (status, "is dead" in message) == (Status.FAIL, True)


def test_what_an_operator_switched_off_is_skipped(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that need not report does not fail, and is not waited for."""
    ((status, _word),) = verdict(cloud, [[beat("1", alive=False, enabled=False)]], monkeypatch)

    assert status is Status.SKIP


def test_an_agent_that_disappears_fails(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that the API no longer knows is not forgotten."""
    other = beat("1", host="net2")
    found = verdict(cloud, [[beat("1"), other], [beat("2")]], monkeypatch)

    assert [status for status, _word in found] == [Status.PASS, Status.FAIL]


def test_an_expected_agent_that_is_not_there_fails(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that was there before the upgrade and is not there at all is named; others' agents are not asked for."""
    expected = [
        {"agent_type": "DHCP agent", "binary": "neutron-dhcp-agent", "host": "net1"},
        {"binary": "neutron-l3-agent", "host": "net1"},
        {"binary": "nova-compute", "host": "net1"},
    ]
    found = verdict(cloud, [[beat("1")], [beat("2")]], monkeypatch, expected)

    assert [message for status, message in found if status is Status.FAIL] == [
        "DHCP agent on net1 was expected and neutron does not know it."
    ]


def test_a_service_that_answers_with_an_error_fails_and_the_others_go_on(small: SmallCloud, cloud: Cloud) -> None:
    """One broken service is one failure, told by name; the rest is examined all the same."""
    small.statuses |= {"GET /": 503, "GET /v2.0/networks": 503}
    outcomes = outcomes_of(cloud, ["keystone", "neutron"], phase="after")
    failed = {(one.service, one.check) for one in outcomes if one.status is Status.FAIL}

    assert failed >= {("neutron", "endpoint_answers"), ("neutron", "lists_networks")}
    assert {one.phase for one in outcomes} == {"after"}
    assert any(one.service == "keystone" for one in outcomes)


def test_what_needs_an_administrator_is_skipped(small: SmallCloud, cloud: Cloud) -> None:
    """A refusal is no failure of the cloud, and not good either."""
    small.statuses["GET /v2.0/agents"] = 403
    outcomes = outcomes_of(cloud, ["neutron"])

    assert [one.status for one in outcomes if one.check == "agent_reports"] == [Status.SKIP]


def test_a_dead_agent_of_a_host_that_is_gone_is_told_as_such(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record of a host that nobody knows any more fails, and what to do with it is said; of others it is not."""
    ghost, known = beat("1", host="ghost", alive=False), beat("1", host="net1.example", alive=False)
    found = verdict(cloud, [[ghost, known]], monkeypatch, hosts=["net1", "net2"])

    assert [status for status, _word in found] == [Status.FAIL, Status.FAIL]
    assert ["remove this record" in word for _status, word in found] == [True, False]
    assert not is_vanished("net1@ceph", frozenset({"net1"}))
    assert not is_vanished("anything", frozenset())


def test_an_agent_that_is_listed_twice_fails(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two records of one agent one is a ghost that gets work."""
    found = verdict(cloud, [[beat("1"), beat("1")], [beat("2"), beat("2")]], monkeypatch)

    assert [status for status, _word in found] == [Status.PASS, Status.FAIL]
    assert "listed 2 times" in found[-1][1]


def test_a_single_look_believes_the_api(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a wait an agent that is called alive passes, and it is said that no report was waited for."""
    found = verdict(cloud, [[beat("1"), beat("1", host="net2", alive=False)]], monkeypatch, wait=0)

    assert [status for status, _word in found] == [Status.PASS, Status.FAIL]
    assert "not waited for" in found[0][1]


def test_an_endpoint_that_leads_to_another_service_fails(small: SmallCloud, cloud: Cloud) -> None:
    """An endpoint whose answers are not those of its service is named, in whichever region it is."""
    small.extra.append(("network", "public", "Other", f"{small.url}/v2.1"))
    wrong = connect(Access(cloud="small", clouds_yaml=cloud.access.clouds_yaml, api_timeout=5))
    failed = [one for one in outcomes_of(wrong, ["neutron"]) if one.status is Status.FAIL]

    assert {(one.check, one.subject) for one in failed} == {("endpoint_answers", "public endpoint in region Other")}
    assert "not the version that its URL names" in failed[0].message


def test_nobody_behind_an_endpoint_of_another_region_fails(small: SmallCloud, cloud: Cloud) -> None:
    """A public endpoint is for all, so its silence is a failure; an internal one may be out of reach from here."""
    small.extra += [
        ("network", "public", "Other", "http://127.0.0.1:9"),
        ("network", "internal", "R", "http://127.0.0.1:9"),
    ]
    wrong = connect(Access(cloud="small", clouds_yaml=cloud.access.clouds_yaml, api_timeout=5))
    found = {one.subject: one.status for one in outcomes_of(wrong, ["neutron"]) if one.check == "endpoint_answers"}

    assert found == {
        "public endpoint": Status.PASS,
        "public endpoint in region Other": Status.FAIL,
        "internal endpoint": Status.UNKNOWN,
    }


def test_a_version_is_offered_by_its_beginning() -> None:
    """A URL names a major version; minor ones belong to it, and others do not."""
    assert is_offered("v3", ["v3.14"])
    assert is_offered("v2.1", ["v2.0", "v2.1"])
    assert is_offered("", ["v1.0"])
    assert not is_offered("v2.1", ["v2.0"])
    assert not is_offered("v1", ["v10.0"])


def test_an_administrator_proves_nothing_for_users(small: SmallCloud, cloud: Cloud) -> None:
    """Who is let in as the ordinary user must have no special rights; without anybody nothing is known."""
    as_user = {one.check: one.status for one in outcomes_of(cloud, ["keystone"], user=cloud)}
    small.roles = ["admin", "member"]
    admin = connect(cloud.access)
    as_admin = {one.check: one.status for one in outcomes_of(cloud, ["keystone"], user=admin)}
    alone = {one.check: one.status for one in outcomes_of(cloud, ["keystone"])}

    assert as_user["user_authenticates"] is Status.PASS
    assert as_admin["user_authenticates"] is Status.UNKNOWN
    assert alone["user_authenticates"] is Status.UNKNOWN
    assert "user_served" not in alone


def test_a_user_who_is_not_let_in_fails(cloud: Cloud) -> None:
    """The administrator is served, and the ordinary user is not: that is a failure of keystone."""
    problem = RefusedError("no", 401)
    outcomes = outcomes_of(cloud, ["keystone"], no_user=problem)

    assert [one.status for one in outcomes if one.check == "user_authenticates"] == [Status.FAIL]


def test_a_service_that_refuses_users_fails(small: SmallCloud, cloud: Cloud) -> None:
    """Each service has to serve an ordinary user, whatever it does for the administrator."""
    small.statuses["GET /v2.0/networks"] = 403
    outcomes = outcomes_of(cloud, ["neutron"], user=cloud)

    assert [one.status for one in outcomes if one.check == "user_served"] == [Status.FAIL]


def test_a_compute_of_a_cell_that_does_not_answer_is_dead() -> None:
    """Nova says no more of it than its name, and that nothing is known."""
    found = service_beat({"binary": "nova-compute", "host": "c1", "status": "UNKNOWN"})

    assert (found.alive, found.enabled, found.stamp) == (False, True, "")


def test_an_answer_that_is_not_understood_breaks_nothing_else(small: SmallCloud, cloud: Cloud) -> None:
    """It is told as an error of the check, beside the outcomes of the endpoints."""

    def broken(_health: Health) -> None:
        raise KeyError("state")

    (found,) = examine(cloud, [replace(NEUTRON, health=(broken,))], Scope())
    (error,) = [one for one in found.outcomes if one.status is Status.ERROR]

    assert "KeyError: 'state'" in error.message
    assert any(one.check == "endpoint_answers" for one in found.outcomes)


def test_an_endpoint_that_is_left_out_of_the_catalogue_is_found() -> None:
    """Keystone leaves out in silence what it cannot fill in; what is switched off is left out on purpose."""
    services = [{"id": "s1", "type": "image", "enabled": True}, {"id": "s2", "type": "old", "enabled": False}]
    point = {"service_id": "s1", "interface": "public", "region_id": "R", "url": "http://h:9292/%(tenant)s"}
    endpoints = [
        {**point, "id": "e1", "enabled": True},
        {**point, "id": "e2", "enabled": True, "url": "http://h:9292"},
        {**point, "id": "e3", "enabled": False},
        {**point, "id": "e4", "service_id": "s2"},
    ]
    found = left_out(services, endpoints, [{"type": "image", "endpoints": [{"id": "e2"}]}])

    assert found == [{"type": "image", "interface": "public", "region": "R", "url": "http://h:9292/%(tenant)s"}]


def test_only_an_administrator_is_told_what_is_registered(small: SmallCloud, cloud: Cloud) -> None:
    """Without his rights that is skipped."""
    small.documents["GET /v3/auth/tokens"] = {"token": {"user": {"id": "u"}}}
    small.statuses["GET /v3/services"] = 403
    found = [one.status for one in outcomes_of(cloud, ["keystone"]) if one.check == "endpoints_in_catalogue"]

    assert found == [Status.SKIP]
