# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes beside the observer, forked before it begins."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


def fork_child(keep: int, life: Callable[[], None]) -> int:
    """Fork a process that does nothing but ``life``, with one descriptor of all; returns its pid.

    No signal meant for the observer ends it: it has to watch the descriptor for the observer's end.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        os.closerange(0, keep)
        os.closerange(keep + 1, 4096)
        life()
    except BaseException:  # whatever it is: the child must never return into the parent's code
        os._exit(1)
    os._exit(0)
