#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: driver
author:
  - The openstack.upgrade_test contributors (@openstack)
short_description: Run the command that upgrades the cloud
version_added: 0.1.0
description:
  - Runs the deployment tool's own command, keeps what it prints, and says how it ended.
  - The command is signalled, never edited. It lives in a session of its own and writes straight into its log, so that
    the end of this module or of the controller does not end an upgrade half-way.
  - It is meant to be a task with C(async) and C(poll), so that the progress is visible.
options:
  state:
    description:
      - V(finished) runs the command and waits for its end.
      - V(status) says whether a command that was started for this run is still alive.
      - V(awaited) waits until it has ended, at most O(timeout) seconds.
      - V(stopped) ends it, and what it has started, with SIGTERM and later with SIGKILL.
    type: str
    choices: [finished, status, awaited, stopped]
    default: finished
  run_dir:
    description: Directory of the run. The output goes to C(evidence/driver.log) in there.
    type: path
    required: true
  name:
    description: Name of the driver, for the records.
    type: str
    default: command
  step:
    description:
      - What the command does. In a cold upgrade all services are stopped before and, where the upgrade does not do it,
        started after it.
    type: str
    choices: [stop, upgrade, start]
    default: upgrade
  argv:
    description:
      - The command and its arguments; required with O(state=finished).
      - It is visible in the machine's list of processes, so no secret belongs here.
    type: list
    elements: str
  chdir:
    description: Directory to run the command in.
    type: path
  environment:
    description: Variables that are added to the command's environment.
    type: dict
    default: {}
  phase:
    description: Phase of the run, for the record of the outcome.
    type: str
    default: upgrade
  lines:
    description: How many of the last lines of output are returned.
    type: int
    default: 50
  timeout:
    description: Seconds to wait for the end, with O(state=awaited), or with O(state=stopped) after SIGTERM.
    type: float
    default: 20
  collect:
    description: Do not fail when the command failed, only report it.
    type: bool
    default: false
attributes:
  check_mode:
    description: Can run in check mode and return what it would do without changing anything.
    support: full
  diff_mode:
    description: Returns details of what changed when run in diff mode.
    support: none
"""

EXAMPLES = r"""
- name: Upgrade with Kolla-Ansible
  openstack.upgrade_test.driver:
    run_dir: "{{ run_dir }}"
    name: kolla
    argv: [kolla-ansible, upgrade, --inventory, /etc/kolla/inventory]
  async: 86400
  poll: 10
"""

RETURN = r"""
driver:
  description: What is known of the command.
  type: dict
  returned: always
  contains:
    state:
      description: V(absent) when no command was started, V(running), V(ended), or V(lost) when its end was not seen.
      type: str
    pid:
      description: Process id of the command.
      type: int
    rc:
      description: Exit code, once it has ended; negative when a signal ended it.
      type: int
    began:
      description: When it began, in seconds since the epoch.
      type: float
    ended:
      description: When it ended, in seconds since the epoch.
      type: float
    log:
      description: Where its output lies.
      type: str
    last_lines:
      description: The last lines of its output, without secrets.
      type: list
      elements: str
outcomes:
  description: One outcome, whether the command ended well.
  type: list
  elements: dict
  returned: with O(state=finished)
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._driver import DriverError, run_module


def main() -> None:
    """Run, look at or end the deployment tool's command."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["finished", "status", "awaited", "stopped"], "default": "finished"},
            "run_dir": {"type": "path", "required": True},
            "name": {"type": "str", "default": "command"},
            "step": {"type": "str", "choices": ["stop", "upgrade", "start"], "default": "upgrade"},
            "argv": {"type": "list", "elements": "str"},
            "chdir": {"type": "path"},
            "environment": {"type": "dict", "default": {}},
            "phase": {"type": "str", "default": "upgrade"},
            "lines": {"type": "int", "default": 50},
            "timeout": {"type": "float", "default": 20},
            "collect": {"type": "bool", "default": False},
        },
        required_if=[("state", "finished", ("argv",))],
        supports_check_mode=True,
    )
    try:
        run_module(module)
    except DriverError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
