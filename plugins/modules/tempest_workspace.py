#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tempest_workspace
short_description: Make a place for Tempest to run in, as users without special rights
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Makes a folder with the accounts of the test's two users, who have no special rights, and returns the commands that
    discover Tempest's configuration and run it. M(openstack.upgrade_test.external_test) runs both.
  - The folder holds passwords, which only its owner can read. V(absent) removes it, and keeps the configuration in
    C(evidence/) without secrets.
  - Tests of administrators are skipped by Tempest, as it is given none.
options:
  state:
    description:
      - V(present) makes the folder anew, V(absent) removes it.
    type: str
    choices: [present, absent]
    default: present
  run_dir:
    description:
      - The run directory, in which M(openstack.upgrade_test.test_project) has made the users.
    type: path
    required: true
  name:
    description:
      - Name of the folder in the run directory, and of the configuration that is kept.
    type: str
    default: tempest
  environment_path:
    description:
      - The virtual environment that Tempest and python-tempestconf are installed in. Required with O(state=present).
    type: path
  tests:
    description:
      - Which tests are run. V(smoke), or regular expressions that are found in the names of tests. They must not have a
        blank.
    type: list
    elements: str
    default: [smoke]
  exclude:
    description:
      - A regular expression for tests that are left out.
    type: str
    default: ""
  load_list:
    description:
      - File with the names of the tests, one a line, instead of O(tests).
    type: path
  services:
    description:
      - The services whose tests are run, of those that the catalogue has. By default all that Tempest has tests of.
    type: list
    elements: str
    default: []
  image:
    description:
      - Name or id of the image that servers are booted from. By default the first one.
    type: str
  flavor:
    description:
      - Name or id of their flavor. By default the smallest one.
    type: str
  network:
    description:
      - Name or id of the network that floating addresses come from. By default the first one.
    type: str
  settings:
    description:
      - Settings of C(tempest.conf) as C(section.option), which win over what is discovered.
    type: dict
    default: {}
  api_timeout:
    description:
      - Seconds to wait for one answer of an API.
    type: int
    default: 30
extends_documentation_fragment:
  - openstack.upgrade_test.attributes
  - openstack.upgrade_test.attributes.changes
  - openstack.upgrade_test.attributes.outcomes
"""

EXAMPLES = r"""
- name: Make a place for Tempest
  openstack.upgrade_test.tempest_workspace:
    run_dir: "{{ run.run_dir }}"
    environment_path: /opt/tempest
    services: [keystone, nova]
  register: workspace

- name: Discover its configuration
  ansible.builtin.command:
    argv: "{{ workspace.tempest.discover }}"
    chdir: "{{ workspace.tempest.folder }}"
  environment: "{{ workspace.tempest.environment }}"
  changed_when: true

- name: Run it
  openstack.upgrade_test.external_test:
    name: tempest
    service: keystone
    services: "{{ workspace.tempest.services }}"
    argv: "{{ workspace.tempest.run }}"
    chdir: "{{ workspace.tempest.folder }}"
    environment: "{{ workspace.tempest.environment }}"
    format: subunit
    run_dir: "{{ run.run_dir }}"
  vars:
    ansible_python_interpreter: /opt/tempest/bin/python
"""

RETURN = r"""
outcomes:
  description: Empty, or one entry when the cloud did not let the folder be made.
  returned: always, unless an option was wrong
  type: list
  elements: dict
tempest:
  description: How to run Tempest.
  returned: with state V(present)
  type: dict
  contains:
    folder:
      description: The folder to run it in.
      type: str
    discover:
      description: The command that writes the configuration.
      type: list
      elements: str
    run:
      description: The command that runs the tests; its output is subunit.
      type: list
      elements: str
    environment:
      description: Variables for both.
      type: dict
    services:
      description: For each service how its tests are recognised.
      type: dict
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import CloudError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._external import not_run
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import finish
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory, RunError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import chosen
from ansible_collections.openstack.upgrade_test.plugins.module_utils._tempest import (
    PREFIXES,
    Choices,
    Selection,
    prepare,
    remove,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._test_users import (
    ToolError,
    command,
    search_path,
    users,
)

PACKAGES = "tempest and python-tempestconf"
KEYSTONE = "keystone"  # without a user nothing can be tested, so it counts for the service that has them
ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "run_dir": {"type": "path", "required": True},
    "name": {"type": "str", "default": "tempest"},
    "environment_path": {"type": "path"},
    "tests": {"type": "list", "elements": "str", "default": ["smoke"]},
    "exclude": {"type": "str", "default": ""},
    "load_list": {"type": "path"},
    "services": {"type": "list", "elements": "str", "default": []},
    "image": {"type": "str"},
    "flavor": {"type": "str"},
    "network": {"type": "str"},
    "settings": {"type": "dict", "default": {}},
    "api_timeout": {"type": "int", "default": 30},
    "phase": {"type": "str", "default": ""},
    "collect": {"type": "bool", "default": False},
}


def tested(run: RunDirectory, params: dict[str, Any]) -> list[str]:
    """Return the services whose tests are run: those that were named, or those of the catalogue; CloudError."""
    try:
        named = chosen(params["services"])
    except CloudError as mistake:  # of the operator, not of the cloud
        raise ToolError(str(mistake)) from None
    if params["services"]:
        return [service.name for service in named]
    cloud = users(run, params["api_timeout"])[0]
    return [one.name for one in named if one.name in PREFIXES and cloud.endpoints(one.types)]


def present(run: RunDirectory, folder: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Make the workspace; return the module's result."""
    environment = Path(params["environment_path"])
    tools = [command(environment, name, PACKAGES) for name in ("discover-tempest-config", "tempest")]
    selection = Selection(
        tests=params["tests"],
        exclude=params["exclude"],
        load_list=str(Path(params["load_list"]).absolute()) if params["load_list"] else "",
        services=tested(run, params),
    )
    argv = selection.argv(tools[1])
    if selection.load_list and not Path(selection.load_list).is_file():
        raise ToolError(f"load_list: there is no file {selection.load_list}.")
    choices = Choices(**{name: params[name] for name in ("image", "flavor", "network", "settings")})
    arguments, variables = prepare(run, folder, choices, params["api_timeout"])
    told = {
        "folder": str(folder),
        "discover": [tools[0], *arguments],
        "run": argv,
        "services": selection.expressions(),
        "environment": {**variables, **search_path(environment)},
    }
    return {"changed": True, "tempest": told, "msg": f"Tempest can be run in {folder}."}


def work(module: AnsibleModule) -> dict[str, Any]:
    """Bring the workspace to its state; return the module's result."""
    params = module.params
    run = RunDirectory(params["run_dir"])
    folder = run.path / params["name"]
    if module.check_mode:
        return {"changed": params["state"] == "present" or folder.exists()}
    if params["state"] == "present":
        return present(run, folder, params)
    return {"changed": remove(run, folder, params["name"])}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[("state", "present", ["environment_path"])],
    )
    try:
        result = work(module)
    except (ToolError, RunError) as error:
        module.fail_json(msg=str(error))
    except CloudError as error:
        finish(module, [not_run("Tempest", KEYSTONE, str(error), module.params["phase"])])
    finish(module, [], **result)


if __name__ == "__main__":
    main()
