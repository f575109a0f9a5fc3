#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: api_uptime
short_description: Observe whether HTTP services answer, and bound every outage
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Sends GET requests on a fixed schedule, whatever the earlier ones do, and records each of them.
  - From these it finds outages, each with a lower and an upper bound of its length that the probes prove.
  - It needs nothing but Python on the observing host, and any HTTP or HTTPS service can be a target.
  - With O(cloud) the targets that have an C(auth_url) are asked with a token, too. These are lanes of their own, so
    that trouble with Keystone or a token is never taken for downtime of a service.
options:
  targets:
    description:
      - What to observe. C(targets) of M(openstack.upgrade_test.cloud_info) has this form.
      - 'Each is a dictionary with the keys C(name) and C(url), and optionally C(service), C(via)
        (how the service is reached: V(public), or the
        name of the instance), C(expect), C(auth_url) and C(auth_expect) (what to ask with a token, and what to expect
        there), and C(connections) (as O(connections), for this target).'
      - 'C(expect) is a dictionary with C(status), a list of the HTTP statuses that count as up
        (default: all 2xx and 3xx), and C(body), a text that
        the response must contain.'
    type: list
    elements: dict
    required: true
  connections:
    description:
      - How to connect. V(new) opens a connection for each request, as most clients do. V(kept) sends request after
        request over one.
      - Each mode of each target is a lane of its own with its own schedule.
    type: list
    elements: str
    choices: [new, kept]
    default: [new, kept]
  profile:
    description:
      - Probes per second of each lane, V(light) 2, V(standard) 10, V(precise) 125. The first finds outages of about a
        second,
        the last those of 10 ms.
    type: str
    choices: [light, standard, precise]
    default: standard
  rate:
    description:
      - Probes per second of each lane, instead of O(profile).
    type: float
  authenticated:
    description:
      - Whether the targets with an C(auth_url) are asked with a token, too. Needs O(cloud); without it they are not.
    type: bool
    default: true
  authenticated_rate:
    description:
      - Probes per second of each lane with a token. Such a request costs a service real work, which the list of its
        versions does not.
    type: float
    default: 1
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - openstack.upgrade_test.observer
  - openstack.upgrade_test.observer.tls
  - openstack.upgrade_test.observer.user
"""

EXAMPLES = r"""
- name: Observe two services in the background
  openstack.upgrade_test.api_uptime:
    directory: /var/lib/upgrade-test/api_uptime
    targets:
      - name: keystone
        service: keystone
        via: public
        url: https://cloud.example.com:5000/v3
      - name: nova on control1
        service: nova
        via: control1
        url: http://192.0.2.11:8774/
        expect: {status: [200, 300], body: v2.1}
    duration: 14000
  async: 14400
  poll: 0

- name: Discover the cloud
  openstack.upgrade_test.cloud_info:
    cloud: mycloud
  register: discovered

- name: Observe all of it, plainly and as a user
  openstack.upgrade_test.api_uptime:
    directory: /var/lib/upgrade-test/api_uptime
    targets: "{{ discovered.cloud_info.targets }}"
    cloud: mycloud-user
    duration: 14000
  async: 14400
  poll: 0

- name: End it
  openstack.upgrade_test.observer:
    state: stopped
    directory: /var/lib/upgrade-test/api_uptime
"""

RETURN = r"""
observer:
  description: The last heartbeat of the observer.
  returned: success
  type: dict
  contains:
    state:
      description: V(ended), or V(not started) in check mode.
      type: str
    message:
      description: The state in one sentence.
      type: str
    directory:
      description: Where the log lies.
      type: str
    alive_until:
      description: Time of the last heartbeat, in seconds since the epoch.
      type: float
    samples:
      description: How many probes were planned, void ones included.
      type: int
    counts:
      description: The same, by RV(ignore:up), RV(ignore:down) and RV(ignore:void).
      type: dict
observations:
  description: What was seen of each target in each mode.
  returned: success
  type: list
  elements: dict
  contains:
    target:
      description: Name, service, via, mode, address and auth, whether it was asked with a token.
      type: dict
    begin:
      description: Begin of the observation, in seconds since the epoch.
      type: float
    end:
      description: Its end.
      type: float
    interval:
      description: Seconds between planned probes.
      type: float
    counts:
      description: Probes that were up, down, slow or void. Slow ones are not counted as up again.
      type: dict
    coverage:
      description: Share of the planned probes that are not void.
      type: float
      sample: 1.0
    longest_gap:
      description: Longest time in seconds without a proof that the target was up. No outage that is not listed was
        longer.
      type: float
      sample: 0.118
    outages:
      description:
        - Each with the best guess of its RV(ignore:begin) and RV(ignore:end), the shortest (RV(ignore:lower)) and
          longest (RV(ignore:upper)) time
          in seconds that it can have lasted, the number and the kinds of failures, and a sentence.
        - RV(ignore:cause) is what it comes from, by what all other lanes saw at the same time, and RV(ignore:why) the
          sentence with the evidence. It is V(undetermined) where the evidence does not tell. The causes are
          V(observer), V(observer_path), V(load_balancer), V(one_instance) (a survived failover), V(all_instances),
          V(no_eviction), V(connection_draining), V(flow_state), V(token), V(no_first_byte) and V(syn_lost).
        - At most 50; the log keeps them all.
      type: list
      elements: dict
    outages_total:
      description: How many there were.
      type: int
    latency_ms:
      description: Quantiles of the time to the complete answer, in milliseconds.
      type: dict
      sample: {p50: 1.9, p95: 4.2, p99: 8.8, max: 23.1}
    kept_resets:
      description: How often a kept-alive connection was closed under a request that then succeeded on a new one. That
        is no outage.
      type: int
    not_recorded:
      description: How many of the void probes are void because the disk or O(max_bytes) did not let them be recorded.
      type: int
    latency_dropped:
      description: Of how many good probes the latency was given up for O(max_bytes). RV(ignore:latency_ms) is of the
        others.
      type: int
    ended:
      description: Whether the log has its last record.
      type: bool
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import CloudError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._control import note_failure
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import ProbeError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._options import (
    api_lanes,
    check_modes,
    check_rate,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._task import (
    ARGUMENTS,
    TLS_ARGUMENTS,
    plan_of,
    run_task,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._token_source import argument_spec, tokens_for

ARGUMENT_SPEC: dict[str, Any] = {
    "targets": {"type": "list", "elements": "dict", "required": True},
    "connections": {"type": "list", "elements": "str", "choices": ["new", "kept"], "default": ["new", "kept"]},
    "profile": {"type": "str", "choices": ["light", "standard", "precise"], "default": "standard"},
    "rate": {"type": "float"},
    "authenticated": {"type": "bool", "default": True},
    "authenticated_rate": {"type": "float", "default": 1.0},
    **TLS_ARGUMENTS,
    **ARGUMENTS,
    **argument_spec(),
}


def run(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Return the result; raises ProbeError or CloudError."""
    rate = check_rate(params["rate"], params["profile"])
    auth_rate = check_rate(params["authenticated_rate"], params["profile"], "authenticated_rate")
    plan = plan_of(params)
    asks_as_user = params["authenticated"] and params["cloud"]
    modes = check_modes(params["connections"])
    lanes = api_lanes(params["targets"], modes, rate, auth_rate=auth_rate if asks_as_user else 0)
    with tokens_for(params, needed=any(lane.auth for lane in lanes), only_check=check) as tokens:
        return run_task(replace(plan, tokens=tokens), lanes, check=check)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode)
    except (ProbeError, CloudError) as error:
        if not module.check_mode:
            note_failure(Path(module.params["directory"]), str(error))
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
