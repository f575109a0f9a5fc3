# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The compactor: whatever happens to it and whenever, the log stays whole."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe import _compact, _compactor
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._compact import (
    compact,
    drop_detail,
    is_compact,
    run_record,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._compactor import (
    Compactor,
    Housekeeping,
    start_compactor,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._log import SAMPLE, LogWriter, segments
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import Kind
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import (
    Observation,
    read_observations,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import SECOND, Clocks

RATE = 20
OFFSET = 1000 * SECOND
LANE = {"name": "a", "service": "s", "via": "public", "mode": "new", "rate": float(RATE), "address": "a:1"}


def write(directory: Path, seconds: int = 40, segment: int = 10, down: int = 10, seed: int = 1) -> LogWriter:
    """A session with an outage of half a second at every so many seconds; it has ended."""
    source = random.Random(seed)
    writer = LogWriter(directory, segment_seconds=segment)
    clocks = [SECOND, OFFSET, 0]
    writer.write_run({"boot_id": "b", "clocks": clocks, "timeout": 1.0, "slow_after": 0.5, "lanes": [LANE]})
    for second in range(1, 1 + seconds):
        for slot in range(RATE):
            window = source.randrange(1000, 20_000)
            kind = Kind.REFUSED if second % down == 0 and slot < RATE // 2 else Kind.UP
            turn = second * SECOND + slot * SECOND // RATE + window * 1000
            writer.write_samples(turn, [SAMPLE.pack(0, kind, 0, 0, 2, -window, window, 0, 0, 0)])
        writer.write_clock(Clocks((second + 1) * SECOND + 20_000_000, OFFSET, 0), 0, 0, 0, 0)
    writer.write_end({"sent_until": (1 + seconds) * SECOND})
    writer.close()
    return writer


def read(directory: Path) -> Observation:
    """The only lane."""
    (observation,) = read_observations(directory)
    return observation


def forms(directory: Path) -> list[bool]:
    """Which segments are compact."""
    return [is_compact(run_record(path)) for path in segments(directory)]


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def processes() -> Iterator[list[Compactor]]:
    """Compactors that are ended at the end."""
    started: list[Compactor] = []
    yield started
    for compactor in started:
        compactor.close()


def test_closed_segments_are_compacted(tmp_path: Path) -> None:
    """All closed segments and no other become small, and say what they said."""
    writer = write(tmp_path)
    before, size = read(tmp_path), sum(path.stat().st_size for path in segments(tmp_path))
    work = Housekeeping(tmp_path, 0)
    report = work.tidy(writer.number)

    assert forms(tmp_path) == [True] * 4 + [False]
    assert report["size"] < size / 4
    assert (report["trouble"], report["without_latency"]) == ("", 0)
    assert read(tmp_path) == before
    assert len(before.outages) == 4
    work.tidy(writer.number + 1)
    assert forms(tmp_path) == [True] * 5
    assert read(tmp_path) == before


class Fatal:
    """The os module, whose function of that number, in the order of calls, is the last thing the process does."""

    def __init__(self, step: int, *, after: bool) -> None:
        self.left = step
        self.after = after

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self.wrap(real) if callable(real) else real

    def wrap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.left -= 1
            if self.left == 0 and not self.after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*arguments)
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call


def die_while(work: Callable[[], None], step: int, *, after: bool) -> bool:
    """Do work in a process that is killed at a step of it; True when it came that far."""
    pid = os.fork()
    if pid == 0:
        _compact.os = Fatal(step, after=after)  # type: ignore[attr-defined]
        try:
            work()
        finally:
            os._exit(0)
    _pid, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dropping", [False, True])
def test_kill_at_each_step(tmp_path: Path, dropping: bool, after: bool) -> None:
    """Killed at any step, the log is complete, nothing counts twice, and the next one finishes the work."""
    writer = write(tmp_path)
    path = segments(tmp_path)[1]
    if dropping:
        compact(path, {})
    before, raw = read(tmp_path), path.read_bytes()
    step = 0
    while True:
        step += 1
        path.write_bytes(raw)
        died = die_while(lambda: drop_detail(path) if dropping else compact(path, {}), step, after=after)
        found = read(tmp_path)

        assert found.outages == before.outages
        assert found.counts == before.counts
        assert found.longest_gap == before.longest_gap
        assert len(segments(tmp_path)) == 5
        if not died:
            break
    assert step > 5
    _compact.remove_partial(tmp_path)
    Housekeeping(tmp_path, 0).tidy(writer.number + 1)

    assert forms(tmp_path) == [True] * 5
    assert read(tmp_path).outages == before.outages
    assert not list(tmp_path.glob("*.tmp"))


def test_compacting_again_changes_nothing(tmp_path: Path) -> None:
    """A segment that is compact already, because only the last step went wrong, is left alone."""
    write(tmp_path)
    path = segments(tmp_path)[1]
    compact(path, {})
    form = path.read_bytes()
    compact(path, {})

    assert path.read_bytes() == form


def test_kill_while_writing(tmp_path: Path) -> None:
    """A form of which only a part was written is no part of the log, and is removed by the next compactor."""
    writer = write(tmp_path)
    before = read(tmp_path)
    segments(tmp_path)[0].with_suffix(".tmp").write_bytes(b"half a segment")
    assert read(tmp_path) == before
    compactor = start_compactor(tmp_path, 0)
    compactor.finish(writer.number + 1, 30)

    assert compactor.state == "ended"
    assert read(tmp_path) == before
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".log"] * 5


def test_full_disk_leaves_segments_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without room is named in the report, the raw segment stays, and it is tried again."""
    writer = write(tmp_path)
    before = read(tmp_path)
    work = Housekeeping(tmp_path, 0)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_compact.os, "fsync", full)
        report = work.tidy(writer.number)
    assert "samples-000001.log stays as it is: No space left on device" in report["trouble"]
    assert forms(tmp_path) == [False] * 5
    assert len(list(tmp_path.iterdir())) == 5
    assert read(tmp_path) == before
    assert work.tidy(writer.number)["trouble"] == ""
    assert forms(tmp_path) == [True] * 4 + [False]
    assert read(tmp_path) == before


def test_damaged_segment_stays_raw(tmp_path: Path) -> None:
    """A segment that cannot be read to its end is never replaced by what could be read of it."""
    writer = write(tmp_path)
    path = segments(tmp_path)[1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    before = read(tmp_path)
    report = Housekeeping(tmp_path, 0).tidy(writer.number + 1)

    assert forms(tmp_path) == [True, False, True, True, True]
    assert report["trouble"] == "samples-000002.log stays as it is: it is damaged"
    assert path.read_bytes() == data
    assert read(tmp_path) == before


def test_usual_latency_is_carried_from_segment_to_segment(tmp_path: Path) -> None:
    """Silence is judged by the same usual latency, even when another compactor goes on in the middle of the log."""
    writer = LogWriter(tmp_path, segment_seconds=10)
    clocks = [SECOND, OFFSET, 0]
    writer.write_run({"boot_id": "b", "clocks": clocks, "timeout": 3.0, "slow_after": 2.0, "lanes": [LANE]})
    for second in range(1, 41):
        silent = SAMPLE.pack(0, Kind.TIMEOUT, 0, 0, 0, -3_000_000, 3_000_000, 0, 0, 0)
        good = SAMPLE.pack(0, Kind.UP, 0, 0, 0, -400_000, 400_000, 0, 0, 0)
        writer.write_samples(second * SECOND + SECOND // 2, [silent if second % 10 == 4 else good])
        writer.write_clock(Clocks((second + 1) * SECOND, OFFSET, 0), 0, 0, 0, 0)
    writer.close()
    before = read(tmp_path)
    Housekeeping(tmp_path, 0).tidy(3)
    assert forms(tmp_path) == [True, True, False, False, False]
    assert read(tmp_path) == before
    Housekeeping(tmp_path, 0).tidy(6)

    assert forms(tmp_path) == [True] * 5
    assert read(tmp_path) == before
    assert before.outages[0].end_low - before.outages[0].begin_low > 0


def test_limit_gives_up_the_oldest_latencies_first(tmp_path: Path) -> None:
    """Beyond the limit the oldest segments lose their latencies, nothing else is lost, and the reader says how many."""
    writer = write(tmp_path, seconds=200, segment=20)
    Housekeeping(tmp_path, 0).tidy(writer.number + 1)
    before = read(tmp_path)
    size = sum(path.stat().st_size for path in segments(tmp_path))
    report = Housekeeping(tmp_path, int(size / 0.8)).tidy(writer.number + 1)
    details = [_compact.has_detail(run_record(path)) for path in segments(tmp_path)]
    found = read(tmp_path)

    assert details == sorted(details)
    assert 0 < report["without_latency"] == details.count(False) < len(details)
    assert report["size"] <= 5 / 8 * size / 0.8
    assert found.latency_dropped > 300
    assert (found.outages, found.counts, found.longest_gap, found.gaps, found.coverage) == (
        before.outages,
        before.counts,
        before.longest_gap,
        before.gaps,
        before.coverage,
    )
    assert found.latency_ms["p50"] == pytest.approx(before.latency_ms["p50"], rel=0.2)


def test_limit_keeps_what_the_observer_is_blamed_for(tmp_path: Path) -> None:
    """That the observer's own host was slow, and not the target, is still known when latencies were given up."""
    writer = LogWriter(tmp_path)
    clocks = [SECOND, OFFSET, 0]
    writer.write_run({"boot_id": "b", "clocks": clocks, "timeout": 1.0, "slow_after": 1.0, "lanes": [LANE]})
    for slot in range(60):
        lane = (Kind.TIMEOUT, 1_000_000) if slot == 30 else (Kind.UP, 2000)
        canary = (Kind.UP, 400_000 if 20 <= slot < 40 else 100)
        for number, (kind, window) in enumerate([lane, canary]):
            packed = SAMPLE.pack(number, kind, 0, 0, 0, -window, window, 0, 0, 0)
            writer.write_samples(3 * SECOND + slot * SECOND // 10, [packed])
    writer.write_end({"sent_until": 9 * SECOND})
    writer.close()
    before = read(tmp_path)
    Housekeeping(tmp_path, 1).tidy(writer.number + 1)

    assert [outage.cause for outage in before.outages] == ["observer"]
    assert read(tmp_path).outages == before.outages


def test_limit_that_cannot_be_held_keeps_all_failures(tmp_path: Path) -> None:
    """When nothing is left to give up, what proves outages is still there."""
    writer = write(tmp_path, seconds=60, segment=10)
    before = read(tmp_path)
    report = Housekeeping(tmp_path, 1).tidy(writer.number + 1)
    found = read(tmp_path)

    assert report["without_latency"] == len(segments(tmp_path)) == 7
    assert found.latency_dropped == before.counts["up"]
    assert found.outages == before.outages
    assert found.counts == before.counts


def test_process_follows_the_log(tmp_path: Path, processes: list[Compactor]) -> None:
    """The process compacts what it is told is closed, reports it, and ends when the observer does."""
    writer = write(tmp_path)
    before = read(tmp_path)
    compactor = start_compactor(tmp_path, 0)
    processes.append(compactor)
    compactor.tell(3)

    def reported() -> bool:
        compactor.poll()
        return bool(compactor.report)

    wait_for(reported)
    assert compactor.report["below"] == 3
    assert forms(tmp_path) == [True, True, False, False, False]
    assert os.getpriority(os.PRIO_PROCESS, compactor.pid) == 19
    compactor.finish(writer.number + 1, 30)

    assert compactor.state == "ended"
    assert forms(tmp_path) == [True] * 5
    assert read(tmp_path) == before


def test_death_of_the_process_is_seen(tmp_path: Path, processes: list[Compactor]) -> None:
    """A compactor that was killed is known to be dead, and nothing waits for it."""
    writer = write(tmp_path)
    compactor = start_compactor(tmp_path, 0)
    processes.append(compactor)
    os.kill(compactor.pid, signal.SIGKILL)

    def dead() -> bool:
        compactor.poll()
        return compactor.state == "died"

    wait_for(dead)
    compactor.tell(writer.number)
    compactor.finish(writer.number + 1, 30)

    assert compactor.state == "died"
    assert read(tmp_path).counts["up"] > 0


def test_end_does_not_wait_for_ever(tmp_path: Path, processes: list[Compactor]) -> None:
    """A compactor that does not come to an end is killed; the log is whole and nothing half done is left."""
    writer = write(tmp_path)
    before = read(tmp_path)
    compactor = start_compactor(tmp_path, 0)
    processes.append(compactor)
    os.kill(compactor.pid, signal.SIGSTOP)
    compactor.finish(writer.number + 1, 0.1)

    assert compactor.state == "died"
    assert read(tmp_path) == before
    assert not list(tmp_path.glob("*.tmp"))


def test_signals_for_the_observer_do_not_end_the_process(tmp_path: Path, processes: list[Compactor]) -> None:
    """SIGTERM to the whole group ends the observer, which still needs its compactor."""
    writer = write(tmp_path)
    compactor = start_compactor(tmp_path, 0)
    processes.append(compactor)
    wait_for(lambda: os.getpriority(os.PRIO_PROCESS, compactor.pid) == 19)
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(compactor.pid, number)
    compactor.finish(writer.number + 1, 30)

    assert compactor.state == "ended"
    assert forms(tmp_path) == [True] * 5


def test_one_compactor_at_a_time(tmp_path: Path, processes: list[Compactor], monkeypatch: pytest.MonkeyPatch) -> None:
    """The compactor of an observer that was killed and that of the next one do not work in the same folder at once."""
    writer = write(tmp_path)
    before = read(tmp_path)
    first = start_compactor(tmp_path, 0)
    processes.append(first)
    wait_for(lambda: _is_locked(tmp_path))
    second = start_compactor(tmp_path, 0)
    processes.append(second)
    second.finish(writer.number + 1, 0.3)
    assert forms(tmp_path) == [False] * 5
    first.finish(writer.number + 1, 30)

    assert forms(tmp_path) == [True] * 5
    assert read(tmp_path) == before


def _is_locked(folder: Path) -> bool:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _compactor.fcntl.flock(descriptor, _compactor.fcntl.LOCK_EX | _compactor.fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
