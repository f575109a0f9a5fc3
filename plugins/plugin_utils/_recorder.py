# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the callback's hooks do: record, say what is new, write the report, print the summary.

Note that this plugin util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import shutil
import sys
from typing import Any

from ansible import constants
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._progress import Progress
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._terminal import summary_lines
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._write import RESULTS, write_report
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._timeline import Timeline

COLOURS = {"good": "COLOR_OK", "bad": "COLOR_ERROR", "unsure": "COLOR_WARN", "quiet": "COLOR_VERBOSE"}


class Recorder:
    """One playbook's recorder; when ``passive`` (with --check) it does nothing at all."""

    def __init__(self, display: Any, run_dir: str | None, *, passive: bool = False) -> None:
        """Record into this run directory, or into the one that a ``run`` task names later."""
        self.display = display
        self.passive = passive
        self.timeline = Timeline(None if passive else run_dir)
        self.progress: Progress | None = None
        self.reported = False

    def play_began(self, play: Any) -> None:
        """Record that a play began."""
        if not self.passive:
            self.timeline.play_began(play)

    def task_began(self, task: Any) -> None:
        """Record that a task began."""
        if self.passive:
            return
        self.timeline.task_began(task)
        if getattr(task, "async_val", 0) and self.timeline.run:
            self.progress = Progress(self.timeline.run)  # tells what happens from now on

    def host_began(self, host: Any, task: Any) -> None:
        """Remember when a task began on a host."""
        self.timeline.host_began(host, task)

    def item_ended(self, result: Any) -> None:
        """File what one item of a loop brought."""
        if not self.passive:
            self.timeline.item_ended(result)

    def task_ended(self, result: Any, status: str) -> None:
        """Record that a task ended; write the report as soon as there is a verdict."""
        if self.passive:
            return
        self.timeline.task_ended(result, status)
        if self.timeline.verdict_passed:
            self.timeline.verdict_passed = False
            self._report()

    def polled(self) -> None:
        """Print what is new, while one long task runs."""
        if self.passive or self.progress is None:
            return
        for line in self.progress.lines():
            self.display.display(self.progress.run.redactor.text(line), color=self._colour(_tone(line)))

    def ended(self) -> None:
        """Print the summary, when there is a verdict to sum up."""
        run = self.timeline.run
        if not self.reported or run is None:
            return
        results = run.read_json(RESULTS)
        width = shutil.get_terminal_size((80, 24)).columns
        self.display.banner("UPGRADE TEST")
        for tone, line in summary_lines(results, run.path, width=width, plain=not _speaks_unicode()):
            self.display.display(line, color=self._colour(tone))

    def _report(self) -> None:
        run = self.timeline.run
        if run is not None:
            write_report(run)
            self.reported = True

    def _colour(self, tone: str) -> Any:
        return getattr(constants, COLOURS[tone]) if tone in COLOURS else None


def _tone(line: str) -> str:
    words = line.split()
    word = words[1] if len(words) > 1 else ""
    return {"DOWN": "bad", "FAILED": "bad", "UNREACHABLE": "bad", "UP": "good", "LOST?": "unsure"}.get(word, "")


def _speaks_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "") in ("utf8", "utf16", "utf32")
