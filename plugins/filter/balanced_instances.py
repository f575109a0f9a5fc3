# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: balanced_instances
author:
  - The openstack.upgrade_test contributors (@openstack)
short_description: Tell the API instances behind a load balancer from its configuration
version_added: 0.1.0
description:
  - Finds the servers behind each published endpoint, in the form of C(upgrade_test_api_instances), which
    P(openstack.upgrade_test.instance_targets#filter) makes targets of.
  - A listener belongs to the service whose published address has its port. Where several services share a port, nothing
    is returned for them.
positional: _input, hosts
options:
  _input:
    description: The targets that M(openstack.upgrade_test.cloud_info) returned.
    type: list
    elements: dict
    required: true
  hosts:
    description: What M(openstack.upgrade_test.host_info) returned as C(host_info), by the name of the host.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the instances
  ansible.builtin.debug:
    msg: "{{ discovered.cloud_info.targets | openstack.upgrade_test.balanced_instances({'lb1': seen.host_info}) }}"
"""

RETURN = r"""
_value:
  description: The instances, each with service, host and url.
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._instances import instances


class FilterModule:
    """Ansible's way to find the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"balanced_instances": instances}
