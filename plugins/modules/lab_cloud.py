#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fills the cloud of the embedded lab."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_cloud
short_description: Fill the cloud of the embedded lab
version_added: 0.1.0
description:
  - >-
    Makes what is missing of the services, users, roles, domains, flavors, images, networks, zones and volume types of
    the lab's cloud.
author:
  - The openstack.upgrade_test contributors (@openstack)
requirements:
  - openstacksdk >= 4.0
options:
  cloud:
    description: Name of the cloud with admin rights in O(clouds_yaml).
    type: str
    required: true
  clouds_yaml:
    description: The file that holds O(cloud).
    type: path
    required: true
  region:
    description: Region of the endpoints.
    type: str
    default: RegionOne
  services:
    description: Type and URL of each service by its name.
    type: dict
    default: {}
  users:
    description: Project, roles and password of each user by its name.
    type: dict
    default: {}
  roles:
    description: Roles that no user has from the start.
    type: list
    elements: str
    default: []
  domains:
    description: Name (C(admin)) and password of the user who administers each domain, by the domain's name.
    type: dict
    default: {}
  computes:
    description: Hosts whose nova-compute must report before anything else is made.
    type: list
    elements: str
    default: []
  agents:
    description: Number of network agents that must report before anything else is made.
    type: int
    default: 0
  volume_services:
    description: Hosts with their backends, such as V(storage1@ceph), whose cinder-volume must report first.
    type: list
    elements: str
    default: []
  flavors:
    description: Values ram (MiB), vcpus and disk (GiB) of each flavor by its name.
    type: dict
    default: {}
  images:
    description: File, format, properties, kernel and ramdisk of each image by its name, in the order of making.
    type: dict
    default: {}
  networks:
    description: Physical network, cidr and gateway of each external network by its name.
    type: dict
    default: {}
  zones:
    description: Hosts of each availability zone by its name.
    type: dict
    default: {}
  volume_types:
    description: The backend of each volume type by its name.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Can run in check mode.
    support: partial
    details:
      - The options are checked. The cloud is not asked what would be made.
  diff_mode:
    description: Has no differences to show.
    support: none
"""

EXAMPLES = r"""
- name: Make a flavor
  openstack.upgrade_test.lab_cloud:
    cloud: lab
    clouds_yaml: /var/lib/upgrade-test-lab/clouds.yaml
    flavors:
      guest: {ram: 128, vcpus: 1, disk: 1}
"""

RETURN = r"""
made:
  description: What was made by this call.
  type: list
  elements: str
  returned: always
"""

from collections.abc import Callable, Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils import _cloud
from ansible_collections.openstack.upgrade_test.plugins.module_utils._lab import _cloud_content

OPTIONS: dict[str, Any] = {
    "cloud": {"type": "str", "required": True},
    "clouds_yaml": {"type": "path", "required": True},
    "region": {"type": "str", "default": "RegionOne"},
    "services": {"type": "dict", "default": {}},
    "users": {"type": "dict", "default": {}, "no_log": True},
    "roles": {"type": "list", "elements": "str", "default": []},
    "domains": {"type": "dict", "default": {}, "no_log": True},
    "computes": {"type": "list", "elements": "str", "default": []},
    "agents": {"type": "int", "default": 0},
    "volume_services": {"type": "list", "elements": "str", "default": []},
    "flavors": {"type": "dict", "default": {}},
    "images": {"type": "dict", "default": {}},
    "networks": {"type": "dict", "default": {}},
    "zones": {"type": "dict", "default": {}},
    "volume_types": {"type": "dict", "default": {}},
}
NEEDED = {
    "services": {"type", "url"},
    "users": {"project", "roles", "password"},
    "domains": {"admin", "password"},
    "flavors": {"ram", "vcpus", "disk"},
    "images": {"file", "format"},
    "networks": {"physical_network", "cidr", "gateway"},
}


def complaints(params: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the content as asked for; never a word of a value, which may be a password."""
    for option, needed in NEEDED.items():
        for name, wanted in params[option].items():
            if missing := needed - set(wanted if isinstance(wanted, dict) else ()):
                yield f"{option}: {name} needs {', '.join(sorted(missing))}"
    earlier: set[str] = set()
    for name, image in params["images"].items():
        for role in ("kernel", "ramdisk"):
            if role in image and image[role] not in earlier:
                yield f"images: {role} of {name} must be an image that is named before it, not {image[role]}"
        earlier.add(name)


def connect(module: AnsibleModule) -> Any:
    """A connection with admin rights."""
    import openstack

    # Asked first, because it says in one line why a cloud cannot be used; what follows may retry while services start.
    _cloud.connect(_cloud.Access(cloud=module.params["cloud"], clouds_yaml=module.params["clouds_yaml"]))
    config = openstack.config.OpenStackConfig(config_files=[module.params["clouds_yaml"]], load_envvars=False)
    return openstack.connection.Connection(config=config.get_one(module.params["cloud"]))


def fill(cloud: Any, wanted: dict[str, Any]) -> list[str]:
    """Make what is missing, in the order of dependence, and wait for what has to report; what was made."""
    made = _cloud_content.ensure_services(cloud, wanted["services"], wanted["region"])
    steps: dict[str, Callable[[Any, Any], list[str] | None]] = {
        "users": _cloud_content.ensure_users,
        "roles": _cloud_content.ensure_roles,
        "domains": _cloud_content.ensure_domains,
        "flavors": _cloud_content.ensure_flavors,
        "images": _cloud_content.ensure_images,
        "networks": _cloud_content.ensure_networks,
        "computes": _cloud_content.wait_for_computes,
        "agents": _cloud_content.wait_for_agents,
        "volume_services": _cloud_content.wait_for_volume_services,
        "zones": _cloud_content.ensure_zones,
        "volume_types": _cloud_content.ensure_volume_types,
    }
    for option, step in steps.items():
        if wanted[option]:
            made += step(cloud, wanted[option]) or []
    return made


def act(module: AnsibleModule) -> list[str]:
    """Connect and make what is missing; what was made.

    :raises _cloud_content.ContentError: a service refused, or something did not happen in time.
    """
    cloud = connect(module)
    from keystoneauth1.exceptions import ClientException
    from openstack.exceptions import SDKException

    try:
        return fill(cloud, module.params)
    except (ClientException, SDKException) as error:
        raise _cloud_content.ContentError(f"cloud {module.params['cloud']}: {error}") from None


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    for complaint in complaints(module.params):
        module.fail_json(msg=complaint)
    if module.check_mode:
        module.exit_json(changed=False, made=[], skipped=True)
    try:
        made = act(module)
    except (_cloud_content.ContentError, _cloud.CloudError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"images: {error.filename} could not be read: {error.strerror}")
    module.exit_json(changed=bool(made), made=made)


if __name__ == "__main__":
    main()
