#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_info
short_description: Say what a cloud offers and what can be observed of it
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Reads the catalogue of all regions, the version document of each endpoint, and with the rights of an administrator
    also the agents, processes and backends of the services.
  - What could not be seen is null, never an empty list, and C(unseen) says why. So an expectation about it, as
    M(openstack.upgrade_test.expectation) checks it, is unknown and does not hold by mistake.
  - The targets are in the form that M(openstack.upgrade_test.api_uptime) takes. Their C(url) needs no token and costs
    the services next to nothing, so it can be asked many times a second.
options:
  services:
    description:
      - The services to look at. Each must be in the catalogue.
      - By default all that the catalogue has, of those that this collection knows.
    type: list
    elements: str
  via:
    description:
      - The interfaces for which a target is made. An interface with the same URL as another one gives no second target.
    type: list
    elements: str
    choices: [public, internal, admin]
    default: [public]
extends_documentation_fragment:
  - openstack.upgrade_test.cloud
  - openstack.upgrade_test.attributes
  - openstack.upgrade_test.attributes.read_only
"""

EXAMPLES = r"""
- name: Discover the cloud
  openstack.upgrade_test.cloud_info:
    cloud: mycloud
  register: discovered

- name: Show which version each service offers
  ansible.builtin.debug:
    msg: "{{ item.service }} {{ item.max_version or item.version }}"
  loop: "{{ discovered.cloud_info.services }}"
"""

RETURN = r"""
cloud_info:
  description: What was discovered.
  returned: success
  type: dict
  contains:
    cloud:
      description: Name of the cloud in clouds.yaml.
      type: str
    auth_url:
      description: Keystone's URL.
      type: str
    region:
      description: Name of the region in use, or an empty text.
      type: str
    regions:
      description: Names of all regions of the catalogue.
      type: list
      elements: str
    interface:
      description: The interface in use.
      type: str
    roles:
      description: The roles of the user in his project.
      type: list
      elements: str
    services:
      description: The services, each with its published URLs by interface and the versions of its API.
      type: list
      elements: dict
      contains:
        service:
          description: Name of the service, for example V(nova).
          type: str
        type:
          description: Its type in the catalogue.
          type: str
        name:
          description: Its name in the catalogue.
          type: str
        interfaces:
          description: URL of each published interface in the region in use.
          type: dict
        version:
          description: The current version of the API.
          type: str
        min_version:
          description: The oldest microversion, or an empty text.
          type: str
        max_version:
          description: The newest microversion, or an empty text.
          type: str
        versions:
          description: All versions of the API with id, status, min_version and max_version.
          type: list
          elements: dict
        endpoints:
          description:
            - The endpoints of all regions and interfaces with region, interface, url, version, min_version and
              max_version. C(answers) tells whether it has answered with its versions, and C(problem) why not.
              One of another interface or region may lie in a network that cannot be reached from here.
          type: list
          elements: dict
        resources:
          description:
            - The types of what M(openstack.upgrade_test.persistent_resource) makes of the service. Null when it does
              not tell what that depends on.
          type: list
          elements: str
    others:
      description: Services of the catalogue that this collection does not know, with type and name.
      type: list
      elements: dict
    targets:
      description:
        - What to observe of each service, with name, service, via, url and expect.
        - Where a user without special rights may ask for something cheap, also with auth_url and auth_expect, to be
          asked with a token. C({project_id}) in it stands for the id of the project of that user.
      type: list
      elements: dict
    operations:
      description:
        - What to measure of each service, with name, service, via, url, expect and authenticated, whether it needs a
          token, in the form that M(openstack.upgrade_test.service_performance) takes once the id of the user's project
          is in the place of C({project_id}).
      type: list
      elements: dict
    agents:
      description:
        - Neutron's agents with agent_type, binary, host, is_alive and is_enabled; null when they could not be seen.
      type: list
      elements: dict
    compute_services:
      description: Nova's processes with binary, host, is_alive and is_enabled; null when they could not be seen.
      type: list
      elements: dict
    hypervisors:
      description: The hypervisors with host, is_alive and is_enabled; null when they could not be seen.
      type: list
      elements: dict
    volume_services:
      description: Cinder's processes with binary, host, is_alive and is_enabled; null when they could not be seen.
      type: list
      elements: dict
    volume_backends:
      description:
        - Cinder's pools with name, volume_backend_name, storage_protocol and is_alive, which is null where the driver
          does not tell it; null when they could not be seen.
      type: list
      elements: dict
    stack_engines:
      description: Heat's engines with binary, host, is_alive and is_enabled; null when they could not be seen.
      type: list
      elements: dict
    external_networks:
      description: The networks that floating addresses come from, with id and name; null when they were not seen.
      type: list
      elements: dict
    images:
      description: The images that a server can be booted from, with id and name; null when they were not seen.
      type: list
      elements: dict
    flavors:
      description: The flavors, with id and name; null when they were not seen.
      type: list
      elements: dict
    unseen:
      description: Why a list could not be seen, by its name.
      type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    INTERFACES,
    Access,
    CloudError,
    argument_spec,
    connect,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._discovery import discover

ARGUMENT_SPEC: dict[str, Any] = {
    **argument_spec(),
    "services": {"type": "list", "elements": "str"},
    "via": {"type": "list", "elements": "str", "choices": list(INTERFACES), "default": ["public"]},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        cloud = connect(Access.from_params(module.params))
        found = discover(cloud, module.params["services"], module.params["via"])
    except CloudError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, cloud_info=found)


if __name__ == "__main__":
    main()
