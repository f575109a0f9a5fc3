# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the thinning leaves out is not missed: the sweep finds the same with it and without it."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe import _evidence, _proofs
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._evidence import Sweep
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._proofs import Evidence, Proofs
from hypothesis import given, settings
from hypothesis import strategies as st

HORIZON = 40
"""Longer than any window here, and than the time by which a record comes behind the end of its window."""
Record = tuple[int, Evidence]
"""When it was written, and what it shows."""


@pytest.fixture(autouse=True, scope="module")
def few_gaps() -> Iterator[None]:
    """Let only a few gaps be remembered."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (_evidence, _proofs):
            patch.setattr(module, "MOST_GAPS", 4)
        yield


def history(source: random.Random, length: int) -> list[Record]:
    """Windows of all kinds; a failure can be known long after it happened."""
    records = []
    share = source.choice([0.02, 0.3, 0.7])
    for sent in range(0, length, source.choice([1, 3, 10])):
        begin = sent + source.randrange(3)
        window = source.choice([1, 2, source.randrange(1, 15)])
        down = source.random() < share
        written = begin + window + (source.choice([0, 0, 20]) if down else source.randrange(2))
        records.append((written, (begin + window, begin, 10 * down)))
    return sorted(records)


def sweep_all(records: list[Record], end: int) -> Sweep:
    """The sweep over everything."""
    sweep = Sweep(0, 1 << 40)
    for stop, start, kind in sorted(evidence for _written, evidence in records):
        if kind:
            sweep.down(start, stop, kind)
        else:
            sweep.up(start, stop)
    sweep.finish(end)
    return sweep


def sweep_thinned(records: list[Record], borders: list[int], end: int, source: random.Random) -> tuple[Sweep, int]:
    """The sweep over the proofs of each part and all failures; and how many proofs were left."""
    sweep = Sweep(0, HORIZON)
    rows: list[tuple[int, int, int, bool]] = []
    for begin, behind in zip([0, *borders], [*borders, end + 1], strict=True):
        part = [record for record in records if begin <= record[0] < behind]
        proofs = Proofs(begin, HORIZON)
        pending = sorted(evidence for _written, evidence in part)
        now = begin
        while (now := now + source.randrange(1, 60)) < behind:
            known = [evidence for written, evidence in part if written <= now and evidence in pending]
            done = [evidence for evidence in known if evidence[0] <= now - HORIZON]
            proofs.take(sorted(done))
            for evidence in done:
                pending.remove(evidence)
            rows += [(proof.end, proof.begin, 0, proof.thinned) for proof in proofs.settle(now - HORIZON)]
        proofs.take(pending)
        last = max((written for written, _evidence in part), default=begin)
        rows += [(proof.end, proof.begin, 0, proof.thinned) for proof in proofs.finish(last)]
        rows += [(stop, start, kind, False) for _written, (stop, start, kind) in part if kind]
        for _length, low, high in proofs.gaps():
            sweep.without_up(low, high)
    for stop, start, kind, thinned in sorted(rows):
        if kind:
            sweep.down(start, stop, kind)
        else:
            sweep.up(start, stop, thinned=thinned)
    sweep.finish(end)
    return sweep, sum(not row[2] for row in rows)


@pytest.mark.no_cover
@settings(max_examples=1500, deadline=None)
@given(seed=st.integers(0, 1 << 40), length=st.sampled_from([60, 200, 600]), parts=st.integers(1, 4))
def test_nothing_is_missed(seed: int, length: int, parts: int) -> None:
    """Outages with all their bounds, the longest gap and the gaps are the same, wherever the log is cut into parts."""
    source = random.Random(seed)
    records = history(source, length)
    borders = sorted(source.sample(range(1, length), parts - 1))
    end = length + HORIZON
    whole = sweep_all(records, end)
    thinned, _count = sweep_thinned(records, borders, end, source)

    assert thinned.spans == whole.spans
    assert thinned.longest_gap == whole.longest_gap
    assert thinned.gaps() == whole.gaps()


def test_good_time_needs_next_to_nothing() -> None:
    """Of many thousand proofs without a failure only those at the borders and one for each look are left."""
    records = [(sent + 2, (sent + 2, sent, 0)) for sent in range(0, 100_000, 5)]
    proofs = Proofs(0, HORIZON)
    kept = []
    for now in range(10_000, 100_001, 10_000):
        done = [evidence for _written, evidence in records if now - 10_000 < evidence[0] <= now]
        proofs.take(done)
        kept += proofs.settle(now)
    kept += proofs.finish(100_000)

    assert len(kept) < 12 + HORIZON // 5
    assert proofs.gaps()[0][0] == 7
