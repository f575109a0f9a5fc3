# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resources that must survive, in a run of their own: made, compared, used, removed, and what came of each."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._lab import Lab, Played, records

PLAYBOOK = str(Path(__file__).with_name("resources.yml"))
GOOD = ("pass", "skip")
Outcomes = list[dict[str, Any]]


@dataclass
class Resources:
    """The resources of the run that is open in a lab, or of a new one."""

    lab: Lab

    def bring(self, *states: str, phase: str = "after", **more: Any) -> tuple[Played, Outcomes]:
        """Bring them to these states; the playbook, and the outcomes that it added."""
        before = self._outcomes()
        given = {"__resources_states": list(states), "__resources_phase": phase}
        played = self.lab.play(PLAYBOOK, given, timeout=600, **more)
        assert "Traceback" not in played.text
        return played, self._outcomes()[len(before) :]

    def _outcomes(self) -> Outcomes:
        found = [one for path in self.lab.run_dirs() for one in records(path / "outcomes.jsonl")]
        return [one for one in found if one["validator"] == "persistent_resource"]

    def facts(self, service: str, suffix: str) -> dict[str, Any]:
        """What the journal has of a resource, by the end of its name; its id among it."""
        run_dir = self.lab.latest()
        name = f"upgrade-test-{run_dir.name}-{suffix}"
        found = [
            one for one in records(run_dir / "resources.jsonl") if (one["service"], one["name"]) == (service, name)
        ]
        return {**found[-1]["facts"], "id": found[-1]["id"]}

    def seconds(self, state: str) -> float:
        """How long the last task took that brought them to a state; each state has a task of its own name."""
        names = {"present": "Make the resources", "verified": "Compare them", "absent": "Remove them"}
        tasks = [one for one in records(self.lab.latest() / "events.jsonl") if one["kind"] == "task"]
        last = next(one for one in reversed(tasks) if names[state] in one["name"])
        return float(last["end"] - last["time"])

    def without_any_api(self) -> Outcomes:
        """What is found where they lie while every API is stopped."""
        assert self.lab.deploy("apis_stopped", upgrade_test_lab_release=self.lab.release).rc == 0
        try:
            return self.bring("verified_noapi")[1]
        finally:
            assert self.lab.deploy(upgrade_test_lab_release=self.lab.release).rc == 0

    def use(self) -> Outcomes:
        """Do with them what users do after an upgrade, which leaves them as they were; the outcomes of that."""
        played, used = self.bring("exercised")
        _again, outcomes = self.bring("verified")
        assert played.rc == 0, played.messages
        assert failed(used) == set(), used
        assert failed(outcomes) == set(), outcomes
        return used

    def remove_twice(self) -> float:
        """Remove them; a second removal finds nothing to do. The seconds that the first took."""
        first, _outcomes = self.bring("absent")
        took = self.seconds("absent")
        second, _none = self.bring("absent")
        assert (first.rc, second.rc) == (0, 0), first.messages + second.messages
        assert second.changed["localhost"] == 0, second.changed
        return took

    def close(self) -> None:
        """End the run, of which nothing is left but the project and its users."""
        kinds = {kind for kind, _name, _id in self.lab.admin().of_tests(f"upgrade-test-{self.lab.latest().name}")}
        assert kinds <= {"project", "user", "security group"}, kinds
        assert self.lab.play("cleanup", {"upgrade_test_cleanup_abandon": True}).rc == 0


@pytest.fixture(scope="module")
def resources(lab: Lab) -> Iterator[Resources]:
    """Resources of a run, made and looked at once; whatever happens, they go."""
    found = Resources(lab)
    played, outcomes = found.bring("present", "verified", "verified_noapi", phase="before")
    assert played.rc == 0
    assert failed(outcomes) == set(), outcomes
    yield found
    if (lab.runs / "current").exists():
        lab.play("cleanup", {"upgrade_test_cleanup_abandon": True}, timeout=600)


@pytest.fixture(scope="module")
def second_look(resources: Resources) -> Outcomes:
    """What a second look finds, before anything was planted."""
    return resources.bring("verified", "verified_noapi")[1]


def failed(outcomes: Iterable[dict[str, Any]]) -> set[tuple[str, str]]:
    """Service and check of each outcome that is neither good nor left out."""
    return {(one["service"], one["check"]) for one in outcomes if one["status"] not in GOOD}


def message(outcomes: Iterable[dict[str, Any]], check: str) -> str:
    """What a check says."""
    return str(next(one["message"] for one in outcomes if one["check"] == check))


def passed(outcomes: Iterable[dict[str, Any]]) -> Counter[str]:
    """How many checks of each service passed."""
    return Counter(one["service"] for one in outcomes if one["status"] == "pass")


def in_depth(outcomes: Outcomes) -> tuple[set[str], set[str]]:
    """The services of which eight checks or more passed with the API, and those of which any passed without one."""
    online = [one for one in outcomes if not one["check"].startswith("noapi_")]
    deep = {service for service, count in passed(online).items() if count >= 8}
    return deep, set(passed(one for one in outcomes if one not in online))


def family(pid: int) -> set[int]:
    """A process and all that come from it, whatever group they have moved to."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = entry.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        parents[int(entry.parent.name)] = int(text[text.rindex(")") + 2 :].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def killed_after(seconds: float, *, alone: bool = False) -> Callable[[subprocess.Popen[bytes]], None]:
    """Kill a playbook, ``alone`` or with all that it has started, some seconds after its beginning.

    Alone it leaves a module behind that goes on working.
    """

    def kill(process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            victims = {process.pid} if alone else family(process.pid)
            subprocess.run(["kill", "-KILL", *map(str, victims)], check=False, capture_output=True)

    return kill
