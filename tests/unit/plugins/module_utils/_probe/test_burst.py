# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bursts: dense at the edge, thin with age, and never without end."""

from __future__ import annotations

import itertools
import random

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._burst import BUDGET, ENOUGH, QUIET, Burst
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import JITTER, SECOND, Grid

MS = 1_000_000


def spend_all(burst: Burst, duration: int) -> int:
    """Probes that a burst sends in an event of that length."""
    burst.trigger(0)
    now = sent = 0
    while now < duration:
        now += burst.step(now)
        sent += burst.may_send(now, 0, 0)
    return sent


def test_probes_of_a_long_outage_are_few() -> None:
    """An hour of outage costs some six hundred probes beyond the grid, not millions."""
    assert 300 < spend_all(Burst(10), 3600 * SECOND) < 650


def test_short_outage_is_seen_to_the_millisecond() -> None:
    """In the first 10 ms there is a probe each half of a millisecond, then up to 50 ms one each millisecond."""
    assert spend_all(Burst(10), 10 * MS) == 20
    assert spend_all(Burst(10), 50 * MS) == 60


def test_five_successes_end_it() -> None:
    """A burst ends with the fifth success in a row, and a failure starts the count again."""
    burst = Burst(10)
    assert burst.trigger(0)
    assert not burst.trigger(1)
    for up in (True, True, True, True, False, True, True, True, True):
        burst.saw(up=up)
    assert burst.active
    burst.saw(up=True)
    assert not burst.active


def burst_between(burst: Burst, pause: int) -> int:
    """The step with which a burst begins so long after the end of one that lasted ten seconds."""
    burst.trigger(0)
    burst.step(10 * SECOND)
    for _number in range(ENOUGH):
        burst.saw(up=True)
    assert burst.trigger(10 * SECOND + pause)
    return burst.step(10 * SECOND + pause)


def test_target_that_fails_now_and_then_has_one_event() -> None:
    """A failure right after a burst is a sign of the same trouble, which is not probed densely again."""
    assert burst_between(Burst(10), QUIET - MS) > 200 * MS
    assert burst_between(Burst(10), QUIET + MS) == MS // 2


def test_budget_bounds_a_flapping_target() -> None:
    """A target that flaps for ever cannot draw more than the budget and its refill."""
    burst = Burst(10)
    sent = 0
    for now in range(0, 10 * SECOND, MS):
        sent += burst.may_send(now, 0, 0)

    assert sent <= BUDGET + 10 * 10 + 1


def test_silent_target_is_left_alone() -> None:
    """A target that owes answers gets no burst: it may be overloaded."""
    burst = Burst(10)
    burst.trigger(0)

    assert burst.may_send(1, 2, 2)
    assert not burst.may_send(2, 3, 3)


def test_overtaken_probes_do_not_stop_a_burst() -> None:
    """Packets that were lost or delayed while later ones were answered say nothing against asking, up to a dozen."""
    burst = Burst(10)
    burst.trigger(0)

    assert burst.may_send(1, 0, 11)
    assert not burst.may_send(2, 0, 12)


def test_grid_is_even_but_not_periodic() -> None:
    """Moments are one slot apart, give or take the jitter, so that nothing periodic can hide between them."""
    grid = Grid(0, 100, 0.5, random.Random(1))
    moments = [grid.next() for _turn in range(1000)]
    steps = [later - earlier for earlier, later in itertools.pairwise(moments)]

    assert min(steps) >= 10 * MS * (1 - JITTER)
    assert max(steps) <= 10 * MS * (1 + JITTER)
    assert len(set(steps)) > 900


def test_missed_slots_are_counted() -> None:
    """Slots that have passed are left out and counted, and the grid goes on in its phase."""
    grid = Grid(0, 100, 0.0, random.Random(1))
    grid.next()

    assert grid.skip(55 * MS) == 5
    assert 60 * MS <= grid.next() <= 62 * MS
    assert grid.skip(61 * MS) == 0
