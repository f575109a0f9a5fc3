#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: health_evidence
short_description: Look on a host for what tells of the health of its services
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Runs on a host of the cloud and returns facts. M(openstack.upgrade_test.system_health) says what they mean.
  - By itself it takes a glance, which costs little; it returns the components that run on the host, the kinds of errors
    in their logs, the state of the servers behind a load balancer, and that of a database's cluster.
  - With O(components) it has the services' own commands say whether the upgrade check passes, whether the schemas of
    the databases are what the code wants, and whether data wait for their migration. It compares the configuration
    files with the options that the code knows, and looks at the queues of RabbitMQ twice.
  - Services are found by their processes, in containers and virtual environments, too. Their commands are run where
    they live, with their configuration and as their user. No secret leaves the host.
  - The host is asked for its time by an action plugin, which knows when the question went and when the answer came.
  - Needs root. What is not on the host is left out; that is no failure, as each host holds a part only.
options:
  services:
    description:
      - The services to look at. By default all that this collection knows.
    type: list
    elements: str
  components:
    description:
      - The components whose services' commands are run, as a glance returned them, such as V(nova/nova-api) or
        V(infrastructure/rabbitmq).
      - These commands take seconds and say the same on each host, so one host for each component is enough.
    type: list
    elements: str
    default: []
  log_hours:
    description:
      - How many hours back the logs are read.
    type: float
    default: 24
  online_migrations:
    description:
      - Whether to learn if data wait for their migration where only migrating one tells. That changes no more than the
        operator's own next step would.
    type: bool
    default: false
  queue_pause:
    description:
      - Seconds between the two looks at the queues.
    type: float
    default: 5
  database_defaults_file:
    description:
      - Options file of the clients of the database on this host, which has user and password.
    type: path
  database_user:
    description:
      - User of the database, where the socket tells who it is.
    type: str
requirements:
  - Linux
  - C(nsenter), where services live in containers
extends_documentation_fragment:
  - openstack.upgrade_test.attributes
attributes:
  check_mode:
    support: full
    details:
      - Changes nothing. With O(online_migrations) it does not learn in check mode what only a change tells.
  diff_mode:
    support: none
    details:
      - There is no difference to show.
"""

EXAMPLES = r"""
- name: Take a glance
  openstack.upgrade_test.health_evidence:
  register: glance

- name: Have the commands of nova say more
  openstack.upgrade_test.health_evidence:
    components: [nova/nova-api, nova/nova-conductor]
  register: closely

- name: Say what it means
  openstack.upgrade_test.system_health:
    cloud: mycloud
    evidence:
      - "{{ hostvars.control1.glance.evidence }}"
      - "{{ hostvars.control1.closely.evidence }}"
  delegate_to: localhost
"""

RETURN = r"""
evidence:
  description: What the host tells, and what could not be looked at.
  returned: success
  type: dict
  sample:
    host: control1
    components: [nova/nova-api]
    clock: [{sent: 1795320000.01, told: 1795320000.02, received: 1795320000.03}]
    services: {nova: {schemas: {nova_api: {current: [cdeec0c85668], heads: [cdeec0c85668]}}}}
    problems: []
msg:
  description: What could not be looked at, or that all could.
  returned: always
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import CloudError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._evidence import Wish, gather
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import chosen

ARGUMENT_SPEC: dict[str, Any] = {
    "services": {"type": "list", "elements": "str"},
    "components": {"type": "list", "elements": "str", "default": []},
    "log_hours": {"type": "float", "default": 24},
    "online_migrations": {"type": "bool", "default": False},
    "queue_pause": {"type": "float", "default": 5},
    "database_defaults_file": {"type": "path"},
    "database_user": {"type": "str"},
}


def wish_of(params: dict[str, Any], *, check: bool) -> Wish:
    """Return what to look at; raises CloudError when a service is not known."""
    file, user = params["database_defaults_file"], params["database_user"]
    return Wish(
        services=chosen(params["services"]),
        components=params["components"],
        log_hours=params["log_hours"],
        migrate=params["online_migrations"] and not check,
        pause=params["queue_pause"],
        # The client wants the file first.
        database=[*([f"--defaults-file={file}"] if file else []), *([f"--user={user}"] if user else [])],
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        wish = wish_of(module.params, check=module.check_mode)
    except CloudError as error:
        module.fail_json(msg=str(error))
    evidence = gather(wish)
    message = "; ".join(evidence["problems"]) or "All that there is could be looked at."
    module.exit_json(changed=False, msg=message, evidence=evidence)


if __name__ == "__main__":
    main()
