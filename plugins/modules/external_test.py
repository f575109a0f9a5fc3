#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: external_test
short_description: Run a command as a test, and take over what it says of its tests
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Runs any command and makes outcomes of it. One for its exit code, or one for each test of the JUnit file or the
    subunit stream that it writes, with the traceback of those that failed.
  - A command that ran no test has shown nothing, whatever its exit code. For each service at least O(minimum) tests
    have to pass, and results that were there before the command began are not taken for its own.
  - It gets no credentials of the environment in which Ansible runs. Name them in O(environment), best as a cloud of a
    C(clouds.yaml), such as the one in the run directory of a user without special rights.
  - The output is kept without secrets in the run directory.
options:
  name:
    description:
      - What the tests are called in the report.
    type: str
    required: true
  service:
    description:
      - The service that the outcomes count for, where O(services) does not say otherwise.
    type: str
    required: true
  services:
    description:
      - For tests of several services, a regular expression for each service. A test is of the first service whose
        expression is found in its name.
      - Of each of these services at least O(minimum) tests have to pass.
    type: dict
    default: {}
  argv:
    description:
      - The command, as a list. There is no shell.
    type: list
    elements: str
    required: true
  chdir:
    description:
      - The folder in which the command runs.
    type: path
  environment:
    description:
      - Variables for the command. Not the place for secrets, as Ansible shows the options of a task.
    type: dict
    default: {}
  format:
    description:
      - Where the results come from. V(exit_code) makes one outcome of the whole command. V(junit), V(subunit), its
        version 2, and V(rally), a report in JSON, are read from O(results).
      - A workload of Rally is a test that passes when it keeps to its SLA; without one it is skipped.
      - V(subunit) needs the library python-subunit in the Python that runs this module.
    type: str
    choices: [exit_code, junit, subunit, rally]
    default: exit_code
  results:
    description:
      - File that the command writes its results to, from O(chdir). By default they are its output.
    type: path
  results_argv:
    description:
      - A second command that brings the results of the first one, as its output or into O(results).
    type: list
    elements: str
    default: []
  minimum:
    description:
      - How many tests have to pass, of each service.
    type: int
    default: 1
  every_service:
    description:
      - Whether O(minimum) is meant for each of O(services), or for all tests together.
    type: bool
    default: true
  slower:
    description:
      - How many times as long as before the upgrade a workload of Rally may take in the median. It is compared with the
        outcomes of the phase V(before) in O(run_dir). Without this option nothing is compared.
    type: float
  rc:
    description:
      - The exit codes with which the command may end.
    type: list
    elements: int
    default: [0]
  timeout:
    description:
      - Seconds that the command may take. Then it is ended with all that it has started, and has failed.
    type: float
    default: 3600
  once:
    description:
      - Whether the tests are meant for this phase only. Otherwise the judge misses those that passed before the upgrade
        and were not run after it.
    type: bool
    default: false
  run_dir:
    description:
      - The run directory. It keeps the output, in C(evidence/), and judges the services that are named.
    type: path
extends_documentation_fragment:
  - openstack.upgrade_test.attributes
  - openstack.upgrade_test.attributes.changes
  - openstack.upgrade_test.attributes.outcomes
"""

EXAMPLES = r"""
- name: Let a shop be opened in the cloud, and bought in
  openstack.upgrade_test.external_test:
    name: shop
    service: nova
    argv: [pytest, tests/shop, --junit-xml=results.xml]
    chdir: /opt/acceptance
    format: junit
    results: results.xml
    minimum: 12
    environment:
      OS_CLIENT_CONFIG_FILE: "{{ run.run_dir }}/clouds.yaml"
      OS_CLOUD: upgrade_test
    run_dir: "{{ run.run_dir }}"
    phase: after

- name: See that the name of the cloud resolves
  openstack.upgrade_test.external_test:
    name: name of the cloud
    service: keystone
    argv: [getent, hosts, cloud.example.org]
"""

RETURN = r"""
outcomes:
  description:
    - One entry for each test, with C(traceback) in the evidence of those that failed. One for each service, which says
      whether enough tests passed. Of more than 500 tests, those that passed are counted only.
  returned: always, unless an option was wrong
  type: list
  elements: dict
msg:
  description: How many passed, with the first that failed.
  returned: always
  type: str
rc:
  description: The exit code of the command; null when it took too long.
  returned: when it was run
  type: int
"""

import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._extension import put_under_test
from ansible_collections.openstack.upgrade_test.plugins.module_utils._external import (
    EXIT_CODE,
    Command,
    TestsError,
    Wanted,
    measured_before,
    outcomes,
    run,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import finish
from ansible_collections.openstack.upgrade_test.plugins.module_utils._redact import Redactor
from ansible_collections.openstack.upgrade_test.plugins.module_utils._results import READERS, ResultsError, need
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import OUTCOMES, RunDirectory, RunError

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "service": {"type": "str", "required": True},
    "services": {"type": "dict", "default": {}},
    "argv": {"type": "list", "elements": "str", "required": True},
    "chdir": {"type": "path"},
    "environment": {"type": "dict", "default": {}},
    "format": {"type": "str", "choices": [EXIT_CODE, *READERS], "default": EXIT_CODE},
    "results": {"type": "path"},
    "results_argv": {"type": "list", "elements": "str", "default": []},
    "minimum": {"type": "int", "default": 1},
    "every_service": {"type": "bool", "default": True},
    "slower": {"type": "float"},
    "rc": {"type": "list", "elements": "int", "default": [0]},
    "timeout": {"type": "float", "default": 3600},
    "once": {"type": "bool", "default": False},
    "run_dir": {"type": "path"},
    "phase": {"type": "str", "default": ""},
    "collect": {"type": "bool", "default": False},
}


def command_of(params: dict[str, Any]) -> Command:
    """Return the command; TestsError when an option cannot work."""
    if not params["argv"]:
        raise TestsError("argv: has to name a command.")
    if params["chdir"] and not Path(params["chdir"]).is_dir():
        raise TestsError(f"chdir: there is no folder {params['chdir']}.")
    for option in ("results", "results_argv"):
        if params[option] and params["format"] == EXIT_CODE:
            raise TestsError(f"{option}: goes with a format other than {EXIT_CODE}.")
    need(params["format"])
    return Command(
        argv=params["argv"],
        format=params["format"],
        results=Path(params["chdir"] or ".", params["results"]) if params["results"] else None,
        results_argv=params["results_argv"],
        chdir=params["chdir"],
        environment={key: str(value) for key, value in params["environment"].items()},
        timeout=params["timeout"],
    )


def wanted_of(params: dict[str, Any]) -> Wanted:
    """Return what it takes to be good; TestsError when an expression is none."""
    services = {}
    for service, expression in params["services"].items():
        try:
            services[service] = re.compile(str(expression))
        except re.error as problem:
            raise TestsError(f"services: {expression!r} of {service} is no regular expression: {problem}.") from None
    return Wanted(
        name=params["name"],
        service=params["service"],
        services=services,
        minimum=params["minimum"],
        every_service=params["every_service"],
        slower=params["slower"],
        once=params["once"],
        rc=params["rc"],
        phase=params["phase"],
    )


def work(module: AnsibleModule) -> None:
    """Run the command, and return."""
    params = module.params
    command, wanted = command_of(params), wanted_of(params)
    directory = RunDirectory(params["run_dir"]) if params["run_dir"] else None
    if module.check_mode:
        module.exit_json(changed=True, outcomes=[], msg=f"Would run {' '.join(command.argv)}.")
    if directory:
        named = [*wanted.services] if wanted.every_service else []
        put_under_test(directory, named or [wanted.service])
    ran = run(command, wanted.name, directory)
    redactor = directory.redactor if directory else Redactor()
    before = measured_before(wanted, directory.read(OUTCOMES)) if directory and wanted.slower else {}
    found = outcomes(wanted, ran, command.format, redactor, before)
    finish(module, found, changed=True, rc=ran.rc)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        work(module)
    except (TestsError, ResultsError, RunError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
