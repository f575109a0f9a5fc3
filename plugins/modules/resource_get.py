#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: resource_get
short_description: Return what an earlier phase of the run remembered
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Reads what M(openstack.upgrade_test.resource_save) or a Grenade plugin has kept in the run directory.
options:
  run_dir:
    description:
      - The run directory.
    type: path
    required: true
  project:
    description:
      - Whose memory it is, such as V(nova).
    type: str
    required: true
  key:
    description:
      - The name of the value. Without it, all of the project is returned.
    type: str
  default:
    description:
      - What to return when nothing was saved under O(key). Without it, that is an error, because whatever is done
        with an empty id is not what was meant.
    type: raw
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    description:
      - This module changes nothing.
  diff_mode:
    support: none
  platform:
    support: full
    platforms: posix
"""

EXAMPLES = r"""
- name: Recall the server
  openstack.upgrade_test.resource_get:
    run_dir: "{{ upgrade_test_extension.run_dir }}"
    project: nova
    key: server_id
  register: server
"""

RETURN = r"""
value:
  description: What was saved under O(key), or O(default).
  returned: when O(key) is given
  type: raw
  sample: 3f0c8e62-0a1f-4d7b-9a4e-2f1d5c7b6a90
values:
  description: All that is remembered for the project.
  returned: always
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._memory import Memory, RecallError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory, RunError

ARGUMENT_SPEC: dict[str, Any] = {
    "run_dir": {"type": "path", "required": True},
    "project": {"type": "str", "required": True},
    "key": {"type": "str", "no_log": False},
    "default": {"type": "raw"},
}


def recalled(params: dict[str, Any]) -> dict[str, Any]:
    """Return the module's result; RecallError when nothing was saved."""
    values = Memory(RunDirectory(params["run_dir"])).all(params["project"])
    key, project = params["key"], params["project"]
    if key is None:
        return {"values": values}
    if key not in values and params["default"] is None:
        known = ", ".join(sorted(values)) or "nothing"
        raise RecallError(f"key: nothing was saved under {project} {key}; saved there is {known}.")
    return {"values": values, "value": values.get(key, params["default"])}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = recalled(module.params)
    except (RecallError, RunError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
