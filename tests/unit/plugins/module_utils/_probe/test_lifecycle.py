# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Observers as processes: how they end, and what is left when they are not allowed to."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe import _observer
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._compact import is_compact, run_record
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._control import (
    judge_status,
    note_failure,
    report,
    stop,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._log import segments
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import ProbeError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import read_observations

SCRIPT = """
import json, sys
from pathlib import Path
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import ProbeError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._observer import Plan, observe
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._options import api_lanes
lanes = api_lanes([{"name": "t", "url": sys.argv[2]}], ["new", "kept"], float(sys.argv[3]))
try:
    observe(Plan(directory=Path(sys.argv[1]), timeout=1, slow_after=0.2, **json.loads(sys.argv[4])), lanes)
except ProbeError as error:
    sys.exit(str(error))
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path, server: Any) -> Iterator[Start]:
    """Start an observer of the server and wait for its heartbeat."""
    processes = []

    def begin(rate: float = 50, wait: bool = True, **plan: Any) -> subprocess.Popen[str]:
        before = (report(tmp_path)["started"], server.requests)
        command = [sys.executable, "-c", SCRIPT, str(tmp_path), server.url, str(rate), json.dumps(plan)]
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": ":".join(sys.path)}
        )
        processes.append(process)
        while wait and (report(tmp_path)["started"] == before[0] or server.requests < before[1] + 10):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.01)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def test_nice_is_what_was_asked(tmp_path: Path, start: Start) -> None:
    """The observer runs at the nice value it was given, and its heartbeat says so."""
    process = start(nice=7)

    assert os.getpriority(os.PRIO_PROCESS, process.pid) == 7
    assert report(tmp_path)["scheduler"] == "normal, nice 7"


def test_refused_scheduling_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to it the observer goes on as usual, and says what was refused."""

    def refuse(*_: object) -> None:
        raise PermissionError

    for module, name in ((os, "setpriority"), (os, "sched_setscheduler"), (resource, "setrlimit")):
        monkeypatch.setattr(module, name, refuse)
    plan = _observer.Plan(directory=tmp_path, nice=-5, realtime=True)

    assert _observer._schedule(plan) == "normal (nice -5 was refused) (real-time scheduling was refused)"


def test_stop_file_ends_it(tmp_path: Path, start: Start) -> None:
    """Stopping waits for the last record; a second time changes nothing."""
    start()
    running = report(tmp_path)
    began = time.monotonic()
    ended, changed = stop(tmp_path, 60)
    took = time.monotonic() - began
    again, changed_again = stop(tmp_path, 10)

    assert running["state"] == "running"
    assert (ended["state"], changed) == ("ended", True)
    assert took < 30
    assert (again["state"], changed_again) == ("ended", False)
    assert ended["samples"] > 10
    assert not (tmp_path / "stop").exists()
    assert all(observation.ended for observation in read_observations(tmp_path))


def test_sigterm_ends_it(tmp_path: Path, start: Start) -> None:
    """SIGTERM is a proper end."""
    process = start()
    process.terminate()

    assert process.wait(10) == 0
    assert report(tmp_path)["state"] == "ended"
    assert read_observations(tmp_path)[0].ended


def test_killed_observer_is_lost_and_stopping_it_does_not_wait(tmp_path: Path, start: Start) -> None:
    """After SIGKILL the state is lost, at once; the samples are there, and the observation has no end record."""
    process = start()
    process.kill()
    process.wait()
    began = time.monotonic()
    found, _changed = stop(tmp_path, 60)

    assert time.monotonic() - began < 30
    assert found["state"] == "lost"
    assert "process is gone" in found["message"]
    observations = read_observations(tmp_path)
    assert not any(observation.ended for observation in observations)
    assert all(observation.counts["up"] > 0 for observation in observations)


def test_no_answer_is_lost_by_a_kill(tmp_path: Path, start: Start, server: Any) -> None:
    """Whatever the moment of a SIGKILL, at most what was under way is missing, and the log goes on afterwards."""
    source = random.Random(5)
    for _turn in range(5):
        process = start(rate=200)
        time.sleep(source.random() / 5)
        process.kill()
        process.wait()
        time.sleep(0.05)
        seen = sum(sum(observation.counts.values()) for observation in read_observations(tmp_path))
        void = sum(observation.counts["void"] for observation in read_observations(tmp_path))

        # Answered probes of the last turn may not have been written yet: one turn's worth of each lane.
        assert seen - void >= server.requests - 5 * 4
        assert all(not observation.outages for observation in read_observations(tmp_path))


def test_stopped_process_is_void(tmp_path: Path, start: Start) -> None:
    """An observer that was asleep blames nobody: no outage, nothing slow, but less coverage."""
    process = start()
    for _turn in range(3):
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.3)
    stop(tmp_path, 10)

    for observation in read_observations(tmp_path):
        assert observation.outages == ()
        assert (observation.counts["down"], observation.counts["slow"]) == (0, 0)
        assert observation.counts["void"] > 40
        assert observation.longest_gap > 0.45


def test_exhausted_descriptors_are_void_and_named(tmp_path: Path, start: Start) -> None:
    """An observer that can open nothing lives, blames nobody, says why, and goes on when it can."""
    process = start()
    limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    named = await_report(tmp_path, lambda found: found["local_error"])
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
    await_report(tmp_path, lambda found: not found["local_error"])
    stop(tmp_path, 10)
    new, kept = read_observations(tmp_path)

    assert named["state"] == "running"
    assert named["local_error"] == os.strerror(errno.EMFILE)
    assert new.outages == kept.outages == ()
    assert new.counts["void"] > 10
    assert new.counts["down"] == 0


def await_report(directory: Path, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The first report of which it holds."""
    deadline = time.monotonic() + 30
    while not condition(found := report(directory)):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


SMALL = 400_000
"""A limit at which the observers below fill a segment in two or three seconds."""


def compact_forms(directory: Path) -> list[bool]:
    """Which segments are compact."""
    return [is_compact(run_record(path)) for path in segments(directory)]


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def all_seen(directory: Path) -> int:
    """All probes of the schedule that the log knows of."""
    return sum(sum(observation.counts.values()) for observation in read_observations(directory))


def test_log_is_compacted_while_it_grows(tmp_path: Path, start: Start) -> None:
    """Closed segments become small beside the running observer; in the end all are, and nothing is missing."""
    start(rate=200, max_bytes=SMALL)
    wait_for(lambda: len(segments(tmp_path)) > 2 and compact_forms(tmp_path)[0])
    running = report(tmp_path)["log"]
    ended, _changed = stop(tmp_path, 30)

    assert (running["compactor"], running["limit"]) == ("running", SMALL)
    assert (ended["log"]["compactor"], ended["log"]["trouble"]) == ("ended", "")
    assert ended["log"]["size"] == sum(path.stat().st_size for path in segments(tmp_path))
    assert all(compact_forms(tmp_path))
    assert not list(tmp_path.glob("*.tmp"))
    assert all_seen(tmp_path) == ended["samples"]
    for observation in read_observations(tmp_path):
        assert (observation.ended, observation.outages) == (True, ())
        assert observation.not_recorded == observation.latency_dropped == 0


def test_observer_survives_its_compactor(tmp_path: Path, start: Start) -> None:
    """A compactor that dies is reported, and all is recorded as before."""
    process = start(rate=200, max_bytes=SMALL)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    compactor = max(children, key=lambda child: os.getpriority(os.PRIO_PROCESS, int(child)))
    os.kill(int(compactor), signal.SIGKILL)
    wait_for(lambda: report(tmp_path)["log"]["compactor"] == "died")
    wait_for(lambda: len(segments(tmp_path)) > 1)
    ended, _changed = stop(tmp_path, 30)

    assert ended["log"]["compactor"] == "died"
    assert not any(compact_forms(tmp_path))
    assert all_seen(tmp_path) == ended["samples"]


def test_next_observer_compacts_what_a_killed_one_left(tmp_path: Path, start: Start) -> None:
    """After SIGKILL the next session goes on in a segment of its own, and the compactor begins with what was left."""
    for _turn in range(3):
        process = start(rate=200, max_bytes=SMALL)
        process.kill()
        process.wait()
    start(rate=200, max_bytes=SMALL)
    wait_for(lambda: compact_forms(tmp_path)[:3] == [True] * 3)
    stop(tmp_path, 30)

    assert all(compact_forms(tmp_path))
    for observation in read_observations(tmp_path):
        assert (observation.ended, observation.outages) == (True, ())
        assert observation.counts["void"] > 0


def test_one_observer_a_folder(tmp_path: Path, start: Start) -> None:
    """A second observer in the same folder is refused and disturbs nothing."""
    start()
    second = start(wait=False)
    _out, error = second.communicate(timeout=10)

    assert second.returncode == 1
    assert "another observer is already running" in error
    assert report(tmp_path)["state"] == "running"


def test_stop_file_from_another_time_is_ignored(tmp_path: Path, start: Start) -> None:
    """A stop file left from long ago does not end a new observer."""
    (tmp_path / "stop").touch()
    os.utime(tmp_path / "stop", (1, 1))
    start()

    assert report(tmp_path)["state"] == "running"


@pytest.mark.parametrize(
    ("status", "alive", "state", "words"),
    [
        (None, False, "lost", "never started"),
        ({"state": "failed", "message": "targets: bad"}, False, "lost", "targets: bad"),
        ({"state": "ended", "time": 1}, False, "ended", "last record"),
        ({"state": "running", "time": 90}, False, "lost", "10 s old"),
        ({"state": "running", "time": 99}, True, "running", "is running"),
        ({"state": "running", "time": 1}, True, "running", "99 s old"),
    ],
)
def test_judgement_of_a_heartbeat(status: Any, alive: bool, state: str, words: str) -> None:
    """Each heartbeat has one meaning."""
    found, message = judge_status(status, alive=alive, now=100)

    assert found == state
    assert words in message


def test_observer_that_does_not_end_is_an_error(tmp_path: Path) -> None:
    """When the time is over the error names the option; nothing waits for ever."""
    times = iter(range(100))
    (tmp_path / "status.json").write_text("{}")
    with pytest.raises(ProbeError, match=r"timeout: the observer in .* has not ended within 5 s"):
        stop(
            tmp_path,
            5,
            look=lambda _directory: {"state": "running", "message": "it runs"},
            sleep=lambda _seconds: None,
            clock=lambda: float(next(times)),
        )


def test_reused_pid_is_not_the_observer(tmp_path: Path) -> None:
    """A process that only has the same number is not taken for the observer."""
    status = {"state": "running", "time": time.time(), **_observer.identity(), "pid_start": 1}
    (tmp_path / "status.json").write_text(json.dumps(status))

    assert report(tmp_path)["state"] == "lost"


def test_reason_of_a_failed_start_is_kept(tmp_path: Path) -> None:
    """Nobody listens to a background task: why it did not start is found where its state is."""
    note_failure(tmp_path / "new", "targets[0]: 'url' is missing")

    assert "targets[0]: 'url' is missing" in report(tmp_path / "new")["message"]
