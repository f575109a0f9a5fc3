# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking at an observer from outside, and ending it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import ProbeError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._observer import (
    STATUS,
    STOP,
    process_start,
    write_status,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import boot_id

STALE = 30.0
"""Seconds without a heartbeat after which a living process is said to be stuck."""


def read_status(directory: Path) -> dict[str, Any] | None:
    """The last heartbeat; None when there is none that can be read."""
    try:
        status = json.loads((directory / STATUS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return status if isinstance(status, dict) else None


def judge_status(status: dict[str, Any] | None, *, alive: bool, now: float) -> tuple[str, str]:
    """(state, message) of an observer with that last heartbeat, whose process is alive or not."""
    if status is None:
        return "lost", "the observer has written no status: it never started, or its files are gone"
    if status.get("state") == "failed":
        return "lost", f"the observer did not start: {status.get('message', '')}"
    if status.get("state") == "ended":
        return "ended", "the observer ended and wrote its last record"
    age = now - float(status.get("time", 0))
    if not alive:
        return "lost", f"the observer's process is gone; its last heartbeat is {age:.0f} s old"
    if age > STALE:
        return "running", f"the observer's process lives, but its last heartbeat is {age:.0f} s old"
    return "running", "the observer is running"


def is_alive(status: dict[str, Any] | None) -> bool:
    """True when the very process that wrote the heartbeat still runs."""
    if status is None or status.get("boot_id", "") != boot_id():
        return False
    start = process_start(int(status.get("pid", 0)))
    return start != 0 and start == status.get("pid_start")


def report(directory: Path) -> dict[str, Any]:
    """What is known of the observer, read only."""
    alive = is_alive(read_status(directory))
    status = read_status(directory)  # read again: it may have ended properly in between
    state, message = judge_status(status, alive=alive, now=time.time())
    status = status or {}
    counts = status.get("counts") or {}
    return {
        "state": state,
        "message": message,
        "directory": str(directory),
        "alive_until": float(status.get("time", 0.0)),
        "started": float(status.get("started", 0.0)),
        "samples": sum(int(value) for value in counts.values()),
        "counts": counts,
        "down": status.get("down") or [],
        "pid": int(status.get("pid", 0)),
        "scheduler": str(status.get("scheduler", "")),
        "log": status.get("log") or {},
        "log_error": str(status.get("log_error", "")),
        "local_error": str(status.get("local_error", "")),
    }


def stop(
    directory: Path,
    timeout: float,
    *,
    look: Callable[[Path], dict[str, Any]] = report,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[dict[str, Any], bool]:
    """Ask the observer to end and wait until it has, or is lost. Returns (report, whether anything was asked).

    Raises ProbeError when it still runs after the timeout.
    """
    found = look(directory)
    if found["state"] != "running" and (directory / STATUS).exists():
        return found, False
    if not directory.is_dir():
        raise ProbeError(f"directory: {directory} does not exist, so no observer can have run there")
    (directory / STOP).touch(mode=0o600)
    deadline = clock() + timeout
    while not _is_over(found, directory):
        if clock() >= deadline:
            if found["state"] == "lost":
                return found, True
            raise ProbeError(
                f"timeout: the observer in {directory} has not ended within {timeout:g} s ({found['message']})"
            )
        sleep(0.1)
        found = look(directory)
    with contextlib.suppress(OSError):
        (directory / STOP).unlink()
    return found, True


def _is_over(found: dict[str, Any], directory: Path) -> bool:
    # Without any status it may just be starting: then the stop file waits for it, until the timeout.
    return found["state"] == "ended" or (found["state"] == "lost" and (directory / STATUS).exists())


def note_failure(directory: Path, message: str) -> None:
    """Leave the reason why an observer did not start where its operator will look: a background task is not heard."""
    if not is_alive(read_status(directory)):
        with contextlib.suppress(OSError):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_status(directory / STATUS, {"schema": 1, "state": "failed", "time": time.time(), "message": message})
