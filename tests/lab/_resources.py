# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resources that must survive, in a run of their own: made, compared, used, removed, and what came of each."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def failed(outcomes: Iterable[dict[str, Any]]) -> set[tuple[str, str]]:
    """Service and check of each outcome that is neither good nor left out."""
    return {(one["service"], one["check"]) for one in outcomes if one["status"] not in GOOD}


def message(outcomes: Iterable[dict[str, Any]], check: str) -> str:
    """What a check says."""
    return str(next(one["message"] for one in outcomes if one["check"] == check))


def passed(outcomes: Iterable[dict[str, Any]]) -> Counter[str]:
    """How many checks of each service passed."""
    return Counter(one["service"] for one in outcomes if one["status"] == "pass")


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


def killed_after(seconds: float) -> Callable[[subprocess.Popen[bytes]], None]:
    """Kill a playbook and all that it has started, some seconds after its beginning."""

    def kill(process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            subprocess.run(["kill", "-KILL", *map(str, family(process.pid))], check=False, capture_output=True)

    return kill
