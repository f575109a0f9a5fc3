# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Placement.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import Health
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    BATCH,
    Components,
    Configured,
    Probe,
    Schema,
    Service,
    Upkeep,
)


def look_at_providers(health: Health) -> None:
    """Placement answers an authorised request and knows at least one resource provider."""
    body = health.ask("providers", "resource providers", "/resource_providers")
    if body is None:
        return
    names = sorted(provider["name"] for provider in body["resource_providers"])
    status = Status.PASS if names else Status.FAIL
    message = f"Placement knows {len(names)} resource providers."
    health.record("providers", "resource providers", status, message, expected="at least one", found=names[:20])


SERVICE = Service(
    name="placement",
    types=("placement",),
    prefix="",
    probe=Probe(path="/", body='"versions"'),
    # No operations: what a user without rights may ask for (his usages) needs a microversion, so a header, and his id.
    components=Components(
        wsgi={
            "placement.wsgi.api": "placement-api",
            "placement.wsgi": "placement-api",
            "placement-api": "placement-api",
            "placement-uwsgi": "placement-api",
            "placement": "placement-api",
            "wsgi:placement-api": "placement-api",
            "wsgi:placement": "placement-api",
        },
        prefixes=("placement-",),
        tools=("placement-manage", "placement-status"),
    ),
    headers={"OpenStack-API-Version": "placement 1.39"},
    upkeep=Upkeep(
        configuration=Configured(names=("placement.conf",), words=False, alike=("placement-api",)),
        schemas=(
            Schema(
                name="placement", section="placement_database", migrations="placement/db/sqlalchemy/alembic/versions"
            ),
        ),
        status="placement-status",
        migrate=("placement-manage", "db", "online_data_migrations", "--max-count", str(BATCH)),
    ),
    health=(look_at_providers,),
)
