# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that a cloud may have although its APIs answer: each is planted, found and named, and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._admin import quiet
from ansible_collections.openstack.upgrade_test.tests.lab._health import failed, quoted, unread_queue
from ansible_collections.openstack.upgrade_test.tests.lab._lab import Lab, wait_for

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
SQL = """
import subprocess, sys
subprocess.run(["mariadb", "--user=root", "--socket=" + sys.argv[1], "--execute=" + sys.argv[2]], check=True)
"""


def sql(lab: Lab, statement: str) -> None:
    """Run a statement in the database server."""
    lab.ssh("infra", SQL, f"{lab.root}/hosts/infra/var/mysql/mysql.sock", statement)


@contextmanager
def planted(lab: Lab, *steps: tuple[str, str, str]) -> Iterator[None]:
    """Plant faults by statements, each with the one that takes it back."""
    try:
        for _what, plant, _undo in steps:
            sql(lab, quoted(plant))
        yield
    finally:
        for _what, _plant, undo in reversed(steps):
            sql(lab, quoted(undo))


def test_a_healthy_cloud_has_no_finding(upgraded: Lab) -> None:
    """Nothing is planted, and nothing is found, deep as it may be looked: each host starts a server."""
    assert failed(upgraded, "deep") == []


def test_server_down_behind_a_healthy_balancer(upgraded: Lab) -> None:
    """An instance that hangs is named, although every request is answered by the other one."""
    try:
        upgraded.ssh("control2", SIGNAL, "glance.wsgi.api", "19")
        wait_for(
            lambda: any(line.startswith("glance,control2,") and ",DOWN," in line for line in _stats(upgraded)),
            "the load balancer's notice",
            BALANCER_PATIENCE,
        )
        found = failed(upgraded, "quick", "glance")
    finally:
        upgraded.ssh("control2", SIGNAL, "glance.wsgi.api", "18")
    wait_for(
        lambda: any(line.startswith("glance,control2,") and ",UP," in line for line in _stats(upgraded)),
        "the instance's return",
        BALANCER_PATIENCE,
    )

    assert [(one["check"], one["service"]) for one in found] == [("load_balancer", "glance")]
    assert "control2 is DOWN" in found[0]["message"]


def _stats(lab: Lab) -> list[str]:
    return lab.ssh("infra", STATS).splitlines()


def test_queue_without_a_reader(upgraded: Lab) -> None:
    """A queue that a service has to read and nobody does is named, with the service."""
    with unread_queue(upgraded, "conductor"):
        found = failed(upgraded, "normal", "nova")

    assert [(one["check"], one["service"], one["subject"]) for one in found] == [
        ("message_queue", "nova", "queue conductor")
    ]


def test_unknown_option(upgraded: Lab) -> None:
    """An option that the code does not know is named, with its file."""
    file = f"{upgraded.root}/hosts/control1/etc/keystone/keystone.conf"
    try:
        upgraded.ssh("control1", APPEND, file, quoted("# planted\n[DEFAULT]\nno_such_option = 1\n"))
        found = failed(upgraded, "normal", "keystone")
    finally:
        upgraded.ssh("control1", APPEND, file)

    assert [(one["check"], one["host"], one["found"]) for one in found] == [
        ("configuration", "control1", ["DEFAULT/no_such_option"])
    ]


def test_schema_behind(upgraded: Lab) -> None:
    """A migration that is missing is named, and the command of the service says which step comes next."""
    plant = "UPDATE glance.alembic_version SET version_num = '2023_1_contract01'"
    undo = "UPDATE glance.alembic_version SET version_num = '2024_1_contract01'"
    with planted(upgraded, ("schema", plant, undo)):
        found = failed(upgraded, "normal", "glance")

    assert {one["check"] for one in found} == {"database_schema", "online_migrations"}
    assert any("lacks 2024_1_contract01" in one["message"] for one in found)


def test_record_of_a_vanished_host(upgraded: Lab) -> None:
    """A compute that nobody has is named, and that its record may go."""
    columns = "created_at, updated_at, last_seen_up, host, `binary`, topic, report_count, disabled, deleted, version"
    values = "NOW(), '2020-01-01', '2020-01-01', 'ghost', 'nova-compute', 'compute', 1, 0, 0, 66, UUID(), 0"
    columns += ", uuid, forced_down"  # without an id the API could list no service
    plant = f"INSERT INTO nova.services ({columns}) VALUES ({values})"
    with planted(upgraded, ("record", plant, "DELETE FROM nova.services WHERE host = 'ghost'")):
        found = failed(upgraded, "quick", "nova")

    assert [(one["check"], one["host"]) for one in found] == [("service_reports", "ghost")]
    assert "remove this record" in found[0]["message"]


@pytest.fixture
def other_region(upgraded: Lab) -> Iterator[None]:
    """A second region whose endpoint of the image service leads to the network service."""
    identity = upgraded.admin().cloud.identity
    with quiet():
        urls = {service.type: service.id for service in identity.services()}
        public = next(
            one.url for one in identity.endpoints() if one.service_id == urls["network"] and one.interface == "public"
        )
        identity.create_region(id="RegionTwo")
        endpoint = identity.create_endpoint(
            service_id=urls["image"], interface="public", url=f"{public.rstrip('/')}/v2", region_id="RegionTwo"
        )
    yield
    with quiet():
        identity.delete_endpoint(endpoint)
        identity.delete_region("RegionTwo")


def test_wrong_endpoint_of_another_region(upgraded: Lab, other_region: None) -> None:
    """The region and the interface are named; the endpoints of the region in use are well."""
    found = failed(upgraded, "quick", "glance")

    assert {one["subject"] for one in found} == {"public endpoint in region RegionTwo"}
