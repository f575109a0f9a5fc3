# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._progress import MOST_LINES, Progress


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        """Begin at a round time."""
        self.now = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path)


def beat(run: RunDirectory, moment: float, *down: dict[str, Any], state: str = "running") -> None:
    status = {"state": state, "time": moment, "down": list(down)}
    (run.samples_directory("api_uptime", "localhost") / "status.json").write_text(json.dumps(status))


def target(via: str = "public", **more: Any) -> dict[str, Any]:
    return {"name": "nova", "service": "nova", "via": via, "mode": "new", "kind": "refused", "for": 2.0, **more}


def test_tasks_of_others_are_told_once(run: RunDirectory, clock: Clock) -> None:
    """Tasks of a playbook that another process runs are told; our own, and what was before, are not."""
    run.append_event("task", "old news", status="started", writer=1, time=1.0)
    progress = Progress(run, clock)
    run.append_event("task", "Stop nova", status="started", writer=1, time=3723.0)
    run.append_event("task", "Stop nova", status="ok", writer=1, time=3723.0, end=3724.0)
    run.append_event("task", "ours", status="started", writer=os.getpid())
    run.append_event("task", "Start nova", status="failed", host="control1", writer=1, time=3725.0, end=3726.0)

    assert progress.lines() == ["01:02:03  task  Stop nova", "01:02:06  FAILED  control1: Start nova"]
    assert progress.lines() == []


def test_torn_event_waits_for_its_end(run: RunDirectory, clock: Clock) -> None:
    """A line that is still being written is told when it is whole."""
    run.append_event("mark", "first")
    progress = Progress(run, clock)
    path = run.path / "events.jsonl"
    line = b'{"kind": "mark", "name": "second", "time": 5.0, "writer": 1}\n'
    with path.open("ab") as file:
        file.write(line[:20])
        file.flush()
        assert progress.lines() == []
        file.write(line[20:])

    assert progress.lines() == ["00:00:05  MARK  second"]


def test_state_changes_are_told_once(run: RunDirectory, clock: Clock) -> None:
    """An endpoint that goes down is told once, with its reason, and again when it is back."""
    progress = Progress(run, clock)
    beat(run, clock.now, target())
    down = progress.lines()
    again = progress.lines()
    clock.now += 3
    beat(run, clock.now)

    assert (down, again) == (["00:16:40  DOWN  nova public new since 00:16:38 (refused)"], [])
    assert progress.lines() == ["00:16:43  UP    nova public new after about 5 s"]


def test_instance_is_told_quietly(run: RunDirectory, clock: Clock) -> None:
    """One instance of several that is away is no outage."""
    progress = Progress(run, clock)
    beat(run, clock.now, target("control1"))

    assert progress.lines() == ["00:16:40  away  nova control1 new since 00:16:38 (refused)"]


def test_silence_is_broken_every_half_minute(run: RunDirectory, clock: Clock) -> None:
    """A long task that says nothing is told to be running, at most every 30 s."""
    progress = Progress(run, clock)
    clock.now += 29
    assert progress.lines() == []
    clock.now += 1
    assert progress.lines() == ["00:17:10  still running for 0 min 30 s, all endpoints up"]
    clock.now += 1
    assert progress.lines() == []


def test_silent_observer_is_told(run: RunDirectory, clock: Clock) -> None:
    """An observer without a heartbeat is told once, and when it comes back; one that ended is well."""
    progress = Progress(run, clock)
    beat(run, clock.now - 20)
    assert progress.lines() == ["00:16:40  LOST? the observer api_uptime on localhost gave no sign for 20 s"]
    assert progress.lines() == []
    beat(run, clock.now)
    assert progress.lines() == ["00:16:40  BACK  the observer api_uptime on localhost gives signs again"]
    beat(run, clock.now - 500, state="ended")

    assert progress.lines() == []


def test_flood_is_cut(run: RunDirectory, clock: Clock) -> None:
    """A deployment tool with thousands of tasks does not flood the terminal."""
    progress = Progress(run, clock)
    for number in range(100):
        run.append_event("task", f"task {number}", status="started", writer=1, time=1.0)
    lines = progress.lines()

    assert (len(lines), lines[0], lines[-1]) == (
        MOST_LINES + 1,
        "... 60 lines are left out here",
        "00:00:01  task  task 99",
    )


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"down": "odd"}', '{"down": ["odd"], "time": "odd", "state": "running"}']
)
def test_odd_heartbeat_is_no_error(run: RunDirectory, clock: Clock, content: str) -> None:
    """A heartbeat that cannot be read says nothing."""
    (run.samples_directory("api_uptime", "localhost") / "status.json").write_text(content)

    assert Progress(run, clock).lines() == []
