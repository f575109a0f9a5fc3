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
author:
  - The openstack.upgrade_test contributors (@openstack)
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

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._lab import _process

SIGNS = {"url", "port", "socket", "log"}
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
    if record is None or not record.alive() or not record.served:
        return False
    return record.fingerprint == process.fingerprint()


def stop(process: _process.Process) -> None:
    """End one process if it runs."""
    record = _process.load(process.name)
    if record is not None:
        _process.stop(process, record)


def complaints(processes: list[dict[str, Any]], state: str) -> Iterator[str]:
    """What is wrong with the processes as asked for."""
    names = [options["name"] for options in processes]
    for name, options in zip(names, processes, strict=True):
        if not name or "/" in name or name.startswith("."):
            yield f"name '{name}' must be a plain word, without a slash or a leading dot"
        if names.count(name) > 1:
            yield f"{name} is given twice"
        if state == "started" and not (options["argv"] and options["log"]):
            yield f"{name} needs argv and log to be started"
        yield from (f"ready of {name} {complaint}" for complaint in complaints_of_ready(options["ready"]))


def complaints_of_ready(ready: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the sign by which a process is known to serve."""
    signs = set(ready) - {"address"}
    if len(signs) > 1 or not signs <= SIGNS:
        yield f"must have one of {', '.join(sorted(SIGNS))}, not {', '.join(sorted(signs))}"
    if not str(ready.get("port", 1)).isdecimal():
        yield f"needs a number as port, not {ready['port']}"
    if not str(ready.get("url", "http://")).startswith(("http://", "https://")):
        yield f"needs a url that begins with http:// or https://, not {ready['url']}"


def parse(options: dict[str, Any]) -> _process.Process:
    """One process as asked for."""
    known = {key: value for key, value in options.items() if value is not None}
    known["log"] = Path(known.get("log", "/dev/null"))
    known["environment"] = {key: str(value) for key, value in known["environment"].items()}
    known["ready"] = {key: str(value) for key, value in known["ready"].items()}
    return _process.Process(**{"argv": [], **known})


def change(processes: list[_process.Process], state: str, *, really: bool) -> list[str]:
    """Start or stop what is due, side by side; the names of what was due.

    :raises _process.ProcessError: a process did not start or end.
    :raises OSError: a file could not be read or written.
    """
    if state == "started":
        due, act = [process for process in processes if not is_current(process)], start
    else:
        due, act = [process for process in processes if _process.load(process.name)], stop
    if really:
        with ThreadPoolExecutor(max_workers=max(1, len(due))) as pool:
            list(pool.map(act, due))
    return [process.name for process in due]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
            "processes": {"type": "list", "elements": "dict", "required": True, "options": OPTIONS},
        },
        supports_check_mode=True,
    )
    state: str = module.params["state"]
    for complaint in complaints(module.params["processes"], state):
        module.fail_json(msg=f"processes: {complaint}")
    try:
        names = change([parse(each) for each in module.params["processes"]], state, really=not module.check_mode)
    except (_process.ProcessError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(names), processes=names)


if __name__ == "__main__":
    main()
