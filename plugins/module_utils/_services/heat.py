# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Heat.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import Beat, Health, watch_beats
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    Components,
    Probe,
    Service,
)


def health(health: Health) -> None:
    """Heat lists stacks, and an engine on each host is up and reports."""
    own = f"/{health.cloud.project_id}"
    body = health.ask("lists_stacks", "stack list", f"{own}/stacks", limit=5)
    if body is not None:
        health.record("lists_stacks", "stack list", Status.PASS, "Heat lists stacks.")
    if health.ask("services", "engines", f"{own}/services") is not None:
        watch_beats(health, "service_reports", lambda: read_engines(health))


def read_engines(health: Health) -> list[Beat]:
    """Return Heat's engines, one a host."""
    return newest(health.service.api(health.cloud).get(f"/{health.cloud.project_id}/services")["services"])


def newest(engines: Iterable[Mapping[str, Any]]) -> list[Beat]:
    """Return the engine of each host that reported last: one that was killed stays in Heat's list for ever."""
    return [_beat(engine) for engine in {engine["host"]: engine for engine in sorted(engines, key=_stamp)}.values()]


def _beat(engine: Mapping[str, Any]) -> Beat:
    return Beat(
        type=engine["binary"],
        binary=engine["binary"],
        host=engine["host"],
        alive=engine["status"] == "up",
        stamp=_stamp(engine),
    )


def _stamp(engine: Mapping[str, Any]) -> str:
    """Return when an engine last reported; one that has just started has not done so yet."""
    return str(engine.get("updated_at") or engine.get("created_at") or "")


SERVICE = Service(
    name="heat",
    types=("orchestration",),
    prefix="/v1",
    probe=Probe(path="/", status=(300,), body='"versions"'),
    # No operations: every path below the prefix holds the project's id, so it is another one for each project.
    components=Components(
        wsgi={
            "heat.wsgi.api": "heat-api",
            "heat.httpd.heat_api": "heat-api",
            "heat-wsgi-api": "heat-api",
            "heat-uwsgi-api": "heat-api",
            "heat-api": "heat-api",
            "wsgi:heat-api": "heat-api",
            "heat.wsgi.cfn": "heat-api-cfn",
            "heat.httpd.heat_api_cfn": "heat-api-cfn",
            "heat-wsgi-api-cfn": "heat-api-cfn",
            "heat-api-cfn": "heat-api-cfn",
            "wsgi:heat-api-cfn": "heat-api-cfn",
        },
        prefixes=("heat-",),
        tools=("heat-manage", "heat-status", "heat-db-setup", "heat-keystone-setup-domain"),
    ),
    health=health,
)
