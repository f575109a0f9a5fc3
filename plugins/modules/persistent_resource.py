#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: persistent_resource
short_description: Make resources that must survive an upgrade, verify them, remove them
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Works as an ordinary user. M(openstack.upgrade_test.test_project) makes one, and a second one who has nothing to do
    with the first one's project, so that it can be tried what is kept from others and what is shared with them.
  - For keystone, an application credential, a secret that Keystone encrypts, a trust, a token that must stay valid and
    one that must stay revoked.
  - For glance, images of random bytes that must come back the same; shared, protected, hidden, deactivated ones.
  - For neutron, networks with subnets of both kinds of addresses, a pool of addresses, a router with an external
    gateway, security groups with rules of each kind, ports, and a network that is shared with one other project.
  - For nova, a server with a floating address, which must answer, be unchanged, and not have rebooted; a paused server,
    which must stay paused; a server group and a key pair.
  - For cinder, a volume of each volume type with a known content, of which the server has one and its witness writes on
    it; a snapshot, a volume made of it, and a transfer that nobody has accepted.
  - For swift, objects of each kind (empty, with a foreign name, large in both ways, linked, with versions, with an
    end), a signed URL, a container that one other project may read and one with a quota.
  - For heat, a stack with a resource of each service that is there, one in an old format with a snapshot, and one that
    failed and must stay repairable.
  - Left out is what needs an administrator or a service that few clouds have, for example encrypted volumes, backups,
    trunks, quality of service, EC2 credentials (since 2025 only a service may check their signatures), and servers on a
    host of choice.
  - For each service, what is not allowed must stay refused, lists must be complete, and the usage that quotas are held
    against must be what there is.
  - Each create is written into the journal of the run before and after it happens, each name begins with
    C(upgrade-test-<run id>-), and what can have tags has the tag C(upgrade-test-<run id>). So all of it is found again.
options:
  state:
    description:
      - V(present) makes what is missing.
      - V(verified) compares all of it with the journal, at any time, and changes nothing.
      - V(exercised) does with old resources what users do after an upgrade (reboot a server, plug in a port, open a
        port, change an image, boot a new server in each availability zone), and leaves them as they were.
      - V(located) returns what M(openstack.upgrade_test.resource_evidence) has to look for on the hosts.
      - V(verified_noapi) compares what the hosts hold (O(evidence)) with the journal and with what they held the first
        time. The server is asked over its floating address. Neither this nor V(located) connects to the cloud.
      - V(absent) deletes it by journal, by name and by tag, and in a project of M(openstack.upgrade_test.test_project)
        all that is in it. What cannot be deleted fails and is named, and so does quota usage that is not given back.
    type: str
    choices: [present, verified, exercised, located, verified_noapi, absent]
    default: present
  run_dir:
    description:
      - The run directory, which holds the journal. Its C(clouds.yaml) gets the secrets of the application credential.
    type: path
    required: true
  services:
    description:
      - The services whose resources to work with. The resources of nova need those of neutron, which are added then.
      - By default all that the catalogue has, of those that this collection knows.
    type: list
    elements: str
  server_image:
    description:
      - Name or id of the image for the server. By default the only one there is.
    type: str
  server_flavor:
    description:
      - Name or id of the flavor for the server. By default the smallest one.
    type: str
  external_network:
    description:
      - Name or id of the external network. By default the only one there is.
    type: str
  availability_zone:
    description:
      - Availability zone for the server. By default the cloud's own.
    type: str
  boot_id_path:
    description:
      - Where the web server in the guest tells its boot id, which is the content of C(/proc/sys/kernel/random/boot_id).
        An empty text when it tells none; then a reboot can only be seen in nova's records.
    type: str
    default: /boot_id
  user_data:
    description:
      - Path of a script for the servers, which their image runs at its first boot. By default none.
      - For example C(roles/lab/files/guest/witness) of this collection, the witness that tells whether a server was
        paused, stalled or rebooted, and what it wrote on its volume.
    type: path
  evidence:
    description:
      - With O(state=verified_noapi), what M(openstack.upgrade_test.resource_evidence) returned on each host, by the
        name of the host. Hosts that are missing were not looked at, and nothing is concluded from that.
    type: dict
    default: {}
  timeout:
    description:
      - Seconds for each single wait, for example until the server is active.
    type: float
    default: 180
extends_documentation_fragment:
  - openstack.upgrade_test.cloud
  - openstack.upgrade_test.attributes
  - openstack.upgrade_test.attributes.changes
  - openstack.upgrade_test.attributes.outcomes
"""

EXAMPLES = r"""
- name: Make resources before the upgrade
  openstack.upgrade_test.persistent_resource:
    run_dir: "{{ run.run_dir }}"
    clouds_yaml: "{{ run.run_dir }}/clouds.yaml"
    cloud: upgrade_test
    server_image: cirros

- name: Compare them after it
  openstack.upgrade_test.persistent_resource:
    state: verified
    run_dir: "{{ run.run_dir }}"
    clouds_yaml: "{{ run.run_dir }}/clouds.yaml"
    cloud: upgrade_test
    phase: after
    collect: true

- name: Look where they lie, while no API runs
  openstack.upgrade_test.persistent_resource:
    state: verified_noapi
    run_dir: "{{ run.run_dir }}"
    cloud: upgrade_test
    evidence:
      compute1: "{{ hostvars.compute1.seen.evidence }}"

- name: Remove them
  openstack.upgrade_test.persistent_resource:
    state: absent
    run_dir: "{{ run.run_dir }}"
    clouds_yaml: "{{ run.run_dir }}/clouds.yaml"
    cloud: upgrade_test
"""

RETURN = r"""
outcomes:
  description: One entry for each check.
  returned: always, unless the cloud could not be reached
  type: list
  elements: dict
resources:
  description: The resources by type, with id and name, and how to reach the server.
  returned: with state V(present) or V(verified)
  type: dict
  sample:
    server: {id: 3f0c, name: upgrade-test-20261120T091300Z-7f3a-server, floating_ip: 172.24.4.17, http_url: "http://172.24.4.17/"}
sought:
  description: What to look for on the hosts.
  returned: with state V(located)
  type: list
  elements: dict
removed:
  description: Names of the resources that were removed.
  returned: always, unless the cloud could not be reached
  type: list
  elements: str
msg:
  description: How many checks ended how, with the first that failed.
  returned: always
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    Access,
    CloudError,
    HttpError,
    UnreachableError,
    argument_spec,
    connect,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import finish
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory, RunError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._journal import Journal
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._offline import sought, verify_offline
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._phases import (
    ABSENT,
    EXERCISED,
    PRESENT,
    VERIFIED,
    foresee,
    locked_out,
    work,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import chosen, samples
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import Options, Workshop

LOCATED = "located"
VERIFIED_NOAPI = "verified_noapi"

ARGUMENT_SPEC: dict[str, Any] = {
    **argument_spec(),
    "state": {
        "type": "str",
        "choices": [PRESENT, VERIFIED, EXERCISED, LOCATED, VERIFIED_NOAPI, ABSENT],
        "default": PRESENT,
    },
    "run_dir": {"type": "path", "required": True},
    "services": {"type": "list", "elements": "str"},
    "server_image": {"type": "str"},
    "server_flavor": {"type": "str"},
    "external_network": {"type": "str"},
    "availability_zone": {"type": "str"},
    "boot_id_path": {"type": "str", "default": "/boot_id"},
    "user_data": {"type": "path"},
    "evidence": {"type": "dict", "default": {}},
    "timeout": {"type": "float", "default": 180},
    "phase": {"type": "str", "default": ""},
    "collect": {"type": "bool", "default": False},
}
CHOICES = (
    "server_image",
    "server_flavor",
    "external_network",
    "availability_zone",
    "boot_id_path",
    "user_data",
    "timeout",
)


def without_api(module: AnsibleModule, journal: Journal) -> None:
    """Do what needs no cloud, and return."""
    params = module.params
    if params["state"] == LOCATED:
        module.exit_json(changed=False, msg="Nothing was looked at yet.", outcomes=[], sought=sought(journal))
    services, phase = chosen(params["services"]), params["phase"]
    outcomes = verify_offline(services, journal, params["evidence"], phase, params["boot_id_path"])
    finish(module, outcomes)


def with_api(module: AnsibleModule, journal: Journal) -> None:
    """Bring the resources to their state and return."""
    params, state = module.params, module.params["state"]
    try:
        cloud = connect(Access.from_params(params))
    except (HttpError, UnreachableError) as problem:
        if state != VERIFIED:
            raise
        finish(module, locked_out(chosen(params["services"]), problem, params["phase"]), resources={}, removed=[])
    options = Options(**{name: params[name] for name in CHOICES})
    shop = Workshop(cloud=cloud, journal=journal, options=options, phase=params["phase"])
    services = samples(cloud, params["services"])
    if module.check_mode and state != VERIFIED:
        module.exit_json(**foresee(shop, services, state))
    with journal.run.alone():
        resources = work(shop, services, state)
    more = {"msg": f"Removed {len(shop.removed)} resources."} if not shop.outcomes else {}
    finish(module, shop.outcomes, changed=shop.changed, resources=resources, removed=shop.removed, **more)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        journal = Journal(RunDirectory(module.params["run_dir"]))
        work_on = without_api if module.params["state"] in (LOCATED, VERIFIED_NOAPI) else with_api
        work_on(module, journal)
    except (CloudError, RunError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
