# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting: as long as needed, no longer than allowed, and at least one look."""

from __future__ import annotations

import time
from itertools import count

from ansible_collections.openstack.upgrade_test.plugins.module_utils._wait import Patience, becomes_true, look_until


def test_what_comes_about_is_waited_for() -> None:
    """It is looked again until it is so, and what was seen then is returned."""
    numbers = count()

    assert look_until(lambda: next(numbers), lambda number: number == 3, timeout=60, step=0.001) == 3
    assert next(numbers) == 4


def test_what_does_not_come_about_ends_in_time() -> None:
    """When the time is over, what was seen last is returned, good or not; a long step does not make it longer."""
    begin = time.monotonic()
    seen = look_until(lambda: "bad", lambda word: word == "good", timeout=0.05, step=3600)

    assert seen == "bad"
    assert 0.05 <= time.monotonic() - begin < 1800


def test_without_any_time_there_is_one_look() -> None:
    """A single look is made in any case."""
    looks: list[int] = []

    assert not becomes_true(lambda: bool(looks.append(1)), timeout=0)
    assert becomes_true(lambda: True, timeout=0)
    assert looks == [1]


def test_who_was_waited_for_in_vain_is_looked_at_once() -> None:
    """The first silence takes its time, the next questions take none; until then each may take all of it."""
    late, silent, again = count(), count(), count()
    patience = Patience(0.3)

    assert patience.until(lambda: next(late) > 0, bool)
    assert not patience.until(lambda: next(silent) < 0, bool)
    assert not patience.until(lambda: next(again) < 0, bool)
    assert (next(late), next(again)) == (2, 1)
    assert next(silent) > 1
