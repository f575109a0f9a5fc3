#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: expectation
short_description: Check expectations of your own, stated as JMESPath expressions
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Evaluates each expression over O(data), which may be anything that was discovered or that a task has returned, and
    makes an outcome of it, with what was found.
  - Nothing is good only because nobody looked. What could not be discovered is null in the data. An expression whose
    result is null is V(unknown), and so is one that names a field which occurs nowhere in the data.
  - A mistake in an expression fails the task and names the entry.
options:
  data:
    description:
      - What to look at.
      - Without it, the expressions are checked for mistakes and nothing else happens.
    type: dict
  expectations:
    description:
      - What is expected. The outcome has the name of the expectation as its subject.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - What is expected, in words, for example V(all agents are alive).
        type: str
        required: true
      service:
        description:
          - The service whose verdict it counts for.
        type: str
        required: true
      query:
        description:
          - A JMESPath expression.
        type: str
        required: true
      must_be:
        description:
          - What its result has to be. By default V(equal) when O(expectations[].value) is set, else V(empty).
        type: str
        choices: [empty, filled, 'true', equal]
      value:
        description:
          - The value that the result has to equal.
        type: raw
  run_dir:
    description:
      - The run directory. When it is given, the services of the expectations are judged by the run, also those that the
        collection does not know.
    type: path
extends_documentation_fragment:
  - openstack.upgrade_test.attributes
  - openstack.upgrade_test.attributes.read_only
  - openstack.upgrade_test.attributes.outcomes
requirements:
  - jmespath
"""

EXAMPLES = r"""
- name: Discover the cloud
  openstack.upgrade_test.cloud_info:
    cloud: mycloud
  register: discovered

- name: See that it is as we want it
  openstack.upgrade_test.expectation:
    data: "{{ discovered.cloud_info }}"
    expectations:
      - name: all agents are alive
        service: neutron
        query: agents[?!is_alive]
      - name: three hosts can take servers
        service: nova
        query: length(compute_services[?binary == 'nova-compute' && is_enabled])
        value: 3
"""

RETURN = r"""
outcomes:
  description: One entry for each expectation; C(found) is what the expression gave, cut when it is long.
  returned: always, unless an expression has a mistake
  type: list
  elements: dict
msg:
  description: How many held, with the first that did not.
  returned: always
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._expect import (
    MUST_BE,
    Expectation,
    ExpectationError,
    judge,
    read_expectations,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._extension import put_under_test
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, finish
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory, RunError

VALIDATOR = "expectation"
CHECK = "as_expected"
EXPECTATION: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "service": {"type": "str", "required": True},
    "query": {"type": "str", "required": True},
    "must_be": {"type": "str", "choices": list(MUST_BE)},
    "value": {"type": "raw"},
}
ARGUMENT_SPEC: dict[str, Any] = {
    "data": {"type": "dict"},
    "expectations": {"type": "list", "elements": "dict", "required": True, "options": EXPECTATION},
    "run_dir": {"type": "path"},
    "phase": {"type": "str", "default": ""},
    "collect": {"type": "bool", "default": False},
}


def outcome_of(expectation: Expectation, data: Any, phase: str) -> Outcome:
    """Return what became of an expectation."""
    judgement = judge(expectation, data)
    return Outcome(
        validator=VALIDATOR,
        check=CHECK,
        service=expectation.service,
        subject=expectation.name,
        status=judgement.status,
        message=judgement.message,
        phase=phase,
        expected=expectation.expected(),
        found=judgement.found,
        evidence={"query": expectation.query},
    )


def run(module: AnsibleModule) -> None:
    """Check the expectations, and return."""
    params = module.params
    expectations = read_expectations(params["expectations"])
    if params["data"] is None:
        module.exit_json(changed=False, outcomes=[], msg=f"{len(expectations)} expressions have no mistake.")
    if params["run_dir"] and not module.check_mode:
        put_under_test(RunDirectory(params["run_dir"]), [one.service for one in expectations])
    finish(module, [outcome_of(one, params["data"], params["phase"]) for one in expectations])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        run(module)
    except (ExpectationError, RunError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
