# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command of a deployment tool: started, watched, ended, and what it left behind.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time as clock
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status, finish
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory, RunError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._wait import becomes_true

LOG = "evidence/driver.log"
STATE = "evidence/driver.json"
CHECKS = {"stop": "services_stopped", "upgrade": "upgrade_completed", "start": "services_started"}
TAIL_BYTES = 64 * 1024
START = 10.0  # seconds that the background task which begins a command may take to do so
# Ansible sets it for this module alone; a deployment tool that is made of Ansible would follow it on all its hosts.
OURS = "ANSIBLE_ASYNC_DIR"


class DriverError(Exception):
    """What is wrong with the command, in one sentence for the operator."""


def run_module(module: Any) -> None:
    """Do what the module's options say, and exit or fail the module."""
    params = module.params
    try:
        command = Command(RunDirectory(params["run_dir"]))
    except RunError as error:
        raise DriverError(f"run_dir: {error}") from None
    if params["state"] == "finished":
        _finished(module, command)
    elif params["state"] == "stopped":
        _stopped(module, command)
    elif params["state"] == "awaited" and not module.check_mode:
        command.wait(params["timeout"])
    module.exit_json(changed=False, driver=command.describe())


def _finished(module: Any, command: Command) -> None:
    params = module.params
    if module.check_mode:
        module.exit_json(changed=True, driver={"state": "absent"}, outcomes=[])
    rc = command.run(params["argv"], params["name"], params["chdir"], params["environment"])
    facts = command.describe(params["lines"])
    outcome = verdict_on(params["name"], rc, facts, params["phase"], params["step"])
    finish(module, [outcome], changed=True, driver=facts, msg=outcome.message)


def _stopped(module: Any, command: Command) -> None:
    alive = command.describe()["state"] == "running"
    if alive and not module.check_mode:
        command.stop(module.params["timeout"])
    module.exit_json(changed=alive, driver=command.describe())


def verdict_on(name: str, rc: int, facts: Mapping[str, Any], phase: str, step: str = "upgrade") -> Outcome:
    """Return the outcome of a command that ended with ``rc``."""
    lines = facts.get("last_lines", [])
    ended = f"was ended by signal {-rc}" if rc < 0 else f"ended with exit code {rc}"
    last = f": {lines[-1].strip()}" if rc and lines else "."
    return Outcome(
        validator="driver",
        check=CHECKS[step],
        service="",
        subject=name,
        phase=phase,
        status=Status.FAIL if rc else Status.PASS,
        expected=0,
        found=rc,
        message=f"The deployment command {name!r} {ended}{last}",
        evidence={"log": LOG, "last_lines": lines if rc else []},
    )


class Command:
    """The deployment command of one run; its facts lie in the run directory, so that any later task finds it."""

    def __init__(self, run: RunDirectory) -> None:
        self.run_directory = run
        self.log = run.path / LOG

    def run(self, argv: Sequence[str], name: str, chdir: str | None, environment: Mapping[str, Any]) -> int:
        """Run to the end and return the exit code; raises DriverError when it cannot be started or one is running."""
        if self.describe()["state"] == "running":
            raise DriverError(f"A deployment command of this run is still running; its output goes to {self.log}.")
        self.log.parent.mkdir(mode=0o700, exist_ok=True)
        began = clock.time()
        process = self._start(argv, chdir, environment)
        facts = {"name": name, "pid": process.pid, "birth": birth(process.pid), "began": began}
        self.run_directory.write_json(STATE, facts)
        self.run_directory.append_event("driver", name, time=began, status="started")
        rc = process.wait()
        self.run_directory.write_json(STATE, {**facts, "rc": rc, "ended": clock.time()})
        self.run_directory.append_event("driver", name, status="failed" if rc else "ok", rc=rc, begin=began)
        return rc

    def _start(self, argv: Sequence[str], chdir: str | None, environment: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        inherited = {key: value for key, value in os.environ.items() if key != OURS}
        added = {key: str(value) for key, value in environment.items()}
        # Straight into the file, never through a pipe: a pipe would end the upgrade when this process ends.
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return subprocess.Popen(
                list(argv),
                cwd=chdir,
                env={**inherited, **added},
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError, IndexError) as error:
            first = argv[0] if argv else "an empty list"
            raise DriverError(f"argv: {first} could not be started: {error}.") from None
        finally:
            os.close(descriptor)

    def describe(self, lines: int = 0) -> dict[str, Any]:
        """Return what is known of the command, in the form the module documents."""
        facts = self.run_directory.read_json(STATE)
        if not facts:
            return {"state": "absent"}
        kept: dict[str, Any] = {key: facts[key] for key in ("name", "pid", "rc", "began", "ended") if key in facts}
        return {**kept, "state": self._state(facts), "log": str(self.log), "last_lines": self.last_lines(lines)}

    @staticmethod
    def _state(facts: Mapping[str, Any]) -> str:
        if "rc" in facts:
            return "ended"
        same = facts.get("birth") is not None and birth(int(facts["pid"])) == facts["birth"]
        return "running" if same else "lost"

    def last_lines(self, count: int) -> list[str]:
        """Return the last lines of the output, redacted."""
        if count <= 0 or not self.log.is_file():
            return []
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
        return self.run_directory.redactor.text(text).splitlines()[-count:]

    def wait(self, timeout: float) -> None:
        """Wait until it has ended; one that was only just asked for gets the time to begin."""
        deadline = clock.monotonic() + timeout
        becomes_true(lambda: self.describe()["state"] != "absent", min(START, timeout))
        becomes_true(lambda: self.describe()["state"] != "running", deadline - clock.monotonic())

    def stop(self, timeout: float) -> None:
        """End the command and all that descends from it; what ignores SIGTERM for ``timeout`` seconds is killed."""
        root = int(self.run_directory.read_json(STATE)["pid"])
        family = {pid: birth(pid) for pid in descendants(root)}
        _signal(family, signal.SIGTERM)
        becomes_true(lambda: not _alive(family), timeout, step=0.2)
        _signal(family, signal.SIGKILL)


def birth(pid: int) -> int | None:
    """Return the clock tick at which a process began, which tells it from a later one of the same id; None if gone."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in ("Z", "X") else None


def descendants(root: int) -> list[int]:
    """Return a process and all its descendants, ancestors first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        fields = _stat(int(entry.name)) if entry.name.isdigit() else None
        if fields:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:  # grows while it is walked
        found.extend(children.get(pid, ()))
    return found


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat behind the name, which may itself hold blanks and brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _alive(family: Mapping[int, int | None]) -> list[int]:
    return [pid for pid, born in family.items() if born is not None and birth(pid) == born]


def _signal(family: Mapping[int, int | None], number: signal.Signals) -> None:
    for pid in _alive(family):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
