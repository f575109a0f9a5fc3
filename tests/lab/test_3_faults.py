# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults in a cloud that is watched: an API that is out for two seconds, a server that is deleted behind our back.

The operator's own way: validate, start to watch, mark, stop to watch, validate, clean up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._lab import SERVICES, Lab, document, not_good, records
from ansible_collections.openstack.upgrade_test.tests.lab._machine import writing_below

CUT_SERVICE = "glance"
CUT_SECONDS = 2.0
VAGUE = 1.0
"""Seconds by which the bounds of an outage may differ: two intervals of probing, and a machine that is busy."""
CUT = """
import json, socket, sys, time

def say(command):
    before = time.time()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("/run/haproxy.sock")
        connection.sendall((command + chr(10)).encode())
        answer = connection.recv(4096)
    if answer.strip():
        raise SystemExit(answer.decode())
    return before, time.time()

def both(state):
    return [say(f"set server {sys.argv[1]}/{server} state {state}") for server in ("control1", "control2")]

down = both("maint")
time.sleep(float(sys.argv[2]))
print(json.dumps({"down": down, "up": both("ready")}))
"""


@dataclass(frozen=True)
class Truth:
    """When no server was left, and when there was one again: each between two moments (wall seconds)."""

    gone: tuple[float, float]
    back: tuple[float, float]

    @property
    def least(self) -> float:
        """The shortest that it can have been."""
        return self.back[0] - self.gone[1]

    @property
    def most(self) -> float:
        """The longest that it can have been."""
        return self.back[1] - self.gone[0]


def cut(lab: Lab) -> Truth:
    """Take both servers of a backend out of HAProxy for a while."""
    told = json.loads(lab.ssh("infra", CUT, CUT_SERVICE, str(CUT_SECONDS)))
    # It is out when the second one is out, and in when the first one is in.
    return Truth(gone=tuple(told["down"][1]), back=tuple(told["up"][0]))


@pytest.fixture(scope="module")
def run_id(lab: Lab) -> Iterator[str]:
    """A run that was opened by ``validate``; whatever happens, its observers and resources go."""
    played = lab.play("validate", {"upgrade_test_stage": "before"}, timeout=600)
    assert played.rc == 0
    yield lab.latest().name
    if (lab.runs / "current").exists():
        lab.play("cleanup", {"upgrade_test_cleanup_abandon": True}, timeout=600)


@pytest.fixture(scope="module")
def truth(lab: Lab, run_id: str) -> Truth:
    """The outage that was made while the observers watched."""
    # What asks with a token has to ask often enough to see it, too.
    assert lab.play("observe_start", {"upgrade_test_authenticated_rate": 1}).rc == 0
    assert lab.play("mark", {"upgrade_test_phase": "upgrade"}).rc == 0
    made = cut(lab)
    assert lab.play("observe_stop").rc == 0
    return made


@pytest.fixture(scope="module")
def results(lab: Lab, truth: Truth) -> dict[str, Any]:
    """What the judge says of it."""
    played = lab.play("report", {"upgrade_test_fail_on": "never"})
    assert played.rc == 0
    return document(lab.latest() / "results.json")


def test_a_healthy_cloud_passes(lab: Lab, run_id: str) -> None:
    """Before any fault every validator finds everything in order, a real server among it."""
    outcomes = records(lab.latest() / "outcomes.jsonl")

    assert not_good(lab.latest()) == []
    assert {one["validator"] for one in outcomes} >= {"release_version", "system_health", "persistent_resource"}
    assert "boot_id_unchanged" in {one["check"] for one in outcomes if one["status"] == "pass"}


def of_apis(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The lanes of the observer of the APIs."""
    return [lane for lane in results["lanes"] if lane["observer"] == "api_uptime"]


def test_outage_of_one_service_is_seen(results: dict[str, Any], truth: Truth) -> None:
    """The published endpoint of the service has exactly one outage for each kind of connection; its bounds are true."""
    lanes = [lane for lane in of_apis(results) if lane["published"] and lane["service"] == CUT_SERVICE]

    assert {lane["mode"] for lane in lanes} == {"new", "kept"}
    for lane in lanes:
        (outage,) = lane["outages"]
        seen = {key: outage[key] for key in ("begin", "end", "lower", "upper", "kinds")}
        assert outage["lower"] <= truth.most, (seen, truth)
        assert outage["upper"] >= truth.least, (seen, truth)
        assert outage["upper"] - outage["lower"] <= VAGUE, (seen, truth)
        assert truth.gone[0] - VAGUE <= outage["begin"] <= truth.gone[1] + VAGUE, (seen, truth)
        assert truth.back[0] - VAGUE <= outage["end"] <= truth.back[1] + VAGUE, (seen, truth)
        assert outage["failures"] >= CUT_SECONDS * 10 * 0.8, (seen, truth)


def since(moment: float, lane: dict[str, Any]) -> list[dict[str, Any]]:
    """The outages of a lane that were not over before; to start all observers asks much of a small machine."""
    return [one for one in lane["outages"] if one["end"] > moment]


def test_outage_of_no_other_service_is_seen(results: dict[str, Any], truth: Truth) -> None:
    """Neither the other services, nor the instances behind the load balancer, nor the server had an outage."""
    through = [lane for lane in results["lanes"] if lane["service"] == CUT_SERVICE and lane["via"] == "public"]
    others = [lane for lane in results["lanes"] if lane not in through]

    assert {lane["service"] for lane in others} == set(SERVICES)
    assert {lane["observer"] for lane in others} == {"api_uptime", "data_plane", "service_performance"}
    assert [lane for lane in others if since(truth.gone[0], lane)] == []
    assert {one["name"]: one["outages"] for one in results["services"]} == {
        service: int(service == CUT_SERVICE) for service in SERVICES
    }


def test_outage_is_seen_with_a_token_too(results: dict[str, Any], truth: Truth) -> None:
    """What asks as a user sees the same outage, and its cause is what lies between the user and the instances."""
    lanes = [lane for lane in of_apis(results) if lane["service"] == CUT_SERVICE and lane["auth"]]

    assert {lane["mode"] for lane in lanes} == {"new", "kept"}
    for lane in lanes:
        (outage,) = since(truth.gone[0], lane)
        assert outage["lower"] <= truth.most
        assert outage["upper"] >= truth.least
    causes = {one["cause"] for lane in of_apis(results) for one in since(truth.gone[0], lane)}
    assert causes == {"load_balancer"}


def test_outage_is_a_finding_against_that_service(lab: Lab, results: dict[str, Any]) -> None:
    """The verdict is ``not_met``, for this service alone, and ``report`` fails by it."""
    # A busy machine may answer later, which is a finding of its own.
    fails = [one for one in results["findings"] if one["severity"] == "fail"]
    against = [one for one in fails if not one["kind"].startswith("delay.")]

    assert {one["service"] for one in against} == {CUT_SERVICE}
    assert results["verdict"] == "not_met"
    zero_downtime = next(claim for claim in results["claims"] if claim["id"] == "zero_downtime")
    assert zero_downtime["services"][CUT_SERVICE] == "not_met"
    assert "not_met" not in {word for name, word in zero_downtime["services"].items() if name != CUT_SERVICE}
    played = lab.play("report")
    assert played.rc != 0
    assert CUT_SERVICE in played.messages[-1]


def test_no_observer_is_left(lab: Lab, results: dict[str, Any], run_id: str) -> None:
    """``observe_stop`` ended them all, here and on the hosts."""
    hosts = [Path(f"/var/tmp/upgrade-test-{run_id}-{host}") for host in lab.addresses()]

    assert writing_below(lab.latest(), *hosts) == {}


def test_everything_is_still_there(lab: Lab, results: dict[str, Any]) -> None:
    """The outage did no harm: the same validators pass afterwards."""
    played = lab.play("validate", {"upgrade_test_stage": "after", "upgrade_test_depth": "quick"}, timeout=600)

    assert played.rc == 0
    assert not_good(lab.latest()) == []


def test_server_deleted_behind_our_back(lab: Lab, run_id: str, results: dict[str, Any]) -> None:
    """``persistent_resource`` fails, and names the server and what became of it."""
    name = f"upgrade-test-{run_id}-server"
    id_ = lab.admin().delete_server(name)
    given = {"upgrade_test_stage": "after", "upgrade_test_depth": "quick", "upgrade_test_fingerprint_settle": 0}
    played = lab.play("validate", given, timeout=600)

    assert played.rc != 0
    assert "Traceback" not in played.text
    assert name in played.messages[-1]
    outcomes = records(lab.latest() / "outcomes.jsonl")
    failed = [one for one in outcomes if one["status"] == "fail"]
    assert {one["validator"] for one in failed} == {"persistent_resource", "cloud_fingerprint"}
    assert any(one["subject"] == name and one["service"] == "nova" for one in failed), (name, id_, failed)


def test_cleanup_leaves_nothing(lab: Lab, run_id: str, results: dict[str, Any]) -> None:
    """``cleanup`` gets over the missing server, removes all else, and closes the run; again, it changes nothing."""
    assert lab.admin().of_tests(f"upgrade-test-{run_id}") != frozenset()
    played = lab.play("cleanup", timeout=600)
    again = lab.play("cleanup")

    assert played.rc == 0
    assert lab.admin().of_tests(f"upgrade-test-{run_id}") == frozenset()
    assert document(lab.latest() / "run.json")["state"] == "closed"
    assert not (lab.latest() / "clouds.yaml").exists()
    assert again.rc == 0
    assert again.changed["localhost"] == 0
