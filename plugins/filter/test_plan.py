# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: test_plan
author:
  - The openstack.upgrade_test contributors (@openstack)
short_description: Tell what a test of a cloud would do, and what it could decide
version_added: 0.1.0
description:
  - Returns the plan of a test as lines of text for people. What the cloud is, what would be observed how often, what
    would be made and checked, and which claims can be decided with what was given, and what the others would need.
  - The playbook C(discover) prints it.
positional: _input, given
options:
  _input:
    description: What M(openstack.upgrade_test.cloud_info) returned as C(cloud_info).
    type: dict
    required: true
  given:
    description:
      - What was given for the test, by the names of the variables without C(upgrade_test_), and C(hosts),
        C(observer_hosts) and C(targets).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ discovered.cloud_info | openstack.upgrade_test.test_plan(given) }}"
  vars:
    given:
      targets: "{{ discovered.cloud_info.targets }}"
      observers: [api_uptime]
      api_rate: 5
      hosts: "{{ groups['upgrade_test_hosts'] | default([]) }}"
      claims: [zero_downtime]
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._plan import plan


def test_plan(info: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Return the plan; AnsibleFilterError when something that was given has no such name."""
    try:
        return plan(info, given)
    except TypeError as problem:
        raise AnsibleFilterError(f"test_plan: {problem}") from problem


class FilterModule:
    """Ansible's way to find the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"test_plan": test_plan}
