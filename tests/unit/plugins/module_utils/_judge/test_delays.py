# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is concluded from latencies: a delay that is certain, none that is certain, and everything between."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._facts import load, own_work, without
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._performance import (
    Measured,
    measured_of,
    windows_of,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._policy import Policy
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._verdict import judge
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._performance import compare
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import Target
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._seconds import CANARY, LaneSecond
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._html import html
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._markdown import markdown
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._terminal import summary_lines
from ansible_collections.openstack.upgrade_test.tests.unit.plugins import _synthetic as made

LIST = Target(name="nova list servers", service="nova", via="public", mode="new", address="", auth=True)
WINDOWS = windows_of(
    [("before", made.BEFORE, made.UPGRADE), ("upgrade", made.UPGRADE, made.AFTER), ("after", made.AFTER, made.END)]
)


def seconds(target: Target, before: float, during: float, *, rate: int = 10, failed: int = 0) -> Iterator[LaneSecond]:
    """Answers of about so many milliseconds before and after, and during; so many failures in each second during."""
    source = random.Random(target.name)
    for offset in range(int(made.END - made.BEFORE)):
        moment = made.BEFORE + offset
        upgrading = made.UPGRADE <= moment < made.AFTER
        second = LaneSecond(target, moment, up=rate, down=failed if upgrading else 0)
        for _number in range(rate):
            typical = during if upgrading else before
            latency = int(1000 * typical * math.exp(max(-0.5, min(source.gauss(0, 0.2), 0.5))))
            second.sent.add(latency)
            second.planned.add(latency)
        yield second


def measured(*parts: Iterator[LaneSecond]) -> list[Measured]:
    """As the judge has it."""
    return measured_of("localhost", compare([one for part in parts for one in part], WINDOWS, 1.0))


def judged(tmp_path: Path, found: list[Measured], **facts_of_run: str) -> dict[str, Any]:
    """The results of a run without trouble in which this was measured."""
    run = made.make(tmp_path / "runs")
    run.run.update(**facts_of_run)
    facts = load(run.run, run.reader)
    return judge(replace(facts, performance=tuple(found)), Policy())


def nova(results: dict[str, Any], requirement: str) -> tuple[str, str]:
    """What is said of a requirement of nova."""
    (one,) = (one for one in results["requirements"] if (one["id"], one["service"]) == (requirement, "nova"))
    return one["result"], one["sentence"]


def test_a_certain_delay_contradicts_zero_impact(tmp_path: Path) -> None:
    """Answers that took twice as long in the upgrade fail I3 and I5, with the numbers; other services are not hit."""
    results = judged(tmp_path, measured(seconds(LIST, 50, 100), seconds(CANARY, 0.1, 0.1)))
    result, sentence = nova(results, "I3")

    assert result == nova(results, "I5")[0] == "FAIL"
    assert "nova list servers (new connection): p" in sentence
    assert re.search(r"was 50\.\d ms before and (1\.9|2\.0)\d\u00d7 that during", sentence), sentence
    zero_impact = next(claim for claim in results["claims"] if claim["id"] == "zero_impact")
    assert zero_impact["services"]["nova"] == "not_met"
    assert "not_met" not in {word for name, word in zero_impact["services"].items() if name != "nova"}


def delayed(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The findings of delays."""
    return [one for one in results["findings"] if one["kind"].startswith("delay.")]


def test_a_certain_delay_is_a_finding(tmp_path: Path) -> None:
    """It names service and operation, how much slower each quantile was, and where that was measured."""
    results = judged(tmp_path, measured(seconds(LIST, 50, 100), seconds(CANARY, 0.1, 0.1)))
    (finding,) = delayed(results)

    assert (finding["id"], finding["severity"], finding["service"]) == ("DLY-1", "fail", "nova")
    assert (finding["subject"], finding["phase"]) == ("nova list servers", "upgrade")
    assert (finding["begin"], finding["end"], finding["seconds"]) == (made.UPGRADE, made.AFTER, None)
    assert "new connection from localhost: p" in finding["what"]
    assert [name for name in ("p50", "p95", "p99") if f"{name} was " not in finding["what"]] == []
    assert re.search(r"p50 was 50\.\d ms before and (1\.9|2\.0)\d\u00d7 that during", finding["what"])
    assert finding["evidence"] == ("samples/service_performance/localhost",)
    assert "nova list servers: Slower during the upgrade" in results["headline"]


def test_delays_are_told_worst_first(tmp_path: Path) -> None:
    """Each operation that was delayed is one finding, and one that was not is none."""
    names = {"nova show": 90, "nova list": 200, "nova create": 50}
    found = measured(*(seconds(replace(LIST, name=name), 50, during) for name, during in names.items()))

    assert [one["subject"] for one in delayed(judged(tmp_path, found))] == ["nova list", "nova show"]


def test_a_delay_of_a_cold_upgrade_was_planned(tmp_path: Path) -> None:
    """Who stops all services knows that they do not answer: it is told, and is no failure of what was asked."""
    results = judged(tmp_path, measured(seconds(LIST, 50, 10, failed=12)), strategy="cold")
    (finding,) = delayed(results)

    assert finding["severity"] == "warning"
    assert finding["what"].startswith("Planned: a cold upgrade stops all services. Slower during the upgrade")
    assert nova(results, "I3")[0] == "FAIL"


@pytest.mark.parametrize("during", [50, 10])
def test_no_delay_is_no_finding(tmp_path: Path, during: float) -> None:
    """What is as fast as before, or faster, is not told as a delay."""
    assert delayed(judged(tmp_path, measured(seconds(LIST, 50, during)))) == []


def test_every_form_of_the_report_tells_of_a_delay(tmp_path: Path) -> None:
    """Page, Markdown and terminal name the operation and how much slower it was among the reasons."""
    results = judged(tmp_path, measured(seconds(LIST, 50, 100)))
    why = html(results, []).split('id="why"')[1].split("</section>")[0]
    rows = [line for line in markdown(results).splitlines() if "DLY-1" in line]
    lines = [text for _tone, text in summary_lines(results, Path("/run"), width=400) if "DLY-1" in text]

    for text in (why, *rows, *lines):
        assert "nova list servers" in text
        assert re.search(r"p50 was 50\.\d ms before and (1\.9|2\.0)\d\u00d7 that during", text)
    assert (len(rows), len(lines)) == (1, 1)


def test_no_delay_is_shown_with_enough_requests(tmp_path: Path) -> None:
    """As fast as before, shown by thousands of requests, passes I3; I5 asks for load, which nobody puts on."""
    results = judged(tmp_path, measured(seconds(LIST, 50, 50), seconds(CANARY, 0.1, 0.1)))

    assert nova(results, "I3")[0] == "PASS"
    assert nova(results, "I5") == (
        "NOT PROVEN",
        "Response times were not compared with normal operation under load.",
    )


def test_few_requests_prove_nothing(tmp_path: Path) -> None:
    """As fast as before, but with too few requests before for the hundredth, is not proven."""
    result, sentence = nova(judged(tmp_path, measured(seconds(LIST, 50, 50, rate=1))), "I3")

    assert result == "NOT PROVEN"
    assert "too few requests" in sentence


def test_without_a_measurement_nothing_is_proven(tmp_path: Path) -> None:
    """A run without the observer says so."""
    assert nova(judged(tmp_path, []), "I3") == (
        "NOT PROVEN",
        "Not shown, because its response times were not measured.",
    )


def test_the_observers_own_slowness_is_not_the_clouds(tmp_path: Path) -> None:
    """When the observer's host itself became slower by as much, no delay of the cloud is certain, and none excluded."""
    results = judged(tmp_path, measured(seconds(LIST, 50, 100), seconds(CANARY, 1, 70)))

    assert nova(results, "I3")[0] == "NOT PROVEN"


def test_what_nobody_feels_is_no_delay(tmp_path: Path) -> None:
    """Some milliseconds more are three times as long, and yet not felt."""
    results = judged(tmp_path, measured(seconds(LIST, 2, 6)))

    assert nova(results, "I3")[0] == "PASS"


def test_failures_are_delays_without_end(tmp_path: Path) -> None:
    """A service of which every second request failed is not called fast, and its results can be written as JSON."""
    results = judged(tmp_path, measured(seconds(LIST, 50, 10, failed=12)))

    assert nova(results, "I3")[0] == "FAIL"
    assert "too many requests failed" in nova(results, "I3")[1]
    json.dumps(results["performance"], allow_nan=False)


def test_a_single_slow_answer_takes_the_proof_away(tmp_path: Path) -> None:
    """One answer that took far longer than any before is no certain delay, but an absence of delays is not shown."""
    found = list(seconds(LIST, 50, 50))
    found[300].planned.add(900_000)
    result, sentence = nova(judged(tmp_path, measured(iter(found))), "I3")

    assert result == "NOT PROVEN"
    assert "the slowest answer during took 900 ms" in sentence


def test_what_the_test_itself_slows_down_is_left_out(tmp_path: Path) -> None:
    """While it verifies resources in the middle of the upgrade, answers that take longer are its own doing."""
    run = made.make(tmp_path / "runs").run
    begin, end = made.UPGRADE + 100, made.UPGRADE + 300
    for action in ("openstack.upgrade_test.persistent_resource", "ansible.builtin.command"):
        moment = begin if "openstack" in action else made.UPGRADE
        run.append_event("task", "Verify", time=moment, end=end, host="localhost", action=action, status="ok")
    found = list(seconds(LIST, 50, 50))
    busy = [one for one in found if begin - 1 < one.second < end]
    for one in busy:
        one.planned.add(900_000)
    left = list(without(found, own_work(load(run).events)))

    assert len(left) == len(found) - len(busy)
    assert nova(judged(tmp_path / "with", measured(iter(found))), "I3")[0] != "PASS"
    assert nova(judged(tmp_path / "without", measured(iter(left))), "I3")[0] == "PASS"


def test_results_hold_what_a_report_shows(tmp_path: Path) -> None:
    """Each operation, and the canary beside it, with its windows and ratios."""
    results = judged(tmp_path, measured(seconds(LIST, 50, 100), seconds(CANARY, 0.1, 0.1)))

    assert [(one["name"], one["host"]) for one in results["performance"]] == [
        ("nova list servers", "localhost"),
        ("canary", "localhost"),
    ]
    shown = results["performance"][0]
    assert list(shown["windows"]) == ["before", "during", "after"]
    assert [one["delayed"] for one in results["performance"]] == [["p50", "p95", "p99"], []]
    assert shown["ratios"]["during"]["p50"][0] == pytest.approx(2, rel=0.05)


def test_phases_are_the_windows(tmp_path: Path) -> None:
    """Whatever an operator calls the parts of an upgrade, they are one window, and an open one ends when last seen."""
    run = made.make(tmp_path / "runs", close=False, phases=False)
    for name, begin in (("before", made.BEFORE), ("control plane", made.UPGRADE), ("computes", made.UPGRADE + 100)):
        run.run.begin_phase(name, now=begin)
    windows = windows_of(load(run.run, run.reader).spans_of_phases())

    assert [tuple(window) for window in windows] == [
        ("before", made.BEFORE, made.UPGRADE),
        ("during", made.UPGRADE, made.END - 5),
    ]
