# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health of a service, and what the health checks of all services share.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    BrokenError,
    Cloud,
    CloudError,
    RefusedError,
    UnreachableError,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    Service,
    current_version,
    versions_in,
)

VALIDATOR = "system_health"
POLL = 2.0  # seconds between two looks at the agents


@dataclass(frozen=True, kw_only=True)
class Beat:
    """What the API says of one agent or service process; ``stamp`` is when it last reported, as the API writes it."""

    type: str
    binary: str
    host: str
    alive: bool
    stamp: str
    enabled: bool = True

    @property
    def label(self) -> str:
        """How to name it."""
        return f"{self.type} on {self.host}"


@dataclass(kw_only=True)
class Health:
    """The examination of one service: asks its API and collects outcomes; ``agent_wait`` is in seconds."""

    service: Service
    cloud: Cloud
    phase: str = ""
    agent_wait: float = 75
    expected_agents: Sequence[Mapping[str, Any]] = ()
    outcomes: list[Outcome] = field(default_factory=list)

    def record(self, check: str, subject: str, status: Status, message: str, **more: Any) -> None:
        """Add one outcome."""
        self.outcomes.append(
            Outcome(
                validator=VALIDATOR,
                check=check,
                service=self.service.name,
                subject=subject,
                status=status,
                message=message,
                phase=self.phase,
                **more,
            )
        )

    def ask(self, check: str, subject: str, path: str, **params: Any) -> Any:
        """Return the body of a GET; None after recording why there is none."""
        try:
            return self.service.api(self.cloud).get(path, **params)
        except RefusedError as problem:
            self.record(check, subject, Status.SKIP, f"{subject} cannot be read with these credentials. {problem}")
        except CloudError as problem:
            self.record(check, subject, bad_status(problem), f"{subject} of {self.service.name}: {problem}")
        return None


def bad_status(problem: CloudError) -> Status:
    """Return FAIL when the cloud is to blame, ERROR when the check itself broke."""
    return Status.FAIL if isinstance(problem, (BrokenError, UnreachableError)) else Status.ERROR


def examine(
    cloud: Cloud,
    services: Sequence[Service],
    *,
    phase: str,
    agent_wait: float,
    expected_agents: Sequence[Mapping[str, Any]],
) -> list[Outcome]:
    """Examine services side by side; return their outcomes in the order of the services."""

    def one(service: Service) -> list[Outcome]:
        health = Health(
            service=service, cloud=cloud, phase=phase, agent_wait=agent_wait, expected_agents=expected_agents
        )
        _examine(health)
        return health.outcomes

    with ThreadPoolExecutor(max_workers=len(services) or 1) as pool:
        return [outcome for outcomes in pool.map(one, services) for outcome in outcomes]


def _examine(health: Health) -> None:
    endpoints = health.cloud.endpoints(health.service.types)
    if not endpoints:
        health.record(
            "in_catalogue", health.service.name, Status.FAIL, f"{health.service.name} is not in the catalogue."
        )
        return
    for interface, url in sorted(endpoints.items()):
        _look_at_endpoint(health, interface, url)
    if health.service.health:
        health.service.health(health)


def _look_at_endpoint(health: Health, interface: str, url: str) -> None:
    """Ask one published endpoint for its version document, without a token."""
    name, target = health.service.name, health.service.probe_url(url)
    subject, expected = f"{interface} endpoint", "a version document"
    try:
        answer = health.cloud.request("GET", target, name, authenticated=False)
    except UnreachableError as problem:
        other = interface != health.cloud.interface
        status = Status.UNKNOWN if other else Status.FAIL
        note = " It may be reachable from other networks only." if other else ""
        health.record("endpoint_answers", subject, status, f"{name}: {problem}{note}", expected=expected)
        return
    except CloudError as problem:
        health.record("endpoint_answers", subject, Status.FAIL, f"{name}: {problem}", expected=expected)
        return
    versions = [str(version.get("id")) for version in versions_in(answer.body)]
    status = Status.PASS if versions else Status.FAIL
    word = (
        f"offers {current_version(answer.body)['version']}" if versions else "answers, but not with a version document"
    )
    message = f"The {interface} endpoint of {name} at {target} {word}."
    health.record("endpoint_answers", subject, status, message, expected=expected, found=versions)


def watch_beats(health: Health, check: str, read: Callable[[], Sequence[Beat]]) -> None:
    """Wait until each agent has reported anew, for at most ``agent_wait`` seconds, and record what became of each.

    A report counts as new when its stamp differs from the first one read. So no two clocks are compared, and an agent
    that is dead inside is found although the API calls it alive for a while after its last report.
    """
    begin = clock.monotonic()
    try:
        first = {(beat.binary, beat.host): beat for beat in read()}
        last = _wait_for_beats(first, read, begin + health.agent_wait)
    except CloudError as problem:
        health.record(check, "agents", bad_status(problem), f"The agents of {health.service.name}: {problem}")
        return
    waited = clock.monotonic() - begin
    for key in sorted({*first, *last}):
        _judge_beat(health, check, first.get(key), last.get(key), waited)
    _look_for_expected(health, check, {*last})


def _wait_for_beats(
    first: Mapping[tuple[str, str], Beat], read: Callable[[], Sequence[Beat]], deadline: float
) -> dict[tuple[str, str], Beat]:
    last = dict(first)
    while clock.monotonic() < deadline and not all(_settled(first.get(key), beat) for key, beat in last.items()):
        clock.sleep(max(0.0, min(POLL, deadline - clock.monotonic())))
        last = {(beat.binary, beat.host): beat for beat in read()}
    return last


def _settled(first: Beat | None, last: Beat) -> bool:
    return not last.enabled or (last.alive and is_fresh(first, last))


def is_fresh(first: Beat | None, last: Beat) -> bool:
    """Whether it has reported since the first look; one that was not there at the first look has."""
    return first is None or last.stamp != first.stamp


def _judge_beat(health: Health, check: str, first: Beat | None, last: Beat | None, waited: float) -> None:
    """Record one agent's state; at least one of the two is given."""
    beat = last or first
    if beat is None:
        raise ValueError("An agent without any look at it cannot be judged.")
    status, word = _beat_verdict(first, last, waited)
    health.record(
        check,
        beat.label,
        status,
        f"{beat.label} {word}.",
        host=beat.host,
        expected="alive, with a report newer than this check",
        found={"alive": bool(last and last.alive), "last_report": beat.stamp},
        evidence={"binary": beat.binary, "waited_s": round(waited, 1)},
    )


def _beat_verdict(first: Beat | None, last: Beat | None, waited: float) -> tuple[Status, str]:
    if last is None:
        return Status.FAIL, "was there when the check began and is gone now"
    if last.alive and is_fresh(first, last):
        return Status.PASS, f"is alive and reported at {last.stamp}"
    if not last.enabled:
        return Status.SKIP, "is switched off by an operator, so it need not report"
    if not last.alive:
        return Status.FAIL, f"is dead: its last report is of {last.stamp or 'never'}"
    return (
        Status.FAIL,
        f"has not reported for {waited:.0f} s although it is called alive (last report {last.stamp}): "
        "its process may run and be dead inside",
    )


def _look_for_expected(health: Health, check: str, there: set[tuple[str, str]]) -> None:
    """Record the agents that were expected and are not there at all."""
    for agent in health.expected_agents:
        binary, host = str(agent.get("binary", "")), str(agent.get("host", ""))
        if binary.startswith(health.service.components.prefixes) and (binary, host) not in there:
            label = f"{agent.get('agent_type') or binary} on {host}"
            message = f"{label} was expected and {health.service.name} does not know it."
            health.record(check, label, Status.FAIL, message, host=host, expected="present", found="absent")
