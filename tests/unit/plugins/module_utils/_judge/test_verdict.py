# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._policy import (
    REQUIREMENTS,
    Attestation,
    Policy,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._verdict import judge_run
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.tests.unit.plugins import _synthetic as made

MEASURED = [one.id for one in REQUIREMENTS if one.kind == "measured"]
CLEAN = {"U0", "U1", "U3b", "U6", "U7", "U8", "C2", "C3", "R2", "Z2", "Z3", "Z6"}


@pytest.fixture
def run(tmp_path: Path) -> made.Synthetic:
    return made.make(tmp_path / "runs")


def judged(run: made.Synthetic, **policy: Any) -> dict[str, Any]:
    return judge_run(run.run, Policy(**policy), run.reader)


def results_of(results: dict[str, Any], service: str) -> dict[str, str]:
    return {one["id"]: one["result"] for one in results["requirements"] if one["service"] == service}


def sentence(results: dict[str, Any], requirement: str, service: str) -> str:
    fitting = [one for one in results["requirements"] if (one["id"], one["service"]) == (requirement, service)]
    return str(fitting[0]["sentence"])


def claims_of(results: dict[str, Any]) -> dict[str, str]:
    return {claim["id"]: claim["verdict"] for claim in results["claims"]}


def check(run: made.Synthetic, validator: str, status: str, **more: Any) -> None:
    named = {
        "check": "c",
        "service": "neutron",
        "subject": "agent",
        "phase": "after",
        "time": made.AFTER + 40,
        "message": "So.",
    }
    run.run.append_outcome(Outcome(validator=validator, status=Status(status), **{**named, **more}))


def test_clean_run_proves_what_was_measured_and_no_more(run: made.Synthetic) -> None:
    """A run without a fault passes what it measured; the rest is not proven, and nothing fails."""
    results = judged(run)
    nova = results_of(results, "nova")

    assert {one for one in MEASURED if nova[one] == "PASS"} == CLEAN
    assert {nova[one] for one in MEASURED if one not in CLEAN} == {"NOT PROVEN"}
    assert [one for one in results["requirements"] if one["result"] == "FAIL"] == []
    assert (results["verdict"], results["interrupted"]) == ("inconclusive", False)


def test_clean_observer_never_says_zero(run: made.Synthetic) -> None:
    """A lane without an outage says how long one could have hidden."""
    assert sentence(judged(run), "Z2", "nova").startswith("No outage longer than 0.16 s")


def test_everything_vouched_for_is_met(run: made.Synthetic) -> None:
    """A claim is met when every requirement is proven or attested; what a run cannot show decides about the tag."""
    every = [one.id for one in REQUIREMENTS]
    open_ones = [one for one in every if one not in CLEAN]
    vouched = tuple(Attestation(requirement=one, by="somebody", url="http://x") for one in open_ones)
    measured = tuple(one for one in vouched if one.requirement in MEASURED)
    # Placement has no resource of its own in this run.
    measured += tuple(Attestation(requirement=one, by="x", url="y", service="placement") for one in ("U3b", "U6"))

    by_run = judged(run, attestations=measured)
    by_tag = judged(run, attestations=(*vouched, *measured))
    assert set(claims_of(by_run).values()) == {"met"}
    assert {claim["tag_supported"] for claim in by_run["claims"]} == {"inconclusive"}
    assert {claim["tag_supported"] for claim in by_tag["claims"]} == {"met"}
    assert by_run["headline"] == "MET"


def test_attestation_never_hides_a_failure(run: made.Synthetic) -> None:
    """What was seen to fail stays failed, whoever vouches for it."""
    run.lose("nova", made.outage(made.UPGRADE + 30, 3.0))
    results = judged(run, attestations=(Attestation(requirement="Z2", by="x", url="y"),))

    assert results_of(results, "nova")["Z2"] == "FAIL"


def test_one_outage_fails_that_service_only(run: made.Synthetic) -> None:
    """Two seconds without neutron are neutron's, with bounds that contain them, and nobody else's."""
    run.lose("neutron", made.outage(made.UPGRADE + 445, 2.04, "http_5xx_haproxy"))
    results = judged(run)
    failed = {(one["service"], one["id"]) for one in results["requirements"] if one["result"] == "FAIL"}
    finding = results["findings"][0]

    assert failed == {("neutron", "Z2"), ("neutron", "Z3"), ("neutron", "I1")}
    assert claims_of(results) == {
        "upgrade": "inconclusive",
        "accessible": "inconclusive",
        "rolling": "inconclusive",
        "zero_downtime": "not_met",
        "zero_impact": "not_met",
    }
    assert (finding["id"], finding["kind"], finding["severity"]) == ("OUT-1", "outage.http_5xx_haproxy", "fail")
    assert (finding["phase"], finding["offset"], finding["seconds"]) == ("upgrade", 445.0, 2.04)
    assert "at least 1.94, at most 2.14 s" in finding["what"]
    assert results["headline"] == "NOT MET - zero downtime, zero impact - neutron public down 2.0 s"
    neutron = next(one for one in results["services"] if one["name"] == "neutron")
    assert (neutron["outages"], neutron["downtime_lower"], neutron["downtime_upper"]) == (1, 1.94, 2.14)


def test_what_went_on_around_an_outage_is_told(run: made.Synthetic) -> None:
    """A finding names the tasks from 30 s before to 10 s after its beginning, and no others."""
    run.lose("neutron", made.outage(made.UPGRADE + 445, 2.04))
    around = judged(run)["findings"][0]["around"]

    assert [one["name"] for one in around] == [
        "Drain neutron",
        "Stop neutron",
        "Start the new neutron",
        "Put back neutron",
    ]
    assert all(-30 <= one["offset"] <= 10 for one in around)


def test_single_failed_request_is_no_downtime_but_no_success(run: made.Synthetic) -> None:
    """One lost request proves no time without service, yet the limit of failed requests is zero."""
    run.lose("glance", made.outage(made.UPGRADE + 200, 0.0, "reset", failures=1), mode="kept")
    glance = results_of(judged(run), "glance")

    assert (glance["Z2"], glance["Z3"]) == ("PASS", "FAIL")


def test_instance_away_is_a_survived_failover(run: made.Synthetic) -> None:
    """An instance that is gone while the endpoint answers is told apart, and fails nothing."""
    notes = [one for one in judged(run)["findings"] if one["kind"].startswith("failover.")]

    assert len(notes) == 10
    assert {one["severity"] for one in notes} == {"note"}


def test_instance_away_unseen_by_users_is_no_survived_failover(run: made.Synthetic) -> None:
    """While the published endpoint was not sampled, nobody knows whether users felt that an instance was away."""
    hole = (made.UPGRADE - 1, made.AFTER)
    run.samples["api_uptime"] = [
        replace(one, gaps=(*one.gaps, hole)) if one.target.via == "public" else one for one in run.samples["api_uptime"]
    ]
    results = judged(run)
    instances = [one for one in results["findings"] if one["id"].startswith("INS")]

    assert {one["kind"] for one in instances} == {"instance.refused"}
    assert {one["cause"] for one in instances} == {"undetermined"}
    assert {one["survived_failovers"] for one in results["services"]} == {0}


def test_cause_of_an_outage_is_told_with_its_evidence(run: made.Synthetic) -> None:
    """An outage of the endpoint while both instances answered is the load balancer's, in finding and lane."""
    run.lose("nova", made.outage(made.UPGRADE + 20, 2.0, "http_5xx_haproxy"))
    results = judged(run)
    finding = results["findings"][0]
    (outage,) = next(one["outages"] for one in results["lanes"] if one["published"] and one["service"] == "nova")

    assert (finding["severity"], finding["cause"], outage["cause"]) == ("fail", "load_balancer", "load_balancer")
    assert "nova control1" in finding["what"]
    assert "nova control2" in outage["why"]
    assert "load balancer itself" in finding["hint"]


def test_cause_is_that_of_the_longest(run: made.Synthetic) -> None:
    """A short failure near a long outage does not lend it its cause."""
    run.lose("nova", made.outage(made.UPGRADE + 20, 2.0), made.outage(made.UPGRADE + 24, 0.5, "reset"), mode="kept")
    run.lose("nova", made.outage(made.UPGRADE + 20, 2.0), mode="new")
    for host in ("control1", "control2"):
        run.lose("nova", made.outage(made.UPGRADE + 20, 2.0), via=host)
    finding = judged(run)["findings"][0]

    assert (finding["id"], finding["cause"]) == ("OUT-1", "all_instances")


def second_host(run: made.Synthetic) -> None:
    """The same was watched from another host, and all was well."""
    for observer in ("api_uptime", "data_plane"):
        made.heartbeat(run.run, observer, "gateway")
        run.samples[f"{observer}/gateway"] = list(run.samples[observer])


def test_path_of_one_host_is_not_the_clouds(run: made.Synthetic) -> None:
    """What one host could not reach while another one did is told, and held against no service."""
    second_host(run)
    cut = made.outage(made.UPGRADE + 20, 2.0, "connect_timeout")
    run.lose("nova", cut, mode="new")
    results = judged(run)
    told = [one for one in results["findings"] if one["severity"] != "note"]

    assert [(one["id"], one["kind"], one["severity"]) for one in told] == [
        ("OBS-1", "observer.connect_timeout", "warning")
    ]
    assert "gateway" in told[0]["what"]
    assert (results_of(results, "nova")["Z2"], results_of(results, "nova")["Z3"]) == ("PASS", "PASS")


def test_observer_that_was_cut_off_proves_nothing(run: made.Synthetic) -> None:
    """When nothing at all answered one host, servers included, the time was not observed: neither good nor bad."""
    for observer, kind in (("api_uptime", "connect_timeout"), ("data_plane", "no_reply")):
        cut = made.outage(made.UPGRADE + 20, 4.0, kind)
        run.samples[observer] = [
            made.down(one, *sorted([*one.outages, cut], key=lambda outage: outage.begin))
            for one in run.samples[observer]
        ]
    results = judged(run)
    told = [one for one in results["findings"] if one["severity"] != "note"]

    assert [one["id"] for one in told] == ["OBS-1"]
    assert told[0]["cause"] == "observer"
    assert {results_of(results, "nova")[one] for one in ("Z2", "C2")} == {"NOT PROVEN"}
    assert results["verdict"] == "inconclusive"


def test_refused_token_is_keystones(run: made.Synthetic) -> None:
    """Requests that fail for their token only are held against keystone, whoever answered them."""
    plain = next(one for one in run.samples["api_uptime"] if one.target.service == "nova" and one.target.mode == "new")
    token = replace(plain, target=replace(plain.target, auth=True))
    run.samples["api_uptime"].append(made.down(token, made.outage(made.UPGRADE + 20, 2.0, "unauthorized")))
    results = judged(run)
    (finding,) = (one for one in results["findings"] if one["severity"] == "fail")

    assert (finding["id"], finding["service"], finding["cause"]) == ("TOK-1", "keystone", "token")
    assert results_of(results, "keystone")["Z3"] == "FAIL"
    assert results_of(results, "nova")["Z3"] == "PASS"


def with_token(run: made.Synthetic, service: str, *outages: made.Outage) -> None:
    """Add a lane with a token to a service's published endpoint."""
    plain = next(one for one in made.clean_lanes() if (one.target.service, one.target.via) == (service, "public"))
    token = replace(plain, target=replace(plain.target, auth=True), interval=1.0)
    run.samples["api_uptime"].append(made.down(token, *outages) if outages else token)


def test_without_keystone_only_keystone_is_down(run: made.Synthetic) -> None:
    """While keystone is out, nova's requests with a token fail: that is keystone's outage, and nova was up."""
    run.lose("keystone", made.outage(made.UPGRADE + 20, 8.0, "refused"))
    with_token(run, "nova", made.outage(made.UPGRADE + 21, 6.0, "http_5xx_service", failures=6))
    results = judged(run)
    outages = {one["name"]: (one["outages"], one["longest"]) for one in results["services"]}

    assert results_of(results, "nova")["Z2"] == results_of(results, "nova")["Z3"] == "PASS"
    assert results_of(results, "keystone")["Z2"] == "FAIL"
    assert outages["nova"] == (0, None)
    assert outages["keystone"] == (1, 8.0), "one event is one outage"
    assert [one["service"] for one in results["findings"] if one["severity"] == "fail"] == ["keystone"]


def test_a_service_that_fails_with_a_token_only_is_down(run: made.Synthetic) -> None:
    """A service whose versions are shown while users get errors has an outage, though its plain lanes saw none."""
    with_token(run, "nova", made.outage(made.UPGRADE + 21, 6.0, "http_5xx_service", failures=6))
    results = judged(run)
    (finding,) = (one for one in results["findings"] if one["severity"] == "fail")

    assert (finding["id"], finding["service"]) == ("TOK-1", "nova")
    assert "with a token" in finding["what"]
    assert results_of(results, "nova")["Z2"] == "FAIL"
    assert results_of(results, "keystone")["Z2"] == "PASS"


def test_an_outage_with_and_without_a_token_is_one(run: made.Synthetic) -> None:
    """An endpoint that is out fails whatever is asked: one outage, with the closer bounds."""
    run.lose("nova", made.outage(made.UPGRADE + 20, 8.0, "refused"))
    with_token(run, "nova", made.outage(made.UPGRADE + 20.5, 8.5, "refused", failures=8))
    results = judged(run)
    nova = next(one for one in results["services"] if one["name"] == "nova")

    assert (nova["outages"], nova["longest"]) == (1, 8.0)
    assert [one["id"] for one in results["findings"] if one["severity"] == "fail"] == ["OUT-1"]


def test_a_lack_of_tokens_is_told_and_lowers_no_other_coverage(run: made.Synthetic) -> None:
    """Requests that were not sent for lack of a token are a finding of their own; what was asked without stands."""
    with_token(run, "nova")
    run.samples["api_uptime"][-1] = replace(run.samples["api_uptime"][-1], coverage=0.25)
    status = run.run.path / "samples/api_uptime/localhost/status.json"
    status.write_text(json.dumps({**json.loads(status.read_text()), "tokens": {"error": "Keystone refused."}}))
    results = judged(run)
    (finding,) = (one for one in results["findings"] if one["kind"] == "observer.token")
    (observer,) = (one for one in results["observers"] if one["observer"] == "api_uptime")

    assert (finding["severity"], finding["service"]) == ("warning", "keystone")
    assert "25.00%" in finding["what"]
    assert "Keystone refused." in finding["what"]
    assert (observer["coverage"], observer["token_share"], observer["trouble"]) == (1.0, 0.25, "")
    assert results_of(results, "nova")["Z2"] == "PASS"


def test_failures_before_the_upgrade_are_not_its_own(run: made.Synthetic) -> None:
    """An outage of the baseline is a warning, and takes the strict proof away without contradicting it."""
    run.lose("glance", made.outage(made.BEFORE + 50, 3.0))
    results = judged(run)

    assert results_of(results, "glance")["Z2"] == "PASS"
    assert results_of(results, "glance")["Z3"] == "NOT PROVEN"
    assert results["findings"][0]["severity"] == "warning"


def test_outage_that_lasts_into_the_upgrade_counts(run: made.Synthetic) -> None:
    """An outage that began just before the upgrade and went on is downtime of the upgrade."""
    run.lose("glance", made.outage(made.UPGRADE - 1, 5.0))

    assert results_of(judged(run), "glance")["Z2"] == "FAIL"


def test_nearby_outages_are_one_finding(run: made.Synthetic) -> None:
    """Outages of a service within five seconds have one cause; services that are down together name each other."""
    begin = made.UPGRADE + 300
    run.lose("nova", made.outage(begin, 2.0), made.outage(begin + 4, 1.0), made.outage(begin + 60, 1.0))
    run.lose("glance", made.outage(begin + 0.5, 1.0))
    told = [one for one in judged(run)["findings"] if one["id"].startswith("OUT")]

    assert [one["service"] for one in told] == ["nova", "glance", "nova"]
    assert "together with glance" in told[0]["what"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ended": False}, "did not end by itself"),
        ({"coverage": 0.9989}, "covered 99.89%"),
        ({"longest_gap": 1.2}, "hole of 1.20 s"),
        ({"begin": made.UPGRADE + 30}, "began 30.0 s after the upgrade began"),
        ({"end": made.AFTER - 7}, "ended 7.0 s before the upgrade ended"),
        ({"counts": {"up": 0, "down": 0, "void": 0}}, "never got an answer"),
        ({"interval": 1.0, "longest_gap": 1.1}, "asked every 1 s only"),
    ],
)
def test_bad_observation_proves_nothing(run: made.Synthetic, changes: dict[str, Any], reason: str) -> None:
    """An observer that was lost, blind, late or slow never makes an upgrade look good."""
    run.change("api_uptime", **changes)
    results = judged(run)

    assert results_of(results, "nova")["Z2"] == "NOT PROVEN"
    assert reason in sentence(results, "Z2", "nova")
    assert claims_of(results)["zero_downtime"] != "met"


def test_hole_beside_an_outage_is_told_as_the_outage(run: made.Synthetic) -> None:
    """The time without an answer during an outage is no hole of the observer."""
    run.lose("nova", made.outage(made.UPGRADE + 30, 3.0))

    assert results_of(judged(run), "nova")["Z2"] == "FAIL"


def test_lost_observer_is_a_finding_of_its_own(run: made.Synthetic) -> None:
    """Trouble of the observer is named as such, and never as trouble of the cloud."""
    run.change("api_uptime", ended=False)
    finding = judged(run)["findings"][0]

    assert (finding["id"], finding["severity"]) == ("OBS-1", "warning")
    assert "not of the cloud" in finding["what"]


def test_unreadable_log_is_told(run: made.Synthetic) -> None:
    """A log that cannot be read is trouble of that observer, and all others are judged."""
    made.heartbeat(run.run, "api_uptime", "broken")
    results = judged(run)

    assert "its log could not be read: not a log" in results["findings"][0]["what"]
    assert results_of(results, "nova")["Z2"] == "PASS"


def test_nothing_seen_is_nothing_proven(tmp_path: Path) -> None:
    """A run that recorded nothing proves nothing, of any service that it names."""
    run = RunDirectory.create(tmp_path, services=["nova"])
    run.close(completed=True)
    results = judge_run(run, Policy(), lambda _path: [])

    assert {one["result"] for one in results["requirements"]} <= {"NOT PROVEN", "N/A"}
    assert results["verdict"] == "inconclusive"


def test_no_services_at_all_is_inconclusive(tmp_path: Path) -> None:
    """An empty run is not good because nothing in it is bad."""
    run = RunDirectory.create(tmp_path)
    run.close(completed=True)

    assert judge_run(run, Policy(), lambda _path: [])["verdict"] == "inconclusive"


@pytest.mark.parametrize("closed", [{"close": False}, {"completed": False}])
def test_interrupted_run_is_never_met(tmp_path: Path, closed: dict[str, bool]) -> None:
    """A run that did not end is inconclusive, even when everything that was seen is good."""
    run = made.make(tmp_path / "runs", **closed)
    every = tuple(Attestation(requirement=one.id, by="x", url="y") for one in REQUIREMENTS)
    results = judged(run, attestations=every)

    assert (results["verdict"], results["interrupted"]) == ("inconclusive", True)
    assert "interrupted" in results["headline"]


def test_interrupted_run_with_a_failure_is_not_met(tmp_path: Path) -> None:
    """What was seen to fail has failed, however the run ended."""
    run = made.make(tmp_path / "runs", completed=False)
    run.lose("nova", made.outage(made.UPGRADE + 30, 3.0))

    assert judged(run)["verdict"] == "not_met"


def test_failed_driver_is_a_failed_upgrade(run: made.Synthetic) -> None:
    """When the deployment tool fails, every claim is not met, and that comes first."""
    check(
        run, "driver", "fail", service="", subject="kolla", phase="upgrade", message="The command 'kolla' ended with 2."
    )
    results = judged(run)

    assert set(claims_of(results).values()) == {"not_met"}
    assert results["findings"][0]["id"] == "DRV-1"


def test_instance_on_the_old_release_fails_that_service(run: made.Synthetic) -> None:
    """A process that stayed behind fails the upgrade of its service, with both versions."""
    told = {"expected": made.NEW, "found": made.OLD, "host": "control2", "message": "glance on control2 runs 2025.1."}
    check(run, "release_version", "fail", service="glance", subject="glance-api", **told)
    results = judged(run)
    finding = next(one for one in results["findings"] if one["id"] == "REL-1")

    assert [one["service"] for one in results["requirements"] if (one["id"], one["result"]) == ("U7", "FAIL")] == [
        "glance"
    ]
    assert "Expected 2026.1, found 2025.1" in finding["what"]
    assert finding["subject"] == "glance-api on control2"


def test_an_api_alone_proves_no_release(run: made.Synthetic) -> None:
    """What an API offers can contradict the processes that were seen, and cannot stand in for them."""
    check(run, "release_version", "unknown", check="release_api", service="glance")
    assert results_of(judged(run), "glance")["U7"] == "PASS"
    check(run, "release_version", "fail", check="release_api", service="glance")

    assert results_of(judged(run), "glance")["U7"] == "FAIL"


def test_pins_count_after_the_upgrade(run: made.Synthetic) -> None:
    """What was pinned before is no matter; a service that knows no pins has none to leave."""
    pins = {"check": "release_pins", "service": "nova"}
    check(run, "release_version", "fail", **pins, phase="before")
    assert results_of(judged(run), "nova")["R4"] == "NOT PROVEN"
    check(run, "release_version", "pass", **pins)
    check(run, "release_version", "skip", check="release_pins", service="glance")
    results = judged(run)
    assert (results_of(results, "nova")["R4"], results_of(results, "glance")["R4"]) == ("PASS", "N/A")
    check(run, "release_version", "fail", **pins)

    assert results_of(judged(run), "nova")["R4"] == "FAIL"


def test_release_not_known_is_not_proven(run: made.Synthetic) -> None:
    """A process whose release could not be read is not on the new one."""
    check(run, "release_version", "unknown", service="glance")

    assert results_of(judged(run), "glance")["U7"] == "NOT PROVEN"


def test_new_illness_fails_and_old_illness_does_not(run: made.Synthetic) -> None:
    """What was ill before is not the upgrade's fault; what is ill since is."""
    for phase in ("before", "after"):
        check(run, "system_health", "fail", subject="agent", phase=phase)
    assert results_of(judged(run), "neutron")["U8"] == "NOT PROVEN"
    check(run, "system_health", "fail", subject="another agent", host="compute1")

    assert results_of(judged(run), "neutron")["U8"] == "FAIL"


def test_lost_resource_fails_its_service(run: made.Synthetic) -> None:
    """A resource that does not verify is lost data and a changed state."""
    check(run, "persistent_resource", "fail", service="nova", check="verified", message="The server is gone.")
    nova = results_of(judged(run), "nova")

    assert (nova["U3b"], nova["U6"], nova["R1"], nova["Z1"]) == ("FAIL", "FAIL", "FAIL", "FAIL")


def test_rebooted_guest_fails_the_state_only(run: made.Synthetic) -> None:
    """Another boot id is a change of state, though no data is lost."""
    check(run, "persistent_resource", "fail", service="nova", check="boot_id_unchanged")
    nova = results_of(judged(run), "nova")

    assert (nova["U3b"], nova["U6"]) == ("PASS", "FAIL")


def test_resource_that_could_not_be_removed_is_no_lost_data(run: made.Synthetic) -> None:
    """Trouble in clean-up does not say that the upgrade lost anything."""
    check(run, "persistent_resource", "fail", service="nova", check="removed")

    assert results_of(judged(run), "nova")["U3b"] == "PASS"


def test_skipped_resource_is_not_applicable(run: made.Synthetic) -> None:
    """A service without resources of its own cannot lose any."""
    check(run, "persistent_resource", "skip", service="placement", check="verified", message="Nothing to keep.")

    assert results_of(judged(run), "placement")["U3b"] == "N/A"


def test_left_behind_resource_is_named(run: made.Synthetic) -> None:
    """What may still exist is named with its id and the command that removes it."""
    run.run.append_resource("intent", service="neutron", type="port", name="upgrade-test-x")
    results = judged(run)
    finding = next(one for one in results["findings"] if one["kind"] == "cleanup.left")

    assert results["resources"]["left"] == [{"service": "neutron", "type": "port", "name": "upgrade-test-x", "id": ""}]
    assert made.RUN_ID in finding["hint"]


def test_resource_told_of_again_counts_once(run: made.Synthetic) -> None:
    """What the journal tells of twice was made once, so that what was made and what was removed can be compared."""
    named = {"service": "nova", "type": "server", "name": "upgrade-test-again", "id": "1"}
    for event in ("intent", "created", "created", "deleted"):
        run.run.append_resource(event, **named)

    assert judged(run)["resources"] == {"created": 4, "deleted": 4, "in_use": [], "left": []}


@pytest.mark.parametrize(
    ("end", "key"), [(None, "in_use"), ({"completed": True}, "left"), ({"completed": False}, "left")]
)
def test_run_that_goes_on_has_left_nothing_behind(tmp_path: Path, end: dict[str, bool] | None, key: str) -> None:
    """What a run that is still open has made is in use; it is left behind when the run has ended, in whatever way."""
    run = made.make(tmp_path / "runs", close=False)
    run.run.append_resource("created", service="neutron", type="port", name="upgrade-test-x", id="7")
    if end:
        run.run.close(**end, now=made.END)
    results = judged(run)
    told = {name for name in ("in_use", "left") if results["resources"][name]}

    assert told == {key}
    assert [one["name"] for one in results["resources"][key]] == ["upgrade-test-x"]
    assert any(one["kind"] == "cleanup.left" for one in results["findings"]) == (key == "left")


def test_mixed_releases_are_read_from_processes(run: made.Synthetic) -> None:
    """The time with both releases is what the logs of running processes show: control2 is 40 s behind."""
    windows = judged(run)["mixed"]["keystone"]

    assert [(one["begin"] - made.UPGRADE, one["end"] - made.UPGRADE) for one in windows] == [(68.0, 102.0)]


def test_no_overlap_is_not_proven(run: made.Synthetic) -> None:
    """When both instances change at once, rolling is not proven; restarting together is allowed, so nothing fails."""
    made.processes(run.run, "control2", made.UPGRADE + 62)

    assert results_of(judged(run), "keystone")["R2"] == "NOT PROVEN"
    assert results_of(judged(run), "keystone")["Z6"] == "NOT PROVEN"


@pytest.mark.parametrize(
    ("use", "result"), [("pass", "PASS"), ("skip", "PASS"), ("", "NOT PROVEN"), ("unknown", "NOT PROVEN")]
)
def test_both_releases_are_used_together(run: made.Synthetic, use: str, result: str) -> None:
    """Health and use, seen while both releases run, prove that they work together; use only where there is any."""
    told = {"service": "keystone", "subject": "it", "message": "It was seen.", "time": made.UPGRADE + 80}
    run.run.append_outcome(Outcome(validator="system_health", check="serves", status="pass", phase="upgrade", **told))
    if use:
        named = {"validator": "persistent_resource", "check": "resource_kept", "phase": "upgrade"}
        run.run.append_outcome(Outcome(**named, status=use, **told))

    assert results_of(judged(run), "keystone")["R3"] == result


def test_data_plane_is_the_servers_own_matter(run: made.Synthetic) -> None:
    """A server that cannot be reached contradicts the accessible upgrade, and no claim about the API."""
    lane = run.samples["data_plane"][0]
    run.samples["data_plane"][0] = made.down(lane, made.outage(made.UPGRADE + 300, 7.0, "no_reply"))
    results = judged(run)

    assert (claims_of(results)["accessible"], claims_of(results)["zero_downtime"]) == ("not_met", "inconclusive")
    assert results["findings"][0]["id"] == "NET-1"


def test_own_names_of_phases_are_parts_of_the_upgrade(tmp_path: Path) -> None:
    """An operator may call the parts of an upgrade what he likes."""
    run = made.make(tmp_path / "runs", phases=False, close=False)
    for name, begin in (
        ("before", made.BEFORE),
        ("control", made.UPGRADE),
        ("compute", made.UPGRADE + 300),
        ("after", made.AFTER),
    ):
        run.run.begin_phase(name, now=begin)
    run.run.close(completed=True, now=made.END)
    run.lose("nova", made.outage(made.UPGRADE + 310, 3.0))
    results = judged(run)

    assert results["findings"][0]["phase"] == "compute"
    assert results_of(results, "nova")["Z2"] == "FAIL"
    assert results_of(results, "glance")["Z2"] == "PASS"


def test_torn_records_are_counted(run: made.Synthetic) -> None:
    """A torn line is left out and told."""
    path = run.run.path / "outcomes.jsonl"
    path.write_bytes(path.read_bytes() + b'{"validator": "rel')

    assert judged(run)["unreadable"] == {"outcomes.jsonl": 1}


def test_same_records_same_results(run: made.Synthetic) -> None:
    """Judging again, elsewhere and later, gives the same bytes."""
    first = json.dumps(judged(run))
    run.samples["api_uptime"] = [replace(one) for one in run.samples["api_uptime"]]

    assert json.dumps(judged(run)) == first


def test_results_survive_a_strict_writer(run: made.Synthetic) -> None:
    """Results hold plain JSON only: no NaN, no odd types."""
    results = judged(run)

    assert json.loads(json.dumps(results, allow_nan=False)) == json.loads(
        run.run.write_json("results.json", results).read_text()
    )


def test_an_outage_without_a_least_length_is_not_given_one(run: made.Synthetic) -> None:
    """Failures with seconds of silence about them may have been one instant: the middle of the bounds is no figure."""
    wide = replace(made.outage(made.UPGRADE + 445, 4.0, failures=2), lower=0.0, upper=8.0)
    run.lose("neutron", wide)
    results = judged(run)
    finding = results["findings"][0]

    assert finding["kind"] == "outage.refused"
    assert finding["seconds"] is None
    assert "No answer for at most 8.00 s (no proof of a least time)" in finding["what"]
    assert "neutron public: No answer for at most 8.00 s" in results["headline"]
    assert all("at most 8.00 s" in line for line in finding["evidence"])
    assert [one["longest"] for one in results["services"] if one["outages"]] == [None]
