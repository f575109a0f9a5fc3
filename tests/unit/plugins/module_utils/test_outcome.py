# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status, finish, summary


def one(status: str, message: str = "It is so.") -> Outcome:
    return Outcome(
        validator="v", check="c", service="nova", subject="s", status=Status(status), message=message, time=1.0
    )


def ended(capsys: pytest.CaptureFixture[str], *outcomes: Outcome, collect: bool) -> tuple[Any, dict[str, Any]]:
    with patch_module_args({"collect": collect}), pytest.raises(SystemExit) as end:
        finish(AnsibleModule({"collect": {"type": "bool"}}), outcomes, changed=True, processes=[1])
    return end.value.code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("status", "code"), [("pass", 0), ("skip", 0), ("unknown", 0), ("fail", 1), ("error", 1)])
def test_bad_outcome_fails_the_module(capsys: pytest.CaptureFixture[str], status: str, code: int) -> None:
    """A check that failed or broke fails its task, and the outcomes are in the result either way."""
    ended_with, result = ended(capsys, one("pass"), one(status), collect=False)

    assert (ended_with, len(result["outcomes"])) == (code, 2)
    assert (result["changed"], result["processes"]) == (True, [1])


def test_collect_lets_a_bad_outcome_pass(capsys: pytest.CaptureFixture[str]) -> None:
    """With collect the task succeeds, so that the judgement comes last."""
    code, result = ended(capsys, one("fail"), collect=True)

    assert (code, result["outcomes"][0]["status"]) == (0, "fail")


def test_record_is_read_back() -> None:
    """A record and its outcome say the same."""
    outcome = one("fail")

    assert Outcome.from_record({**outcome.as_record(), "later": "field"}) == outcome


def test_odd_status_is_unknown() -> None:
    """A status that nobody knows is never counted as good."""
    assert Outcome.from_record({"status": "splendid"}).status is Status.UNKNOWN


def test_wrong_status_is_refused() -> None:
    """A module cannot make up a status."""
    with pytest.raises(ValueError, match="splendid"):
        Outcome(validator="v", check="c", service="s", subject="s", status="splendid", message="m")  # type: ignore[arg-type]


def test_summary_names_the_first_bad_one() -> None:
    """The summary counts, and quotes what went wrong first."""
    assert summary([one("pass"), one("fail", "nova is ill.")]) == "2 checks: 1 passed, 1 failed. nova is ill."
    assert summary([]) == "Nothing was checked."


def test_summary_quotes_each_failure_once_and_counts_the_rest() -> None:
    """A second failure is not hidden by the first; a host on which everything fails does not fill the screen."""
    many = [one("fail", f"Agent {number} is dead.") for number in range(8)]

    assert summary([*many[:2], many[0]]) == "3 checks: 3 failed. Agent 0 is dead. Agent 1 is dead."
    assert summary(many).endswith("Agent 3 is dead. Agent 4 is dead. And 3 more.")
