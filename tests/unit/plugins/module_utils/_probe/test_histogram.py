# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The histogram against sorting."""

from __future__ import annotations

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._histogram import (
    Histogram,
    bucket_of,
    middle_of,
)
from hypothesis import given
from hypothesis import strategies as st

values = st.lists(st.integers(0, 1 << 32), min_size=1, max_size=200)


@given(value=st.integers(0, 1 << 40))
def test_error_of_a_bucket(value: int) -> None:
    """The middle of a value's bucket is within 0.4 % of it."""
    assert abs(middle_of(bucket_of(value)) - value) <= value / 255


@given(value=st.integers(0, 1 << 40))
def test_buckets_are_ordered(value: int) -> None:
    """A greater value is never in a smaller bucket."""
    assert bucket_of(value) <= bucket_of(value + 1) <= bucket_of(value) + 1


@given(some=values, more=values, share=st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_quantile_of_merged_histograms(some: list[int], more: list[int], share: float) -> None:
    """Quantiles are those of all values, within the error, whether counted together or merged."""
    first, second = Histogram(), Histogram()
    for value in some:
        first.add(value)
    for value in more:
        second.add(value)
    first.merge(second)
    everything = sorted(some + more)
    exact = everything[max(0, -int(-share * len(everything) // 1) - 1)]

    assert abs(first.quantile(share) - exact) <= exact / 200
    assert first.maximum == everything[-1]


def test_empty_histogram() -> None:
    """No value, no quantile."""
    assert Histogram().quantile(0.5) == 0
