#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: verdict
short_description: Judge a test run
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Evaluates the checklists of the upgrade tags for each service, from what a run directory holds, and writes
    C(results.json) there.
  - The same run directory always gets the same results. The cloud is not asked, so this can be repeated at any time
    and place.
  - What was not measured is V(NOT PROVEN), never good.
  - When it has passed by, the callback P(openstack.upgrade_test.upgrade_report#callback) writes the report.
  - Close the run first. A run that was not closed is reported as interrupted and never V(met).
options:
  run_dir:
    description:
      - The run directory.
    type: path
    required: true
  claims:
    description:
      - Which upgrade tags the verdict is about. All tags are evaluated and reported.
    type: list
    elements: str
    choices: [upgrade, accessible, rolling, zero_downtime, zero_impact]
    default: [rolling, zero_downtime, zero_impact]
  attestations:
    description:
      - What a person vouches for because no run can show it.
      - It turns V(NOT PROVEN) into V(ATTESTED), and never hides what was seen to fail.
    type: list
    elements: dict
    default: []
    suboptions:
      requirement:
        description: The id in the checklist, such as V(U5).
        type: str
        required: true
      service:
        description: The service. Every service when it is left out.
        type: str
        default: ""
      by:
        description: Who vouches for it.
        type: str
        required: true
      url:
        description: Where it can be looked up.
        type: str
        required: true
      date:
        description: When it was attested.
        type: str
        default: ""
  fail_on:
    description:
      - The task fails when the verdict is V(not_met), when it is V(not_met) or V(inconclusive), only when judging
        itself breaks (V(error)), or V(never).
    type: str
    choices: [not_met, inconclusive, error, never]
    default: not_met
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    description:
      - The run is judged, but nothing is written.
  diff_mode:
    support: none
  platform:
    support: full
    platforms: posix
"""

EXAMPLES = r"""
- name: Judge the run
  openstack.upgrade_test.verdict:
    run_dir: upgrade-test-runs/latest
    claims: [rolling, zero_downtime]
    fail_on: inconclusive
"""

RETURN = r"""
verdict:
  description: One of V(met), V(not_met) or V(inconclusive), over all O(claims).
  returned: when the run could be judged
  type: str
headline:
  description: The verdict and its first reason in one line.
  returned: when the run could be judged
  type: str
  sample: NOT MET - zero downtime, zero impact - neutron public down 2.0 s
results_file:
  description: The file with all results.
  returned: when the run could be judged
  type: str
findings:
  description: What an operator should know, most important first.
  returned: when the run could be judged
  type: list
  elements: dict
  contains:
    id:
      description: The id of the finding in this run.
      type: str
      sample: OUT-1
    kind:
      description: What it is, as a stable code.
      type: str
      sample: outage.refused
    severity:
      description: One of V(fail), V(warning) or V(note).
      type: str
    what:
      description: What happened.
      type: str
    hint:
      description: What to try.
      type: str
claims:
  description: The verdict of each upgrade tag, by its name.
  returned: when the run could be judged
  type: dict
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._policy import (
    CLAIMS,
    KNOWN_CLAIMS,
    REQUIREMENTS,
    Attestation,
    Policy,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._verdict import judge_run
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory, RunError

RESULTS = "results.json"
TOLD = ("id", "kind", "severity", "service", "subject", "what", "phase", "begin", "seconds", "hint")
BAD = {"not_met": ("not_met",), "inconclusive": ("not_met", "inconclusive"), "error": (), "never": ()}


def policy_of(params: dict[str, Any]) -> Policy:
    """Return the policy of these options, or raise RunError that names a wrong one."""
    known = {requirement.id for requirement in REQUIREMENTS}
    for one in params["attestations"]:
        if one["requirement"] not in known:
            raise RunError(
                f"attestations: {one['requirement']!r} is no requirement; known: {', '.join(sorted(known))}."
            )
    attestations = tuple(Attestation(**one) for one in params["attestations"])
    return Policy(claims=tuple(params["claims"]), attestations=attestations)


def judged(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Judge the run, write the results unless this is only a check, and return the module's result."""
    policy = policy_of(params)
    run = RunDirectory(params["run_dir"])
    if not run.document:
        raise RunError(f"run_dir: {run.path} has no readable run.json, so it is not a run directory.")
    results = run.redactor.value(judge_run(run, policy))
    if not check:
        run.write_json(RESULTS, results)
    return {
        "changed": False,
        "verdict": results["verdict"],
        "headline": results["headline"],
        "results_file": str(run.path / RESULTS),
        "run_dir": str(run.path),
        "findings": [{key: one[key] for key in TOLD} for one in results["findings"]],
        "claims": {claim["id"]: claim["verdict"] for claim in results["claims"]},
    }


def main() -> None:
    attestation = {
        "requirement": {"type": "str", "required": True},
        "service": {"type": "str", "default": ""},
        "by": {"type": "str", "required": True},
        "url": {"type": "str", "required": True},
        "date": {"type": "str", "default": ""},
    }
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "claims": {"type": "list", "elements": "str", "choices": list(KNOWN_CLAIMS), "default": list(CLAIMS)},
            "attestations": {"type": "list", "elements": "dict", "options": attestation, "default": []},
            "fail_on": {"type": "str", "choices": list(BAD), "default": "not_met"},
        },
        supports_check_mode=True,
    )
    fail_on = module.params["fail_on"]
    if module.check_mode and not Path(module.params["run_dir"]).is_dir():
        module.exit_json(changed=False, msg="There is no run directory yet, as check mode opens no run.")
    try:
        result = judged(module.params, module.check_mode)
    except (RunError, OSError) as error:
        if fail_on == "never":
            module.exit_json(changed=False, msg=str(error))
        module.fail_json(msg=str(error))
    if result["verdict"] in BAD[fail_on]:
        module.fail_json(msg=f"Verdict: {result['headline']}", **result)
    module.exit_json(msg=f"Verdict: {result['headline']}", **result)


if __name__ == "__main__":
    main()
