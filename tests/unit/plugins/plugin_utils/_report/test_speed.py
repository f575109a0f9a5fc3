# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Response times in every form of the report."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._policy import Policy
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._verdict import judge_run
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._html import html
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._markdown import markdown
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._speed import speeds
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._terminal import summary_lines
from ansible_collections.openstack.upgrade_test.tests.unit.plugins import _synthetic as made

QUANTILES = ("p50", "p95", "p99")


def window(*milliseconds: float | None, failed: int = 0) -> dict[str, Any]:
    """What was measured in one window."""
    return {
        "requests": 1000,
        "failed": failed,
        "planned_ms": dict(zip(QUANTILES, milliseconds, strict=True)),
        "seconds_above": 0,
    }


def measured(name: str, during: dict[str, Any] | None, ratio: list[float | None] | None, **told: Any) -> dict[str, Any]:
    """One operation, as the judge tells it."""
    return {
        "host": "localhost",
        "name": name,
        "mode": "new",
        "auth": True,
        "windows": {"before": window(20.04, 31, 45), **({"during": during} if during else {})},
        "ratios": {"during": dict.fromkeys(QUANTILES, ratio)} if ratio else {},
        "delayed": [],
        **told,
    }


@pytest.fixture
def results(tmp_path: Path) -> dict[str, Any]:
    """A run with the host's own latency, an operation that was delayed, one that failed and one without an upgrade."""
    run = made.make(tmp_path / "runs")
    results = judge_run(run.run, Policy(), run.reader)
    results["performance"] = [
        measured("loopback", window(0.1, 0.2, 0.3), [1.0, 0.9, 1.1], mode="canary", auth=False),
        measured("nova list servers", window(41, 62, 123.4), [2.04, 1.91, 2.2], delayed=["p50", "p95"]),
        measured("glance list images", window(20, None, None, failed=80), [None, 3.0, None]),
        measured("neutron list ports", None, None),
    ]
    return results


def test_rows_end_with_the_observers_own_host(results: dict[str, Any]) -> None:
    """Operations come in their order, and what they are compared with comes last."""
    rows = speeds(results)

    assert [row.operation for row in rows] == [
        "nova list servers",
        "glance list images",
        "neutron list ports",
        "the observer's own host",
    ]
    assert [row.over for row in rows] == ["new, token"] * 3 + ["loopback"]
    assert rows[0].windows["during"] == "41.0 / 62.0 / 123"
    assert rows[1].windows["during"] == "20.0 / failed / failed"
    assert rows[2].windows["during"] == "\u2013"


def test_a_ratio_never_goes_without_its_interval(results: dict[str, Any]) -> None:
    """The delayed quantile is the one that is told, an endless ratio is told as one, and too few requests have none."""
    assert [row.worst() for row in speeds(results)] == [
        ("p95", "2.04\u00d7 (1.91 to 2.20)"),
        ("p99", "\u221e\u00d7 (3.00 to \u221e)"),
        ("", ""),
        ("p99", "1.00\u00d7 (0.90 to 1.10)"),
    ]


def test_terminal_shows_the_delayed_first(results: dict[str, Any]) -> None:
    """A summary in plain ASCII begins with what was delayed, in the colour of what is bad."""
    results["performance"] = [results["performance"][one] for one in (0, 2, 3, 1)]
    lines = summary_lines(results, Path("/run"), plain=True)
    first = next(place for place, (_tone, text) in enumerate(lines) if "response times in ms" in text)

    assert lines[first + 1][0] == "bad"
    assert re.sub(" +", " ", lines[first + 1][1]) == " nova list servers 31.0 62.0 - p95 2.04x (1.91 to 2.20)"
    assert ["glance" in text for _tone, text in lines[first + 2 : first + 5]] == [True, False, False]
    assert "too few requests" in lines[first + 3][1]
    assert "the observer's own host" in lines[first + 4][1]


def test_terminal_counts_what_it_leaves_out(results: dict[str, Any]) -> None:
    """Many operations are cut to a few, and the cut is told."""
    results["performance"] += [measured(f"operation {n}", None, None) for n in range(10)]

    assert any("7 more in the report" in text for _tone, text in summary_lines(results, Path("/run")))


def test_page_and_markdown_show_all(results: dict[str, Any]) -> None:
    """Every operation is in both, and names come from others: they are escaped."""
    results["performance"][1]["name"] = "<i>nova</i>"
    page, text = html(results, []), markdown(results)

    assert "&lt;i&gt;nova" in page
    assert "<i>nova" not in page
    assert "20.0 / failed / failed" in page
    assert "20.0 / failed / failed" in text
    assert "2.04\u00d7 (1.91 to 2.20)" in page
    assert "2.04\u00d7 (1.91 to 2.20)" in text


def test_without_measurements_there_is_no_table(results: dict[str, Any]) -> None:
    """A run without the observer shows nothing of it."""
    results["performance"] = []

    assert "Response times, in ms" not in html(results, [])
    assert "Response times in ms" not in markdown(results)
    assert not any("response times" in text for _tone, text in summary_lines(results, Path("/run")))
