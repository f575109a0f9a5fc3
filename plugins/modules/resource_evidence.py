#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: resource_evidence
short_description: Look on a host for what it holds of the resources that must survive
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Runs on a host of the cloud, also while no API runs, and asks none. Finds the processes of servers, the namespaces
    of routers, ports and flows on the virtual switch, the files of images, volumes and objects, and the keys of
    keystone, of which only digests leave the host.
  - What it finds are facts. M(openstack.upgrade_test.persistent_resource) with the state C(verified_noapi) says what
    they mean.
  - Needs root. What is not on the host is left out; that is no failure, as each host holds a part only.
options:
  sought:
    description:
      - What to look for, as M(openstack.upgrade_test.persistent_resource) returns it with the state C(located).
    type: list
    elements: dict
    required: true
  services:
    description:
      - The services to look for. By default all that this collection knows.
    type: list
    elements: str
  paths:
    description:
      - Where the services of this host keep their data, where that differs from what packages and Kolla do. Each is a
        list of patterns as a shell has them.
      - C(keystone_keys) are key repositories, C(glance_stores) folders with the contents of images, C(cinder_mounts)
        mounted shares with volumes, C(ceph_configurations) files of Ceph with the keyrings that they name,
        C(swift_configurations) folders with rings and C(swift.conf), C(swift_devices) folders with objects.
    type: dict
    default: {}
requirements:
  - Linux
  - C(virsh), C(ip), C(ovs-vsctl), C(ovs-ofctl) and Ceph's Python binding C(rbd), as far as the host has what they show
extends_documentation_fragment:
  - openstack.upgrade_test.attributes
  - openstack.upgrade_test.attributes.read_only
"""

EXAMPLES = r"""
- name: Know what to look for
  openstack.upgrade_test.persistent_resource:
    state: located
    run_dir: "{{ run.run_dir }}"
    cloud: upgrade_test
  register: located
  delegate_to: localhost
  run_once: true

- name: Look for it
  openstack.upgrade_test.resource_evidence:
    sought: "{{ located.sought }}"
    paths:
      glance_stores: [/srv/glance]
  register: seen
"""

RETURN = r"""
evidence:
  description: What the host holds, by service, and what could not be looked at.
  returned: success
  type: dict
  sample:
    host: compute1
    services: {nova: {domains: {3f0c: {pid: 4711, started: 123456, state: running}}}}
    problems: []
msg:
  description: What could not be looked at, or that all could.
  returned: always
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import CloudError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._journal import Item
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._look import PATHS, Look, look_around
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import chosen

ARGUMENT_SPEC: dict[str, Any] = {
    "sought": {"type": "list", "elements": "dict", "required": True},
    "services": {"type": "list", "elements": "str"},
    "paths": {"type": "dict", "default": {}},
}


def items_of(entries: list[dict[str, Any]]) -> list[Item]:
    """Return what to look for; raises CloudError when an entry is not one of those."""
    try:
        return [Item(**entry) for entry in entries]
    except TypeError as problem:
        raise CloudError(
            f"sought: has to be what persistent_resource returned with state: located ({problem})."
        ) from None


def paths_of(given: dict[str, Any]) -> dict[str, Any]:
    """Return where to look, the given places instead of the usual ones; raises CloudError for one that is none."""
    unknown = sorted(given.keys() - PATHS.keys())
    if unknown:
        raise CloudError(f"paths: {', '.join(unknown)} is not known; known are {', '.join(PATHS)}.")
    return {**PATHS, **{name: [value] if isinstance(value, str) else value for name, value in given.items()}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    try:
        services = chosen(params["services"])
        look = Look(sought=items_of(params["sought"]), paths=paths_of(params["paths"]))
    except CloudError as error:
        module.fail_json(msg=str(error))
    evidence = look_around(services, look)
    message = "; ".join(look.problems) or "All that there is could be looked at."
    module.exit_json(changed=False, msg=message, evidence=evidence)


if __name__ == "__main__":
    main()
