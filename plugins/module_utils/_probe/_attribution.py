# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an outage comes from, by what all other lanes saw at the same time. Pure decisions, no I/O.

Only bounds that the probes prove are compared. An outage lasted at least from ``begin_high`` to ``end_low``, its core,
and at most from ``begin_low`` to ``end_high``, its reach. Another lane was *bad* meanwhile when the cores of both meet,
and *good* when none of its outages comes near the reach and it answered, from question to answer, inside of the core.
Everything else is *unknown*, and a cause that needs to know it is not given: the outage is then ``undetermined``.

All times are wall seconds. A lane knows its ``gaps``: the longest stretches that contain no whole answer.
"""

from __future__ import annotations

import enum
import math
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple, Protocol, TypeVar

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import UNANSWERED

KEYSTONE = "keystone"
"""The service without which no other one can accept a token."""
PUBLISHED = "public"
"""How a target names the endpoint that users have; any other name is that of an instance."""
GUEST_MODES = frozenset({"icmp", "tcp", "http", "stream"})
"""Lanes of the data plane; the others are lanes of APIs."""
SILENT = frozenset({kind.name.lower() for kind in UNANSWERED} | {"unreachable"})
"""Kinds without an answer of whatever was asked: they fit a broken path as well as a broken target."""
LOST = frozenset({"connect_timeout", "unreachable", "no_reply"})
"""Those of them in which not a single packet came back."""
CUT = frozenset({"reset", "early_close", "flow_broken"})
"""Kinds in which an open connection ended under its user."""
MOST_NAMES = 4

Stretch = tuple[float, float]


class Cause(enum.StrEnum):
    """What an outage comes from."""

    OBSERVER = "observer"
    PATH = "observer_path"
    LOAD_BALANCER = "load_balancer"
    INSTANCE = "one_instance"
    SERVICE = "all_instances"
    EVICTION = "no_eviction"
    DRAINING = "connection_draining"
    FLOW = "flow_state"
    TOKEN = "token"  # noqa: S105 - a cause, not a secret
    WORKERS = "no_first_byte"
    SYN_LOST = "syn_lost"
    UNDETERMINED = "undetermined"


NOT_THE_CLOUD = frozenset({Cause.OBSERVER, Cause.PATH})
"""Causes that lie with the one who watched: the time was not observed, rather than bad."""


class Attribution(NamedTuple):
    """A cause, and one sentence that names the evidence for it."""

    cause: Cause
    why: str


UNKNOWN_CAUSE = Attribution(Cause.UNDETERMINED, "")


class Outage(Protocol):
    """What is read of an outage; ``cause`` is what an earlier look has found."""

    @property
    def begin_low(self) -> float: ...
    @property
    def begin_high(self) -> float: ...
    @property
    def end_low(self) -> float: ...
    @property
    def end_high(self) -> float: ...
    @property
    def kinds(self) -> Mapping[str, int]: ...
    @property
    def cause(self) -> str: ...
    @property
    def why(self) -> str: ...


class Observation(Protocol):
    """What is read of an observation. ``target`` has name, service, via and mode, and may have auth."""

    @property
    def target(self) -> Any: ...
    @property
    def begin(self) -> float: ...
    @property
    def end(self) -> float: ...
    @property
    def gaps(self) -> Sequence[Stretch]: ...
    @property
    def outages(self) -> Sequence[Any]: ...


class State(enum.Enum):
    """What one lane shows about the time of another one's outage."""

    GOOD = enum.auto()
    BAD = enum.auto()
    UNKNOWN = enum.auto()


class Lane:
    """One observation, made ready to be asked about many outages."""

    def __init__(self, host: str, seen: Observation) -> None:
        target = seen.target
        self.host = host
        self.seen = seen
        self.mode: str = target.mode
        self.service: str = target.service
        self.via: str = target.via
        self.auth: bool = getattr(target, "auth", False)
        self.guest = self.mode in GUEST_MODES
        self.published = not self.guest and self.via == PUBLISHED
        self.instance = not self.guest and self.via not in ("", PUBLISHED)
        self.endpoint = (target.name, self.service, self.via)
        self.thing = "data plane" if self.guest else self.service
        self.label = f"{target.name} ({'ping' if self.mode == 'icmp' else self.mode}{', token' if self.auth else ''})"
        self._outages = sorted(seen.outages, key=lambda outage: (outage.begin_low, outage.end_high))
        self._begins = [outage.begin_low for outage in self._outages]
        self._ends = list(accumulate((outage.end_high for outage in self._outages), max))
        # A wall clock that was set back turns a gap around: then all that it passed twice is in doubt.
        self._gaps = [(min(gap), max(gap)) for gap in seen.gaps]
        self._shortest_gap = min((end - begin for begin, end in self._gaps), default=0.0)

    def near(self, begin: float, end: float) -> list[Outage]:
        """Its outages whose reach meets a stretch of time."""
        first, behind = bisect_left(self._ends, begin), bisect_left(self._begins, end)
        return [outage for outage in self._outages[first:behind] if outage.end_high >= begin]

    def answered(self, begin: float, end: float) -> bool:
        """True when it is proved that a question was both asked and answered as expected inside of the stretch."""
        if begin < self.seen.begin or end > self.seen.end or end - begin <= self._shortest_gap:
            return False
        return not any(low <= begin and end <= high for low, high in self._gaps)

    def widest_gap(self, begin: float, end: float) -> float:
        """The longest time in seconds, of those that meet a stretch, in which no whole answer is proved; at most."""
        met = (behind - before for before, behind in self._gaps if before <= end and behind >= begin)
        return max(met, default=self._shortest_gap)

    def state(self, outage: Outage, *, around: bool = False) -> State:
        """What it shows about the time of an outage; around: answers anywhere in its reach will do."""
        near = self.near(outage.begin_low, outage.end_high)
        if any(_both_down(outage, other) for other in near):
            return State.BAD
        stretch = (outage.begin_low, outage.end_high) if around else (outage.begin_high, outage.end_low)
        return State.GOOD if not near and self.answered(*stretch) else State.UNKNOWN


def _both_down(one: Outage, other: Outage) -> bool:
    """True when there is a moment at which both were down in any case."""
    return max(one.begin_high, other.begin_high) <= min(one.end_low, other.end_low)


def _within(outage: Outage, other: Outage) -> bool:
    """True when all failures of an outage happened while the other one lasted in any case."""
    moments = (outage.begin_high, outage.end_low)
    return other.begin_high <= min(moments) and max(moments) <= other.end_low


@dataclass(frozen=True)
class Case:
    """One outage of one lane, and everything else that was watched."""

    lane: Lane
    outage: Outage
    scene: Scene

    @cached_property
    def kinds(self) -> frozenset[str]:
        """How it failed."""
        return frozenset(self.outage.kinds)

    @cached_property
    def silent(self) -> bool:
        """Whether nothing ever answered, so that the path may be as broken as the target."""
        return bool(self.kinds) and self.kinds <= SILENT

    @cached_property
    def here(self) -> dict[State, list[Lane]]:
        """The other lanes of the same host, by what they show."""
        return self.sort(lane for lane in self.scene.lanes if lane.host == self.lane.host)

    @cached_property
    def elsewhere(self) -> dict[State, list[Lane]]:
        """The lanes of other hosts, by what they show."""
        return self.sort(lane for lane in self.scene.lanes if lane.host != self.lane.host)

    def sort(self, lanes: Iterable[Lane]) -> dict[State, list[Lane]]:
        """Lanes by what they show about this outage's time."""
        found: dict[State, list[Lane]] = {state: [] for state in State}
        for lane in lanes:
            if lane is not self.lane:
                found[lane.state(self.outage)].append(lane)
        return found

    def of_service(self, *, published: bool) -> list[Lane]:
        """The plain lanes of the service on this host: of its published endpoint, or of its instances."""
        mine = self.scene.plain[self.lane.host, self.lane.service]
        return [lane for lane in mine if (lane.published if published else lane.instance)]

    @cached_property
    def path_works(self) -> bool:
        """Whether it is known that the host and its network were not what failed."""
        return not self.silent or bool(self.here[State.GOOD])


class Scene:
    """All lanes of all hosts. ``unfit``: for each host the stretches in which it did not answer itself."""

    def __init__(self, lanes: Sequence[Lane], unfit: Mapping[str, Collection[Stretch]]) -> None:
        self.lanes = lanes
        self.unfit = unfit
        self.plain: dict[tuple[str, str], list[Lane]] = {(lane.host, lane.service): [] for lane in lanes}
        for lane in lanes:
            if not lane.auth and not lane.guest:
                self.plain[lane.host, lane.service].append(lane)

    def keystone(self, host: str) -> list[Lane]:
        """The published endpoint of Keystone as a host sees it, with and without a token."""
        return [one for one in self.lanes if (one.host, one.service) == (host, KEYSTONE) and one.published]


Rule = Callable[[Case], "Attribution | None"]
Seen = TypeVar("Seen", bound=Any)


def attribute(
    seen: Iterable[tuple[str, Observation]], unfit: Mapping[str, Collection[Stretch]] | None = None
) -> list[list[Attribution]]:
    """The causes of all outages: for each (host, observation) a list in the order of its outages.

    What an earlier look has put down to the observer stays so: it had the canary to go by. ``unfit`` gives for each
    host the stretches in which its canary did not answer.
    """
    lanes = [Lane(host, observation) for host, observation in seen]
    scene = Scene(lanes, unfit or {})
    return [[_judge(Case(lane, outage, scene)) for outage in lane.seen.outages] for lane in lanes]


def with_causes(seen: Sequence[tuple[str, Seen]], unfit: Mapping[str, Collection[Stretch]] | None = None) -> list[Seen]:
    """The same observations (dataclasses), each outage with its cause and the sentence about it."""
    return [
        replace(observation, outages=tuple(map(_marked, observation.outages, causes)))
        for (_host, observation), causes in zip(seen, attribute(seen, unfit), strict=True)
    ]


def _marked(outage: Any, found: Attribution) -> Any:
    return replace(outage, cause=str(found.cause), why=found.why)


def _judge(case: Case) -> Attribution:
    return next((found for rule in RULES if (found := rule(case))), UNKNOWN_CAUSE)


def _names(lanes: Iterable[Lane]) -> str:
    names = list(dict.fromkeys(lane.label for lane in lanes))
    rest = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _canary(case: Case) -> Attribution | None:
    """The observer's own host did not answer itself: its silence proves nothing."""
    if case.outage.cause == Cause.OBSERVER:
        return Attribution(Cause.OBSERVER, case.outage.why)
    failed = (case.outage.begin_high, case.outage.end_low)
    unfit = case.scene.unfit.get(case.lane.host, ())
    if not case.silent or not any(low <= min(failed) and max(failed) <= high for low, high in unfit):
        return None
    return Attribution(Cause.OBSERVER, "The observer's host did not answer its own canary over loopback all that time.")


def _everything(case: Case) -> Attribution | None:
    """Silence of everything at once: the host that asked, or its network, unless another host tells otherwise."""
    if not case.silent or case.here[State.GOOD] or case.elsewhere[State.BAD]:
        return None
    bad = [case.lane, *case.here[State.BAD]]
    if len({lane.thing for lane in bad}) < 2 or not all(_only_silence(lane, case.outage) for lane in bad):
        return None
    what = f"Nothing that was asked from {case.lane.host} answered ({_names(bad)})"
    if case.elsewhere[State.GOOD]:
        meanwhile = f"while from {case.elsewhere[State.GOOD][0].host} {_names(case.elsewhere[State.GOOD])} did"
        return Attribution(Cause.OBSERVER, f"{what}, {meanwhile}.")
    if any(lane.guest for lane in bad):
        return Attribution(Cause.OBSERVER, f"{what}, the servers' own network among it: the host or its network.")
    return Attribution(
        Cause.UNDETERMINED, f"{what}, and nothing tells the network of the observer from that of the cloud."
    )


def _only_silence(lane: Lane, outage: Outage) -> bool:
    near = lane.near(outage.begin_low, outage.end_high)
    return all(set(other.kinds) <= SILENT for other in near if _both_down(outage, other))


def _path(case: Case) -> Attribution | None:
    """Packets of one host were lost while the same target answered another one."""
    if not case.silent or not case.kinds & LOST:
        return None
    lane = case.lane
    others = [
        one
        for one in case.elsewhere[State.GOOD]
        if (one.endpoint, one.mode, one.auth) == (lane.endpoint, lane.mode, lane.auth)
    ]
    if not others:
        return None
    hosts = ", ".join(dict.fromkeys(one.host for one in others))
    return Attribution(Cause.PATH, f"The same was asked from {hosts} and answered: the path from {lane.host} failed.")


def _token(case: Case) -> Attribution | None:
    """Only what needs a token failed."""
    lane, outage = case.lane, case.outage
    if not lane.auth:
        return None
    plain = case.scene.plain[lane.host, lane.service]
    # The requests are few and their failures short: answers around one are enough, if none near it failed.
    siblings = [(one, one.state(outage, around=True)) for one in plain if (one.via, one.mode) == (lane.via, lane.mode)]
    if any(state is State.BAD for _one, state in siblings):
        return None
    if case.kinds <= {"unauthorized"}:
        return Attribution(Cause.TOKEN, "The service answered, but did not accept the token (401).")
    good = [one for one, state in siblings if state is State.GOOD]
    keystone = [one for one in case.scene.keystone(lane.host) if one is not lane and _was_down_at(one, outage)]
    if good and keystone:
        return Attribution(Cause.TOKEN, f"Without a token {_names(good)} answered, while {_names(keystone)} was down.")
    return _undetermined(case)


def _was_down_at(lane: Lane, outage: Outage) -> bool:
    """True when a lane was down in any case while another one failed."""
    near = lane.near(outage.begin_low, outage.end_high)
    return any(_both_down(outage, other) or _within(outage, other) for other in near)


def _kept(case: Case) -> Attribution | None:
    """Only connections that were open before failed, and no new one did."""
    lane = case.lane
    if lane.mode not in ("kept", "stream"):
        return None
    fresh = [one for one in case.scene.lanes if _is_fresh(one, lane)]
    # Who cuts an open connection has not drained it, however soon he serves again: answers around it are enough.
    states = [one.state(case.outage, around=case.kinds <= CUT) for one in fresh]
    if fresh and all(state is State.GOOD for state in states):
        what = f"Connections that were open failed, and no new one did ({_names(fresh)} answered)"
        if lane.mode == "kept":
            return Attribution(Cause.DRAINING, f"{what}: they were not drained.")
        return Attribution(Cause.FLOW, f"{what}: the state of the flow was lost, on the way or by the server itself.")
    return None if State.BAD in states else _undetermined(case)


def _is_fresh(one: Lane, lane: Lane) -> bool:
    """Whether a lane opens a connection for each probe to the target of a lane that keeps one."""
    modes = ("new",) if lane.mode == "kept" else ("tcp", "http")
    return one.mode in modes and (one.host, one.endpoint, one.auth) == (lane.host, lane.endpoint, lane.auth)


def _survived(case: Case) -> Attribution | None:
    """An instance failed while the published endpoint was good."""
    published = case.of_service(published=True) if case.lane.instance else []
    if not published:
        return None
    names = _names(published)
    if all(one.state(case.outage) is State.GOOD for one in published):
        return Attribution(
            Cause.INSTANCE, f"The published endpoint answered all the time ({names}): users did not feel it."
        )
    if not all(one.state(case.outage, around=True) is State.GOOD for one in published):
        return None
    # Shorter than the time between two requests of its users: none of these failed, more is not known.
    unseen = max(one.widest_gap(case.outage.begin_low, case.outage.end_high) for one in published)
    return Attribution(
        Cause.INSTANCE,
        f"No request to the published endpoint failed around it ({names}): no user was without an answer for"
        f" more than {math.ceil(unseen * 100) / 100:.2f} s.",
    )


def _balancer(case: Case) -> Attribution | None:
    """The published endpoint failed while all instances were good."""
    if not case.lane.published:
        return None
    states = case.sort(case.of_service(published=False))
    if states[State.GOOD] and not states[State.BAD] and not states[State.UNKNOWN]:
        good = _names(states[State.GOOD])
        return Attribution(Cause.LOAD_BALANCER, f"Every instance answered meanwhile, asked directly ({good}).")
    return None


def _not_evicted(case: Case) -> Attribution | None:
    """The published endpoint failed for the requests that went to an instance that was down."""
    if not case.lane.published:
        return None
    return next((found for lane in case.of_service(published=False) if (found := _still_used(case, lane))), None)


def _still_used(case: Case, lane: Lane) -> Attribution | None:
    """Some requests failed again and again while this instance was down and another one good."""
    for away in lane.near(case.outage.begin_low, case.outage.end_high):
        if _within(case.outage, away):
            failed = [one for one in case.lane.near(away.begin_low, away.end_high) if _within(one, away)]
            good = [one for one in case.of_service(published=False) if one.state(away) is State.GOOD]
            if good and len(failed) > 1:
                return Attribution(
                    Cause.EVICTION,
                    f"It failed {len(failed)} times with answers in between while {lane.label} was down and"
                    f" {_names(good)} answered: requests were still sent to what was down.",
                )
    return None


def _lost_syn(case: Case) -> Attribution | None:
    """Handshakes got no answer, also not when they were repeated after one and three seconds."""
    if not case.kinds <= {"connect_timeout"} or not case.path_works:
        return None
    good = _names(case.here[State.GOOD])
    return Attribution(
        Cause.SYN_LOST, f"No handshake was answered, while {good} answered: packets to this address were lost."
    )


def _no_first_byte(case: Case) -> Attribution | None:
    """Connections were accepted, and nothing came."""
    if not case.kinds <= {"timeout"} or case.lane.mode not in ("new", "http"):
        return None
    instances = case.of_service(published=False) if case.lane.published else []
    bad = case.sort(instances)[State.BAD]
    if len(bad) < len(instances):
        return None
    also = f", nor at {_names(bad)}" if bad else ""
    return Attribution(
        Cause.WORKERS,
        f"Connections were accepted, but no first byte came{also}: what accepts them lived, what answers did not.",
    )


def _service(case: Case) -> Attribution | None:
    """All instances were down at once."""
    if case.lane.guest or not case.path_works:
        return None
    instances = case.of_service(published=False)
    down = [one for one in instances if one is case.lane or one.state(case.outage) is State.BAD]
    if not instances or len(down) < len(instances):
        return None
    return Attribution(Cause.SERVICE, f"Every instance that was asked was down at that time ({_names(down)}).")


def _undetermined(case: Case) -> Attribution:
    """Nothing decides; says what is known."""
    parts = []
    if case.here[State.BAD]:
        parts.append(f"also down was {_names(case.here[State.BAD])}")
    if case.here[State.GOOD]:
        parts.append(f"{_names(case.here[State.GOOD])} answered meanwhile")
    unknown = len(case.here[State.UNKNOWN])
    if unknown:
        parts.append(f"{unknown} other lanes were not asked at the very moment" if unknown > 1 else "one was not asked")
    known = "; ".join(parts) or "nothing else was watched"
    return Attribution(Cause.UNDETERMINED, f"What was seen does not tell: {known}.")


RULES: tuple[Rule, ...] = (
    _canary,
    _everything,
    _path,
    _token,
    _not_evicted,
    _kept,
    _survived,
    _balancer,
    _lost_syn,
    _no_first_byte,
    _service,
    _undetermined,
)
"""The first that knows decides: who was asked comes before what was asked, and that before how it failed."""
