# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Seconds and lines of JSON: the same from every form of a log, and as much as was recorded."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._compact import compact, drop_detail
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._histogram import Histogram
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._log import SAMPLE, LogWriter, segments
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import (
    FLAG_BURST,
    FLAG_RETRIED,
    Kind,
    ProbeError,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import read_observations
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._seconds import (
    export,
    export_to,
    read_seconds,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import SECOND, Clocks

OFFSET = 1_000_000 * SECOND + SECOND // 4
LANES = [
    {"name": name, "service": "s", "via": "public", "mode": "new", "rate": 10.0, "address": "a:1"} for name in "ab"
]


def sample(sent: int, window: int, kind: Kind = Kind.UP, *, late: int = 0, **more: int) -> bytes:
    """A probe of the first lane unless told otherwise; sent from the turn, and window, in microseconds."""
    flags, count, lane = more.get("flags", 0), more.get("count", 0), more.get("lane", 0)
    return SAMPLE.pack(lane, kind, flags, 200, late, sent, window, 0, 0, count)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Three seconds of all kinds of samples; the answer to the last probe of the second one came in the third."""
    writer = LogWriter(tmp_path, segment_seconds=2)
    clocks = [10 * SECOND, OFFSET, 0]
    writer.write_run({"boot_id": "b", "clocks": clocks, "timeout": 1.0, "slow_after": 0.5, "lanes": LANES})
    good = [sample(0, 1000), sample(200_000, 2000, late=100), sample(400_000, 3000, flags=FLAG_RETRIED)]
    writer.write_samples(10 * SECOND, [*good, sample(500_000, 9000, flags=FLAG_BURST), sample(0, 5000, lane=1)])
    writer.write_clock(Clocks(11 * SECOND, OFFSET, 0), 0, 0, 0, 0)
    bad = [sample(0, 500, Kind.REFUSED), sample(100_000, 400, Kind.VOID_LATE, count=4)]
    writer.write_samples(11 * SECOND, [*bad, sample(0, 60, lane=2), sample(0, 600_000, Kind.TIMEOUT, lane=2)])
    writer.write_clock(Clocks(12 * SECOND, OFFSET, 0), 0, 0, 0, 0)
    writer.write_samples(12 * SECOND + SECOND // 2, [sample(-600_000, 1_000_000), sample(0, 4000)])
    writer.write_clock(Clocks(13 * SECOND, OFFSET, 0), 0, 0, 0, 0)
    writer.write_end({"sent_until": 13 * SECOND})
    writer.close()
    assert len(segments(tmp_path)) == 2
    return tmp_path


def exported(directory: Path) -> list[dict[str, Any]]:
    """The lines."""
    stream = io.StringIO()
    export(directory, stream)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_seconds_count_by_the_moment_of_sending(log: Path) -> None:
    """Each planned probe is in the second in which it was to be sent, however late its answer; bursts are in none."""
    seconds = list(read_seconds(log))
    counts = [(one.target.name, one.second, one.up, one.slow, one.down, one.void) for one in seconds]

    assert counts == [
        ("a", 1_000_010.25, 3, 0, 0, 0),
        ("b", 1_000_010.25, 1, 0, 0, 0),
        ("a", 1_000_011.25, 0, 1, 1, 4),
        ("canary", 1_000_011.25, 1, 0, 1, 0),
        ("a", 1_000_012.25, 1, 0, 0, 0),
    ]


def test_latencies_from_both_moments(log: Path) -> None:
    """Lateness is part of the latency from the planned moment, and of no other; slow answers are counted as well."""
    first, _other, second, *_more = read_seconds(log)

    assert (first.sent.total, first.sent.maximum) == (3, 3000)
    assert (first.planned.total, first.planned.maximum) == (3, 2000 + 1638)
    assert (second.sent.total, second.sent.maximum) == (1, 1_000_000)


def test_seconds_add_up_to_the_observation(log: Path) -> None:
    """Merged, the seconds are what the observation says."""
    whole = Histogram()
    counts = {"up": 0, "down": 0, "slow": 0, "void": 0}
    for second in read_seconds(log):
        if second.target.name == "a":
            whole.merge(second.sent)
            counts = {name: counts[name] + getattr(second, name) for name in counts}
    observation = read_observations(log)[0]

    assert counts == observation.counts
    assert observation.latency_ms["p50"] == round(whole.quantile(0.5) / 1000, 3)


def test_compacting_changes_no_line(log: Path) -> None:
    """The lines are the same whether a segment is raw or compact, but for the word that says so."""
    before = exported(log)
    typical: dict[Any, float] = {}
    for path in segments(log):
        compact(path, typical)
    after = exported(log)
    for line in after:
        line.pop("compact", None)
        line.pop("detail", None)

    assert after == before


def test_lines_of_an_export(log: Path) -> None:
    """Sessions, seconds, everything that is not plainly good, and the end are there, each with its time."""
    lines = exported(log)
    samples = [line for line in lines if line["kind"] == "sample"]
    kinds = [line["kind"] for line in lines]

    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"run": 2, "second": 5, "sample": 6, "end": 1}
    assert all(line["schema"] == 1 and 1_000_000 < line["time"] < 1_000_014 for line in lines)
    assert [(one["target"]["name"], one["result"]) for one in samples] == [
        ("a", "up"),
        ("a", "up"),
        ("a", "refused"),
        ("a", "void_late"),
        ("canary", "timeout"),
        ("a", "up"),
    ]
    assert samples[-1]["time"] == pytest.approx(1_000_012.15)
    second = next(line for line in lines if line["kind"] == "second")
    assert second["up"] == sum(count for _value, count in second["sent_us"]) == 3


def test_latencies_that_were_given_up(log: Path) -> None:
    """Without latencies the counts are the same, and it is said how many latencies are missing."""
    for path in segments(log):
        compact(path, {})
        drop_detail(path)
    first, *more = read_seconds(log)

    assert [one.up for one in (first, *more)] == [3, 1, 0, 1, 1]
    assert [one.dropped for one in (first, *more)] == [2, 1, 0, 1, 1]
    assert first.sent.total == 1


def test_export_to_a_file(log: Path, tmp_path: Path) -> None:
    """The file is there when it is complete, for its owner only; one that is there is replaced."""
    dest = tmp_path / "out.jsonl"
    dest.write_text("old")
    export_to(log, dest)

    assert [json.loads(line) for line in dest.read_text().splitlines()] == exported(log)
    assert dest.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.part"))


def test_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Neither a folder without a log nor a place that cannot be written to leaves half a file."""
    with pytest.raises(ProbeError, match="holds no samples"):
        export_to(tmp_path, tmp_path / "out.jsonl")
    with pytest.raises(ProbeError, match=r"dest: cannot write .*missing"):
        export_to(tmp_path, tmp_path / "missing" / "out.jsonl")
    with pytest.raises(ProbeError, match="holds no samples"):
        list(read_seconds(tmp_path))
    assert list(tmp_path.iterdir()) == []
