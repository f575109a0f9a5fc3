# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the health checks that need hosts count for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._policy import Policy
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._verdict import judge_run
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.tests.unit.plugins import _synthetic as made


@pytest.fixture
def run(tmp_path: Path) -> made.Synthetic:
    return made.make(tmp_path / "runs")


def check(run: made.Synthetic, name: str, status: str, phase: str = "after", **more: Any) -> None:
    named = {"subject": name, "message": "So.", "time": made.AFTER + 40, "host": "control1", **more}
    run.run.append_outcome(
        Outcome(validator="system_health", service="nova", check=name, status=Status(status), phase=phase, **named)
    )


def result(run: made.Synthetic, requirement: str) -> str:
    found = judge_run(run.run, Policy(), run.reader)["requirements"]
    return next(str(one["result"]) for one in found if (one["id"], one["service"]) == (requirement, "nova"))


@pytest.mark.parametrize(
    ("name", "requirement"),
    [
        ("config_of_old_release", "U2a"),
        ("upgrade_check", "U2b"),
        ("database_schema", "U3a"),
        ("online_migrations", "U3a"),
    ],
)
def test_checks_of_the_upgrade_decide_their_requirement_only(run: made.Synthetic, name: str, requirement: str) -> None:
    """Passed, failed or unseen after the upgrade, they say how it went; the health of the service is another matter."""
    assert result(run, requirement) == "NOT PROVEN"
    check(run, name, "pass")
    assert (result(run, requirement), result(run, "U8")) == ("PASS", "PASS")
    check(run, name, "unknown", subject="another")
    assert (result(run, requirement), result(run, "U8")) == ("NOT PROVEN", "PASS")
    check(run, name, "fail", subject="a third")
    assert (result(run, requirement), result(run, "U8")) == ("FAIL", "PASS")


def test_what_the_old_code_said_is_no_proof(run: made.Synthetic) -> None:
    """Before the upgrade the old code compares itself with its own database."""
    check(run, "database_schema", "pass", phase="before")

    assert result(run, "U3a") == "NOT PROVEN"


def test_what_no_host_told_is_not_proven(run: made.Synthetic) -> None:
    """A service whose logs nobody could read is not known to be well."""
    check(run, "log_errors", "unknown", message="No host access, which the log of nova needs.")

    assert result(run, "U8") == "NOT PROVEN"
