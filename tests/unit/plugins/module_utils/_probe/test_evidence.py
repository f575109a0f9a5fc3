# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sweep against brute force: every history that agrees with the evidence must agree with what is reported."""

from __future__ import annotations

import itertools
import random

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._evidence import (
    MOST_GAPS,
    Span,
    Sweep,
    find_outages,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

END = 5
STEPS = 2 * END + 1  # histories are told on half units, so that something can happen between two ends of windows

window = st.tuples(st.integers(0, END), st.integers(0, END)).map(lambda pair: (min(pair), max(pair)))
windows = st.lists(window, max_size=5)


def runs_of_down(history: tuple[bool, ...]) -> list[tuple[float, float]]:
    """First and last moment of each run of down."""
    runs = []
    position = 0
    for down, group in itertools.groupby(history):
        length = len(list(group))
        if down:
            runs.append((position / 2, (position + length - 1) / 2))
        position += length
    return runs


def histories(ups: list[tuple[int, int]], downs: list[tuple[int, int]]) -> list[list[tuple[float, float]]]:
    """The runs of down of every history that agrees with all windows."""
    agreeing = []
    for history in itertools.product((False, True), repeat=STEPS):
        seen_up = all(not all(history[2 * begin : 2 * end + 1]) for begin, end in ups)
        if seen_up and all(any(history[2 * begin : 2 * end + 1]) for begin, end in downs):
            agreeing.append(runs_of_down(history))
    return agreeing


def is_inside(run: tuple[float, float], span: Span) -> bool:
    """The run agrees with all bounds."""
    begin, end = run
    return (
        span.begin_low <= begin <= span.begin_high
        and span.end_low <= end <= span.end_high
        and span.lower <= end - begin <= span.upper
    )


@settings(max_examples=300, deadline=None)
@given(ups=windows, downs=windows)
def test_sweep_agrees_with_every_history(ups: list[tuple[int, int]], downs: list[tuple[int, int]]) -> None:
    """The fewest outages are reported, and in every history with that many each lies inside its bounds."""
    possible = histories(ups, downs)
    assume(possible)
    spans = find_outages(ups, downs, 0, END)
    fewest = min(len(runs) for runs in possible)

    assert len(spans) == fewest
    for runs in possible:
        if len(runs) == fewest:
            assert all(is_inside(run, span) for run, span in zip(runs, spans, strict=True))


@settings(max_examples=300, deadline=None)
@given(ups=windows, downs=windows)
def test_gap_is_the_longest_that_can_hide(ups: list[tuple[int, int]], downs: list[tuple[int, int]]) -> None:
    """No run of down in any history that agrees with the evidence is longer than the longest gap."""
    possible = histories(ups, downs)
    sweep = Sweep(0, 1 << 62)
    for end, begin, is_up in sorted([(b, a, 1) for a, b in ups] + [(b, a, 0) for a, b in downs]):
        (sweep.up if is_up else sweep.down)(begin, end)
    sweep.finish(END)

    assert all(end - begin <= sweep.longest_gap for runs in possible for begin, end in runs)


@settings(max_examples=300, deadline=None)
@given(ups=windows, stretch=window)
def test_gaps_tell_where_no_answer_is_proved(ups: list[tuple[int, int]], stretch: tuple[int, int]) -> None:
    """A stretch contains a whole up window if and only if it does not lie inside of a gap."""
    sweep = Sweep(-1, 1 << 62)
    for end, begin in sorted((b, a) for a, b in ups):
        sweep.up(begin, end)
    sweep.finish(END + 1)

    proved = any(stretch[0] <= begin and end <= stretch[1] for begin, end in ups)
    assert proved == all(not (low < stretch[0] and stretch[1] < high) for low, high in sweep.gaps())


def test_only_the_longest_gaps_are_remembered() -> None:
    """Memory is bounded: of ever longer gaps the last ones are kept, in the order of time."""
    sweep = Sweep(0, 100)
    moment = 0
    for length in range(1, 3 * MOST_GAPS):
        moment += length
        sweep.up(moment, moment)
    sweep.finish(moment)

    assert [high - low for low, high in sweep.gaps()] == list(range(2 * MOST_GAPS, 3 * MOST_GAPS))


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 1 << 32), horizon=st.integers(20, 60))
def test_bounded_memory_changes_nothing(seed: int, horizon: int) -> None:
    """With a horizon just longer than the longest window the result is the same as with everything remembered."""
    source = random.Random(seed)
    ups, downs = [], []
    for _turn in range(200):
        begin = source.randrange(2000)
        (downs if source.random() < 0.4 else ups).append((begin, begin + source.randrange(20)))

    assert find_outages(ups, downs, 0, 2020, horizon) == find_outages(ups, downs, 0, 2020)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_truth_lies_inside_the_bounds(seed: int) -> None:
    """Probes of a target with known outages: none is invented, and what is seen of them lies inside the bounds."""
    source = random.Random(seed)
    edges = sorted(source.sample(range(100, 9900), 2 * source.randrange(1, 6)))
    truth = list(zip(edges[::2], edges[1::2], strict=True))
    ups, downs, touched = [], [], []
    for sent in range(0, 10000, source.choice([20, 80, 300])):
        moment = sent + source.randrange(50)
        answered = moment + source.randrange(50)
        outage = next(((begin, end) for begin, end in truth if begin <= moment < end), None)
        (ups if outage is None else downs).append((sent, answered))
        if outage and outage not in touched:
            touched.append(outage)
    spans = find_outages(ups, downs, 0, 11000)

    assert len(spans) <= len(touched)
    if len(spans) == len(touched):
        for (begin, end), span in zip(touched, spans, strict=True):
            assert span.begin_low <= begin <= span.begin_high
            assert span.end_low <= end <= span.end_high
            assert span.lower <= end - begin <= span.upper


def test_answer_after_recovery_does_not_split_an_outage() -> None:
    """A probe sent inside an outage and answered after it is no proof of recovery in between."""
    spans = find_outages([(0, 1), (12, 31), (30, 31)], [(10, 11), (14, 15), (20, 21)], 0, 40)

    assert len(spans) == 1
    assert (spans[0].lower, spans[0].upper) == (9, 31)


def test_outage_without_recovery_lasts_to_the_end() -> None:
    """An outage that nothing ends is reported up to the end of the observation, and says so."""
    (span,) = find_outages([(0, 1)], [(10, 11), (20, 21)], 0, 30)

    assert (span.begin_low, span.end_high, span.recovered, span.preceded) == (0, 30, False, True)


def test_unobserved_time_is_no_proved_downtime() -> None:
    """The lower bound does not count the time in which the observer was away."""
    sweep = Sweep(0, 100)
    sweep.up(0, 1)
    sweep.down(10, 11)
    sweep.gap(12, 50)
    sweep.down(60, 61)
    sweep.up(70, 71)
    (span,) = sweep.finish(80)

    assert span.lower == 60 - 11 - 38
    assert span.upper == 71


@pytest.mark.parametrize("count", [1, 3])
def test_clean_observation_has_a_gap_but_no_outage(count: int) -> None:
    """Without failures the statement is the longest gap between proofs of up, begin and end included."""
    sweep = Sweep(0, 100)
    for number in range(count):
        sweep.up(10 + number * 10, 11 + number * 10)

    assert sweep.finish(100) == []
    assert sweep.longest_gap == 100 - 10 * count
