# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health of all services, as closely as it can be looked at."""

from __future__ import annotations

from ansible_collections.openstack.upgrade_test.tests.lab._health import failed, unread_queue
from ansible_collections.openstack.upgrade_test.tests.lab_full._full import FullLab


def test_a_healthy_cloud_has_no_finding(upgraded: FullLab) -> None:
    """An ordinary user goes through a cycle with each service, starts a server on each host, and gives one a volume."""
    assert failed(upgraded, "deep") == []


def test_queue_of_the_storage_without_a_reader(upgraded: FullLab) -> None:
    """It is the storage's, by its name."""
    with unread_queue(upgraded, "cinder-scheduler"):
        found = failed(upgraded, "normal", "cinder")

    assert [(one["check"], one["service"]) for one in found] == [("message_queue", "cinder")]
