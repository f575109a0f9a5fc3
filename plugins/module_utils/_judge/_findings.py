# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator should know: what happened, when, what went on around it, where the evidence is, what to try.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._facts import (
    AFTER,
    BEFORE,
    PERFORMANCE,
    UPGRADE,
    Facts,
    Watcher,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._outages import (
    GUEST,
    INSTANCE,
    OBSERVER,
    PUBLISHED,
    TOKEN,
    Trouble,
    counts_against,
    is_planned,
    length_of,
    logs_of,
    unplaced_failures,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._performance import Delay, delays
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._policy import Policy
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._resources import alive
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import BAD, Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._attribution import KEYSTONE, Cause

FAIL, WARNING, NOTE = "fail", "warning", "note"
PLANNED = "downtime.planned"
PLANNED_WORDS = "Planned: a cold upgrade stops all services. "
ROLLING_HINT = "A rolling upgrade does without."
MOST_TASKS = 12
_TESTS = "expectation external_test tempest_workspace rally_workspace host_info"
_OBSERVERS = "api_uptime service_performance data_plane"
_STEPS = "run verdict driver observer cloud_info test_project persistent_resource release_version system_health"
_MEMORY = "health_evidence cloud_fingerprint resource_save resource_get outcome extension_phase grenade_plugin snapshot"
_BUILTIN = "set_fact assert debug meta include_tasks include_role include_vars import_tasks import_role async_status"
HARMLESS = frozenset(
    [f"openstack.upgrade_test.{name}" for name in f"{_STEPS} {_OBSERVERS} {_MEMORY} {_TESTS}".split()]
    + [f"ansible.builtin.{name}" for name in (*_BUILTIN.split(), "add_host", "group_by", "gather_facts", "setup")]
)
_LOOK = "Look at the tasks around it and at the logs of that time."
CLEANUP = "ansible-playbook openstack.upgrade_test.cleanup -e upgrade_test_run_id="

_NO_SERVER = "The load balancer had no server left: keep an instance in rotation, and shorten its health check."
TRY: Mapping[str, str] = MappingProxyType(
    {
        "refused": "Nothing listened: drain the instance before it is stopped, and let it back only when it answers.",
        "reset": "Connections were cut: let the load balancer drain them before the service stops.",
        "http_5xx_haproxy": _NO_SERVER,
        "http_503": _NO_SERVER,
        "http_5xx_service": "The service itself answered with an error: look at its log, its database and its queue.",
        "connect_timeout": "Packets were lost: look at the virtual address, at firewalls and at the accept queue.",
        "timeout": "The service took the request without an answer: look at its workers, database and queue.",
        "stalled": "The answer began but did not end: look at the instance that was being stopped.",
        "early_close": "The answer was cut off: let the service stop gracefully, after its requests are done.",
        "unauthorized": "The token was not accepted: look at keystone, its keys and its cache in all instances.",
        "no_reply": "Look at the network agents of the server's host, at its router and at its security groups.",
        "unreachable": "There was no way to the address: look at the virtual address and at the routers.",
    }
)


TRY_FOR: Mapping[Cause, str] = MappingProxyType(
    {
        Cause.OBSERVER: "Look at the observer's host and its network; then repeat the run.",
        Cause.PATH: "Look at the way from that host to the cloud; then repeat the run.",
        Cause.LOAD_BALANCER: "Look at the load balancer itself: its restarts, its virtual address, its health checks.",
        Cause.EVICTION: "Drain the instance before it is stopped, or shorten the load balancer's health check.",
        Cause.DRAINING: "Let the old process of the load balancer or the service serve its connections to their end.",
        Cause.FLOW: "Look at the router's failover, at connection tracking, and at the server itself.",
        Cause.TOKEN: "The token was not accepted: look at keystone, its keys and its cache in all instances.",
        Cause.WORKERS: "The service took requests without an answer: look at its workers, database and queue.",
        Cause.SYN_LOST: "Packets were lost: look at the virtual address, at firewalls and at the accept queue.",
    }
)
"""What helps against a cause; where there is none, what helps against the way in which it failed has to do."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing to know. ``begin`` and ``end`` are wall seconds or None.

    ``seconds`` is the length of an outage, None where nothing proves that it lasted any time.
    """

    id: str
    kind: str
    severity: str
    service: str
    subject: str
    what: str
    phase: str = ""
    begin: float | None = None
    end: float | None = None
    offset: float | None = None
    seconds: float | None = None
    around: tuple[dict[str, Any], ...] = ()
    evidence: tuple[str, ...] = ()
    hint: str = ""
    cause: str = ""


def findings(facts: Facts, found: Sequence[Trouble], policy: Policy) -> list[dict[str, Any]]:
    """Return all findings as records: failures first, then warnings and notes, each in the order of the checklist."""
    checks = _outcome_findings(facts)
    everything = [
        *(one for one in checks if one.id.startswith("DRV")),
        *_numbered("OUT", [*_outages(facts, found, policy, PUBLISHED), *_unplaced(facts)]),
        *_numbered("TOK", _outages(facts, found, policy, TOKEN)),
        *_numbered("NET", _outages(facts, found, policy, GUEST)),
        *(one for one in checks if not one.id.startswith("DRV")),
        *_numbered("DLY", _delays(facts, policy)),
        *_numbered("COLD", _cold(facts)),
        *_numbered("OBS", [*_observers(facts), *_tokenless(facts), *_outages(facts, found, policy, OBSERVER)]),
        *_numbered("LEFT", _left(facts)),
        *_numbered("INS", _outages(facts, found, policy, INSTANCE)),
    ]
    rank = {FAIL: 0, WARNING: 1, NOTE: 2}
    return [asdict(one) for one in sorted(everything, key=lambda one: rank[one.severity])]


def _numbered(prefix: str, found: Iterable[dict[str, Any]]) -> list[Finding]:
    return [Finding(id=f"{prefix}-{number}", **fields) for number, fields in enumerate(found, 1)]


def _offset(facts: Facts, phase: str, moment: float) -> float | None:
    begun = [one.begin for one in facts.phases if one.name == phase and one.begin <= moment]
    return round(moment - begun[-1], 3) if begun else None


def _outages(facts: Facts, found: Sequence[Trouble], policy: Policy, where: str) -> list[dict[str, Any]]:
    """Describe the troubles of one kind, longest first."""
    mine = sorted((one for one in found if one.where == where), key=_longest_first)
    return [_outage(facts, one, found, policy) for one in mine]


def _longest_first(trouble: Trouble) -> tuple[float, float, str]:
    outage = trouble.worst.outage
    return outage.begin - outage.end, trouble.begin, trouble.service


def _outage(facts: Facts, trouble: Trouble, found: Sequence[Trouble], policy: Policy) -> dict[str, Any]:
    worst = trouble.worst.outage
    return {
        "kind": PLANNED if is_planned(trouble, facts) else f"{_prefix(trouble)}.{trouble.kind}",
        "severity": _severity(trouble, facts),
        "service": trouble.service,
        "subject": _subject(trouble),
        "what": (PLANNED_WORDS if is_planned(trouble, facts) else "") + _what(trouble, found),
        "phase": trouble.phase,
        "begin": trouble.begin,
        "end": trouble.end,
        "offset": _offset(facts, trouble.phase, trouble.begin),
        "seconds": round(worst.end - worst.begin, 3) if worst.lower > 0 else None,
        "around": tuple(around(facts, trouble.begin, policy)),
        "evidence": _evidence(trouble),
        "hint": ROLLING_HINT
        if is_planned(trouble, facts)
        else TRY_FOR.get(trouble.cause) or TRY.get(trouble.kind.lower(), _LOOK),
        "cause": str(trouble.cause),
    }


def _subject(trouble: Trouble) -> str:
    lane = trouble.worst.lane
    if trouble.where == OBSERVER:
        return f"observers on {lane.host}"
    return lane.seen.target.name if trouble.where == GUEST else f"{lane.seen.target.service} {lane.seen.target.via}"


def _prefix(trouble: Trouble) -> str:
    if trouble.where == INSTANCE:
        return "failover" if trouble.cause is Cause.INSTANCE else "instance"
    if trouble.where in (GUEST, OBSERVER, TOKEN):
        return {GUEST: "network", OBSERVER: "observer", TOKEN: "token"}[trouble.where]
    return "request" if trouble.blip else "outage"


def _severity(trouble: Trouble, facts: Facts) -> str:
    if trouble.where == INSTANCE:
        return NOTE
    if trouble.where == OBSERVER:
        return WARNING
    return FAIL if counts_against(trouble, facts) and not is_planned(trouble, facts) else WARNING


def _what(trouble: Trouble, found: Sequence[Trouble]) -> str:
    outage, lane = trouble.worst.outage, trouble.worst.lane
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(trouble.kinds.items()))
    if trouble.blip:
        many = "1 request" if trouble.failures == 1 else f"{trouble.failures} single requests"
        text = f"{many} failed ({kinds}) over {lane.label}; what was asked next was answered"
    else:
        text = f"No answer for {length_of(outage)} over {lane.label}; {trouble.failures} failures: {kinds}"
    text = f"{text}. {trouble.why}".rstrip()
    others = _at_once(trouble, found) if trouble.where != INSTANCE else []
    if len(others) > 1:
        return f"{text} Down together with {', '.join(others)}: look at what they share first."
    return f"{text} Down together with {others[0]}." if others else text


def _at_once(trouble: Trouble, found: Sequence[Trouble]) -> list[str]:
    others = {one.service for one in found if one.where == trouble.where and _overlap(one, trouble)}
    return sorted(others - {trouble.service})


def _overlap(one: Trouble, other: Trouble) -> bool:
    return one.begin <= other.end and other.begin <= one.end


def _evidence(trouble: Trouble) -> tuple[str, ...]:
    lines = []
    for hit in trouble.hits[:6]:
        detail = f": {hit.outage.detail}" if hit.outage.detail else ""
        log = f"samples/{hit.lane.observer}/{hit.lane.host}"
        lines.append(f"{log}, {hit.lane.label}, {length_of(hit.outage)}{detail}")
    rest = len(trouble.hits) - len(lines)
    return (*lines, f"and {rest} more") if rest else tuple(lines)


def _unplaced(facts: Facts) -> list[dict[str, Any]]:
    """Describe failures that were counted, but of which no outage tells when they were."""
    published = {one: facts.published_of(one) for one in facts.services}
    return [
        {
            "kind": "request.unplaced",
            "severity": FAIL,
            "service": service,
            "subject": f"{service} public",
            "what": f"{count} failed requests were counted, of which it is not known when they were.",
            "evidence": logs_of(lanes),
            "hint": "Look at the service's own log for requests that failed.",
        }
        for service, lanes in published.items()
        if (count := unplaced_failures(lanes))
    ]


def _delays(facts: Facts, policy: Policy) -> list[dict[str, Any]]:
    """Describe the operations that were certainly slower during the upgrade, one by one, the worst first."""
    mine = (one for one in facts.performance if one.seen.target.service in facts.services)
    late = [found for one in mine if (found := delays([one], policy))]
    return [_delay(facts, found) for found in sorted(late, key=lambda found: -found[0].ratio.low)]


def _delay(facts: Facts, found: Sequence[Delay]) -> dict[str, Any]:
    """Describe one operation by all of its quantiles that were delayed, the worst of them first."""
    measured = found[0].measured
    target, figures = measured.seen.target, "; ".join(one.figures for one in found)
    what = f"Slower during the upgrade than before, {target.mode} connection from {measured.host}: {figures}."
    return {
        "kind": f"delay.{found[0].quantile}",
        "severity": WARNING if facts.cold else FAIL,
        "service": target.service,
        "subject": target.name,
        "what": (PLANNED_WORDS if facts.cold else "") + what,
        **_whole_upgrade(facts),
        "evidence": (f"samples/{PERFORMANCE}/{measured.host}",),
        "hint": ROLLING_HINT
        if facts.cold
        else "Look at how many instances served, and at the load of their hosts, the database and the queue.",
    }


def _cold(facts: Facts) -> list[dict[str, Any]]:
    """Say what a cold upgrade cannot claim, whether or not anybody watched the endpoints meanwhile."""
    told = {
        "kind": "upgrade.cold",
        "severity": WARNING,
        "service": "",
        "subject": "the upgrade",
        "what": "All services were stopped for it, as planned, so both releases never served together.",
        **_whole_upgrade(facts),
        "evidence": ("run.json, strategy",),
        "hint": ROLLING_HINT,
    }
    return [told] if facts.cold else []


def _whole_upgrade(facts: Facts) -> dict[str, Any]:
    upgrade = facts.phase(UPGRADE)
    return {"phase": UPGRADE, "begin": upgrade.begin, "end": upgrade.end} if upgrade else {}


def around(facts: Facts, moment: float, policy: Policy) -> list[dict[str, Any]]:
    """Return the tasks and marks that began shortly before or after a moment, oldest first; the nearest if too many."""
    low, high = moment - policy.before_outage, moment + policy.after_outage
    near = [_event(event, moment) for event in _tasks(facts.events) if low <= event.get("time", 0.0) <= high]
    nearest = sorted(near, key=lambda one: abs(one["offset"]))[:MOST_TASKS]
    return sorted(nearest, key=lambda one: (one["offset"], one["host"], one["name"]))


def is_deed(event: Mapping[str, Any]) -> bool:
    """Whether an event may have done something to the cloud: neither the test's own step nor the controller's."""
    if event.get("kind") in ("mark", "driver"):
        return True
    return event.get("kind") == "task" and event.get("status") != "skipped" and event.get("action") not in HARMLESS


def _tasks(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what only says that a task began, when its end is known too."""
    kept = [event for event in events if is_deed(event)]
    ended = {(event.get("name"), event.get("play")) for event in kept if event.get("status") != "started"}
    return [one for one in kept if one.get("status") != "started" or (one.get("name"), one.get("play")) not in ended]


def _event(event: Mapping[str, Any], moment: float) -> dict[str, Any]:
    words = {key: str(event.get(key) or "") for key in ("kind", "name", "host", "status", "play")}
    return {"offset": round(float(event["time"]) - moment, 3), "time": event["time"], **words}


OUTCOME_KINDS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "driver": ("DRV", "driver", "Read the end of the tool's own output in evidence/driver.log."),
        "release_version": ("REL", "release", "Finish the upgrade of this instance, or restart it on the new code."),
        "system_health": ("HLT", "health", "Look at the log of the named agent or service on that host."),
        "persistent_resource": ("RES", "resource", "Compare the resource with its entry in resources.jsonl."),
        "cloud_fingerprint": ("FPR", "state", "Compare evidence/fingerprint-before.json with fingerprint-after.json."),
        "extension": ("EXT", "extension", "Look at the named task of the service's folder."),
        "expectation": (
            "EXP",
            "expectation",
            "Ask the same expression again, and look at what it names.",
        ),
        "external_test": ("TST", "test", "Read the traceback, and the log in evidence/ that the check names."),
        "grenade_plugin": ("GRN", "grenade", "Read the log in evidence/ that the check names."),
    }
)


def _outcome_findings(facts: Facts) -> list[Finding]:
    """Describe checks that failed or broke; one that failed in the same way before the upgrade is a warning."""
    groups: dict[str, list[dict[str, Any]]] = {}
    usual = {_same(one) for one in facts.outcomes if one.status is Status.FAIL and one.phase == BEFORE}
    for one in facts.outcomes:
        if one.status in BAD:
            prefix, kind, hint = OUTCOME_KINDS.get(one.validator, ("CHK", one.validator, "Look at the evidence."))
            groups.setdefault(prefix, []).append(_outcome(facts, one, kind, hint, usual))
    return [finding for prefix in sorted(groups) for finding in _numbered(prefix, groups[prefix])]


def _same(one: Outcome) -> tuple[str, str, str, str, str]:
    return one.validator, one.check, one.service, one.subject, one.host


def _outcome(facts: Facts, one: Outcome, kind: str, hint: str, usual: set[Any]) -> dict[str, Any]:
    broke = one.status is Status.ERROR
    decisive = one.validator == "driver" or (one.phase == AFTER and _same(one) not in usual)
    found = f" Expected {one.expected}, found {one.found}." if one.expected is not None else ""
    return {
        "kind": f"{kind}.{'broken' if broke else one.check}",
        "severity": FAIL if decisive and not broke else WARNING,
        "service": one.service,
        "subject": f"{one.subject} on {one.host}" if one.host else one.subject,
        "what": f"{one.message}{found}",
        "phase": one.phase,
        "begin": one.time,
        "offset": _offset(facts, one.phase, one.time),
        "evidence": tuple(f"{key}: {value}" for key, value in sorted(one.evidence.items())) or ("outcomes.jsonl",),
        "hint": hint,
    }


def _observers(facts: Facts) -> list[dict[str, Any]]:
    return [_observer(facts, one, why) for one in facts.watchers if (why := trouble_of(one, facts))]


def trouble_of(watcher: Watcher, facts: Facts) -> str:
    """Return what is wrong with an observer, or an empty text."""
    if watcher.trouble:
        return watcher.trouble
    if watcher.status.get("log_error"):
        return f"it could not write all of its log: {watcher.status['log_error']}"
    lanes = [one for one in facts.lanes if (one.observer, one.host) == (watcher.observer, watcher.host)]
    open_ended = [lane for lane in lanes if not lane.seen.ended]
    if open_ended or (not lanes and watcher.state != "ended"):
        return "it did not end by itself; it was lost, killed or is still running"
    low = [lane for lane in lanes if not lane.authenticated and lane.seen.coverage < Policy().least_coverage]
    if low:
        least = min(lane.seen.coverage for lane in low)
        return f"it covered only {least:.2%} of its time in {len(low)} of {len(lanes)} lanes"
    return ""


def _observer(facts: Facts, watcher: Watcher, why: str) -> dict[str, Any]:
    phase = facts.phase_at(watcher.last_seen) if watcher.last_seen else ""
    return {
        "kind": "observer.trouble",
        "severity": WARNING,
        "service": "",
        "subject": f"{watcher.observer} on {watcher.host}",
        "what": f"Trouble of the observer, not of the cloud: {why}. What it did not see is not proven.",
        "phase": phase,
        "begin": watcher.last_seen,
        "offset": _offset(facts, phase, watcher.last_seen) if watcher.last_seen else None,
        "evidence": (f"samples/{watcher.observer}/{watcher.host}",),
        "hint": "Look at its status.json, at the host's memory and at its load; then repeat the run.",
    }


def _tokenless(facts: Facts) -> list[dict[str, Any]]:
    return [_without_token(one, share) for one in facts.watchers if (share := token_share(one, facts)) < 1]


def token_share(watcher: Watcher, facts: Facts) -> float:
    """Return in which share of the time an observer asked with a token what it was to ask with one; 1 without need."""
    lanes = [one for one in facts.lanes if (one.observer, one.host) == (watcher.observer, watcher.host)]
    least = min((lane.seen.coverage for lane in lanes if lane.authenticated), default=1.0)
    return least if least < Policy().least_coverage else 1.0


def _without_token(watcher: Watcher, share: float) -> dict[str, Any]:
    told = (watcher.status.get("tokens") or {}).get("error", "")
    last = f" The last word on tokens: {told}" if told else ""
    return {
        "kind": "observer.token",
        "severity": WARNING,
        "service": KEYSTONE,
        "subject": f"{watcher.observer} on {watcher.host}",
        "what": f"What needs a token was asked in only {share:.2%} of the time, as there was no valid one, or no time. "
        f"What was not asked is not proven. Requests without a token did not suffer from it.{last}",
        "evidence": (f"samples/{watcher.observer}/{watcher.host}/status.json",),
        "hint": "Look at keystone and at the test's user at that time.",
    }


def _left(facts: Facts) -> list[dict[str, Any]]:
    return [
        {
            "kind": "cleanup.left",
            "severity": WARNING,
            "service": one["service"],
            "subject": f"{one['type']} {one['name']}",
            "what": f"The {one['type']} {one['name']} ({one['id'] or 'id not known'}) was not removed.",
            "evidence": ("resources.jsonl",),
            "hint": f"{CLEANUP}{facts.run.get('run_id', '')}",
        }
        for one in ([] if facts.still_open else alive(facts.resources))
    ]
