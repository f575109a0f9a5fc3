# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health of all services, as closely as it can be looked at; faults that a cloud may have although its APIs answer.

Each is planted, found and named, and taken back.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab_full._full import FullLab
from ansible_collections.openstack.upgrade_test.tests.lab_full._health import (
    compute_that_never_gets_ready,
    failed,
    hanging_instance,
    pending_migration,
    record_of_a_vanished_host,
    schema_behind,
    slow_clock,
    unknown_option,
    unread_queue,
    wrong_endpoint_of_another_region,
)
from ansible_collections.openstack.upgrade_test.tests.lab_full._tls import image_endpoint_with_tls


def test_a_healthy_cloud_has_no_finding(upgraded: FullLab) -> None:
    """An ordinary user goes through a cycle with each service, starts a server on each host, and gives one a volume."""
    assert failed(upgraded, "deep") == []


@pytest.fixture(scope="module")
def found(upgraded: FullLab) -> list[dict[str, Any]]:
    """What one look finds when all faults are there at once."""
    faults = (
        compute_that_never_gets_ready(upgraded),
        pending_migration(upgraded),
        slow_clock(upgraded, "control2"),
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
        return failed(upgraded, "normal", "keystone", "glance", "nova", upgrade_test_online_migrations=True)


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
    assert "glance" in {one["service"] for one in of(found, "online_migrations")}
    assert [one["service"] for one in of(found, "database_schema")] == ["glance"]
    assert "lacks 2024_1_contract01" in of(found, "database_schema")[0]["message"]


def test_record_of_a_vanished_host(found: list[dict[str, Any]]) -> None:
    """A compute that nobody has is named, and that its record may go."""
    (one,) = (one for one in of(found, "service_reports") if one["host"] != "compute2")

    assert (one["service"], one["host"]) == ("nova", "ghost")
    assert "remove this record" in one["message"]


def test_wrong_endpoint_of_another_region(found: list[dict[str, Any]]) -> None:
    """The region and the interface are named; the endpoints of the region in use are well."""
    elsewhere = [one for one in found if one["subject"] == "public endpoint in region RegionTwo"]

    assert {one["service"] for one in elsewhere} == {"glance"}


def test_compute_that_runs_and_never_got_ready(found: list[dict[str, Any]]) -> None:
    """Its process is there, and its record tells that it does not report."""
    (one,) = (one for one in of(found, "service_reports") if one["host"] == "compute2")

    assert "nova-compute on compute2 is dead" in one["message"]
    assert "its process runs" in one["message"]
    assert [one["host"] for one in of(found, "hypervisor_up")] == ["compute2"]


def test_pending_migration_of_data(found: list[dict[str, Any]]) -> None:
    """Data that wait for their migration are told by the service's own command."""
    (one,) = (one for one in of(found, "online_migrations") if one["service"] == "nova")

    assert "found some" in one["message"]


def test_clock_that_is_behind(found: list[dict[str, Any]]) -> None:
    """The host is named, and by how much at least."""
    (one,) = of(found, "clock")

    assert one["host"] == "control2"
    assert "behind" in one["message"]


def test_nothing_else_is_found(found: list[dict[str, Any]]) -> None:
    """Each finding is one of the faults that were planted, or follows from one."""
    known = {
        "clock",
        "configuration",
        "database_schema",
        "hypervisor_up",
        "load_balancer",
        "message_queue",
        "online_migrations",
        "service_reports",
    }
    others = [one for one in found if one["check"] not in known]

    assert {one["subject"] for one in others} == {"public endpoint in region RegionTwo"}


def test_queue_of_the_storage_without_a_reader(upgraded: FullLab) -> None:
    """It is the storage's, by its name."""
    with unread_queue(upgraded, "cinder-scheduler"):
        found = failed(upgraded, "normal", "cinder")

    assert [(one["check"], one["service"]) for one in found] == [("message_queue", "cinder")]


def test_authority_that_is_trusted_has_no_finding(upgraded: FullLab) -> None:
    """An endpoint with TLS, whose authority and whose own certificate last."""
    with image_endpoint_with_tls(upgraded, 300) as authority:
        assert failed(upgraded, "normal", "glance", upgrade_test_ca_cert=authority) == []


def test_authority_that_has_expired(upgraded: FullLab) -> None:
    """It is named, and so is the endpoint that nobody can trust any more although its own certificate is good."""
    with image_endpoint_with_tls(upgraded, -3) as authority:
        found = failed(upgraded, "normal", "glance", upgrade_test_ca_cert=authority)

    told = {one["subject"]: one["message"] for one in of(found, "certificate")}
    assert set(told) == {authority, "admin endpoint of glance"}
    assert "CN=authority of the lab" in told[authority]
    assert "expired 3 days ago" in told[authority]
    assert "certificate has expired" in told["admin endpoint of glance"]
    assert {one["check"] for one in found} == {"certificate"}
