# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From an observer's log to observations: streaming, in bounded memory, whatever the length of the run."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._attribution import with_causes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._blocks import (
    STEP,
    Block,
    End,
    Kept,
    LaneBlock,
    LaneKey,
    Run,
    horizon_of,
    lane_key,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._canary import PATIENCE
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._compact import read_log
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._evidence import Span, Sweep
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._histogram import Histogram
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._log import segments
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import (
    FLAG_BURST,
    FLAG_RETRIED,
    NOT_SENT,
    Kind,
    ProbeError,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import SECOND

CONNECTION_LOST = frozenset({Kind.REFUSED, Kind.RESET, Kind.UNREACHABLE, Kind.CONNECT_TIMEOUT})
"""Failures that go with the loss of connections that stood."""
DYING = 1_000_000
"""Nanoseconds that a process takes, at most, from the loss of its listener to that of its connections."""
SLOW_HANDSHAKE = 1000
"""Microseconds from which on it matters that a connection was not let in when it was asked for."""
HERE = "this host"
"""What the observer's host is called where there is no other one."""
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, kw_only=True)
class Target:
    """What was probed. mode: new, kept, icmp, http, tcp or stream; auth: with a token in each request."""

    name: str
    service: str
    via: str
    mode: str
    address: str
    auth: bool = False


@dataclass(frozen=True, kw_only=True)
class Outage:
    """One outage: begin and end are the best guess (wall clock, UTC), lower and upper its proved length (seconds).

    It began from begin_low to begin_high and ended from end_low to end_high; signed: begin is not guessed but dated
    by a connection that the target closed, which is right when its listener died, and changes no bound. cause is one of
    ``_attribution.Cause``, why the sentence that names the evidence for it.
    """

    begin: float
    end: float
    lower: float
    upper: float
    failures: int
    kinds: dict[str, int]
    detail: str
    begin_low: float
    begin_high: float
    end_low: float
    end_high: float
    signed: bool = False
    cause: str = "undetermined"
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one lane saw from begin to end (wall clock). counts: up, down, slow, void, all of the fixed schedule only.

    coverage is the share of the schedule that says something about the target; longest_gap is the longest time in
    seconds without a proof of up, so that no outage that is not reported was longer; gaps are the longest ones as
    (begin, end); ended is False when the observer was lost. Of the void, not_recorded could not be written; the
    latencies of latency_dropped good answers were given up to keep the log small, so latency_ms is of the others.
    """

    target: Target
    begin: float
    end: float
    interval: float
    counts: dict[str, int]
    coverage: float
    longest_gap: float
    outages: tuple[Outage, ...]
    latency_ms: dict[str, float]
    ended: bool
    gaps: tuple[tuple[float, float], ...]
    kept_resets: int = 0
    not_recorded: int = 0
    latency_dropped: int = 0

    def as_record(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def read_observations(directory: Path) -> list[Observation]:
    """All lanes of one observer's log, in the order they were given. Raises ProbeError when there is no log."""
    reader = _Reader()
    for part in read_log(existing_log(directory)):
        reader.take(part)
    return reader.observations()


def existing_log(directory: Path) -> Path:
    """The directory, if there is a log in it. Raises ProbeError."""
    directory = Path(directory)
    if not segments(directory):
        raise ProbeError(f"directory: {directory} holds no samples of an observer")
    return directory


def target_of(entry: dict[str, Any]) -> Target:
    """The target of a lane of a RUN record."""
    fields = {name: entry[name] for name in ("name", "service", "via", "mode", "address")}
    return Target(**fields, auth=bool(entry.get("auth", False)))


class TimeLine:
    """One monotonic time line for a whole log, and the wall clock along it: times of a later boot are shifted."""

    def __init__(self) -> None:
        self.shift = 0
        self.last = 0
        self._boot = ""
        self._sequence = -1
        self._since: list[int] = []
        self._offsets: list[int] = []
        self._noted = 0

    def begin(self, run: Run) -> tuple[int, int]:
        """A session begins or goes on; returns the stretch before in which nothing was observed, which may be empty."""
        monotonic, wall_offset, _boot_offset = run.record["clocks"]
        boot = run.record["boot_id"]
        before = self.last
        # Whatever is missing of a session that goes on was in frames that are lost.
        whole = run.record.get("continued", False) and run.sequence == (self._sequence + 1) & 0xFFFFFFFF
        if self._boot and boot != self._boot:
            # The monotonic clock began anew: continue the time line by the wall clock.
            self.shift = wall_offset - self._offsets[-1]
        self._boot, self._sequence = boot, run.sequence
        now = monotonic + self.shift
        self._note(now, wall_offset)
        self.last = max(self.last, now)
        return (now, now) if whole else (before or now, now)

    def take(self, block: Block) -> None:
        """The clocks of a block."""
        self._sequence = block.sequence
        for clock in block.clocks:
            if abs(clock.wall_offset - self._noted) > STEP:
                self._note(clock.monotonic + self.shift, clock.wall_offset)
        self.last = max(self.last, block.last + self.shift)

    def _note(self, now: int, wall_offset: int) -> None:
        self._noted = wall_offset
        self._since.append(now)
        self._offsets.append(wall_offset - self.shift)

    def wall(self, moment: int) -> float:
        """The wall time of a moment by the offset that held then."""
        place = max(0, bisect_right(self._since, moment) - 1)
        return (moment + self._offsets[place]) / SECOND


@dataclass(slots=True)
class _Lane:
    """What has been read of one lane. Evidence (end, begin, kind, thinned) waits until nothing earlier can follow.

    let_in: when the connections of good probes of bursts stood, by when they were sent, as far as that took time.
    """

    target: Target
    period: int
    begin: int
    sweep: Sweep
    histogram: Histogram = field(default_factory=Histogram)
    pending: list[tuple[int, int, int, bool]] = field(default_factory=list)
    signs: list[int] = field(default_factory=list)
    let_in: dict[int, int] = field(default_factory=dict)
    up: int = 0
    slow: int = 0
    down: int = 0
    void: int = 0
    resets: int = 0
    not_recorded: int = 0
    latency_dropped: int = 0

    def sign_of(self, span: Span) -> int | None:
        """When the target closed a connection as the outage may have begun; the latest such moment, if any.

        A listener dies a moment before its connections do: a sign right behind the first failure says that the outage
        began no earlier than it has to have.
        """
        if CONNECTION_LOST.isdisjoint(span.kinds):
            return None
        place = bisect_right(self.signs, span.begin_high)
        if place and self.signs[place - 1] >= span.begin_low:
            return self.signs[place - 1]
        if place < len(self.signs) and self.signs[place] <= span.begin_high + DYING:
            return span.begin_high
        return None

    def feed(self, until: int) -> None:
        """Hand evidence that ended by then to the sweep."""
        pending = self.pending
        pending.sort()
        done = bisect_right(pending, until, key=lambda evidence: evidence[0])
        for end, begin, kind, thinned in pending[:done]:
            if kind == Kind.UP:
                self.sweep.up(begin, end, thinned=thinned)
            else:
                self.sweep.down(begin, end, kind)
        del pending[:done]

    def take_good(self, part: LaneBlock, shift: int) -> None:
        """The good part of a block."""
        for proof in part.proofs:
            self.pending.append((proof.end + shift, proof.begin + shift, 0, proof.thinned))
        for _length, begin, end in part.gaps:
            self.sweep.without_up(begin + shift, end + shift)
        for second in part.seconds:
            self.up += second.count
            latencies = second.sent()
            if latencies is None:
                self.latency_dropped += second.count
            else:
                self.histogram.extend(latencies.buckets, second.count, latencies.maximum)

    def take_kept(self, kept: Kept, shift: int, slow: int) -> None:
        """A record that is not plainly good. Of the good ones among them the proofs have the evidence."""
        _number, kind, flags, _status, _late, sent, window, connected, _secured, count = kept.sample
        burst = flags & FLAG_BURST
        if kind == Kind.CLOSED:
            self.signs.append(kept.base + sent * 1000 + shift)
            return
        if kind >= Kind.VOID_LATE:
            slots = 0 if burst else planned_probes(kind, count)
            self.void += slots
            self.not_recorded += slots if kind == Kind.VOID_STORAGE else 0
            return
        self.resets += bool(flags & FLAG_RETRIED)
        if kind != Kind.UP:
            begin = kept.base + sent * 1000 + shift
            self.pending.append((begin + kept.length * 1000, begin, kind, False))
            self.down += not burst
        elif not burst:
            self.histogram.add(window)
            self.slow += window > slow
            self.up += window <= slow
        elif connected >= SLOW_HANDSHAKE:
            begin = kept.base + sent * 1000 + shift
            self.let_in[begin] = begin + connected * 1000


def planned_probes(kind: int, count: int) -> int:
    """The planned probes that a void record stands for, where count is the last field of it."""
    return max(1, count) if kind in NOT_SENT else 1


def slow_window(record: dict[str, Any]) -> int:
    """The longest window in microseconds that is not slow, by a RUN record."""
    return int(record["slow_after"] * SECOND) // 1000


class _OwnHost:
    """When the observer's host did not answer its own canary."""

    def __init__(self) -> None:
        self.unfit: list[tuple[int, int]] = []

    def take(self, block: Block, number: int, shift: int) -> None:
        """The canary's late answers in a block: they are never plainly good."""
        found = []
        for kept in block.kept:
            owner, kind, _flags, _status, _late, sent, window, *_phases = kept.sample
            if owner == number and (kind == Kind.TIMEOUT or (kind == Kind.UP and window * 1000 > PATIENCE)):
                begin = kept.base + sent * 1000
                found.append((begin, begin + window * 1000))
        for begin, end in sorted(found):
            self._note(begin + shift, end + shift)

    def _note(self, begin: int, end: int) -> None:
        before = self.unfit[-1] if self.unfit else None
        if before is not None and begin <= before[1] + SECOND:
            self.unfit[-1] = (before[0], max(before[1], end))
        else:
            self.unfit.append((begin, end))


class _Reader:
    """Takes the parts of a log in order."""

    def __init__(self) -> None:
        self._time = TimeLine()
        self._lanes: dict[LaneKey, _Lane] = {}
        self._own_host = _OwnHost()
        self._numbers: list[_Lane] = []
        self._slow = 0
        self._sent_until = 0
        self._ended = False

    def take(self, part: Run | Block | End) -> None:
        """One part."""
        if isinstance(part, Block):
            self._take_block(part)
        elif isinstance(part, Run):
            self._take_run(part)
        else:
            self._sent_until = part.record["sent_until"] + self._time.shift
            self._ended = True

    def _take_run(self, run: Run) -> None:
        away = self._time.begin(run)
        self._slow = slow_window(run.record)
        self._ended = False
        horizon = horizon_of(run.record)
        self._numbers = [self._open_lane(entry, away, horizon) for entry in run.record["lanes"]]

    def _open_lane(self, entry: dict[str, Any], away: tuple[int, int], horizon: int) -> _Lane:
        before, now = away
        lane = self._lanes.get(lane_key(entry))
        if lane is None:
            lane = _Lane(target_of(entry), int(SECOND / entry["rate"]), now, Sweep(now, horizon))
            self._lanes[lane_key(entry)] = lane
        elif before < now:
            lane.feed(now)
            lane.sweep.gap(before, now)
            lane.void += (now - before) // lane.period
        lane.sweep.horizon = max(lane.sweep.horizon, horizon)
        return lane

    def _take_block(self, block: Block) -> None:
        self._time.take(block)
        lanes, shift = self._numbers, self._time.shift
        for part in block.lanes:
            if part.number < len(lanes):
                lanes[part.number].take_good(part, shift)
        for kept in block.kept:
            if kept.sample[0] < len(lanes):
                lanes[kept.sample[0]].take_kept(kept, shift, self._slow)
        self._own_host.take(block, len(lanes), shift)
        for lane in lanes:
            lane.feed(block.until + shift)

    def observations(self) -> list[Observation]:
        """What all lanes saw, with the causes that they tell together."""
        end = self._sent_until if self._ended else self._time.last
        seen = [(HERE, self._observation(lane, end)) for lane in self._lanes.values()]
        wall = self._time.wall
        return with_causes(seen, {HERE: [(wall(low), wall(high)) for low, high in self._own_host.unfit]})

    def _observation(self, lane: _Lane, end: int) -> Observation:
        lane.feed(end + (1 << 62))
        spans = lane.sweep.finish(end)
        seen = lane.up + lane.slow + lane.down
        histogram = lane.histogram
        latency = {name: round(histogram.quantile(share) / 1000, 3) for name, share in QUANTILES.items()}
        return Observation(
            target=lane.target,
            begin=self._time.wall(lane.begin),
            end=self._time.wall(end),
            interval=lane.period / SECOND,
            counts={"up": lane.up, "down": lane.down, "slow": lane.slow, "void": lane.void},
            coverage=round(seen / max(1, seen + lane.void), 6),
            longest_gap=lane.sweep.longest_gap / SECOND,
            outages=tuple(self._outage(span, lane) for span in spans),
            latency_ms=latency | {"max": histogram.maximum / 1000},
            ended=self._ended,
            gaps=tuple((self._time.wall(low), self._time.wall(high)) for low, high in lane.sweep.gaps()),
            kept_resets=lane.resets,
            not_recorded=lane.not_recorded,
            latency_dropped=lane.latency_dropped,
        )

    def _outage(self, span: Span, lane: _Lane) -> Outage:
        sign = lane.sign_of(span)
        begin, end = guess(span, sign, lane.let_in)
        kinds = {Kind(kind).name.lower(): count for kind, count in sorted(span.kinds.items())}
        return Outage(
            begin=self._time.wall(begin),
            end=self._time.wall(end),
            lower=span.lower / SECOND,
            upper=span.upper / SECOND,
            failures=span.failures,
            kinds=kinds,
            detail=describe(span, kinds),
            signed=sign is not None,
            begin_low=self._time.wall(span.begin_low),
            begin_high=self._time.wall(span.begin_high),
            end_low=self._time.wall(span.end_low),
            end_high=self._time.wall(span.end_high),
        )


def guess(span: Span, sign: int | None, let_in: Mapping[int, int]) -> tuple[int, int]:
    """The best guess for begin and end, knowing when the target closed a connection, if it did.

    A lost listener refuses a connection or lets it in when it is asked for, or when the network gets round to it, which
    was by the time it stood at the latest; how long the answer then takes says nothing about it.
    """
    begin, end = span.point
    if span.recovery is not None and not CONNECTION_LOST.isdisjoint(span.kinds):
        end = (span.end_low + max(span.end_low, let_in.get(span.recovery, span.recovery))) // 2
    begin = begin if sign is None else sign
    return begin, max(begin, end)


def describe(span: Span, kinds: dict[str, int]) -> str:
    """One sentence about an outage."""
    what = ", ".join(f"{count} x {kind.replace('_', ' ')}" for kind, count in kinds.items())
    more = "" if span.preceded else "; no success was seen before it"
    more += "" if span.recovered else "; no success was seen after it"
    return what + more
