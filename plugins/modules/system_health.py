#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: system_health
short_description: Say how healthy the services of a cloud are
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Looks at the catalogue, at each published endpoint, and at what each service says of its parts.
  - An agent is healthy when it is alive and has reported anew since this check began. So an agent that is dead inside
    while its process lives is found, although the API calls it alive for some time. The check waits for these reports
    and ends as soon as all have come.
  - Without the rights of an administrator, what only an administrator may see is V(skip).
options:
  services:
    description:
      - The services to look at. By default all that the catalogue has, of those that this collection knows.
    type: list
    elements: str
  agent_wait:
    description:
      - Seconds to wait for a new report of each agent. Should be longer than the interval in which agents report.
    type: float
    default: 75
  expected_agents:
    description:
      - Agents that must exist, each with C(binary) and C(host), as M(openstack.upgrade_test.cloud_info) lists them and
        the compute services. One that the cloud does not know fails.
    type: list
    elements: dict
    default: []
extends_documentation_fragment:
  - openstack.upgrade_test.cloud
  - openstack.upgrade_test.attributes
  - openstack.upgrade_test.attributes.read_only
  - openstack.upgrade_test.attributes.outcomes
"""

EXAMPLES = r"""
- name: Fail when a service or an agent is not healthy
  openstack.upgrade_test.system_health:
    cloud: mycloud

- name: Look at it and go on, whatever there is
  openstack.upgrade_test.system_health:
    cloud: mycloud
    collect: true
    phase: after
  register: health
"""

RETURN = r"""
outcomes:
  description: One entry for each check.
  returned: always, unless the cloud could not be reached
  type: list
  elements: dict
msg:
  description: How many checks ended how, with the first that failed.
  returned: always
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    Access,
    CloudError,
    argument_spec,
    connect,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import finish
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import examine
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import present

ARGUMENT_SPEC: dict[str, Any] = {
    **argument_spec(),
    "services": {"type": "list", "elements": "str"},
    "agent_wait": {"type": "float", "default": 75},
    "expected_agents": {"type": "list", "elements": "dict", "default": []},
    "phase": {"type": "str", "default": ""},
    "collect": {"type": "bool", "default": False},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        cloud = connect(Access.from_params(module.params))
        outcomes = examine(
            cloud,
            present(cloud, module.params["services"]),
            phase=module.params["phase"],
            agent_wait=module.params["agent_wait"],
            expected_agents=module.params["expected_agents"],
        )
    except CloudError as error:
        module.fail_json(msg=str(error))
    finish(module, outcomes)


if __name__ == "__main__":
    main()
