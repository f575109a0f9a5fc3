#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: outcome
short_description: Record what a check of your own came to
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Makes one outcome of one check of one subject, in the form that all validators of the collection use. The callback
    P(openstack.upgrade_test.upgrade_report#callback) files it in the run directory, and the judge and the report take
    it from there.
  - Task files of a service of your own use it when one phase has several checks worth telling apart.
options:
  service:
    description:
      - The service that the check is about, as in C(service.yml).
    type: str
    required: true
  check:
    description:
      - Name of the check, in small letters and underscores, the same in every run.
    type: str
    required: true
  subject:
    description:
      - What was looked at, for example the name of a resource.
    type: str
    required: true
  status:
    description:
      - V(pass), or V(fail) when the cloud is not as expected, V(error) when the check itself broke, V(skip) when it
        does not apply here, V(unknown) when it could not be seen, which is never counted as good.
    type: str
    choices: [pass, fail, error, skip, unknown]
    required: true
  sentence:
    description:
      - One sentence that names the subject.
    type: str
    required: true
  host:
    description:
      - The host of the subject, if it has one.
    type: str
    default: ""
  expected:
    description:
      - What was expected.
    type: raw
  found:
    description:
      - What was found.
    type: raw
  evidence:
    description:
      - More that helps to understand it; no secrets.
    type: dict
    default: {}
extends_documentation_fragment:
  - openstack.upgrade_test.attributes
  - openstack.upgrade_test.attributes.read_only
  - openstack.upgrade_test.attributes.outcomes
"""

EXAMPLES = r"""
- name: Tell whether the notice is still the same
  openstack.upgrade_test.outcome:
    service: bulletin
    check: notice_unchanged
    subject: "{{ notice.id }}"
    status: "{{ 'pass' if answer.content == notice.text else 'fail' }}"
    sentence: "The notice {{ notice.id }} reads {{ answer.content }}."
    expected: "{{ notice.text }}"
    found: "{{ answer.content }}"
    phase: "{{ upgrade_test_extension.phase }}"
    collect: true
"""

RETURN = r"""
outcomes:
  description: The outcome.
  returned: always
  type: list
  elements: dict
msg:
  description: Its sentence.
  returned: always
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status, finish

VALIDATOR = "extension"
FIELDS = ("service", "check", "subject", "host", "expected", "found", "evidence", "phase")
ARGUMENT_SPEC: dict[str, Any] = {
    "service": {"type": "str", "required": True},
    "check": {"type": "str", "required": True},
    "subject": {"type": "str", "required": True},
    "status": {"type": "str", "choices": ["pass", "fail", "error", "skip", "unknown"], "required": True},
    "sentence": {"type": "str", "required": True},
    "host": {"type": "str", "default": ""},
    "expected": {"type": "raw"},
    "found": {"type": "raw"},
    "evidence": {"type": "dict", "default": {}},
    "phase": {"type": "str", "default": ""},
    "collect": {"type": "bool", "default": False},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    given = {name: module.params[name] for name in FIELDS}
    status, sentence = Status(module.params["status"]), module.params["sentence"]
    outcome = Outcome(validator=VALIDATOR, status=status, message=sentence, **given)
    finish(module, [outcome], msg=outcome.message)


if __name__ == "__main__":
    main()
