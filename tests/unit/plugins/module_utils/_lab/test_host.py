# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of a lab's hosts, and how its processes are found; whole hosts are made in test_lab_hosts.py."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._lab import _host


@pytest.fixture
def half_started(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like a host that has not come to its first process yet."""
    marker = _host.LabHost(root=tmp_path / "lab", name="one").marker
    with subprocess.Popen(["sh", "-c", "read line", "sh", marker], stdin=subprocess.PIPE) as process:
        _host.wait_for(lambda: (process.pid, marker) in [(p, a[-1]) for p, a in _host.command_lines() if a], "start")
        yield process
        process.kill()


def test_names_belong_to_one_lab() -> None:
    """Interfaces of two labs differ, those of one lab stay the same, and the kernel takes them."""
    one, other = (_host.LabHost(root=Path(root), name="fabric") for root in ("/a/lab", "/b/lab"))

    assert one.uplink != other.uplink
    assert one.uplink == _host.LabHost(root=Path("/a/lab/"), name="fabric").uplink
    assert re.fullmatch(r"ut[0-9a-f]{4}-fabric", one.uplink)
    assert len(one.uplink) <= 15


def test_half_started_host_is_found(tmp_path: Path, half_started: subprocess.Popen[bytes]) -> None:
    """A host that was interrupted at its start is found for removal and does not count as running."""
    root = tmp_path / "lab"

    assert _host.hosts_below(root) == {"one": [half_started.pid]}
    assert _host.first_process(_host.LabHost(root=root, name="one")) is None
    assert _host.hosts_below(tmp_path / "la") == _host.hosts_below(tmp_path) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_half_started_host_is_removed(tmp_path: Path, half_started: subprocess.Popen[bytes]) -> None:
    """Removal ends what an interruption left, and says its name."""
    assert _host.remove_all(tmp_path / "lab") == ["one"]
    assert half_started.wait(10) == -9
    assert _host.remove_all(tmp_path / "lab") == []


def test_command_that_fails_is_quoted() -> None:
    """The error holds the command and its complaint."""
    with pytest.raises(_host.LabError, match=r"^ls /nowhere/at/all failed: ls: .*No such file or directory$"):
        _host.run("ls", "/nowhere/at/all")


def test_command_that_is_missing_is_named() -> None:
    """The error of a command that is not installed names it."""
    with pytest.raises(_host.LabError, match=r"^no-such-command cannot be run: No such file or directory$"):
        _host.run("no-such-command", "x")


def test_waiting_ends() -> None:
    """What does not happen in time is named with the time."""
    with pytest.raises(_host.LabError, match=r"^a miracle did not happen within 0 s$"):
        _host.wait_for(lambda: False, "a miracle", timeout=0.05)


def test_last_words(tmp_path: Path) -> None:
    """Of a log the last line that says something is quoted; an empty one is named too."""
    log = tmp_path / "boot.log"
    log.write_bytes(b"first\nlast \xff word\n\n")
    spoken = _host.last_words(log)
    log.write_text("")

    assert spoken == f"see {log}, which ends with: last � word"
    assert _host.last_words(log).endswith("ends with: (nothing)")


def test_a_network_in_use_is_refused() -> None:
    """A network that another interface of the machine leads to is refused by name; the lab's own is not."""
    routes = [{"dst": "default", "dev": "eth0"}, {"dst": "172.24.4.0/24", "dev": "eth1"}]

    with pytest.raises(_host.LabError, match=r"172\.24\.4\.1/25 is in use: .* over eth1; choose a free network"):
        _host.refuse_foreign_routes(["172.24.4.1/25"], "utabcd-fabric", routes)
    _host.refuse_foreign_routes(["172.24.5.1/25"], "utabcd-fabric", routes)
    _host.refuse_foreign_routes(["172.24.4.1/25"], "eth1", routes)
