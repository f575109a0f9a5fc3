# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tempest and Rally against the lab, as users without special rights; what is planted fails and is told.

Both are installed from the package index into environments of their own, which takes some minutes the first time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._lab import Played, records
from ansible_collections.openstack.upgrade_test.tests.lab_full._full import FullLab

QUICK: dict[str, Any] = {
    "upgrade_test_stage": "before",
    "upgrade_test_persistent_resources": False,
    "upgrade_test_fingerprint": False,
    "upgrade_test_agent_wait": 60,
    "upgrade_test_services": ["keystone", "nova"],
}
TEMPEST: dict[str, Any] = {
    "upgrade_test_tempest": True,
    # The guest has nobody who logs in over SSH.
    "upgrade_test_tempest_settings": {"validation.run_validation": False},
    # Without resources of the test its project has no network, and a server there no address.
    "upgrade_test_tempest_exclude": "test_list_server_addresses",
}


def workload(scenario: str, sla: dict[str, Any]) -> dict[str, Any]:
    runner = {"constant": {"times": 4, "concurrency": 2}}
    return {"title": scenario, "scenario": {scenario: {}}, "runner": runner, "sla": sla}


@pytest.fixture
def tested(lab: FullLab) -> Iterator[Any]:
    """Validate with tests, and return the playbook and the outcomes; whatever happens, the run goes."""

    def validate(**variables: Any) -> tuple[Played, list[dict[str, Any]]]:
        played = lab.play("validate", {**QUICK, **variables}, timeout=2400)
        outcomes = records(lab.latest() / "outcomes.jsonl")
        return played, [one for one in outcomes if one["validator"] == "external_test"]

    yield validate
    if (lab.runs / "current").exists():
        lab.play("cleanup", {"upgrade_test_cleanup_abandon": True}, timeout=600)


def statuses(outcomes: list[dict[str, Any]], check: str) -> dict[str, str]:
    return {one["service"]: one["status"] for one in outcomes if one["check"] == check}


def test_smoke_of_two_services(lab: FullLab, tested: Any) -> None:
    """At least one test of each passes, none fails; the configuration is kept, and no password."""
    played, outcomes = tested(**TEMPEST)
    run_dir = lab.latest()

    assert played.rc == 0, played.messages
    assert statuses(outcomes, "tests_passed") == {"keystone": "pass", "nova": "pass"}
    assert {one["subject"].split(".")[2] for one in outcomes if one["subject"].startswith("tempest.api")} == {
        "identity",
        "compute",
    }
    assert not (run_dir / "tempest-before").exists()
    assert "use_dynamic_credentials = False" in (run_dir / "evidence/tempest-before.conf").read_text()


@pytest.fixture
def too_big(lab: FullLab) -> Iterator[str]:
    """An image that wants more memory than any flavor has."""
    images = lab.admin().cloud.image
    about = {"disk_format": "raw", "container_format": "bare", "visibility": "public", "min_ram": 2**20}
    image = images.create_image("too-big", data=b"\0" * 512, **about)
    yield image.id
    images.delete_image(image)


def test_a_failure_has_its_traceback(tested: Any, too_big: str) -> None:
    """Servers that shall boot from an image that is too big for them."""
    settings = {**TEMPEST["upgrade_test_tempest_settings"], "compute.image_ref": too_big}
    played, outcomes = tested(**{**TEMPEST, "upgrade_test_tempest_settings": settings})
    failed = [one for one in outcomes if one["status"] == "fail" and one["check"] == "test"]

    assert played.rc != 0
    assert failed
    assert {one["service"] for one in failed} == {"nova"}
    assert any("Traceback" in one["evidence"]["traceback"] for one in failed)


def test_no_test_is_a_failure(tested: Any) -> None:
    """An expression that finds nothing proves nothing."""
    played, outcomes = tested(**TEMPEST, upgrade_test_tempest_tests=["no_such_test_anywhere"])

    assert played.rc != 0
    assert statuses(outcomes, "tests_passed") == {"keystone": "fail", "nova": "fail"}


def test_an_sla_that_holds_and_one_that_does_not(lab: FullLab, tested: Any, tmp_path: Path) -> None:
    """Each workload counts for its service; the passwords that Rally prints are in no record."""
    task = tmp_path / "task.json"
    subtasks = [
        workload("Authenticate.keystone", {"failure_rate": {"max": 0}}),
        workload("NovaServers.list_servers", {"max_avg_duration": 0.001}),
    ]
    task.write_text(json.dumps({"version": 2, "title": "two slas", "subtasks": subtasks}))
    played, outcomes = tested(upgrade_test_rally_task=str(task))
    measured = [one for one in outcomes if "figures" in one["evidence"]]
    told = {one["subject"].split()[0]: (one["service"], one["status"]) for one in measured}

    assert played.rc != 0
    assert told == {"Authenticate.keystone": ("keystone", "pass"), "NovaServers.list_servers": ("nova", "fail")}
    log = next((lab.latest() / "evidence").glob("test-users-of-rally-*.log")).read_text()
    assert "[redacted" in log
