# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module cloud_fingerprint, as a task."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import BrokenError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint import _look
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._model import (
    Fingerprint,
    Part,
    Thing,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.modules import cloud_fingerprint
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._small_cloud import clouds_yaml, small_cloud
from ansible_collections.openstack.upgrade_test.tests.unit.plugins.modules.test_validators import documented, run

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB")


def test_documentation_and_arguments_agree() -> None:
    """Every option and suboption is documented with the type and the default that it has."""
    facts = ("type", "default", "choices", "required", "elements")
    options = documented("cloud_fingerprint")
    allow = yaml.safe_load(cloud_fingerprint.DOCUMENTATION)["options"]["allow"]["suboptions"]

    assert {key: [one.get(fact) for fact in facts] for key, one in options.items()} == {
        key: [one.get(fact) for fact in facts] for key, one in cloud_fingerprint.ARGUMENT_SPEC.items()
    }
    assert {key: (one["type"], one["default"]) for key, one in allow.items()} == {
        key: (one["type"], one["default"]) for key, one in cloud_fingerprint.ALLOWANCE.items()
    }


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return RunDirectory.create(tmp_path / "runs").path


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "../x"}, "name: '../x' is no name"),
        ({"compare_with": "a/b"}, "compare_with: 'a/b' is no name"),
        ({"allow": [{"change": "renamed"}]}, "allow: the change 'renamed' is none of added, removed, changed."),
        ({"kinds": ["server"]}, "kinds: 'server' is not known; known are"),
    ],
)
def test_mistakes_are_one_line(
    options: dict[str, Any], words: str, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option that cannot be meant as it is, is told before any cloud is asked."""
    result = run(capsys, "cloud_fingerprint", **{"cloud": "c", "run_dir": str(run_dir), "name": "now", **options})

    assert result["msg"].startswith(words)


class State:
    """The cloud that the module sees: servers by id with their host, or trouble."""

    servers: dict[str, str]
    trouble = ""
    later: dict[str, str] | None = None

    def taken(self, *_arguments: Any) -> Fingerprint:
        things = {id_: Thing(name=f"name-{id_}", fields={"host": host}) for id_, host in self.servers.items()}
        part = Part(service="nova", one="server", trouble=self.trouble, things={} if self.trouble else things)
        if self.later is not None:
            self.servers, self.later = self.later, None
        return Fingerprint(taken=1.0, parts={"servers": part})


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> State:
    """Stand in for the listing, which has tests of its own."""
    made = State()
    made.servers = {"a": "h1", "b": "h2"}
    monkeypatch.setattr(_look, "take", made.taken)
    monkeypatch.setattr(_look, "PAUSE", 0.01)
    return made


class Task:
    """Calls the module for a run and a cloud that answers."""

    def __init__(self, run_dir: Path, folder: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.options = {"run_dir": str(run_dir), "cloud": "small", "clouds_yaml": clouds_yaml(folder, f"{url}/v3")}
        self.capsys = capsys

    def __call__(self, **options: Any) -> dict[str, Any]:
        return run(self.capsys, "cloud_fingerprint", **{"settle": 0, **self.options, **options})


@pytest.fixture
def task(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    with small_cloud() as cloud:
        yield Task(run_dir, tmp_path, cloud.url, capsys)


def test_a_loss_fails_and_is_named(task: Task, state: State, run_dir: Path) -> None:
    """What is gone after the upgrade fails the task with its name; the fingerprints are for their owner only."""
    assert "failed" not in task(name="before")
    del state.servers["b"]
    result = task(name="after", compare_with="before")

    assert result["failed"] is True
    assert "The server name-b (b) is gone." in result["msg"]
    for name in ("before", "after"):
        assert stat.S_IMODE((run_dir / f"evidence/fingerprint-{name}.json").stat().st_mode) == 0o600


def test_what_is_allowed_does_not_fail(task: Task, state: State) -> None:
    """The same loss with a rule that covers it passes, and is told in the evidence."""
    task(name="before")
    del state.servers["b"]
    [outcome] = task(name="after", compare_with="before", allow=[{"kind": "servers", "change": "removed"}])["outcomes"]

    assert outcome["status"] == "pass"
    assert outcome["evidence"]["allowed"] == ["The server name-b (b) is gone."]


def test_a_state_may_come_to_rest(task: Task, state: State) -> None:
    """A difference that goes away in time is none; one that stays is."""
    task(name="before")
    state.later, state.servers = dict(state.servers), {"a": "h9", "b": "h2"}
    assert "failed" not in task(name="after", compare_with="before", settle=5)

    state.servers["a"] = "h9"
    assert task(name="after", compare_with="before", settle=0.05)["failed"] is True


def test_blindness_is_not_a_loss(task: Task, state: State) -> None:
    """What cannot be listed any more is unknown: it neither fails nor passes."""
    task(name="before")
    state.trouble = str(BrokenError("HTTP 500.", 500))
    result = task(name="after", compare_with="before")

    assert [(one["status"], one["message"]) for one in result["outcomes"]] == [
        ("unknown", "The servers could not be seen: HTTP 500.")
    ]
    assert "failed" not in result


def test_nothing_to_compare_with(task: Task, state: State) -> None:
    """When the earlier fingerprint was never taken, it is not known what has changed."""
    outcomes = task(name="after", compare_with="before")["outcomes"]

    assert [(one["check"], one["status"]) for one in outcomes] == [("looked", "pass"), ("compared", "unknown")]


def test_check_mode_writes_nothing(task: Task, state: State, run_dir: Path) -> None:
    """In check mode the cloud is looked at and the run directory left as it is."""
    assert "file" not in task(name="before", _ansible_check_mode=True)
    assert not (run_dir / "evidence").exists()


def test_a_secret_in_a_name_makes_no_difference(task: Task, state: State, run_dir: Path) -> None:
    """Both sides are compared in the form in which they are kept, so that what is hidden is equal to itself."""
    state.servers = {"a": "token=gAAAAABexampleexampleexample"}
    task(name="before")

    assert "failed" not in task(name="after", compare_with="before")
    text = (run_dir / "evidence/fingerprint-before.json").read_text()
    assert "gAAAAAB" not in text
    assert json.loads(text)["parts"]["servers"]["things"]["a"]["fields"]["host"].startswith("token=[redacted")
