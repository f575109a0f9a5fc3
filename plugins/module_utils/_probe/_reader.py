# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From an observer's log to observations: streaming, in bounded memory, whatever the length of the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._evidence import Span, Sweep
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._histogram import Histogram
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._log import (
    BASE,
    CLOCK,
    CLOCK_FRAME,
    END,
    RUN,
    SAMPLE,
    SAMPLES,
    Frame,
    read_frames,
    segments,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import (
    FLAG_BURST,
    FLAG_RETRIED,
    UNANSWERED,
    Kind,
    ProbeError,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import SECOND

SETTLE = 50_000_000
"""Nanoseconds after sending (or after the last sign of life) in which an unanswered request met its fate, at least."""
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, kw_only=True)
class Target:
    """What was probed. mode: new, kept, icmp, http or tcp; auth: with a token in each request."""

    name: str
    service: str
    via: str
    mode: str
    address: str
    auth: bool = False


@dataclass(frozen=True, kw_only=True)
class Outage:
    """One outage: begin and end are the best guess (wall clock, UTC), lower and upper its proved length (seconds).

    It began from begin_low to begin_high and ended from end_low to end_high. cause is one of ``_attribution.Cause``, why
    the sentence that names the evidence for it.
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
    cause: str = "undetermined"
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one lane saw from begin to end (wall clock). counts: up, down, slow, void, all of the fixed schedule only.

    coverage is the share of the schedule that says something about the target; longest_gap is the longest time in
    seconds without a proof of up, so that no outage that is not reported was longer; gaps are the longest ones as
    (begin, end); ended is False when the observer was lost.
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

    def as_record(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def read_observations(directory: Path) -> list[Observation]:
    """All lanes of one observer's log, in the order they were given. Raises ProbeError when there is no log."""
    paths = segments(Path(directory))
    if not paths:
        raise ProbeError(f"directory: {directory} holds no samples of an observer")
    reader = _Reader()
    for frame in _frames(paths):
        reader.take(frame)
    return reader.observations()


def _frames(paths: list[Path]) -> Iterator[Frame]:
    for path in paths:
        with path.open("rb") as file:
            yield from read_frames(file)


@dataclass(slots=True)
class _Lane:
    """What has been read of one lane. Evidence waits in pending until nothing earlier can follow."""

    target: Target
    period: int
    begin: int
    sweep: Sweep
    histogram: Histogram = field(default_factory=Histogram)
    pending: list[tuple[int, int, int, int]] = field(default_factory=list)
    up: int = 0
    slow: int = 0
    down: int = 0
    void: int = 0
    resets: int = 0
    median: float = 1_000_000.0

    def feed(self, until: int) -> None:
        """Hand evidence that ended by then to the sweep."""
        pending = self.pending
        pending.sort()
        sweep = self.sweep
        done = 0
        for end, begin, kind, _status in pending:
            if end > until:
                break
            done += 1
            if kind == Kind.UP:
                sweep.up(begin, end)
            else:
                sweep.down(begin, end, kind)
        del pending[:done]


class _Reader:
    """Takes frames in order. Times of a later boot are shifted so that one monotonic time line results."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[str, str, str, bool], _Lane] = {}
        self._numbers: list[_Lane] = []
        self._boot = ""
        self._shift = 0
        self._last = 0
        self._horizon = 0
        self._slow = 0
        self._sent_until = 0
        self._ended = False
        self._offsets: list[tuple[int, int]] = []

    def take(self, frame: Frame) -> None:
        """One frame."""
        if frame.type == SAMPLES:
            self._take_samples(frame.payload)
        elif frame.type == CLOCK:
            self._take_clock(frame.payload)
        elif frame.type == RUN:
            self._take_run(json.loads(frame.payload))
        elif frame.type == END:
            record = json.loads(frame.payload)
            self._sent_until = record["sent_until"] + self._shift
            self._ended = True

    def _take_run(self, record: dict[str, Any]) -> None:
        monotonic, wall_offset, _boot_offset = record["clocks"]
        if self._boot and record["boot_id"] != self._boot:
            # The monotonic clock began anew: continue the time line by the wall clock.
            self._shift = wall_offset - self._offsets[-1][1]
        self._boot = record["boot_id"]
        now = monotonic + self._shift
        before = self._last
        self._horizon = int((record["timeout"] + 1) * SECOND)
        self._slow = int(record["slow_after"] * SECOND)
        self._ended = False
        self._note_offset(now, wall_offset - self._shift)
        self._numbers = [self._open_lane(entry, now, before) for entry in record["lanes"]]

    def _open_lane(self, entry: dict[str, Any], now: int, before: int) -> _Lane:
        auth = bool(entry.get("auth", False))
        key = (entry["name"], entry["via"], entry["mode"], auth)
        lane = self._lanes.get(key)
        if lane is None:
            target = Target(**{name: entry[name] for name in ("name", "service", "via", "mode", "address")}, auth=auth)
            lane = _Lane(target, int(SECOND / entry["rate"]), now, Sweep(now, self._horizon))
            self._lanes[key] = lane
        elif before:
            lane.feed(now)
            lane.sweep.gap(before, now)
            lane.void += max(0, now - before) // lane.period
        return lane

    def _note_offset(self, now: int, offset: int) -> None:
        # Only changes are kept: a clock that is merely disciplined moves by microseconds a second.
        self._last = max(self._last, now)
        if not self._offsets or abs(self._offsets[-1][1] - offset) > 100_000:
            self._offsets.append((now, offset))

    def _take_clock(self, payload: bytes) -> None:
        monotonic, wall_offset, *_rest = CLOCK_FRAME.unpack(payload)
        now = monotonic + self._shift
        self._note_offset(now, wall_offset - self._shift)
        for lane in self._numbers:
            lane.feed(now - self._horizon)

    def _take_samples(self, payload: bytes) -> None:
        base = BASE.unpack_from(payload)[0] + self._shift
        self._last = max(self._last, base)
        lanes = self._numbers
        for sample in SAMPLE.iter_unpack(memoryview(payload)[BASE.size :]):
            if sample[0] >= len(lanes):
                continue  # the canary
            lane, kind = lanes[sample[0]], sample[1]
            if kind >= 100:
                lane.void += sample[9] or 1
                continue
            if sample[2] & FLAG_RETRIED:
                lane.resets += 1
            if kind == Kind.UP:
                self._take_up(lane, base, sample)
            else:
                self._take_down(lane, base, sample)

    def _take_up(self, lane: _Lane, base: int, sample: tuple[int, ...]) -> None:
        _number, _kind, flags, _status, _late, sent, window, *_phases = sample
        begin, length = base + sent * 1000, window * 1000
        lane.pending.append((begin + length, begin, 0, 0))
        if flags & FLAG_BURST:
            return
        lane.histogram.add(window)
        lane.median += lane.median * (0.01 if length > lane.median else -0.01)
        if length > self._slow:
            lane.slow += 1
        else:
            lane.up += 1

    @staticmethod
    def _take_down(lane: _Lane, base: int, sample: tuple[int, ...]) -> None:
        _number, kind, flags, status, _late, sent, window, connected, _secured, first = sample
        begin, length = base + sent * 1000, window * 1000
        if kind in UNANSWERED:
            # The request met its fate when it arrived, not when we gave up waiting.
            alive = max(connected, first) * 1000
            length = min(length, alive + max(SETTLE, int(4 * lane.median)))
        lane.pending.append((begin + length, begin, kind, status))
        if not flags & FLAG_BURST:
            lane.down += 1

    def observations(self) -> list[Observation]:
        """What all lanes saw."""
        end = self._sent_until if self._ended else self._last
        return [self._observation(lane, end) for lane in self._lanes.values()]

    def _observation(self, lane: _Lane, end: int) -> Observation:
        lane.feed(end + (1 << 62))
        spans = lane.sweep.finish(end)
        seen = lane.up + lane.slow + lane.down
        histogram = lane.histogram
        latency = {name: round(histogram.quantile(share) / 1000, 3) for name, share in QUANTILES.items()}
        return Observation(
            target=lane.target,
            begin=self._wall(lane.begin),
            end=self._wall(end),
            interval=lane.period / SECOND,
            counts={"up": lane.up, "down": lane.down, "slow": lane.slow, "void": lane.void},
            coverage=round(seen / max(1, seen + lane.void), 6),
            longest_gap=lane.sweep.longest_gap / SECOND,
            outages=tuple(self._outage(span) for span in spans),
            latency_ms=latency | {"max": histogram.maximum / 1000},
            ended=self._ended,
            gaps=tuple((self._wall(low), self._wall(high)) for low, high in lane.sweep.gaps()),
            kept_resets=lane.resets,
        )

    def _outage(self, span: Span) -> Outage:
        begin, end = span.point
        kinds = {Kind(kind).name.lower(): count for kind, count in sorted(span.kinds.items())}
        return Outage(
            begin=self._wall(begin),
            end=self._wall(end),
            lower=span.lower / SECOND,
            upper=span.upper / SECOND,
            failures=span.failures,
            kinds=kinds,
            detail=describe(span, kinds),
            begin_low=self._wall(span.begin_low),
            begin_high=self._wall(span.begin_high),
            end_low=self._wall(span.end_low),
            end_high=self._wall(span.end_high),
        )

    def _wall(self, moment: int) -> float:
        """The wall time of a moment by the offset that held then."""
        offset = self._offsets[0][1]
        for since, value in self._offsets:
            if since > moment:
                break
            offset = value
        return (moment + offset) / SECOND


def describe(span: Span, kinds: dict[str, int]) -> str:
    """One sentence about an outage."""
    what = ", ".join(f"{count} x {kind.replace('_', ' ')}" for kind, count in kinds.items())
    more = "" if span.preceded else "; no success was seen before it"
    more += "" if span.recovered else "; no success was seen after it"
    return what + more
