# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A histogram of constant relative error: cheap to fill, exact to merge, small to keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

_SUB_BITS = 7


def bucket_of(value: int) -> int:
    """The number of the bucket of a value: exact below 128, then 128 buckets for each doubling (0.4 % error)."""
    shift = value.bit_length() - _SUB_BITS - 1
    return value if shift <= 0 else (shift << _SUB_BITS) + (value >> shift)


def buckets_of(values: Iterable[int]) -> list[int]:
    """``bucket_of`` for many values."""
    return [
        value if (shift := value.bit_length() - _SUB_BITS - 1) <= 0 else (shift << _SUB_BITS) + (value >> shift)
        for value in values
    ]


def middle_of(bucket: int) -> float:
    """The middle of a bucket, in the unit of the values."""
    shift = (bucket >> _SUB_BITS) - 1
    if shift <= 0:
        return float(bucket)
    low = (bucket - (shift << _SUB_BITS)) << shift
    return low + ((1 << shift) - 1) / 2


class Histogram:
    """Counts of non-negative whole numbers (microseconds here), with the exact maximum."""

    __slots__ = ("counts", "maximum", "total")

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.maximum = 0
        self.total = 0

    def add(self, value: int, times: int = 1) -> None:
        """Count a value."""
        self.counts[bucket_of(value)] += times
        self.total += times
        self.maximum = max(self.maximum, value)

    def extend(self, buckets: Iterable[int], count: int, maximum: int) -> None:
        """Count values of which the buckets, the number and the maximum are known."""
        self.counts.update(buckets)
        self.total += count
        self.maximum = max(self.maximum, maximum)

    def merge(self, other: Histogram) -> None:
        """Add all that another histogram has counted."""
        self.counts.update(other.counts)
        self.total += other.total
        self.maximum = max(self.maximum, other.maximum)

    def quantile(self, share: float) -> float:
        """The value below or at which the share of all values lies; 0.0 when empty."""
        wanted = share * self.total
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return min(middle_of(bucket), float(self.maximum))
        return float(self.maximum)
