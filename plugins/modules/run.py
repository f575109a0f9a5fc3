#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run
short_description: Open, mark and close a test run
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - A run is one folder that keeps all records of one upgrade. This module opens it, says which phase begins, and
    closes it.
  - It runs on the controller. The callback P(openstack.upgrade_test.upgrade_report#callback) learns the folder from
    its result.
options:
  state:
    description:
      - V(opened) opens a new run. It is an error when one is open already in O(runs_dir).
      - V(current) finds the run of O(run_id), else the open one, else the latest, and changes nothing.
      - V(marked) records that O(phase) begins or that O(mark) happened, in the run that V(current) would find.
      - V(closed) ends the run of O(run_id), or the open one. Credentials are removed. Closing twice changes nothing.
    type: str
    choices: [opened, current, marked, closed]
    default: current
  runs_dir:
    description:
      - The folder of all runs. It is made when it is missing.
    type: path
    default: upgrade-test-runs
  run_id:
    description:
      - The id of the run, such as V(20261120T091300Z-7f3a). A new one is made up when a run is opened without it.
    type: str
  phase:
    description:
      - The phase that begins, with O(state=marked) or O(state=opened). A full run has V(before), V(upgrade) and
        V(after).
      - Other names are taken as parts of the upgrade.
    type: str
  mark:
    description:
      - What happened just now, in a few words, with O(state=marked).
    type: str
  cloud:
    description:
      - The name of the cloud under test, for the report.
    type: str
  driver:
    description:
      - The name of the deployment driver, for the report.
    type: str
  strategy:
    description:
      - How the cloud is upgraded, for the judge. With V(cold) all services are stopped first, so that the time without
        an API is planned.
    type: str
    choices: [rolling, cold]
  from_release:
    description:
      - The OpenStack release before the upgrade, such as V(2026.1).
    type: str
  to_release:
    description:
      - The OpenStack release after the upgrade, such as V(2026.2).
    type: str
  services:
    description:
      - The services under test. Every one of them is judged, also when nothing was seen of it.
    type: list
    elements: str
  labels:
    description:
      - Free names and values to find runs by.
    type: dict
  completed:
    description:
      - Whether the procedure came to its end, with O(state=closed). If not, the run counts as interrupted.
    type: bool
    default: true
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    description:
      - Nothing is written. A run that would be opened is described, but does not exist.
  diff_mode:
    support: none
  platform:
    support: full
    platforms: posix
"""

EXAMPLES = r"""
- name: Open a run
  openstack.upgrade_test.run:
    state: opened
    phase: before
    cloud: prod
    driver: kolla_ansible
    from_release: "2026.1"
    to_release: "2026.2"
    services: [keystone, glance, placement, nova, neutron]

- name: The upgrade begins
  openstack.upgrade_test.run:
    state: marked
    phase: upgrade

- name: Close the run
  openstack.upgrade_test.run:
    state: closed
"""

RETURN = r"""
run:
  description: The run.
  returned: success
  type: dict
  contains:
    run_id:
      description: Its id.
      type: str
      sample: 20261120T091300Z-7f3a
    run_dir:
      description: Its folder.
      type: str
    runs_dir:
      description: The folder of all runs.
      type: str
    state:
      description: One of V(open), V(closed) or V(interrupted).
      type: str
    phase:
      description: The phase that began last, or an empty text.
      type: str
    services:
      description: The services under test.
      type: list
      elements: str
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import (
    OPEN,
    RunDirectory,
    RunError,
    new_run_id,
)

FACTS = ("cloud", "driver", "strategy", "from_release", "to_release", "services", "labels")
COLLECTION_VERSION = "0.1.0"


def described(run: RunDirectory) -> dict[str, Any]:
    """Return what the module says about a run."""
    document = run.document
    told = {key: document.get(key) for key in FACTS}
    place = {"run_id": run.run_id, "run_dir": str(run.path), "runs_dir": str(run.path.parent)}
    return {**place, "state": run.state, "phase": run.phase, **told}


def opened(params: dict[str, Any], check: bool) -> tuple[bool, dict[str, Any]]:
    """Open a run."""
    facts = {key: params[key] for key in FACTS if params[key] is not None}
    if check:
        return True, _imagined(params, facts)
    run = RunDirectory.create(params["runs_dir"], params["run_id"], collection_version=COLLECTION_VERSION, **facts)
    if params["phase"]:
        run.begin_phase(params["phase"])
    return True, described(run)


def _imagined(params: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """Describe the run that would be opened, or raise RunError when none would be."""
    root = Path(params["runs_dir"]).absolute()
    already = RunDirectory.opened(root)
    if already:
        raise RunError(f"Run {already.run_id} is open in {root}; a second one would not be opened.")
    run_id = params["run_id"] or new_run_id(time.time())
    place = {"run_id": run_id, "run_dir": str(root / run_id), "runs_dir": str(root)}
    return {**place, "state": OPEN, "phase": params["phase"] or "", **facts}


def _exists(params: dict[str, Any]) -> bool:
    """Whether there is the run to write into; in check mode the one that would have been opened is not."""
    root = Path(params["runs_dir"]).absolute()
    return bool(RunDirectory.opened(root)) if not params["run_id"] else (root / params["run_id"]).is_dir()


def current(params: dict[str, Any], _check: bool) -> tuple[bool, dict[str, Any]]:
    """Find a run."""
    return False, described(RunDirectory.find(params["runs_dir"], params["run_id"]))


def marked(params: dict[str, Any], check: bool) -> tuple[bool, dict[str, Any]]:
    """Record a phase or a mark."""
    if check and not _exists(params):
        return True, _imagined(params, {})
    run = RunDirectory.find(params["runs_dir"], params["run_id"])
    if run.state != OPEN:
        raise RunError(f"Run {run.run_id} is {run.state}; only an open run can be marked.")
    begins = bool(params["phase"]) and params["phase"] != run.phase
    if not check and begins:
        run.begin_phase(params["phase"])
    if not check and params["mark"]:
        run.append_event("mark", params["mark"])
    return begins or bool(params["mark"]), described(run)


def closed(params: dict[str, Any], check: bool) -> tuple[bool, dict[str, Any]]:
    """Close a run."""
    if check and not _exists(params):
        return True, _imagined(params, {})
    run = RunDirectory.find(params["runs_dir"], params["run_id"])
    changed = run.state == OPEN
    if not check:
        run.close(completed=params["completed"])
    return changed, described(run)


ACTIONS = {"opened": opened, "current": current, "marked": marked, "closed": closed}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["opened", "current", "marked", "closed"], "default": "current"},
            "runs_dir": {"type": "path", "default": "upgrade-test-runs"},
            "run_id": {"type": "str"},
            "phase": {"type": "str"},
            "mark": {"type": "str"},
            "cloud": {"type": "str"},
            "driver": {"type": "str"},
            "strategy": {"type": "str", "choices": ["rolling", "cold"]},
            "from_release": {"type": "str"},
            "to_release": {"type": "str"},
            "services": {"type": "list", "elements": "str"},
            "labels": {"type": "dict"},
            "completed": {"type": "bool", "default": True},
        },
        required_if=[("state", "marked", ("phase", "mark"), True)],
        supports_check_mode=True,
    )
    try:
        changed, run = ACTIONS[module.params["state"]](module.params, module.check_mode)
    except RunError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"runs_dir: {module.params['runs_dir']} cannot be used: {error}")
    module.exit_json(changed=changed, run=run)


if __name__ == "__main__":
    main()
