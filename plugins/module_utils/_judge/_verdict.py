# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge: from what was recorded to a verdict. Pure: the same run directory gives the same results.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._checklist import (
    GOOD,
    Answer,
    Case,
    Result,
    answers,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._facts import (
    AFTER,
    API,
    BEFORE,
    Facts,
    Lane,
    Reader,
    load,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._findings import (
    FAIL,
    PLANNED,
    findings,
    token_share,
    trouble_of,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._outages import (
    attributed,
    is_planned,
    troubles,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._policy import (
    KNOWN_CLAIMS,
    REQUIREMENTS,
    TAGS,
    Policy,
    Requirement,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._resources import tally
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._attribution import Cause
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory

SCHEMA = 1
MET, NOT_MET, INCONCLUSIVE = "met", "not_met", "inconclusive"
WORDS = {MET: "MET", NOT_MET: "NOT MET", INCONCLUSIVE: "INCONCLUSIVE"}

Answers = Mapping[str, Mapping[str, Answer]]  # service -> requirement -> answer


def judge_run(run: RunDirectory, policy: Policy | None = None, reader: Reader | None = None) -> dict[str, Any]:
    """Read a run directory and judge it."""
    return judge(load(run, reader), policy or Policy())


def judge(facts: Facts, policy: Policy) -> dict[str, Any]:
    """Return the results: verdict, claims, requirements, findings and all that a report draws."""
    facts = attributed(facts)
    found = troubles(facts, policy)
    cases = [Case(service=one, facts=facts, policy=policy, troubles=found) for one in facts.services]
    given: Answers = {case.service: answers(case) for case in cases}
    told = findings(facts, found, policy)
    claims = [_claim(tag, given, facts, policy) for tag in KNOWN_CLAIMS]
    verdict = _overall(claims)
    return {
        "schema": SCHEMA,
        "run": facts.run,
        "interrupted": _interrupted(facts),
        "verdict": verdict,
        "headline": _headline(verdict, claims, told, facts),
        "claims": claims,
        "requirements": _requirements(given),
        "findings": told,
        "phases": [asdict(phase) for phase in facts.phases],
        "lanes": [_lane(lane) for lane in facts.lanes],
        "performance": [one.as_record(policy) for one in facts.performance],
        "releases": [asdict(span) for span in facts.spans],
        "mixed": {one: [asdict(window) for window in facts.timeline.mixed(one)] for one in facts.services},
        "validators": _validators(facts),
        "resources": tally(facts.resources, still_open=facts.still_open),
        "observers": [_observer(facts, watcher) for watcher in facts.watchers],
        "services": [_service(case) for case in cases],
        "unreadable": dict(facts.unreadable),
        "policy": {
            **asdict(policy),
            "claims": list(policy.claims),
            "attestations": [asdict(one) for one in policy.attestations],
        },
    }


def _interrupted(facts: Facts) -> bool:
    return facts.run.get("state") != "closed"


def _requirements(given: Answers) -> list[dict[str, Any]]:
    """Return one record for each requirement and service, in the order of the checklist."""
    return [
        {
            **asdict(requirement),
            "service": service,
            "result": str(told.result),
            "sentence": told.sentence,
            "evidence": list(told.evidence),
        }
        for requirement in REQUIREMENTS
        for service, by_id in given.items()
        for told in (by_id[requirement.id],)
    ]


def _claim(tag_id: str, given: Answers, facts: Facts, policy: Policy) -> dict[str, Any]:
    """Judge one tag: ``verdict`` is what this run shows, ``tag_supported`` what the tag asks beyond any run, too."""
    tag = TAGS[tag_id]
    own = [one for one in REQUIREMENTS if one.tag == tag_id and one.kind != "note"]
    shown = {service: _results(own, by_id, attested=False) for service, by_id in given.items()}
    strict = {service: _results(own, by_id, attested=True) for service, by_id in given.items()}
    services = {service: _verdict(results.values(), facts) for service, results in shown.items()}
    verdict = _worst(services.values())
    return {
        "id": tag.id,
        "title": tag.title,
        "tag": tag.name,
        "question": tag.question,
        "asked": tag_id in policy.claims,
        "verdict": verdict,
        "services": services,
        "counts": dict(sorted(Counter(str(one) for part in shown.values() for one in part.values()).items())),
        "tag_supported": _worst(_verdict(part.values(), facts) for part in strict.values()),
        "sentence": _sentence(tag_id, verdict, given, own, facts),
    }


def _results(own: Sequence[Requirement], by_id: Mapping[str, Answer], *, attested: bool) -> dict[str, Result]:
    """Return the results that count; what only a person can vouch for counts for the tag, not for the run."""
    return {one.id: by_id[one.id].result for one in own if attested or one.kind != "attested"}


def _verdict(results: Iterable[Result], facts: Facts) -> str:
    every = list(results)
    if Result.FAIL in every:
        return NOT_MET
    whole = every and all(one in GOOD for one in every) and not _interrupted(facts)
    return MET if whole else INCONCLUSIVE


def _worst(verdicts: Iterable[str]) -> str:
    every = set(verdicts)
    return next((one for one in (NOT_MET, INCONCLUSIVE, MET) if one in every), INCONCLUSIVE)


def _overall(claims: Sequence[Mapping[str, Any]]) -> str:
    return _worst(claim["verdict"] for claim in claims if claim["asked"])


def _sentence(tag: str, verdict: str, given: Answers, own: Sequence[Requirement], case_facts: Facts) -> str:
    """Say in one line what decided a claim: the failures, or what is good and what is missing."""
    if not given:
        return "Nothing was recorded of any service."
    measured = [one for one in own if one.kind == "measured"]
    bad = [
        (name, one.id, by_id[one.id])
        for one in measured
        for name, by_id in given.items()
        if _is(by_id, one, Result.FAIL)
    ]
    if bad:
        return _failures(bad)
    if verdict == NOT_MET:
        below = [one for one in own if one.kind == "derived"]
        return _failures(
            [
                (name, one.id, by_id[one.id])
                for one in below
                for name, by_id in given.items()
                if _is(by_id, one, Result.FAIL)
            ]
        )
    missing = [one.id for one in measured if any(_is(by_id, one, Result.NOT_PROVEN) for by_id in given.values())]
    lead = _lead(tag, given, case_facts)
    if missing:
        return f"{lead}Not proven: {', '.join(missing)}."
    if verdict == MET:
        return lead.strip() or "Everything it asks for was seen."
    return f"{lead}{'The run was interrupted.' if _interrupted(case_facts) else 'What it builds on is not proven.'}"


def _failures(bad: Sequence[tuple[str, str, Answer]]) -> str:
    """Name the services of the first failed requirement, and say what one of them is told."""
    first = bad[0][1]
    here = [(service, answer) for service, one, answer in bad if one == first]
    here.sort(key=lambda one: -one[1].weight)
    also = list(dict.fromkeys(service for service, one, _answer in bad if service not in dict(here)))
    others = [service for service, _answer in here[1:]] + also
    text = f"{here[0][0]}: {here[0][1].sentence}"
    return f"{text} Also {', '.join(others)}." if others else text


def _is(by_id: Mapping[str, Answer], requirement: Requirement, result: Result) -> bool:
    return by_id[requirement.id].result is result


def _lead(tag: str, given: Answers, facts: Facts) -> str:
    """Say what is good about a claim, when its main question has a good answer for all services."""
    main = {"upgrade": "U7", "rolling": "R2", "zero_downtime": "Z2", "accessible": "C2"}.get(tag)
    told = [by_id[main] for by_id in given.values()] if main else []
    if any(one.result not in GOOD for one in told) or not any(one.result is Result.PASS for one in told):
        return ""
    if tag == "accessible":
        watched = [lane for lane in facts.lanes if lane.observer == "data_plane"]
    else:
        watched = [lane for lane in facts.lanes if lane.observer == API and lane.published]
    gap = max((lane.seen.longest_gap for lane in watched), default=0.0)
    return {
        "upgrade": "The processes of every service are on the new release. ",
        "rolling": "Both releases of every service ran side by side. ",
        "zero_downtime": f"No API had an outage longer than {gap:.2f} s. ",
        "accessible": f"No time without the server was longer than {gap:.2f} s. ",
    }[tag]


def _headline(
    verdict: str, claims: Sequence[Mapping[str, Any]], told: Sequence[Mapping[str, Any]], facts: Facts
) -> str:
    """Say the verdict in one line that can be the name of a task."""
    parts = [WORDS[verdict]]
    if _interrupted(facts):
        parts.append("the run was interrupted")
    decisive = [claim for claim in claims if claim["asked"] and claim["verdict"] == verdict]
    if verdict != MET and decisive:
        parts.append(", ".join(claim["title"].lower() for claim in decisive))
    first = next((one for one in told if one["severity"] == FAIL), None)
    if verdict == NOT_MET and first:
        parts.append(_short(first))
    if facts.cold:
        planned = max((one["seconds"] or 0 for one in told if one["kind"] == PLANNED), default=0)
        parts.append(f"cold, no API for {planned:.0f} s as planned" if planned else "cold")
    return " - ".join(parts)


def _short(finding: Mapping[str, Any]) -> str:
    if finding["seconds"]:
        return f"{finding['subject']} down {finding['seconds']:.1f} s"
    return f"{finding['subject']}: {finding['what']}"[:160]


def probes(counts: Mapping[str, int]) -> int:
    """Return how many probes said something about their target."""
    return sum(counts.get(key, 0) for key in ("up", "slow", "down"))


def _lane(lane: Lane) -> dict[str, Any]:
    seen, target = lane.seen, lane.seen.target
    fields = ("begin", "end", "lower", "upper", "failures", "kinds", "detail", "cause", "why")
    return {
        "observer": lane.observer,
        "host": lane.host,
        **{key: getattr(target, key) for key in ("name", "service", "via", "mode", "address")},
        **{key: getattr(seen, key) for key in ("begin", "end", "interval", "coverage", "longest_gap", "ended")},
        "published": lane.published,
        "auth": lane.authenticated,
        "counts": dict(seen.counts),
        "probes": probes(seen.counts),
        "kept_resets": getattr(seen, "kept_resets", 0),
        "latency_ms": dict(seen.latency_ms),
        "outages": [{key: getattr(outage, key) for key in fields} for outage in seen.outages],
    }


def _is_direct(one: Outcome) -> bool:
    """Whether what was found is the thing itself: other evidence of a release only leaves several possible."""
    return not one.check.startswith("release_")


def _validators(facts: Facts) -> list[dict[str, Any]]:
    """Count each validator's outcomes for each service and phase, and keep what is not good."""
    groups: dict[tuple[str, str, str], list[Any]] = {}
    for one in facts.outcomes:
        groups.setdefault((one.validator, one.service, one.phase), []).append(one)
    order = {BEFORE: 0, AFTER: 2}
    return [
        {
            "validator": validator,
            "service": service,
            "phase": phase,
            "counts": dict(sorted(Counter(str(one.status) for one in group).items())),
            "found": sorted({str(one.found) for one in group if one.found not in (None, "") and _is_direct(one)})[:8],
            "not_good": [one.as_record() for one in group if one.status not in ("pass", "skip")],
        }
        for (validator, service, phase), group in sorted(
            groups.items(), key=lambda item: (*item[0][:2], order.get(item[0][2], 1), item[0][2])
        )
    ]


def _observer(facts: Facts, watcher: Any) -> dict[str, Any]:
    mine = [one for one in facts.lanes if (one.observer, one.host) == (watcher.observer, watcher.host)]
    # Without a token nothing is asked with one, which is none of the observer's business.
    lanes, plain = [one.seen for one in mine], [one.seen for one in mine if not one.authenticated]
    counts: Counter[str] = Counter()
    for seen in lanes:
        counts.update(seen.counts)
    return {
        "observer": watcher.observer,
        "host": watcher.host,
        "state": watcher.state,
        "scheduler": watcher.status.get("scheduler", ""),
        "last_seen": watcher.last_seen,
        "trouble": trouble_of(watcher, facts),
        "lanes": len(lanes),
        "counts": dict(sorted(counts.items())),
        "probes": probes(counts),
        "coverage": min((seen.coverage for seen in plain), default=None),
        "longest_gap": max((seen.longest_gap for seen in plain), default=None),
        "token_share": token_share(watcher, facts),
        "per_second": round(sum(1 / seen.interval for seen in lanes if seen.interval), 3),
    }


def _service(case: Case) -> dict[str, Any]:
    """Sum up one service's published endpoint since the upgrade began; times in seconds.

    ``longest`` is None when nothing proves of any outage that it lasted: the middle of its bounds would be a guess.
    """
    lanes, every = case.published(), case.felt()
    planned = [one.worst.outage for one in every if is_planned(one, case.facts)]
    felt = [one for one in every if not is_planned(one, case.facts)]
    worst = [one.worst.outage for one in felt]
    survived = [one for one in case.troubles if (one.service, one.cause) == (case.service, Cause.INSTANCE)]
    return {
        "name": case.service,
        "watched": bool(lanes),
        "outages": sum(1 for one in felt if not one.blip),
        "failed_requests": sum(one.failures for one in felt),
        "longest": max((round(one.end - one.begin, 3) for one in worst if one.lower > 0), default=None),
        "planned_downtime": round(sum(one.end - one.begin for one in planned), 3),
        "downtime_lower": round(sum(one.lower for one in worst), 3),
        "downtime_upper": round(sum(one.upper for one in worst), 3),
        "longest_gap": max((lane.seen.longest_gap for lane in lanes), default=None),
        "coverage": min((lane.seen.coverage for lane in lanes), default=None),
        "requests": sum(probes(lane.seen.counts) for lane in lanes),
        "survived_failovers": len(survived),
        "instances": case.facts.timeline.instances(case.service),
    }
