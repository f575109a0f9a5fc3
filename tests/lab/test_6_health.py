# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that a cloud may have although its APIs answer: each is planted, found and named, and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._admin import quiet
from ansible_collections.openstack.upgrade_test.tests.lab._health import failed, planted, quoted, unread_queue
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


def schema_behind(lab: Lab) -> AbstractContextManager[None]:
    """The database of glance tells of a migration before the last one."""
    table = "UPDATE glance.alembic_version SET version_num"
    return planted(lab, f"{table} = '2023_1_contract01'", f"{table} = '2024_1_contract01'")


def record_of_a_vanished_host(lab: Lab) -> AbstractContextManager[None]:
    """A compute that nobody has is among those that nova knows."""
    columns = "created_at, updated_at, last_seen_up, host, `binary`, topic, report_count, disabled, deleted, version"
    columns += ", uuid, forced_down"  # without an id the API could list no service
    # As new as the others, or the upgrade check would fail, too.
    values = "NOW(), '2020-01-01', '2020-01-01', 'ghost', 'nova-compute', 'compute', 1, 0, 0, MAX(version), UUID(), 0"
    plant = f"INSERT INTO nova.services ({columns}) SELECT {values} FROM nova.services"
    return planted(lab, plant, "DELETE FROM nova.services WHERE host = 'ghost'")


@contextmanager
def unknown_option(lab: Lab) -> Iterator[None]:
    """An option in a configuration file that the code does not know."""
    file = f"{lab.root}/hosts/control1/etc/keystone/keystone.conf"
    try:
        lab.ssh("control1", APPEND, file, quoted("# planted\n[DEFAULT]\nno_such_option = 1\n"))
        yield
    finally:
        lab.ssh("control1", APPEND, file)


@contextmanager
def wrong_endpoint_of_another_region(lab: Lab) -> Iterator[None]:
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
def hanging_instance(lab: Lab) -> Iterator[None]:
    """An instance of glance that hangs, while every request is answered by the other one."""
    try:
        lab.ssh("control2", SIGNAL, "glance.wsgi.api", "19")
        _wait_for_balancer(lab, "DOWN")
        yield
    finally:
        lab.ssh("control2", SIGNAL, "glance.wsgi.api", "18")
    _wait_for_balancer(lab, "UP")


def _wait_for_balancer(lab: Lab, state: str) -> None:
    def noticed() -> bool:
        lines = lab.ssh("infra", STATS).splitlines()
        return any(line.startswith("glance,control2,") and f",{state}," in line for line in lines)

    wait_for(noticed, f"the load balancer says {state}", BALANCER_PATIENCE)


@pytest.fixture(scope="module")
def found(upgraded: Lab) -> list[dict[str, Any]]:
    """What one look finds when all faults are there at once."""
    faults = (
        unread_queue(upgraded, "conductor"),
        unknown_option(upgraded),
        schema_behind(upgraded),
        record_of_a_vanished_host(upgraded),
        wrong_endpoint_of_another_region(upgraded),
        hanging_instance(upgraded),
    )
    with ExitStack() as stack:
        for fault in faults:
            stack.enter_context(fault)
        return failed(upgraded, "normal", "keystone", "glance", "nova")


def of(found: list[dict[str, Any]], check: str) -> list[dict[str, Any]]:
    """The findings of one check."""
    return [one for one in found if one["check"] == check]


def test_server_down_behind_a_healthy_balancer(found: list[dict[str, Any]]) -> None:
    """An instance that hangs is named, although every request is answered by the other one."""
    (one,) = of(found, "load_balancer")

    assert one["service"] == "glance"
    assert "control2 is DOWN" in one["message"]


def test_queue_without_a_reader(found: list[dict[str, Any]]) -> None:
    """A queue that a service has to read and nobody does is named, with the service."""
    assert [(one["service"], one["subject"]) for one in of(found, "message_queue")] == [("nova", "queue conductor")]


def test_unknown_option(found: list[dict[str, Any]]) -> None:
    """An option that the code does not know is named, with its file."""
    (one,) = of(found, "configuration")

    assert (one["service"], one["host"], one["found"]) == ("keystone", "control1", ["DEFAULT/no_such_option"])


def test_schema_behind(found: list[dict[str, Any]]) -> None:
    """A migration that is missing is named, and the command of the service says which step comes next."""
    assert [one["service"] for one in of(found, "online_migrations")] == ["glance"]
    assert [one["service"] for one in of(found, "database_schema")] == ["glance"]
    assert "lacks 2024_1_contract01" in of(found, "database_schema")[0]["message"]


def test_record_of_a_vanished_host(found: list[dict[str, Any]]) -> None:
    """A compute that nobody has is named, and that its record may go."""
    (one,) = of(found, "service_reports")

    assert (one["service"], one["host"]) == ("nova", "ghost")
    assert "remove this record" in one["message"]


def test_wrong_endpoint_of_another_region(found: list[dict[str, Any]]) -> None:
    """The region and the interface are named; the endpoints of the region in use are well."""
    elsewhere = [one for one in found if one["subject"] == "public endpoint in region RegionTwo"]

    assert {one["service"] for one in elsewhere} == {"glance"}


def test_nothing_else_is_found(found: list[dict[str, Any]]) -> None:
    """Each finding is one of the faults that were planted."""
    known = {
        "load_balancer",
        "message_queue",
        "configuration",
        "online_migrations",
        "database_schema",
        "service_reports",
    }
    others = [one for one in found if one["check"] not in known]

    assert {one["subject"] for one in others} == {"public endpoint in region RegionTwo"}
