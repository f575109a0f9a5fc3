# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checklist of the upgrade tags: one pure function for each requirement that a run can show.

Each function answers for one service. What was not measured is NOT PROVEN; there is no other way to end up good than
to have been seen good.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._facts import (
    AFTER,
    BEFORE,
    PERFORMANCE,
    STOPPED,
    UPGRADE,
    Facts,
    Lane,
    Outage,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._outages import (
    FELT,
    GUEST,
    PUBLISHED,
    Trouble,
    answers_in,
    baseline_failures,
    blind_spots,
    counts_against,
    is_planned,
    length_of,
    logs_of,
    too_slow,
    unplaced_failures,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._performance import (
    Measured,
    delays,
    doubts,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._policy import (
    REQUIREMENTS,
    TAGS,
    Policy,
    Requirement,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._releases import Window
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import BAD, Outcome, Status


class Result(StrEnum):
    """What the evidence says about one requirement of one service."""

    PASS = "PASS"  # noqa: S105 - a result, not a password
    FAIL = "FAIL"
    NOT_PROVEN = "NOT PROVEN"
    ATTESTED = "ATTESTED"
    NOT_APPLICABLE = "N/A"


GOOD = frozenset({Result.PASS, Result.ATTESTED, Result.NOT_APPLICABLE})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The result for one requirement of one service, why, and where the evidence is."""

    result: Result
    sentence: str
    evidence: tuple[str, ...] = ()
    weight: float = 0.0  # of several failures of one kind, the one with the most weight is quoted first


@dataclass(frozen=True, kw_only=True)
class Case:
    """One service of one run, with what was already found out about it."""

    service: str
    facts: Facts
    policy: Policy
    troubles: Sequence[Trouble]

    def published(self) -> list[Lane]:
        """Return the lanes of the endpoint that users have."""
        return self.facts.published_of(self.service)

    def felt(self) -> list[Trouble]:
        """Return what users of this service felt during and after the upgrade."""
        mine = [one for one in self.troubles if one.service == self.service and one.where in FELT]
        return [one for one in mine if counts_against(one, self.facts)]

    def outcomes(self, validator: str, *phases: str) -> list[Outcome]:
        """Return one validator's outcomes for this service in these phases, or in all."""
        mine = (one for one in self.facts.outcomes if (one.validator, one.service) == (validator, self.service))
        return [one for one in mine if not phases or one.phase in phases]

    def measured(self) -> list[Measured]:
        """Return how fast this service's operations were."""
        return [one for one in self.facts.performance if one.seen.target.service == self.service]

    def mixed(self) -> list[Window]:
        """Return the times in which both releases of this service ran."""
        return self.facts.timeline.mixed(self.service)


Rule = Callable[[Case], Answer]
OF_THE_UPGRADE = frozenset({"config_of_old_release", "upgrade_check", "database_schema", "online_migrations"})
"""Health checks that have a requirement of their own: they say how the upgrade went, and not how the service is."""
PINS = "release_pins"
UNHEARD = "Its published endpoint gave neither an answer nor a failure that would be the cloud's own."
SURVIVAL = ("persistent_resource", "extension", "grenade_plugin")
"""The validators that make resources before the upgrade and look at them after it."""
HEALTH = ("system_health", "expectation", "external_test")
"""The validators that say whether a service does its work; the first always has to, the others are the user's own."""


def passed(sentence: str, *evidence: str) -> Answer:
    """It was seen to hold."""
    return Answer(result=Result.PASS, sentence=sentence, evidence=evidence)


def failed(sentence: str, *evidence: str, weight: float = 0.0) -> Answer:
    """It was seen not to hold."""
    return Answer(result=Result.FAIL, sentence=sentence, evidence=evidence, weight=weight)


def unproven(sentence: str, *evidence: str) -> Answer:
    """It was not seen, or not well enough."""
    return Answer(result=Result.NOT_PROVEN, sentence=sentence, evidence=evidence)


def not_applicable(sentence: str) -> Answer:
    """There is nothing here that it could be asked of."""
    return Answer(result=Result.NOT_APPLICABLE, sentence=sentence)


def _quote(outcomes: Iterable[Outcome], limit: int = 5) -> tuple[str, ...]:
    lines = [f"{one.validator}/{one.check} {one.subject}: {one.status}, {one.message}" for one in outcomes]
    rest = len(lines) - limit
    return (*lines[:limit], f"and {rest} more in outcomes.jsonl") if rest > 0 else tuple(lines)


def _checked(outcomes: Sequence[Outcome], what: str, missing: str) -> Answer:
    """Answer from outcomes: one fail is a FAIL; anything unseen, broken or missing is NOT PROVEN."""
    judged = [one for one in outcomes if one.status is not Status.SKIP]
    if outcomes and not judged:
        return not_applicable(outcomes[0].message)
    if not judged:
        return unproven(missing)
    bad = [one for one in judged if one.status is Status.FAIL]
    if bad:
        return failed(f"{len(bad)} of {len(judged)} {what} failed: {bad[0].message}", *_quote(bad))
    unseen = [one for one in judged if one.status is not Status.PASS]
    if unseen:
        text = f"{len(unseen)} of {len(judged)} {what} could not be seen: {unseen[0].message}"
        return unproven(text, *_quote(unseen))
    return passed(f"{len(judged)} of {len(judged)} {what} passed.", "outcomes.jsonl")


def _by_check(*checks: str) -> Callable[[Case, str], Answer]:
    """Return a function that answers from the outcomes of these checks, whichever validator made them.

    Before the upgrade they speak of the old code.
    """

    def answer(case: Case, missing: str) -> Answer:
        every = [one for one in case.facts.outcomes if one.service == case.service and one.phase != BEFORE]
        mine = [one for one in every if one.check in checks]
        return _checked(mine, "checks", missing)

    return answer


def finished(case: Case) -> Answer:
    """U0: the deployment tool itself says that it came to its end."""
    ends = [one for one in case.facts.outcomes if one.validator == "driver"]
    bad = [one for one in ends if one.status in BAD]
    if bad:
        return failed(bad[-1].message, "evidence/driver.log", "outcomes.jsonl")
    if case.facts.run.get("state") != "closed":
        return unproven("The run did not reach its end.", "run.json, state")
    if case.facts.phase(UPGRADE) is None:
        return unproven("No upgrade phase was marked.", "events.jsonl, kind phase")
    if ends:
        return _checked(ends, "deployment commands", "")
    if case.facts.run.get("driver"):
        return unproven("How the deployment tool ended was not recorded.")
    return not_applicable("The upgrade was done by others; the release check (U7) says what came of it.")


def has_api(case: Case) -> Answer:
    """U1: a published endpoint that answered."""
    lanes = case.published()
    answered = sum(answers_in(lane.seen.counts) for lane in lanes)
    if answered:
        return passed(f"Its published endpoint answered {answered} times.", *logs_of(lanes))
    mine = [one for one in case.troubles if (one.service, one.where) == (case.service, PUBLISHED)]
    if mine or unplaced_failures(lanes):
        return failed("Its published endpoint never answered as expected.", *logs_of(lanes))
    return unproven("Its published endpoint was not watched." if not lanes else UNHEARD, *logs_of(lanes))


def old_configuration(case: Case) -> Answer:
    """U2a: tried only by running new code on the old files."""
    return _by_check("config_of_old_release")(case, "No check ran new code on the old configuration files.")


def no_intervention(case: Case) -> Answer:
    """U2b: the project's own upgrade check."""
    return _by_check("upgrade_check")(case, "The service's own upgrade check was not run.")


def schema_updates(case: Case) -> Answer:
    """U3a: a second run of the database steps has nothing to do."""
    missing = "It was not checked that a second run of the database steps has nothing to do."
    return _by_check("database_schema", "online_migrations")(case, missing)


def data_kept(case: Case) -> Answer:
    """U3b: every resource made before verifies after."""
    mine = [one for one in _verified(case) if "boot" not in one.check]
    missing = "No resource was made before and verified after the upgrade."
    answer = _checked(mine, "checks of persistent resources", missing)
    before = [one for validator in SURVIVAL for one in case.outcomes(validator, BEFORE)]
    if answer.result is Result.PASS and not any(one.status is Status.PASS for one in before):
        return unproven("Resources verify now, but it was not recorded that they did before the upgrade.")
    return answer


def _verified(case: Case) -> list[Outcome]:
    """Return what verifying persistent resources said after the upgrade; removing them is another matter."""
    every = [one for validator in SURVIVAL for one in case.outcomes(validator, AFTER)]
    return [one for one in every if one.check not in ("created", "removed")]


def _while_stopped(case: Case) -> list[Outcome]:
    """Return what was verified without any API, while a cold upgrade had stopped all services."""
    return [one for validator in SURVIVAL for one in case.outcomes(validator, STOPPED)]


def state_kept(case: Case) -> Answer:
    """U6: nothing that the cloud runs for its users changed its state, neither the test's own resources nor others."""
    own = _own_state_kept(case)
    looks = case.outcomes("cloud_fingerprint", AFTER)
    if not looks or own.result is Result.FAIL:
        return own
    whole = _checked(looks, "looks at the state of the whole cloud", "")
    if own.result is Result.NOT_APPLICABLE:
        return whole
    if whole.result is Result.PASS and own.result is Result.PASS:
        return passed(f"{own.sentence[:-1]}; {whole.sentence}", *own.evidence, *whole.evidence)
    return own if whole.result in GOOD else whole


def _own_state_kept(case: Case) -> Answer:
    """Answer for the test's own resources; a server is proved by its guest's boot id."""
    lost = [one for one in _while_stopped(case) if one.status is Status.FAIL]
    if lost:
        return failed(f"{len(lost)} checks failed while no service ran: {lost[0].message}", *_quote(lost))
    answer = data_kept(case)
    if answer.result is not Result.PASS or case.service != "nova":
        return answer
    boots = [one for one in _verified(case) if "boot" in one.check]
    missing = "Resources verify, but no guest's boot id was compared, so a reboot cannot be excluded."
    told = _checked(boots, "comparisons of a guest's boot id", missing)
    if told.result is Result.PASS:
        return passed(f"{answer.sentence[:-1]}, and the guest kept its boot id.", *answer.evidence, *_quote(boots))
    return unproven(missing) if told.result is Result.NOT_APPLICABLE else told


def released(case: Case) -> Answer:
    """U7: the old release everywhere before, the new one everywhere after, as running processes show."""
    answer = _of_release(case, AFTER, "No release was read from running processes after the upgrade.")
    if answer.result is not Result.PASS:
        return answer
    first = _of_release(case, BEFORE, "The release before the upgrade was not read from running processes.")
    if first.result is not Result.PASS:
        return unproven(f"The release after is right, but before the upgrade: {first.sentence}", *first.evidence)
    old, new = case.facts.run.get("from_release") or "the old", case.facts.run.get("to_release") or "the new"
    before, after = (len(_processes_of(case, phase)) for phase in (BEFORE, AFTER))
    return passed(f"{before} checks show {old} before, {after} show {new} after.", "outcomes.jsonl")


def _processes_of(case: Case, phase: str) -> list[Outcome]:
    """Return what was said of running processes; other evidence is named ``release_...``."""
    return [one for one in case.outcomes("release_version", phase) if not one.check.startswith("release_")]


def _of_release(case: Case, phase: str, missing: str) -> Answer:
    """Answer from running processes; other evidence, such as an API, can only contradict them. Pins are R4's."""
    every = [one for one in case.outcomes("release_version", phase) if one.check != PINS]
    bad = [one for one in every if one.status is Status.FAIL]
    return _checked(bad or _processes_of(case, phase), "checks of its release", missing)


def healthy(case: Case) -> Answer:
    """U8: what was healthy before is healthy after."""
    before, after = (
        [one for name in HEALTH for one in case.outcomes(name, phase) if one.check not in OF_THE_UPGRADE]
        for phase in (BEFORE, AFTER)
    )
    missing = "Its health was not checked after the upgrade."
    answer = _checked(after, "health checks", missing)
    if answer.result is Result.PASS and not case.outcomes(HEALTH[0], AFTER):
        return unproven(f"{answer.sentence} {missing}", *answer.evidence)
    if answer.result is Result.FAIL:
        sick = {_identity(one) for one in before if one.status is Status.FAIL}
        new = [one for one in after if one.status is Status.FAIL and _identity(one) not in sick]
        if not new:
            return unproven(f"It was unhealthy before the upgrade already. {answer.sentence}", *answer.evidence)
        return failed(f"{len(new)} health checks fail that did not before: {new[0].message}", *_quote(new))
    if answer.result is Result.PASS and not any(one.status is Status.PASS for one in case.outcomes(HEALTH[0], BEFORE)):
        return unproven("It is healthy now, but its health before the upgrade was not seen.")
    left_out = _left_out(before, after)
    if answer.result is Result.PASS and left_out:
        text = f"{len(left_out)} tests that passed before were not run after: {left_out[0].subject}"
        return unproven(f"It is healthy, but {text}.", *_quote(left_out))
    return answer


def _left_out(before: Sequence[Outcome], after: Sequence[Outcome]) -> list[Outcome]:
    """Return the user's own tests and expectations that passed before and were left out after.

    Test programs leave out what they take for absent, and people forget what they have asked for. What is meant for
    one time only says so itself.
    """
    ran = {_identity(one) for one in after if one.status is not Status.SKIP}
    good = (one for one in before if one.validator in HEALTH[1:] and one.status is Status.PASS)
    return [one for one in good if not one.evidence.get("once") and _identity(one) not in ran]


def _identity(outcome: Outcome) -> tuple[str, str, str]:
    return outcome.check, outcome.subject, outcome.host


def reachable(case: Case) -> Answer:
    """C2: the way to the server was open all the time."""
    if case.service != "nova":
        return not_applicable("Its resources are not watched on the data plane; servers stand for them under nova.")
    lanes = [lane for lane in case.facts.lanes if lane.observer == "data_plane"]
    cut = [one for one in case.troubles if one.where == GUEST and counts_against(one, case.facts)]
    if cut:
        worst = max(cut, key=lambda one: one.worst.outage.end - one.worst.outage.begin)
        return failed(f"The server could not be reached ({len(cut)} outages; {_length(worst)}).", *logs_of(lanes))
    blind = blind_spots(lanes, case.facts, case.policy)
    if blind:
        return unproven(f"Not shown, because {blind[0]}.", *blind[1:])
    return passed(f"No time without the server was longer than {_gap(lanes)}.", *logs_of(lanes))


def watched(case: Case) -> Answer:
    """C3: the judge of the watching itself."""
    if case.service != "nova":
        return not_applicable("Its resources are not watched on the data plane; servers stand for them under nova.")
    lanes = [lane for lane in case.facts.lanes if lane.observer == "data_plane"]
    blind = blind_spots(lanes, case.facts, case.policy)
    if blind:
        return unproven(f"Not shown, because {blind[0]}.", *blind[1:])
    return passed(f"At least {min(lane.seen.coverage for lane in lanes):.2%} of the time was sampled.", *logs_of(lanes))


def _gap(lanes: Iterable[Lane]) -> str:
    return f"{max(lane.seen.longest_gap for lane in lanes):.2f} s"


def _length(trouble: Trouble) -> str:
    return f"the longest lasted {length_of(trouble.worst.outage)}, {trouble.worst.lane.label}"


def rolled(case: Case) -> Answer:
    """R2: seen in running processes: a time with both releases, in which the API answered."""
    if case.facts.cold:
        return failed("The upgrade was cold: all services were stopped for it, so both releases never served together.")
    windows, timeline = case.mixed(), case.facts.timeline
    if not timeline.of(case.service):
        return unproven("Nobody watched which release its processes ran.")
    if timeline.instances(case.service) < 2:
        return unproven("It has one process on one host only, so it cannot be shown to roll.")
    if not windows:
        return unproven("No moment was seen in which both releases ran.", "samples/release_version")
    longest = max(windows, key=lambda window: (window.seconds, -window.begin))
    served = _served(case, longest)
    text = f"Both releases ran for {longest.seconds:.1f} s, from {_clock(case, longest.begin)}"
    if served:
        return unproven(f"{text}, but {served}.", "samples/release_version")
    sides = [f"{release}: {', '.join(names)}" for release, names in longest.sides.items()]
    where = ("samples/release_version", *sides, *logs_of(case.published()))
    return passed(f"{text}, and the API was served meanwhile.", *where)


def _served(case: Case, window: Window) -> str:
    """Return why it is not shown that the API served in a window; nothing means that it is."""
    lanes = [one for one in case.published() if one.seen.begin <= window.begin and one.seen.end >= window.end]
    if not lanes:
        return "the API was not watched all that time"
    if all(any(_covers(one, window) for one in lane.seen.outages) for lane in lanes):
        return "the API was down all that time"
    return "" if any(answers_in(lane.seen.counts) for lane in lanes) else "the API never answered"


def _covers(outage: Outage, window: Window) -> bool:
    return outage.begin <= window.begin and outage.end >= window.end


def _clock(case: Case, moment: float) -> str:
    upgrade = case.facts.phase(UPGRADE)
    return f"{moment - upgrade.begin:.0f} s after the upgrade began" if upgrade else f"{moment:.0f}"


def together(case: Case) -> Answer:
    """R3: validators that ran while both releases did."""
    windows = case.mixed()
    if not windows:
        return unproven("No moment was seen in which both releases ran.")
    inside = [one for one in case.facts.outcomes if one.service == case.service and _inside(one.time, windows)]
    health = [one for one in inside if one.validator == "system_health"]
    use = [one for one in inside if one.validator == "persistent_resource"]
    bad = [one for one in [*health, *use] if one.status is Status.FAIL]
    if bad:
        return failed(f"While both releases ran, {len(bad)} checks failed: {bad[0].message}", *_quote(bad))
    # Of some services users have nothing of their own, and so nothing to use.
    needed = (health,) if use and all(one.status is Status.SKIP for one in use) else (health, use)
    if all(any(one.status is Status.PASS for one in group) for group in needed):
        return _checked([*health, *use], "checks while both releases ran", "")
    return unproven("Its health and its use were not both checked while both releases ran.")


def _inside(moment: float, windows: Iterable[Window]) -> bool:
    return any(window.begin <= moment <= window.end for window in windows)


def unpinned(case: Case) -> Answer:
    """R4: what is left to do after a rolling upgrade."""
    every = (one for one in case.facts.outcomes if (one.service, one.phase) == (case.service, AFTER))
    mine = [one for one in every if one.check == PINS]
    return _checked(mine, "checks for pins", "It was not checked whether anything is still pinned to the old release.")


def no_downtime(case: Case) -> Answer:
    """Z2: no time without an answer of the published endpoint."""
    lanes = case.published()
    down = [one for one in case.felt() if not one.blip]
    if down:
        worst = max(down, key=lambda one: one.worst.outage.end - one.worst.outage.begin)
        noun = "outage" if len(down) == 1 else "outages"
        seconds = worst.worst.outage.end - worst.worst.outage.begin
        planned = all(is_planned(one, case.facts) for one in down)
        why = "Planned, as the upgrade was cold: " if planned else ""
        return failed(f"{why}{len(down)} {noun}; {_length(worst)}.", *logs_of(lanes), weight=seconds)
    blind = blind_spots(lanes, case.facts, case.policy) or too_slow(lanes, case.policy)
    if blind:
        return unproven(f"Not shown, because {blind[0]}.", *blind[1:])
    return passed(f"No outage longer than {_gap(lanes)} (the longest time between two answers).", *logs_of(lanes))


def no_failures(case: Case) -> Answer:
    """Z3: not one failed request, of whatever kind; the limit is literally zero."""
    lanes = case.published()
    extra = unplaced_failures(lanes)
    count = sum(one.failures for one in case.felt()) + extra
    usual = baseline_failures(case.service, case.troubles)
    if count and usual:
        return unproven(
            f"{count} requests failed since the upgrade began, but {usual} did before already.", *logs_of(lanes)
        )
    if count:
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(_kinds(case).items()))
        noun = "request" if count == 1 else "requests"
        return failed(f"{count} {noun} failed: {kinds or 'kind not recorded'}.", *logs_of(lanes))
    blind = blind_spots(lanes, case.facts, case.policy)
    if blind:
        return unproven(f"Not shown, because {blind[0]}.", *blind[1:])
    if usual:
        return unproven(f"{usual} requests failed before the upgrade, so this cloud cannot show it strictly.")
    return passed(f"0 of {sum(answers_in(lane.seen.counts) for lane in lanes)} requests failed.", *logs_of(lanes))


def _kinds(case: Case) -> dict[str, int]:
    total: dict[str, int] = {}
    for trouble in case.felt():
        for kind, number in trouble.kinds.items():
            total[kind] = total.get(kind, 0) + number
    return total


def overlapped(case: Case) -> Answer:
    """Z6: as R2, and the API was watched in that time."""
    answer = rolled(case)
    if answer.result is not Result.PASS:
        return answer
    blind = blind_spots(case.published(), case.facts, case.policy)
    if blind:
        return unproven(f"Both releases ran, but {blind[0]}.", *blind[1:])
    return answer


def undelayed(case: Case) -> Answer:
    """I3: latencies of operations, from the moment at which they were to be sent, before and during."""
    measured = case.measured()
    late = delays(measured, case.policy)
    if late:
        return failed(f"{late[0].sentence}.", *(one.sentence for one in late[1:6]), *_measured_in(measured))
    doubt = doubts(measured, case.policy)
    if doubt:
        return unproven(f"Not shown, because {doubt[0]}.", *doubt[1:6])
    return passed(f"None of {len(measured)} operations was noticeably slower than before.", *_measured_in(measured))


def no_outliers(case: Case) -> Answer:
    """I5: as I3, but the tag asks for a measurement under load, and nobody puts any on the cloud."""
    measured = case.measured()
    late = delays(measured, case.policy)
    if late:
        return failed(f"Even without load: {late[0].sentence}.", *_measured_in(measured))
    return unproven("Response times were not compared with normal operation under load.")


def _measured_in(measured: Iterable[Measured]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"samples/{PERFORMANCE}/{one.host}" for one in measured))


UNMEASURED: Mapping[str, str] = MappingProxyType(
    {
        "Z4": "No requests were sent whose end could be followed.",
        "Z5": "No cycles of create, read and delete were run, so there is no rate of success.",
        "I2": "The load of the hosts was not measured.",
        "I4": "No load was put on the cloud.",
    }
)
"""What nothing of this collection measures yet."""


def _unmeasured(sentence: str) -> Rule:
    return lambda _case: unproven(sentence)


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "U0": finished,
        "U1": has_api,
        "U2a": old_configuration,
        "U2b": no_intervention,
        "U3a": schema_updates,
        "U3b": data_kept,
        "U6": state_kept,
        "U7": released,
        "U8": healthy,
        "C2": reachable,
        "C3": watched,
        "R2": rolled,
        "R3": together,
        "R4": unpinned,
        "Z2": no_downtime,
        "Z3": no_failures,
        "Z6": overlapped,
        "I3": undelayed,
        "I5": no_outliers,
        **{id_: _unmeasured(sentence) for id_, sentence in UNMEASURED.items()},
    }
)


def answers(case: Case) -> dict[str, Answer]:
    """Return the answer to every requirement, in the order of the checklist."""
    found: dict[str, Answer] = {}
    for requirement in REQUIREMENTS:
        found[requirement.id] = _answer(requirement, case, found)
    return found


def _answer(requirement: Requirement, case: Case, found: Mapping[str, Answer]) -> Answer:
    if requirement.kind == "derived":
        return _derived(requirement, found)
    answer = (
        RULES[requirement.id](case) if requirement.id in RULES else unproven("No run can show this; it needs a link.")
    )
    vouched = case.policy.attested(requirement.id, case.service)
    if vouched and answer.result is Result.NOT_PROVEN:
        return Answer(
            result=Result.ATTESTED, sentence=f"{vouched.by} vouches for it. {answer.sentence}", evidence=(vouched.url,)
        )
    return answer


def _derived(requirement: Requirement, found: Mapping[str, Answer]) -> Answer:
    """Answer for all that the tags below ask of a run."""
    needed = [one for one in REQUIREMENTS if one.tag in TAGS[requirement.tag].needs and one.kind == "measured"]
    by_result = {result: [one.id for one in needed if found[one.id].result is result] for result in Result}
    if by_result[Result.FAIL]:
        titles = [f"{one.title} ({one.id})" for one in needed if one.id in by_result[Result.FAIL]]
        return failed(f"Does not hold: {'; '.join(titles)}.", weight=len(titles))
    if by_result[Result.NOT_PROVEN]:
        return unproven(f"Not proven: {', '.join(by_result[Result.NOT_PROVEN])}.")
    return passed(f"All {len(needed)} hold.")
