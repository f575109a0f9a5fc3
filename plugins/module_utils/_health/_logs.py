# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kinds of errors the services of a host wrote into their logs, and which of them are new.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

The log is what a process of the service writes to now, or the journal when it writes to no file. Errors that differ in
ids, numbers and addresses only are of one kind.
"""

from __future__ import annotations

import json
import os
import re
import time as clock
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils import _processes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._harmless import VERSION, why_harmless
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._place import CommandError, Inside
from ansible_collections.openstack.upgrade_test.plugins.module_utils._redact import Redactor
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import (
    Finding,
    finding,
    skipped,
    unseen,
)

TAIL = 16 * 1024 * 1024  # bytes of a log that are read, from its end
MOST_KINDS = 40  # kinds of errors of one component that are returned, most frequent first
_FATAL = "CRITICAL"  # what ends a process, or at least the request or the thread
BAD_LEVELS = frozenset({"ERROR", _FATAL})
_LINE = re.compile(
    r"^(?P<when>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)[.,]\d+ (?P<pid>\d+) "
    r"(?P<level>[A-Z]+) (?P<logger>[\w.\-]+) ?(?P<text>.*)$"
)
_REQUEST = re.compile(r"^(?:\[[^\]]*\] ?)+")
_BETWEEN = ("During handling of", "The above exception")  # what stands between two tracebacks of one error
_STAMP = "%Y-%m-%d %H:%M:%S"
_VARIABLE = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.I), "<id>"),
    (re.compile(r"\b[0-9a-f]{8,}\b", re.I), "<id>"),
    (re.compile(r"0x[0-9a-f]+", re.I), "<n>"),
    (re.compile(r"\d+(?:\.\d+)*"), "<n>"),
)
_KIND_LENGTH, _SAMPLE_LENGTH = 160, 400
_JOURNAL_ERROR = 3  # the priority up to which an entry of the journal is an error
_HALF_HOUR = 1800


@dataclass(frozen=True)
class Line:
    """One error: when (seconds since the epoch), from which logger, what it says."""

    time: float
    level: str
    logger: str
    text: str


def errors_in(lines: Iterable[str]) -> Iterator[Line]:
    """Yield the errors of a log; the lines of a traceback belong to the error above it."""
    inside: dict[tuple[str, str], bool] = {}  # of each process and logger that told a traceback: whether it goes on
    told: dict[tuple[str, str], str] = {}  # what each said last
    for line in lines:
        found = _LINE.match(line.rstrip("\r\n")) if any(level in line for level in BAD_LEVELS) else None
        if not found or found["level"] not in BAD_LEVELS:
            continue
        text, key = found["text"].rstrip(), (found["pid"], found["logger"])
        if text.startswith("Traceback "):
            inside[key] = True
        elif inside.get(key) and not text.startswith(" "):
            inside[key] = False  # the exception itself, which the error above has told already
        elif key in inside and (text.startswith((" ", *_BETWEEN)) or not text):
            continue
        elif text and not told.get(key, "").endswith(text):
            inside.pop(key, None)
            told[key] = text
            when = clock.mktime(clock.strptime(found["when"], _STAMP))
            yield Line(when, found["level"], found["logger"], _REQUEST.sub("", text))


def kind_of(text: str) -> str:
    """Return what an error has in common with others of its kind."""
    for pattern, word in _VARIABLE:
        text = pattern.sub(word, text)
    return text[:_KIND_LENGTH]


def shift(last: float, modified: float) -> float:
    """Return by how much the clock of a log is off, as one has that counts in another time zone than this host."""
    return round((modified - last) / _HALF_HOUR) * _HALF_HOUR if abs(modified - last) > _HALF_HOUR / 2 else 0.0


def summarise(service: str, errors: Iterable[Line], since: float, redactor: Redactor) -> list[dict[str, Any]]:
    """Return the kinds of errors since a moment, most frequent first, with the newest of each as a sample."""
    kinds: dict[tuple[str, str], dict[str, Any]] = {}
    clean = redactor.text
    for one in errors:
        if one.time < since:
            continue
        known = kinds.setdefault((one.logger, kind_of(one.text)), {"count": 0, "first": one.time})
        known |= {"count": known["count"] + 1, "last": one.time, "level": one.level}
        known |= {"sample": clean(one.text[:_SAMPLE_LENGTH]), "harmless": why_harmless(service, one.text)}
    found = [{"logger": logger, "kind": clean(kind), **facts} for (logger, kind), facts in kinds.items()]
    return sorted(found, key=lambda one: (-one["count"], one["logger"], one["kind"]))[:MOST_KINDS]


def log_of(pid: int, proc: Path = _processes.PROC) -> Path | None:
    """Return an open regular file that a process logs to, as a path to read it by; None when there is none."""
    found: list[tuple[bool, int, Path]] = []
    try:
        entries = os.listdir(proc / str(pid) / "fd")
    except OSError:
        return None
    for number in entries:
        link = proc / str(pid) / "fd" / number
        try:
            target = os.readlink(link)
            is_log = target.endswith(".log") and link.is_file()
            if is_log or (number in ("1", "2") and link.is_file() and target.startswith("/")):
                found.append((not is_log, int(number), link))
        except OSError:
            continue
    return min(found)[2] if found else None


def read_tail(file: IO[bytes], limit: int = TAIL) -> tuple[list[str], bool]:
    """Return the last lines of a file, and whether there were more before them."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - limit))
    lines = file.read(limit).decode(errors="replace").splitlines()
    return (lines[1:], True) if size > limit else (lines, False)


def look_at_logs(
    processes: Sequence[tuple[str, str, int]], since: float, redactor: Redactor, proc: Path = _processes.PROC
) -> list[dict[str, Any]]:
    """Return, for each component of each service, which kinds of errors its logs have since a moment."""
    found: list[dict[str, Any]] = []
    seen: set[tuple[str, str, str]] = set()
    for service, component, pid in processes:
        log = log_of(pid, proc)
        place = os.path.realpath(log) if log else f"journal of {unit_of(pid, proc)}"
        if (service, component, place) not in seen:
            seen.add((service, component, place))
            facts = (
                _look_at_file(service, log, since, redactor) if log else _look_at_journal(service, pid, since, redactor)
            )
            found.append({"service": service, "component": component, "log": place, **facts})
    return found


def _look_at_file(service: str, log: Path, since: float, redactor: Redactor) -> dict[str, Any]:
    try:
        with log.open("rb") as file:
            lines, cut = read_tail(file)
            modified = os.fstat(file.fileno()).st_mtime
    except OSError as problem:
        return {"problem": f"it cannot be read ({problem.strerror})"}
    stamps = (match["when"] for line in reversed(lines) if (match := _LINE.match(line)))
    last = next(stamps, "")
    apart = shift(clock.mktime(clock.strptime(last, "%Y-%m-%d %H:%M:%S")), modified) if last else 0.0
    moved = (Line(one.time + apart, one.level, one.logger, one.text) for one in errors_in(lines))
    return {"errors": summarise(service, moved, since, redactor), "cut": cut, "since": since}


def unit_of(pid: int, proc: Path = _processes.PROC) -> str:
    """Return the unit of systemd that a process belongs to; empty when to none."""
    try:
        text = (proc / str(pid) / "cgroup").read_text(errors="replace")
    except OSError:
        return ""
    units = [part for part in text.replace("\n", "/").split("/") if part.endswith(".service")]
    return units[-1] if units else ""


def _look_at_journal(service: str, pid: int, since: float, redactor: Redactor) -> dict[str, Any]:
    unit = unit_of(pid)
    if not unit:
        return {"problem": "its process writes to no file, and belongs to no unit whose journal could be read"}
    argv = ["journalctl", "--quiet", "--no-pager", "--output=json", f"--since=@{since:.0f}", f"--unit={unit}"]
    try:
        done = Inside(pid=os.getpid()).run(argv, as_root=True)
    except CommandError as problem:
        return {"problem": str(problem)}
    if done.rc:
        return {"problem": done.last_line}
    return {"errors": summarise(service, errors_of_journal(done.out), since, redactor), "cut": False, "since": since}


def errors_of_journal(printed: str) -> Iterator[Line]:
    """Yield the errors among the entries of a journal: as the service writes them, or by their priority."""
    for line in printed.splitlines():
        try:
            entry = json.loads(line)
            text, when = str(entry["MESSAGE"]), float(entry["__REALTIME_TIMESTAMP"]) / 1e6
        except (ValueError, KeyError, TypeError):
            continue
        within = list(errors_in([text]))
        if within:
            yield Line(when, within[0].level, within[0].logger, within[0].text)
        elif str(entry.get("PRIORITY", "7")).isdigit() and int(entry.get("PRIORITY", 7)) <= _JOURNAL_ERROR:
            logger = str(entry.get("LOGGER_NAME") or entry.get("SYSLOG_IDENTIFIER") or "")
            yield Line(when, "ERROR", logger, text)


def judge_logs(facts: Mapping[str, Any], since: float | None, usual: Iterable[tuple[str, str, str]]) -> Finding:
    """Say whether a component's log has kinds of errors that are new since a moment and not known to be harmless.

    One that ends a process fails. Of another it is only told that nobody knows what it does.

    ``usual`` are those that were there before the upgrade, each with its component, logger and kind.
    """
    component, log = str(facts["component"]), str(facts["log"])
    if facts.get("problem"):
        return unseen(component, f"The log of {component} could not be looked at: {facts['problem']}.")
    if since is None:
        return skipped(component, "There is no mark since when an error would be new: it needs a run.")
    known, new, excused = set(usual), list[dict[str, Any]](), list[str]()
    for one in facts.get("errors", ()):
        if one.get("harmless"):
            excused.append(f"{one['count']} x {one['kind']}: {one['harmless']}")
        elif one["last"] >= since and (component, one["logger"], one["kind"]) not in known:
            new.append(one)
    evidence = {"log": log, "harmless": excused, "list": VERSION, "new": new[:5]}
    if facts.get("cut") and not new:
        message = (
            f"Only the end of the log of {component} was read; it has no new error, and before it nothing was seen."
        )
        return unseen(component, message, evidence=evidence)
    if not new:
        return finding(component, True, f"The log of {component} has no new kind of error.", evidence=evidence)
    worst = next((one for one in new if one["level"] == _FATAL), new[0])
    word = "a new kind of error" if len(new) == 1 else f"{len(new)} new kinds of errors"
    message = f"The log of {component} has {word}, {worst['count']} times {worst['sample']!r} ({worst['logger']})."
    if worst["level"] == _FATAL:
        return finding(component, False, message, evidence=evidence)
    # A service may report an error and get over it: that proves neither that it is well nor that it is not.
    return unseen(component, f"{message} Whether it does harm is not known.", evidence=evidence)


def usual_of(facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the kinds of errors of a component, so that they are not new later."""
    return [(str(facts["component"]), str(one["logger"]), str(one["kind"])) for one in facts.get("errors", ())]
