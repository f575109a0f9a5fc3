# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From an observer's log to what each lane saw in each second, and to lines of JSON for whoever wants the data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._blocks import (
    Block,
    End,
    Kept,
    Latencies,
    Run,
    from_plan,
    horizon_of,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._compact import read_log
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._histogram import Histogram, middle_of
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import FLAG_BURST, Kind, ProbeError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import (
    Target,
    TimeLine,
    existing_log,
    planned_probes,
    slow_window,
    target_of,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import SECOND

SCHEMA = 1
CANARY = Target(name="canary", service="", via="", mode="canary", address="")
"""The observer's own lane, behind all others: how fast its host answers itself."""


@dataclass(slots=True)
class LaneSecond:
    """What came of the probes that one lane was to send in one second, of the fixed schedule only.

    second: the wall time at which it began. Seconds are those of the monotonic clock, so it is no whole number. sent
    and planned: latencies of all answers, slow ones too, in microseconds from the actual and from the planned moment
    of sending; those of ``dropped`` answers were given up to keep the log small.
    """

    target: Target
    second: float
    up: int = 0
    slow: int = 0
    down: int = 0
    void: int = 0
    dropped: int = 0
    sent: Histogram = field(default_factory=Histogram)
    planned: Histogram = field(default_factory=Histogram)


def read_seconds(directory: Path) -> Iterator[LaneSecond]:
    """All seconds of an observer's log in which a lane was to send, in order. Raises ProbeError when there is no log.

    The canary is one of the lanes. What was missed while no observer ran is in no second.
    """
    collect = _Collect()
    for part in read_log(existing_log(directory)):
        yield from collect.take(part)
    yield from collect.finish()


def export(directory: Path, stream: TextIO) -> None:
    """Write an observer's log as lines of JSON. Raises ProbeError when there is no log.

    ``kind`` is ``run`` (a session begins, or goes on in a new segment), ``second`` (a ``LaneSecond``, latencies as
    pairs of microseconds and number), ``sample`` (a record that is not plainly good) or ``end``. All have ``time``.
    """
    collect = _Collect()
    for part in read_log(existing_log(directory)):
        _write(stream, map(_second_record, collect.take(part)))
        _write(stream, collect.records(part))
    _write(stream, map(_second_record, collect.finish()))


def export_to(directory: Path, dest: Path) -> None:
    """``export`` to a file, which is there when it is complete. Raises ProbeError."""
    partial = dest.with_name(dest.name + ".part")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            export(directory, stream)
        os.replace(partial, dest)
    except OSError as error:
        raise ProbeError(f"dest: cannot write {dest}: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)


class _Collect:
    """Puts seconds together: their probes can be in more than one block."""

    def __init__(self) -> None:
        self._time = TimeLine()
        self._targets: list[Target] = []
        self._order: dict[Target, int] = {}
        self._open: dict[tuple[int, int], LaneSecond] = {}
        self._horizon = 0
        self._slow = 0

    def take(self, part: Run | Block | End) -> Iterator[LaneSecond]:
        """One part of the log; gives the seconds that are complete."""
        if isinstance(part, Run):
            self._time.begin(part)
            self._horizon = horizon_of(part.record)
            self._slow = slow_window(part.record)
            self._targets = [*(target_of(entry) for entry in part.record["lanes"]), CANARY]
            for target in self._targets:
                self._order.setdefault(target, len(self._order))
        elif isinstance(part, Block):
            self._take_block(part)
            yield from self._complete(part.last + self._time.shift - self._horizon - SECOND)

    def finish(self) -> Iterator[LaneSecond]:
        """The log is over; gives all that is left."""
        return self._complete(1 << 62)

    def _complete(self, until: int) -> Iterator[LaneSecond]:
        for key in sorted(key for key in self._open if key[0] <= until):
            yield self._open.pop(key)

    def _at(self, number: int, moment: int) -> LaneSecond:
        """The second of a lane in which a moment of its session lies."""
        begin = moment // SECOND * SECOND + self._time.shift
        target = self._targets[number]
        key = (begin, self._order[target])
        if key not in self._open:
            self._open[key] = LaneSecond(target, self._time.wall(begin))
        return self._open[key]

    def _take_block(self, block: Block) -> None:
        self._time.take(block)
        for lane in block.lanes:
            if lane.number < len(self._targets):
                for part in lane.seconds:
                    second = self._at(lane.number, part.second * SECOND)
                    second.up += part.count
                    sent, planned = part.sent(), part.planned()
                    if sent is None or planned is None:
                        second.dropped += part.count
                    else:
                        _extend(second.sent, sent, part.count)
                        _extend(second.planned, planned, part.count)
        for kept in block.kept:
            if kept.sample[0] < len(self._targets) and not kept.sample[2] & FLAG_BURST:
                self._take_kept(kept)

    def _take_kept(self, kept: Kept) -> None:
        number, kind, _flags, _status, late, sent, window, *_phases, count = kept.sample
        second = self._at(number, kept.base + sent * 1000)
        if kind >= Kind.VOID_LATE:
            second.void += planned_probes(kind, count)
        elif kind != Kind.UP:
            second.down += 1
        else:
            second.slow += window > self._slow
            second.up += window <= self._slow
            second.sent.add(window)
            second.planned.add(from_plan(window, late))

    def records(self, part: Run | Block | End) -> Iterator[dict[str, Any]]:
        """What a part says besides its seconds."""
        if isinstance(part, Run):
            yield {"kind": "run", "time": self._wall(part.record["clocks"][0]), **part.record}
        elif isinstance(part, End):
            yield {"kind": "end", "time": self._wall(part.record["sent_until"]), **part.record}
        else:
            for kept in part.kept:
                yield self._sample_record(kept)

    def _sample_record(self, kept: Kept) -> dict[str, Any]:
        number, kind, flags, status, late, sent, window, connected, secured, first = kept.sample
        return {
            "kind": "sample",
            "time": self._wall(kept.base + sent * 1000),
            "target": asdict(self._targets[number]),
            "result": Kind(kind).name.lower(),
            "flags": flags,
            "status": status,
            "late_us": from_plan(0, late),
            "window_us": window,
            "connected_us": connected,
            "secured_us": secured,
            "first_us": first,
        }

    def _wall(self, moment: int) -> float:
        return self._time.wall(moment + self._time.shift)


def _extend(histogram: Histogram, latencies: Latencies, count: int) -> None:
    histogram.extend(latencies.buckets, count, latencies.maximum)


def _second_record(second: LaneSecond) -> dict[str, Any]:
    record = {name: getattr(second, name) for name in ("up", "slow", "down", "void", "dropped")}
    latencies = {
        f"{name}_us": [[middle_of(bucket), count] for bucket, count in sorted(histogram.counts.items())]
        for name, histogram in (("sent", second.sent), ("planned", second.planned))
    }
    return {"kind": "second", "time": second.second, "target": asdict(second.target), **record, **latencies}


def _write(stream: TextIO, records: Iterable[dict[str, Any]]) -> None:
    for record in records:
        stream.write(json.dumps({"schema": SCHEMA, **record}) + "\n")
