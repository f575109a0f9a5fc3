# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health of all services, as closely as it can be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._health import failed, planted, unread_queue
from ansible_collections.openstack.upgrade_test.tests.lab._lab import NEW
from ansible_collections.openstack.upgrade_test.tests.lab_full._full import FullLab

SLOW = 30
"""Seconds by which a clock is behind."""
RESTART_CUT_OFF = """
import os, pathlib, signal, subprocess, sys, time
config = pathlib.Path(sys.argv[1])
config.write_text(config.read_text().replace(":5672/", ":5673/"))
for entry in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        words = (entry / "cmdline").read_text().split(chr(0))[:-1]
        environment = dict(pair.split("=", 1) for pair in (entry / "environ").read_text().split(chr(0)) if "=" in pair)
        owner = (entry / "status").read_text().partition("Uid:")[2].split()[0]
    except OSError:
        continue
    if any(word.endswith("/nova-compute") for word in words):
        os.kill(int(entry.name), signal.SIGKILL)
        subprocess.Popen(
            words, env=environment, user=int(owner), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        print(entry.name)
        break
else:
    raise SystemExit("there is no nova-compute")
"""
SLOW_DATE = """
import os, shutil, subprocess, sys
folder = "/run/slow"
os.makedirs(folder)
shutil.copy("/usr/bin/date", folder + "/real")
with open(folder + "/date", "w") as script:
    script.write("#!/bin/sh" + chr(10) + "exec " + folder + "/real --date='-" + sys.argv[1] + " seconds' $1")
os.chmod(folder + "/date", 0o755)
subprocess.run(["mount", "--bind", folder + "/date", "/usr/bin/date"], check=True)
"""


@contextmanager
def compute_that_never_gets_ready(lab: FullLab) -> Iterator[None]:
    """A nova-compute that runs and does not reach the message queue, so it waits for its conductor for ever."""
    try:
        lab.ssh("compute2", RESTART_CUT_OFF, f"{lab.root}/hosts/compute2/etc/nova/nova.conf")
        yield
    finally:
        assert lab.deploy(upgrade_test_lab_release=NEW).rc == 0


def pending_migration(lab: FullLab) -> AbstractContextManager[None]:
    """A record of the time before migrations had an id of their own."""
    columns = "(deleted, status, migration_type, source_compute)"
    plant = f"INSERT INTO nova.migrations {columns} VALUES (0, 'done', 'migration', 'planted')"
    return planted(lab, plant, "DELETE FROM nova.migrations WHERE source_compute = 'planted'")


@contextmanager
def slow_clock(lab: FullLab, host: str) -> Iterator[None]:
    """A host that tells an earlier time than it is, to whoever asks it; its services do not notice."""
    try:
        lab.ssh(host, SLOW_DATE, str(SLOW))
        yield
    finally:
        lab.ssh(host, "import subprocess; subprocess.run(['umount', '/usr/bin/date'], check=True)")


@pytest.fixture(scope="module")
def found(upgraded: FullLab) -> list[dict[str, Any]]:
    """What one look finds when all these faults are there at once."""
    with ExitStack() as stack:
        stack.enter_context(compute_that_never_gets_ready(upgraded))
        stack.enter_context(pending_migration(upgraded))
        stack.enter_context(slow_clock(upgraded, "control2"))
        return failed(upgraded, "normal", "nova", upgrade_test_online_migrations=True)


def test_compute_that_runs_and_never_got_ready(found: list[dict[str, Any]]) -> None:
    """Its process is there, and its record tells that it does not report."""
    reports = [one for one in found if one["check"] == "service_reports"]

    assert [(one["service"], one["host"]) for one in reports] == [("nova", "compute2")]
    assert "nova-compute on compute2 is dead" in reports[0]["message"]
    assert "its process runs" in reports[0]["message"]


def test_pending_migration_of_data(found: list[dict[str, Any]]) -> None:
    """Data that wait for their migration are told by the service's own command."""
    assert [one["service"] for one in found if one["check"] == "online_migrations"] == ["nova"]


def test_clock_that_is_behind(found: list[dict[str, Any]]) -> None:
    """The host is named, and by how much at least."""
    (one,) = (one for one in found if one["check"] == "clock")

    assert one["host"] == "control2"
    assert "behind" in one["message"]


def test_nothing_else_is_found(found: list[dict[str, Any]]) -> None:
    """Each finding is one of the faults that were planted, or follows from one."""
    others = [one for one in found if one["check"] not in ("service_reports", "online_migrations", "clock")]

    assert [(one["check"], one["host"]) for one in others] == [("hypervisor_up", "compute2")]


def test_a_healthy_cloud_has_no_finding(upgraded: FullLab) -> None:
    """An ordinary user goes through a cycle with each service, starts a server on each host, and gives one a volume."""
    assert failed(upgraded, "deep") == []


def test_queue_of_the_storage_without_a_reader(upgraded: FullLab) -> None:
    """It is the storage's, by its name."""
    with unread_queue(upgraded, "cinder-scheduler"):
        found = failed(upgraded, "normal", "cinder")

    assert [(one["check"], one["service"]) for one in found] == [("message_queue", "cinder")]
