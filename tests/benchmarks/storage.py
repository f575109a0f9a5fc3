# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a log costs: bytes of a good sample, and the time and memory to read ten million of them.

The log is that of an observer with one lane at 100 probes a second, its canary at 10, its clock each second, and an
outage now and then. The real writer writes it, only faster than the clock, while the real compactor follows it.
bytes_per_sample is the size of everything divided by the number of good samples. Each reading is a process of its own.

Prints one line of JSON; times are medians. read_10m_s is of the clock, raw_us_per_sample of the processor, for a log
that is not compacted.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._compactor import start_compactor
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._log import SAMPLE, LogWriter, segments
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import FLAG_BURST, Kind, LaneSpec
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import read_observations
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import SECOND, Clocks

RATE = 100
SLOT = SECOND // RATE
BEGIN = 1000 * SECOND
OFFSET = 1_700_000_000 * SECOND
OUTAGE_EVERY = 1800 * RATE
OUTAGE_LENGTHS = (1, 50, 300)
"""In slots: 10 ms, half a second, three seconds."""
POOL = 1 << 16


class Reading(NamedTuple):
    """What one reading took and found."""

    seconds: float
    cpu: float
    megabytes: float
    up: int
    outages: int


class Source:
    """Random numbers, drawn beforehand: latencies with a long tail, lateness of a busy host, jitter, clock noise."""

    def __init__(self, seed: int) -> None:
        source = random.Random(seed)
        self.windows = [self._window(source) for _turn in range(POOL)]
        self.late = [int(source.lognormvariate(math.log(45_000), 0.6)) >> 14 for _turn in range(POOL)]
        self.jitter = [int(source.random() * SLOT / 5) for _turn in range(POOL)]
        self.noise = [source.randrange(-5_000, 5_000) for _turn in range(POOL)]

    @staticmethod
    def _window(source: random.Random) -> int:
        usual = source.lognormvariate(math.log(3_000), 0.35)
        return int(usual + (source.expovariate(1 / 30_000) if source.random() < 0.01 else 0)) + 1


def outages(count: int) -> dict[int, int]:
    """For the slots in which an outage begins: the slot in which it ends."""
    starts = range(OUTAGE_EVERY // 2, count - OUTAGE_EVERY // 4, OUTAGE_EVERY)
    return {slot: slot + OUTAGE_LENGTHS[number % len(OUTAGE_LENGTHS)] for number, slot in enumerate(starts)}


def turns(count: int, seed: int) -> Iterator[tuple[int, list[bytes]]]:
    """The turns of the loop: the moment, and the samples of it."""
    source, pack = Source(seed), SAMPLE.pack
    windows, lates, jitters = source.windows, source.late, source.jitter
    ends = outages(count)
    down_until = -1
    for slot in range(count):
        draw = (slot * 40503 + (slot >> 16)) % POOL
        late, window = lates[draw], windows[draw ^ 0x5A5A]
        sent = BEGIN + slot * SLOT + jitters[draw ^ 0x3C3C] + (late << 14)
        down_until = ends.get(slot, down_until)
        if slot < down_until:
            turn = sent + 300_000
            failed = pack(0, Kind.REFUSED, 0, 111, late, -300, 250, 0, 0, 0)
            yield turn, [failed]
            yield turn + SLOT // 2, [pack(0, Kind.REFUSED, FLAG_BURST, 111, 0, -300, 250, 0, 0, 0)]
            continue
        turn = sent + window * 1000 + 30_000
        good = pack(0, Kind.UP, 0, 200, late, (sent - turn) // 1000, window, 150, 0, max(1, window - 120))
        yield turn, [good, pack(1, Kind.UP, 0, 0, 2, -90, 60, 0, 0, 0)] if slot % 10 == 0 else [good]


def write(directory: Path, count: int, seed: int, *, compacted: bool) -> None:
    """The log of so many planned probes."""
    compactor = start_compactor(directory, 0) if compacted else None
    writer = LogWriter(directory)
    lane = LaneSpec(name="target", service="service", via="public", rate=RATE, address="192.0.2.1:80")
    clocks = [BEGIN, OFFSET, 0]
    run = {"boot_id": "b", "clocks": clocks, "timeout": 5.0, "slow_after": 1.0, "lanes": [lane.as_record()]}
    writer.write_run(run)
    noise = Source(seed).noise
    tick = BEGIN + SECOND
    for turn, samples in turns(count, seed):
        writer.write_samples(turn, samples)
        if turn >= tick:
            wander = noise[tick // SECOND % POOL]
            writer.write_clock(Clocks(turn, OFFSET + wander, wander), 140_000 + wander, 0, tick // SECOND * 9_000, 1)
            tick += SECOND
            if compactor is not None:
                compactor.tell(writer.number)
                compactor.poll()
    writer.write_end({"sent_until": BEGIN + count * SLOT, "reason": "duration"})
    writer.close()
    if compactor is not None:
        compactor.finish(writer.number + 1, patience=600)
        if compactor.state != "ended" or compactor.report["trouble"]:
            raise SystemExit(f"the compactor {compactor.state}: {compactor.report}")


def read_in_child(directory: str, pipe: Connection) -> None:
    """Read the log, and tell what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    (observation,) = read_observations(Path(directory))
    took = (time.perf_counter() - wall, time.process_time() - cpu)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send(Reading(*took, memory, observation.counts["up"], len(observation.outages)))


def read(directory: Path, rounds: int) -> list[Reading]:
    """Read the log so many times."""
    context = multiprocessing.get_context("spawn")
    readings = []
    for _turn in range(rounds):
        ours, theirs = context.Pipe()
        child = context.Process(target=read_in_child, args=(str(directory), theirs))
        child.start()
        readings.append(ours.recv())
        child.join()
    return readings


def measure(count: int, rounds: int, seed: int, *, compacted: bool) -> tuple[int, list[Reading]]:
    """The size of a log of so many probes, and its readings. Ends the benchmark when a reading is wrong."""
    planted = outages(count)
    up = count - sum(end - start for start, end in planted.items())
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        began = time.perf_counter()
        write(directory, count, seed, compacted=compacted)
        size = sum(path.stat().st_size for path in segments(directory))
        print(f"{count} probes, {size} bytes, written in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        readings = read(directory, rounds)
    for reading in readings:
        if (reading.up, reading.outages) != (up, len(planted)):
            raise SystemExit(f"wrong: {reading}, not {up} good samples and {len(planted)} outages")
    return size, readings


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000_000)
    parser.add_argument("--raw-count", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    raw_size, raw = measure(options.raw_count, options.rounds, options.seed, compacted=False)
    size, packed = measure(options.count, options.rounds, options.seed, compacted=True)
    share = 10_000_000 / options.count
    result = {
        "benchmark": "storage",
        "bytes_per_sample": round(size / packed[0].up, 3),
        "read_10m_s": round(statistics.median(reading.seconds for reading in packed) * share, 3),
        "read_10m_mb": round(statistics.median(reading.megabytes for reading in packed), 1),
        "raw_us_per_sample": round(statistics.median(reading.cpu / reading.up for reading in raw) * 1e6, 3),
        "raw_bytes_per_sample": round(raw_size / raw[0].up, 1),
        "outages": packed[0].outages,
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
