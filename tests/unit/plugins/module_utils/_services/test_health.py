# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Access, Cloud, connect
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services import _health
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import (
    Beat,
    Health,
    examine,
    watch_beats,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import present
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.neutron import SERVICE as NEUTRON
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._small_cloud import (
    SmallCloud,
    clouds_yaml,
    small_cloud,
)

pytest.importorskip("openstack")
pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB")


@pytest.fixture
def small() -> Iterator[SmallCloud]:
    with small_cloud() as cloud:
        yield cloud


@pytest.fixture
def cloud(small: SmallCloud, tmp_path: Path) -> Cloud:
    return connect(Access(cloud="small", clouds_yaml=clouds_yaml(tmp_path, f"{small.url}/v3"), api_timeout=5))


def beat(stamp: str, **more: Any) -> Beat:
    facts = {"type": "L3 agent", "binary": "neutron-l3-agent", "host": "net1", "alive": True}
    return Beat(**{**facts, "stamp": stamp, **more})


def verdict(
    cloud: Cloud, readings: Sequence[Sequence[Beat]], monkeypatch: pytest.MonkeyPatch, expected: Sequence[Any] = ()
) -> list[tuple[Status, str]]:
    """Return what is said of agents that the API shows like this, one reading after the other; the last one stays."""
    monkeypatch.setattr(_health, "POLL", 0.01)
    shown = iter(readings)
    last: list[Sequence[Beat]] = []

    def read() -> Sequence[Beat]:
        last.append(next(shown, last[-1] if last else []))
        return last[-1]

    health = Health(service=NEUTRON, cloud=cloud, agent_wait=0.2, expected_agents=expected)
    watch_beats(health, "agent_reports", read)
    return [(outcome.status, outcome.message) for outcome in health.outcomes]


def test_a_new_report_is_healthy(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that reports anew passes, and the check ends there."""
    found = verdict(cloud, [[beat("1")], [beat("1")], [beat("2")]], monkeypatch)

    assert found == [(Status.PASS, "L3 agent on net1 is alive and reported at 2.")]


def test_no_new_report_fails_although_it_is_called_alive(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that is dead inside is found before the API knows of it; agent and host are named."""
    ((status, message),) = verdict(cloud, [[beat("1")]], monkeypatch)

    assert status is Status.FAIL
    assert "L3 agent on net1 has not reported" in message
    assert "dead inside" in message


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
    outcomes = examine(
        cloud, present(cloud, ["keystone", "neutron"]), phase="after", agent_wait=0.1, expected_agents=[]
    )
    failed = {(one.service, one.check) for one in outcomes if one.status is Status.FAIL}

    assert failed >= {("neutron", "endpoint_answers"), ("neutron", "lists_networks")}
    assert {one.phase for one in outcomes} == {"after"}
    assert any(one.service == "keystone" for one in outcomes)


def test_what_needs_an_administrator_is_skipped(small: SmallCloud, cloud: Cloud) -> None:
    """A refusal is no failure of the cloud, and not good either."""
    small.statuses["GET /v2.0/agents"] = 403
    outcomes = examine(cloud, present(cloud, ["neutron"]), phase="", agent_wait=0.1, expected_agents=[])

    assert [one.status for one in outcomes if one.check == "agents"] == [Status.SKIP]
