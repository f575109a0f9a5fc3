#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: resource_save
short_description: Remember something for a later phase of the run
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Keeps values in the run directory, by project and key, so that what a phase makes is known to the phases after it.
    M(openstack.upgrade_test.resource_get) reads them.
  - The names are those of Grenade, whose resource scripts have the same two commands.
  - A value that has a secret in it is refused, as the run directory keeps none.
options:
  run_dir:
    description:
      - The run directory. Its C(memory.json) is replaced in one step, also when several write at once.
    type: path
    required: true
  project:
    description:
      - Whose memory it is, such as V(nova). Required unless O(from_ini) is given.
    type: str
  key:
    description:
      - The name of the value.
    type: str
  value:
    description:
      - What to remember under O(key).
    type: raw
  values:
    description:
      - Several keys with their values at once.
    type: dict
  from_ini:
    description:
      - The C(grenade_db.ini) of a Grenade run, whose whole content is taken in. So resources that Grenade made can be
        verified here.
    type: path
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    description:
      - Nothing is written.
  diff_mode:
    support: none
  platform:
    support: full
    platforms: posix
"""

EXAMPLES = r"""
- name: Remember the server
  openstack.upgrade_test.resource_save:
    run_dir: "{{ upgrade_test_extension.run_dir }}"
    project: nova
    key: server_id
    value: "{{ server.id }}"

- name: Take over what Grenade made
  openstack.upgrade_test.resource_save:
    run_dir: "{{ upgrade_test_extension.run_dir }}"
    from_ini: /opt/stack/save/grenade_db.ini
"""

RETURN = r"""
values:
  description: All that is remembered for the project now.
  returned: when O(project) is given
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._memory import Memory, RecallError, read_ini
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory, RunError

ARGUMENT_SPEC: dict[str, Any] = {
    "run_dir": {"type": "path", "required": True},
    "project": {"type": "str"},
    "key": {"type": "str", "no_log": False},
    "value": {"type": "raw"},
    "values": {"type": "dict"},
    "from_ini": {"type": "path"},
}


def wanted(params: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what is to be remembered, by project."""
    if params["from_ini"]:
        from pathlib import Path

        return dict(read_ini(Path(params["from_ini"])))
    return {params["project"]: {params["key"]: params["value"]} if params["key"] else params["values"]}


def saved(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Save, and return the module's result."""
    memory = Memory(RunDirectory(params["run_dir"]))
    new = wanted(params)
    missing = {project: {**memory.all(project), **values} for project, values in new.items()}
    changed = any(memory.all(project) != values for project, values in missing.items())
    if changed and not check:
        for project, values in new.items():
            memory.save(project, values)
    told = {"values": missing[params["project"]]} if params["project"] else {}
    return {"changed": changed, **told}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        required_one_of=[("key", "values", "from_ini")],
        mutually_exclusive=[("key", "values", "from_ini"), ("project", "from_ini")],
        required_by={"key": ("project", "value"), "values": ("project",)},
        supports_check_mode=True,
    )
    try:
        result = saved(module.params, module.check_mode)
    except (RecallError, RunError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
