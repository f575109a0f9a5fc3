#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes servers of the lab's HAProxy out of service and back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_backend
short_description: Take servers of the lab's HAProxy out of service and back
version_added: 0.1.0
description:
  - Speaks to HAProxy's admin socket on the host on which it runs.
author:
  - The openstack.upgrade_test contributors (@openstack)
options:
  socket:
    description: HAProxy's admin socket.
    type: path
    required: true
  backend:
    description: Name of the backend.
    type: str
    required: true
  server:
    description: Name of the server in that backend.
    type: str
    required: true
  state:
    description:
      - V(drained) takes no new requests and waits until the running ones are answered.
      - V(ready) puts it back and waits until HAProxy calls it up. HAProxy checks a drained server all
        the time, but calls one that was disabled up at once, before it has looked again.
      - V(disabled) takes it out at once, as for maintenance.
    type: str
    choices: [drained, ready, disabled]
    required: true
  timeout:
    description: Seconds to wait. A request that is still running then is not waited for any longer when draining.
    type: float
    default: 30
attributes:
  check_mode:
    description: Only reads the state of the server.
    support: full
  diff_mode:
    description: Has no differences to show.
    support: none
"""

EXAMPLES = r"""
- name: Send no more requests to one instance of nova's API
  openstack.upgrade_test.lab_backend:
    socket: /run/haproxy.sock
    backend: nova
    server: control1
    state: drained
"""

RETURN = r"""
status:
  description: HAProxy's word for the state of the server at the end, for example C(UP), C(DRAIN) or C(MAINT).
  type: str
  returned: always
sessions:
  description: Requests that were still running on it at the end.
  type: int
  returned: always
"""

import csv
import socket

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._wait import look_until

COMMANDS = {"drained": "drain", "ready": "ready", "disabled": "maint"}


class BackendError(Exception):
    """HAProxy did not do what it was asked."""


def ask(path: str, command: str) -> str:
    """Send one command to HAProxy and return its answer.

    :raises BackendError: the socket is not there or does not answer.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(5)
            connection.connect(path)
            connection.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    except OSError as error:
        raise BackendError(f"socket: HAProxy does not answer at {path}: {error.strerror or error}") from None


def look(path: str, backend: str, server: str) -> tuple[str, int]:
    """State and running requests of a server, from HAProxy's statistics (columns status and scur).

    :raises BackendError: there is no such server.
    """
    table = ask(path, "show stat").removeprefix("# ")
    for row in csv.DictReader(table.splitlines()):
        if (row["pxname"], row["svname"]) == (backend, server):
            return row["status"], int(row["scur"])
    raise BackendError(f"server: HAProxy has no server {server} in a backend {backend}")


def reached(state: str, status: str, sessions: int) -> bool:
    """Whether a server is in the wanted state."""
    return {"drained": sessions == 0, "ready": status == "UP", "disabled": status.startswith("MAINT")}[state]


def settle(module: AnsibleModule) -> tuple[str, int]:
    """Wait until the state is reached; the last state and running requests seen."""
    path, backend, server, state = (module.params[key] for key in ("socket", "backend", "server", "state"))
    timeout = module.params["timeout"]
    return look_until(lambda: look(path, backend, server), lambda seen: reached(state, *seen), timeout, step=0.1)


def apply(module: AnsibleModule) -> tuple[str, int]:
    """Ask for the state and wait for it.

    :raises BackendError: HAProxy refused, or the server did not come back.
    """
    path, backend, server, state = (module.params[key] for key in ("socket", "backend", "server", "state"))
    answer = ask(path, f"set server {backend}/{server} state {COMMANDS[state]}").strip()
    if answer:
        raise BackendError(f"HAProxy refused: {answer}")
    status, sessions = settle(module)
    if state != "drained" and not reached(state, status, sessions):
        raise BackendError(f"{backend}/{server} is {status} {module.params['timeout']:g} s after it was made {state}")
    return status, sessions


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "socket": {"type": "path", "required": True},
            "backend": {"type": "str", "required": True},
            "server": {"type": "str", "required": True},
            "state": {"type": "str", "choices": list(COMMANDS), "required": True},
            "timeout": {"type": "float", "default": 30},
        },
        supports_check_mode=True,
    )
    try:
        before = look(module.params["socket"], module.params["backend"], module.params["server"])
        after = before if module.check_mode else apply(module)
    except BackendError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=before[0] != after[0], status=after[0], sessions=after[1])


if __name__ == "__main__":
    main()
