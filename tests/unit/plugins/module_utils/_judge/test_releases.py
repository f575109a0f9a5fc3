# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._releases import Timeline, spans_of


def record(moment: float, *running: tuple[str, str]) -> dict[str, Any]:
    processes = [
        {"service": "nova", "component": one, "instance": "", "version": "1", "release": release}
        for one, release in running
    ]
    return {"time": moment, "host": "h", "processes": processes}


def test_span_lasts_until_the_last_heartbeat() -> None:
    """What ran at the last change still ran while the observer lived, and no longer."""
    spans = spans_of([record(10, ("api", "old"))], "h", 25.0)

    assert [(span.release, span.begin, span.end) for span in spans] == [("old", 10.0, 25.0)]


def test_restart_on_the_same_release_is_seen() -> None:
    """A process that was away has two spans."""
    spans = spans_of([record(1, ("api", "a")), record(2), record(3, ("api", "a"))], "h", 4.0)

    assert [(span.begin, span.end) for span in spans] == [(1.0, 2.0), (3.0, 4.0)]


def test_a_span_ends_when_its_process_was_last_seen() -> None:
    """Between two looks nobody knows what ran, so the old release did not run until the new one was seen."""
    records = [record(10, ("api", "old")), {**record(30, ("api", "new")), "until": 12.0}]

    assert [(span.release, span.begin, span.end) for span in spans_of(records, "h", 40.0)] == [
        ("old", 10.0, 12.0),
        ("new", 30.0, 40.0),
    ]


def test_a_restart_between_two_looks_is_a_gap() -> None:
    """A process that was replaced by another one of its release did not run in between, as far as anyone knows."""
    first, second = record(10, ("api", "a")), {**record(30, ("api", "a")), "until": 28.0}
    for number, one in enumerate((first, second)):
        one["processes"] = [{**process, "pid": 7 + number, "started": 1.0} for process in one["processes"]]
    same = {**second, "processes": first["processes"]}

    assert [(span.begin, span.end) for span in spans_of([first, second], "h", 40.0)] == [(10.0, 28.0), (30.0, 40.0)]
    assert [(span.begin, span.end) for span in spans_of([first, same], "h", 40.0)] == [(10.0, 40.0)]


def test_time_between_two_sessions_is_not_seen() -> None:
    """An observer that was started anew does not know what ran meanwhile, unless the same processes still run."""
    begun = {**record(10, ("api", "a"), ("conductor", "a")), "until": None}
    api, conductor = ({**one, "pid": 7 + number, "started": 1.0} for number, one in enumerate(begun["processes"]))
    begun["processes"] = [api, conductor]
    anew = {**begun, "time": 90.0, "processes": [api, {**conductor, "pid": 9}]}

    assert [(span.component, span.begin, span.end) for span in spans_of([begun, anew], "h", 99.0)] == [
        ("conductor", 10.0, 10.0),
        ("api", 10.0, 99.0),
        ("conductor", 90.0, 99.0),
    ]


def test_time_without_a_look_proves_no_mixture() -> None:
    """An observer that stood still while one process took the other's place has seen no moment with both."""
    records = [record(10, ("api", "a")), {**record(60, ("conductor", "b")), "until": 20.0}]

    assert Timeline(spans_of(records, "h", 90.0)).mixed("nova") == []


def test_a_mixture_of_hosts_is_longer_than_their_clocks_may_differ() -> None:
    """Two hosts that were restarted together seem to mix when one clock is late; on one host there is no doubt."""
    other = [{**record(1, ("api", "a")), "host": "g"}, {**record(5, ("api", "b")), "host": "g"}]
    spans = spans_of([record(1, ("api", "a")), record(6, ("api", "b"))], "h", 9.0) + spans_of(other, "g", 9.0)
    alone = spans_of([record(1, ("api", "a"), ("conductor", "b")), record(2, ("conductor", "b"))], "h", 9.0)

    assert Timeline(spans).mixed("nova") == []
    assert [(one.begin, one.end) for one in Timeline(alone).mixed("nova")] == [(1.0, 2.0)]


def test_a_mixture_names_both_sides() -> None:
    """Of each window it is told which instances ran which release."""
    spans = spans_of([record(1, ("api", "a"), ("conductor", "b"))], "h", 9.0)

    assert Timeline(spans).mixed("nova")[0].sides == {"a": ["api on h"], "b": ["conductor on h"]}


def test_unknown_release_is_no_proof() -> None:
    """A process whose release is not known mixes with nothing."""
    records = [record(1, ("api", "old"), ("conductor", ""))]

    assert Timeline(spans_of(records, "h", 9.0)).mixed("nova") == []


def test_other_releases_are_not_the_upgrade() -> None:
    """With named releases, only these two together count."""
    spans = spans_of([record(1, ("api", "2024.2"), ("conductor", "2025.1"))], "h", 9.0)

    assert Timeline(spans, "2025.1", "2026.1").mixed("nova") == []
    assert [(one.begin, one.end) for one in Timeline(spans).mixed("nova")] == [(1.0, 9.0)]


def test_damaged_record_is_no_traceback() -> None:
    """Records without processes, or with odd ones, say nothing."""
    assert spans_of([{"time": 1.0}, {"time": 2.0, "processes": ["x"]}], "h", None) == []
