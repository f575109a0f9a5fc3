# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The compact form of a segment, and how a segment gets it without ever being incomplete or counted twice.

A compact segment has the same frames around blocks (``_blocks``) instead of samples. Its first frame is the RUN frame
of the raw one with the word ``compact``; each frame has the sequence number of the last raw one that it stands for; the
last one, STATE, carries what the reading of the next segment depends on. It takes the place of the raw one by a rename,
so at any moment there is exactly one of them.

The payload of a BLOCK frame is deflated columns, each with its length in front. Latencies are the sorted buckets of
each second as differences, which are small numbers; their bytes stand in two planes, of which the upper one is empty
but for outliers.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, BinaryIO

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._blocks import (
    Block,
    Clock,
    End,
    Kept,
    LaneBlock,
    Latencies,
    Run,
    Second,
    Typical,
    raw_blocks,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._log import (
    BLOCK,
    END,
    MAX_FRAME,
    RUN,
    STATE,
    pack_frame,
    read_frames,
    segments,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._proofs import Proof

COMPACT = "compact"
DETAIL = "detail"
_SAMPLE_COLUMNS = "HBBHHiIIII"
_CLOCK_COLUMNS = "qqqIIII"
_SIZE = struct.Struct("<I")


class DamagedError(Exception):
    """A segment has no compact form, because it cannot be read to its end or is beyond all measure."""


def read_log(directory: Path) -> Iterator[Run | Block | End]:
    """All that a log says, in order."""
    typical: Typical = {}
    for path in segments(directory):
        yield from read_segment(path, typical)


def read_segment(path: Path, typical: Typical) -> Iterator[Run | Block | End]:
    """What one segment says, whatever its form; ``typical`` is brought forward to its end."""
    with path.open("rb") as file:
        if is_compact(_first_record(file)):
            yield from _compact_blocks(file, typical)
        else:
            yield from raw_blocks(file, typical)


def run_record(path: Path) -> dict[str, Any]:
    """The RUN record of a segment; empty when there is none."""
    with path.open("rb") as file:
        return _first_record(file)


def is_compact(record: dict[str, Any]) -> bool:
    """True for the RUN record of a compact segment."""
    return COMPACT in record


def has_detail(record: dict[str, Any]) -> bool:
    """True for the RUN record of a compact segment that has latencies."""
    return bool(record.get(DETAIL))


def carry_over(path: Path, typical: Typical) -> None:
    """Bring ``typical`` forward to the end of a segment."""
    with path.open("rb") as file:
        if is_compact(_first_record(file)):
            for kind, _sequence, payload in read_frames(file):
                if kind == STATE:
                    _take_state(payload, typical)
        else:
            for _part in raw_blocks(file, typical):
                pass


def compact(path: Path, typical: Typical) -> None:
    """Replace a closed raw segment by its compact form; ``typical`` is brought forward.

    Raises DamagedError for a segment that is not sound to its end, OSError when the disk refuses; then it is as before.
    """
    if not path.stat().st_size or is_compact(run_record(path)):
        carry_over(path, typical)
        return
    with path.open("rb") as file:
        _replace(path, _compact_frames(file, typical))


def drop_detail(path: Path) -> None:
    """Replace a compact segment by one without latencies. Raises OSError."""
    with path.open("rb") as file:
        _replace(path, _frames_without_detail(file))


def remove_partial(directory: Path) -> None:
    """Remove forms that were never completed."""
    for path in directory.glob("samples-*.tmp"):
        path.unlink(missing_ok=True)


def _first_record(file: BinaryIO) -> dict[str, Any]:
    kind, _sequence, payload = next(read_frames(file), (0, 0, b""))
    file.seek(0)
    record = json.loads(payload) if kind == RUN else {}
    return record if isinstance(record, dict) else {}


def _replace(path: Path, frames: Iterable[bytes]) -> None:
    """Write a new form of a segment, and only when all of it is on the disk let it take the place of the old one."""
    partial = path.with_suffix(".tmp")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.writelines(frames)
            file.flush()
            os.fsync(descriptor)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _compact_frames(file: BinaryIO, typical: Typical) -> Iterator[bytes]:
    sequence = -1
    for part in raw_blocks(file, typical):
        sequence = part.sequence
        if isinstance(part, Run):
            yield pack_frame(RUN, sequence, json.dumps({**part.record, COMPACT: 1, DETAIL: True}).encode())
        elif isinstance(part, End):
            yield pack_frame(END, sequence, json.dumps(part.record).encode())
        else:
            payload = pack_block(part)
            if len(payload) > MAX_FRAME:
                raise DamagedError("a minute of it is too large for a compact form")
            yield pack_frame(BLOCK, sequence, payload)
    if sequence < 0 or file.tell() != os.fstat(file.fileno()).st_size:
        raise DamagedError("it is damaged")
    state = {"typical": [[*key, value] for key, value in typical.items()]}
    yield pack_frame(STATE, sequence, json.dumps(state).encode())


def _frames_without_detail(file: BinaryIO) -> Iterator[bytes]:
    for kind, sequence, payload in read_frames(file):
        if kind == RUN:
            yield pack_frame(kind, sequence, json.dumps({**json.loads(payload), DETAIL: False}).encode())
        elif kind == BLOCK:
            yield pack_frame(kind, sequence, pack_block(unpack_block(sequence, payload), detail=False))
        else:
            yield pack_frame(kind, sequence, payload)


def _compact_blocks(file: BinaryIO, typical: Typical) -> Iterator[Run | Block | End]:
    for kind, sequence, payload in read_frames(file):
        if kind == BLOCK:
            yield unpack_block(sequence, payload)
        elif kind == RUN:
            yield Run(sequence, json.loads(payload))
        elif kind == END:
            yield End(sequence, json.loads(payload))
        elif kind == STATE:
            _take_state(payload, typical)


def _take_state(payload: bytes, typical: Typical) -> None:
    typical.update({(name, via, mode, auth): value for name, via, mode, auth, value in json.loads(payload)["typical"]})


def pack_block(block: Block, *, detail: bool = True) -> bytes:
    """The payload of a BLOCK frame; detail: with the latencies."""
    out = _Out()
    out.column("q", [block.last, block.until, len(block.lanes)])
    out.rows(_CLOCK_COLUMNS, block.clocks)
    for lane in block.lanes:
        _pack_lane(out, lane, detail=detail)
    out.rising("q", [kept.base for kept in block.kept])
    out.column("I", [kept.length for kept in block.kept])
    out.rows(_SAMPLE_COLUMNS, [kept.sample for kept in block.kept])
    return out.deflated()


def unpack_block(sequence: int, payload: bytes) -> Block:
    """The block of a BLOCK frame."""
    columns = _In(zlib.decompress(payload))
    last, until, count = columns.column("q")
    clocks = [Clock(*row) for row in columns.rows(_CLOCK_COLUMNS)]
    lanes = [_unpack_lane(columns) for _turn in range(count)]
    bases, lengths = columns.rising("q"), columns.column("I")
    kept = [Kept(*row) for row in zip(bases, lengths, columns.rows(_SAMPLE_COLUMNS), strict=True)]
    return Block(sequence, last, until, clocks, lanes, kept)


def _pack_lane(out: _Out, lane: LaneBlock, *, detail: bool) -> None:
    out.column("q", [lane.number])
    out.rising("q", [proof.begin for proof in lane.proofs])
    out.column("I", [(proof.end - proof.begin) // 1000 for proof in lane.proofs])
    out.column("B", [proof.thinned for proof in lane.proofs])
    out.rows("qqq", lane.gaps)
    out.rising("q", [second.second for second in lane.seconds])
    out.column("I", [second.count for second in lane.seconds])
    for latencies in (_sent, _planned):
        known = [latencies(second) for second in lane.seconds] if detail else []
        _pack_latencies(out, [values for values in known if values is not None])


def _unpack_lane(columns: _In) -> LaneBlock:
    (number,) = columns.column("q")
    begins, windows, thinned = columns.rising("q"), columns.column("I"), columns.column("B")
    proofs = [
        Proof(begin, begin + window * 1000, bool(flag))
        for begin, window, flag in zip(begins, windows, thinned, strict=True)
    ]
    gaps = [(row[0], row[1], row[2]) for row in columns.rows("qqq")]
    seconds, counts = columns.rising("q"), columns.column("I")
    sent, planned = _Packed(columns, counts), _Packed(columns, counts)
    places = range(len(counts))
    packed: list[Second] = [PackedSecond(*row, sent, planned) for row in zip(places, seconds, counts, strict=True)]
    return LaneBlock(number, packed, proofs, gaps)


def _sent(second: Second) -> Latencies | None:
    return second.sent()


def _planned(second: Second) -> Latencies | None:
    return second.planned()


def _pack_latencies(out: _Out, seconds: list[Latencies]) -> None:
    rows = [sorted(second.buckets) for second in seconds]
    out.column("I", [second.maximum for second in seconds])
    out.column("H", [row[0] for row in rows])
    differences = [after - before for row in rows for before, after in pairwise(row)]
    out.column("B", [difference & 0xFF for difference in differences])
    out.column("B", [difference >> 8 for difference in differences])


class _Packed:
    """The latencies of one lane in one block as they are stored; empty when they were dropped."""

    __slots__ = ("_differences", "_ends", "_lows", "_maxima")

    def __init__(self, columns: _In, counts: Sequence[int]) -> None:
        self._maxima = columns.column("I")
        self._lows = columns.column("H")
        lower, upper = columns.column("B"), columns.column("B")
        self._differences: Sequence[int] = lower
        if any(upper):
            self._differences = [low + (high << 8) for low, high in zip(lower, upper, strict=True)]
        self._ends = [0, *accumulate(count - 1 for count in counts)]

    def of(self, place: int) -> Latencies | None:
        """The latencies of the second at that place."""
        if not self._maxima:
            return None
        differences = self._differences[self._ends[place] : self._ends[place + 1]]
        return Latencies(accumulate(differences, initial=self._lows[place]), self._maxima[place])


@dataclass(slots=True)
class PackedSecond:
    """A second of a compact segment."""

    place: int
    second: int
    count: int
    _sent: _Packed
    _planned: _Packed

    def sent(self) -> Latencies | None:
        return self._sent.of(self.place)

    def planned(self) -> Latencies | None:
        return self._planned.of(self.place)


class _Out:
    """Columns to be written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def column(self, code: str, values: Sequence[int]) -> None:
        """Numbers of one type (a code of the struct module)."""
        self._parts.append(_SIZE.pack(len(values)) + struct.pack(f"<{len(values)}{code}", *values))

    def rising(self, code: str, values: Sequence[int]) -> None:
        """Numbers as differences."""
        self.column(code, [after - before for before, after in pairwise([0, *values])])

    def rows(self, codes: str, rows: Sequence[Sequence[int]]) -> None:
        """Rows with one type for each place."""
        for place, code in enumerate(codes):
            self.column(code, [row[place] for row in rows])

    def deflated(self) -> bytes:
        """All of them."""
        return zlib.compress(b"".join(self._parts))


class _In:
    """Columns to be read, in the same order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def column(self, code: str) -> Sequence[int]:
        (count,) = _SIZE.unpack_from(self._data, self._place)
        start = self._place + _SIZE.size
        self._place = start + count * struct.calcsize("<" + code)
        if code == "B":
            return self._data[start : self._place]
        return struct.unpack_from(f"<{count}{code}", self._data, start)

    def rising(self, code: str) -> Sequence[int]:
        return list(accumulate(self.column(code)))

    def rows(self, codes: str) -> Iterator[tuple[int, ...]]:
        return zip(*[self.column(code) for code in codes], strict=True)
