# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: unknown_variables
author:
  - The openstack.upgrade_test contributors (@openstack)
short_description: Find misspelt variables
version_added: 0.1.0
description:
  - Looks through the names of all variables that begin with C(upgrade_test_), those of the current host and those of
    the hosts that are named as terms, and returns a sentence for each that no role of this collection knows.
  - The names that exist are read from the argument specifications and the defaults of the collection's roles.
options:
  _terms:
    description: Names of inventory hosts whose variables are checked too.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Refuse misspelt variables
  ansible.builtin.assert:
    that: __misspelt | length == 0
    fail_msg: "{{ __misspelt | join('\n') }}"
  vars:
    __misspelt: "{{ query('openstack.upgrade_test.unknown_variables') }}"
"""

RETURN = r"""
_raw:
  description: One sentence for each unknown variable, with the nearest name that exists.
  type: list
  elements: str
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._variables import complaints, known_variables

ROLES = Path(__file__).resolve().parents[2] / "roles"


class LookupModule(LookupBase):
    """Compare the names of variables with those that the roles document."""

    def run(self, terms: list[str], variables: Mapping[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return the complaints about the variables of this host and of the hosts in `terms`."""
        self.set_options(var_options=variables, direct=kwargs)
        variables = variables or {}
        names = set(variables)
        for host in terms:
            # Only the keys are read, so nothing is templated.
            names.update(variables["hostvars"][host])
        return complaints(names, known_variables(ROLES))
