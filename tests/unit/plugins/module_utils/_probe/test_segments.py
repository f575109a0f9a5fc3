# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Segments: what is written in many files, by a disk that may refuse, below a limit, is one log with nothing hidden."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe import _log
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._log import SAMPLE, LogWriter, segments
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import (
    FLAG_BURST,
    FLAG_RETRIED,
    Kind,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import (
    Observation,
    read_observations,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import SECOND, Clocks

RATE = 10
OFFSET = 1000 * SECOND
LANE = {"name": "a", "service": "s", "via": "public", "mode": "new", "rate": float(RATE), "address": "a:1"}


def up(window: int = 2000, kind: Kind = Kind.UP, flags: int = 0, count: int = 0) -> bytes:
    """A sample that ends with its turn; window in microseconds."""
    return SAMPLE.pack(0, kind, flags, 0, 0, -window, window, 0, 0, count)


def begin(writer: LogWriter, moment: int = 1) -> LogWriter:
    """Begin a session at that second."""
    clocks = [moment * SECOND, OFFSET, 0]
    writer.write_run({"boot_id": "b", "clocks": clocks, "timeout": 1.0, "slow_after": 0.5, "lanes": [LANE]})
    return writer


def run(writer: LogWriter, first: int, behind: int, sample: bytes | None = None) -> None:
    """Probes of those seconds."""
    for second in range(first, behind):
        for slot in range(RATE):
            writer.write_samples(second * SECOND + slot * SECOND // RATE + 5_000_000, [sample or up()])
        writer.write_clock(Clocks((second + 1) * SECOND, OFFSET, 0), 0, 0, 0, 0)


def end(writer: LogWriter, moment: int) -> None:
    """End the session at that second."""
    writer.write_end({"sent_until": moment * SECOND})
    writer.close()


def read(directory: Path) -> Observation:
    """The only lane."""
    (observation,) = read_observations(directory)
    return observation


@contextmanager
def full_disk(directory: Path, room: int = 10) -> Iterator[None]:
    """Let no file of the process grow beyond the size of the last segment and a little room."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        size = segments(directory)[-1].stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, limits[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_session_goes_on_in_the_next_segment(tmp_path: Path) -> None:
    """Segments of one session are one observation without a gap, and each can be read alone."""
    writer = begin(LogWriter(tmp_path, segment_seconds=3))
    run(writer, 1, 11)
    end(writer, 11)
    paths = segments(tmp_path)
    whole = read(tmp_path)

    assert len(paths) == 4
    assert (whole.counts, whole.ended) == ({"up": 100, "down": 0, "slow": 0, "void": 0}, True)
    assert whole.longest_gap < 0.2
    for path in paths[:2]:
        path.unlink()
    assert read(tmp_path).counts["up"] == 40


def test_segment_is_closed_when_it_is_full(tmp_path: Path) -> None:
    """A segment ends at the next second when it has grown beyond its size."""
    writer = begin(LogWriter(tmp_path, segment_bytes=2000))
    run(writer, 1, 11)
    writer.close()

    assert len(segments(tmp_path)) == 3
    assert all(path.stat().st_size < 2800 for path in segments(tmp_path))
    assert read(tmp_path).counts["up"] == 100


def test_missing_segment_was_not_observed(tmp_path: Path) -> None:
    """What is not there any more lowers the coverage and lengthens the gap; it is never taken for good."""
    writer = begin(LogWriter(tmp_path, segment_seconds=3))
    run(writer, 1, 11)
    end(writer, 11)
    segments(tmp_path)[1].unlink()
    observation = read(tmp_path)

    assert observation.counts == {"up": 70, "down": 0, "slow": 0, "void": 30}
    assert observation.longest_gap > 3


def test_damage_inside_of_the_log_was_not_observed(tmp_path: Path) -> None:
    """What a damaged segment hides is void, although the session goes on in the next one."""
    writer = begin(LogWriter(tmp_path, segment_seconds=5))
    run(writer, 1, 11)
    end(writer, 11)
    path = segments(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    observation = read(tmp_path)

    assert observation.counts["up"] < 80
    assert observation.counts["up"] + observation.counts["void"] >= 95
    assert observation.longest_gap > 2


@pytest.mark.parametrize("written", [0, 1, 50])
def test_observer_killed_behind_a_border(tmp_path: Path, written: int) -> None:
    """However little the last segment holds, the log goes on behind it, and the time between is void."""
    writer = begin(LogWriter(tmp_path, segment_seconds=3))
    run(writer, 1, 4)
    path = segments(tmp_path)[-1]
    writer.close()
    os.truncate(path, written)
    second = begin(LogWriter(tmp_path), 9)
    run(second, 9, 11)
    end(second, 11)
    observation = read(tmp_path)

    assert observation.counts["up"] == 50
    assert 49 <= observation.counts["void"] <= 51


def test_refused_samples_are_void(tmp_path: Path) -> None:
    """What a full disk refused is recorded as void as soon as there is room: failures, planned ones, no bursts."""
    writer = begin(LogWriter(tmp_path))
    run(writer, 1, 2)
    with full_disk(tmp_path):
        run(writer, 2, 4)
        writer.write_samples(4 * SECOND, [up(kind=Kind.REFUSED), up(flags=FLAG_BURST), up(0, Kind.VOID_LATE, 0, 7)])
    run(writer, 5, 6)
    end(writer, 6)
    observation = read(tmp_path)

    assert writer.lost_samples == 23
    assert observation.counts == {"up": 20, "down": 0, "slow": 0, "void": 20 + 1 + 7}
    assert observation.not_recorded == 28
    assert observation.coverage == pytest.approx(20 / 48)


def test_disk_that_is_full_at_the_start(tmp_path: Path) -> None:
    """Nothing is recorded before the session's own record; from then on everything is, and what was before is void."""
    writer = LogWriter(tmp_path)
    with full_disk(tmp_path, 0):
        begin(writer)
        run(writer, 1, 3)
    assert writer.error
    run(writer, 3, 5)
    end(writer, 5)
    observation = read(tmp_path)

    assert not writer.error
    assert observation.counts == {"up": 10, "down": 0, "slow": 0, "void": 30}


def test_disk_that_refuses_the_next_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no new file is to be had the session goes on in the old one, and tries again."""
    writer = begin(LogWriter(tmp_path, segment_seconds=2))

    def refuse(*_arguments: Any) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(_log.os, "open", refuse)
        run(writer, 1, 5)
        assert writer.error
    assert len(segments(tmp_path)) == 1
    run(writer, 5, 8)
    end(writer, 8)

    assert len(segments(tmp_path)) == 3
    assert read(tmp_path).counts == {"up": 70, "down": 0, "slow": 0, "void": 0}


def test_log_beyond_its_limit_records_what_is_bad(tmp_path: Path) -> None:
    """Beyond the limit good samples are void but for one a second; failures and bursts are all recorded."""
    writer = begin(LogWriter(tmp_path, max_bytes=4000))
    run(writer, 1, 20)
    thinned = read(tmp_path)
    run(writer, 20, 22, up(kind=Kind.REFUSED))
    run(writer, 22, 23, up(flags=FLAG_BURST))
    run(writer, 23, 33)
    end(writer, 33)
    observation = read(tmp_path)

    assert writer.thinned
    assert thinned.counts["up"] + thinned.counts["void"] == 190
    assert thinned.not_recorded == thinned.counts["void"] > 50
    assert observation.counts["down"] == 20
    (outage,) = observation.outages
    assert outage.lower > 1.8
    assert outage.upper < 3.2
    assert observation.longest_gap < 3.2
    assert observation.counts["up"] == thinned.counts["up"] + 10


def test_end_pays_what_is_owed(tmp_path: Path) -> None:
    """What was left out in the last second is void, too."""
    writer = begin(LogWriter(tmp_path, max_bytes=1))
    run(writer, 1, 2)
    for slot in range(5):
        writer.write_samples(2 * SECOND + slot, [up()])
    end(writer, 3)

    assert read(tmp_path).counts == {"up": 11, "down": 0, "slow": 0, "void": 4}


def test_first_byte_of_a_void_probe_is_no_number_of_probes(tmp_path: Path) -> None:
    """A probe that was sent and then excused is one void probe, whatever its phases; in a burst it is none."""
    writer = begin(LogWriter(tmp_path))
    stalled = up(5000, Kind.VOID_STALL, 0, 3000)
    writer.write_samples(2 * SECOND, [stalled, up(5000, Kind.VOID_STALL, FLAG_BURST, 3000), up(flags=FLAG_RETRIED)])
    end(writer, 3)
    observation = read(tmp_path)

    assert (observation.counts["void"], observation.kept_resets) == (1, 1)


def test_number_of_frames_comes_around(tmp_path: Path) -> None:
    """After four thousand million frames the log goes on, and nothing seems to be missing."""
    writer = begin(LogWriter(tmp_path, segment_seconds=1))
    run(writer, 1, 2)
    writer._sequence = 2**32 - 11  # the next segment begins at 0
    run(writer, 2, 4)
    end(writer, 4)
    segments(tmp_path)[0].unlink()

    assert read(tmp_path).counts == {"up": 20, "down": 0, "slow": 0, "void": 0}
