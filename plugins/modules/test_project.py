#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: test_project
short_description: Make the project and the user of a test, or remove them
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Needs the rights of an administrator, for the project, the user and its role and for nothing else. All that the test
    does in the cloud it does as this user, who has the role C(member) in this project only.
  - The password is random. It is written into C(clouds.yaml) in the run directory, as the cloud C(upgrade_test), which
    only its owner may read. It appears nowhere else.
options:
  state:
    description:
      - V(present) makes project and user, and the clouds.yaml. V(absent) removes all of them, and the security group
        that neutron makes for each project. What the project still has of a lost run is removed first; when something
        else is left in it, the project stays and the task fails.
    type: str
    choices: [present, absent]
    default: present
  run_dir:
    description:
      - The run directory. Required to make a project; a project is also removed without it, by its name.
    type: path
  name:
    description:
      - Name of the project and of the user. Begins with C(upgrade-test-). By default that and the id of the run.
      - To remove without a run directory, a name or its beginning. All projects and users that begin so are removed.
    type: str
  domain:
    description:
      - Name or id of the domain for project and user. By default the domain of the administrator's project.
    type: str
  role:
    description:
      - The role that the user gets in the project.
    type: str
    default: member
extends_documentation_fragment:
  - openstack.upgrade_test.cloud
  - openstack.upgrade_test.attributes
  - openstack.upgrade_test.attributes.changes
"""

EXAMPLES = r"""
- name: Make project and user for a run
  openstack.upgrade_test.test_project:
    cloud: mycloud-admin
    run_dir: "{{ run.run_dir }}"

- name: Remove them
  openstack.upgrade_test.test_project:
    cloud: mycloud-admin
    run_dir: "{{ run.run_dir }}"
    state: absent

- name: Remove what a lost run left behind
  openstack.upgrade_test.test_project:
    cloud: mycloud-admin
    name: upgrade-test-20261120T091300Z-7f3a
    state: absent
"""

RETURN = r"""
project:
  description: The project, with id and name, and the user's id.
  returned: with state V(present)
  type: dict
  sample: {id: 8c4b, name: upgrade-test-20261120T091300Z-7f3a, user_id: 77aa}
clouds_yaml:
  description: The file with the user's credentials.
  returned: with state V(present)
  type: str
removed:
  description: The projects and users that were removed, by name.
  returned: with state V(absent)
  type: list
  elements: str
"""

from contextlib import nullcontext
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    Access,
    CloudError,
    argument_spec,
    connect,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory, RunError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._project import TestProject

ARGUMENT_SPEC: dict[str, Any] = {
    **argument_spec(),
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "run_dir": {"type": "path"},
    "name": {"type": "str"},
    "domain": {"type": "str"},
    "role": {"type": "str", "default": "member"},
}


def run(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Bring the project to its state; return the module's result."""
    directory = RunDirectory(params["run_dir"]) if params["run_dir"] else None
    project = TestProject(
        connect(Access.from_params(params)),
        directory,
        name=params["name"],
        domain=params["domain"],
        role=params["role"],
    )
    with directory.alone() if directory and not check else nullcontext():
        return project.make(check=check) if params["state"] == "present" else project.remove(check=check)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[("state", "present", ["run_dir"]), ("state", "absent", ["run_dir", "name"], True)],
    )
    try:
        result = run(module.params, module.check_mode)
    except (CloudError, RunError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
