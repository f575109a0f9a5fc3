# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compaction against a reader that keeps everything and is too slow to be used."""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe import _blocks, _evidence, _proofs
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._compact import (
    compact,
    read_segment,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._evidence import Span, Sweep
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._histogram import Histogram
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._log import (
    BASE,
    CLOCK,
    RUN,
    SAMPLE,
    SAMPLES,
    LogWriter,
    read_frames,
    segments,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import (
    FLAG_BURST,
    FLAG_RETRIED,
    FLAG_REUSED,
    NOT_SENT,
    UNANSWERED,
    Kind,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import (
    Observation,
    read_observations,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._seconds import read_seconds
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import SECOND, Clocks
from hypothesis import given, settings
from hypothesis import strategies as st

OFFSET = 1_000_000 * SECOND
TIMEOUT = 1.0
RATE = 10.0
LANES = [
    {"name": name, "service": "s", "via": "public", "mode": "new", "rate": RATE, "address": "a:1"} for name in "ab"
]
DOWN = (Kind.REFUSED, Kind.RESET, Kind.TIMEOUT, Kind.STALLED, Kind.HTTP_5XX_SERVICE, Kind.CONNECT_TIMEOUT)
VOID = (Kind.VOID_LATE, Kind.VOID_STALL, Kind.VOID_CANARY, Kind.VOID_STORAGE)


def run_record_at(moment: int) -> dict[str, Any]:
    """A session that begins then."""
    clocks = [moment, OFFSET, 0]
    return {"boot_id": "b", "clocks": clocks, "timeout": TIMEOUT, "slow_after": 0.3, "lanes": LANES}


# A log of an imagined observer


class Story:
    """An observer's log as it can come about: answers out of order, outages, restarts, full segments."""

    def __init__(self, source: random.Random, directory: Path) -> None:
        self.source = source
        self.directory = directory
        self.grain = source.choice([1_000, 1_000_000, 20_000_000])
        self.segment_seconds = source.choice([2, 5, 1000])
        self.trouble = source.choice([0.0, 0.02, 0.3])

    def tell(self, seconds: int) -> None:
        """Write the log."""
        now = 100 * SECOND
        end = now + seconds * SECOND
        while now < end:
            until = now + self.source.randrange(1, 2 * seconds) * SECOND
            now = self.session(now, min(until, end)) + self.source.randrange(5) * SECOND

    def session(self, begin: int, end: int) -> int:
        """One session, which is killed or ends as it should."""
        writer = LogWriter(self.directory, segment_seconds=self.segment_seconds)
        writer.write_run(run_record_at(begin))
        killed = self.source.random() < 0.7
        records = sorted(self.records(begin, end), key=lambda record: record[0])
        clock = begin + SECOND
        for written, sample in records:
            if killed and written > end:
                break
            while clock <= min(written, end):
                writer.write_clock(Clocks(clock, OFFSET, 0), self.source.randrange(1000), 0, 0, 1)
                clock += SECOND
            lane, kind, flags, sent, *rest = sample
            packed = SAMPLE.pack(lane, kind, flags, 0, self.source.randrange(100), (sent - written) // 1000, *rest)
            writer.write_samples(written, [packed])
        if not killed:
            writer.write_end({"sent_until": end})
        writer.close()
        return end + int(TIMEOUT * SECOND) + SECOND

    def records(self, begin: int, end: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        """(when it was written, sample) of all probes; the third lane is the observer's own."""
        for lane in range(3):
            sent, down = begin, False
            while sent < end:
                down = self.source.random() < (0.7 if down else self.trouble)
                kind = self.source.choice(DOWN) if down else Kind.UP
                if self.source.random() < self.trouble / 2:
                    kind = self.source.choice(VOID)
                yield self.record(lane, kind, sent // self.grain * self.grain + begin % self.grain)
                sent += int(SECOND / RATE * self.source.choice([0.05, 0.9, 1, 1.1]))

    def record(self, lane: int, kind: Kind, sent: int) -> tuple[int, tuple[int, ...]]:
        source = self.source
        grain = self.grain // 1000
        longest = int(TIMEOUT * 1_000_000)
        window = source.choice([1, 2000, 20_000, 20_000, source.randrange(1, 100_000), source.randrange(1, longest)])
        window = max(1, window // grain * grain)
        if kind in UNANSWERED:
            window = longest
        flags = source.choice([0, 0, FLAG_REUSED, FLAG_REUSED, FLAG_BURST, FLAG_RETRIED])
        first = source.randrange(1, window + 1) if kind == Kind.STALLED or kind in NOT_SENT else 0
        written = sent + window * 1000 + source.randrange(20) * 1_000_000
        return written, (lane, kind, flags, sent, window, window // 2, 0, first % 5 if kind in NOT_SENT else first)


# The reader that keeps everything


@dataclass
class Memory:
    """All that was seen of one lane; evidence as (end, begin, kind)."""

    evidence: list[tuple[int, int, int]] = field(default_factory=list)
    away: list[tuple[int, int]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    latencies: list[int] = field(default_factory=list)
    fresh: list[int] = field(default_factory=list)
    usual: float = 0.0

    def tick(self) -> None:
        if self.fresh:
            median = sorted(self.fresh)[len(self.fresh) // 2]
            self.usual += (median - self.usual) / 8 if self.usual else median
            self.fresh = []

    def take(self, base: int, sample: tuple[int, ...]) -> None:
        _lane, kind, flags, _status, _late, sent, window, connected, _secured, first = sample
        planned = not flags & FLAG_BURST
        if kind >= 100:
            self.counts["void"] += planned * (max(1, first) if kind in NOT_SENT else 1)
            return
        self.counts["resets"] += bool(flags & FLAG_RETRIED)
        if kind == Kind.UP:
            self.counts["slow" if window > 300_000 else "up"] += planned
            if planned:
                self.latencies.append(window)
                self.fresh.append(window)
        else:
            self.counts["down"] += planned
            if kind in UNANSWERED:
                window = min(window, max(connected, first) + max(50_000, int(4 * self.usual)))
        begin = base + sent * 1000
        self.evidence.append((begin + window * 1000, begin, kind))

    def sweep(self, begin: int, end: int) -> Sweep:
        """The outages, from all evidence at once."""
        sweep = Sweep(begin, 1 << 62)
        away = sorted(self.away)
        for stop, start, kind in sorted(self.evidence):
            while away and stop > away[0][1]:
                sweep.gap(*away.pop(0))
            if kind:
                sweep.down(start, stop, kind)
            else:
                sweep.up(start, stop)
        for stretch in away:
            sweep.gap(*stretch)
        sweep.finish(end)
        return sweep


def remember(directory: Path) -> tuple[list[Memory], int]:  # noqa: C901 - each frame's meaning, in one place
    """What a raw log says, and when it ends."""
    memories = [Memory(), Memory()]
    last, sent_until = 0, 0
    for path in segments(directory):
        with path.open("rb") as file:
            for kind, _sequence, payload in read_frames(file):
                if kind == RUN:
                    record = json.loads(payload)
                    sent_until = 0
                    for memory in memories:
                        memory.fresh = []
                    if not record.get("continued") and last:
                        for memory in memories:
                            memory.away.append((last, record["clocks"][0]))
                    last = max(last, record["clocks"][0])
                elif kind == CLOCK:
                    last = max(last, BASE.unpack_from(payload)[0])
                    for memory in memories:
                        memory.tick()
                elif kind == SAMPLES:
                    (base,) = BASE.unpack_from(payload)
                    last = max(last, base)
                    for sample in SAMPLE.iter_unpack(payload[BASE.size :]):
                        if sample[0] < 2:
                            memories[sample[0]].take(base, sample)
                else:
                    sent_until = json.loads(payload)["sent_until"]
    return memories, sent_until or last


def assert_same(memory: Memory, end: int, observation: Observation) -> None:
    """An observation is what the whole evidence says."""
    sweep = memory.sweep(100 * SECOND, end)
    period = int(SECOND / RATE)
    void = memory.counts["void"] + sum((behind - before) // period for before, behind in memory.away)
    histogram = Histogram()
    for latency in memory.latencies:
        histogram.add(latency)

    assert [describe(span) for span in sweep.spans] == [describe_read(outage) for outage in observation.outages]
    assert observation.longest_gap == sweep.longest_gap / SECOND
    assert list(observation.gaps) == [(wall(low), wall(high)) for low, high in sweep.gaps()]
    assert observation.counts == {name: memory.counts[name] for name in ("up", "down", "slow")} | {"void": void}
    assert observation.kept_resets == memory.counts["resets"]
    assert observation.latency_ms["max"] == histogram.maximum / 1000
    assert observation.latency_ms["p99"] == round(histogram.quantile(0.99) / 1000, 3)
    assert observation.latency_dropped == 0


def wall(moment: int) -> float:
    return (moment + OFFSET) / SECOND


def describe(span: Span) -> tuple[Any, ...]:
    edges = (span.begin_low, span.begin_high, span.end_low, span.end_high)
    kinds = {Kind(kind).name.lower(): count for kind, count in span.kinds.items()}
    return tuple(map(wall, edges)), span.lower / SECOND, span.upper / SECOND, span.failures, kinds


def describe_read(outage: Any) -> tuple[Any, ...]:
    edges = (outage.begin_low, outage.begin_high, outage.end_low, outage.end_high)
    return edges, outage.lower, outage.upper, outage.failures, outage.kinds


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    """Blocks and numbers of gaps so small that their borders are met."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_blocks, "BLOCK_TIME", 3 * SECOND)
        for module in (_evidence, _proofs):
            patch.setattr(module, "MOST_GAPS", 5)
        yield


def compact_some(directory: Path, source: random.Random, share: float) -> None:
    """Compact some segments, in order."""
    typical: _blocks.Typical = {}
    for path in segments(directory):
        if source.random() < share:
            compact(path, typical)
        else:
            list(read_segment(path, typical))


def seconds_of(directory: Path) -> list[tuple[Any, ...]]:
    """The seconds in a form that can be compared."""
    return [
        (one.target, one.second, one.up, one.slow, one.down, one.void, one.sent.counts, one.planned.counts)
        for one in read_seconds(directory)
    ]


@pytest.mark.no_cover
@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 1 << 40), share=st.sampled_from([0.3, 1.0]), seconds=st.sampled_from([4, 15, 40]))
def test_compacted_log_says_the_same(seed: int, share: float, seconds: int) -> None:
    """Outages, bounds, gaps, counts and latencies are those of the whole evidence, raw, compacted and mixed."""
    source = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        Story(source, directory).tell(seconds)
        memories, end = remember(directory)
        raw, raw_seconds = read_observations(directory), seconds_of(directory)
        compact_some(directory, source, share)

        for memory, observation in zip(memories, raw, strict=True):
            assert_same(memory, end, observation)
        assert read_observations(directory) == raw
        assert seconds_of(directory) == raw_seconds
