#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes and removes the hosts of the embedded lab."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_hosts
short_description: Make and remove the hosts of the embedded lab
version_added: 0.1.0
description:
  - Makes the hosts of the embedded lab on the machine on which it runs. A host is a set of namespaces (network,
    mount, PID, UTS, IPC) with a private C(/run) and an SSH server, joined to the other hosts by a bridge that lives in
    a namespace of its own.
  - Nothing outside of O(root) and one interface of the machine is touched; the interface goes when the lab goes.
author:
  - The openstack.upgrade_test contributors (@openstack)
options:
  root:
    description: Folder below which everything of the lab lives.
    type: path
    required: true
  state:
    description:
      - V(present) makes what is missing, V(absent) ends all hosts of this lab and all that runs on them.
    type: str
    choices: [present, absent]
    default: present
  boot_script:
    description: Script that prepares the namespaces from inside. Required with O(state=present).
    type: path
  gateway:
    description: Address of the machine on the lab's network, with its prefix length. Required with O(state=present).
    type: str
  hosts:
    description: The hosts; their names and their addresses with prefix lengths. Required with O(state=present).
    type: dict
  routes:
    description: Networks that are reached through a host of the lab; the address of that host for each network.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says what would be done without doing it.
    support: full
  diff_mode:
    description: Has no differences to show.
    support: none
"""

EXAMPLES = r"""
- name: Make two hosts
  openstack.upgrade_test.lab_hosts:
    root: /var/lib/upgrade-test-lab
    boot_script: /var/lib/upgrade-test-lab/boot.sh
    gateway: 172.24.4.1/25
    hosts:
      infra: 172.24.4.10/25
      control1: 172.24.4.11/25

- name: Remove the lab's hosts
  openstack.upgrade_test.lab_hosts:
    root: /var/lib/upgrade-test-lab
    state: absent
"""

RETURN = r"""
hosts:
  description: The hosts that were made or removed by this call.
  type: list
  elements: str
  returned: always
"""

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._lab import _host

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,12}")  # an interface is named after it, which may have 15 characters
TAKEN = {"fabric", "machine"}


def complaints(params: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the hosts as asked for."""
    if not Path(params["root"]).is_absolute():
        yield f"root: {params['root']} must be an absolute path"
    if params["state"] == "absent":
        return
    if missing := [option for option in ("boot_script", "gateway", "hosts") if not params[option]]:
        yield f"{', '.join(missing)}: needed with state=present"
    if not Path(params["boot_script"]).is_file():
        yield f"boot_script: there is no file {params['boot_script']}"
    for name in params["hosts"]:
        if not NAME.fullmatch(name) or name in TAKEN:
            yield (
                f"hosts: '{name}' must be at most 13 small letters, digits and hyphens, and not {' or '.join(TAKEN)}"
            )
    for option, address in [("gateway", params["gateway"]), *((f"hosts: {k}", v) for k, v in params["hosts"].items())]:
        if not is_interface(address):
            yield f"{option}: '{address}' must be an address with a prefix length, such as 172.24.4.10/25"


def is_interface(text: Any) -> bool:
    """Whether this is an address with a prefix length."""
    try:
        return "/" in str(text) and bool(ipaddress.ip_interface(str(text)))
    except ValueError:
        return False


def present(module: AnsibleModule, root: Path) -> list[str]:
    """Make the fabric and the missing hosts; the names of those that were made."""
    wanted: dict[str, str] = module.params["hosts"]
    missing = [name for name in ("fabric", *wanted) if _host.first_process(_host.LabHost(root=root, name=name)) is None]
    if module.check_mode:
        return missing
    script = Path(module.params["boot_script"])
    fabric = _host.LabHost(root=root, name="fabric")
    fabric_pid = _host.first_process(fabric) or _host.start(fabric, script)
    _host.make_fabric(fabric, fabric_pid, module.params["gateway"])
    for name, address in wanted.items():
        host = _host.LabHost(root=root, name=name)
        pid = _host.first_process(host) or _host.start(host, script)
        _host.join_fabric(host, pid, fabric_pid, address)
    for network, via in module.params["routes"].items():
        _host.route(fabric, network, via)
    return missing


def absent(module: AnsibleModule, root: Path) -> list[str]:
    """End all hosts; their names."""
    if module.check_mode:
        return sorted(_host.hosts_below(root))
    return _host.remove_all(root)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "boot_script": {"type": "path"},
            "gateway": {"type": "str"},
            "hosts": {"type": "dict"},
            "routes": {"type": "dict", "default": {}},
        },
        required_if=[("state", "present", ["boot_script", "gateway", "hosts"])],
        supports_check_mode=True,
    )
    act = {"present": present, "absent": absent}[module.params["state"]]
    for complaint in complaints(module.params):
        module.fail_json(msg=complaint)
    try:
        hosts = act(module, Path(module.params["root"]))
    except (_host.LabError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(hosts), hosts=hosts)


if __name__ == "__main__":
    main()
