# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: instance_targets
author:
  - The openstack.upgrade_test contributors (@openstack)
short_description: Make a target of every API instance behind a load balancer
version_added: 0.1.0
description:
  - The published endpoint of a service says what users see; its instances, asked directly, say where it came from.
  - Returns one target for each instance, in the form that M(openstack.upgrade_test.api_uptime) takes. What is asked,
    and what answer counts as up, is taken from the published endpoint of the same service. An address with a path of
    its own is asked as it is, and any good status counts as up there.
  - Instances are asked without a token.
positional: _input, instances
options:
  _input:
    description: The targets that M(openstack.upgrade_test.cloud_info) returned.
    type: list
    elements: dict
    required: true
  instances:
    description: The instances, each with C(service), C(host) and C(url), usually without a path.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show all targets
  ansible.builtin.debug:
    msg: "{{ targets + targets | openstack.upgrade_test.instance_targets(instances) }}"
  vars:
    targets:
      - {name: nova public, service: nova, via: public, url: "http://10.0.0.10:8774/", expect: {status: [200]}}
    instances:
      - {service: nova, host: control1, url: "http://10.0.0.11:8774"}
"""

RETURN = r"""
_value:
  description: One target for each instance.
  type: list
  elements: dict
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ansible.errors import AnsibleFilterError

Target = dict[str, Any]


def instance_targets(targets: Iterable[Mapping[str, Any]], instances: Iterable[Mapping[str, Any]]) -> list[Target]:
    """Return a target for each instance, asked as the published endpoint of its service is asked."""
    published: dict[str, Mapping[str, Any]] = {}
    for target in targets:
        published.setdefault(target["service"], target)
    return [_target(instance, published) for instance in instances]


def _target(instance: Mapping[str, Any], published: Mapping[str, Mapping[str, Any]]) -> Target:
    missing = [key for key in ("service", "host", "url") if not instance.get(key)]
    if missing:
        raise AnsibleFilterError(f"upgrade_test_api_instances: {dict(instance)} lacks {', '.join(missing)}.")
    service, host = str(instance["service"]), str(instance["host"])
    if service not in published:
        known = ", ".join(sorted(published)) or "none"
        raise AnsibleFilterError(
            f"upgrade_test_api_instances: no service {service!r} is published by the cloud; there are: {known}."
        )
    model = published[service]
    url = _same_question(str(instance["url"]), str(model["url"]))
    # One lane an instance tells whether it answers; how kept connections fare shows at the published endpoint.
    target = {**model, "name": f"{service} {host}", "via": host, "url": url, "connections": ["new"]}
    if urlsplit(url).path.strip("/") != urlsplit(str(model["url"])).path.strip("/"):
        # Another question has another answer.
        target.pop("expect", None)
    return {key: value for key, value in target.items() if not key.startswith("auth_")}


def _same_question(address: str, question: str) -> str:
    """Return the question's path and query, asked at another address; an address with a path of its own keeps it."""
    own, asked = urlsplit(address), urlsplit(question)
    if own.scheme not in ("http", "https") or not own.netloc:
        raise AnsibleFilterError(f"upgrade_test_api_instances: {address!r} is no URL such as http://10.0.0.11:8774.")
    if own.path.strip("/"):
        return address
    return urlunsplit((own.scheme, own.netloc, asked.path or "/", asked.query, ""))


class FilterModule:
    """Ansible's way to find the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"instance_targets": instance_targets}
