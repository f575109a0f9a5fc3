#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_version
short_description: Say from the running processes which OpenStack release a host runs
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Runs on a host with OpenStack processes. Finds them in C(/proc), in containers too, finds the packages that each of
    them has loaded, and reads their version. What is installed but not run does not count.
  - A process that started before its code was installed fails, because it was upgraded but not restarted.
  - With O(directory) it is an observer. It runs in the background, reads again and again, and logs each change, so that
    the time in which both releases ran is known afterwards. Start it with C(async) and C(poll=0).
  - Needs the right to read other users' processes, so usually root.
options:
  release:
    description:
      - The release to expect, by number (V(2026.1)) or codename; with several, any of them is right.
      - Without it each process passes whose release can be told.
    type: list
    elements: str
    default: []
  services:
    description:
      - The services to look at. By default all that this collection knows.
    type: list
    elements: str
  host:
    description:
      - How to name this host in the result. By default its own name.
    type: str
  directory:
    description:
      - Be an observer and log to this folder, which is made when it is missing. Ends when a file C(stop) appears there.
    type: path
  interval:
    description:
      - As an observer, seconds between two readings.
    type: float
    default: 2
  duration:
    description:
      - As an observer, seconds after which to end at the latest; V(0) means never.
    type: float
    default: 0
requirements:
  - Linux
extends_documentation_fragment:
  - openstack.upgrade_test.attributes
  - openstack.upgrade_test.attributes.read_only
  - openstack.upgrade_test.attributes.outcomes
"""

EXAMPLES = r"""
- name: All OpenStack processes of this host run 2026.1
  openstack.upgrade_test.release_version:
    release: 2026.1

- name: Watch them during the upgrade
  openstack.upgrade_test.release_version:
    directory: /var/lib/upgrade-test/release_version
    duration: 86400
  async: 87000
  poll: 0
"""

RETURN = r"""
outcomes:
  description: One entry for each process.
  returned: when it is no observer
  type: list
  elements: dict
processes:
  description: The processes, each with service, component, instance, pid, started, version, release and evidence.
  returned: when it is no observer
  type: list
  elements: dict
observer:
  description: The last heartbeat.
  returned: when it is an observer
  type: dict
msg:
  description: How many processes are as expected, with the first that is not.
  returned: always
  type: str
"""

import socket
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import CloudError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import finish
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._control import note_failure
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import ProbeError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._releases import canonical
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import chosen
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._running import (
    Watch,
    absence,
    judge,
    observe,
)

ARGUMENT_SPEC: dict[str, Any] = {
    "release": {"type": "list", "elements": "str", "default": []},
    "services": {"type": "list", "elements": "str"},
    "host": {"type": "str"},
    "directory": {"type": "path"},
    "interval": {"type": "float", "default": 2},
    "duration": {"type": "float", "default": 0},
    "phase": {"type": "str", "default": ""},
    "collect": {"type": "bool", "default": False},
}


def as_observer(module: AnsibleModule, watch: Watch) -> None:
    """Watch the processes until told to end."""
    params = module.params
    if module.check_mode:
        module.exit_json(changed=False, msg="Would observe the releases of the running processes.", observer={})
    if params["interval"] <= 0:
        module.fail_json(msg="interval: must be more than 0 seconds.")
    last = observe(watch, Path(params["directory"]), interval=params["interval"], duration=params["duration"])
    module.exit_json(changed=False, msg="The observer ended.", observer=last)


def as_validator(module: AnsibleModule, watch: Watch, releases: list[str]) -> None:
    """Judge the processes that run now."""
    found = watch.read()
    phase = module.params["phase"]
    outcomes = judge(found, releases, phase) or [absence(watch, phase)]
    finish(module, outcomes, processes=[running.as_record() for running in found])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    try:
        releases = [canonical(name) for name in params["release"]]
        watch = Watch(params["host"] or socket.gethostname(), chosen(params["services"]))
    except ValueError as error:
        module.fail_json(msg=f"release: {error}")
    except CloudError as error:
        module.fail_json(msg=str(error))
    if not params["directory"]:
        as_validator(module, watch, releases)
    try:
        as_observer(module, watch)
    except ProbeError as error:
        note_failure(Path(params["directory"]), str(error))
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
