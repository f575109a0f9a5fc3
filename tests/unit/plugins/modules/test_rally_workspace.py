# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module rally_workspace, as a task, and its commands run by external_test."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._small_cloud import (
    PASSWORD,
    SmallCloud,
    run_with_users,
)
from ansible_collections.openstack.upgrade_test.tests.unit.plugins.module_utils.test_results import report, workload
from ansible_collections.openstack.upgrade_test.tests.unit.plugins.modules.test_validators import (
    documented,
    module,
    run,
)

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB")
FACTS = ("type", "default", "choices", "required", "elements")
# What Rally does with its commands, as far as they are used: it prints what it was told, passwords too, remembers the
# last task below HOME, and ends with 2 when an SLA did not hold.
TOOL = """#!/bin/sh
set -e
case "$1 $2" in
"db create") grep -q "sqlite:///$PWD/rally.sqlite" "$HOME/.rally/rally.conf" ;;
"env create") cat environment.json ;;
"task start") test -f "$3" && echo 4711 > "$HOME/.rally/globals"; exit 2 ;;
"task report") test -f "$HOME/.rally/globals" && cp {report} "$5" ;;
*) exit 9 ;;
esac
"""


@pytest.fixture
def run_dir(small: SmallCloud, tmp_path: Path) -> str:
    return run_with_users(tmp_path / "runs", small, services=["keystone"])


@pytest.fixture
def options(run_dir: str, tmp_path: Path) -> dict[str, Any]:
    tool = tmp_path / "venv/bin/rally"
    tool.parent.mkdir(parents=True)
    tool.write_text(TOOL.replace("{report}", str(tmp_path / "report.json")))
    tool.chmod(0o755)
    (tmp_path / "task.yml").touch()
    return {"run_dir": run_dir, "environment_path": str(tmp_path / "venv"), "task": str(tmp_path / "task.yml")}


def test_documentation_and_arguments_agree() -> None:
    """Every option is documented with the type, the default and the choices that it has."""
    assert {key: [one.get(fact) for fact in FACTS] for key, one in documented("rally_workspace").items()} == {
        key: [one.get(fact) for fact in FACTS] for key, one in module("rally_workspace").ARGUMENT_SPEC.items()
    }


def test_a_place_for_users_without_rights(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Two users and no administrator; only their owner can read it, and in the end nothing of it is left."""
    told = run(capsys, "rally_workspace", **options, arguments={"times": 3})["rally"]
    folder = Path(told["folder"])
    cloud = json.loads((folder / "environment.json").read_text())["openstack"]

    assert "admin" not in cloud
    assert [set(user) for user in cloud["users"]] == [
        {"username", "password", "project_name", "user_domain_name", "project_domain_name"}
    ] * 2
    assert told["run"][1:] == ["task", "start", options["task"], "--env", "upgrade-test", "--task-args", '{"times": 3}']
    assert stat.S_IMODE((folder / "environment.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert run(capsys, "rally_workspace", run_dir=options["run_dir"], state="absent")["changed"]
    assert not folder.exists()


def play(capsys: Any, options: dict[str, Any], workloads: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    """Run all of Rally's commands as the role does."""
    Path(options["task"]).with_name("report.json").write_bytes(report(*workloads))
    told = run(capsys, "rally_workspace", **options)["rally"]
    place = {"chdir": told["folder"], "environment": told["environment"], "run_dir": options["run_dir"]}
    for name in ("database", "connect"):
        given = {"name": name, "service": "keystone", "argv": told[name], **place}
        assert [one["status"] for one in run(capsys, "external_test", **given)["outcomes"]] == ["pass"]
    given = {
        "name": "Rally",
        "service": "keystone",
        "services": told["services"],
        "every_service": False,
        "argv": told["run"],
        "rc": [0, 2],
        "results_argv": told["report"],
        "results": told["results"],
        "format": "rally",
        "collect": True,
        **place,
        **more,
    }
    found: list[dict[str, Any]] = run(capsys, "external_test", **given)["outcomes"]
    return found


SLOW = {"criterion": "max_avg_duration", "detail": "Average duration 3.1s is above 2s", "success": False}
GOOD = "Authenticate.keystone"
BAD = "NovaServers.list_servers"


def test_an_sla_that_holds_and_one_that_does_not(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Each workload counts for its service; the passwords that Rally prints are in no record."""
    workloads = [workload(GOOD), workload(BAD, pass_sla=False, sla_results={"sla": [SLOW]})]
    found = play(capsys, options, workloads)

    assert [(one["service"], one["subject"], one["status"]) for one in found] == [
        ("keystone", f"{GOOD} 0", "pass"),
        ("nova", f"{BAD} 0", "fail"),
        ("keystone", "Rally", "pass"),
    ]
    assert found[1]["message"] == f"{BAD} 0 failed: Average duration 3.1s is above 2s."
    assert found[0]["evidence"]["figures"]["median"] == 0.25
    run(capsys, "rally_workspace", run_dir=options["run_dir"], state="absent")
    kept = [path for path in Path(options["run_dir"]).rglob("*") if path.is_file() and path.name != "clouds.yaml"]
    assert kept
    assert not any(PASSWORD in path.read_text() for path in kept)


def test_no_workload_is_a_failure(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """A task that ran nothing has shown nothing."""
    assert [(one["check"], one["status"]) for one in play(capsys, options, [])] == [("tests_passed", "fail")]


@pytest.mark.parametrize(("median", "status"), [(0.2, "pass"), (0.1, "fail"), (None, "unknown")])
def test_slower_than_before(
    median: float | None, status: str, options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The median is compared with the one before the upgrade; without one, nothing is known."""
    if median:
        figures = {"suite": "Rally", "figures": {"median": median}}
        words = {"validator": "external_test", "check": "test", "service": "keystone", "subject": f"{GOOD} 0"}
        before = Outcome(status="pass", message="m", phase="before", evidence=figures, **words)  # type: ignore[arg-type]
        RunDirectory(options["run_dir"]).append_outcome(before)
    found = play(capsys, options, [workload(GOOD)], slower=1.5, phase="after")
    [compared] = [one for one in found if one["check"] == "not_slower"]

    assert compared["status"] == status
    assert ("times as long as before" in compared["message"]) == (median is not None)


def test_a_cloud_that_does_not_answer_is_an_outcome(
    small: SmallCloud, options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """After the upgrade this may well be so: then the run goes on, and is told that Rally could not be run."""
    small.statuses["POST /v3/auth/tokens"] = 503
    result = run(capsys, "rally_workspace", **options, collect=True)

    assert [(one["subject"], one["status"]) for one in result["outcomes"]] == [("Rally", "error")]
    assert "rally" not in result


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"environment_path": "/nowhere"}, "environment_path: /nowhere has no bin/rally"),
        ({"task": "/nowhere"}, "task: there is no file /nowhere."),
    ],
)
def test_mistakes_are_one_line(
    changes: dict[str, str], words: str, options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """An option that cannot work is named."""
    assert run(capsys, "rally_workspace", **{**options, **changes})["msg"].startswith(words)
