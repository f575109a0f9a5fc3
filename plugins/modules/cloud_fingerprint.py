#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_fingerprint
short_description: Record the state of the whole cloud, and compare it with an earlier one
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Lists, as an administrator, what all projects of the cloud have, with those fields that an upgrade must leave alone.
    Servers with their host and state, ports with their bindings, volumes with their attachments, images with their
    hashes, stacks, role assignments, agents and what they serve, inventories and allocations, quotas and their use.
  - Compares it with an earlier fingerprint of the same run. What was added, removed or changed fails, unless it is
    allowed; what could not be seen at either time is unknown, and never counted as good. That a new release counts more
    against quotas than the old one did is always allowed; a limit that changed or is gone is not.
  - Also says whether the services agree with each other. Servers have allocations, their ports are bound where they
    are, nova and cinder attach the same volumes, cinder's quotas count what there is.
  - On a cloud that people use meanwhile, things come and go, so say with O(allow) what may.
  - Secrets and contents are not looked at, nor are keypairs, members of images and objects, which an administrator
    cannot list.
options:
  run_dir:
    description:
      - The run directory. The fingerprint is kept in C(evidence/fingerprint-<name>.json) in there.
    type: path
    required: true
  name:
    description:
      - Name of this fingerprint, such as V(before) or V(after). An earlier one of this name is replaced.
    type: str
    required: true
  compare_with:
    description:
      - Name of the earlier fingerprint to compare with. Without it nothing is compared.
    type: str
  services:
    description:
      - The services to look at, and keystone with them. By default all that the catalogue has.
    type: list
    elements: str
  kinds:
    description:
      - The kinds to look at, such as V(servers). By default all.
    type: list
    elements: str
  allow:
    description:
      - Changes that are no loss. Each part is a pattern as the shell has them, and all parts of an entry have to match.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: The kind of thing, such as V(servers).
        type: str
        default: "*"
      change:
        description: What happened to it, V(added), V(removed) or V(changed).
        type: str
        default: "*"
      id:
        description: Its id.
        type: str
        default: "*"
      name:
        description: Its name.
        type: str
        default: "*"
      field:
        description: Of what changed, the field. Every field that changed has to be allowed.
        type: str
        default: "*"
      why:
        description: The reason, for people.
        type: str
        default: ""
  settle:
    description:
      - Seconds in which a difference may still go away, because services come to rest after an upgrade.
    type: float
    default: 30
extends_documentation_fragment:
  - openstack.upgrade_test.cloud
  - openstack.upgrade_test.attributes
  - openstack.upgrade_test.attributes.outcomes
attributes:
  check_mode:
    support: full
    details:
      - Looks at the cloud, and writes nothing into the run directory.
  diff_mode:
    support: none
    details:
      - What differs is in the outcomes.
"""

EXAMPLES = r"""
- name: Record the state before the upgrade
  openstack.upgrade_test.cloud_fingerprint:
    cloud: mycloud-admin
    run_dir: "{{ run.run_dir }}"
    name: before
    phase: before

- name: Compare with it after the upgrade
  openstack.upgrade_test.cloud_fingerprint:
    cloud: mycloud-admin
    run_dir: "{{ run.run_dir }}"
    name: after
    compare_with: before
    phase: after
    allow:
      - {kind: servers, change: added, why: users go on working}
      - {kind: flavors, field: description}
"""

RETURN = r"""
outcomes:
  description: For each kind one entry, or one for each thing that is not as it was.
  returned: always, unless the cloud could not be reached
  type: list
  elements: dict
file:
  description: Where the fingerprint is kept.
  returned: always, unless in check mode
  type: str
msg:
  description: How many checks ended how, with the first that failed.
  returned: always
  type: str
"""

import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    Access,
    CloudError,
    argument_spec,
    connect,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._compare import (
    CHANGES,
    Allowance,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._look import Look
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._take import chosen
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import finish
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory, RunError

ALLOWANCE: dict[str, Any] = {
    "kind": {"type": "str", "default": "*"},
    "change": {"type": "str", "default": "*"},
    "id": {"type": "str", "default": "*"},
    "name": {"type": "str", "default": "*"},
    "field": {"type": "str", "default": "*"},
    "why": {"type": "str", "default": ""},
}
ARGUMENT_SPEC: dict[str, Any] = {
    **argument_spec(),
    "run_dir": {"type": "path", "required": True},
    "name": {"type": "str", "required": True},
    "compare_with": {"type": "str"},
    "services": {"type": "list", "elements": "str"},
    "kinds": {"type": "list", "elements": "str"},
    "allow": {"type": "list", "elements": "dict", "default": [], "options": ALLOWANCE},
    "settle": {"type": "float", "default": 30},
    "phase": {"type": "str", "default": ""},
    "collect": {"type": "bool", "default": False},
}


def checked(params: dict[str, Any]) -> list[Allowance]:
    """Return what is allowed; CloudError when an option cannot be meant as it is."""
    for option in ("name", "compare_with"):
        if params[option] and not re.fullmatch(r"[\w.-]+", params[option]):
            raise CloudError(f"{option}: {params[option]!r} is no name; letters, digits, dots and dashes make one.")
    for one in params["allow"]:
        if one["change"] not in (*CHANGES, "*"):
            raise CloudError(f"allow: the change {one['change']!r} is none of {', '.join(CHANGES)}.")
    return [Allowance(**one) for one in params["allow"]]


def run(module: AnsibleModule) -> None:
    """Look, compare, and return."""
    params = module.params
    allowances = checked(params)
    directory = RunDirectory(params["run_dir"])
    kinds = chosen(params["kinds"], params["services"])
    look = Look(connect(Access.from_params(params)), directory, kinds, phase=params["phase"])
    outcomes = look.told(params["name"], params["compare_with"], allowances, params["settle"])
    kept = {} if module.check_mode else {"file": str(look.keep(params["name"]))}
    finish(module, outcomes, **kept)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        run(module)
    except (CloudError, RunError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
