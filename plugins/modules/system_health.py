#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: system_health
short_description: Say how healthy the services of a cloud are
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Looks at the catalogue, at each published endpoint of every region, and at what each service says of its parts.
  - Each endpoint has to offer the version that its URL names, and to serve a user's request as this service does. So an
    endpoint that leads to nothing or to another service is found.
  - An agent is healthy when it is alive and has reported anew since this check began. So an agent that is dead inside
    while its process lives is found, although the API calls it alive for some time. The check waits for these reports
    and ends as soon as all have come.
  - Without the rights of an administrator, what only an administrator may see is V(skip).
  - What M(openstack.upgrade_test.health_evidence) found on the hosts is judged as well. What only a host could tell is
    V(unknown) where there is no access to one, which fails nothing.
options:
  services:
    description:
      - The services to look at. By default all that the catalogue has, of those that this collection knows.
    type: list
    elements: str
  depth:
    description:
      - V(quick) takes seconds. It looks at each agent once, so it believes what the API says of it.
      - V(normal) looks at each agent twice, expects of the hosts what the services' own commands say, and has the
        ordinary user go through a cycle with each service, in which he makes, uses and removes something. This is a
        credential, an image, a network with DHCP, a volume of each type, an object, a server, a stack.
      - V(deep) has him start a server on each compute host besides, and give a new server a new volume. He chooses no
        host, as only an administrator may; his servers are kept apart, until each host has one.
    type: str
    choices: [quick, normal, deep]
    default: normal
  releases:
    description:
      - Ask the APIs for their releases as well, as M(openstack.upgrade_test.release_version) does with C(look_at=apis),
        with the same login and at the same time. By default they are not asked.
    type: dict
    suboptions:
      release:
        description:
          - The release to expect, by number (V(2026.1)) or codename. During an upgrade name both.
          - V(any), or nothing, means whatever it is.
        type: list
        elements: str
        default: []
      builds:
        description:
          - The version or the commit that has to run, by the name of the service, where it is a build from a branch.
        type: dict
        default: {}
      instances:
        description:
          - The API instances behind the load balancer, to ask directly. Each has C(service), C(host) and C(url).
        type: list
        elements: dict
        default: []
      processes:
        description:
          - The processes that were found on all hosts, which the APIs have to fit.
        type: list
        elements: dict
        default: []
      samples:
        description:
          - How often each endpoint is asked.
        type: int
        default: 4
  server_image:
    description:
      - Name or id of the image to start servers from; may be left out when there is only one.
    type: str
  server_flavor:
    description:
      - Name or id of the flavor of servers. By default the smallest.
    type: str
  availability_zone:
    description:
      - The zone of the server of V(normal).
    type: str
  timeout:
    description:
      - Seconds that each step of a cycle may take.
    type: float
    default: 180
  run_dir:
    description:
      - The run directory. With it, the user of the run is the ordinary user who is let in or not.
      - In the phase V(before) agents, errors in logs and configuration files are remembered in it. In the phase
        V(after) those agents are expected again, and errors and options are new that were not there before.
    type: path
  user_cloud:
    description:
      - Name in clouds.yaml of a cloud whose user has no special rights. He is let in or not, and served or not, by each
        service. The user of the run goes before him.
    type: str
  hosts:
    description:
      - Names of all hosts of the cloud, as far as they are known. A dead agent on any other host is told to be the
        record of a host that is gone. One that is not in O(evidence) is V(unknown).
    type: list
    elements: str
    default: []
  evidence:
    description:
      - What M(openstack.upgrade_test.health_evidence) returned as C(evidence) on the hosts, once or several times on
        each. C(host) names the host as in O(hosts). With C(sent) and C(received), the controller's time around the
        task, the host's clock is compared with that of the controller.
    type: list
    elements: dict
    default: []
  judge_hosts:
    description:
      - Whether to say what the hosts told, or that they told nothing. Looks that go to no host leave that to others.
    type: bool
    default: true
  clock_limit:
    description:
      - Seconds by which the clock of a host may differ from that of the controller.
    type: float
    default: 5
  certificate_days:
    description:
      - Days for which the certificates of the endpoints have to last, and those of the authorities in the cloud's file.
    type: float
    default: 14
  ignore_options:
    description:
      - Options that a configuration may set although the code does not know them, each as C(section/option). These are
        options of drivers from elsewhere, or of the next release.
    type: list
    elements: str
    default: []
  agent_wait:
    description:
      - Seconds to wait for a new report of each agent. Should be longer than the interval in which agents report.
      - Nothing is waited for with O(depth=quick).
    type: float
    default: 75
  expected_agents:
    description:
      - Agents that must exist, each with C(binary) and C(host), as M(openstack.upgrade_test.cloud_info) lists them and
        the compute services. One that the cloud does not know fails.
    type: list
    elements: dict
    default: []
extends_documentation_fragment:
  - openstack.upgrade_test.cloud
  - openstack.upgrade_test.attributes
  - openstack.upgrade_test.attributes.outcomes
attributes:
  check_mode:
    support: full
    details:
      - Goes through no cycles, and remembers nothing.
  diff_mode:
    support: none
    details:
      - What a cycle makes it removes again.
"""

EXAMPLES = r"""
- name: Fail when a service or an agent is not healthy
  openstack.upgrade_test.system_health:
    cloud: mycloud

- name: Quickly, and that the APIs fit the release
  openstack.upgrade_test.system_health:
    cloud: mycloud
    depth: quick
    releases:
      release: 2026.1

- name: Look at it and go on, whatever there is
  openstack.upgrade_test.system_health:
    cloud: mycloud
    collect: true
    phase: after
  register: health
"""

RETURN = r"""
outcomes:
  description: One entry for each check.
  returned: always, unless the cloud could not be reached
  type: list
  elements: dict
msg:
  description: How many checks ended how, with the first that failed.
  returned: always
  type: str
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    Access,
    Cloud,
    CloudError,
    argument_spec,
    connect,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._certificates import certificates
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._cycle import (
    computes_of,
    cycle,
    nobody,
    workshop,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._verdict import (
    AFTER,
    Court,
    phase_begin,
    running_on,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, finish
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._apis import OPTIONS as RELEASES
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._apis import look as look_at_releases
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import (
    CLOUDS,
    EVENTS,
    EVIDENCE,
    RunDirectory,
    RunError,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import Health, Scope, examine
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import present
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import CLOUD, Options
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Service

CHOICES = ("server_image", "server_flavor", "availability_zone", "timeout")
MEMORY = "health-before.json"
BEFORE = "before"
QUICK = "quick"
NORMAL = "normal"
DEEP = "deep"
ARGUMENT_SPEC: dict[str, Any] = {
    **argument_spec(),
    "services": {"type": "list", "elements": "str"},
    "depth": {"type": "str", "choices": [QUICK, NORMAL, DEEP], "default": NORMAL},
    "releases": {"type": "dict", "options": RELEASES},
    "server_image": {"type": "str"},
    "server_flavor": {"type": "str"},
    "availability_zone": {"type": "str"},
    "timeout": {"type": "float", "default": 180},
    "run_dir": {"type": "path"},
    "user_cloud": {"type": "str"},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "evidence": {"type": "list", "elements": "dict", "default": []},
    "judge_hosts": {"type": "bool", "default": True},
    "clock_limit": {"type": "float", "default": 5},
    "certificate_days": {"type": "float", "default": 14},
    "ignore_options": {"type": "list", "elements": "str", "default": []},
    "agent_wait": {"type": "float", "default": 75},
    "expected_agents": {"type": "list", "elements": "dict", "default": []},
    "phase": {"type": "str", "default": ""},
    "collect": {"type": "bool", "default": False},
}


def user_access(params: dict[str, Any], run: RunDirectory | None) -> Access | None:
    """Return how to reach the cloud as an ordinary user; None when nobody was named."""
    access = Access.from_params(params)
    if run and (run.path / CLOUDS).exists():
        return replace(access, cloud=CLOUD, clouds_yaml=str(run.path / CLOUDS))
    return replace(access, cloud=params["user_cloud"]) if params["user_cloud"] else None


def user_of(access: Access | None) -> tuple[Cloud | None, CloudError | None]:
    """Return the ordinary user, or why he is not let in; neither when nobody was named."""
    if access is None:
        return None, None
    try:
        return connect(access), None
    except CloudError as problem:
        return None, problem


def remembered(params: dict[str, Any], run: RunDirectory | None) -> dict[str, Any]:
    """Return what was remembered before the upgrade, once it is over; empty otherwise."""
    return run.read_json(f"{EVIDENCE}/{MEMORY}") if run and params["phase"] == AFTER else {}


def scope_of(params: dict[str, Any], run: RunDirectory | None, user: Cloud | None, problem: CloudError | None) -> Scope:
    """Return what the examination of the services takes for granted."""
    # Agents go by the name that the host gives itself, which an inventory need not use.
    named = [str(one["hostname"]) for one in params["evidence"] if one.get("hostname")]
    return Scope(
        phase=params["phase"],
        agent_wait=0 if params["depth"] == QUICK else params["agent_wait"],
        expected_agents=[*params["expected_agents"], *remembered(params, run).get("agents", [])],
        hosts=frozenset([*params["hosts"], *named]),
        running=running_on(params["evidence"]),
        user=user,
        no_user=problem,
    )


def court_of(params: dict[str, Any], run: RunDirectory | None, services: list[Service]) -> Court:
    """Return who judges what the hosts told; raises CloudError for evidence that is none."""
    nameless = [one for one in params["evidence"] if "host" not in one or "components" not in one]
    if nameless:
        raise CloudError("evidence: has to be what health_evidence returned on the hosts under evidence.")
    return Court(
        services=services,
        evidence=params["evidence"],
        hosts=params["hosts"],
        quick=params["depth"] == QUICK,
        phase=params["phase"],
        since=phase_begin(run.read(EVENTS), AFTER) if run and params["phase"] == AFTER else None,
        before=remembered(params, run),
        clock_limit=params["clock_limit"],
        ignored=params["ignore_options"],
    )


def agents_of(examined: list[Health]) -> list[dict[str, str]]:
    """Return the agents that there are, but for those that an operator has switched off."""
    beats = [beat for health in examined for beat in health.beats if beat.enabled]
    return [{"agent_type": beat.type, "binary": beat.binary, "host": beat.host} for beat in beats]


def cycles_of(
    params: dict[str, Any], run: RunDirectory | None, cloud: Cloud, services: list[Service], scope: Scope
) -> list[Outcome]:
    """Return what became of the ordinary user's cycles; none with a quick look, and where he is not let in."""
    if params["depth"] == QUICK or (scope.user is None and scope.no_user):
        return []
    if scope.user is None:
        return nobody(services, params["phase"])
    options = Options(**{name: params[name] for name in CHOICES})
    with workshop(scope.user, run, options, params["phase"]) as shop:
        if params["depth"] == DEEP:
            shop.admin, shop.computes = cloud, computes_of(cloud)
        return list(cycle(shop, services))


def releases_of(params: dict[str, Any], cloud: Cloud, services: list[Service]) -> list[Outcome]:
    """Return what the APIs tell of their releases; none when they are not to be asked."""
    if params["releases"] is None:
        return []
    try:
        return look_at_releases(cloud, services, params["releases"], params["phase"])
    except ValueError as error:
        raise CloudError(f"releases: {error}") from None


def look(module: AnsibleModule) -> list[Outcome]:
    """Look at services and hosts; raises CloudError and RunError."""
    params = module.params
    run = RunDirectory(params["run_dir"]) if params["run_dir"] else None
    with ThreadPoolExecutor(max_workers=2) as beside:
        # Keystone takes a quarter of a second to compare a password, on purpose.
        user = beside.submit(user_of, user_access(params, run))
        cloud = connect(Access.from_params(params))
        services = present(cloud, params["services"])
        court, scope = court_of(params, run, services), scope_of(params, run, *user.result())
        offered = beside.submit(releases_of, params, cloud, services)
        # The cycles take about as long as the agents' reports are waited for.
        cycles = beside.submit(
            cycles_of, {**params, "depth": QUICK} if module.check_mode else params, run, cloud, services, scope
        )
        examined = examine(cloud, services, scope)
    if run and params["phase"] == BEFORE and not module.check_mode:
        run.write_evidence(MEMORY, {"agents": agents_of(examined), **court.memory()})
    trusted = certificates(cloud, services, params["certificate_days"], params["phase"])
    told = [one for health in examined for one in health.outcomes]
    on_hosts = judged(court, examined) if params["judge_hosts"] else []
    return [*offered.result(), *told, *trusted, *cycles.result(), *on_hosts]


def judged(court: Court, examined: list[Health]) -> list[Outcome]:
    """Return what the hosts told; without the rights to see the records, nothing can be said of those."""
    known = [one for health in examined if health.beats for one in court.registered(health.service.name, health.beats)]
    return [*court.judge(), *known]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        outcomes = look(module)
    except (CloudError, RunError) as error:
        module.fail_json(msg=str(error))
    finish(module, outcomes)


if __name__ == "__main__":
    main()
