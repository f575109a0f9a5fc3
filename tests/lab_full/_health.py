# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What validate finds of a lab's health, and faults to plant for it; each is taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.tests.lab._admin import quiet
from ansible_collections.openstack.upgrade_test.tests.lab._lab import NEW, wait_for
from ansible_collections.openstack.upgrade_test.tests.lab_full._full import FullLab

RABBIT = """
import os, pathlib, subprocess, sys
for entry in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if b"beam.smp" in (entry / "cmdline").read_bytes():
            own = dict(pair.split("=", 1) for pair in (entry / "environ").read_text().split(chr(0)) if "=" in pair)
    except OSError:
        continue
done = subprocess.run(["/usr/lib/rabbitmq/bin/rabbitmqctl", "--quiet", *sys.argv[1:]], env=own)
raise SystemExit(done.returncode)
"""
SQL = """
import subprocess, sys
subprocess.run(["mariadb", "--user=root", "--socket=" + sys.argv[1], "--execute=" + sys.argv[2]], check=True)
"""


BALANCER_PATIENCE = 60
"""Seconds in which the load balancer has to notice: its check of an instance waits ten."""
SIGNAL = """
import os, pathlib, sys
for entry in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        command = (entry / "cmdline").read_bytes()
    except OSError:
        continue
    if b"--module=" + sys.argv[1].encode() in command:
        os.kill(int(entry.name), int(sys.argv[2]))
"""
STATS = """
import socket
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect("/run/haproxy.sock")
    connection.sendall(b"show stat" + bytes([10]))
    print(b"".join(iter(lambda: connection.recv(65536), b"")).decode())
"""
APPEND = """
import pathlib, sys
path = pathlib.Path(sys.argv[1])
text = path.read_text()
path.write_text(text + sys.argv[2] if len(sys.argv) > 2 else text.partition("# planted")[0])
"""
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
        planted = subprocess.Popen(
            words, env=environment, user=int(owner), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        print(planted.pid)
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


def failed(lab: FullLab, depth: str, *services: str, **more: Any) -> list[dict[str, Any]]:
    """Look at some services now; the checks that failed."""
    variables = {
        "upgrade_test_stage": "now",
        "upgrade_test_depth": depth,
        "upgrade_test_services": list(services),
        "upgrade_test_from_release": NEW,
        "upgrade_test_agent_wait": 45,
        **more,
    }
    file = lab.workplace / "health.json"
    playbook = str(Path(__file__).with_name("health.yml"))
    played = lab.play(playbook, {**variables, "outcomes_file": str(file)}, timeout=600)
    assert played.rc == 0
    return [one for one in json.loads(file.read_text(encoding="utf-8")) if one["status"] == "fail"]


def quoted(word: str) -> str:
    """A word that the shell on the other side leaves alone."""
    return "'" + word.replace("'", "'\\''") + "'"


@contextmanager
def unread_queue(lab: FullLab, name: str) -> Iterator[None]:
    """A queue of this name, in a corner of the message queue where nobody reads it."""
    declare = (
        f'rabbit_amqqueue:declare({{resource, <<"ghost">>, queue, <<"{name}">>}}, true, false, [], none, <<"x">>).'
    )
    try:
        lab.ssh("infra", RABBIT, "add_vhost", "ghost")
        lab.ssh("infra", RABBIT, "eval", quoted(declare))
        yield
    finally:
        lab.ssh("infra", RABBIT, "delete_vhost", "ghost")


def sql(lab: FullLab, statement: str) -> None:
    """Run a statement in the database server."""
    lab.ssh("infra", SQL, f"{lab.root}/hosts/infra/var/mysql/mysql.sock", statement)


@contextmanager
def planted(lab: FullLab, plant: str, undo: str) -> Iterator[None]:
    """Plant a fault by a statement, and take it back by another."""
    sql(lab, quoted(plant))
    try:
        yield
    finally:
        sql(lab, quoted(undo))


@contextmanager
def compute_that_never_gets_ready(lab: FullLab) -> Iterator[None]:
    """A nova-compute that runs and does not reach the message queue, so it waits for its conductor for ever."""
    pid = ""
    try:
        pid = lab.ssh("compute2", RESTART_CUT_OFF, f"{lab.root}/hosts/compute2/etc/nova/nova.conf").strip()
        yield
    finally:
        if pid:  # the lab knows of none that it has not started
            lab.sh("compute2", f"kill -KILL {pid}")
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


def schema_behind(lab: FullLab) -> AbstractContextManager[None]:
    """The database of glance tells of a migration before the last one."""
    table = "UPDATE glance.alembic_version SET version_num"
    return planted(lab, f"{table} = '2023_1_contract01'", f"{table} = '2024_1_contract01'")


def record_of_a_vanished_host(lab: FullLab) -> AbstractContextManager[None]:
    """A compute that nobody has is among those that nova knows."""
    columns = "created_at, updated_at, last_seen_up, host, `binary`, topic, report_count, disabled, deleted, version"
    columns += ", uuid, forced_down"  # without an id the API could list no service
    # As new as the others, or the upgrade check would fail, too.
    values = "NOW(), '2020-01-01', '2020-01-01', 'ghost', 'nova-compute', 'compute', 1, 0, 0, MAX(version), UUID(), 0"
    plant = f"INSERT INTO nova.services ({columns}) SELECT {values} FROM nova.services"
    return planted(lab, plant, "DELETE FROM nova.services WHERE host = 'ghost'")


@contextmanager
def unknown_option(lab: FullLab) -> Iterator[None]:
    """An option in a configuration file that the code does not know."""
    file = f"{lab.root}/hosts/control1/etc/keystone/keystone.conf"
    try:
        lab.ssh("control1", APPEND, file, quoted("# planted\n[DEFAULT]\nno_such_option = 1\n"))
        yield
    finally:
        lab.ssh("control1", APPEND, file)


@contextmanager
def wrong_endpoint_of_another_region(lab: FullLab) -> Iterator[None]:
    """A second region whose endpoint of the image service leads to the network service."""
    identity = lab.admin().cloud.identity
    with quiet():
        urls = {service.type: service.id for service in identity.services()}
        (public,) = (
            one.url for one in identity.endpoints() if one.service_id == urls["network"] and one.interface == "public"
        )
        identity.create_region(id="RegionTwo")
        endpoint = identity.create_endpoint(
            service_id=urls["image"], interface="public", url=f"{public.rstrip('/')}/v2", region_id="RegionTwo"
        )
    try:
        yield
    finally:
        with quiet():
            identity.delete_endpoint(endpoint)
            identity.delete_region("RegionTwo")


@contextmanager
def hanging_instance(lab: FullLab) -> Iterator[None]:
    """An instance of glance that hangs, while every request is answered by the other one."""
    try:
        lab.ssh("control2", SIGNAL, "glance.wsgi.api", "19")
        _wait_for_balancer(lab, "DOWN")
        yield
    finally:
        lab.ssh("control2", SIGNAL, "glance.wsgi.api", "18")
    _wait_for_balancer(lab, "UP")


def _wait_for_balancer(lab: FullLab, state: str) -> None:
    def noticed() -> bool:
        lines = lab.ssh("infra", STATS).splitlines()
        return any(line.startswith("glance,control2,") and f",{state}," in line for line in lines)

    wait_for(noticed, f"the load balancer says {state}", BALANCER_PATIENCE)
