# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a log says, a minute at a time: the form in which every reader sees raw segments and compact ones alike.

A block of a raw segment is gathered while it is read, one of a compact segment was gathered before; that they are the
same is why a log can be compacted at any time. A block has what is plainly good only as counts, latencies and the
proofs of up that the evidence needs (``_proofs``). Everything else is kept as it was recorded.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple, Protocol

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._canary import PATIENCE
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._histogram import buckets_of
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._log import (
    BASE,
    CLOCK,
    CLOCK_FRAME,
    END,
    RUN,
    SAMPLE,
    SAMPLES,
    read_frames,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import (
    FLAG_BURST,
    FLAG_REUSED,
    UNANSWERED,
    Kind,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._proofs import (
    Evidence,
    Gap,
    Proof,
    Proofs,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import SECOND

BLOCK_TIME = 60 * SECOND
SETTLE = 50_000
"""Microseconds after sending (or after the last sign of life) in which an unanswered request met its fate, at least."""
STEP = 100_000
"""Nanoseconds by which the wall clock must have moved to be noted: discipline moves it by microseconds a second."""
_NOT_PLAIN = 0xFF & ~FLAG_REUSED
_ONE = BASE.size + SAMPLE.size

LaneKey = tuple[str, str, str, bool]
"""name, via, mode and auth: what tells a lane from all others of its observer."""
Typical = MutableMapping[LaneKey, float]
"""The usual latency of each lane in microseconds, carried from segment to segment."""
Sample = tuple[int, ...]
"""The fields of ``_log.SAMPLE``."""


class Latencies(NamedTuple):
    """Buckets of a histogram, one for each answer, and the greatest value in microseconds."""

    buckets: Iterable[int]
    maximum: int


class Second(Protocol):
    """The plainly good answers to what one lane sent in one second of the monotonic clock.

    Latencies are from the actual and from the planned moment of sending; None when they were dropped.
    """

    @property
    def second(self) -> int: ...
    @property
    def count(self) -> int: ...
    def sent(self) -> Latencies | None: ...
    def planned(self) -> Latencies | None: ...


class Kept(NamedTuple):
    """A record as it was written; length: the microseconds from sending in which the probe met its fate."""

    base: int
    length: int
    sample: Sample


class Clock(NamedTuple):
    """The fields of ``_log.CLOCK_FRAME``; the observer's health is that since the clock before."""

    monotonic: int
    wall_offset: int
    boot_offset: int
    lateness: int
    stall: int
    delay: int
    in_flight: int


@dataclass(slots=True)
class LaneBlock:
    """What is plainly good of one lane; its number in the session, the observer's own lane behind all others."""

    number: int
    seconds: list[Second] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


@dataclass(slots=True)
class Block:
    """A stretch of one session.

    last: the latest moment that was recorded; until: no evidence in later blocks ended before; sequence: of the last
    frame.
    """

    sequence: int
    last: int
    until: int
    clocks: list[Clock]
    lanes: list[LaneBlock]
    kept: list[Kept]


class Run(NamedTuple):
    """A session begins, or goes on in a new segment."""

    sequence: int
    record: dict[str, Any]


class End(NamedTuple):
    """A session ended as it should."""

    sequence: int
    record: dict[str, Any]


def lane_key(entry: dict[str, Any]) -> LaneKey:
    """The identity of a lane of a RUN record."""
    return entry["name"], entry["via"], entry["mode"], bool(entry.get("auth", False))


def horizon_of(record: dict[str, Any]) -> int:
    """Nanoseconds that no probe of a session is ever under way."""
    return int((record["timeout"] + 1) * SECOND)


@dataclass(slots=True)
class RawSecond:
    """Good answers as (sent, window, lateness) of the log."""

    second: int
    good: list[tuple[int, int, int]]

    @property
    def count(self) -> int:
        return len(self.good)

    def sent(self) -> Latencies | None:
        return _latencies([window for _begin, window, _late in self.good])

    def planned(self) -> Latencies | None:
        return _latencies([from_plan(window, late) for _begin, window, late in self.good])


def from_plan(window: int, late: int) -> int:
    """Microseconds from the planned moment, where the lateness is one of the log (16.384 us)."""
    return window + late * 2048 // 125


def _latencies(values: list[int]) -> Latencies:
    return Latencies(buckets_of(values), max(values))


class _Lane:
    """One lane while a segment is gathered."""

    __slots__ = ("evidence", "good", "key", "others", "proofs", "seen")

    def __init__(self, key: LaneKey, proofs: Proofs) -> None:
        self.key = key
        self.proofs = proofs
        self.good: list[tuple[int, int, int]] = []
        self.evidence: list[Evidence] = []
        self.others: list[int] = []
        self.seen = 0

    def fresh(self) -> list[int]:
        """The latencies since the last time."""
        latencies = [window for _begin, window, _late in self.good[self.seen :]] + self.others
        self.seen = len(self.good)
        self.others.clear()
        return latencies


def raw_blocks(file: BinaryIO, typical: Typical) -> Iterator[Run | Block | End]:
    """The blocks of a raw segment, from its begin; ``typical`` is brought forward to its end.

    Then the file stands behind the last sound frame.
    """
    frames = read_frames(file)
    kind, sequence, payload = next(frames, (0, 0, b""))
    if kind != RUN:
        return
    record = json.loads(payload)
    yield Run(sequence, record)
    gather = _Gather(record, typical)
    take_samples = gather.take_samples
    for kind, sequence, payload in frames:
        if kind == SAMPLES:
            take_samples(payload)
        elif kind == CLOCK:
            if gather.take_clock(Clock(*CLOCK_FRAME.unpack(payload))):
                yield gather.block(sequence)
        elif kind == END:
            yield gather.last_block(sequence)
            yield End(sequence, json.loads(payload))
            break
    else:
        yield gather.last_block(sequence)
    for _rest in frames:
        pass


class _Gather:
    """Gathers the blocks of one raw segment."""

    def __init__(self, record: dict[str, Any], typical: Typical) -> None:
        begin, self._wall_offset, _boot_offset = record["clocks"]
        self._typical = typical
        self._horizon = horizon_of(record)
        self._slow = int(record["slow_after"] * SECOND) // 1000
        self._lanes = [_Lane(lane_key(entry), Proofs(begin, self._horizon)) for entry in record["lanes"]]
        self._own: list[tuple[int, int, int]] = []
        self._own_slow = min(self._slow, PATIENCE // 1000)
        # The lists stay the same, so that a sample is taken with one call.
        self._takers = [lane.good.append for lane in self._lanes]
        self._base = self._last = self._began = begin
        self._clocks: list[Clock] = []
        self._health: Clock | None = None
        self._kept: list[Kept] = []

    def take_samples(self, payload: bytes) -> None:
        """The payload of a SAMPLES frame. This is where the time goes when a raw log is read."""
        (base,) = BASE.unpack_from(payload)
        self._base = base  # they rise
        slow, takers = self._slow, self._takers
        one = len(payload) == _ONE
        for sample in (SAMPLE.unpack_from(payload, BASE.size),) if one else SAMPLE.iter_unpack(payload[BASE.size :]):
            number, kind, flags, _status, late, sent, window, _connected, _secured, _first = sample
            if kind or flags & _NOT_PLAIN or window > slow:
                self._keep(base, sample)
            elif number < len(takers):
                takers[number]((base + sent * 1000, window, late))
            elif window <= self._own_slow:
                self._own.append((base + sent * 1000, window, late))
            else:
                self._keep(base, sample)

    def _keep(self, base: int, sample: Sample) -> None:
        """What is not plainly good, and the evidence in it."""
        number, kind, flags, _status, _late, sent, window, connected, _secured, first = sample
        length = 0
        if number >= len(self._lanes):
            length = window
        elif kind < Kind.VOID_LATE:
            lane = self._lanes[number]
            length = window
            if kind == Kind.UP and not flags & FLAG_BURST:
                lane.others.append(window)
            elif kind in UNANSWERED:
                # The request met its fate when it arrived, not when we gave up waiting.
                usual = self._typical.get(lane.key, 0.0)
                length = min(window, max(connected, first) + max(SETTLE, int(4 * usual)))
            begin = base + sent * 1000
            lane.evidence.append((begin + length * 1000, begin, kind))
        self._kept.append(Kept(base, length, sample))

    def take_clock(self, clock: Clock) -> bool:
        """A CLOCK frame; True when a block is complete."""
        self._last = max(self._base, clock.monotonic)
        health = self._health = _worst(self._health, clock)
        done = clock.monotonic - self._began >= BLOCK_TIME
        stepped = abs(clock.wall_offset - self._wall_offset) > STEP
        if stepped:
            self._wall_offset = clock.wall_offset
        if stepped or done:
            self._clocks.append(health)
            self._health = None
        for lane in self._lanes:
            self._note_typical(lane)
        return done

    def _note_typical(self, lane: _Lane) -> None:
        """The usual latency follows the median of each second."""
        latencies = lane.fresh()
        if latencies:
            latencies.sort()
            median = latencies[len(latencies) // 2]
            before = self._typical.get(lane.key, median)
            self._typical[lane.key] = before + (median - before) / 8

    def block(self, sequence: int) -> Block:
        """What is complete now."""
        now = self._began = self._last
        return self._block(sequence, now - self._horizon, last=False)

    def last_block(self, sequence: int) -> Block:
        """What is left at the end of the segment."""
        if self._health is not None:
            self._clocks.append(self._health)
        self._last = max(self._base, self._last)
        return self._block(sequence, self._last, last=True)

    def _block(self, sequence: int, settled: int, *, last: bool) -> Block:
        lanes = [self._lane_block(number, lane, settled, last=last) for number, lane in enumerate(self._lanes)]
        if self._own:
            lanes.append(LaneBlock(len(self._lanes), list(_seconds(self._own))))
            self._own.clear()
        block = Block(sequence, self._last, settled - self._horizon, self._clocks, lanes, self._kept)
        self._clocks, self._kept = [], []
        return block

    @staticmethod
    def _lane_block(number: int, lane: _Lane, settled: int, *, last: bool) -> LaneBlock:
        evidence = lane.evidence
        evidence += [(begin + window * 1000, begin, 0) for begin, window, _late in lane.good]
        evidence.sort()
        count = len(evidence) if last else bisect_right(evidence, (settled, settled, 0))
        lane.proofs.take(evidence[:count])
        del evidence[:count]
        proofs = lane.proofs.finish(settled) if last else lane.proofs.settle(settled)
        block = LaneBlock(number, list(_seconds(lane.good)), proofs, lane.proofs.gaps() if last else [])
        lane.good.clear()
        lane.seen = 0
        return block


def _worst(before: Clock | None, clock: Clock) -> Clock:
    """A clock with the worst of two healths."""
    if before is None:
        return clock
    return clock._replace(
        lateness=max(before.lateness, clock.lateness),
        stall=max(before.stall, clock.stall),
        in_flight=max(before.in_flight, clock.in_flight),
    )


def _seconds(good: list[tuple[int, int, int]]) -> Iterator[RawSecond]:
    good.sort()
    begins = [begin for begin, _window, _late in good]
    start = 0
    while start < len(good):
        second = begins[start] // SECOND
        end = bisect_left(begins, (second + 1) * SECOND, start)
        yield RawSecond(second, good[start:end])
        start = end
