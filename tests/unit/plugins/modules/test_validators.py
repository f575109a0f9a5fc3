# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules that look at a cloud or a host, as tasks: what they return and how they fail."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.openstack.upgrade_test.plugins.doc_fragments import attributes
from ansible_collections.openstack.upgrade_test.plugins.doc_fragments import cloud as cloud_fragment
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._small_cloud import (
    PASSWORD,
    SmallCloud,
    clouds_yaml,
)

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB")
MODULES = (
    "cloud_info",
    "test_project",
    "persistent_resource",
    "release_version",
    "resource_evidence",
    "health_evidence",
    "system_health",
)
CONNECTED = tuple(name for name in MODULES if name not in ("release_version", "resource_evidence", "health_evidence"))


def module(name: str) -> ModuleType:
    return import_module(f"ansible_collections.openstack.upgrade_test.plugins.modules.{name}")


def run(capsys: pytest.CaptureFixture[str], called: str, /, **options: Any) -> dict[str, Any]:
    """Return the result of a module."""
    with patch_module_args(options), pytest.raises(SystemExit):
        module(called).main()
    text = capsys.readouterr().out
    assert PASSWORD not in text
    result: dict[str, Any] = json.loads(text)
    return result


def documented(name: str) -> dict[str, Any]:
    """Return the options of a module as its documentation has them, those of its fragments included."""
    document = yaml.safe_load(module(name).DOCUMENTATION)
    options: dict[str, Any] = {}
    for fragment in document["extends_documentation_fragment"]:
        part = fragment.removeprefix("openstack.upgrade_test.")
        kind = cloud_fragment if part == "cloud" else attributes
        text = getattr(kind.ModuleDocFragment, (part.partition(".")[2] or "documentation").upper())
        options |= yaml.safe_load(text)["options"]
    # A module's own words go before those of a fragment, one by one.
    return options | {name: options.get(name, {}) | own for name, own in document["options"].items()}


@pytest.mark.parametrize("name", MODULES)
def test_documentation_and_arguments_agree(name: str) -> None:
    """Every option is documented with the type, the default and the choices that it has."""
    spec = module(name).ARGUMENT_SPEC
    facts = ("type", "default", "choices", "required", "elements")
    options = documented(name)

    assert {key: {fact: entry.get(fact) for fact in facts} for key, entry in options.items()} == {
        key: {fact: entry.get(fact) for fact in facts} for key, entry in spec.items()
    }


@pytest.mark.parametrize("name", CONNECTED)
def test_an_unknown_cloud_is_one_line(
    name: str, small: SmallCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each module that connects says which clouds there are."""
    run_dir = (
        {} if name in ("cloud_info", "system_health") else {"run_dir": str(RunDirectory.create(tmp_path / "r").path)}
    )
    result = run(capsys, name, cloud="smal", clouds_yaml=clouds_yaml(tmp_path, small.url), **run_dir)

    assert result["failed"] is True
    assert "the clouds there are 'small'" in result["msg"]
    assert "exception" not in result or not result["exception"]


def test_cloud_info_describes_what_answers(
    small: SmallCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Services, targets and URLs come from the catalogue; what is not in it is not there."""
    found = run(capsys, "cloud_info", cloud="small", clouds_yaml=clouds_yaml(tmp_path, f"{small.url}/v3"))["cloud_info"]

    assert [service["service"] for service in found["services"]] == ["keystone", "neutron", "nova"]
    assert found["targets"][0] == {
        "name": "keystone public",
        "service": "keystone",
        "via": "public",
        "url": f"{small.url}/v3",
        "expect": {"status": [200], "body": '"v3.'},
        "auth_url": f"{small.url}/v3/auth/projects",
        "auth_expect": {"status": [200], "body": '"projects"'},
    }


def test_cloud_info_names_what_a_user_may_ask(
    small: SmallCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each service has its operations, with URLs that begin with its endpoint; placement has none with a token."""
    small.types["placement"] = "/placement"
    found = run(capsys, "cloud_info", cloud="small", clouds_yaml=clouds_yaml(tmp_path, f"{small.url}/v3"))["cloud_info"]

    asked = {one["name"]: (one["url"].removeprefix(small.url), one["authenticated"]) for one in found["operations"]}
    assert asked["nova list servers"] == ("/v2.1/servers?limit=1", True)
    assert asked["neutron list networks"] == ("/v2.0/networks?limit=1&fields=id", True)
    assert asked["nova show versions"] == ("/", False)
    assert [name for name, (_url, token) in asked.items() if name.startswith("placement") and token] == []
    assert [target["service"] for target in found["targets"] if "auth_url" not in target] == ["placement"]


def test_cloud_info_fails_on_a_service_that_is_not_there(
    small: SmallCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A service that was asked for and is not in the catalogue is an error that says what to do."""
    options = {"cloud": "small", "clouds_yaml": clouds_yaml(tmp_path, f"{small.url}/v3"), "services": ["glance"]}

    assert "no service of type image" in run(capsys, "cloud_info", **options)["msg"]


def test_a_missing_run_directory_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run directory that is not there is told as such, before any cloud is asked."""
    result = run(capsys, "persistent_resource", cloud="c", run_dir=str(tmp_path / "none"))

    assert "is not a run directory" in result["msg"]


def test_only_names_of_tests_are_removed(small: SmallCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is not one of a test removes nothing."""
    path = clouds_yaml(tmp_path, f"{small.url}/v3")
    result = run(capsys, "test_project", cloud="small", clouds_yaml=path, state="absent", name="production")

    assert "must begin with upgrade-test-" in result["msg"]
    assert not any(request.startswith("DELETE") for request in small.requests)


def test_removal_needs_a_name_or_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Without either there is nothing to go by."""
    assert "run_dir, name" in run(capsys, "test_project", cloud="c", state="absent")["msg"]


def test_an_unknown_release_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A release that is none is told beside those there are."""
    result = run(capsys, "release_version", release=["2026.9"])

    assert result["msg"].startswith("release: '2026.9' is no release")


def test_observing_in_check_mode_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In check mode an observer writes nothing and ends at once."""
    result = run(capsys, "release_version", directory=str(tmp_path / "observed"), _ansible_check_mode=True)

    assert result["changed"] is False
    assert list(tmp_path.iterdir()) == []


def test_an_observer_that_cannot_start_leaves_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory that cannot be made fails the task with its name."""
    (tmp_path / "file").touch()

    assert "directory: " in run(capsys, "release_version", directory=str(tmp_path / "file"))["msg"]


def test_system_health_remembers_before_and_expects_after(
    small: SmallCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An agent that was there before the upgrade and is not there after it fails; before it, nothing was expected."""
    agent = {
        "agent_type": "L3 agent",
        "binary": "neutron-l3-agent",
        "host": "net1",
        "alive": True,
        "admin_state_up": True,
    }
    small.documents["GET /v2.0/agents"] = {"agents": [agent]}
    run_dir = RunDirectory.create(tmp_path / "runs")
    options = {"cloud": "small", "clouds_yaml": clouds_yaml(tmp_path, f"{small.url}/v3"), "services": ["neutron"]}
    options |= {"run_dir": str(run_dir.path), "depth": "quick", "collect": True}
    before = run(capsys, "system_health", phase="before", **options)
    small.documents["GET /v2.0/agents"] = {"agents": [{**agent, "host": "net2"}]}
    after = run(capsys, "system_health", phase="after", **options)

    assert not any("was expected" in one["message"] for one in before["outcomes"])
    missing = [one["host"] for one in after["outcomes"] if "was expected" in one["message"]]
    assert missing == ["net1"]


@pytest.mark.parametrize("depth", ["quick", "normal", "deep"])
def test_without_hosts_and_users_nothing_fails(
    depth: str, small: SmallCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With clouds.yaml only, all that needs a host says that there is no access to one, and the task succeeds."""
    small.documents |= {
        "GET /": {"versions": [{"id": "v2.0", "status": "CURRENT"}]},
        "GET /v2.0/networks": {"networks": []},
        "GET /v2.0/agents": {"agents": []},
    }
    options = {"cloud": "small", "clouds_yaml": clouds_yaml(tmp_path, f"{small.url}/v3"), "services": ["neutron"]}
    result = run(capsys, "system_health", depth=depth, **options)
    unknown = [one for one in result["outcomes"] if one["status"] == "unknown"]

    assert "failed" not in result
    assert {one["status"] for one in result["outcomes"]} <= {"pass", "skip", "unknown"}
    without_user = [one for one in unknown if "ordinary user" in one["message"]]
    assert all("no host access" in one["message"].lower() for one in unknown if one not in without_user)
    assert bool(without_user) is (depth != "quick")


def test_evidence_that_is_none_is_one_line(
    small: SmallCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is no evidence of a host is told with what it should be."""
    options = {"cloud": "small", "clouds_yaml": clouds_yaml(tmp_path, f"{small.url}/v3"), "evidence": [{"a": 1}]}

    assert run(capsys, "system_health", **options)["msg"].startswith(
        "evidence: has to be what health_evidence returned"
    )


def test_a_glance_ends_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing runs the module says so and fails not."""
    for name in ("stat", "self"):  # a host of the test's own: what runs on this machine is left alone
        (tmp_path / name).symlink_to(f"/proc/{name}")
    glance = module("health_evidence")
    look = glance.gather
    monkeypatch.setattr(glance, "gather", lambda wish: look(replace(wish, proc=tmp_path)))
    result = run(capsys, "health_evidence", services=["heat"])

    assert "failed" not in result
    assert (result["evidence"]["components"], result["evidence"]["problems"]) == ([], [])


def test_releases_without_any_host(small: SmallCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With clouds.yaml alone nothing fails, and what needs hosts is unknown for this reason."""
    small.collections["versions"] = {"v2.1": {"id": "v2.1", "status": "CURRENT", "version": "2.103"}}
    small.types = {"identity": "/v3", "compute": "/versions/v2.1"}
    options = {"cloud": "small", "clouds_yaml": clouds_yaml(tmp_path, f"{small.url}/v3"), "services": ["nova"]}
    result = run(capsys, "release_version", look_at="apis", release=["2026.1"], **options)
    unseen = [one for one in result["outcomes"] if one["check"] == "release"]

    assert "failed" not in result
    assert [(one["status"], "no host access" in one["message"]) for one in unseen] == [("unknown", True)]
    assert result["services"]["nova"]["verdict"] in ("consistent", "unknown")


def test_releases_beside_the_health(small: SmallCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With one login the APIs tell their releases too; a release that nobody knows is a mistake of the operator."""
    small.collections["versions"] = {"v2.1": {"id": "v2.1", "status": "CURRENT", "version": "2.96"}}
    small.types = {"identity": "/v3", "compute": "/versions/v2.1"}
    access = {"cloud": "small", "clouds_yaml": clouds_yaml(tmp_path, f"{small.url}/v3"), "services": ["nova"]}
    options = {**access, "depth": "quick", "collect": True}
    plain = run(capsys, "system_health", **options)
    result = run(capsys, "system_health", releases={"release": ["2026.1"]}, **options)
    added = [one for one in result["outcomes"] if one["validator"] == "release_version"]
    wrong = run(capsys, "system_health", releases={"release": ["folsom"]}, **options)

    assert {one["validator"] for one in plain["outcomes"]} == {"system_health"}
    assert {(one["check"], one["status"]) for one in added} == {("release", "unknown"), ("release_api", "fail")}
    assert wrong["msg"].startswith("releases: 'folsom' is no release that is known here")


def test_apis_need_a_cloud_and_hosts_need_none(capsys: pytest.CaptureFixture[str]) -> None:
    """A cloud that is named for all modules at once does not turn a look at a host into another one."""
    asked = run(capsys, "release_version", look_at="apis")
    host = run(capsys, "release_version", cloud="none", services=["nova"], databases=False, collect=True)

    assert "cloud" in asked["msg"]
    assert "processes" in host


def test_an_api_of_another_release_than_the_processes(
    small: SmallCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the hosts have shown is taken in, and with it each service is told as a whole."""
    options = {"cloud": "small", "clouds_yaml": clouds_yaml(tmp_path, f"{small.url}/v3"), "services": ["nova"]}
    seen = [{"service": "nova", "component": "nova-api", "instance": "control1/nova-api", "release": "2025.1"}]
    result = run(capsys, "release_version", look_at="apis", release=["2026.1"], processes=seen, **options)

    assert result["services"]["nova"]["verdict"] == "refuted"
    assert result["services"]["nova"]["releases"] == {"2025.1": ["control1/nova-api"]}
