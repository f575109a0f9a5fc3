# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command of somebody else's to its end, with all that it starts.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

# Of these nothing is handed on: credentials of whoever runs the playbook, and how Ansible runs its modules.
_FOREIGN = ("OS_", "ANSIBLE_", "UPGRADE_TEST_", "PYTHONPATH")

_LOGGED = re.compile(r"^\d{4}-\d\d-\d\d [\d:.,]+ (?:\d+ )?(?P<level>[A-Z]+) \S+(?: \[[^\]]*\])? ?")  # as oslo.log does
_DULL = ("DEBUG", "INFO")


def inherited() -> dict[str, str]:
    """Return the environment that a command may have of the module's own."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}


def watched(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    output: Any,
    folder: str | os.PathLike[str] | None,
    timeout: float,
    errors: Any = subprocess.STDOUT,
) -> int | None:
    """Return the exit code; None when it had to be ended because it took too long. OSError when it does not start."""
    process = subprocess.Popen(
        list(argv),
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        start_new_session=True,
    )
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def last_word(lines: Sequence[str]) -> str:
    """Return the line of an output that says why it ended: the exception of the last traceback, or the last line."""
    logged = ((line, _LOGGED.match(line)) for line in lines)
    plain = [
        line[found.end() :] if found else line for line, found in logged if not (found and found["level"] in _DULL)
    ]
    said = [line.rstrip() for line in plain if line.strip()]
    callers = [number for number, line in enumerate(said) if line.startswith('  File "')]
    raised = [line for line in said[callers[-1] :] if not line.startswith(" ")] if callers else []
    return (raised[:1] or said[-1:] or [""])[0].strip()
