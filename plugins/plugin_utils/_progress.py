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
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import EVENTS, RunDirectory

QUIET = 30.0  # seconds without a line, after which "still running" is said
MOST_LINES = 40  # of one look; a deployment tool may run thousands of tasks
STALE = 15.0  # seconds without a heartbeat, after which an observer is called silent


def clock(moment: float) -> str:
    """Return a moment as hours, minutes and seconds, UTC."""
    return time.strftime("%H:%M:%S", time.gmtime(moment))


class Progress:
    """Remembers what was said, so that each look returns only new lines."""

    def __init__(self, run: RunDirectory, now: Callable[[], float] = time.time) -> None:
        """Look at this run from now on; what is older is not told."""
        self.run = run
        self._now = now
        self._offset = _size(run.path / EVENTS)
        self._down: dict[str, float] = {}
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
        state = f"{len(self._down)} targets down" if self._down else "all targets up"
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
        down: dict[str, str] = {}
        for path in sorted((self.run.path / "samples").glob("*/*/status.json")):
            status = _parsed(_content(path)) or {}
            lines += self._heartbeat(path, status, now)
            down.update(_down(status))
        for name in [name for name in self._down if name not in down]:
            lines.append(f"{clock(now)}  UP    {name} after {now - self._down.pop(name):.0f} s")
        for name, why in down.items():
            if name not in self._down:
                self._down[name] = now
                self._outages += 1
                lines.append(f"{clock(now)}  DOWN  {name}{why}")
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


def _down(status: Mapping[str, Any]) -> dict[str, str]:
    """Return the targets that are down now, as a heartbeat tells them: names, or records with name, via and mode."""
    return dict(_target(one) for one in _items(status.get("down")))


def _items(value: object) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return [{"name": name, **(one if isinstance(one, Mapping) else {})} for name, one in value.items()]
    return value if isinstance(value, list) else []


def _target(one: object) -> tuple[str, str]:
    if not isinstance(one, Mapping):
        return str(one), ""
    words = [str(one[key]) for key in ("name", "via", "mode") if one.get(key)]
    why = str(one.get("kind") or one.get("detail") or "")
    return " ".join(dict.fromkeys(words)), f" ({why})" if why else ""


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
