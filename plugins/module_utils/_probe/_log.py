# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The log of samples: framed, append-only, checked by a sum in every frame, written once for each turn of the loop.

A log is a row of segments, one file each. Every segment begins with a RUN frame, so that it can be read alone: a new
session of an observer begins a new segment, and a session that goes on in the next one says so (``continued``).
Frames are ``<IIIB`` (length of the payload, crc32 of the rest of the frame, sequence number, type) and the payload.
What was written survives the death of the process; what was synced survives the death of the machine. A torn tail is
recognised by its sum and cut off before the log is continued. The numbers of frames run on through a session, so that
frames that are missing are noticed.

Closed segments are replaced by compact ones (``_compact``), whose frames are BLOCK and STATE besides RUN and END.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import (
    FLAG_BURST,
    NOT_SENT,
    Kind,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import SECOND, Clocks

SCHEMA = 1
RUN, SAMPLES, CLOCK, END, BLOCK, STATE = 1, 2, 3, 4, 5, 6
HEADER = struct.Struct("<IIIB")
BASE = struct.Struct("<q")
SAMPLE = struct.Struct("<HBBHHiIIII")
"""lane, kind, flags, HTTP status or errno, lateness in 16 us, sent (us from the frame's base), whole window,
connected, TLS done, first byte (us from sent; 0 where the phase was not reached). For kinds that were never sent the
last one is how many of them."""
CLOCK_FRAME = struct.Struct("<qqqIIII")
"""monotonic, wall offset, boot offset (ns), greatest lateness, longest stall, run-queue delay (us), in flight."""
MAX_FRAME = 4 * 1024 * 1024
CHUNK = 1024 * 1024
MOST_US = 0xFFFFFFFF
SEGMENT_BYTES = 16 * 1024 * 1024
SEGMENT_SECONDS = 600
"""A segment is closed at the first of the two: small enough to be compacted in a second, long enough that what is kept
at its borders weighs nothing."""
SHARE_OF_LIMIT = 8
"""No segment is larger than the limit of the whole log divided by this."""

_RANGES = ((0, 0xFFFF), (0, 0xFF), (0, 0xFF), (0, 0xFFFF), (0, 0xFFFF), (-0x7FFFFFFF, 0x7FFFFFFF), *[(0, MOST_US)] * 4)
_SUM = struct.Struct("<II")
_REST = struct.Struct("<IB")
_LEAD = struct.Struct("<HBB")

Frame = tuple[int, int, bytes]
"""type, sequence number, payload."""


def segments(directory: Path) -> list[Path]:
    """The files of a log, oldest first."""
    return sorted(directory.glob("samples-*.log"), key=number_of)


def number_of(segment: Path) -> int:
    """The place of a segment in its log."""
    return int(segment.stem.rpartition("-")[2])


def pack_frame(kind: int, sequence: int, payload: bytes) -> bytes:
    """The bytes of one frame."""
    rest = _REST.pack(sequence, kind) + payload
    return _SUM.pack(len(payload), zlib.crc32(rest)) + rest


def read_frames(file: BinaryIO) -> Iterator[Frame]:
    """The frames of one file up to its end or its first damaged one; then the file stands behind the last sound one."""
    unpack, crc32, head = HEADER.unpack_from, zlib.crc32, HEADER.size
    buffer, start, base = b"", 0, 0
    sound = True
    while sound and (more := file.read(CHUNK)):
        base += start
        buffer, start = buffer[start:] + more, 0
        size = len(buffer)
        while size - start >= head:
            length, check, sequence, kind = unpack(buffer, start)
            end = start + head + length
            if end > size and length <= MAX_FRAME:
                break
            sound = length <= MAX_FRAME and crc32(buffer[start + 8 : end]) == check
            if not sound:
                break
            yield kind, sequence, buffer[start + head : end]
            start = end
    file.seek(base + start)


def pack_nearest(fields: Sequence[int]) -> bytes:
    """A sample (the fields of ``SAMPLE``), where fields may lie beyond what there is room for."""
    return SAMPLE.pack(*(min(max(field, low), high) for field, (low, high) in zip(fields, _RANGES, strict=True)))


def sound_length(path: Path) -> int:
    """The length of the sound part of a file."""
    with path.open("rb") as file:
        for _frame in read_frames(file):
            pass
        return file.tell()


class LogWriter:
    """Appends frames, and begins a new segment when one is full.

    A disk that refuses frames is survived: what it refused is counted in ``lost_samples`` and, as soon as it takes
    frames again, recorded as not observed. When the log has outgrown ``max_bytes`` (0: no limit), good samples are
    recorded as not observed too, but for one a second of each lane; failures are always recorded.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int = 0,
        segment_bytes: int = SEGMENT_BYTES,
        segment_seconds: int = SEGMENT_SECONDS,
    ) -> None:
        known = segments(directory)
        if known:
            os.truncate(known[-1], sound_length(known[-1]))
        self.number = number_of(known[-1]) + 1 if known else 1
        self.error = ""
        self.lost_samples = 0
        self.thinned = False
        self._directory = directory
        self._max_bytes = max_bytes
        self._segment_bytes = min(segment_bytes, max_bytes // SHARE_OF_LIMIT) if max_bytes else segment_bytes
        self._segment_time = segment_seconds * SECOND
        self._others = sum(path.stat().st_size for path in known)
        self._closed: list[int] = []
        self._run: dict[str, Any] = {}
        self._begun = False
        self._opened = 0
        self._length = 0
        self._sequence = 0
        self._owed: Counter[int] = Counter()
        self._proved: dict[int, int] = {}
        self.fd = self._open(self.number)

    def _open(self, number: int) -> int:
        return os.open(self._path(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _path(self, number: int) -> Path:
        return self._directory / f"samples-{number:06d}.log"

    @property
    def size(self) -> int:
        """The size of the whole log, as far as it is known here."""
        return self._others + self._length

    def note_closed(self, report: Mapping[str, Any]) -> None:
        """What the compactor says: the segments below that number now have that size."""
        if report.get("below") == self.number:
            self._others = report["size"]

    def write_run(self, record: dict[str, Any]) -> None:
        """Begin a session: the lanes by number, the clocks, the host."""
        self._run = {"schema": SCHEMA, **record}
        self._opened = record["clocks"][0]
        self._begun = self._write(RUN, json.dumps(self._run).encode())

    def write_samples(self, base: int, samples: list[bytes]) -> None:
        """All samples of one turn, their times relative to base (monotonic ns)."""
        if self.thinned:
            samples = self._thin(base, samples)
        if not self._begun or not self._write(SAMPLES, BASE.pack(base) + b"".join(samples)):
            self.lost_samples += len(samples)
            for sample in samples:
                self._owe(sample)

    def write_clock(self, clocks: Clocks, lateness: int, stall: int, delay: int, in_flight: int) -> None:
        """The offsets of the clocks and the observer's own health in the last second (ns).

        This is also the moment for all that need not be done at every turn.
        """
        if not self._begun:
            self.write_run({**self._run, "clocks": list(clocks)})
        self._pay(clocks.monotonic)
        self._write(CLOCK, CLOCK_FRAME.pack(*clocks, _us(lateness), _us(stall), _us(delay), in_flight))
        self.thinned = bool(self._max_bytes) and self.size > self._max_bytes
        if self._length >= self._segment_bytes or clocks.monotonic - self._opened >= self._segment_time:
            self._begin_segment(clocks)

    def write_end(self, record: dict[str, Any]) -> None:
        """The session ended as it should."""
        self._pay(record["sent_until"])
        self._write(END, json.dumps(record).encode())

    def _begin_segment(self, clocks: Clocks) -> None:
        """Go on in a new file; when there is none to be had, in the old one."""
        record = {**self._run, "clocks": list(clocks), "continued": True}
        before = (self.fd, self._length)
        try:
            self.fd, self._length = self._open(self.number + 1), 0
        except OSError as error:
            self.error = error.strerror or str(error)
            return
        if self._write(RUN, json.dumps(record).encode()):
            self.number += 1
            self._opened = clocks.monotonic
            self._others += before[1]
            self._closed.append(before[0])
        else:
            os.close(self.fd)
            self.fd, self._length = before
            with contextlib.suppress(OSError):
                self._path(self.number + 1).unlink()

    def _write(self, kind: int, payload: bytes) -> bool:
        frame = pack_frame(kind, self._sequence, payload)
        try:
            written = os.write(self.fd, frame)
            if written < len(frame):
                raise OSError(28, os.strerror(28))
        except OSError as error:
            self.error = error.strerror or str(error)
            self._undo()
            return False
        self.error = ""
        self._length += len(frame)
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        return True

    def _undo(self) -> None:
        # Half a frame would hide everything behind it from the reader.
        try:
            os.ftruncate(self.fd, self._length)
            os.lseek(self.fd, self._length, os.SEEK_SET)
        except OSError as error:
            self.error = error.strerror or str(error)

    def _thin(self, base: int, samples: list[bytes]) -> list[bytes]:
        """What is not good, what belongs to a burst, and one proof of up a second and lane."""
        second = base // SECOND
        kept = []
        for sample in samples:
            lane, kind, flags = _LEAD.unpack_from(sample)
            if kind == Kind.UP and not flags & FLAG_BURST and self._proved.get(lane) == second:
                self._owe(sample)
            else:
                self._proved[lane] = second if kind == Kind.UP else -1
                kept.append(sample)
        return kept

    def _owe(self, sample: bytes) -> None:
        """A sample is not in the log: that part of the schedule was not observed."""
        lane, kind, flags, *_fields, count = SAMPLE.unpack(sample)
        if not flags & FLAG_BURST:
            self._owed[lane] += count if kind in NOT_SENT else 1

    def _pay(self, now: int) -> None:
        """Record what is owed."""
        if self._owed:
            owed, self._owed = self._owed, Counter()
            void = [SAMPLE.pack(lane, Kind.VOID_STORAGE, 0, 0, 0, 0, 0, 0, 0, count) for lane, count in owed.items()]
            if not self._write(SAMPLES, BASE.pack(now) + b"".join(void)):
                self._owed = owed

    def sync(self) -> None:
        """What was written before this call survives a power failure.

        It may wait long, so it is for another thread than the loop.
        """
        while self._closed:
            closed = self._closed.pop(0)
            try:
                os.fdatasync(closed)
            finally:
                os.close(closed)
        os.fdatasync(self.fd)

    def close(self) -> None:
        """Sync and close."""
        try:
            self.sync()
        finally:
            os.close(self.fd)


def _us(nanoseconds: int) -> int:
    return min(max(nanoseconds, 0) // 1000, MOST_US)
