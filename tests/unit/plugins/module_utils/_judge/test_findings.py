# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a checklist says has failed, a finding explains; delays are tried where they are measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._checklist import RULES
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._policy import Policy
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._verdict import judge_run
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome
from ansible_collections.openstack.upgrade_test.tests.unit.plugins import _synthetic as made

NEVER_FAIL = {"C3", "Z4", "Z5", "I2", "I4"}
"""What can only be shown or not shown: whether enough was watched, and what nothing measures yet."""
OF_DELAYS = {"I3", "I5"}
SERVICE = "keystone"
BOTH_RELEASES = made.UPGRADE + 80  # a moment in which both of this service run

Plant = Callable[[made.Synthetic], None]


def outcome(validator: str, check: str, *, service: str = SERVICE, phase: str = "after") -> Plant:
    """Plant a check that fails."""

    def plant(run: made.Synthetic) -> None:
        told = {"validator": validator, "check": check, "service": service, "subject": "it", "message": "It failed."}
        moment = BOTH_RELEASES if phase == "upgrade" else made.AFTER + 40
        run.run.append_outcome(Outcome(**told, phase=phase, time=moment, status="fail"))

    return plant


def endpoint(**changes: Any) -> Plant:
    """Plant something else into what was seen of the published endpoint."""

    def plant(run: made.Synthetic) -> None:
        run.samples["api_uptime"] = [
            replace(one, **changes) if (one.target.service, one.target.via) == (SERVICE, "public") else one
            for one in run.samples["api_uptime"]
        ]

    return plant


def away(run: made.Synthetic) -> None:
    """The endpoint is down for some seconds."""
    run.lose(SERVICE, made.outage(made.UPGRADE + 30, 3.0))


def away_always(run: made.Synthetic) -> None:
    """The endpoint never answers, and no instance either."""
    for via in ("public", "control1", "control2"):
        run.lose(SERVICE, made.outage(made.T0 + 5, made.END - made.T0 - 10), via=via)
    endpoint(counts={"up": 0, "slow": 0, "down": 8000})(run)


def unreachable(run: made.Synthetic) -> None:
    """The server cannot be reached for some seconds."""
    run.change("data_plane", outages=(made.outage(made.UPGRADE + 30, 3.0, "no_reply"),))


def cold(run: made.Synthetic) -> None:
    """All was stopped for the upgrade, and nobody watched an endpoint."""
    run.run.update(strategy="cold")
    run.samples["api_uptime"] = []


PLANTS: tuple[tuple[Plant, str, set[str], str], ...] = (
    (outcome("driver", "upgrade_completed", service="", phase="upgrade"), SERVICE, {"U0"}, "driver."),
    (away_always, SERVICE, {"U1", "Z2"}, "outage."),
    (outcome("system_health", "config_of_old_release"), SERVICE, {"U2a"}, "health."),
    (outcome("system_health", "upgrade_check"), SERVICE, {"U2b"}, "health."),
    (outcome("system_health", "online_migrations"), SERVICE, {"U3a"}, "health."),
    (outcome("persistent_resource", "resource_kept"), SERVICE, {"U3b", "U6"}, "resource."),
    (outcome("cloud_fingerprint", "unchanged"), SERVICE, {"U6"}, "state."),
    (outcome("release_version", "release"), SERVICE, {"U7"}, "release."),
    (outcome("system_health", "api_answers"), SERVICE, {"U8"}, "health."),
    (unreachable, "nova", {"C2"}, "network."),
    (cold, SERVICE, {"R2", "Z6"}, "upgrade.cold"),
    (outcome("system_health", "api_answers", phase="upgrade"), SERVICE, {"R3"}, "health."),
    (outcome("release_version", "release_pins"), SERVICE, {"R4"}, "release."),
    (away, SERVICE, {"Z2", "Z3"}, "outage."),
    (endpoint(counts={"up": 8300, "down": 2}), SERVICE, {"Z3"}, "request.unplaced"),
)


def judged(run: made.Synthetic) -> dict[str, Any]:
    return judge_run(run.run, Policy(), run.reader)


def failures(results: dict[str, Any]) -> set[tuple[str, str]]:
    """Service and requirement of all that failed by itself, and not for what it builds on."""
    failed = [one for one in results["requirements"] if one["result"] == "FAIL" and one["kind"] != "derived"]
    return {(one["service"], one["id"]) for one in failed}


@pytest.mark.parametrize(("plant", "service", "broken", "kind"), PLANTS)
def test_what_fails_is_explained(tmp_path: Path, plant: Plant, service: str, broken: set[str], kind: str) -> None:
    """Each failure that is planted fails its requirements, and a finding that is no mere note tells of it."""
    run = made.make(tmp_path / "runs")
    plant(run)
    results = judged(run)
    told = {(one["service"], one["kind"]) for one in results["findings"] if one["severity"] != "note"}

    assert {one for of, one in failures(results) if of == service} == broken
    assert any(of in (service, "") and what.startswith(kind) for of, what in told), told


def test_each_requirement_that_can_fail_was_tried() -> None:
    """A rule that is added has to be planted here, so that it cannot fail without a finding."""
    tried = {one for _plant, _service, broken, _kind in PLANTS for one in broken}

    assert tried | OF_DELAYS == set(RULES) - NEVER_FAIL


def test_what_was_not_asked_has_not_failed(tmp_path: Path) -> None:
    """An endpoint of which there is neither an answer nor a failure is not proven to answer, nor to be away."""
    run = made.make(tmp_path / "runs")
    endpoint(counts={"up": 0, "down": 0, "void": 8300})(run)
    results = judged(run)
    (told,) = (one for one in results["requirements"] if (one["service"], one["id"]) == (SERVICE, "U1"))

    assert (told["result"], failures(results)) == ("NOT PROVEN", set())
