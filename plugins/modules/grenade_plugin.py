#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: grenade_plugin
short_description: Run a phase of an unchanged plugin of Grenade
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Runs C(resources.sh) of a plugin, after its C(settings), as Grenade would, against any cloud. What scripts expect
    of DevStack and Grenade they find in a small library of this collection. Both memory commands are the run's own,
    C(resource_save) and C(resource_get).
  - The scripts log in as the administrator of C(clouds.yaml), because they make users and projects of their own. The
    credentials are given by the environment. The output is kept without them, in
    C(evidence/grenade-<project>-<phase>.log).
  - After C(destroy), the default security group of the plugin's project is removed, which neutron keeps when a script
    deletes the project with Keystone.
  - A phase that has made its resources is not run again, nor is C(destroy) when nothing was made, so all of them can be
    repeated.
options:
  run_dir:
    description:
      - The run directory.
    type: path
    required: true
  folder:
    description:
      - Folder of the plugin. Either the one with C(settings) and C(resources.sh), or the tree of a project that has it
        in C(devstack/upgrade), or the tree of Grenade, which has several in C(projects).
    type: path
    required: true
  projects:
    description:
      - Of the tree of Grenade, the projects to run. By default all whose services the cloud has.
    type: list
    elements: str
    default: []
  name:
    description:
      - Name of the project, where the folder does not tell it.
    type: str
    default: ""
  stage:
    description:
      - The phase of the plugin. V(destroy) goes through several projects in the opposite order, and tries
        C(force_destroy) when it fails.
    type: str
    choices: [early_create, create, verify, verify_noapi, destroy]
    required: true
  side:
    description:
      - The second argument of V(verify) and V(verify_noapi).
    type: str
    choices: [pre-upgrade, post-upgrade]
  library:
    description:
      - The shell library, which is in C(files) of the role P(openstack.upgrade_test.extensions#role).
    type: path
    required: true
  commands:
    description:
      - Commands that the scripts expect on this machine and that live elsewhere, each with the arguments that run it
        there, such as C({nova-manage:\ [ssh, control1, nova-manage]}).
    type: dict
    default: {}
  environment:
    description:
      - Variables for the scripts, such as C(RUN_HEAT_INTEGRATION_TESTS) or C(FIXED_RANGE). C(PATH) has to lead to the
        command C(openstack) with the plugins of the services.
    type: dict
    default: {}
  image:
    description:
      - Name of the image that scripts boot, C(DEFAULT_IMAGE_NAME).
    type: str
  flavor:
    description:
      - Name of the flavor that scripts boot, C(DEFAULT_INSTANCE_TYPE).
    type: str
  timeout:
    description:
      - Seconds that one phase of one project may take.
    type: float
    default: 900
extends_documentation_fragment:
  - openstack.upgrade_test.cloud
  - openstack.upgrade_test.attributes
  - openstack.upgrade_test.attributes.changes
  - openstack.upgrade_test.attributes.outcomes
"""

EXAMPLES = r"""
- name: Let Heat's own plugin make its stack
  openstack.upgrade_test.grenade_plugin:
    cloud: mycloud-admin
    run_dir: "{{ run.run_dir }}"
    folder: /opt/stack/heat
    stage: create
    library: "{{ role_path }}/files"
    environment:
      RUN_HEAT_INTEGRATION_TESTS: "False"
"""

RETURN = r"""
outcomes:
  description: One entry for each project.
  returned: always, unless an option was wrong
  type: list
  elements: dict
msg:
  description: How many phases ended how, with the first that failed.
  returned: always
  type: str
"""

import os
import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    Access,
    CloudError,
    argument_spec,
    connect,
    login_variables,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._extension import (
    DESTROY,
    PHASES,
    ExtensionError,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._grenade import (
    Plugins,
    Settings,
    plugin_folders,
    project_of,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._memory import Memory
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import finish
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory, RunError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._project import (
    delete_default_groups_of_gone,
)

ARGUMENT_SPEC: dict[str, Any] = {
    **argument_spec(),
    "run_dir": {"type": "path", "required": True},
    "folder": {"type": "path", "required": True},
    "projects": {"type": "list", "elements": "str", "default": []},
    "name": {"type": "str", "default": ""},
    "stage": {"type": "str", "choices": list(PHASES), "required": True},
    "side": {"type": "str", "choices": ["pre-upgrade", "post-upgrade"]},
    "library": {"type": "path", "required": True},
    "commands": {"type": "dict", "default": {}},
    "environment": {"type": "dict", "default": {}},
    "image": {"type": "str"},
    "flavor": {"type": "str"},
    "timeout": {"type": "float", "default": 900},
    "phase": {"type": "str", "default": ""},
    "collect": {"type": "bool", "default": False},
}


def settings_of(params: dict[str, Any]) -> Settings:
    """Return how the plugins are run; ExtensionError when something they need is not there."""
    environment = {key: str(value) for key, value in params["environment"].items()}
    path = environment.get("PATH", os.environ.get("PATH", os.defpath))
    if not shutil.which("openstack", path=path):
        raise ExtensionError(
            f"environment: there is no command openstack in {path}, and the scripts call it. Install "
            "python-openstackclient with the plugins of the services, and name its folder first in PATH."
        )
    for name, argv in params["commands"].items():
        if not isinstance(argv, list) or not argv or not all(isinstance(word, str) for word in argv):
            raise ExtensionError(f"commands: {name} has to be a list of words, such as [ssh, control1, {name}].")
    return Settings(
        library=Path(params["library"]),
        credentials=login_variables(Access.from_params(params)),
        environment=environment,
        commands=params["commands"],
        image=params["image"],
        flavor=params["flavor"],
        timeout=params["timeout"],
    )


def remove_default_groups(module: AnsibleModule, saved: Memory, names: list[str]) -> None:
    """Remove the default security groups of the plugins' projects, or warn that they may be left."""
    projects = [str(project) for name in names if (project := saved.get(name, "project_id"))]
    if not projects:
        return
    try:
        delete_default_groups_of_gone(connect(Access.from_params(module.params)), projects)
    except CloudError as problem:
        module.warn(f"The default security groups of {', '.join(names)} may be left behind: {problem}")


def run(module: AnsibleModule) -> None:
    """Run the phase, and return."""
    params = module.params
    directory = RunDirectory(params["run_dir"])
    folders = plugin_folders(Path(params["folder"]), params["projects"])
    plugins = Plugins(directory, settings_of(params))
    if module.check_mode:
        module.exit_json(changed=True, outcomes=[], msg=f"Would run {params['stage']} of {len(folders)} plugins.")
    stage = params["stage"]
    ordered = folders[::-1] if stage == DESTROY else folders
    name = params["name"] if len(folders) == 1 else ""
    with directory.alone():
        found = [plugins.phase(one, stage, params["side"] or "", params["phase"], name) for one in ordered]
        if stage == DESTROY:
            remove_default_groups(module, Memory(directory), [name or project_of(one) for one in ordered])
    outcomes = [one for one in found if one]
    finish(module, outcomes, changed=bool(outcomes))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        run(module)
    except (CloudError, ExtensionError, RunError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
