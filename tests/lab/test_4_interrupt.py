# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ctrl-C in the middle of a run: a clean-up finds everything, and the report says that the run was interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._lab import Lab, Played, document, records, wait_for
from ansible_collections.openstack.upgrade_test.tests.lab._machine import command_line, writing_below


@pytest.fixture(scope="module")
def interrupted(lab: Lab) -> Played:
    """A run that gets Ctrl-C while its deployment command works."""
    earlier = lab.run_dirs()

    def driver_works() -> bool:
        new = [path for path in lab.run_dirs() if path not in earlier]
        return any(is_at_work(lab, path) for path in new)

    def press_ctrl_c(process: subprocess.Popen[bytes]) -> None:
        wait_for(lambda: driver_works() or process.poll() is not None, "the start of the deployment command", 400)
        # A terminal sends it to the whole foreground group.
        os.killpg(process.pid, signal.SIGINT)

    variables = {
        "upgrade_test_driver": "command",
        "upgrade_test_driver_command": ["sleep", "60"],
        "upgrade_test_to_release": "2026.1",
        "upgrade_test_baseline": 1,
        "upgrade_test_depth": "quick",
    }
    return lab.play("run", variables, meanwhile=press_ctrl_c, timeout=60)


def at_work(lab: Lab, run_dir: Path) -> dict[int, str]:
    """The processes that write records of a run, here and on the hosts."""
    hosts = [Path(f"/var/tmp/upgrade-test-{run_dir.name}-{host}") for host in lab.addresses()]
    return writing_below(run_dir, *hosts)


def is_at_work(lab: Lab, run_dir: Path) -> bool:
    """Whether the command was started, and two observers here, and one on each host."""
    begun = any(one["kind"] == "driver" for one in records(run_dir / "events.jsonl"))
    return begun and len(at_work(lab, run_dir)) >= 3 + len(lab.addresses())


def test_run_ends_and_leaves_its_work(lab: Lab, interrupted: Played) -> None:
    """The playbook ends by the signal; observers, resources and the open run are still there."""
    run_dir = lab.latest()

    assert interrupted.rc != 0
    assert document(run_dir / "run.json")["state"] == "open"
    assert is_at_work(lab, run_dir), at_work(lab, run_dir)
    kinds = {kind for kind, _name, _id in lab.admin().of_tests(f"upgrade-test-{run_dir.name}")}
    assert kinds >= {"project", "user", "server", "network", "image", "floating ip", "security group"}


def test_cleanup_removes_all_of_it(lab: Lab, interrupted: Played) -> None:
    """No resource in the cloud, no observer, no deployment command, no file on a host."""
    run_dir = lab.latest()
    driver = document(run_dir / "evidence/driver.json")["pid"]
    assert command_line(Path(f"/proc/{driver}")) == "sleep 60"
    played = lab.play("cleanup", {"upgrade_test_stop_driver": True}, timeout=600)

    assert played.rc == 0
    assert lab.admin().of_tests(f"upgrade-test-{run_dir.name}") == frozenset()
    assert at_work(lab, run_dir) == {}
    assert command_line(Path(f"/proc/{driver}")) != "sleep 60"
    assert list(Path("/var/tmp").glob(f"upgrade-test-{run_dir.name}*")) == []
    assert not (run_dir / "clouds.yaml").exists()
    assert not (lab.runs / "current").exists()


def test_report_says_interrupted(lab: Lab, interrupted: Played) -> None:
    """What was seen is judged, and every form of the report says that the run was interrupted."""
    run_dir = lab.latest()
    results = document(run_dir / "results.json")

    assert document(run_dir / "run.json")["state"] == "interrupted"
    assert results["interrupted"] is True
    assert results["verdict"] != "met"
    for name in ("report.html", "summary.md"):
        assert "interrupted" in (run_dir / name).read_text(encoding="utf-8").lower(), name
    assert sum(lane["probes"] for lane in results["lanes"]) > 0
