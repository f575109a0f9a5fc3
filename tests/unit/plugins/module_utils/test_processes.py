# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._processes import (
    Process,
    command_of,
    names_of,
    processes,
)


@pytest.mark.parametrize("title", ["nova-scheduler:", "nova-scheduler"])
def test_a_retitled_process_keeps_its_name(tmp_path: Path, title: str) -> None:
    """A service that has put its own title in place of its command line is still the same component."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "exe").symlink_to(sys.executable)
    process = Process(pid=7, parent=1, ticks=1, started=0.0, name=title, command=(title, "master", "process"))

    assert names_of(process, tmp_path) == ["nova-scheduler"]


@pytest.mark.parametrize("question", ["--test-config", "--version", "--help"])
def test_a_program_that_is_asked_is_no_service(question: str) -> None:
    """What looks at the configuration of the new release before the upgrade is not an instance of that release."""
    script, file = "/opt/swift/bin/swift-account-server", "/etc/swift/account-server.conf"

    def names(*words: str) -> list[str]:
        command = ("/opt/swift/bin/python", script, *words)
        return names_of(Process(pid=7, parent=1, ticks=1, started=0.0, name="python", command=command))

    assert names(file, "--verbose") == ["swift-account-server"]
    assert names(file, question) == []


def test_a_process_began_when_it_was_started() -> None:
    """The kernel counts from the start of the machine; the time that this makes is that of the clock."""
    before = time.time()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        after = time.time()
        found = next(one for one in processes() if one.pid == process.pid)

        assert before - 0.1 <= found.started <= after + 0.1
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "title",
    ["nova-scheduler: master process [{}]", "swift-proxy-server: worker ({})", "neutron-openvswitch-agent ({})"],
)
def test_a_command_is_read_out_of_a_title(tmp_path: Path, title: str) -> None:
    """Some processes put their own command line into the title that they give themselves."""
    command = "/opt/nova/bin/nova-scheduler --config-file /etc/nova/nova.conf"
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cmdline").write_bytes(title.format(command).encode() + b"\0\0")

    assert command_of(7, tmp_path) == tuple(command.split())
