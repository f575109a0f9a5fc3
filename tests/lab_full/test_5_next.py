# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One release further."""

from __future__ import annotations

from ansible_collections.openstack.upgrade_test.tests.lab_full._full import NEXT, FullLab


def test_upgrade_to_the_next_release(upgraded: FullLab) -> None:
    """Everything runs the next release, and is healthy."""
    played = upgraded.deploy("upgraded", upgrade_test_lab_release=NEXT, timeout=1500)

    assert played.rc == 0
    assert upgraded.release == NEXT
    checked = upgraded.validate(NEXT)
    assert checked.rc == 0, checked.messages
