# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module tempest_workspace, as a task, and how tests are selected."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.module_utils._tempest import Selection
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._small_cloud import (
    PASSWORD,
    SmallCloud,
    run_with_users,
    small_cloud,
)
from ansible_collections.openstack.upgrade_test.tests.unit.plugins.modules.test_validators import (
    documented,
    module,
    run,
)

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB")
FACTS = ("type", "default", "choices", "required", "elements")
# As Tempest names them.
TOKENS = "tempest.api.identity.v3.test_tokens.TokensV3Test.test_validate_token[id-a9512ac3]"
DISCOVERY = "tempest.api.identity.v3.test_api_discovery.TestApiDiscovery.test_api_versions[id-721f4b4a,smoke]"
SERVERS = "tempest.api.compute.servers.test_create_server.ServersTestJSON.test_list_servers[id-9a438d88,smoke]"
SCENARIO = "tempest.scenario.test_server_basic_ops.TestServerBasicOps.test_server_basic_ops[compute,id-7fff3fb3,smoke]"
NETWORKS = "tempest.api.network.test_networks.NetworksTest.test_list_networks[id-f7319e32,smoke]"
BROKEN = "setUpClass (tempest.api.compute.servers.test_create_server.ServersTestJSON)"
EVERY = (TOKENS, DISCOVERY, SERVERS, SCENARIO, NETWORKS)


@pytest.fixture
def small() -> Iterator[SmallCloud]:
    with small_cloud() as cloud:
        cloud.types |= {"image": "", "object-store": "/v1/AUTH_p"}
        cloud.documents = {
            "GET /v2/images": {"images": [{"id": "i1", "name": "kernel", "disk_format": "aki"}, IMAGE]},
            "GET /v2.1/flavors/detail": {"flavors": [LARGE, TINY]},
            "GET /v2.0/networks": {"networks": [{"id": "n1", "name": "public"}]},
        }
        yield cloud


IMAGE = {"id": "i2", "name": "cirros", "disk_format": "qcow2"}
TINY = {"id": "f1", "name": "tiny", "ram": 128, "vcpus": 1, "disk": 1}
LARGE = {"id": "f2", "name": "large", "ram": 4096, "vcpus": 1, "disk": 1}


@pytest.fixture
def run_dir(small: SmallCloud, tmp_path: Path) -> str:
    """A run with its users."""
    return run_with_users(tmp_path / "runs", small)


@pytest.fixture
def tools(tmp_path: Path) -> str:
    """An environment in which Tempest seems to be installed."""
    for name in ("tempest", "discover-tempest-config"):
        path = tmp_path / "venv/bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return str(tmp_path / "venv")


def play(capsys: Any, run_dir: str, tools: str, **more: Any) -> dict[str, Any]:
    return run(capsys, "tempest_workspace", run_dir=run_dir, environment_path=tools, **more)


def pairs(argv: list[str]) -> dict[str, str]:
    """Return the settings at the end of a command."""
    words = [word for word in argv if not word.startswith("/") or word.endswith("lock")]
    begin = next(number for number, word in enumerate(words) if re.fullmatch(r"[a-z_-]+\.[a-z_]+", word, re.I))
    return dict(zip(words[begin::2], words[begin + 1 :: 2], strict=True))


def test_documentation_and_arguments_agree() -> None:
    """Every option is documented with the type, the default and the choices that it has."""
    assert {key: [one.get(fact) for fact in FACTS] for key, one in documented("tempest_workspace").items()} == {
        key: [one.get(fact) for fact in FACTS] for key, one in module("tempest_workspace").ARGUMENT_SPEC.items()
    }


@pytest.mark.parametrize(
    ("tests", "services", "found"),
    [
        (["smoke"], ["keystone", "nova", "neutron"], [DISCOVERY, SERVERS, SCENARIO, NETWORKS]),
        (["smoke"], ["keystone"], [DISCOVERY]),
        (["smoke"], ["nova"], [SERVERS, SCENARIO]),
        ([r"^tempest\.api\.identity\.v3\.test_tokens", "test_list_servers"], ["keystone", "nova"], [TOKENS, SERVERS]),
        (["test_tokens", "smoke"], ["keystone"], [TOKENS, DISCOVERY]),
        ([], ["keystone"], [TOKENS, DISCOVERY]),
    ],
)
def test_a_selection_finds_its_tests(tests: list[str], services: list[str], found: list[str]) -> None:
    """Smoke tests or any others, of one service or several; without a blank, which Tempest takes for an or."""
    regex = Selection(tests=tests, services=services).regex()

    assert [one for one in EVERY if re.search(regex, one)] == found
    assert " " not in regex


def test_each_test_is_of_a_service() -> None:
    """So is a class that could not be set up."""
    expressions = Selection(services=["keystone", "nova", "neutron", "placement"]).expressions()

    def of(test: str) -> list[str]:
        return [name for name, expression in expressions.items() if re.search(expression, test)]

    assert [of(one) for one in (*EVERY, BROKEN)] == [
        ["keystone"],
        ["keystone"],
        ["nova"],
        ["nova"],
        ["neutron"],
        ["nova"],
    ]


def test_a_place_for_users_without_rights(
    small: SmallCloud, run_dir: str, tools: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three accounts, no administrator, the check of certificates left on, and what the cloud has to offer."""
    told = play(capsys, run_dir, tools)["tempest"]
    folder = Path(told["folder"])
    accounts = yaml.safe_load((folder / "etc/accounts.yaml").read_text())
    own = yaml.safe_load((folder / "etc/clouds.yaml").read_text())["clouds"]

    assert [(one["username"], one["project_name"], one["roles"]) for one in accounts] == [
        ("user", "project", ["member"])
    ] * 3
    assert [one["resources"] for one in accounts] == [{"network": "public"}] * 3
    assert own["upgrade_test"]["auth"]["username"] == "user"
    assert list(own) == ["upgrade_test"]
    assert told["discover"][1:5] == ["--os-cloud", "upgrade_test", "--non-admin", "--test-accounts"]
    assert told["discover"][told["discover"].index("--network-id") + 1] == "n1"
    assert pairs(told["discover"]) == {
        "oslo_concurrency.lock_path": str(folder / "lock"),
        "identity.disable_ssl_certificate_validation": "false",
        "object-storage.operator_role": "member",
        "compute.image_ref": "i2",
        "compute.image_ref_alt": "i2",
        "compute.flavor_ref": "f1",
        "compute.flavor_ref_alt": "f2",
    }
    assert told["run"][1:6] == ["run", "--config-file", "etc/tempest.conf", "--serial", "--subunit"]
    assert list(told["services"]) == ["keystone", "glance", "swift", "neutron", "nova"]
    assert told["environment"]["HOME"] == str(folder)
    secret = [path for path in folder.rglob("*") if path.is_file() and PASSWORD in path.read_text()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (*secret, folder / "etc/tempest.conf") if path.exists()} == {
        0o600
    }


def test_it_is_removed_with_its_secrets(run_dir: str, tools: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is kept is the configuration, without a password; the second time there is nothing to do."""
    folder = Path(play(capsys, run_dir, tools, name="tempest-after")["tempest"]["folder"])
    (folder / "etc/tempest.conf").write_text(f"[identity]\nuri = http://x\npassword = {PASSWORD}\n")
    gone = [play(capsys, run_dir, tools, name="tempest-after", state="absent")["changed"] for _time in range(2)]

    kept = (Path(run_dir) / "evidence/tempest-after.conf").read_text()
    assert (gone, folder.exists()) == ([True, False], False)
    assert "uri = http://x" in kept
    assert PASSWORD not in kept


def test_a_single_flavor_cannot_be_resized(
    small: SmallCloud, run_dir: str, tools: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then Tempest is told so; what the user sets wins."""
    small.documents["GET /v2.1/flavors/detail"] = {"flavors": [TINY]}
    settings = {"identity.disable_ssl_certificate_validation": True, "validation.run_validation": "false"}
    told = pairs(play(capsys, run_dir, tools, settings=settings)["tempest"]["discover"])

    assert (told["compute.flavor_ref_alt"], told["compute-feature-enabled.resize"]) == ("f1", "false")
    assert told["identity.disable_ssl_certificate_validation"] == "True"
    assert told["validation.run_validation"] == "false"


def test_the_volumes_are_found_under_the_name_that_the_catalogue_has(
    small: SmallCloud, run_dir: str, tools: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tempest would look for the newest one only."""
    small.types |= {"volumev3": "/v3/p"}
    told = pairs(play(capsys, run_dir, tools)["tempest"]["discover"])

    assert told["volume.catalog_type"] == "volumev3"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"environment_path": "/nowhere"}, "environment_path: /nowhere has no bin/discover-tempest-config"),
        ({"image": "cirrus"}, "image: 'cirrus' is not there; there are: cirros, kernel."),
        ({"services": ["placement"]}, "services: Tempest has no tests of placement, only of keystone"),
        ({"services": ["novum"]}, "services: 'novum' is not known"),
        ({"load_list": "/nowhere"}, "load_list: there is no file /nowhere."),
        ({"tests": ["smoke", "("]}, "tests: '(' is no regular expression: "),
        ({"exclude": "["}, "tests: '[' is no regular expression: "),
        ({"tests": ["a b"]}, "tests: 'a b' has a blank or is empty"),
    ],
)
def test_mistakes_are_one_line(
    options: dict[str, Any], words: str, run_dir: str, tools: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option that cannot work is named, and nothing is made."""
    result = run(capsys, "tempest_workspace", run_dir=run_dir, **{"environment_path": tools, **options})

    assert result["msg"].startswith(words)
    assert not (Path(run_dir) / "tempest").exists()


@pytest.mark.parametrize("status", [401, 503])
def test_a_cloud_that_does_not_answer_is_an_outcome(
    status: int, small: SmallCloud, run_dir: str, tools: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the upgrade this may well be so: then the run goes on, and is told that Tempest could not be run."""
    small.statuses["POST /v3/auth/tokens"] = status
    result = play(capsys, run_dir, tools, collect=True, phase="after")
    [outcome] = result["outcomes"]

    assert "failed" not in result
    assert "tempest" not in result
    assert (outcome["validator"], outcome["status"], outcome["phase"]) == ("external_test", "error", "after")
    assert outcome["message"].startswith("Tempest could not be run: ")
    assert play(capsys, run_dir, tools)["failed"] is True


def test_a_run_without_users_is_told(tmp_path: Path, tools: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Tempest never runs as the administrator instead."""
    empty = str(RunDirectory.create(tmp_path / "runs").path)

    assert "has no clouds.yaml, so there is no user to test as" in play(capsys, empty, tools)["msg"]


def test_another_domain_is_told(
    small: SmallCloud, run_dir: str, tools: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """python-tempestconf would fail to log in, and say something else."""
    small.domain_name = "Customers"

    assert play(capsys, run_dir, tools)["msg"].startswith("The test's user is in the domain Customers")
