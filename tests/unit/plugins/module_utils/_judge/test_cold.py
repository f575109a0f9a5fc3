# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cold upgrade: what it can claim, what of its downtime is planned, what still counts against it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._policy import Policy
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._verdict import judge_run
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._markdown import markdown
from ansible_collections.openstack.upgrade_test.tests.unit.plugins import _synthetic as made

COLD_CLAIMS = ("upgrade", "accessible")
AWAY = made.AFTER - made.UPGRADE - 10  # seconds


@pytest.fixture
def run(tmp_path: Path) -> made.Synthetic:
    """A run whose APIs were all away while the services were stopped, and back before the time after began."""
    one = made.make(tmp_path / "runs")
    one.run.update(strategy="cold")
    for service in made.SERVICES:
        one.lose(service, made.outage(made.UPGRADE + 5, AWAY))
    return one


def judged(run: made.Synthetic, *claims: str) -> dict[str, Any]:
    return judge_run(run.run, Policy(claims=claims or COLD_CLAIMS), run.reader)


def requirement(results: dict[str, Any], id_: str, service: str = "nova") -> tuple[str, str]:
    [one] = [one for one in results["requirements"] if (one["id"], one["service"]) == (id_, service)]
    return one["result"], one["sentence"]


def test_a_cold_upgrade_is_not_rolling(run: made.Synthetic) -> None:
    """Whatever the processes show, a run that stopped all services cannot claim it."""
    results = judged(run, "rolling")

    assert results["verdict"] == "not_met"
    assert requirement(results, "R2") == (
        "FAIL",
        "The upgrade was cold: all services were stopped for it, so both releases never served together.",
    )


def test_planned_downtime_is_told_as_what_it_is(run: made.Synthetic) -> None:
    """It is downtime, with its length, and no failure of a claim that does not speak of it."""
    results = judged(run)
    told = [one for one in results["findings"] if one["kind"] == "downtime.planned"]

    assert {one["severity"] for one in told} == {"warning"}
    assert {one["service"] for one in told} == set(made.SERVICES)
    assert all(one["what"].startswith("Planned: a cold upgrade stops all services. No answer for") for one in told)
    assert not [one for one in results["findings"] if one["severity"] == "fail"]
    assert results["verdict"] != "not_met"
    assert results["headline"].endswith(f"cold, no API for {AWAY:.0f} s as planned")
    nova = next(one for one in results["services"] if one["name"] == "nova")
    assert (nova["outages"], nova["failed_requests"], nova["planned_downtime"]) == (0, 0, AWAY)
    assert "planned" in markdown(results)


def test_downtime_is_downtime(run: made.Synthetic) -> None:
    """Nobody may claim zero downtime because it was planned."""
    result, sentence = requirement(judged(run, "zero_downtime"), "Z2")

    assert result == "FAIL"
    assert sentence.startswith("Planned, as the upgrade was cold: ")


def test_an_api_that_does_not_come_back_is_not_planned(run: made.Synthetic) -> None:
    """What lasts into the time after the upgrade is a failure."""
    run.lose("nova", made.outage(made.UPGRADE + 5, AWAY + 25))
    results = judged(run)

    assert [one["service"] for one in results["findings"] if one["severity"] == "fail"] == ["nova"]
    assert not requirement(judged(run, "zero_downtime"), "Z2")[1].startswith("Planned")


def test_the_same_outage_of_a_rolling_upgrade_is_none_that_was_planned(run: made.Synthetic) -> None:
    """Only a run that said beforehand that it is cold has planned anything."""
    run.run.update(strategy="rolling")
    results = judged(run)

    assert not [one for one in results["findings"] if one["kind"] == "downtime.planned"]
    assert [one for one in results["findings"] if one["severity"] == "fail"]


def test_a_server_that_cannot_be_reached_was_not_planned(run: made.Synthetic) -> None:
    """What users own has to go on while the services are stopped."""
    run.change("data_plane", outages=(made.outage(made.UPGRADE + 10, 20, "no_reply"),))
    results = judged(run)

    assert requirement(results, "C2")[0] == "FAIL"
    assert results["verdict"] == "not_met"


@pytest.mark.parametrize(("status", "result"), [("pass", "PASS"), ("fail", "FAIL"), ("unknown", "PASS")])
def test_what_was_lost_without_services_counts(run: made.Synthetic, status: str, result: str) -> None:
    """A check that failed while no service ran is a change of state, even when all is well after the upgrade."""
    run.run.append_outcome(
        Outcome(
            validator="grenade_plugin",
            check="verified_without_api",
            service="nova",
            subject="nova",
            phase="stopped",
            status=Status(status),
            message="The server did not answer.",
            time=made.UPGRADE + 20,
        )
    )

    assert requirement(judged(run), "U6")[0] == result
