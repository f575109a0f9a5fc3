# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module expectation, as a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.tests.unit.plugins.modules.test_validators import (
    documented,
    module,
    run,
)

ENTRY = {"name": "all agents are alive", "service": "neutron", "query": "agents[?!is_alive]"}
FACTS = ("type", "default", "choices", "required", "elements")


def test_documentation_and_arguments_agree() -> None:
    """Every option is documented with the type, the default and the choices that it has."""
    options = documented("expectation")
    for found, spec in ((options, module("expectation").ARGUMENT_SPEC),):
        assert {key: [one.get(fact) for fact in FACTS] for key, one in found.items()} == {
            key: [one.get(fact) for fact in FACTS] for key, one in spec.items()
        }
    keys = {key: [one.get(fact) for fact in FACTS] for key, one in options["expectations"]["suboptions"].items()}
    assert keys == {key: [one.get(fact) for fact in FACTS] for key, one in module("expectation").EXPECTATION.items()}


def test_a_dead_agent_fails_the_task(capsys: pytest.CaptureFixture[str]) -> None:
    """The outcome has the agent in it; collected, the task goes on."""
    data = {"agents": [{"host": "net1", "is_alive": False}]}
    result = run(capsys, "expectation", data=data, expectations=[ENTRY], phase="after")
    [outcome] = result["outcomes"]

    assert result["failed"] is True
    assert (outcome["validator"], outcome["service"], outcome["status"], outcome["phase"]) == (
        "expectation",
        "neutron",
        "fail",
        "after",
    )
    assert outcome["found"] == data["agents"]
    assert "failed" not in run(capsys, "expectation", data=data, expectations=[ENTRY], collect=True)


def test_what_may_not_be_seen_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    """Agents that the user may not list are null, and nothing is said of them."""
    data = {"agents": None, "compute_services": [{"is_alive": True}]}
    result = run(capsys, "expectation", data=data, expectations=[ENTRY])

    assert [one["status"] for one in result["outcomes"]] == ["unknown"]


def test_true_may_be_written_as_yaml_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A plain true in a playbook is no text."""
    entry = {**ENTRY, "query": "agents[0].is_alive", "must_be": True}
    result = run(capsys, "expectation", data={"agents": [{"is_alive": True}]}, expectations=[entry])

    assert [one["status"] for one in result["outcomes"]] == ["pass"]


def test_mistakes_are_found_without_data(capsys: pytest.CaptureFixture[str]) -> None:
    """Before a run is opened there is nothing to look at, and a bad expression is told all the same."""
    assert "failed" not in run(capsys, "expectation", expectations=[ENTRY])
    bad = run(capsys, "expectation", expectations=[{**ENTRY, "query": "agents[?"}])
    assert bad["msg"].startswith("expectations[0].query: 'agents[?' is no JMESPath expression")


@pytest.mark.parametrize("check", [False, True])
def test_a_service_of_ones_own_is_judged(check: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A service that the collection does not know comes under test, but not in check mode."""
    path = RunDirectory.create(tmp_path / "runs", services=["neutron"]).path
    options: dict[str, Any] = {"data": {"agents": []}, "run_dir": str(path), "_ansible_check_mode": check}
    run(capsys, "expectation", expectations=[ENTRY, {**ENTRY, "service": "bulletin"}], collect=True, **options)

    assert RunDirectory(path).document["services"] == (["neutron"] if check else ["neutron", "bulletin"])
