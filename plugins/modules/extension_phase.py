#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: extension_phase
short_description: Begin and end a phase of a service that comes as a folder of task files
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - A folder with C(service.yml) and task files that are named after the phases adds a service to the test. The role
    P(openstack.upgrade_test.extensions#role) runs them, and this module before and after each of them.
  - At the beginning it reads C(service.yml), says whether there is something to do, and writes an intent into the
    journal, so that a crash leaves nothing that cleanup does not know of. At the end it makes the outcome.
options:
  state:
    description:
      - V(described) only reads C(service.yml). V(begun) begins the phase, V(ended) ends it.
    type: str
    choices: [described, begun, ended]
    required: true
  run_dir:
    description:
      - The run directory. Required unless O(state=described).
    type: path
  folder:
    description:
      - The folder of the service.
    type: path
    required: true
  stage:
    description:
      - The phase of Grenade's model. Required unless O(state=described).
    type: str
    choices: [early_create, create, verify, verify_noapi, destroy]
  side:
    description:
      - When it is, for the sentence of the outcome.
    type: str
    choices: [pre-upgrade, mid-upgrade, post-upgrade]
  failed_task:
    description:
      - With O(state=ended), the name of the task that failed, if one did.
    type: str
    default: ""
  failure:
    description:
      - What that task said.
    type: str
    default: ""
extends_documentation_fragment:
  - openstack.upgrade_test.attributes
  - openstack.upgrade_test.attributes.changes
  - openstack.upgrade_test.attributes.outcomes
"""

EXAMPLES = r"""
- name: Begin
  openstack.upgrade_test.extension_phase:
    state: begun
    run_dir: "{{ run.run_dir }}"
    folder: /etc/upgrade-test/services/bulletin
    stage: verify
    side: post-upgrade
    phase: after
"""

RETURN = r"""
extension:
  description: What C(service.yml) says, with the defaults.
  returned: success
  type: dict
due:
  description: Whether the phase is to be run.
  returned: with O(state=begun)
  type: bool
tasks:
  description: The task file of the phase.
  returned: with O(state=begun), when it is to be run
  type: str
outcomes:
  description: What the phase came to, at its end or when it is not to be run.
  returned: always
  type: list
  elements: dict
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._extension import (
    PHASES,
    SIDES,
    Extension,
    ExtensionError,
    Keeper,
    read_description,
    success,
    task_file,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status, finish
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory, RunError

VALIDATOR = "extension"
ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["described", "begun", "ended"], "required": True},
    "run_dir": {"type": "path"},
    "folder": {"type": "path", "required": True},
    "stage": {"type": "str", "choices": list(PHASES)},
    "side": {"type": "str", "choices": list(SIDES)},
    "failed_task": {"type": "str", "default": ""},
    "failure": {"type": "str", "default": ""},
    "phase": {"type": "str", "default": ""},
    "collect": {"type": "bool", "default": False},
}


def begun(params: dict[str, Any], keeper: Keeper, told: dict[str, Any], check: bool) -> tuple[list[Outcome], Any]:
    """Begin a phase; return its outcome, if there is nothing to do, and what to tell."""
    path = task_file(Path(params["folder"]), params["stage"])
    if path is None or check:
        # A folder has task files only for what its service needs.
        return [], {"due": False, "extension": told}
    due = keeper.begin(params["stage"])
    outcomes = [] if due.due else [keeper.outcome(params["stage"], due.status, due.why, stage=params["phase"])]
    return outcomes, {"due": due.due, "extension": told, "tasks": str(path), "changed": due.due}


def ended(params: dict[str, Any], keeper: Keeper, told: dict[str, Any], check: bool) -> tuple[list[Outcome], Any]:
    """End a phase; return its outcome and what to tell."""
    stage, name, evidence = params["stage"], keeper.extension.name, {"folder": params["folder"]}
    if params["side"]:
        evidence["side"] = params["side"]
    if params["failed_task"] or params["failure"]:
        text = f"{name}, {stage}: {params['failed_task'] or 'a task'}: {params['failure'] or 'failed'}"
        outcome = keeper.outcome(stage, Status.FAIL, text, stage=params["phase"], evidence=evidence)
        return [outcome], {"extension": told}
    if not check:
        keeper.end(stage)
    outcome = keeper.outcome(stage, Status.PASS, success(name, stage), stage=params["phase"], evidence=evidence)
    return [outcome], {"extension": told}


def run(module: AnsibleModule) -> None:
    """Do what the options say, and return."""
    params = module.params
    told = read_description(Path(params["folder"]))
    if params["state"] == "described":
        finish(module, [], extension=told, msg=told["description"] or told["name"])
        return
    keeper = Keeper(
        RunDirectory(params["run_dir"]),
        Extension(validator=VALIDATOR, name=told["name"], service=told["service"]),
    )
    action = {"begun": begun, "ended": ended}[params["state"]]
    outcomes, more = action(params, keeper, told, module.check_mode)
    finish(module, outcomes, **more)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        required_if=[("state", one, ("run_dir", "stage")) for one in ("begun", "ended")],
        supports_check_mode=True,
    )
    try:
        run(module)
    except (ExtensionError, RunError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
