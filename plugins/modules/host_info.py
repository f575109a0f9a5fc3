#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Say what a host of a cloud is
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Runs on a host of the cloud and reads its processes and the configuration of its load balancer. It asks nobody and
    runs no command.
  - Which tool has deployed the cloud is told from where the code of the running processes lies. What a tool has left on
    the host counts only where none of the services runs.
  - Needs root to see processes of other users.
requirements:
  - Linux
extends_documentation_fragment:
  - openstack.upgrade_test.attributes
  - openstack.upgrade_test.attributes.read_only
"""

EXAMPLES = r"""
- name: Look at the hosts
  openstack.upgrade_test.host_info:
  register: seen

- name: Show which tool has deployed them
  ansible.builtin.debug:
    msg: "{{ seen.host_info.deployer or 'not known' }}"
"""

RETURN = r"""
host_info:
  description: What the host is.
  returned: success
  type: dict
  contains:
    deployer:
      description:
        - V(Kolla-Ansible), V(OpenStack-Ansible), V(DevStack), V(packages) of the distribution, V(lab) for the embedded
          one, several of these, or an empty text when nothing tells it.
      type: str
    evidence:
      description: What tells it.
      type: list
      elements: str
    components:
      description: What of the services runs on the host, with service and component.
      type: list
      elements: dict
    listeners:
      description:
        - What an HAProxy of this host listens on, with name, binds, servers (each with name, address and scheme), and
          backends, the number of groups of servers behind it.
      type: list
      elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._host_info import describe


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    module.exit_json(changed=False, host_info=describe())


if __name__ == "__main__":
    main()
