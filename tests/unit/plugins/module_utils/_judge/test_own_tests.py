# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests and expectations of the user's own count for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._verdict import judge_run
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.tests.unit.plugins import _synthetic as made


@pytest.fixture
def run(tmp_path: Path) -> made.Synthetic:
    return made.make(tmp_path / "runs")


def record(run: made.Synthetic, validator: str, status: str, phase: str = "after", service: str = "nova") -> None:
    moment = made.AFTER + 40 if phase == "after" else made.T0 + 61
    words = {"check": "test", "subject": "tempest.api.compute", "message": "It is so."}
    one = Outcome(validator=validator, status=Status(status), service=service, phase=phase, time=moment, **words)
    run.run.append_outcome(one)


def suite(run: made.Synthetic, phase: str, tests: dict[str, str], **more: Any) -> None:
    """Record what became of the tests of a suite."""
    for subject, status in tests.items():
        words = {"check": "test", "service": "nova", "message": "It is so.", "evidence": {"suite": "Tempest", **more}}
        moment = made.AFTER + 40 if phase == "after" else made.T0 + 61
        one = Outcome(
            validator="external_test", subject=subject, status=Status(status), phase=phase, time=moment, **words
        )
        run.run.append_outcome(one)


def healthy(run: made.Synthetic, service: str = "nova") -> tuple[str, list[dict[str, Any]]]:
    results = judge_run(run.run, None, run.reader)
    [one] = [one for one in results["requirements"] if (one["id"], one["service"]) == ("U8", service)]
    return one["result"], results["findings"]


@pytest.mark.parametrize("validator", ["external_test", "expectation"])
@pytest.mark.parametrize(
    ("status", "result"), [("pass", "PASS"), ("skip", "PASS"), ("fail", "FAIL"), ("unknown", "NOT PROVEN")]
)
def test_they_count_like_the_collections_own(run: made.Synthetic, validator: str, status: str, result: str) -> None:
    """One that fails after the upgrade is a FAIL of its service's health, one that was not seen is NOT PROVEN."""
    record(run, validator, status)

    assert healthy(run)[0] == result
    assert healthy(run, "glance")[0] == "PASS"


def test_one_that_failed_before_is_not_the_upgrades_doing(run: made.Synthetic) -> None:
    """The same failure before and after is told as a warning, and is no FAIL of the upgrade."""
    for phase in ("before", "after"):
        record(run, "external_test", "fail", phase)
    result, told = healthy(run)

    assert result == "NOT PROVEN"
    assert {one["severity"] for one in told if one["id"].startswith("TST")} == {"warning"}


@pytest.mark.parametrize(
    ("after", "result"),
    [
        ({"boots": "pass", "resizes": "pass"}, "PASS"),
        ({"boots": "pass"}, "NOT PROVEN"),
        ({"boots": "pass", "resizes": "skip"}, "NOT PROVEN"),
        ({"boots": "fail"}, "FAIL"),
        ({}, "NOT PROVEN"),
    ],
)
def test_what_passed_before_has_to_be_tried_again(run: made.Synthetic, after: dict[str, str], result: str) -> None:
    """A test that is left out after the upgrade, or a whole suite that was forgotten, proves nothing."""
    suite(run, "before", {"boots": "pass", "resizes": "pass", "migrates": "skip"})
    suite(run, "after", after)

    assert healthy(run)[0] == result


def test_what_is_meant_for_one_time_only_is_not_missed(run: made.Synthetic) -> None:
    """A test that says so itself need not be run again."""
    suite(run, "before", {"boots": "pass"}, once=True)

    assert healthy(run)[0] == "PASS"


def test_a_forgotten_expectation_is_missed(run: made.Synthetic) -> None:
    """What held before and was not asked for after is not known to hold."""
    record(run, "expectation", "pass", "before")

    assert healthy(run)[0] == "NOT PROVEN"


def test_what_nobody_watched_is_not_praised(tmp_path: Path) -> None:
    """Without a service that has servers nothing is said of the time in which they could be reached."""
    run = made.make(tmp_path / "without-servers")
    run.run.update(services=["keystone"])
    run.samples.pop("data_plane")
    [claim] = [one for one in judge_run(run.run, None, run.reader)["claims"] if one["id"] == "accessible"]

    assert "No time without the server" not in claim["sentence"]


def test_they_do_not_stand_for_the_services_health(run: made.Synthetic) -> None:
    """A service that the run did not know before is not healthy because one test of somebody passed."""
    run.run.update(services=[*made.SERVICES, "bulletin"])
    for phase in ("before", "after"):
        record(run, "expectation", "pass", phase, "bulletin")

    assert healthy(run, "bulletin")[0] == "NOT PROVEN"
