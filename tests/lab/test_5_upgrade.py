# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rolling upgrade, watched and judged: what the whole is for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._attribution import NOT_THE_CLOUD, Cause
from ansible_collections.openstack.upgrade_test.tests.lab._lab import (
    NEW,
    OLD,
    SERVICES,
    Lab,
    Played,
    document,
    not_good,
    records,
)

PLACES = {"public", "control1", "control2"}


@pytest.fixture(scope="module")
def run(upgradable: Lab) -> Played:
    """The upgrade; the tests of faults before and after it look at health closer."""
    return upgradable.play("run", {"upgrade_test_to_release": NEW, "upgrade_test_depth": "quick"}, timeout=1500)


@pytest.fixture(scope="module")
def run_dir(upgradable: Lab, run: Played) -> Path:
    """Its records."""
    return upgradable.latest()


@pytest.fixture(scope="module")
def results(run_dir: Path) -> dict[str, Any]:
    """What the judge says."""
    return document(run_dir / "results.json")


def per_second(lanes: list[dict[str, Any]]) -> float:
    """Probes a second, all lanes together; ``coverage`` says which share of them was really sent."""
    return sum(1 / lane["interval"] for lane in lanes)


def test_exit_code(run: Played, results: dict[str, Any]) -> None:
    """The playbook fails if and only if a claim is not met, and its last words are the headline."""
    assert (run.rc != 0) == (results["verdict"] == "not_met")
    assert results["headline"] in run.text
    assert "Traceback" not in run.text


def test_run_is_whole(upgradable: Lab, run_dir: Path, results: dict[str, Any]) -> None:
    """The run was closed by its end, with all phases, and the lab is at the new release."""
    assert document(run_dir / "run.json")["state"] == "closed"
    assert results["interrupted"] is False
    assert [phase["name"] for phase in results["phases"]] == ["before", "upgrade", "after"]
    assert upgradable.release == NEW
    assert results["unreadable"] == {}


def test_no_check_failed(run_dir: Path) -> None:
    """Without a fault nothing is found at fault, and nothing went unseen."""
    assert not_good(run_dir) == []


@pytest.mark.parametrize("service", SERVICES)
def test_every_api_was_watched(results: dict[str, Any], service: str) -> None:
    """Ten times a second or more, at the published endpoint and at each instance, through the whole upgrade."""
    lanes = [lane for lane in results["lanes"] if (lane["observer"], lane["service"]) == ("api_uptime", service)]
    upgrade = next(phase for phase in results["phases"] if phase["name"] == "upgrade")

    assert {lane["via"] for lane in lanes} == PLACES
    for place in PLACES:
        here = [lane for lane in lanes if lane["via"] == place]
        assert per_second(here) >= 10, place
        assert min(lane["coverage"] for lane in here) >= 0.95, place
        assert all(lane["begin"] <= upgrade["begin"] and lane["end"] >= upgrade["end"] for lane in here), place


def test_data_plane_was_watched(results: dict[str, Any]) -> None:
    """The server was pinged, and asked over HTTP, five times a second or more."""
    lanes = [lane for lane in results["lanes"] if lane["observer"] == "data_plane"]

    assert {lane["mode"] for lane in lanes} == {"icmp", "http", "stream"}
    for lane in lanes:
        assert lane["interval"] <= 0.2, lane["mode"]
        assert lane["coverage"] >= 0.98, lane["mode"]


def asked(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lanes that ask published endpoints, with and without a token; whoever asks is a user."""
    observers = ("api_uptime", "service_performance")
    return [lane for lane in results["lanes"] if lane["via"] == "public" and lane["observer"] in observers]


def whose(lane: dict[str, Any], outage: dict[str, Any]) -> str:
    """Return the service whose trouble an outage is; what lies with the observer is no service's."""
    if outage["cause"] in NOT_THE_CLOUD:
        return ""
    return "keystone" if outage["cause"] == Cause.TOKEN else str(lane["service"])


def names(finding: dict[str, Any], service: str, outage: dict[str, Any]) -> bool:
    """Whether a finding tells of an outage; it may tell of several that have one cause."""
    if finding["service"] != service or finding["end"] is None:
        return False
    return bool(finding["begin"] - 0.01 <= outage["begin"] and outage["end"] <= finding["end"] + 0.01)


def test_lost_requests_are_named(results: dict[str, Any]) -> None:
    """No request was lost at a published endpoint, or each one stands in a finding of its service."""
    lanes = asked(results)
    lost = [(whose(lane, outage), outage) for lane in lanes for outage in lane["outages"]]

    for lane in lanes:
        assert lane["counts"]["down"] <= sum(outage["failures"] for outage in lane["outages"]), lane["service"]
    for service, outage in lost:
        assert any(names(one, service, outage) for one in results["findings"]), (service, outage, results["findings"])


def test_lost_requests_count(results: dict[str, Any]) -> None:
    """Z3 fails for the services that lost requests, and for no other; a cloud that lost some before cannot show it."""
    lanes = asked(results)
    begin = next(phase["begin"] for phase in results["phases"] if phase["name"] == "upgrade")
    lost = [(whose(lane, outage), lane["published"], outage) for lane in lanes for outage in lane["outages"]]
    usual = {service for service, _plain, outage in lost if outage["begin"] < begin}
    hurt = {service for service, plain, outage in lost if plain and outage["end"] > begin} - usual - {""}
    no_failure = {one["service"]: one["result"] for one in results["requirements"] if one["id"] == "Z3"}
    passed = {name for name, result in no_failure.items() if result == "PASS"}
    failed = {name for name, result in no_failure.items() if result == "FAIL"}

    # A busy machine may leave too many moments unobserved: then nothing is proven, but nothing is held against anyone.
    assert hurt <= failed <= {service for service, _plain, _outage in lost}
    assert not passed & {service for service, _plain, _outage in lost}


def test_server_was_never_restarted(run_dir: Path) -> None:
    """The server has the boot id that it had before."""
    outcomes = [one for one in records(run_dir / "outcomes.jsonl") if one["check"] == "boot_id_unchanged"]

    assert {(one["phase"], one["status"]) for one in outcomes} == {
        ("before", "pass"),
        ("upgrade", "pass"),
        ("after", "pass"),
    }
    assert len({str(one["found"]) for one in outcomes}) == 1


@pytest.mark.parametrize(("phase", "release"), [("before", OLD), ("after", NEW)])
def test_releases_are_proven(run_dir: Path, phase: str, release: str) -> None:
    """Before and after, every process of every service, on every host that has some, is proven to be of one release."""
    every = [one for one in records(run_dir / "outcomes.jsonl") if one["validator"] == "release_version"]
    outcomes = [one for one in every if one["check"] == "release"]
    here = [one for one in outcomes if one["phase"] == phase and one["status"] == "pass"]

    assert {one["service"] for one in here} == set(SERVICES)
    assert {one["host"] for one in here} >= {"control1", "control2", "compute1", "compute2"}
    assert {one["expected"] for one in here} == {release}
    assert all(release in str(one["found"]) for one in here)


@pytest.mark.parametrize("service", SERVICES)
def test_both_releases_ran_side_by_side(run_dir: Path, results: dict[str, Any], service: str) -> None:
    """The judge says so, and so do the records of the processes themselves."""
    windows = results["mixed"][service]

    assert windows
    middle = (windows[0]["begin"] + windows[0]["end"]) / 2
    assert releases_at(run_dir, service, middle) == {OLD, NEW}


def releases_at(run_dir: Path, service: str, moment: float) -> set[str]:
    """Which releases of a service ran at a moment, straight from the observers' records."""
    found = set()
    for file in (run_dir / "samples/release_version").glob("*/processes.jsonl"):
        earlier = [record for record in records(file) if record["time"] <= moment]
        if earlier:
            found |= {one["release"] for one in earlier[-1]["processes"] if one["service"] == service}
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_it_was_looked_at_in_the_middle(run_dir: Path, service: str) -> None:
    """While the upgrade went on, health and resources were looked at again and again, and were as they should be."""
    wanted = {"phase": "upgrade", "service": service, "status": "pass"}
    told = Counter(one["validator"] for one in records(run_dir / "outcomes.jsonl") if wanted.items() <= one.items())

    assert told["system_health"] > 3
    assert told["persistent_resource"] > 3 or service == "placement"  # where a user has nothing of his own


def test_services_of_both_releases_worked_together(results: dict[str, Any]) -> None:
    """A look comes a minute after another and takes less than one: three minutes have a whole one. None is bad.

    Neutron and Nova have both releases one after the other, and together so long that a look falls into one of them.
    """
    told = {one["service"]: one for one in results["requirements"] if one["id"] == "R3"}
    lengths = {service: max(one["end"] - one["begin"] for one in times) for service, times in results["mixed"].items()}
    long = {service for service, seconds in lengths.items() if seconds >= 180}
    proven = {service for service, one in told.items() if one["result"] == "PASS"}

    assert proven >= long, told
    assert proven & {"neutron", "nova"}, told
    assert {one["result"] for one in told.values()} <= {"PASS", "NOT PROVEN"}, told


def test_rolling_is_not_contradicted(results: dict[str, Any]) -> None:
    """The claim that the upgrade was rolling is met, or something about it was not seen, but nothing speaks against."""
    rolling = next(claim for claim in results["claims"] if claim["id"] == "rolling")

    assert rolling["verdict"] != "not_met", rolling["sentence"]


def test_nothing_is_left(upgradable: Lab, run_dir: Path) -> None:
    """Not in the cloud, not on the hosts, no credentials."""
    assert upgradable.admin().of_tests(f"upgrade-test-{run_dir.name}") == frozenset()
    assert list(Path("/var/tmp").glob(f"upgrade-test-{run_dir.name}*")) == []
    assert not (run_dir / "clouds.yaml").exists()
    assert not (upgradable.runs / "current").exists()


def test_reports_are_written(run_dir: Path) -> None:
    """Every form of the report is there, and only its owner can read it."""
    for name in ("results.json", "report.html", "summary.md", "junit.xml", "verdict.txt"):
        assert (run_dir / name).stat().st_size > 0, name
        assert (run_dir / name).stat().st_mode & 0o777 == 0o600, name
