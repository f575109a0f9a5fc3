# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JUnit, Markdown and the terminal's summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._policy import REQUIREMENTS, Policy
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._verdict import judge_run
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._html import html
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._junit import junit
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._markdown import MOST_BYTES, markdown
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._terminal import summary_lines
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._words import duration, offset
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._write import write_report
from ansible_collections.openstack.upgrade_test.tests.unit.plugins import _synthetic as made

EVIL = "\x1b[31mred\x1b[0m \x00 ]]> \ud800 \U0001f4a5 | **bold** `x` <b> [link](http://x)"


@pytest.fixture
def run(tmp_path: Path) -> made.Synthetic:
    run = made.make(tmp_path / "runs")
    run.lose("neutron", made.outage(made.UPGRADE + 445, 2.04, detail=EVIL))
    return run


def judged(run: made.Synthetic) -> dict[str, Any]:
    return judge_run(run.run, Policy(), run.reader)


def test_junit_has_a_case_for_each_requirement_and_service(run: made.Synthetic) -> None:
    """Every requirement of every service is a test case, and a failed one is a failure with its sentence."""
    root = ElementTree.fromstring(junit(judged(run)))
    failures = root.findall(".//failure")

    assert len(root.findall(".//testcase")) == len(REQUIREMENTS) * len(made.SERVICES) == int(root.get("tests", ""))
    assert len(failures) == int(root.get("failures", "")) == 3
    assert "2.04 s" in str(failures[0].get("message"))


def test_junit_survives_control_characters(run: made.Synthetic) -> None:
    """Escapes of coloured logs, NUL and the end of CDATA are no reason for a broken file."""
    results = judged(run)
    for one in results["requirements"]:
        one["sentence"] = one["title"] = EVIL
    results["run"]["cloud"] = EVIL
    text = junit(results).encode("utf-8").decode("utf-8")

    assert "\x1b" not in text
    assert ElementTree.fromstring(text).find(".//failure") is not None


def test_junit_says_not_proven_as_error(run: made.Synthetic) -> None:
    """What was asked and not measured is an error, never a passed test."""
    root = ElementTree.fromstring(junit(judged(run)))
    cases = {(str(one.get("classname")), str(one.get("name"))[:3].strip()): one for one in root.iter("testcase")}

    assert cases["upgrade.zero_downtime.nova", "Z4"].find("error") is not None
    assert cases["upgrade.zero_downtime.nova", "Z6b"].find("skipped") is not None


def test_markdown_fits_a_job_summary(run: made.Synthetic) -> None:
    """However much went wrong, the summary stays within what job pages take, and says that it was cut."""
    results = judged(run)
    results["requirements"] = results["requirements"] * 40
    text = markdown(results)

    assert len(text.encode()) <= MOST_BYTES
    assert text.rstrip().endswith("report.html.)")


def test_markdown_is_not_broken_by_names(run: made.Synthetic) -> None:
    """Texts from the cloud neither break out of a table nor become markup."""
    results = judged(run)
    results["findings"][0]["what"] = EVIL
    row = next(line for line in markdown(results).splitlines() if "OUT-1" in line or "OUT\\-1" in line)

    assert row.replace("\\|", "").count("|") == 6
    assert "\\*\\*bold\\*\\*" in row
    assert "\\[link\\]" in row


def test_summary_has_verdict_claims_and_paths(run: made.Synthetic) -> None:
    """The terminal says the verdict first, each claim once, why, and where the report lies."""
    lines = [text for _tone, text in summary_lines(judged(run), run.run.path, width=100)]
    text = "\n".join(lines)

    assert lines[0].startswith("NOT MET   Upgrade 2025.1")
    assert [
        title for title in ("rolling upgrade", "zero downtime", "zero impact") if text.count(f"  {title} ") != 1
    ] == []
    assert "OUT-1     2.04 s  neutron public" in text
    assert f"file://{run.run.path}/report.html" in text
    assert "nothing (3 made, 3 removed)" in text


@pytest.mark.parametrize(
    ("close", "told", "untold"),
    [(False, "in use       1 of 4", "left behind"), (True, "left behind  1 of 4", "in use")],
)
def test_summary_tells_in_use_from_left_behind(tmp_path: Path, close: bool, told: str, untold: str) -> None:
    """What a run has made is in use as long as the run is open, and left behind once it is not."""
    run = made.make(tmp_path / "runs", close=close)
    run.run.append_resource("created", service="neutron", type="port", name="upgrade-test-x")
    text = "\n".join(text for _tone, text in summary_lines(judged(run), run.run.path))

    assert f"  {told} made: port upgrade-test-x" in text
    assert untold not in text


@pytest.mark.parametrize(
    ("made_with", "words"),
    [({"close": False}, "The run is still open"), ({"completed": False}, "The run did not come to its end")],
)
def test_every_form_says_why_there_is_no_end(tmp_path: Path, made_with: dict[str, bool], words: str) -> None:
    """A run that goes on is not said to have failed to end."""
    run = made.make(tmp_path / "runs", **made_with)
    results = judged(run)
    terminal = " ".join(text for _tone, text in summary_lines(results, run.run.path))

    for text in (terminal, markdown(results), html(results, [])):
        assert f"{words}; this is what was seen of it." in text


def test_summary_says_how_long_an_outage_may_have_been(run: made.Synthetic) -> None:
    """Of a service without an outage the longest time between two answers is told; of one that was lost it is not."""
    results = judged(run)
    by_name = {one["name"]: one for one in results["services"]}
    told = " ".join(text.strip() for _tone, text in summary_lines(results, run.run.path, width=200))
    sentence = told[told.index("no outage    longer than ") : told.index("left behind")]

    assert f"{duration(by_name['nova']['longest_gap'])} (nova)" in sentence
    assert "(neutron)" not in sentence
    assert f"; {by_name['nova']['coverage']:.2%} of the time was sampled" in sentence


@pytest.mark.parametrize(
    ("phases", "words"), [(True, "Services, since the upgrade began"), (False, "Services")], ids=["upgrade", "none"]
)
def test_no_upgrade_is_told_of_that_was_not_seen(tmp_path: Path, phases: bool, words: str) -> None:
    """Outages of a run that only watched are not said to be those since an upgrade."""
    results = judged(made.make(tmp_path / "runs", phases=phases))

    assert f"\n## {words}\n" in markdown(results)
    assert f"<h2>{words}</h2>" in html(results, [])


def test_summary_cannot_drive_the_terminal(run: made.Synthetic) -> None:
    """Escape sequences in recorded texts do not reach the terminal; plain output is ASCII."""
    results = judged(run)
    results["findings"][0]["what"] = EVIL
    fancy = "".join(text for _tone, text in summary_lines(results, run.run.path))
    plain = "".join(text for _tone, text in summary_lines(results, run.run.path, plain=True))

    assert "\x1b" not in fancy
    assert plain.isascii()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_summary_keeps_to_the_width(run: made.Synthetic, width: int) -> None:
    """Sentences are wrapped, also in a narrow terminal; only paths may be longer."""
    lines = [text for _tone, text in summary_lines(judged(run), run.run.path, width=width)]
    sentences = [line for line in lines[1:] if "/" not in line and "run 2026" not in line]

    assert max(len(line) for line in sentences) <= max(width, 78)


def test_report_is_written_whole(run: made.Synthetic) -> None:
    """All forms of the report are in the run directory, for the owner only."""
    run.run.write_json("results.json", judged(run))
    write_report(run.run)
    names = ("report.html", "summary.md", "junit.xml", "verdict.txt")

    assert [(run.run.path / name).stat().st_mode & 0o777 for name in names] == [0o600] * 4
    assert (run.run.path / "verdict.txt").read_text() == "not_met\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.163, "0.16 s"), (51.23, "51.2 s"), (425, "7 min 05 s"), (21600, "6 h 00 min")]
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    """Lengths are written as a person would say them."""
    assert duration(seconds) == text


def test_offsets_have_a_sign() -> None:
    """Before and after cannot be mixed up."""
    assert (offset(-3.04), offset(2)) == ("\u22123.0 s", "+2.0 s")
