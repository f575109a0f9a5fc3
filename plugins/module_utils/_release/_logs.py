# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the processes of a service have written into their logs: the files that they have open, or the journal.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.openstack.upgrade_test.plugins.module_utils import _processes

_MOST = 32 * 1024 * 1024  # bytes at the end of a log that are read
_TAIL = 256 * 1024  # characters among which there is a time, whatever traceback may stand there
_TICK = 900.0  # seconds: by how much the offsets of time zones differ
_LIMIT = 30.0  # seconds for reading the journal
_STAMP = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", re.M)
_ENTRY = re.compile(r"^(\d+\.\d+) \S+ \S+?\[(\d+)\]: (.*)$", re.M)
_PREFIX = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S* \d+ [A-Z]+ \S+ ")


@dataclass(frozen=True, kw_only=True)
class Log:
    """The end of a log file, and when it was last written."""

    text: str
    written: float

    def clock(self) -> Callable[[str], float]:
        """Return what turns the times in it into seconds since the epoch.

        They are in a time zone that it does not tell; but its last line is about as old as the file.
        """
        last = next(reversed(_STAMP.findall(self.text[-_TAIL:])), "")
        offset = round((self.written - _utc(last)) / _TICK) * _TICK if last else 0.0
        return lambda stamp: _utc(stamp) + offset

    def first(self) -> float:
        """Return the time of its first line; never, when it has none."""
        stamp = _STAMP.search(self.text)
        return self.clock()(stamp[1]) if stamp else float("inf")


def _utc(stamp: str) -> float:
    return datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()


def family_of(pid: int, proc: Path = _processes.PROC) -> list[int]:
    """Return a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for one in _processes.identities(proc):
        children.setdefault(one.parent, []).append(one.pid)
    return [pid, *_descendants(pid, children)]


def _descendants(pid: int, children: Mapping[int, list[int]]) -> Iterator[int]:
    for child in children.get(pid, []):
        yield child
        yield from _descendants(child, children)


def own_number(pid: int, proc: Path = _processes.PROC) -> int:
    """Return the number that a process itself has, and logs; in a container it is another one."""
    try:
        text = (proc / str(pid) / "status").read_text(errors="replace")
    except OSError:
        return pid
    match = re.search(r"^NSpid:.*?(\d+)\s*$", text, re.M)
    return int(match[1]) if match else pid


def logs_of(family: Sequence[int], since: float, proc: Path = _processes.PROC) -> list[Log]:
    """Return what these processes have written: into files, else into the journal since they were started."""
    found = list(_files(family, proc))
    if found:
        return found
    text = journal_text(_journal(family, since), {pid: own_number(pid, proc) for pid in family})
    stamps = _STAMP.findall(text)
    return [Log(text=text, written=_utc(stamps[-1]))] if stamps else []


def _journal(family: Sequence[int], since: float) -> str:
    """Return the entries of these processes; nothing where there is no journal."""
    # Words of the same field are alternatives.
    words = [f"_PID={pid}" for pid in family]
    command = ["journalctl", "--quiet", "--no-pager", "--output=short-unix", f"--since=@{int(since)}", *words]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_LIMIT)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout[-_MOST:].decode(errors="replace") if done.returncode == 0 else ""


def journal_text(entries: str, numbers: Mapping[int, int]) -> str:
    """Return entries of the journal as a service writes them into a file, with times in UTC.

    A service may hand over bare messages, or lines as in a file.
    """
    lines = []
    for match in _ENTRY.finditer(entries):
        stamp = datetime.fromtimestamp(float(match[1]), UTC)
        number = numbers.get(int(match[2]), int(match[2]))
        lines.append(f"{stamp:%Y-%m-%d %H:%M:%S} {number} INFO journal {_PREFIX.sub('', match[3])}\n")
    return "".join(lines)


def _files(family: Sequence[int], proc: Path) -> Iterator[Log]:
    """Yield the end of each log file that these processes have open."""
    done: set[tuple[int, int]] = set()
    for pid in family:
        for descriptor in _open_files(proc / str(pid) / "fd"):
            try:
                state = descriptor.stat()
                name = os.readlink(descriptor).removesuffix(_processes.DELETED)
            except OSError:
                continue
            is_log = stat.S_ISREG(state.st_mode) and (name.endswith(".log") or descriptor.name in ("1", "2"))
            if is_log and (state.st_dev, state.st_ino) not in done:
                done.add((state.st_dev, state.st_ino))
                yield Log(text=_end_of(descriptor, state.st_size), written=state.st_mtime)


def _open_files(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda path: int(path.name))
    except OSError:
        return []


def _end_of(path: Path, size: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, size - _MOST))
            return file.read(_MOST).decode(errors="replace")
    except OSError:
        return ""
