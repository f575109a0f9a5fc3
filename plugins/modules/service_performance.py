#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: service_performance
short_description: Measure how fast operations are before, during and after an upgrade
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Sends GET requests on a fixed schedule, whatever the earlier ones do, and measures each from the moment at which it
    was to be sent, as a user would who does not wait for others, and from the moment at which it was sent.
  - From these it makes quantiles for each window of time, and the ratios of later windows to the one before, each with
    an interval in which it lies with 95 % confidence, by a bootstrap that takes slow requests in a bunch for one event.
  - A request that failed counts as slower than every answer.
  - Beside the operations it measures how fast the observing host answers itself (the canary), so that its own slowness
    is not taken for that of the cloud.
options:
  state:
    description:
      - V(observed) measures and, at its end, compares.
      - V(compared) sends nothing. It compares what was measured before, for example with other O(windows).
    type: str
    choices: [observed, compared]
    default: observed
  operations:
    description:
      - What to measure. C(operations) of M(openstack.upgrade_test.cloud_info) has this form.
      - 'Each is a dictionary with the keys C(name) and C(url), and optionally C(service), C(via)
        (how the service is reached: V(public), or the name of the instance), C(authenticated) (whether it is asked with
        a token, default V(false)), C(expect) and C(connections) (as O(connections), for this operation).'
      - 'C(expect) is a dictionary with C(status), a list of the HTTP statuses that count as success (default: all 2xx
        and 3xx), and C(body), a text that the response must contain.'
      - Required with O(state=observed).
    type: list
    elements: dict
  connections:
    description:
      - How to connect. V(new) opens a connection for each request, as most clients do. V(kept) sends request after
        request over one.
      - Each mode of each operation is measured on its own.
    type: list
    elements: str
    choices: [new, kept]
    default: [new]
  rate:
    description:
      - Requests per second of each operation in each mode.
      - A ratio of the 99th percentile needs 500 requests in both windows, one of the 95th 100, one of the median 10.
    type: float
    default: 2
  run_dir:
    description:
      - A run directory, whose phases C(before), C(upgrade) and C(after) are the windows V(before), V(during) and
        V(after).
    type: path
  windows:
    description:
      - The windows, instead of the phases of O(run_dir). Without both the whole time is one window.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the window. V(during) and V(after) are compared with V(before); others stand alone.
        type: str
        required: true
      begin:
        description: Its begin, in seconds since the epoch.
        type: float
        required: true
      end:
        description: Its end.
        type: float
        required: true
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - openstack.upgrade_test.observer
  - openstack.upgrade_test.observer.tls
  - openstack.upgrade_test.observer.user
seealso:
  - module: openstack.upgrade_test.api_uptime
  - module: openstack.upgrade_test.cloud_info
"""

EXAMPLES = r"""
- name: Discover the cloud
  openstack.upgrade_test.cloud_info:
    cloud: mycloud
  register: discovered

- name: Measure all operations in the background
  openstack.upgrade_test.service_performance:
    directory: /var/lib/upgrade-test/service_performance
    operations: "{{ discovered.cloud_info.operations }}"
    cloud: mycloud-user
    duration: 14000
  async: 14400
  poll: 0

- name: Compare two hours of it, as often as you like
  openstack.upgrade_test.service_performance:
    state: compared
    directory: /var/lib/upgrade-test/service_performance
    windows:
      - {name: before, begin: 1795168380, end: 1795171980}
      - {name: during, begin: 1795171980, end: 1795175580}
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
windows:
  description: The windows that were compared, with name, begin and end.
  returned: success
  type: list
  elements: dict
performance:
  description: Each operation in each mode, and the canary as the last one, whose mode is V(canary).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the operation.
      type: str
    service:
      description: Name of the service.
      type: str
    via:
      description: How the service was reached.
      type: str
    mode:
      description: How it was connected.
      type: str
    auth:
      description: Whether it was asked with a token.
      type: bool
    windows:
      description: What was measured in each window, by its name.
      type: dict
      contains:
        requests:
          description: Requests that were answered or failed.
          type: int
        failed:
          description: Those that failed.
          type: int
        void:
          description: Those that were planned, but not sent.
          type: int
        dropped:
          description: Those that were answered, but whose latency was given up to keep the log small.
          type: int
        coverage:
          description: Share of the planned requests that is not void.
          type: float
        planned_ms:
          description: Quantiles from the planned moment, in milliseconds, null where requests failed instead.
          type: dict
          sample: {p50: 11.9, p95: 24.2, p99: 48.8, max: 63.1}
        sent_ms:
          description: The same from the moment of sending.
          type: dict
        seconds:
          description: Seconds in which something was to be sent.
          type: int
        seconds_above:
          description: Those of them with an answer that took longer than O(slow_after).
          type: int
    ratios:
      description:
        - Of the windows V(during) and V(after) to V(before), by quantile, the ratio and the bounds between which it
          lies, null where it is infinite because requests failed.
        - A quantile is missing when there were too few requests for it.
      type: dict
      sample: {during: {p50: [1.4, 1.2, 1.7]}}
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import CloudError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._facts import Facts, phases_of
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._performance import windows_of
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._control import note_failure, report
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import LaneSpec, ProbeError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._observer import Plan, observe
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._options import (
    check_modes,
    check_positive,
    check_rate,
    operation_lanes,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._performance import Window, compare
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._seconds import read_seconds
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._task import (
    ARGUMENTS,
    TLS_ARGUMENTS,
    described,
    plan_of,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import EVENTS, RunDirectory, RunError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._token_source import argument_spec, tokens_for

ALWAYS = Window("whole", 0.0, float("inf"))
WINDOW = {
    "name": {"type": "str", "required": True},
    "begin": {"type": "float", "required": True},
    "end": {"type": "float", "required": True},
}
ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["observed", "compared"], "default": "observed"},
    "operations": {"type": "list", "elements": "dict"},
    "connections": {"type": "list", "elements": "str", "choices": ["new", "kept"], "default": ["new"]},
    "rate": {"type": "float", "default": 2.0},
    "run_dir": {"type": "path"},
    "windows": {"type": "list", "elements": "dict", "options": WINDOW},
    **TLS_ARGUMENTS,
    **ARGUMENTS,
    **argument_spec(),
}


def run(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Return the result; raises ProbeError, CloudError or RunError."""
    windows = given_windows(params["windows"]) if params["windows"] else []
    observing = params["state"] == "observed"
    # In check mode no run is opened.
    record = RunDirectory(params["run_dir"]) if params["run_dir"] and not (check and observing) else None
    directory, slow = Path(params["directory"]), check_positive(params["slow_after"], "slow_after")
    if observing:
        plan, lanes = planned(params)
        with tokens_for(params, needed=any(lane.auth for lane in lanes), only_check=check) as tokens:
            if check:
                return {"observer": described(plan, lanes), "windows": [], "performance": []}
            observe(replace(plan, tokens=tokens), lanes)
    if not windows and record:
        phases = phases_of(sorted(record.read(EVENTS), key=lambda event: float(event.get("time", 0))))
        windows = windows_of(Facts(run={}, phases=phases).spans_of_phases(now=time.time()))
    return {
        "observer": report(directory),
        "windows": [window._asdict() for window in windows],
        "performance": [one.as_record() for one in compare(read_seconds(directory), windows or [ALWAYS], slow)],
    }


def planned(params: dict[str, Any]) -> tuple[Plan, list[LaneSpec]]:
    """Return what to do, from checked options."""
    plan = plan_of(params)
    modes, rate = check_modes(params["connections"]), check_rate(params["rate"], "")
    return plan, operation_lanes(params["operations"], modes, rate, token=bool(params["cloud"]))


def given_windows(given: Sequence[dict[str, Any]]) -> list[Window]:
    """Return the windows that were given; ProbeError for one that is none."""
    windows = [Window(**one) for one in given]
    for number, window in enumerate(windows):
        if not 1 <= window.end - window.begin < float("inf"):
            raise ProbeError(f"windows[{number}]: must end at least a second after its begin")
        if [one.name for one in windows].count(window.name) > 1:
            raise ProbeError(f"windows: '{window.name}' is there twice; each name must be unique")
    return windows


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[("state", "observed", ["operations"])],
    )
    try:
        result = run(module.params, module.check_mode)
    except (ProbeError, CloudError, RunError) as error:
        if not module.check_mode and module.params["state"] == "observed":
            note_failure(Path(module.params["directory"]), str(error))
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
