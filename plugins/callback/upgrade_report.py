# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: upgrade_report
type: aggregate
short_description: Keep the timeline of an upgrade test and write its report
version_added: 0.1.0
author:
  - The openstack.upgrade_test contributors (@openstack)
description:
  - Appends every play and task (when, where, what, how it ended) and every outcome to the run directory, as they
    happen. Arguments, results, variables and the environment are never recorded.
  - While a task with C(async) and C(poll) runs, it prints what is new, such as tasks of a playbook that this task
    has started, and targets that went down or came back.
  - When a result of M(openstack.upgrade_test.verdict) has passed by, it writes C(report.html), C(summary.md),
    C(junit.xml) and C(verdict.txt) into the run directory, and prints a summary at the end.
  - With the environment variable E(UPGRADE_TEST_RUN_DIR) it records any playbook, such as those of a deployment tool.
requirements:
  - enabled in the configuration, C(callbacks_enabled = openstack.upgrade_test.upgrade_report)
options:
  run_dir:
    description:
      - The run directory. When it is not set, the first M(openstack.upgrade_test.run) task says it.
    type: str
    env:
      - name: UPGRADE_TEST_RUN_DIR
    ini:
      - section: callback_upgrade_report
        key: run_dir
"""

from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._recorder import Recorder


class CallbackModule(CallbackBase):
    """Hooks of one line each: an exception here is only a warning, so nothing may depend on a later hook."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "openstack.upgrade_test.upgrade_report"
    CALLBACK_NEEDS_ENABLED = True

    recorder: Recorder

    def set_options(self, task_keys: Any = None, var_options: Any = None, direct: Any = None) -> None:
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        passive = bool(context.CLIARGS.get("check"))
        self.recorder = Recorder(self._display, self.get_option("run_dir"), passive=passive)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self.recorder.play_began(play)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ARG002 - given by name
        self.recorder.task_began(task)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self.recorder.task_began(task)

    def v2_playbook_on_cleanup_task_start(self, task: Any) -> None:
        self.recorder.task_began(task)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self.recorder.host_began(host, task)

    def v2_runner_on_ok(self, result: Any) -> None:
        self.recorder.task_ended(result, "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self.recorder.task_ended(result, "ignored" if ignore_errors else "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self.recorder.task_ended(result, "unreachable")

    def v2_runner_on_skipped(self, result: Any) -> None:
        self.recorder.task_ended(result, "skipped")

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self.recorder.item_ended(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        self.recorder.item_ended(result)

    def v2_runner_on_async_poll(self, result: Any) -> None:  # noqa: ARG002 - Ansible gives it
        self.recorder.polled()

    def v2_playbook_on_stats(self, stats: Any) -> None:  # noqa: ARG002 - Ansible gives it
        self.recorder.ended()
