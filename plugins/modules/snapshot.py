#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot
short_description: Take a snapshot of databases and folders before an upgrade, and restore it
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Works on the host where the data is, and keeps the snapshot there, because it holds secrets and may be large. Sizes
    and checksums are returned.
  - Each database is dumped as it is at one moment. Different databases are of the same moment only when nothing writes,
    as in a cold upgrade.
  - What was taken already is not taken again, since it is from before the upgrade.
options:
  state:
    description:
      - V(taken) takes what is missing. V(verified) compares the files with their checksums. V(restored) verifies all of
        them and then brings all back; the services that use them have to be stopped. V(absent) removes the snapshot.
    type: str
    choices: [taken, verified, restored, absent]
    default: taken
  directory:
    description:
      - Folder of the snapshot on this host, which only its owner can read.
    type: path
    required: true
  databases:
    description:
      - Names of databases of MariaDB or MySQL; V(all) stands for all but the server's own.
    type: list
    elements: str
    default: []
  optional_databases:
    description:
      - Names of databases to take if they are there.
    type: list
    elements: str
    default: []
  paths:
    description:
      - Files and folders, such as those with the configuration.
    type: list
    elements: path
    default: []
  defaults_file:
    description:
      - Options file of the database's clients, which has user and password.
    type: path
  socket:
    description:
      - Socket of the database server.
    type: path
  user:
    description:
      - User of the database server, where the socket tells who it is.
    type: str
extends_documentation_fragment:
  - openstack.upgrade_test.attributes
  - openstack.upgrade_test.attributes.outcomes
attributes:
  check_mode:
    support: full
    details:
      - Says whether something would be done, and does nothing.
  diff_mode:
    support: none
    details:
      - Contents are never shown.
"""

EXAMPLES = r"""
- name: Take a snapshot
  openstack.upgrade_test.snapshot:
    directory: /var/backups/upgrade-test/20261120T091300Z-7f3a
    databases: [all]
    defaults_file: /root/.my.cnf
    paths: [/etc/nova, /etc/keystone]
  delegate_to: db1

- name: Bring it back
  openstack.upgrade_test.snapshot:
    state: restored
    directory: /var/backups/upgrade-test/20261120T091300Z-7f3a
    defaults_file: /root/.my.cnf
  delegate_to: db1
"""

RETURN = r"""
items:
  description: What the snapshot has, each with C(kind), C(name), C(file), C(size), C(sha256), C(seconds) and C(taken).
  returned: success
  type: list
  elements: dict
outcomes:
  description: One entry for each database and folder.
  returned: with O(state=taken) or O(state=verified)
  type: list
  elements: dict
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status, finish
from ansible_collections.openstack.upgrade_test.plugins.module_utils._snapshot import (
    Item,
    Server,
    Snapshot,
    SnapshotError,
)

VALIDATOR = "snapshot"
ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["taken", "verified", "restored", "absent"], "default": "taken"},
    "directory": {"type": "path", "required": True},
    "databases": {"type": "list", "elements": "str", "default": []},
    "optional_databases": {"type": "list", "elements": "str", "default": []},
    "paths": {"type": "list", "elements": "path", "default": []},
    "defaults_file": {"type": "path"},
    "socket": {"type": "path"},
    "user": {"type": "str"},
    "phase": {"type": "str", "default": ""},
    "collect": {"type": "bool", "default": False},
}


def told(item: Item, fault: str, check: str, phase: str) -> Outcome:
    """Return the outcome for one part of a snapshot."""
    size = f"{item.size:,} bytes in {item.file}, SHA-256 {item.sha256[:12]}"
    return Outcome(
        validator=VALIDATOR,
        check=check,
        service="",
        subject=item.subject,
        status=Status.FAIL if fault else Status.PASS,
        message=fault or f"The snapshot of the {item.subject} has {size}.",
        phase=phase,
        evidence=asdict(item),
    )


def taken(module: AnsibleModule, snapshot: Snapshot) -> None:
    """Take what is missing."""
    params = module.params
    databases = snapshot.server.chosen(params["databases"], params["optional_databases"])
    known = {(one.kind, one.name) for one in snapshot.items()}
    wanted = [*(("database", one) for one in databases), *(("path", one) for one in params["paths"])]
    changed = any(one not in known for one in wanted)
    every = snapshot.items() if module.check_mode else snapshot.take(databases, params["paths"])
    items = [one for one in every if (one.kind, one.name) in wanted]  # others may be of another task on this host
    outcomes = [told(one, "", "snapshot_taken", params["phase"]) for one in items]
    finish(module, outcomes, changed=changed, items=[asdict(one) for one in items])


def verified(module: AnsibleModule, snapshot: Snapshot) -> None:
    """Compare the files with their checksums."""
    faults, items = snapshot.faults(), snapshot.items()
    outcomes = [told(one, faults.get(one.subject, ""), "snapshot_whole", module.params["phase"]) for one in items]
    finish(module, outcomes, items=[asdict(one) for one in items])


def restored(module: AnsibleModule, snapshot: Snapshot) -> None:
    """Bring all of it back."""
    items = snapshot.items() if module.check_mode else snapshot.restore()
    names = ", ".join(one.subject for one in items)
    module.exit_json(changed=bool(items), items=[asdict(one) for one in items], msg=f"Restored: {names}.")


def absent(module: AnsibleModule, snapshot: Snapshot) -> None:
    """Remove it."""
    there = snapshot.folder.exists() if module.check_mode else snapshot.remove()
    module.exit_json(changed=there, items=[])


ACTIONS = {"taken": taken, "verified": verified, "restored": restored, "absent": absent}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    server = Server(**{name: module.params[name] for name in ("defaults_file", "socket", "user")})
    try:
        ACTIONS[module.params["state"]](module, Snapshot(module.params["directory"], server))
    except SnapshotError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"directory: {module.params['directory']} cannot be used: {error}")


if __name__ == "__main__":
    main()
