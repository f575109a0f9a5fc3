# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules promise about Ansible's own features, written once."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes that several modules share."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and then changes nothing.
  diff_mode:
    description: Shows what changed in diff mode.
"""

    # For modules that only look.
    READ_ONLY = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This module changes nothing in the cloud or on the host.
  diff_mode:
    support: none
    details:
      - This module changes nothing, so there is no difference to show.
"""

    # For modules that make and remove things in a cloud.
    CHANGES = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - Says whether something would be made or removed, and touches neither the cloud nor the run directory.
  diff_mode:
    support: none
    details:
      - What was made or removed is in the result.
"""

    # For modules that return outcomes.
    OUTCOMES = r"""
options:
  phase:
    description:
      - The phase of the run in which this check is made, for example V(before) or V(after). Labels the outcomes.
    type: str
    default: ""
  collect:
    description:
      - Whether the task succeeds also when a check failed or broke, so that the judgement comes last.
    type: bool
    default: false
"""
