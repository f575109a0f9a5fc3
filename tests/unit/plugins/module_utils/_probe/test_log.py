# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The log: what was written is read, whatever happens to the end of the file."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._log import (
    END,
    RUN,
    SAMPLE,
    SAMPLES,
    LogWriter,
    pack_nearest,
    read_frames,
    segments,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import (
    FLAG_BURST,
    Kind,
    ProbeError,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import (
    Observation,
    read_observations,
)

SECOND = 1_000_000_000
LANE = {"name": "a", "service": "keystone", "via": "public", "mode": "new", "rate": 10.0, "address": "127.0.0.1:1"}


def run_record(monotonic: int = SECOND, wall: int = 1000 * SECOND, boot: str = "b1") -> dict[str, Any]:
    """A session that starts at that moment."""
    clocks = [monotonic, wall - monotonic, 0]
    return {"boot_id": boot, "clocks": clocks, "timeout": 1.0, "slow_after": 0.5, "lanes": [LANE]}


def sample(kind: Kind = Kind.UP, sent: int = 0, window: int = 1000, status: int = 0, count: int = 0) -> bytes:
    """One sample; sent and window in microseconds."""
    return SAMPLE.pack(0, kind, 0, status, 0, sent, window, 0, 0, count)


def write(directory: Path, *moments: tuple[float, Kind], **run: Any) -> LogWriter:
    """A log with one frame for each sample, at those seconds."""
    writer = LogWriter(directory)
    writer.write_run(run_record(**run))
    for moment, kind in moments:
        writer.write_samples(int(moment * SECOND), [sample(kind)])
    return writer


def read(directory: Path) -> Observation:
    """The only lane."""
    (observation,) = read_observations(directory)
    return observation


def test_reads_what_was_written(tmp_path: Path) -> None:
    """Counts, times, latency and the outage come back."""
    moments = [(1.1, Kind.UP), (1.2, Kind.REFUSED), (1.3, Kind.REFUSED), (1.4, Kind.UP), (1.5, Kind.UP)]
    writer = write(tmp_path, *moments)
    writer.write_samples(int(1.6 * SECOND), [sample(Kind.VOID_LATE, count=3), sample(window=600_000)])
    writer.write_end({"sent_until": 2 * SECOND})
    writer.close()
    observation = read(tmp_path)

    assert observation.counts == {"up": 3, "down": 2, "slow": 1, "void": 3}
    assert observation.coverage == pytest.approx(6 / 9)
    assert (observation.begin, observation.end, observation.ended) == (1000, 1001, True)
    assert observation.target.service == "keystone"
    (outage,) = observation.outages
    assert (outage.lower, outage.upper) == (pytest.approx(0.099), pytest.approx(0.301))
    assert outage.kinds == {"refused": 2}
    assert 1000.1 < outage.begin < 1000.21
    assert 1000.3 < outage.end < 1000.41
    assert observation.latency_ms["max"] == 600


@pytest.mark.parametrize("cut", [1, 5, 20, 40])
def test_torn_tail_is_cut_off(tmp_path: Path, cut: int) -> None:
    """A log that ends in the middle of a frame is read up to it, and continued behind the last sound one."""
    write(tmp_path, (1.1, Kind.UP), (1.2, Kind.UP)).close()
    (path,) = segments(tmp_path)
    os.truncate(path, path.stat().st_size - cut)
    before = read(tmp_path)
    write(tmp_path, (5.1, Kind.UP), monotonic=5 * SECOND, wall=1004 * SECOND).close()
    after = read(tmp_path)

    assert before.counts["up"] == 1
    assert after.counts["up"] == before.counts["up"] + 1
    assert after.counts["void"] > 30
    assert not after.ended


def test_damage_hides_only_what_follows(tmp_path: Path) -> None:
    """A flipped bit is never read as a sample."""
    write(tmp_path, *((1 + number / 10, Kind.UP) for number in range(10))).close()
    (path,) = segments(tmp_path)
    data = bytearray(path.read_bytes())
    data[-60] ^= 1
    path.write_bytes(data)

    assert read(tmp_path).counts["up"] in (8, 9)


def test_outage_across_a_restart_of_the_observer(tmp_path: Path) -> None:
    """One outage stays one, but the time in which nobody looked is not proved downtime."""
    write(tmp_path, (1.1, Kind.UP), (1.2, Kind.REFUSED)).close()
    write(tmp_path, (5.1, Kind.REFUSED), (5.2, Kind.UP), monotonic=5 * SECOND, wall=1004 * SECOND).close()
    (outage,) = read(tmp_path).outages

    assert outage.lower < 0.2
    assert outage.upper > 4


@pytest.mark.parametrize(
    ("closed", "begin", "signed"),
    [
        (1.15, 1000 + 0.15, True),
        (1.2015, 1000 + 0.201, True),  # a listener dies just before its connections
        (1.25, 1000 + 0.15, False),
        (1.05, 1000 + 0.15, False),
    ],
)
def test_closed_connection_dates_the_begin(tmp_path: Path, closed: float, begin: float, signed: bool) -> None:
    """A connection that closed as an outage began, or right behind its first failure, moves the guess of the begin."""
    moments = [(1.1, Kind.UP), (1.2, Kind.REFUSED), (closed, Kind.CLOSED), (1.3, Kind.REFUSED), (1.4, Kind.UP)]
    write(tmp_path, *moments).close()
    (outage,) = read(tmp_path).outages

    assert outage.signed is signed
    assert outage.begin == pytest.approx(begin, abs=0.001)
    assert outage.begin_low <= outage.begin <= outage.begin_high


@pytest.mark.parametrize(("connected", "end"), [(90_000, 1000 + (0.3 + 0.40) / 2), (500, 1000 + (0.3 + 0.31) / 2)])
def test_slow_handshake_dates_the_end(tmp_path: Path, connected: int, end: float) -> None:
    """A connection is let in by the time it stands; how long the answer then takes says nothing about the listener."""
    writer = write(tmp_path, (1.1, Kind.UP), (1.2, Kind.REFUSED), (1.3, Kind.REFUSED))
    good = SAMPLE.pack(0, Kind.UP, FLAG_BURST, 200, 0, 0, 300_000, connected, 0, 299_000)
    writer.write_samples(int(1.31 * SECOND), [good])
    writer.close()
    (outage,) = read(tmp_path).outages

    assert outage.end == pytest.approx(end, abs=0.001)


def test_times_continue_after_a_reboot(tmp_path: Path) -> None:
    """The monotonic clock begins anew with the next boot; the wall clock links the two."""
    write(tmp_path, (100.1, Kind.UP), monotonic=100 * SECOND, wall=1000 * SECOND).close()
    second = write(tmp_path, (1.1, Kind.REFUSED), (1.2, Kind.UP), wall=1050 * SECOND, boot="b2")
    second.write_end({"sent_until": 2 * SECOND})
    second.close()
    observation = read(tmp_path)

    assert (observation.begin, observation.end) == (1000, 1051)
    assert 1000 < observation.outages[0].begin < observation.outages[0].end < 1050.3
    assert observation.outages[0].lower == 0
    assert observation.longest_gap == pytest.approx(50.1, abs=0.01)


def test_no_log(tmp_path: Path) -> None:
    """A folder without a log is a mistake, never a clean result."""
    with pytest.raises(ProbeError, match="holds no samples"):
        read_observations(tmp_path)


def test_full_disk_is_survived(tmp_path: Path) -> None:
    """A disk that refuses is named, what it refused is counted, and the log stays readable."""
    writer = write(tmp_path, (1.1, Kind.UP))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    (path,) = segments(tmp_path)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, limits[1]))
        writer.write_samples(int(1.2 * SECOND), [sample(), sample()])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)

    assert writer.lost_samples == 2
    assert writer.error
    writer.write_samples(int(1.3 * SECOND), [sample()])
    writer.close()
    assert read(tmp_path).counts["up"] == 2


def test_sample_beyond_all_measure() -> None:
    """Fields for which there is no room are as large or as small as there is room for."""
    fields = (7, Kind.TIMEOUT, 1, 70_000, 1 << 20, -(1 << 40), 1 << 50, -1, 5, 6)

    assert SAMPLE.unpack(pack_nearest(fields)) == (7, Kind.TIMEOUT, 1, 0xFFFF, 0xFFFF, -0x7FFFFFFF, 0xFFFFFFFF, 0, 5, 6)


def test_frames_have_types_and_numbers(tmp_path: Path) -> None:
    """Frames are numbered from 0 and typed."""
    writer = write(tmp_path, (1.1, Kind.UP))
    writer.write_end({"sent_until": 2 * SECOND})
    writer.close()
    with segments(tmp_path)[0].open("rb") as file:
        frames = list(read_frames(file))

    assert [kind for kind, _sequence, _payload in frames] == [RUN, SAMPLES, END]
    assert [sequence for _kind, sequence, _payload in frames] == [0, 1, 2]
