#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: data_plane
short_description: Observe whether servers in the cloud can be reached
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Sends ICMP echoes, and optionally TCP connects and HTTP requests, to addresses of servers on a fixed schedule, and
    records each of them. One connection can be held open throughout, to see whether it survives.
  - From these it finds outages, each with a lower and an upper bound of its length that the probes prove.
  - ICMP needs root on the observing host, or its group inside the sysctl C(net.ipv4.ping_group_range).
options:
  targets:
    description:
      - What to observe. Each is a dictionary with the keys C(name) and C(address) (sent ICMP echoes), and optionally
        C(service), C(via),
        C(tcp_port) (a port of the address to connect to), C(url) (sent GET requests, each over a new connection),
        C(stream) and C(expect).
      - 'C(stream) names what one TCP connection is held open to for the whole run: C(http://host:port/path) is sent
        GET requests, C(echo://host:port) lines that the service must send back. When the connection ends without having
        been announced by HTTP, that is an outage of the kind C(flow_broken); it is then opened again, and
        RV(ignore:kept_resets) counts how often. Through an outage it is kept, as TCP may recover; after 60 seconds of
        silence it is given up. A service that closes the connection after each response is recorded as void: there is
        no flow that could survive.'
      - 'C(expect) is a dictionary with C(status), a list of the HTTP statuses that count as up
        (default: all 2xx and 3xx), and C(body), a text that
        the response must contain.'
    type: list
    elements: dict
    required: true
  rate:
    description:
      - Probes per second of each kind to each target.
    type: float
    default: 5
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - openstack.upgrade_test.observer
"""

EXAMPLES = r"""
- name: Observe a server in the background
  openstack.upgrade_test.data_plane:
    directory: /var/lib/upgrade-test/data_plane
    targets:
      - name: server
        service: nova
        address: 203.0.113.17
        tcp_port: 22
        url: http://203.0.113.17/
        stream: http://203.0.113.17/
    duration: 14000
  async: 14400
  poll: 0
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
      description: Name, service, via, mode and address.
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

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._control import note_failure
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import ProbeError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._options import (
    check_rate,
    data_lanes,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._task import (
    ARGUMENTS,
    plan_of,
    run_task,
)

ARGUMENT_SPEC: dict[str, Any] = {
    "targets": {"type": "list", "elements": "dict", "required": True},
    "rate": {"type": "float", "default": 5.0},
    **ARGUMENTS,
}


def run(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Return the result; raises ProbeError."""
    plan = plan_of(params)
    lanes = data_lanes(params["targets"], check_rate(params["rate"], ""))
    return run_task(plan, lanes, check=check)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode)
    except ProbeError as error:
        if not module.check_mode:
            note_failure(Path(module.params["directory"]), str(error))
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
