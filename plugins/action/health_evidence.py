# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the module C(health_evidence) that runs on the controller: it compares the two clocks."""

from __future__ import annotations

import time as clock
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._infrastructure import ClockLook

LOOKS = 5
_DATE = "date +%s.%N"  # answers within milliseconds, where a module needs seconds just to get there


class ActionModule(ActionBase):
    """Ask the host for the time, then run the module there."""

    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the module returns, with the looks at the clock among its evidence."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        looks = [look for _number in range(LOOKS) if (look := self._look_at_clock())]
        result.update(self._execute_module(task_vars=task_vars, wrap_async=bool(self._task.async_val)))
        if "evidence" in result:
            result["evidence"]["clock"] = looks
        return result

    def _look_at_clock(self) -> ClockLook | None:
        """Return what the host's clock told, between our own two moments; None when it told nothing of use."""
        sent = clock.time()
        done = self._low_level_execute_command(_DATE, sudoable=False)
        received = clock.time()
        try:
            return {"sent": sent, "told": float(done["stdout"]), "received": received}
        except ValueError:
            return None
