# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy of Swift that was reloaded instead of restarted: the reload succeeds, and the old code goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._lab import NEW, OLD
from ansible_collections.openstack.upgrade_test.tests.lab_full._full import FullLab

# Swift's seamless reload: the server executes itself anew, and its old workers serve their requests to the end.
RELOAD = """
pid=$(sed 's/.*"pid": \\([0-9]*\\).*/\\1/' /run/lab/swift-proxy-server.json)
before=$(cut -d' ' -f28 "/proc/$pid/stat")
kill -USR1 "$pid"
for _ in $(seq 150); do
  [ "$(cut -d' ' -f28 "/proc/$pid/stat")" != "$before" ] && exit 0
  sleep 0.2
done
exit 1
"""


@pytest.fixture
def reloaded(upgraded: FullLab) -> Iterator[None]:
    """The proxy of control2 was begun by the old release, and has executed itself anew."""
    given = {"upgrade_test_lab_release": NEW, "upgrade_test_lab_release_overrides": {"control2": {"swift": OLD}}}
    try:
        assert upgraded.deploy(**given).rc == 0
        upgraded.sh("control2", RELOAD)
        yield
    finally:
        undone = upgraded.deploy(upgrade_test_lab_release=NEW)
    assert undone.rc == 0


def test_proxy_pinned_to_the_old_code(upgraded: FullLab, reloaded: None) -> None:
    """The proxy, its host and both releases are named, and the API tells that instances of two releases answer."""
    played = upgraded.validate(NEW)
    told = " ".join(played.messages)

    assert played.rc != 0
    for word in ("swift-proxy-server on control2", OLD, NEW):
        assert word in told, word
    assert "swift-proxy-server on control1" not in told


def test_proxy_restarted(upgraded: FullLab) -> None:
    """With the proxy on the new code everything passes again."""
    assert upgraded.validate(NEW).rc == 0
