# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Latencies compared: what is said of made-up seconds whose truth is known, and of a real server that becomes slow."""

from __future__ import annotations

import json
import math
import random
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._canary import start_canary
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._histogram import Histogram
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import LaneSpec
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._performance import (
    AFTER,
    BEFORE,
    DURING,
    Part,
    Performance,
    Ranked,
    Ratio,
    Window,
    compare,
    design_effect,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import Target
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._seconds import LaneSecond, read_seconds
from ansible_collections.openstack.upgrade_test.tests.unit.plugins.module_utils._probe.conftest import (
    Sample,
    TruthServer,
)
from hypothesis import given
from hypothesis import strategies as st

T0 = 1_795_168_380.0
TARGET = Target(name="list servers", service="nova", via="public", mode="new", address="10.0.0.10:8774", auth=True)
WINDOWS = (Window(BEFORE, T0, T0 + 100), Window(DURING, T0 + 100, T0 + 300), Window(AFTER, T0 + 300, T0 + 400))


def histogram(values: Sequence[float]) -> Histogram:
    """Of latencies in milliseconds."""
    made = Histogram()
    for value in values:
        made.add(int(value * 1000))
    return made


def second(offset: float, latencies: Sequence[float], *, late: float = 0, failed: int = 0, void: int = 0) -> LaneSecond:
    """A second with answers of so many milliseconds, sent so late."""
    made = LaneSecond(TARGET, T0 + offset, up=len(latencies), down=failed, void=void)
    made.sent = histogram(latencies)
    made.planned = histogram([value + late for value in latencies])
    return made


def story(*parts: tuple[int, float], rate: int = 10, seed: int = 1) -> Iterator[LaneSecond]:
    """So many seconds of answers around so many milliseconds, one after the other."""
    source, offset = random.Random(seed), 0
    for seconds, typical in parts:
        for _number in range(seconds):
            yield second(offset, [source.lognormvariate(math.log(typical), 0.3) for _probe in range(rate)])
            offset += 1


def only(seconds: Iterator[LaneSecond] | Sequence[LaneSecond], threshold: float = 1.0) -> Performance:
    """The performance of the only operation."""
    (performance,) = compare(seconds, WINDOWS, threshold)
    return performance


def test_windows_and_quantiles() -> None:
    """Each window has its own quantiles, in milliseconds and within the error of the histogram."""
    record = only(story((100, 10), (200, 20), (100, 10))).as_record()

    assert {name: part["requests"] for name, part in record["windows"].items()} == {
        BEFORE: 1000,
        DURING: 2000,
        AFTER: 1000,
    }
    assert record["windows"][BEFORE]["planned_ms"]["p50"] == pytest.approx(10, rel=0.05)
    assert record["windows"][DURING]["planned_ms"]["p50"] == pytest.approx(20, rel=0.05)
    assert record["windows"][BEFORE]["coverage"] == 1


def test_ratios_have_intervals_around_the_truth() -> None:
    """Twice as slow is said to be so, as fast as before as well, and the intervals are narrow and hold the truth."""
    ratios = only(story((100, 10), (200, 20), (100, 10))).ratios

    for quantile in ("p50", "p95", "p99"):
        for window, truth in ((DURING, 2), (AFTER, 1)):
            ratio = ratios[window][quantile]
            assert ratio.low <= truth <= ratio.high, (window, quantile, ratio)
            assert ratio.low <= ratio.value <= ratio.high
    assert ratios[DURING]["p50"].high / ratios[DURING]["p50"].low < 1.2


@pytest.mark.no_cover
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of 200 comparisons of the same with the same, about 95 of 100 intervals contain 1."""
    held = {"p50": 0, "p95": 0}
    for seed in range(200):
        ratios = only(list(story((100, 10), (200, 10), rate=2, seed=seed))).ratios[DURING]
        for quantile in held:
            held[quantile] += ratios[quantile].low <= 1 <= ratios[quantile].high

    assert all(180 <= count <= 200 for count in held.values()), held


def naive(before: Sequence[float], later: Sequence[float], share: float, source: random.Random) -> tuple[float, float]:
    """The textbook's bootstrap: draw all values again, a thousand times."""
    ratios = []
    for _number in range(1000):
        values = [Ranked(histogram(source.choices(part, k=len(part)))).at(share) for part in (before, later)]
        ratios.append(values[1] / values[0])
    ratios.sort()
    return ratios[25], ratios[974]


def test_one_number_for_each_resample_is_enough() -> None:
    """Drawing the rank of the quantile gives the interval that drawing all values again gives."""
    source = random.Random(5)
    before = [source.lognormvariate(2, 0.5) for _number in range(200)]
    later = [source.lognormvariate(2.3, 0.5) for _number in range(200)]
    seconds = [second(place, [before[place * 2], before[place * 2 + 1]]) for place in range(100)]
    seconds += [second(100 + place, [later[place * 2], later[place * 2 + 1]]) for place in range(100)]

    for quantile, share in (("p50", 0.5), ("p95", 0.95)):
        low, high = naive(before, later, share, source)
        ratio = only(seconds).ratios[DURING][quantile]
        assert ratio.low == pytest.approx(low, rel=0.1), quantile
        assert ratio.high == pytest.approx(high, rel=0.1), quantile


def test_slow_requests_in_a_bunch_widen_the_interval() -> None:
    """What was slow in one bout says less of the whole than the same number of slow requests spread evenly."""
    bout = [second(place, [100.0 if place < 12 else 10.0] * 10) for place in range(100)]
    spread = [second(place, [100.0 if place % 8 == probe else 10.0 for probe in range(10)]) for place in range(100)]
    effects = []
    for seconds in (bout, spread):
        part = Part()
        for one in seconds:
            part.take(one, WINDOWS[0].block_of(one.second), 1.0)
        effects.append(design_effect(part, 0.8))

    assert effects[0] > 5
    assert effects[1] == 1


def test_failures_are_slower_than_every_answer() -> None:
    """A service that fails does not become faster by it: with one of ten failed there is no p95."""
    seconds = [second(place, [10.0] * 10) for place in range(100)]
    seconds += [second(100 + place, [5.0] * 9, failed=1) for place in range(200)]
    performance = only(seconds)
    record = performance.as_record()

    assert performance.ratios[DURING]["p95"] == Ratio(math.inf, math.inf, math.inf)
    assert record["ratios"][DURING]["p95"] == [None, None, None]
    assert record["windows"][DURING]["planned_ms"]["p95"] is None
    assert record["windows"][DURING]["planned_ms"]["p50"] == pytest.approx(5, rel=0.01)
    assert record["windows"][DURING]["failed"] == 200
    json.dumps(record, allow_nan=False)


def test_too_few_requests_give_no_ratio() -> None:
    """Of 20 requests nothing is said of the hundredth."""
    ratios = only(story((100, 10), (200, 10), rate=1)).ratios[DURING]

    assert set(ratios) == {"p50", "p95"}
    assert only(story((100, 10))).ratios == {}


def test_own_lateness_is_shown_but_not_hidden() -> None:
    """Latency is given from the planned moment and from that of sending; the difference is the observer's."""
    record = only([second(place, [10.0], late=40.0) for place in range(100)]).as_record()["windows"][BEFORE]

    assert record["planned_ms"]["p50"] == pytest.approx(50, rel=0.01)
    assert record["sent_ms"]["p50"] == pytest.approx(10, rel=0.01)


def test_time_above_a_threshold() -> None:
    """The seconds with an answer that took longer are counted."""
    seconds = [second(place, [10.0, 300.0 if place < 7 else 10.0]) for place in range(100)]

    part = only(seconds, threshold=0.2).parts[BEFORE]

    assert (part.seconds, part.seconds_above) == (100, 7)


def test_seconds_across_a_border_are_in_no_window() -> None:
    """Nothing of one window is counted in another."""
    seconds = [second(99.5, [10.0]), second(98.5, [10.0]), second(-0.1, [10.0]), second(100.0, [20.0])]

    parts = only(seconds).parts

    assert (parts[BEFORE].planned.total, parts[DURING].planned.total) == (1, 1)


def test_what_was_not_sent_lowers_the_coverage() -> None:
    """Void probes are neither answers nor failures."""
    record = only([second(place, [10.0] * 3, void=1) for place in range(100)]).as_record()["windows"][BEFORE]

    assert (record["coverage"], record["void"], record["failed"]) == (0.75, 100, 0)


def test_the_same_log_says_the_same() -> None:
    """No run of the comparison differs from another."""
    made = [only(story((100, 10), (200, 20))).as_record() for _number in range(2)]

    assert made[0] == made[1]


@given(st.lists(st.integers(1, 10_000_000), min_size=1, max_size=60), st.integers(0, 20), st.floats(0.001, 1))
def test_ranked_agrees_with_sorting(values: list[int], failed: int, share: float) -> None:
    """The quantile of a histogram is that of the sorted values within its error; failures stand behind all of them."""
    ordered = [*sorted(values), *[math.inf] * failed]
    truth = ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]
    found = Ranked(histogram([value / 1000 for value in values]), failed).at(share)

    assert found * 1000 == pytest.approx(truth, rel=0.005, abs=1)


class Slowing(TruthServer):
    """Answers at once, or after a while."""

    delay = 0.0

    def answer_to(self, connection: socket.socket, _head: bytes) -> bool:
        time.sleep(self.delay)
        return self.respond(connection, 200)


def test_a_real_server_that_becomes_slow(sample: Sample, tmp_path: Path) -> None:
    """From a real log: the slow time is found to be slower, in its window only; the canary is there and was not."""
    server = Slowing()
    host, port = server.server_address[:2]
    spec = LaneSpec(name="show", mode="new", sockaddr=(host, port), address=f"{host}:{port}", rate=40)
    moments = [time.time()]

    def slow_down() -> None:
        for delay in (0.0, 0.1, 0.0):
            server.delay = delay
            time.sleep(3)
            moments.append(time.time())

    try:
        sample([spec], slow_down, canary=start_canary())
    finally:
        server.shutdown()
        server.server_close()
    windows = [Window(name, *moments[place : place + 2]) for place, name in enumerate((BEFORE, DURING, AFTER))]
    operation, canary = compare(read_seconds(tmp_path), windows, 0.09)

    assert (operation.is_canary, canary.is_canary) == (False, True)
    record: dict[str, Any] = operation.as_record()
    assert record["windows"][DURING]["planned_ms"]["p50"] >= 100
    assert record["windows"][DURING]["seconds_above"] == record["windows"][DURING]["seconds"] > 0
    assert operation.ratios[DURING]["p50"].low > 2
    assert operation.ratios[AFTER]["p50"].low < 2
    assert canary.as_record()["windows"][DURING]["planned_ms"]["p50"] < 100
