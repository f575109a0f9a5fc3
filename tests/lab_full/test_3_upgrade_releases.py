# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen of the releases of all services: the same questions as with the profile core."""

from __future__ import annotations

from ansible_collections.openstack.upgrade_test.tests.lab.test_5_upgrade_releases import (
    run_dir,
    test_databases_records_and_apis_agree,
    test_every_process_is_right_at_every_moment,
    test_every_step_restarted_something_that_was_seen,
    test_mixed_windows_lie_between_the_steps,
)

__all__ = [
    "run_dir",
    "test_databases_records_and_apis_agree",
    "test_every_process_is_right_at_every_moment",
    "test_every_step_restarted_something_that_was_seen",
    "test_mixed_windows_lie_between_the_steps",
]
