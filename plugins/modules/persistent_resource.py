#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: persistent_resource
short_description: Make resources that must survive an upgrade, verify them, remove them
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Works as an ordinary user. M(openstack.upgrade_test.test_project) makes one.
  - For keystone, an application credential that must authenticate later, and a token that must stay valid.
  - For glance, an image of random bytes that must come back the same.
  - For neutron, a network, a subnet, a router with an external gateway, and a security group.
  - For nova, a server with a floating address, which must answer, be unchanged, and not have rebooted.
  - Each create is written into the journal of the run before and after it happens, and each name begins with
    C(upgrade-test-<run id>-), so that all of it is found again.
options:
  state:
    description:
      - V(present) makes what is missing. V(verified) compares all of it with the journal. V(absent) deletes it, by the
        journal and by name; what cannot be deleted fails and is named.
    type: str
    choices: [present, verified, absent]
    default: present
  run_dir:
    description:
      - The run directory, which holds the journal. Its C(clouds.yaml) gets the secrets of the application credential.
    type: path
    required: true
  services:
    description:
      - The services whose resources to work with. The resources of nova need those of neutron, which are added then.
      - By default all that the catalogue has, of those that this collection knows.
    type: list
    elements: str
  server_image:
    description:
      - Name or id of the image for the server. By default the only one there is.
    type: str
  server_flavor:
    description:
      - Name or id of the flavor for the server. By default the smallest one.
    type: str
  external_network:
    description:
      - Name or id of the external network. By default the only one there is.
    type: str
  availability_zone:
    description:
      - Availability zone for the server. By default the cloud's own.
    type: str
  boot_id_path:
    description:
      - Where the web server in the guest tells its boot id, which is the content of C(/proc/sys/kernel/random/boot_id).
        An empty text when it tells none; then a reboot can only be seen in nova's records.
    type: str
    default: /boot_id
  timeout:
    description:
      - Seconds for each single wait, for example until the server is active.
    type: float
    default: 180
extends_documentation_fragment:
  - openstack.upgrade_test.cloud
  - openstack.upgrade_test.attributes
  - openstack.upgrade_test.attributes.changes
  - openstack.upgrade_test.attributes.outcomes
"""

EXAMPLES = r"""
- name: Make resources before the upgrade
  openstack.upgrade_test.persistent_resource:
    run_dir: "{{ run.run_dir }}"
    clouds_yaml: "{{ run.run_dir }}/clouds.yaml"
    cloud: upgrade_test
    server_image: cirros

- name: Compare them after it
  openstack.upgrade_test.persistent_resource:
    state: verified
    run_dir: "{{ run.run_dir }}"
    clouds_yaml: "{{ run.run_dir }}/clouds.yaml"
    cloud: upgrade_test
    phase: after
    collect: true

- name: Remove them
  openstack.upgrade_test.persistent_resource:
    state: absent
    run_dir: "{{ run.run_dir }}"
    clouds_yaml: "{{ run.run_dir }}/clouds.yaml"
    cloud: upgrade_test
"""

RETURN = r"""
outcomes:
  description: One entry for each check.
  returned: always, unless the cloud could not be reached
  type: list
  elements: dict
resources:
  description: The resources by type, with id and name, and how to reach the server.
  returned: with state V(present) or V(verified)
  type: dict
  sample:
    server: {id: 3f0c, name: upgrade-test-20261120T091300Z-7f3a-server, floating_ip: 172.24.4.17, http_url: "http://172.24.4.17/"}
removed:
  description: Names of the resources that were removed.
  returned: always, unless the cloud could not be reached
  type: list
  elements: str
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
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory, RunError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import samples
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import (
    Journal,
    Options,
    Workshop,
    foresee,
    work,
)

ARGUMENT_SPEC: dict[str, Any] = {
    **argument_spec(),
    "state": {"type": "str", "choices": ["present", "verified", "absent"], "default": "present"},
    "run_dir": {"type": "path", "required": True},
    "services": {"type": "list", "elements": "str"},
    "server_image": {"type": "str"},
    "server_flavor": {"type": "str"},
    "external_network": {"type": "str"},
    "availability_zone": {"type": "str"},
    "boot_id_path": {"type": "str", "default": "/boot_id"},
    "timeout": {"type": "float", "default": 180},
    "phase": {"type": "str", "default": ""},
    "collect": {"type": "bool", "default": False},
}
CHOICES = ("server_image", "server_flavor", "external_network", "availability_zone", "boot_id_path", "timeout")


def run(module: AnsibleModule) -> None:
    """Bring the resources to their state and return."""
    params = module.params
    journal = Journal(RunDirectory(params["run_dir"]))
    cloud = connect(Access.from_params(params))
    options = Options(**{name: params[name] for name in CHOICES})
    shop = Workshop(cloud=cloud, journal=journal, options=options, phase=params["phase"])
    services = samples(cloud, params["services"])
    if module.check_mode and params["state"] != "verified":
        module.exit_json(**foresee(shop, services, params["state"]))
    resources = work(shop, services, params["state"])
    more = {"msg": f"Removed {len(shop.removed)} resources."} if not shop.outcomes else {}
    finish(module, shop.outcomes, changed=shop.changed, resources=resources, removed=shop.removed, **more)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        run(module)
    except (CloudError, RunError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
