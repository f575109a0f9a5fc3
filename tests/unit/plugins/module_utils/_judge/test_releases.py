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
