# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cinder.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import Beat, Health, watch_beats
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    Components,
    Operation,
    Probe,
    Service,
)


def health(health: Health) -> None:
    """Cinder lists volumes, and its scheduler and the service of each backend are up and report."""
    body = health.ask("lists_volumes", "volume list", "/volumes", limit=5)
    if body is not None:
        health.record("lists_volumes", "volume list", Status.PASS, "Cinder lists volumes.")
    if health.ask("services", "volume services", "/os-services") is not None:
        watch_beats(health, "service_reports", lambda: read_services(health))


def read_services(health: Health) -> list[Beat]:
    """Return Cinder's service processes; the host of a volume service names its backend (``storage1@ceph``)."""
    found = health.service.api(health.cloud).get("/os-services")["services"]
    return [
        Beat(
            type=service["binary"],
            binary=service["binary"],
            host=service["host"],
            alive=service["state"] == "up",
            stamp=str(service.get("updated_at") or ""),
            enabled=service["status"] == "enabled",
        )
        for service in found
    ]


SERVICE = Service(
    name="cinder",
    types=("block-storage", "volumev3", "volume"),
    prefix="/v3",
    # Not /healthcheck: an operator may have it answer 503 to drain an instance that still serves.
    probe=Probe(path="/", status=(300,), body='"versions"'),
    operations=(Operation(name="list volumes", path="/volumes?limit=1", body='"volumes"'),),
    components=Components(
        wsgi={
            "cinder.wsgi.api": "cinder-api",
            "cinder.wsgi.wsgi": "cinder-api",
            "cinder-wsgi": "cinder-api",
            "cinder-uwsgi": "cinder-api",
            "cinder-api": "cinder-api",
            "cinder": "cinder-api",
            "wsgi:cinder-api": "cinder-api",
        },
        prefixes=("cinder-",),
        tools=(
            "cinder-manage",
            "cinder-status",
            "cinder-rootwrap",
            "cinder-rtstool",
            "cinder-volume-usage-audit",
        ),
    ),
    health=health,
)
