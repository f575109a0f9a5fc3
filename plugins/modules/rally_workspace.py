#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rally_workspace
short_description: Make a place for Rally to run in, as users without special rights
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Makes a folder with a database of its own and the test's two users, who have no special rights, and returns Rally's
    commands in their order. M(openstack.upgrade_test.external_test) runs them.
  - The folder holds passwords, which only its owner can read. V(absent) removes it.
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
      - Name of the folder in the run directory.
    type: str
    default: rally
  environment_path:
    description:
      - The virtual environment that Rally and rally-openstack are installed in. Required with O(state=present).
    type: path
  task:
    description:
      - File with the task. Each of its workloads should have an SLA. Required with O(state=present).
    type: path
  arguments:
    description:
      - Arguments for the task.
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
- name: Make a place for Rally
  openstack.upgrade_test.rally_workspace:
    run_dir: "{{ run.run_dir }}"
    environment_path: /opt/rally
    task: /etc/upgrade-test/rally.yml
  register: workspace

- name: Prepare it
  ansible.builtin.command:
    argv: "{{ item }}"
    chdir: "{{ workspace.rally.folder }}"
  environment: "{{ workspace.rally.environment }}"
  loop: ["{{ workspace.rally.database }}", "{{ workspace.rally.connect }}"]
  no_log: true
  changed_when: true

- name: Run it
  openstack.upgrade_test.external_test:
    name: rally
    service: keystone
    services: "{{ workspace.rally.services }}"
    every_service: false
    argv: "{{ workspace.rally.run }}"
    rc: [0, 2]
    format: rally
    results_argv: "{{ workspace.rally.report }}"
    results: "{{ workspace.rally.results }}"
    chdir: "{{ workspace.rally.folder }}"
    environment: "{{ workspace.rally.environment }}"
    run_dir: "{{ run.run_dir }}"
"""

RETURN = r"""
outcomes:
  description: Empty, or one entry when the cloud did not let the folder be made.
  returned: always, unless an option was wrong
  type: list
  elements: dict
rally:
  description: How to run Rally.
  returned: with state V(present)
  type: dict
  contains:
    folder:
      description: The folder to run it in.
      type: str
    database:
      description: The command that makes the database.
      type: list
      elements: str
    connect:
      description: The command that tells Rally of the cloud. It prints passwords.
      type: list
      elements: str
    run:
      description: The command that runs the task.
      type: list
      elements: str
    report:
      description: The command that writes the results.
      type: list
      elements: str
    results:
      description: The file that it writes them to.
      type: str
    environment:
      description: Variables for all of them.
      type: dict
    services:
      description: For each service how its scenarios are recognised.
      type: dict
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import CloudError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._external import not_run
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import finish
from ansible_collections.openstack.upgrade_test.plugins.module_utils._rally import (
    REPORT,
    SCENARIOS,
    commands,
    prepare,
    remove,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory, RunError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._test_users import ToolError, command, search_path

KEYSTONE = "keystone"  # without a user nothing can be tested, so it counts for the service that has them
ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "run_dir": {"type": "path", "required": True},
    "name": {"type": "str", "default": "rally"},
    "environment_path": {"type": "path"},
    "task": {"type": "path"},
    "arguments": {"type": "dict", "default": {}},
    "api_timeout": {"type": "int", "default": 30},
    "phase": {"type": "str", "default": ""},
    "collect": {"type": "bool", "default": False},
}


def present(run: RunDirectory, folder: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Make the workspace; return the module's result."""
    environment, task = Path(params["environment_path"]), Path(params["task"]).absolute()
    rally = command(environment, "rally", "rally and rally-openstack")
    if not task.is_file():
        raise ToolError(f"task: there is no file {task}.")
    variables = prepare(run, folder, params["api_timeout"])
    told = {
        "folder": str(folder),
        **commands(rally, str(task), params["arguments"]),
        "results": REPORT,
        "services": dict(SCENARIOS),
        "environment": {**variables, **search_path(environment)},
    }
    return {"changed": True, "rally": told, "msg": f"Rally can be run in {folder}."}


def work(module: AnsibleModule) -> dict[str, Any]:
    """Bring the workspace to its state; return the module's result."""
    params = module.params
    run = RunDirectory(params["run_dir"])
    folder = run.path / params["name"]
    if module.check_mode:
        return {"changed": params["state"] == "present" or folder.exists()}
    return present(run, folder, params) if params["state"] == "present" else {"changed": remove(folder)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[("state", "present", ["environment_path", "task"])],
    )
    try:
        result = work(module)
    except (ToolError, RunError) as error:
        module.fail_json(msg=str(error))
    except CloudError as error:
        finish(module, [not_run("Rally", KEYSTONE, str(error), module.params["phase"])])
    finish(module, [], **result)


if __name__ == "__main__":
    main()
