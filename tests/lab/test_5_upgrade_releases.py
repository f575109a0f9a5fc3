# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen of the releases during the rolling upgrade, against what the lab itself recorded of its steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._lab import NEW, OLD, Lab, document, records

STEP = "Restart on the new release: "
END = "End it: "
"""What must not be mixed is ended on all hosts before the first is restarted."""
LATE = 5.0  # seconds after which a change must have been seen; the observers look every two
LEAST_MOMENTS = 20


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of the lab: from ``begin`` to ``end`` a unit of a host was restarted; started, if ``ended`` before."""

    host: str
    unit: str
    begin: float
    end: float
    ended: bool

    @property
    def service(self) -> str:
        """The service that the unit is of."""
        return self.unit.partition("-")[0]


def steps_of(run_dir: Path) -> list[Step]:
    """Return the restarts that the run's events tell."""
    tasks = [(one["name"].rpartition(" : ")[2], one) for one in records(run_dir / "events.jsonl") if one.get("end")]
    ended = {name.removeprefix(END) for name, _task in tasks if name.startswith(END)}
    found = []
    for name, task in tasks:
        if name.startswith(STEP):
            what = name.removeprefix(STEP)
            host, unit = what.split()
            found.append(Step(host=host, unit=unit, begin=task["time"], end=task["end"], ended=what in ended))
    return found


def running_at(run_dir: Path, host: str, moment: float) -> list[dict[str, Any]]:
    """Return the processes of a host at a moment, as its observer recorded them."""
    file = run_dir / "samples" / "release_version" / host / "processes.jsonl"
    earlier = [record for record in records(file) if record["time"] <= moment]
    return earlier[-1]["processes"] if earlier else []


def moments_of(run_dir: Path, step: Step) -> Iterator[tuple[str, set[str], set[str]]]:
    """Yield what was restarted in a step: what it is, the releases expected, and those that were seen of it.

    What a step has restarted is what began in it.
    """
    after = running_at(run_dir, step.host, step.end + LATE)
    begun = {one["component"] for one in after if step.begin - 1 <= one["started"] <= step.end + 1}
    for expected, moment in ((set() if step.ended else {OLD}, step.begin - 0.2), ({NEW}, step.end + LATE)):
        for component in sorted(begun):
            seen = {one["release"] for one in running_at(run_dir, step.host, moment) if one["component"] == component}
            yield f"{component} on {step.host} at {moment:.1f}", expected, seen


@pytest.fixture(scope="module")
def run_dir(upgraded: Lab) -> Path:
    """The records of the upgrade that was watched just before."""
    newest = upgraded.latest()
    if document(newest / "run.json").get("to_release") != NEW:
        pytest.skip(f"{newest} is no upgrade to {NEW}")
    return newest


def test_every_process_is_right_at_every_moment(run_dir: Path) -> None:
    """Before each step its processes are of the old release or ended, after it of the new one, never of any other."""
    found = [moment for step in steps_of(run_dir) for moment in moments_of(run_dir, step)]

    assert len(found) >= LEAST_MOMENTS
    assert [moment for moment in found if moment[1] != moment[2]] == []


def test_every_step_restarted_something_that_was_seen(run_dir: Path) -> None:
    """No step of the lab went unnoticed."""
    assert [step for step in steps_of(run_dir) if not list(moments_of(run_dir, step))] == []


def test_mixed_windows_lie_between_the_steps(upgraded: Lab, run_dir: Path) -> None:
    """The time with both releases begins after the first step of a service and ends before its last one has ended."""
    mixed = document(run_dir / "results.json")["mixed"]
    for service in upgraded.services:
        steps = [step for step in steps_of(run_dir) if step.service == service]
        windows = mixed[service]

        assert windows, service
        assert windows[0]["begin"] >= steps[0].begin, service
        assert windows[-1]["end"] <= max(step.end for step in steps) + LATE, service
        assert {OLD, NEW} <= set(windows[0]["sides"]), service


def test_databases_records_and_apis_agree(run_dir: Path) -> None:
    """The other evidence fits the processes, before and after."""
    outcomes = [one for one in records(run_dir / "outcomes.jsonl") if one["validator"] == "release_version"]
    for check in ("release_database", "release_records", "release_api", "release_pins"):
        mine = [one for one in outcomes if one["check"] == check and one["status"] != "skip"]
        assert {one["phase"] for one in mine} >= {"before", "after"}, check
        assert {one["status"] for one in mine} == {"pass"}, check
