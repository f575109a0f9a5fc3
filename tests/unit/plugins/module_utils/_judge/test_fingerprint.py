# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the state of the whole cloud, and what extensions made, count for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._verdict import judge_run
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.tests.unit.plugins import _synthetic as made


@pytest.fixture
def run(tmp_path: Path) -> made.Synthetic:
    return made.make(tmp_path / "runs")


def look(run: made.Synthetic, status: str, service: str = "nova", **more: Any) -> None:
    words = {"validator": "cloud_fingerprint", "check": "servers_kept", "subject": "servers", "message": "So it is."}
    given = {**words, "service": service, "phase": "after", "time": made.AFTER + 40, **more}
    run.run.append_outcome(Outcome(status=Status(status), **given))


def requirement(run: made.Synthetic, id_: str, service: str = "nova") -> tuple[str, str]:
    results = judge_run(run.run, None, run.reader)
    [one] = [one for one in results["requirements"] if (one["id"], one["service"]) == (id_, service)]
    return one["result"], one["sentence"]


@pytest.mark.parametrize(("status", "result"), [("pass", "PASS"), ("fail", "FAIL"), ("unknown", "NOT PROVEN")])
def test_what_others_own_counts_too(run: made.Synthetic, status: str, result: str) -> None:
    """A server of somebody else that was lost is a FAIL although the test's own is well; one not seen is NOT PROVEN."""
    look(run, "pass", check="flavors_kept")
    look(run, status)

    assert requirement(run, "U6")[0] == result
    assert requirement(run, "U3b")[0] == "PASS"


def test_an_own_loss_is_quoted_first(run: made.Synthetic) -> None:
    """When a resource of the test is lost, that is what is told."""
    look(run, "pass")
    look(run, "fail", validator="persistent_resource", check="server_unchanged", message="The server is gone.")

    assert requirement(run, "U6")[0] == "FAIL"
    assert "The server is gone." in requirement(run, "U6")[1]


def test_a_service_without_samples_is_judged_by_the_whole(run: made.Synthetic) -> None:
    """Placement has nothing that a user makes; its allocations are looked at all the same."""
    look(run, "fail", service="placement", check="allocations_kept", message="An allocation is gone.")

    assert requirement(run, "U6", "placement")[0] == "FAIL"


def test_a_difference_is_a_finding(run: made.Synthetic) -> None:
    """What differs is told with the files to compare."""
    look(run, "fail")
    [finding] = [one for one in judge_run(run.run, None, run.reader)["findings"] if one["id"].startswith("FPR")]

    assert (finding["severity"], finding["kind"]) == ("fail", "state.servers_kept")
    assert "fingerprint-after.json" in finding["hint"]


@pytest.mark.parametrize("validator", ["extension", "grenade_plugin"])
def test_what_extensions_made_has_to_survive(run: made.Synthetic, validator: str) -> None:
    """A resource that a plugin made counts as one of the test's own."""
    look(run, "fail", validator=validator, check="verified", message="The answer has changed.")

    assert requirement(run, "U3b")[0] == "FAIL"
