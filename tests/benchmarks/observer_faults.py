# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the observer makes of its own misfortunes, while the server is healthy all the time.

It is stopped, its clock is stepped by half a minute (and set right a second later), it is killed at a thousand random
moments, its disk is full, and it may open no descriptors. None of this is an outage, and nothing that it has written
is ever lost: a sample is acknowledged once the write of its turn has returned, which is counted in memory that the
kill does not reach. Segments are made tiny there, so that kills meet their closing and their compaction, too.

Prints one line of JSON, all numbers: false_outages, slow, samples_lost, samples_invented, unreadable_logs and unsaid
(trouble of which the heartbeat said nothing, or which did not pass with its cause) and died (observers that did not
live to their end), which should all be 0; clock_step (1: it was stepped, 0: not allowed), kills, stops, the greatest
latency while it was stopped again and again (ms), and the void samples of each trouble, which should not be 0.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe import _observer, _sampler
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._compact import is_compact, run_record
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._control import read_status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._log import SAMPLE, LogWriter, segments
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import (
    FLAG_BURST,
    NOT_SENT,
    ProbeError,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._observer import Plan, observe
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._options import api_lanes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import (
    Observation,
    read_observations,
)
from ansible_collections.openstack.upgrade_test.tests.benchmarks.haproxy_events import Backend, wait_for

ALL_ZERO = ("false_outages", "samples_lost", "slow", "samples_invented", "unreadable_logs", "unsaid", "died")
RATE = 100
WORKERS = os.cpu_count() or 1
STOP = 0.5
"""Seconds for which a process is stopped."""
STEP = 30
"""Seconds by which the clock is stepped."""
LIVES = 50
"""Observers after each other in one directory."""
LIFE = (0.005, 0.2)
"""Seconds after which one is killed."""
TINY_SEGMENT = 1500
"""Bytes of a segment of those that are killed: half a dozen in a life."""
SHORT_SECOND = 10_000_000
"""Nanoseconds between two of their heartbeats, which are what makes the compactor work."""
LITTLE = 4096
"""Bytes that a file may have where no disk can be filled; the log soon has more, the heartbeat has not."""
DISK = 2 * 1024 * 1024
"""Bytes of the disk that is filled."""


def lanes_of(port: int, rate: float = RATE) -> list[Any]:
    """Both connection modes."""
    return api_lanes([{"name": "t", "url": f"http://127.0.0.1:{port}/"}], ["new", "kept"], rate)


def run_observer(directory: Path, port: int) -> None:
    """Observe until the stop file."""
    observe(Plan(directory=directory, timeout=1, slow_after=0.2), lanes_of(port))


@contextlib.contextmanager
def observed(directory: Path, port: int, figures: Counter[str]) -> Iterator[int]:
    """An observer in a process of its own, whose pid is given; what it saw is judged at the end."""
    process = multiprocessing.Process(target=run_observer, args=(directory, port))
    process.start()
    try:
        wait_for(lambda: read_status(directory) is not None, "the observer does not start")
        time.sleep(0.5)
        yield process.pid or 0
        time.sleep(0.5)
    finally:
        (directory / "stop").touch()
        process.join()
    figures["died"] += process.exitcode != 0
    observations = read_observations(directory)
    judge(observations, figures)
    last = (read_status(directory) or {})["counts"]
    figures["samples_lost"] += max(0, sum(last.values()) - sum(total(observations).values()))


def judge(observations: list[Observation], figures: Counter[str]) -> None:
    """Count what should not be there."""
    for observation in observations:
        figures["false_outages"] += len(observation.outages)
        figures["slow"] += observation.counts["slow"]
        if observation.outages or observation.counts["slow"]:
            print(observation.target, observation.counts, observation.outages, file=sys.stderr)


def total(observations: list[Observation]) -> Counter[str]:
    """The counts of all lanes."""
    return sum((Counter(observation.counts) for observation in observations), Counter())


# Stopped, and its clock stepped


def stopped(folder: Path, port: int, stops: int, source: random.Random) -> Counter[str]:
    """Stop the observer, the processes beside it, or all of them."""
    figures = Counter(stops=stops)
    directory = folder / "stopped"
    with observed(directory, port, figures) as pid:
        beside = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        for number in range(stops):
            asleep = ([pid], [pid, *beside], [pid], beside)[number % 4]
            for process in asleep:
                os.kill(process, signal.SIGSTOP)
            time.sleep(STOP)
            for process in source.sample(asleep, len(asleep)):
                os.kill(process, signal.SIGCONT)
            time.sleep(source.uniform(0.2, 0.4))
    observations = read_observations(directory)
    figures["stopped_void"] = total(observations)["void"]
    figures["stopped_max_ms"] = round(max(observation.latency_ms["max"] for observation in observations))
    return figures


def stepped(folder: Path, port: int) -> Counter[str]:
    """Step the wall clock forth and back, and back and forth."""
    figures: Counter[str] = Counter()
    with observed(folder / "stepped", port, figures):
        print(f"observer_faults: the wall clock is now stepped by {STEP} s for a second, twice", file=sys.stderr)
        try:
            for step in (STEP, -STEP):
                with stepped_clock(step):
                    time.sleep(1)
                time.sleep(0.5)
            figures["clock_step"] = 1
        except PermissionError:
            print("observer_faults: the wall clock may not be stepped here (CAP_SYS_TIME)", file=sys.stderr)
    return figures


@contextlib.contextmanager
def stepped_clock(step: int) -> Iterator[None]:
    """The wall clock is wrong by that many seconds, and right again afterwards, whatever happens."""
    # The narrowest of many readings: the clocks are read within a fraction of a microsecond of each other.
    _width, offset = min(wall_offset() for _number in range(100))
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))
    try:
        time.clock_settime_ns(time.CLOCK_REALTIME, time.monotonic_ns() + offset + step * 10**9)
        try:
            yield
        finally:
            time.clock_settime_ns(time.CLOCK_REALTIME, time.monotonic_ns() + offset)
    finally:
        signal.signal(signal.SIGTERM, before)


def wall_offset() -> tuple[int, int]:
    """How long the reading took, and what the wall clock is ahead of the monotonic one (ns)."""
    begin, wall, end = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
    return end - begin, wall - (begin + end) // 2


# Killed


class Tally:
    """Numbers that outlive the process which counts them: samples it was about to write, and acknowledged ones."""

    def __init__(self) -> None:
        self._words = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")

    def add(self, word: int, number: int) -> None:
        self._words[word] += number

    @property
    def intended(self) -> int:
        return self._words[0]

    @property
    def acknowledged(self) -> int:
        return self._words[1]

    @property
    def void(self) -> int:
        """Planned probes that were acknowledged as not sent."""
        return self._words[2]


class WitnessedLog(LogWriter):
    """A log that counts what it is given and what it has written."""

    def __init__(self, tally: Tally, lanes: int, directory: Path, **options: Any) -> None:
        super().__init__(directory, **options, segment_bytes=TINY_SEGMENT)
        self._tally = tally
        self._lanes = lanes

    def write_samples(self, base: int, samples: list[bytes]) -> None:
        good, void = self._weigh(samples)
        before = self.lost_samples
        self._tally.add(0, good)
        super().write_samples(base, samples)
        if self.lost_samples == before:
            self._tally.add(1, good)
            self._tally.add(2, void)

    def _weigh(self, samples: list[bytes]) -> tuple[int, int]:
        """Samples of the fixed schedule that say something, and planned probes that were void."""
        good = void = 0
        for lane, kind, flags, *_fields, count in map(SAMPLE.unpack, samples):
            if lane >= self._lanes or flags & FLAG_BURST:
                continue
            if kind < 100:
                good += 1
            else:
                void += count if kind in NOT_SENT else 1
        return good, void


def live(directory: Path, port: int, tally: Tally) -> None:
    """The life of an observer that will be killed: everything in it happens a hundred times as often."""
    os.setpgid(0, 0)
    lanes = lanes_of(port, rate=500)
    ask = _observer._Observer._should_stop

    def beat(self: Any, now: int) -> bool:
        self._each_second(now)
        return ask(self, now)

    _observer.LogWriter = partial(WitnessedLog, tally, len(lanes))  # type: ignore[misc]
    _observer._Observer._should_stop = beat  # type: ignore[method-assign]
    _sampler.TICK = SHORT_SECOND
    observe(Plan(directory=directory, timeout=1, slow_after=0.2), lanes)


def spend(directory: Path, port: int, tally: Tally, source: random.Random) -> bool:
    """One life; False when it was over before it was killed."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            live(directory, port, tally)
        os._exit(3)
    time.sleep(source.uniform(*LIFE))
    with contextlib.suppress(ProcessLookupError):  # it has no group of its own yet
        if source.random() < 0.5:
            os.killpg(pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    _pid, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def compare(directory: Path, tally: Tally) -> Counter[str]:
    """What the log has too little or too much of."""
    try:
        observations = read_observations(directory)
    except ProbeError as error:
        if not tally.acknowledged:
            return Counter()  # killed before its first record
        print(f"unreadable after {tally.acknowledged} samples: {error}", file=sys.stderr)
        return Counter(unreadable_logs=1)
    counts = total(observations)
    seen = counts["up"] + counts["slow"] + counts["down"]
    wrong = Counter(
        samples_lost=max(0, tally.acknowledged - seen) + max(0, tally.void - counts["void"]),
        samples_invented=max(0, seen - tally.intended),
    )
    judge(observations, wrong)
    return wrong


def one_directory(port: int, lives: int, source: random.Random) -> Counter[str]:
    """Observers after each other in one directory."""
    directory, tally = Path(tempfile.mkdtemp()), Tally()
    figures: Counter[str] = Counter()
    for _number in range(lives):
        figures["kills"] += spend(directory, port, tally, source)
        # What is wrong once stays wrong, so only the worst of it counts.
        figures |= compare(directory, tally)
    figures["killed_samples"] = tally.acknowledged
    figures["compacted_segments"] = sum(is_compact(run_record(path)) for path in segments(directory))
    shutil.rmtree(directory, ignore_errors=True)  # a compactor may still be at work
    return figures


def killed(port: int, kills: int, seed: int) -> Counter[str]:
    """So many kills, a few dozen in a directory."""
    source = random.Random(seed)
    return sum((one_directory(port, min(LIVES, kills - done), source) for done in range(0, kills, LIVES)), Counter())


def killed_at_once(port: int, kills: int, seed: int) -> Counter[str]:
    """The same, shared by the processors."""
    share, rest = divmod(kills, WORKERS)
    parts = [(port, share + (number < rest), seed + number) for number in range(WORKERS)]
    with multiprocessing.Pool(WORKERS) as pool:
        return sum(pool.starmap(killed, parts), Counter())


# No room, no descriptors


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system of its own; None where it cannot be had."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder]
    mounted = subprocess.run(mount, check=False, capture_output=True)
    if mounted.returncode:
        print("observer_faults: no disk can be mounted here, only the size of files is limited", file=sys.stderr)
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(path: Path) -> None:
    """Take all the room there is."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass


@contextlib.contextmanager
def limited(pid: int, what: int, limit: int) -> Iterator[None]:
    """The process has a lower limit for a while."""
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, what, before)


@contextlib.contextmanager
def full(pid: int, disk: Path | None) -> Iterator[None]:
    """There is no room for a further byte of the log."""
    if disk is None:
        with limited(pid, resource.RLIMIT_FSIZE, LITTLE):
            yield
        return
    fill(disk / "filler")
    try:
        yield
    finally:
        (disk / "filler").unlink()


def troubled(
    directory: Path, port: int, trouble: Callable[[int], contextlib.AbstractContextManager[None]], word: str
) -> Counter[str]:
    """Trouble for a while: the heartbeat has to go on and to name it, and afterwards to name it no more."""
    figures: Counter[str] = Counter()

    def heard(named: bool) -> bool:
        since = time.time()
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: (read_status(directory) or {}).get("time", 0) > since + 1.5, "no heartbeat")
            return bool((read_status(directory) or {}).get(word)) is named
        return False

    with observed(directory, port, figures) as pid:
        with trouble(pid):
            figures["unsaid"] += not heard(named=True)
        figures["unsaid"] += not heard(named=False)
    figures[f"{word}_void"] = total(read_observations(directory))["void"]
    return figures


def without_room(folder: Path, port: int) -> Counter[str]:
    """The disk is full, or the log at the greatest size a file may have."""
    with small_disk(folder / "disk") as disk:
        directory = (disk or folder) / "full"
        return troubled(directory, port, lambda pid: full(pid, disk), "log_error")


def without_descriptors(folder: Path, port: int) -> Counter[str]:
    """Nothing more can be opened."""
    limit = partial(limited, what=resource.RLIMIT_NOFILE, limit=1)
    return troubled(folder / "descriptors", port, limit, "local_error")


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-step", action="store_true", help="leave the wall clock alone")
    options = parser.parse_args()
    began = time.monotonic()
    figures = Counter(dict.fromkeys(ALL_ZERO, 0), clock_step=0)
    backend = Backend(0)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            figures.update(stopped(folder, backend.port, options.stops, random.Random(options.seed)))
            figures.update(Counter() if options.no_step else stepped(folder, backend.port))
            figures.update(without_room(folder, backend.port))
            figures.update(without_descriptors(folder, backend.port))
        figures.update(killed_at_once(backend.port, options.kills, options.seed))
    finally:
        backend.kill()
    print(json.dumps({"benchmark": "observer_faults", **figures, "seconds": round(time.monotonic() - began, 1)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
