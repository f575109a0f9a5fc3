# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn the plays and tasks of any playbook into the timeline of a run, as they happen.

What is recorded is listed here, key by key; arguments, whole results, variables and the environment never are.

Note that this plugin util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory, RunError

OURS = "openstack.upgrade_test."
OUTCOME_ACTIONS = ("ansible.builtin.async_status",)  # brings the outcomes of our own background tasks
MOST_WAITING = 2000  # records kept while the run directory is not known yet
LONGEST_NAME = 200
# Tasks that do nothing to a cloud and would bury those that do.
SCAFFOLDING = frozenset(
    ("validate_argument_spec", "include_role", "include_tasks", "import_role", "import_tasks", "set_fact", "assert")
)
SCAFFOLDING |= {"debug", "add_host", "group_by"}


def is_ours(action: str) -> bool:
    """Whether a task's resolved action may bring outcomes."""
    return action.startswith(OURS) or action in OUTCOME_ACTIONS


class Timeline:
    """Collects records, and writes them as soon as the run directory is known; holds no more than names and times."""

    def __init__(self, run_dir: str | None = None) -> None:
        """Write into this run directory, or into the one that a ``run`` task names later."""
        self.run: RunDirectory | None = None
        self.verdict_passed = False
        self._waiting: deque[tuple[str, tuple[Any, ...], dict[str, Any]]] = deque(maxlen=MOST_WAITING)
        self._begun: dict[tuple[str, str], float] = {}
        self._play = ("", 0.0)
        self.adopt(run_dir)

    def adopt(self, run_dir: object) -> None:
        """Write into this run directory from now on, and file there what has waited; anything else is left alone."""
        if (
            not isinstance(run_dir, (str, os.PathLike))
            or not str(run_dir)
            or (self.run and str(self.run.path) == run_dir)
        ):
            return
        try:
            self.run = RunDirectory(run_dir)
        except RunError:
            return  # of a run that --check only described, or that is gone
        while self._waiting:
            kind, given, named = self._waiting.popleft()
            self._write(kind, given, named)

    def play_began(self, play: Any) -> None:
        """Record that a play began."""
        self._play = (_name(play), time.time())
        self._file("append_event", "play", self._play[0], time=self._play[1], status="started", writer=os.getpid())

    def task_began(self, task: Any) -> None:
        """Record that a task began on whichever host."""
        self._event(task, time=time.time(), status="started")

    def host_began(self, host: Any, task: Any) -> None:
        """Remember when a task began on a host."""
        self._begun[task._uuid, host.get_name()] = time.time()

    def item_ended(self, result: Any) -> None:
        """File what one item of a loop brought."""
        self._take(result)

    def task_ended(self, result: Any, status: str) -> None:
        """Record that a task ended on a host, and file what it brought."""
        now, host = time.time(), result.host.get_name()
        self._take(result)
        begun = self._begun.pop((result.task._uuid, host), now)
        self._event(result.task, time=begun, end=now, host=host, status=status)

    def _event(self, task: Any, **fields: Any) -> None:
        if str(task.action).removeprefix("ansible.builtin.") in SCAFFOLDING:
            return
        named = {"action": str(task.resolved_action or task.action), "play": self._play[0], "writer": os.getpid()}
        self._file("append_event", "task", _name(task), **named, **fields)

    def _take(self, result: Any) -> None:
        """Take over what only our own modules bring: the run, outcomes, and that there is a verdict."""
        action = str(result.task.resolved_action or "")
        content = result.result
        if not is_ours(action) or not isinstance(content, Mapping):
            return
        run = content.get("run")
        if action == f"{OURS}run" and isinstance(run, Mapping):
            self.adopt(run.get("run_dir"))
        if action == f"{OURS}verdict" and content.get("results_file"):
            self.adopt(str(Path(content["results_file"]).parent))
            self.verdict_passed = True
        self._file_outcomes(content.get("outcomes"))

    def _file_outcomes(self, outcomes: object) -> None:
        for record in outcomes if isinstance(outcomes, list) else []:
            if isinstance(record, Mapping) and record.get("validator") and record.get("check"):
                self._file("append_outcome", Outcome.from_record(record))

    def _file(self, kind: str, *given: Any, **named: Any) -> None:
        if self.run is None:
            self._waiting.append((kind, given, named))
        else:
            self._write(kind, given, named)

    def _write(self, kind: str, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        getattr(self.run, kind)(*given, **named)


def _name(thing: Any) -> str:
    return str(thing.get_name()).strip()[:LONGEST_NAME]
