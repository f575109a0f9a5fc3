# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._policy import Policy
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._verdict import judge_run
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._html import html
from ansible_collections.openstack.upgrade_test.tests.unit.plugins import _synthetic as made

VOID = {"meta", "br", "col", "link", "img", "rect", "circle"}


class Page(HTMLParser):
    """Counts shapes and checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        """Read the page."""
        super().__init__()
        self.shapes: list[str] = []
        self.wild: list[str] = []
        self.loads: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.unclosed = self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag draws or loads."""
        named = dict(attrs)
        self.loads += [f"{tag} {key}" for key in ("src", "srcset", "data", "action") if key in named]
        link = str(named.get("href", "#"))
        self.loads += [] if link.startswith("#") else [link]
        self.shapes += [str(named.get("class"))] if tag == "rect" else []
        self.wild += [key for key in named if key.startswith("on")]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an empty tag draws."""
        self.shapes += [str(dict(attrs).get("class"))] if tag == "rect" else []

    def handle_endtag(self, tag: str) -> None:
        """Close the tag that was opened last."""
        if tag not in VOID:
            assert self._open.pop() == tag


@pytest.fixture
def run(tmp_path: Path) -> made.Synthetic:
    return made.make(tmp_path / "runs")


def page(run: made.Synthetic) -> str:
    return html(judge_run(run.run, Policy(), run.reader), run.run.read("events.jsonl"))


def chart_shapes(text: str, kind: str) -> int:
    drawn = text[text.index('<table class="chart">') :]
    return Page(drawn[: drawn.index("</table>") + 8]).shapes.count(f"s {kind}")


def test_page_is_whole_and_loads_nothing(run: made.Synthetic) -> None:
    """The page is well formed, forbids all loading, and names no address to load from."""
    text = page(run)
    parsed = Page(text)

    assert (parsed.unclosed, parsed.loads, parsed.wild) == ([], [], [])
    assert "default-src 'none'" in text
    assert re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", text) == []


def test_every_outage_is_drawn(run: made.Synthetic) -> None:
    """Each outage of the published endpoint is a mark in its lane; failed requests and instances are other marks."""
    run.lose("nova", made.outage(made.UPGRADE + 30, 2.0), made.outage(made.UPGRADE + 60, 0.4))
    run.lose("glance", made.outage(made.UPGRADE + 100, 0.0, failures=1))
    text = page(run)

    assert [chart_shapes(text, kind) for kind in ("down", "blip", "away")] == [4, 2, 10]
    assert text.count("s release old") == 14
    assert text.count("s release new") == 14


def test_a_length_without_a_proof_is_a_bound(run: made.Synthetic) -> None:
    """Where nothing proves that an outage lasted, no place of the page has the middle of its bounds."""
    wide = replace(made.outage(made.UPGRADE + 445, 4.321, failures=2), lower=0.0, upper=8.642)
    run.lose("neutron", wide)
    text = page(run)

    assert "4.32" not in text
    assert "down at most 8.64 s" in text
    assert "1\u00d7 \u2264 8.64 s" in text
    assert "not proven" in text


def test_what_the_observer_missed_is_no_outage_of_the_cloud(run: made.Synthetic) -> None:
    """Times in which the observer's own path was cut are drawn as unknown, and counted as no outage."""
    for observer in ("api_uptime", "data_plane"):
        made.heartbeat(run.run, observer, "gateway")
        run.samples[f"{observer}/gateway"] = list(run.samples[observer])
    run.lose("nova", made.outage(made.UPGRADE + 30, 2.0, "connect_timeout"))
    text = page(run)

    assert [chart_shapes(text, kind) for kind in ("down", "lost")] == [0, 2]
    assert "answered: the path from localhost failed" in text


def test_instances_away_are_counted_apart_from_survived_failovers(run: made.Synthetic) -> None:
    """Only what is proved not to have been felt is called survived."""
    run.lose("nova", made.outage(made.UPGRADE + 300, 60.0))

    assert "10 times an instance was away; 9 of them are survived failovers" in page(run)


def test_short_outage_stays_visible(run: made.Synthetic) -> None:
    """An outage far below one pixel has a width and a border, so that it is drawn whatever the length of the run."""
    run.lose("nova", made.outage(made.UPGRADE + 30, 0.003, failures=2))
    run.change("data_plane", end=made.END + 30 * 86400)
    mark = re.search(r'<rect class="s down" tabindex[^>]*>', page(run))

    assert mark is not None
    assert 'stroke-width="3"' in mark[0]
    assert 'width="0.02%"' in mark[0]


def test_names_from_the_cloud_are_data(run: made.Synthetic) -> None:
    """Markup in any recorded text is shown, never run."""
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"
    run.lose("nova", made.outage(made.UPGRADE + 30, 2.0, evil, detail=evil))
    run.run.append_event("mark", evil, time=made.UPGRADE + 31)
    run.run.append_event("task", evil, time=made.UPGRADE + 29, end=made.UPGRADE + 30, host=evil, status="failed")
    run.run.append_resource("created", service="nova", type=evil, name=evil, id=evil)
    run.run.update(cloud=evil, driver=evil, labels={evil: evil})
    text = page(run)
    parsed = Page(text)

    assert text.count("<script>") == 1
    assert (parsed.loads, parsed.wild, parsed.unclosed) == ([], [], [])
    assert "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize("words", [("NOT MET", "neutron public", "Drain neutron", "2.04 s")])
def test_first_screen_says_what_and_why(run: made.Synthetic, words: tuple[str, ...]) -> None:
    """The verdict, the service, the length and what went on stand before the timeline."""
    run.lose("neutron", made.outage(made.UPGRADE + 445, 2.04))
    top = page(run).split('id="timeline"')[0]

    assert [word for word in words if word not in top] == []


def test_interrupted_run_says_so(tmp_path: Path) -> None:
    """A run that did not end has the word on its first screen."""
    run = made.make(tmp_path / "runs", completed=False)

    assert "INTERRUPTED" in page(run).split('id="why"')[0]


@pytest.mark.parametrize(
    ("close", "told", "untold"),
    [(False, "1 still in use, as the run goes on:", "left behind"), (True, "1 left behind:", "in use")],
)
def test_resources_of_an_open_run_are_in_use(tmp_path: Path, close: bool, told: str, untold: str) -> None:
    """The page says of a run that goes on what it uses, and only of one that has ended what it left."""
    run = made.make(tmp_path / "runs", close=close)
    run.run.append_resource("created", service="neutron", type="port", name="upgrade-test-x")
    resources = page(run).split('id="resources"')[1].split("</section>")[0]

    assert told in resources
    assert untold not in resources
    assert "upgrade-test-x" in resources


def test_lost_observer_is_drawn_apart(run: made.Synthetic) -> None:
    """Time that a lost observer did not see is neither up nor down."""
    run.change("data_plane", ended=False, end=made.UPGRADE + 100)
    text = page(run)

    assert chart_shapes(text, "lost") == 3
    assert chart_shapes(text, "down") == 0


def test_empty_run_has_a_page(tmp_path: Path) -> None:
    """A run without any record gives a page, and no error."""
    run = RunDirectory.create(tmp_path)
    results = judge_run(run, Policy(), lambda _path: [])

    assert "Nothing in this run has a time" in html(results, [])


@pytest.mark.parametrize("seconds", [1, 3, 3 * 86400])
def test_runs_of_any_length_are_drawn(tmp_path: Path, seconds: int) -> None:
    """From seconds to days, the timeline has its phases and marks within its frame."""
    run = RunDirectory.create(tmp_path, now=made.T0)
    run.begin_phase("before", now=made.T0)
    run.begin_phase("upgrade", now=made.T0 + seconds / 2)
    run.close(completed=True, now=made.T0 + seconds)
    text = html(judge_run(run, Policy(), lambda _path: []), run.read("events.jsonl"))
    places = [float(one) for one in re.findall(r' x="([\d.]+)%"', text)]

    assert places
    assert all(0 <= one <= 100 for one in places)


@pytest.mark.no_cover
def test_many_outages_keep_the_page_small(run: made.Synthetic) -> None:
    """A cloud that flaps for hours gives a page that still opens."""
    outages = [made.outage(made.UPGRADE + number * 0.02, 0.01) for number in range(20_000)]
    run.samples["api_uptime"] = [made.down(one, *outages) for one in run.samples["api_uptime"][:2]]

    assert len(page(run)) < 2_000_000


def test_same_results_same_page(run: made.Synthetic) -> None:
    """The page holds nothing but the results: no time of making, no random name."""
    assert page(run) == page(run)


def test_page_of_stored_results_is_the_same(run: made.Synthetic) -> None:
    """Results that were written and read back, elsewhere, give the same page but for the order of counts."""
    results: dict[str, Any] = judge_run(run.run, Policy(), run.reader)
    run.run.write_json("results.json", results)
    stored = html(run.run.read_json("results.json"), run.run.read("events.jsonl"))

    assert sorted(stored) == sorted(page(run))
