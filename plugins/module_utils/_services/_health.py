# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health of a service, and what the health checks of all services share.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import time as clock
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    Answer,
    BrokenError,
    Cloud,
    CloudError,
    RefusedError,
    UnreachableError,
    version_part,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    Service,
    current_version,
    versions_in,
)

VALIDATOR = "system_health"
MOST_AT_ONCE = 40  # looks; those at agents keep their place while they wait
POLL = 2.0  # seconds between two looks at the agents
ADMIN = "admin"  # the role that an ordinary user must not have


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


@dataclass(frozen=True)
class Records:
    """Where a service keeps the records of its agents: how to name them, the path, how to read an answer's body."""

    name: str
    path: str
    beats_in: Callable[[Any], Sequence[Beat]]


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What an examination takes for granted.

    ``agent_wait`` is in seconds, 0 for a single look; ``hosts`` are the names of all hosts that there are, as far as
    they are known, and ``running`` the processes that were seen on them; ``user`` is the ordinary user, and why there
    is none stands in ``no_user``.
    """

    phase: str = ""
    agent_wait: float = 75
    expected_agents: Sequence[Mapping[str, Any]] = ()
    hosts: frozenset[str] = frozenset()
    running: frozenset[tuple[str, str]] = frozenset()  # binary, and host without its domain
    user: Cloud | None = None
    no_user: CloudError | None = None


@dataclass(kw_only=True)
class Health:
    """The examination of one service: asks its API and collects outcomes, and the agents that it has seen."""

    service: Service
    cloud: Cloud
    scope: Scope = field(default_factory=Scope)
    outcomes: list[Outcome] = field(default_factory=list)
    beats: list[Beat] = field(default_factory=list)
    _answers: dict[tuple[str, bool], Answer | CloudError] = field(default_factory=dict)

    def fetch(self, url: str, *, authenticated: bool) -> Answer:
        """Return the answer to a GET; several interfaces often have one URL, which is asked once."""
        key = (url, authenticated)
        if key not in self._answers:
            headers = dict(self.service.headers) if authenticated else {}
            try:
                found: Answer | CloudError = self.cloud.request(
                    "GET", url, self.service.name, headers=headers, authenticated=authenticated
                )
            except CloudError as problem:
                found = problem
            self._answers[key] = found
        answer = self._answers[key]
        if isinstance(answer, CloudError):
            raise answer
        return answer

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
                phase=self.scope.phase,
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

    def served(self, check: str, subject: str, path: str, message: str, **params: Any) -> None:
        """Record whether a GET is answered, whatever is in the answer."""
        if self.ask(check, subject, path, **params) is not None:
            self.record(check, subject, Status.PASS, message)


Look = Callable[[Health], None]
"""Asks a service's API, and records what became of it."""


def service_beat(service: Mapping[str, Any]) -> Beat:
    """Return what Nova or Cinder says of one service process; one that is forced down counts as switched off.

    Of one in a cell whose database does not answer, Nova says no more than its name, and that it is ``UNKNOWN``.
    """
    return Beat(
        type=service["binary"],
        binary=service["binary"],
        host=service["host"],
        alive=service.get("state") == "up",
        stamp=str(service.get("updated_at") or ""),
        enabled=service["status"] != "disabled" and not service.get("forced_down"),
    )


def service_beats(body: Mapping[str, Any]) -> list[Beat]:
    """Return what Nova or Cinder says of its service processes."""
    return [service_beat(service) for service in body["services"]]


def bad_status(problem: CloudError) -> Status:
    """Return FAIL when the cloud is to blame, ERROR when the check itself broke."""
    return Status.FAIL if isinstance(problem, (BrokenError, UnreachableError)) else Status.ERROR


def examine(cloud: Cloud, services: Sequence[Service], scope: Scope) -> list[Health]:
    """Examine services side by side, and of each its endpoints, its parts, and what an ordinary user gets.

    Services often wait for others before they answer (a call to an engine takes oslo.messaging half a second), so all
    that does not need an earlier answer is asked at once. Returns the examinations in the order of the services.
    """

    def one(service: Service, look: Look) -> Health:
        health = Health(service=service, cloud=cloud, scope=scope)
        look(health)
        return health

    with ThreadPoolExecutor(max_workers=MOST_AT_ONCE) as pool:
        looks = [[pool.submit(one, service, look) for look in _looks_at(service, cloud)] for service in services]
        return [_joined([look.result() for look in mine]) for mine in looks]


def _looks_at(service: Service, cloud: Cloud) -> tuple[Look, ...]:
    if not cloud.published(service.types):
        return (_miss,)
    return (_look_at_endpoints, *(partial(_look_at_part, look) for look in service.health), _look_as_user)


def _miss(health: Health) -> None:
    name = health.service.name
    health.record("in_catalogue", name, Status.FAIL, f"{name} is not in the catalogue.")


def _joined(looks: Sequence[Health]) -> Health:
    """Return one examination for several of one service."""
    outcomes = [outcome for look in looks for outcome in look.outcomes]
    return replace(looks[0], outcomes=outcomes, beats=[beat for look in looks for beat in look.beats])


def _look_at_endpoints(health: Health) -> None:
    for region, interface, url in health.cloud.published(health.service.types):
        _look_at_endpoint(health, Endpoint(health.cloud, region, interface, url))


def _look_at_part(look: Look, health: Health) -> None:
    """Let the service's own file look; an answer that it does not understand must not take others' outcomes along."""
    name = health.service.name
    try:
        look(health)
    except Exception as problem:
        message = f"The look at the parts of {name} broke: {type(problem).__name__}: {problem}"
        health.record("parts", name, Status.ERROR, message)


@dataclass(frozen=True)
class Endpoint:
    """One endpoint of the catalogue."""

    cloud: Cloud
    region: str
    interface: str
    url: str

    @property
    def label(self) -> str:
        """How to name it; its region only when it is not the one in use."""
        other = self.region and self.cloud.region_name and self.region != self.cloud.region_name
        return f"{self.interface} endpoint in region {self.region}" if other else f"{self.interface} endpoint"

    def unreached(self) -> tuple[Status, str]:
        """Return what it means when there is no answer from here, and a note on it."""
        if self.interface == self.cloud.interface:
            return Status.FAIL, ""
        return Status.UNKNOWN, " It may be reachable from other networks only."


def _look_at_endpoint(health: Health, endpoint: Endpoint) -> None:
    """Ask one published endpoint for its versions without a token, and for something of this service with one."""
    name, target = health.service.name, health.service.probe_url(endpoint.url)
    expected = "a version document"
    try:
        answer = health.fetch(target, authenticated=False)
    except CloudError as problem:
        status, note = endpoint.unreached() if isinstance(problem, UnreachableError) else (Status.FAIL, "")
        health.record("endpoint_answers", endpoint.label, status, f"{name}: {problem}{note}", expected=expected)
        return
    good, word = judge_versions(answer.body, endpoint.url)
    message = f"The {endpoint.label} of {name} at {target} {word}."
    found = [str(version.get("id")) for version in versions_in(answer.body)]
    status = Status.PASS if good else Status.FAIL
    health.record("endpoint_answers", endpoint.label, status, message, expected=expected, found=found)
    _serve(health, "endpoint_serves", endpoint, lambda asked: health.fetch(asked, authenticated=True))


def judge_versions(document: Any, url: str) -> tuple[bool, str]:
    """Say whether a document has versions, and among them the one that the endpoint's URL names."""
    versions = [str(version.get("id")) for version in versions_in(document)]
    if not versions:
        return False, "answers, but not with a version document"
    if not is_offered(version_part(url), versions):
        return False, f"offers {', '.join(versions)}, and not the version that its URL names ({url})"
    current = current_version(document)
    micro = " to ".join(filter(None, (current["min_version"], current["max_version"])))
    return True, f"offers {current['version']}{f' ({micro})' if micro else ''}"


def is_offered(named: str, versions: Sequence[str]) -> bool:
    """Whether the version that a URL names is among those offered: ``v3`` is one of ``v3.14``."""
    return not named or any(one == named or one.startswith(f"{named}.") for one in versions)


def _serve(health: Health, check: str, endpoint: Endpoint, ask: Callable[[str], Answer]) -> None:
    """Ask an endpoint with a token for something that only this service has, of the own project."""
    cloud, name = endpoint.cloud, health.service.name
    asked = health.service.question(endpoint.url, cloud.project_id)
    if asked is None:
        return
    url, wanted = asked
    try:
        answer = ask(url)
    except CloudError as problem:
        status = endpoint.unreached()[0] if isinstance(problem, UnreachableError) else Status.FAIL
        health.record(check, endpoint.label, status, f"{name}: {problem}", expected=wanted)
        return
    good = _contains(answer, wanted)
    word = "serves" if good else "answers, but not as this service does, for"
    message = f"The {endpoint.label} of {name} {word} {cloud.user_name or 'the user'} at {url}."
    health.record(check, endpoint.label, Status.PASS if good else Status.FAIL, message, expected=wanted)


def _contains(answer: Answer, wanted: str) -> bool:
    return wanted in answer.content.decode(errors="replace")


def _look_as_user(health: Health) -> None:
    """See that the ordinary user is let in, by Keystone and by each service."""
    scope, name = health.scope, health.service.name
    if health.service.types == ("identity",):
        health.record("user_authenticates", "ordinary user", *judge_user(scope.user, scope.no_user))
    if scope.user is None:
        return
    url = scope.user.endpoints(health.service.types).get(scope.user.interface)
    if url is None:
        message = f"The catalogue of an ordinary user has no {scope.user.interface} endpoint of {name}."
        health.record("user_served", "ordinary user", Status.FAIL, message)
        return
    user, headers = scope.user, dict(health.service.headers)
    endpoint = Endpoint(user, user.region_name, user.interface, url)
    _serve(health, "user_served", endpoint, lambda asked: user.request("GET", asked, name, headers=headers))


def judge_user(user: Cloud | None, problem: CloudError | None) -> tuple[Status, str]:
    """Say whether an ordinary user is let in; an administrator proves nothing for others."""
    if user is None:
        if problem is None:
            return Status.UNKNOWN, "There is no ordinary user to try: name one with user_cloud, or a run with run_dir."
        blamed = isinstance(problem, RefusedError)
        return Status.FAIL if blamed else bad_status(problem), f"The ordinary user is not let in: {problem}"
    if ADMIN in user.roles:
        return Status.UNKNOWN, f"{user.user_name} has the role {ADMIN}, so nothing is known of ordinary users."
    roles = ", ".join(user.roles) or "no role"
    return Status.PASS, f"{user.user_name} is let in, with {roles} in project {user.project_name}."


def watch_beats(health: Health, check: str, records: Records) -> bool:
    """Wait until each agent has reported anew, for at most ``agent_wait`` seconds, and record what became of each.

    Returns whether their records could be read.

    A report counts as new when its stamp differs from the first one read. So no two clocks are compared, and an agent
    that is dead inside is found although the API calls it alive for a while after its last report.
    """
    begin = clock.monotonic()
    body = health.ask(check, records.name, records.path)
    if body is None:
        return False
    found = records.beats_in(body)
    api = health.service.api(health.cloud)

    def read() -> Sequence[Beat]:
        return records.beats_in(api.get(records.path))

    try:
        first = {(beat.binary, beat.host): beat for beat in found}
        last = _wait_for_beats(first, read, begin + health.scope.agent_wait)
    except CloudError as problem:
        message = f"{records.name} of {health.service.name}: {problem}"
        health.record(check, records.name, bad_status(problem), message)
        return False
    waited = clock.monotonic() - begin if health.scope.agent_wait > 0 else 0.0
    health.beats += last.values()
    for key in sorted({*first, *last}):
        _judge_beat(health, check, first.get(key), last.get(key), waited)
    _look_for_doubles(health, found)
    _look_for_expected(health, check, {*last})
    return True


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
    """Record one agent's state; at least one of the two is given. A single look took no time."""
    beat = last or first
    if beat is None:
        raise ValueError("An agent without any look at it cannot be judged.")
    status, word = _beat_verdict(first, last, waited) if waited else _one_look(beat)
    if status is Status.FAIL and (beat.binary, short_name(beat.host)) in health.scope.running:
        word += "; its process runs, so it did not get ready or is dead inside"
    vanished = not (last and last.alive) and is_vanished(beat.host, health.scope.hosts)
    if vanished:
        word += f". No host of the inventory is called {beat.host}: if it is gone for good, remove this record"
    health.record(
        check,
        beat.label,
        status,
        f"{beat.label} {word}.",
        host=beat.host,
        expected="alive, with a report newer than this check" if waited else "alive",
        found={"alive": bool(last and last.alive), "last_report": beat.stamp},
        evidence={"binary": beat.binary, "waited_s": round(waited, 1), **({"vanished": True} if vanished else {})},
    )


def is_vanished(host: str, hosts: frozenset[str]) -> bool:
    """Whether none of the known hosts is this one; ``storage1@ceph`` is a backend of storage1, domains do not count."""
    short = {short_name(name) for name in hosts}
    return bool(short) and short_name(host) not in short


def short_name(host: str) -> str:
    """Return a host's name without its domain, and without the backend that a volume service adds."""
    return host.partition("@")[0].partition(".")[0]


def _one_look(beat: Beat) -> tuple[Status, str]:
    if beat.alive:
        return Status.PASS, f"is called alive, with its last report at {beat.stamp}; a new one was not waited for"
    if not beat.enabled:
        return Status.SKIP, "is switched off by an operator, so it need not report"
    return Status.FAIL, f"is dead: its last report is of {beat.stamp or 'never'}"


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
        f"has not reported for {waited:.0f} s although it is called alive (last report {last.stamp})",
    )


def _look_for_doubles(health: Health, found: Sequence[Beat]) -> None:
    """Record agents that are listed more than once: work is given to a ghost then."""
    for (kind, host), times in Counter((beat.type, beat.host) for beat in found).items():
        if times > 1:
            message = f"{kind} on {host} is listed {times} times; all but one are left over from another life of it."
            health.record("agent_unique", f"{kind} on {host}", Status.FAIL, message, host=host, expected=1, found=times)


def _look_for_expected(health: Health, check: str, there: set[tuple[str, str]]) -> None:
    """Record the agents that were expected and are not there at all."""
    for agent in health.scope.expected_agents:
        binary, host = str(agent.get("binary", "")), str(agent.get("host", ""))
        if binary.startswith(health.service.components.prefixes) and (binary, host) not in there:
            label = f"{agent.get('agent_type') or binary} on {host}"
            message = f"{label} was expected and {health.service.name} does not know it."
            health.record(check, label, Status.FAIL, message, host=host, expected="present", found="absent")
