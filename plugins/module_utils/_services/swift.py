# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Swift.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Cloud
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import Health
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    Components,
    Probe,
    Service,
)


def account(cloud: Cloud) -> str:
    """Return the path of the project's account below ``/v1``, as the catalogue has it: ``/AUTH_<project id>``."""
    return "/" + cloud.endpoints(SERVICE.types)[cloud.interface].rstrip("/").rpartition("/")[2]


def health(health: Health) -> None:
    """Swift reads the account of the project, for which it asks the account servers."""
    body = health.ask("reads_account", "account", account(health.cloud), format="json", limit=5)
    if body is not None:
        health.record("reads_account", "account", Status.PASS, "Swift lists the containers of the project's account.")


SERVICE = Service(
    name="swift",
    types=("object-store",),
    prefix="/v1",
    probe=Probe(path="/info", body='"swift"'),
    # No operations: every path below the prefix holds the account, so it is another one for each project.
    components=Components(
        wsgi={},
        prefixes=("swift-",),
        tools=(
            "swift-account-audit",
            "swift-account-info",
            "swift-config",
            "swift-container-deleter",
            "swift-container-info",
            "swift-dispersion-populate",
            "swift-dispersion-report",
            "swift-drive-audit",
            "swift-form-signature",
            "swift-get-nodes",
            "swift-init",
            "swift-manage-shard-ranges",
            "swift-object-info",
            "swift-object-relinker",
            "swift-oldies",
            "swift-orphans",
            "swift-recon",
            "swift-recon-cron",
            "swift-reconciler-enqueue",
            "swift-reload",
            "swift-ring-builder",
            "swift-ring-builder-analyzer",
            "swift-ring-composer",
        ),
    ),
    health=health,
)
