# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison of two clocks, in a real playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._infrastructure import judge_clock
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status

PLAY = """
- name: Play
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Look
      openstack.upgrade_test.health_evidence: {services: [placement]}
      register: look
    - name: Keep
      ansible.builtin.copy:
        content: "{{ look.evidence | to_json }}"
        dest: "{{ playbook_dir }}/evidence.json"
        mode: "0600"
"""


def evidence(folder: Path, date: str = "") -> dict[str, Any]:
    """What the module returns where ``date`` is this script."""
    tools = folder / "bin"
    tools.mkdir()
    if date:
        (tools / "date").write_text(f"#!/bin/sh\n{date}\n", encoding="utf-8")
        (tools / "date").chmod(0o755)
    (folder / "play.yml").write_text(PLAY, encoding="utf-8")
    roots = [path for path in sys.path if (Path(path) / "ansible_collections/openstack/upgrade_test").is_dir()]
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(roots),
        "ANSIBLE_HOME": str(folder / "home"),
    }
    command = [sys.executable, "-m", "ansible", "playbook", "play.yml"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / "evidence.json").read_text(encoding="utf-8"))
    return found


def test_a_clock_that_is_right(tmp_path: Path) -> None:
    """It is asked several times, between two moments of ours, and the module returns the rest."""
    found = evidence(tmp_path)

    assert len(found["clock"]) == 5
    assert all(look["sent"] <= look["told"] + 0.001 and look["told"] <= look["received"] for look in found["clock"])
    assert judge_clock("here", found["clock"], 60).status is Status.PASS
    assert {"components", "problems"} <= found.keys()


def test_a_clock_that_is_behind(tmp_path: Path) -> None:
    """The difference is bounded far more closely than the module's own way to a host would allow."""
    found = evidence(tmp_path, 'exec /bin/date -d "-30 seconds" "$@"')

    verdict = judge_clock("here", found["clock"], 5)
    assert verdict.status is Status.FAIL
    assert "behind" in verdict.message


def test_a_host_that_does_not_tell_its_time(tmp_path: Path) -> None:
    """No look is made up; all else is returned."""
    assert evidence(tmp_path, "echo what time; exit 1")["clock"] == []
