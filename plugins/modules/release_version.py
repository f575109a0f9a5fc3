#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_version
short_description: Say which OpenStack release runs, with the evidence
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - On a host with OpenStack processes it finds them in C(/proc), in containers too, finds the packages that each of
    them has loaded, and reads their version. What is installed but not run does not count.
  - Of each process it says V(confirmed) (its own code is of the release), V(consistent) (it may be), V(refuted) or
    V(unknown), with the evidence. Only V(confirmed) passes.
  - A process that started before its code was installed or changed fails, because it was upgraded but not restarted.
    Files that it has loaded and that are gone by now show the same.
  - Nova and Cinder may go on to speak the old release when all run the new one, because they are pinned to it, or keep
    to the versions that they found when they began. Their configuration shows whether they do, and their logs, in files
    or in the journal.
  - Where the code comes from packages of the distribution, these have to be whole and of the release. Of a process in a
    container its image is told.
  - The databases of the services tell more. The heads of their schemas, and the versions with which Nova's services
    have registered, may be of the release or of another one. They are asked by the Python of the service itself, with
    the connection in its configuration, which is told nowhere. Nothing is written.
  - With O(directory) it is an observer. It runs in the background, reads again and again, and logs each change, so that
    the time in which both releases ran is known afterwards. Start it with C(async) and C(poll=0).
  - With O(look_at=apis) it looks from outside at what the APIs offer, several times each, as a load balancer may have
    instances of both releases behind it. That refutes a release at times and never confirms one. Given the processes
    that were found on the hosts, it says whether the APIs fit them, and of each service what all evidence together
    says. Services of which no process was seen are V(unknown).
  - On hosts it needs the right to read other users' processes, so usually root.
options:
  cloud:
    description:
      - Name of the cloud in clouds.yaml. Needed with O(look_at=apis).
    type: str
    required: false
  look_at:
    description:
      - V(host) looks at this host and what runs there, V(apis) at the APIs of O(cloud).
    type: str
    choices: [host, apis]
    default: host
  instances:
    description:
      - With O(look_at=apis), the API instances behind the load balancer, to ask directly.
      - Each has C(service), C(host) and C(url).
    type: list
    elements: dict
    default: []
  processes:
    description:
      - With O(look_at=apis), the processes that were found on all hosts, RV(processes) of one host after the other.
    type: list
    elements: dict
    default: []
  samples:
    description:
      - With O(look_at=apis), how often each endpoint is asked.
    type: int
    default: 4
  release:
    description:
      - The release to expect, by number (V(2026.1)) or codename. During an upgrade name both, then either is right.
      - V(any), or nothing, means whatever it is. Each process passes whose release can be told.
      - V(master) is what is developed now. A development build can never be told by its number alone, see O(builds).
    type: list
    elements: str
    default: []
  builds:
    description:
      - For services that run a build from a branch, the version (V(33.1.0.dev373)) or the commit that has to run, by
        the name of the service. A commit may be given by its first seven digits or more.
    type: dict
    default: {}
  databases:
    description:
      - On a host, also ask the databases of its services, by the connections in their configuration.
    type: bool
    default: true
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
  - openstack.upgrade_test.cloud
  - openstack.upgrade_test.attributes
  - openstack.upgrade_test.attributes.read_only
  - openstack.upgrade_test.attributes.outcomes
"""

EXAMPLES = r"""
- name: All OpenStack processes of this host run 2026.1
  openstack.upgrade_test.release_version:
    release: 2026.1

- name: In the middle of the upgrade either of both is right
  openstack.upgrade_test.release_version:
    release: [2025.1, 2026.1]

- name: The APIs fit what runs on the hosts
  openstack.upgrade_test.release_version:
    look_at: apis
    cloud: mycloud
    release: 2026.1
    processes: "{{ groups['openstack'] | map('extract', hostvars, ['found', 'processes']) | flatten }}"
  delegate_to: localhost
  run_once: true

- name: Watch them during the upgrade
  openstack.upgrade_test.release_version:
    directory: /var/lib/upgrade-test/release_version
    duration: 86400
  async: 87000
  poll: 0
"""

RETURN = r"""
outcomes:
  description:
    - One entry for each process (check C(release)), for each that may be pinned to the old release (C(release_pins)),
      for each package of the distribution (C(release_package)), for each database (C(release_database)), for the
      records of services (C(release_records)), and with O(look_at=apis) for each place at which an API was asked
      (C(release_api)).
  returned: when it is no observer
  type: list
  elements: dict
services:
  description:
    - Of each service its C(verdict) from all evidence, the instances by release (C(releases)), and whether those are of
      more than one (C(mixed)).
  returned: with O(look_at=apis)
  type: dict
processes:
  description: The processes, each with service, component, instance, pid, started, version, release and evidence.
  returned: on a host, when it is no observer
  type: list
  elements: dict
releases:
  description: The components of the host by the release they run; it is V(stale) or V(unknown) where it cannot be told.
  returned: on a host, when it is no observer
  type: dict
  sample: {"2025.1": ["glance-api"], "2026.1": ["keystone-api", "nova-api"]}
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
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    Access,
    CloudError,
    argument_spec,
    connect,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import finish
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._control import note_failure
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import ProbeError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._apis import OPTIONS, look, summary_of
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._databases import databases
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._installed import container_of, packages
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._judgement import (
    absence,
    judge,
    releases_on,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._pins import pins
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._running import Watch, observe
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._verdict import Target, target_of
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import chosen, present

ARGUMENT_SPEC: dict[str, Any] = {
    **argument_spec(),
    "cloud": {"type": "str", "required": False},
    "look_at": {"type": "str", "choices": ["host", "apis"], "default": "host"},
    **OPTIONS,
    "databases": {"type": "bool", "default": True},
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


def as_validator(module: AnsibleModule, watch: Watch, target: Target) -> None:
    """Judge the processes that run now."""
    phase = module.params["phase"]
    found = [replace(running, evidence=running.evidence | container_of(running.pid)) for running in watch.read()]
    outcomes = [*judge(found, target, phase), *packages(found, target, phase), *pins(found, target, phase)]
    if module.params["databases"]:
        outcomes += databases(found, target, phase)
    outcomes = outcomes or [absence(watch.host, watch.services, phase)]
    finish(module, outcomes, processes=[running.as_record() for running in found], releases=releases_on(found))


def as_outsider(module: AnsibleModule, target: Target) -> None:
    """Judge what the APIs of a cloud offer, beside the processes that were found elsewhere."""
    params = module.params
    cloud = connect(Access.from_params(params))
    outcomes = look(cloud, present(cloud, params["services"]), params, params["phase"])
    finish(module, outcomes, services=summary_of(outcomes, params["processes"], target))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC, required_if=[("look_at", "apis", ["cloud"])], supports_check_mode=True
    )
    params = module.params
    try:
        target = target_of(params["release"], params["builds"])
        if params["look_at"] == "apis":
            as_outsider(module, target)
        watch = Watch(params["host"] or socket.gethostname(), chosen(params["services"]))
    except ValueError as error:
        module.fail_json(msg=f"release: {error}")
    except CloudError as error:
        module.fail_json(msg=str(error))
    if not params["directory"]:
        as_validator(module, watch, target)
    try:
        as_observer(module, watch)
    except ProbeError as error:
        note_failure(Path(params["directory"]), str(error))
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
