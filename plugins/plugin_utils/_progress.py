# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what happens while one long task runs: lines for what is new in the run directory since the last look.

Note that this plugin util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import EVENTS, RunDirectory

QUIET = 30.0  # seconds without a line, after which "still running" is said
MOST_LINES = 40  # of one look; a deployment tool may run thousands of tasks
STALE = 15.0  # seconds without a heartbeat, after which an observer is called silent


def clock(moment: float) -> str:
    """Return a moment as hours, minutes and seconds, UTC."""
    return time.strftime("%H:%M:%S", time.gmtime(moment))


@dataclass(frozen=True, kw_only=True)
class Down:
    """A target that is down; ``felt`` when users feel it, and not only one of several instances is away."""

    name: str
    since: float
    why: str
    felt: bool


class Progress:
    """Remembers what was said, so that each look returns only new lines."""

    def __init__(self, run: RunDirectory, now: Callable[[], float] = time.time) -> None:
        """Look at this run from now on; what is older is not told."""
        self.run = run
        self._now = now
        self._offset = _size(run.path / EVENTS)
        self._down: dict[str, Down] = {}
        self._silent: set[str] = set()
        self._began = self._said = now()
        self._outages = 0

    def lines(self) -> list[str]:
        """Return the new lines, oldest first; nothing most of the time."""
        now = self._now()
        told = [*self._tasks(), *self._states(now)]
        if not told and now - self._said >= QUIET:
            told = [self._still(now)]
        if told:
            self._said = now
        left = len(told) - MOST_LINES
        return [f"... {left} lines are left out here", *told[-MOST_LINES:]] if left > 0 else told

    def _still(self, now: float) -> str:
        minutes, seconds = divmod(int(now - self._began), 60)
        felt, away = (sum(1 for one in self._down.values() if one.felt is kind) for kind in (True, False))
        state = f"{felt} targets down" if felt else "all endpoints up"
        state += f", {away} instances away" if away else ""
        outages = f", {self._outages} outages so far" if self._outages else ""
        return f"{clock(now)}  still running for {minutes} min {seconds:02d} s, {state}{outages}"

    def _tasks(self) -> list[str]:
        mine = os.getpid()
        return [line for event in self._new_events() if event.get("writer") != mine and (line := _task_line(event))]

    def _new_events(self) -> list[dict[str, Any]]:
        """Return the whole lines that were appended since the last look; a torn one waits for the next."""
        path = self.run.path / EVENTS
        try:
            with path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [event for line in whole.splitlines() if (event := _parsed(line))]

    def _states(self, now: float) -> list[str]:
        lines: list[str] = []
        down: dict[str, Down] = {}
        for path in sorted((self.run.path / "samples").glob("*/*/status.json")):
            status = _parsed(_content(path)) or {}
            lines += self._heartbeat(path, status, now)
            down.update((one.name, one) for one in _down(status, now))
        for name in [name for name in self._down if name not in down]:
            gone = self._down.pop(name)
            word = "UP  " if gone.felt else "back"
            lines.append(f"{clock(now)}  {word}  {name} after about {now - gone.since:.0f} s")
        for name, one in down.items():
            if name not in self._down:
                self._down[name] = one
                self._outages += one.felt
                word = "DOWN" if one.felt else "away"
                lines.append(f"{clock(now)}  {word}  {name} since {clock(one.since)}{one.why}")
        return lines

    def _heartbeat(self, path: Path, status: Mapping[str, Any], now: float) -> list[str]:
        """Say once that an observer became silent, and once that it is back."""
        name, seen = f"{path.parent.parent.name} on {path.parent.name}", status.get("time")
        silent = status.get("state") == "running" and isinstance(seen, (int, float)) and now - seen > STALE
        if silent and name not in self._silent:
            self._silent.add(name)
            return [f"{clock(now)}  LOST? the observer {name} gave no sign for {now - float(seen or 0):.0f} s"]
        if not silent and name in self._silent:
            self._silent.discard(name)
            return [f"{clock(now)}  BACK  the observer {name} gives signs again"]
        return []


def _task_line(event: Mapping[str, Any]) -> str:
    """Return a line for what is worth one: a beginning of a play, phase or task, a mark, a failure."""
    kind, status, name = event.get("kind"), event.get("status"), str(event.get("name", ""))
    when = clock(float(event.get("time") or 0))
    if status in ("failed", "unreachable"):
        return (
            f"{clock(float(event.get('end') or event.get('time') or 0))}  {status.upper()}  {event.get('host')}: {name}"
        )
    if kind in ("phase", "mark"):
        return f"{when}  {str(kind).upper():5} {name}"
    if kind == "play":
        return f"{when}  PLAY  {name}"
    return f"{when}  task  {name}" if kind == "task" and status == "started" else ""


def _down(status: Mapping[str, Any], now: float) -> list[Down]:
    """Return the targets that are down now, as a heartbeat tells them."""
    told = status.get("down")
    records = [one for one in told if isinstance(one, Mapping)] if isinstance(told, list) else []
    return [_target(one, now) for one in records]


def _target(one: Mapping[str, Any], now: float) -> Down:
    via = str(one.get("via") or "")
    words = [str(one[key]) for key in ("name", "via", "mode") if one.get(key)]
    lasted = one.get("for")
    since = now - lasted if isinstance(lasted, (int, float)) else now
    why = f" ({one['kind']})" if one.get("kind") else ""
    felt = via == "public" or one.get("mode") not in ("new", "kept")  # else only one instance of several
    return Down(name=" ".join(dict.fromkeys(words)), since=since, why=why, felt=felt)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _parsed(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
