# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._driver import (
    Command,
    DriverError,
    birth,
    descendants,
    verdict_on,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory

# Says that it is ready, has a child that ignores SIGTERM, and waits.
STUBBORN = """
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"])
child.wait()
"""


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "runs")


@pytest.fixture
def command(run: RunDirectory) -> Command:
    return Command(run)


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def start_in_background(command: Command, code: str) -> threading.Thread:
    thread = threading.Thread(target=command.run, args=([sys.executable, "-c", code], "lab", None, {}))
    thread.start()
    return thread


def test_a_command_is_run_with_its_environment(command: Command) -> None:
    """The command gets the added variables, and its output of both kinds is kept for its owner only."""
    code = "import os, sys; print(os.environ['COLOUR']); print('oops', file=sys.stderr)"

    rc = command.run([sys.executable, "-c", code], "lab", None, {"COLOUR": "green"})

    assert rc == 0
    assert command.describe(10)["last_lines"] == ["green", "oops"]
    assert stat.S_IMODE(command.log.stat().st_mode) == 0o600


def test_what_ansible_sets_for_the_module_stays_with_it(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of our own background job is not handed to a deployment tool that may be made of Ansible."""
    monkeypatch.setenv("ANSIBLE_ASYNC_DIR", "/ours")
    code = "import os; print(os.environ.get('ANSIBLE_ASYNC_DIR'))"
    command.run([sys.executable, "-c", code], "lab", None, {})
    command.run([sys.executable, "-c", code], "lab", None, {"ANSIBLE_ASYNC_DIR": "/theirs"})

    assert command.describe(10)["last_lines"] == ["None", "/theirs"]


def test_the_exit_code_is_kept(command: Command, run: RunDirectory) -> None:
    """A failed command is described as ended with its own exit code, and the timeline knows it."""
    rc = command.run([sys.executable, "-c", "raise SystemExit(3)"], "lab", None, {})

    assert rc == 3
    assert (command.describe()["state"], command.describe()["rc"]) == ("ended", 3)
    events = [event for event in run.read("events.jsonl") if event["kind"] == "driver"]
    assert [event["status"] for event in events] == ["started", "failed"]


def test_a_missing_command_is_named(command: Command) -> None:
    """A command that does not exist is an error that names it."""
    with pytest.raises(DriverError, match="argv: /no/such/tool could not be started"):
        command.run(["/no/such/tool"], "command", None, {})


def test_an_empty_command_is_refused(command: Command) -> None:
    """An empty list is an error, not a crash."""
    with pytest.raises(DriverError, match="argv: an empty list could not be started"):
        command.run([], "command", None, {})


def test_only_the_last_lines_are_returned(command: Command) -> None:
    """A long log is cut to its end."""
    command.run([sys.executable, "-c", "for i in range(30000): print('line', i)"], "lab", None, {})

    assert command.describe(2)["last_lines"] == ["line 29998", "line 29999"]


def test_nothing_is_known_before_the_start(command: Command) -> None:
    """A run without a deployment command says so."""
    assert command.describe() == {"state": "absent"}


def test_a_family_is_ended_to_the_last(command: Command) -> None:
    """What descends from the command ends with it, also when it ignores SIGTERM."""
    thread = start_in_background(command, STUBBORN)
    until(lambda: command.log.is_file() and "ready" in command.log.read_text())
    family = descendants(int(command.describe()["pid"]))
    assert len(family) == 2

    command.stop(timeout=0.5)
    thread.join(20)

    assert not thread.is_alive()
    until(lambda: not any(birth(pid) for pid in family))
    assert command.describe()["state"] == "ended"


def test_a_second_command_is_refused(command: Command) -> None:
    """While a deployment command runs, no other is started for the same run."""
    thread = start_in_background(command, "print('ready', flush=True); import time; time.sleep(600)")
    until(lambda: command.log.is_file() and "ready" in command.log.read_text())
    try:
        with pytest.raises(DriverError, match="still running"):
            command.run([sys.executable, "-c", ""], "lab", None, {})
    finally:
        command.stop(timeout=10)
        thread.join(20)


def test_the_end_is_awaited(command: Command) -> None:
    """Whoever waits is there at the end, also when he began to wait before the command had begun."""
    timer = threading.Timer(0.5, command.run, args=([sys.executable, "-c", "input()"], "lab", None, {}))
    timer.start()
    command.wait(20)

    assert command.describe()["state"] == "ended"
    timer.join(20)


def test_who_waits_in_vain_goes_on(command: Command) -> None:
    """A command that takes longer still runs then."""
    thread = start_in_background(command, "import time; time.sleep(600)")
    command.wait(1)
    try:
        assert command.describe()["state"] == "running"
    finally:
        command.stop(timeout=10)
        thread.join(20)


def test_a_reused_process_id_is_not_ours(command: Command, run: RunDirectory) -> None:
    """A process that only has the id of the command is not taken for it."""
    command.log.parent.mkdir()
    run.write_json("evidence/driver.json", {"name": "lab", "pid": os.getpid(), "birth": 1, "began": 0.0})

    assert command.describe()["state"] == "lost"


@pytest.mark.parametrize(
    ("rc", "status", "words"),
    [(0, Status.PASS, "ended with exit code 0."), (2, Status.FAIL, "exit code 2: boom"), (-9, Status.FAIL, "signal 9")],
)
def test_the_outcome_says_how_it_ended(rc: int, status: Status, words: str) -> None:
    """The outcome tells success from failure and from a signal, and quotes the last line of a failure."""
    outcome = verdict_on("lab", rc, {"last_lines": ["first", "boom"]}, "upgrade")

    assert outcome.status == status
    assert words in outcome.message


@pytest.mark.parametrize(
    ("step", "check"),
    [("stop", "services_stopped"), ("upgrade", "upgrade_completed"), ("start", "services_started")],
)
def test_each_step_of_a_cold_upgrade_has_its_check(step: str, check: str) -> None:
    """A command that stops or starts all services is told apart from the upgrade itself."""
    assert verdict_on("lab", 0, {}, "upgrade", step).check == check
