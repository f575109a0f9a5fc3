# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The log of samples: framed, append-only, checked by a sum in every frame, written once for each turn of the loop.

A file begins with a RUN frame. Frames are ``<IIIB`` (length of the payload, crc32 of the rest of the frame, sequence
number, type) and the payload. What was written survives the death of the process; what was synced survives the death
of the machine. A torn tail is recognised by its sum and cut off before the log is continued.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import Clocks

SCHEMA = 1
RUN, SAMPLES, CLOCK, END = 1, 2, 3, 4
HEADER = struct.Struct("<IIIB")
BASE = struct.Struct("<q")
SAMPLE = struct.Struct("<HBBHHiIIII")
"""lane, kind, flags, HTTP status or errno, lateness in 16 us, sent (us from the frame's base), whole window,
connected, TLS done, first byte (us from sent; 0 where the phase was not reached)."""
CLOCK_FRAME = struct.Struct("<qqqIIII")
"""monotonic, wall offset, boot offset (ns), greatest lateness, longest stall, run-queue delay (us), in flight."""
MAX_FRAME = 4 * 1024 * 1024
CHUNK = 1024 * 1024
MOST_US = 0xFFFFFFFF


class Frame(NamedTuple):
    """One frame as read; ``end`` is the offset in the file behind it."""

    type: int
    sequence: int
    payload: bytes
    end: int


def segments(directory: Path) -> list[Path]:
    """The files of a log, oldest first."""
    return sorted(directory.glob("samples-*.log"))


def pack_frame(kind: int, sequence: int, payload: bytes) -> bytes:
    """The bytes of one frame."""
    rest = sequence.to_bytes(4, "little") + bytes((kind,))
    return HEADER.pack(len(payload), zlib.crc32(payload, zlib.crc32(rest)), sequence, kind) + payload


def read_frames(file: BinaryIO) -> Iterator[Frame]:
    """The frames of one file up to its end or its first damaged one."""
    buffer, start, base = b"", 0, 0
    while True:
        frame = _frame_at(buffer, start, base)
        if frame is not None:
            start = frame.end - base
            yield frame
            continue
        if len(buffer) - start >= HEADER.size + MAX_FRAME:
            return
        more = file.read(CHUNK)
        if not more:
            return
        base += start
        buffer, start = buffer[start:] + more, 0


def _frame_at(buffer: bytes, start: int, base: int) -> Frame | None:
    """The frame that begins there; None when it is not complete or not sound."""
    if len(buffer) - start < HEADER.size:
        return None
    length, check, sequence, kind = HEADER.unpack_from(buffer, start)
    end = start + HEADER.size + length
    if length > MAX_FRAME or len(buffer) < end:
        return None
    payload = buffer[start + HEADER.size : end]
    if zlib.crc32(payload, zlib.crc32(buffer[start + 8 : start + HEADER.size])) != check:
        return None
    return Frame(kind, sequence, payload, base + end)


def sound_length(path: Path) -> tuple[int, int]:
    """The length of the sound part of a file, and the next sequence number."""
    end, sequence = 0, 0
    with path.open("rb") as file:
        for frame in read_frames(file):
            end, sequence = frame.end, frame.sequence + 1
    return end, sequence


class LogWriter:
    """Appends frames. A disk that refuses them is survived: what it refused is counted in ``lost_samples``."""

    def __init__(self, directory: Path) -> None:
        known = segments(directory)
        path = known[-1] if known else directory / "samples-000001.log"
        self.resumed = bool(known)
        self.error = ""
        self.lost_samples = 0
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._length, self._sequence = sound_length(path) if known else (0, 0)
        os.ftruncate(self.fd, self._length)
        os.lseek(self.fd, self._length, os.SEEK_SET)

    def write_run(self, record: dict[str, Any]) -> None:
        """Begin a session: the lanes by number, the clocks, the host."""
        self._write(RUN, json.dumps({"schema": SCHEMA, **record}).encode())

    def write_samples(self, base: int, samples: list[bytes]) -> None:
        """All samples of one turn, their times relative to base (monotonic ns)."""
        if not self._write(SAMPLES, BASE.pack(base) + b"".join(samples)):
            self.lost_samples += len(samples)

    def write_clock(self, clocks: Clocks, lateness: int, stall: int, delay: int, in_flight: int) -> None:
        """The offsets of the clocks and the observer's own health in the last second (ns)."""
        self._write(CLOCK, CLOCK_FRAME.pack(*clocks, _us(lateness), _us(stall), _us(delay), in_flight))

    def write_end(self, record: dict[str, Any]) -> None:
        """The session ended as it should."""
        self._write(END, json.dumps(record).encode())

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
        self._sequence += 1
        return True

    def _undo(self) -> None:
        # Half a frame would hide everything behind it from the reader.
        try:
            os.ftruncate(self.fd, self._length)
            os.lseek(self.fd, self._length, os.SEEK_SET)
        except OSError as error:
            self.error = error.strerror or str(error)

    def close(self) -> None:
        """Sync and close."""
        try:
            os.fdatasync(self.fd)
        finally:
            os.close(self.fd)


def _us(nanoseconds: int) -> int:
    return min(max(nanoseconds, 0) // 1000, MOST_US)
