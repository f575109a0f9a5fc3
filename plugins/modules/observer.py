#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: observer
short_description: Look at an observer, end it or export what it recorded
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Observers run in the background. This module reads the heartbeat of one, or asks it to end and waits until it has.
  - It runs on the host of the observer. An observer whose process is gone without a last record is V(lost), and never
    waited for.
options:
  state:
    description:
      - V(status) only reads. V(stopped) writes the stop file and waits. Stopping what has ended changes nothing.
      - V(exported) writes the log to O(dest) as it is by then. That works with a copy of the folder, too, such as
        the one in a run directory.
    type: str
    choices: [status, stopped, exported]
    default: status
  directory:
    description:
      - The folder that the observer was given.
    type: path
    required: true
  dest:
    description:
      - The file to write with O(state=exported), as lines of JSON that all have C(kind) and C(time) (seconds since the
        epoch).
      - 'A C(second) is what came of the probes of one target in one second: how many were C(up), C(slow), C(down) and
        C(void), and the latencies of the answers as pairs of microseconds and number, from the actual moment of
        sending (C(sent_us)) and from the planned one (C(planned_us)). The latencies of C(dropped) answers were given
        up.'
      - 'A C(sample) is one probe that was not plainly good, a C(run) the begin of a session or of a new file of the
        log, an C(end) the orderly end.'
      - A file that is there is replaced.
    type: path
  timeout:
    description:
      - Seconds to wait for the end. The observer itself waits for probes that are under way.
    type: float
    default: 30
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    details:
      - The observer goes on and nothing is written; the result says whether it would be ended.
  diff_mode:
    support: none
    details:
      - The result has all there is.
  platform:
    support: full
    platforms: linux
"""

EXAMPLES = r"""
- name: See whether the observer lives and what is down now
  openstack.upgrade_test.observer:
    directory: /var/lib/upgrade-test/api_uptime
  register: api_uptime

- name: End it
  openstack.upgrade_test.observer:
    state: stopped
    directory: /var/lib/upgrade-test/api_uptime

- name: Get everything that was recorded in a run
  openstack.upgrade_test.observer:
    state: exported
    directory: upgrade-test-runs/latest/samples/api_uptime/localhost
    dest: api_uptime.jsonl
  delegate_to: localhost
"""

RETURN = r"""
observer:
  description: What is known of the observer.
  returned: success
  type: dict
  contains:
    state:
      description:
        - V(running), V(ended), or V(lost) when its process is gone (killed, rebooted) or never came to life.
      type: str
    message:
      description: The state in one sentence.
      type: str
    directory:
      description: Its folder.
      type: str
    started:
      description: When it started, in seconds since the epoch, V(0.0) when it is not known.
      type: float
    alive_until:
      description: Its last heartbeat, in seconds since the epoch, V(0.0) when there was none.
      type: float
    samples:
      description: How many probes were planned so far, void ones included.
      type: int
    counts:
      description: The same by kind.
      type: dict
    down:
      description: Targets that were down at the last heartbeat, with kind and age in seconds.
      type: list
      elements: dict
    pid:
      description: Its process.
      type: int
    scheduler:
      description: How it is scheduled, such as V(normal) or V(fifo), and what was refused.
      type: str
    log:
      description:
        - The C(size) of the log and its C(limit) in bytes, and the state of the C(compactor) that keeps it small
          (V(running), V(ended), V(died), V(not started)).
        - C(without_latency) is how many files of the log have no latencies any more, C(good_not_recorded) whether good
          probes are not recorded for now, C(trouble) what the compactor could not do.
      type: dict
    log_error:
      description: Why the last record could not be written, if so.
      type: str
    local_error:
      description: Why the observer's own host refused to send probes since the heartbeat before, if it did.
      type: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._control import report, stop
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import ProbeError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._seconds import export_to

ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["status", "stopped", "exported"], "default": "status"},
    "directory": {"type": "path", "required": True},
    "dest": {"type": "path"},
    "timeout": {"type": "float", "default": 30.0},
}

REQUIRED_IF = [("state", "exported", ["dest"])]


def run(params: dict[str, Any], check: bool) -> tuple[dict[str, Any], bool]:
    """Return (report, changed); raises ProbeError."""
    directory = Path(params["directory"])
    if params["state"] == "stopped" and not check:
        return stop(directory, params["timeout"])
    if params["state"] == "exported":
        if not check:
            export_to(directory, Path(params["dest"]))
        return report(directory), True
    found = report(directory)
    return found, params["state"] == "stopped" and found["state"] == "running"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, required_if=REQUIRED_IF, supports_check_mode=True)
    try:
        found, changed = run(module.params, module.check_mode)
    except ProbeError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, observer=found)


if __name__ == "__main__":
    main()
