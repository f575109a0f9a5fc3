# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback in real playbooks, run by the ansible-playbook of this environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory

COMMAND = [sys.executable, "-m", "ansible", "playbook"]
CANARY = "c4n4ry-S3cr3t"
HEAD = "- name: Play\n  hosts: localhost\n  gather_facts: false\n  tasks:\n"
OPEN = """
    - name: Open
      openstack.upgrade_test.run: {state: opened, runs_dir: {runs}, phase: before, services: [nova]}
      register: opened
"""
CLOSE = """
    - name: Close
      openstack.upgrade_test.run: {state: closed, runs_dir: {runs}}
    - name: Judge
      openstack.upgrade_test.verdict: {run_dir: "{{ opened.run.run_dir }}"}
"""


class Playbooks:
    """A folder in which playbooks run with the callback enabled."""

    def __init__(self, folder: Path) -> None:
        """Run playbooks in this folder."""
        self.folder = folder
        self.runs = folder / "runs"

    def start(self, tasks: str, name: str = "play.yml", *options: str, **more: str) -> subprocess.Popen[str]:
        """Start a playbook with these tasks; further variables go into its environment."""
        (self.folder / name).write_text(HEAD + tasks.replace("{runs}", str(self.runs)))
        roots = [path for path in sys.path if (Path(path) / "ansible_collections/openstack/upgrade_test").is_dir()]
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(roots),
            "ANSIBLE_CALLBACKS_ENABLED": "openstack.upgrade_test.upgrade_report",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            "ANSIBLE_HOME": str(self.folder / "home"),
            # Where HOME is not the home of the account, Ansible writes and looks for jobs in different places.
            "ANSIBLE_ASYNC_DIR": str(self.folder / "async"),
            **more,
        }
        command = [*COMMAND, *options, name]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=environment, **pipes)

    def play(self, tasks: str, *options: str, **more: str) -> tuple[int, str]:
        """Run a playbook with these tasks; return its exit code and what it printed."""
        process = self.start(tasks, "play.yml", *options, **more)
        output = process.communicate(timeout=120)[0]
        return process.returncode, output

    @property
    def run(self) -> RunDirectory:
        """The run that a playbook opened."""
        return RunDirectory.find(self.runs)


@pytest.fixture
def playbooks(tmp_path: Path) -> Playbooks:
    return Playbooks(tmp_path)


def test_a_run_is_recorded_and_reported(playbooks: Playbooks) -> None:
    """Tasks, also those before the run was known, phases and outcomes are recorded; the summary comes last."""
    code, output = playbooks.play("    - name: First\n      ansible.builtin.command: 'true'\n" + (OPEN + CLOSE))
    events = playbooks.run.read("events.jsonl")
    done = [event for event in events if event["kind"] == "task" and event["status"] == "ok"]

    assert code == 0, output
    assert [event["name"] for event in done] == ["First", "Open", "Close", "Judge"]
    assert all(event["host"] == "localhost" and event["end"] >= event["time"] for event in done)
    assert "UPGRADE TEST" in output.split("PLAY RECAP")[1]
    assert "INCONCLUSIVE" in output.split("UPGRADE TEST")[1]
    assert {"report.html", "summary.md", "junit.xml", "verdict.txt"} <= {
        path.name for path in playbooks.run.path.iterdir()
    }


def test_no_secret_reaches_a_record(playbooks: Playbooks) -> None:
    """Canaries in arguments, results, variables, the environment, names and errors are in no file of the run."""
    tasks = f"""
    - name: In the arguments
      ansible.builtin.command: "echo {CANARY}"
      environment: {{TOKEN: {CANARY}}}
      vars: {{password: {CANARY}}}
    - name: Hidden
      ansible.builtin.debug: {{msg: "{CANARY}"}}
      no_log: true
    - name: "In the name password={CANARY}"
      ansible.builtin.command: "false"
      ignore_errors: true
    - name: As a fact
      ansible.builtin.set_fact: {{auth_token: {CANARY}}}
    - name: In a loop
      ansible.builtin.debug: {{msg: "{{{{ item }}}}"}}
      loop: [{CANARY}]
    - name: In an error
      ansible.builtin.fail: {{msg: "password={CANARY}"}}
      ignore_errors: true
"""
    code, output = playbooks.play(OPEN + tasks + CLOSE, "-e", f"secret={CANARY}")
    found = [path.name for path in playbooks.run.path.rglob("*") if path.is_file() and CANARY in path.read_text()]

    assert code == 0, output
    assert len(playbooks.run.read("events.jsonl")) > 12
    assert found == []


def test_foreign_playbook_only_appends(playbooks: Playbooks) -> None:
    """A deployment tool's playbook adds its tasks to the run it is told of, and prints no summary."""
    run = RunDirectory.create(playbooks.runs)
    tasks = "    - name: Restart nova\n      ansible.builtin.command: 'false'\n"
    code, output = playbooks.play(tasks, UPGRADE_TEST_RUN_DIR=str(run.path))
    last = run.read("events.jsonl")[-1]

    assert code == 2
    assert (last["name"], last["status"], last["action"]) == ("Restart nova", "failed", "ansible.builtin.command")
    assert "UPGRADE TEST" not in output
    assert not (run.path / "report.html").exists()


def test_other_playbooks_are_left_alone(playbooks: Playbooks) -> None:
    """A playbook that has nothing to do with a run leaves nothing anywhere."""
    code, output = playbooks.play("    - name: Hello\n      ansible.builtin.command: 'true'\n")

    assert code == 0
    assert not playbooks.runs.exists()
    assert "WARNING" not in output


def test_check_mode_writes_nothing(playbooks: Playbooks) -> None:
    """With --check nothing is written, also when a run is open."""
    run = RunDirectory.create(playbooks.runs)
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}
    code, output = playbooks.play(
        "    - name: Hello\n      ansible.builtin.command: 'true'\n", "--check", UPGRADE_TEST_RUN_DIR=str(run.path)
    )

    assert code == 0, output
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before


def test_missing_run_directory_is_no_error(playbooks: Playbooks) -> None:
    """A run directory that is gone does not hurt the playbook that is told of it."""
    code, output = playbooks.play(
        "    - name: Hello\n      ansible.builtin.command: 'true'\n", UPGRADE_TEST_RUN_DIR=str(playbooks.runs / "gone")
    )

    assert code == 0
    assert "Callback dispatch" not in output


def test_progress_of_a_long_task_is_printed(playbooks: Playbooks) -> None:
    """While a background task runs, tasks of the playbook that it started are told as they happen."""
    (playbooks.folder / "child.yml").write_text(
        HEAD + "    - name: Stop nova\n      ansible.builtin.command: sleep 2\n"
    )
    child = f"{' '.join(COMMAND)} child.yml"
    tasks = f"""
    - name: Upgrade
      ansible.builtin.command: "{child}"
      environment: {{UPGRADE_TEST_RUN_DIR: "{{{{ opened.run.run_dir }}}}"}}
      async: 60
      poll: 1
"""
    code, output = playbooks.play(OPEN + tasks)

    assert code == 0, output
    assert "  task  Stop nova" in output
    assert output.count("  task  Stop nova") == 1
    assert output.index("task  Stop nova") < output.index("ASYNC OK")


def test_interrupt_loses_nothing(playbooks: Playbooks) -> None:
    """After SIGINT, everything that had happened is in the run directory, and the run is still open."""
    under_way = playbooks.folder / "under_way"
    process = playbooks.start(OPEN + f"    - name: Long\n      ansible.builtin.shell: touch {under_way}; sleep 60\n")
    # Not as soon as the task is announced: Python loses a KeyboardInterrupt that comes while Ansible forks.
    while not under_way.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    events = playbooks.run.read("events.jsonl")

    assert process.returncode != 0
    assert [(one["name"], one["status"]) for one in events if one["kind"] == "task"][-1] == ("Long", "started")
    assert playbooks.run.state == "open"
