#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts and stops the processes of a lab host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_process
short_description: Start and stop the processes of a lab host
version_added: 0.1.0
description:
  - Runs long-lived processes on a host of the embedded lab, which has no service manager.
  - A process is restarted when its command, its environment or the content of its O(processes[].inputs) has changed
    since it was started.
  - All processes of one call start side by side, and the call returns when all of them serve.
author: The openstack.upgrade_test contributors
options:
  state:
    description: V(started) also restarts what has changed. V(stopped) needs only the names.
    type: str
    choices: [started, stopped]
    default: started
  processes:
    description: The processes.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the process, unique on its host.
        type: str
        required: true
      argv:
        description: Command with its arguments.
        type: list
        elements: str
      environment:
        description: Environment variables, added to a plain environment.
        type: dict
        default: {}
      inputs:
        description: Files and folders that the process reads at its start.
        type: list
        elements: str
        default: []
      log:
        description: File to which its output is appended.
        type: path
      user:
        description: User that runs it; the user of the connection by default.
        type: str
      ready:
        description:
          - How to tell that it serves. One of C(url) (answers below 500), C(port) with an optional C(address),
            C(socket) (a file), C(log) (a text in its log since this start). By default it is enough that it lives.
        type: dict
        default: {}
      timeout:
        description: Seconds within which it must serve.
        type: float
        default: 90
      stop_timeout:
        description: Seconds between SIGTERM and SIGKILL.
        type: float
        default: 20
attributes:
  check_mode:
    description: Says what would be started or stopped without doing it.
    support: full
  diff_mode:
    description: Has no differences to show.
    support: none
"""

EXAMPLES = r"""
- name: Start memcached
  openstack.upgrade_test.lab_process:
    processes:
      - name: memcached
        argv: [memcached, -u, root, -l, 172.24.4.10]
        log: /var/lib/upgrade-test-lab/hosts/infra/log/memcached.log
        ready: {address: 172.24.4.10, port: 11211}
"""

RETURN = r"""
processes:
  description: Names of the processes that were started, restarted or stopped.
  type: list
  elements: str
  returned: always
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._lab import _process

OPTIONS = {
    "name": {"type": "str", "required": True},
    "argv": {"type": "list", "elements": "str"},
    "environment": {"type": "dict", "default": {}},
    "inputs": {"type": "list", "elements": "str", "default": []},
    "log": {"type": "path"},
    "user": {"type": "str"},
    "ready": {"type": "dict", "default": {}},
    "timeout": {"type": "float", "default": 90},
    "stop_timeout": {"type": "float", "default": 20},
}


def start(process: _process.Process) -> None:
    """Start or restart one process and wait until it serves."""
    record = _process.load(process.name)
    if record is not None:
        _process.stop(process, record)
    offset = _process.log_size(process)
    _process.wait_ready(process, _process.launch(process), offset)


def is_current(process: _process.Process) -> bool:
    """Whether just this process runs already."""
    record = _process.load(process.name)
    return record is not None and record.fingerprint == process.fingerprint()


def stop(process: _process.Process) -> None:
    """End one process if it runs."""
    record = _process.load(process.name)
    if record is not None:
        _process.stop(process, record)


def parse(module: AnsibleModule) -> list[_process.Process]:
    """The processes as asked for; fails the module when a started one lacks its command or log."""
    wanted = []
    for options in module.params["processes"]:
        known: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
        if module.params["state"] == "started" and not {"argv", "log"} <= set(known):
            module.fail_json(msg=f"processes: {options['name']} needs argv and log to be started")
        known["log"] = Path(known.get("log", "/dev/null"))
        known["environment"] = {key: str(value) for key, value in known["environment"].items()}
        wanted.append(_process.Process(**{"argv": [], **known}))
    return wanted


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
            "processes": {"type": "list", "elements": "dict", "required": True, "options": OPTIONS},
        },
        supports_check_mode=True,
    )
    wanted = parse(module)
    if module.params["state"] == "started":
        due, act = [process for process in wanted if not is_current(process)], start
    else:
        due, act = [process for process in wanted if _process.load(process.name)], stop
    if not module.check_mode:
        try:
            with ThreadPoolExecutor(max_workers=max(1, len(due))) as pool:
                list(pool.map(act, due))
        except (_process.ProcessError, OSError) as error:
            module.fail_json(msg=str(error))
    module.exit_json(changed=bool(due), processes=[process.name for process in due])


if __name__ == "__main__":
    main()
