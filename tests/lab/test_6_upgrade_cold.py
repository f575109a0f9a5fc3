# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cold upgrade to the next release, with a service of one's own and plugins of Grenade, and a snapshot.

Of a lab of the profile full, which ``UPGRADE_TEST_LAB_ROOT`` names, all services are upgraded so.

``UPGRADE_TEST_LAB_COLD``
    Has to be set for these tests to run, as they take a quarter of an hour.
``UPGRADE_TEST_GRENADE``, ``UPGRADE_TEST_HEAT``
    Trees of Grenade and Heat, where they cannot be fetched from where they are at home.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._admin import quiet
from ansible_collections.openstack.upgrade_test.tests.lab._lab import (
    BIN,
    NEW,
    OLD,
    TREE,
    Lab,
    Played,
    document,
    records,
    wait_for,
)

pytestmark = pytest.mark.skipif(
    not os.environ.get("UPGRADE_TEST_LAB_COLD"),
    reason="takes a quarter of an hour; set UPGRADE_TEST_LAB_COLD to run it",
)
COLLECTION = TREE / "ansible_collections/openstack/upgrade_test"
BULLETIN = COLLECTION / "docs/examples/bulletin"
BOARD = COLLECTION / "extensions/molecule/extensions/board.py"
HOMES = {name: f"https://opendev.org/openstack/{name}" for name in ("grenade", "heat")}
PROJECTS = ["keystone", "neutron", "nova"]
"""Cinder's plugin is missing: it wants a key manager, and to log in to a guest over SSH."""
FLAVOR, TRAIT = "grenade", "CUSTOM_REAL_GUESTS"
NEXT = {OLD: NEW, NEW: "2026.2"}
CLIENTS = ("python-openstackclient==10.5.0", "osc-placement==4.9.1", "python-heatclient==5.3.0")


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Trees with plugins, never part of this one; those that cannot be had are missing."""
    place = tmp_path_factory.mktemp("trees")
    found = {name: tree_of(name, place / name) for name in HOMES}
    return {name: tree for name, tree in found.items() if tree}


def tree_of(name: str, folder: Path) -> Path | None:
    """Return the tree that the environment names, or a clone; None where it cannot be had."""
    named = os.environ.get(f"UPGRADE_TEST_{name.upper()}")
    if named:
        return Path(named)
    argv = ["timeout", "60", "git", "clone", "--quiet", "--depth=1", HOMES[name], str(folder)]
    return folder if subprocess.run(argv, check=False, capture_output=True).returncode == 0 else None


@pytest.fixture(scope="module")
def projects(lab: Lab, trees: dict[str, Path]) -> list[str]:
    """The projects whose plugins are run."""
    of_grenade = [*PROJECTS, *(("swift",) if "swift" in lab.services else ())]
    return [*(of_grenade if "grenade" in trees else ()), *({"heat"} & {*trees} & {*lab.services})]


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command-line clients that the plugins call, in an environment of their own."""
    place = tmp_path_factory.mktemp("clients")
    subprocess.run([BIN / "uv", "venv", "--quiet", "--python", sys.executable, place / "venv"], check=True)
    subprocess.run([BIN / "uv", "pip", "install", "--quiet", "--python", place / "venv", *CLIENTS], check=True)
    return place / "venv/bin"


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The board of the example, which knows nothing of OpenStack."""
    folder = tmp_path_factory.mktemp("board")
    process = subprocess.Popen([sys.executable, str(BOARD), str(folder), "3600"])
    wait_for((folder / "port").exists, "the start of the board", 20)
    yield {"bulletin_url": f"http://127.0.0.1:{(folder / 'port').read_text()}", "bulletin_store": f"{folder}/store"}
    (folder / "quit").touch()
    process.wait(20)


@contextmanager
def flavor_of_the_real_compute(lab: Lab) -> Iterator[None]:
    """Nova's plugin boots a server and pings it, so its flavor must not fit the compute without guests."""
    with quiet():
        cloud = lab.admin().cloud
        [provider] = cloud.placement.resource_providers(name="compute1")
        path, version = f"/resource_providers/{provider.id}/traits", {"OpenStack-API-Version": "placement 1.6"}
        cloud.placement.put(f"/traits/{TRAIT}", headers=version)
        before = cloud.placement.get(path, headers=version).json()
        cloud.placement.put(path, json={**before, "traits": [*before["traits"], TRAIT]}, headers=version)
        flavor = cloud.compute.create_flavor(name=FLAVOR, ram=128, vcpus=1, disk=1)
        cloud.compute.create_flavor_extra_specs(flavor, {f"trait:{TRAIT}": "required"})
    try:
        yield
    finally:
        with quiet():
            cloud = lab.admin().cloud
            cloud.compute.delete_flavor(flavor)
            now = cloud.placement.get(path, headers=version).json()
            left = [trait for trait in now["traits"] if trait != TRAIT]
            cloud.placement.put(path, json={**now, "traits": left}, headers=version)


@pytest.fixture(scope="module")
def plugins(lab: Lab, trees: dict[str, Path], projects: list[str], clients: Path, target: str) -> dict[str, Any]:
    """The variables for these projects' plugins against this lab."""
    options = (
        *("-F", "/dev/null", "-i", f"{lab.root}/ssh/id_ed25519", "-o", "BatchMode=yes"),
        *("-o", f"UserKnownHostsFile={lab.root}/ssh/known_hosts", "-o", "StrictHostKeyChecking=yes"),
    )
    command = (f"{lab.root}/releases/{target}/bin/nova-manage", "--config-file")
    config = f"{lab.root}/hosts/control1/etc/nova/nova.conf"
    of_grenade = {"path": str(trees.get("grenade")), "projects": [name for name in projects if name != "heat"]}
    # Tests of Heat need Tempest with a plugin of Heat's, and are none of resources.
    of_heat = {"path": str(trees.get("heat")), "environment": {"RUN_HEAT_INTEGRATION_TESTS": "False"}}
    chosen = [*([of_grenade] if "grenade" in trees else []), *([of_heat] if "heat" in projects else [])]
    return {
        "upgrade_test_grenade_plugins": chosen,
        "upgrade_test_grenade_environment": {
            "PATH": f"{clients}:/usr/sbin:/usr/bin:/sbin:/bin",
            "DEFAULT_INSTANCE_TYPE": FLAVOR,
        },
        "upgrade_test_grenade_commands": {
            "nova-manage": ["ssh", *options, f"root@{lab.addresses()['control1']}", *command, config]
        },
    }


@pytest.fixture(scope="module")
def target(lab: Lab) -> str:
    """The release to upgrade to."""
    if lab.release not in NEXT:
        pytest.skip(f"{lab.root} is at {lab.release or 'no release'}")
    return NEXT[lab.release]


@pytest.fixture(scope="module")
def run(lab: Lab, target: str, board: dict[str, str], plugins: dict[str, Any]) -> Played:
    """The whole test around it."""
    given = {
        "upgrade_test_strategy": "cold",
        "upgrade_test_to_release": target,
        "upgrade_test_from_release": lab.release,
        "upgrade_test_snapshot": True,
        # What does not depend on the strategy is tested with the rolling upgrade.
        "upgrade_test_exercise": False,
        "upgrade_test_baseline": 10,
        "upgrade_test_settle": 10,
        "upgrade_test_service_folders": [str(BULLETIN)],
        **board,
        **plugins,
    }
    with flavor_of_the_real_compute(lab):
        return lab.play("run", given, timeout=2400)


@pytest.fixture(scope="module")
def run_dir(lab: Lab, run: Played) -> Path:
    """Its records."""
    return lab.latest()


@pytest.fixture(scope="module")
def results(run_dir: Path) -> dict[str, Any]:
    """What the judge says."""
    return document(run_dir / "results.json")


@pytest.fixture(scope="module")
def outcomes(run_dir: Path) -> list[dict[str, Any]]:
    """All that was checked."""
    return records(run_dir / "outcomes.jsonl")


def test_the_cloud_is_on_the_new_release(lab: Lab, run: Played, results: dict[str, Any], target: str) -> None:
    """The run came to its end, through the phases of a cold upgrade."""
    assert lab.release == target
    assert (results["interrupted"], results["run"]["strategy"]) == (False, "cold")
    assert [one["name"] for one in results["phases"]] == ["before", "stop", "stopped", "upgrade", "after"]
    assert "Traceback" not in run.text
    assert not (lab.root / "stopped").exists()


def test_no_check_failed(outcomes: list[dict[str, Any]]) -> None:
    """Nothing that anybody owns was lost, and nothing failed at any time."""
    assert [(one["check"], one["message"]) for one in outcomes if one["status"] in ("fail", "error")] == []


def test_every_api_was_away_as_planned(lab: Lab, results: dict[str, Any]) -> None:
    """Every API was down while its services were stopped; it is told as planned, with its length."""
    seen = {one["name"]: one for one in results["services"]}
    told = [found for found in results["findings"] if found["kind"] == "downtime.planned"]

    assert {*lab.services} <= {*seen}
    assert [name for name in lab.services if seen[name]["planned_downtime"] <= 10] == []
    assert [name for name in lab.services if seen[name]["outages"] or seen[name]["failed_requests"]] == []
    assert {*lab.services} <= {found["service"] for found in told}
    assert {found["severity"] for found in told} == {"warning"}


def test_the_claims(results: dict[str, Any]) -> None:
    """A cold upgrade is judged as an upgrade, and as an accessible one; it is not rolling, whatever else it is."""
    claims = {one["id"]: one for one in results["claims"]}

    assert [one for one in claims if claims[one]["asked"]] == ["upgrade", "accessible"]
    assert claims["rolling"]["verdict"] == claims["zero_downtime"]["verdict"] == "not_met"
    assert results["verdict"] != "not_met"
    assert "as planned" in results["headline"]


def test_servers_were_reachable_without_services(results: dict[str, Any]) -> None:
    """The server of the test answered all the time, or the doubt is the observer's."""
    [reached] = [one for one in results["requirements"] if (one["id"], one["service"]) == ("C2", "nova")]

    assert reached["result"] in ("PASS", "NOT PROVEN"), reached


def test_resources_were_verified_while_nothing_ran(lab: Lab, outcomes: list[dict[str, Any]]) -> None:
    """Each service's resources were looked at without any API, where there is something to look at."""
    seen = [one for one in outcomes if one["phase"] == "stopped"]

    assert {*lab.services, "bulletin"} - {"placement"} <= {one["service"] for one in seen}
    assert {one["status"] for one in seen} <= {"pass", "skip", "unknown"}


def test_plugins_of_grenade_ran_unchanged(
    outcomes: list[dict[str, Any]], trees: dict[str, Path], projects: list[str], run_dir: Path
) -> None:
    """All phases of each passed, at the times at which Grenade has them, and nothing of them is left."""
    if not trees:
        pytest.skip(f"no tree of {' or '.join(HOMES)} could be had")
    mine = [one for one in outcomes if one["validator"] == "grenade_plugin"]
    assert [one["message"] for one in mine if one["status"] != "pass"] == []
    assert not (run_dir / "grenade").exists()
    for project in projects:
        told = [
            (one["check"], one["phase"], one["evidence"].get("side", "")) for one in mine if one["subject"] == project
        ]
        assert ("created", "before", "") in told, project
        assert [one for one in told if one[0] != "created"] == [
            ("verified", "before", "pre-upgrade"),
            ("verified_without_api", "stopped", "pre-upgrade"),
            ("verified", "after", "post-upgrade"),
            ("removed", "after", ""),
        ], project


def test_the_example_went_through(outcomes: list[dict[str, Any]]) -> None:
    """The service of one's own was verified before, without API and after."""
    mine = [(one["check"], one["phase"]) for one in outcomes if one["service"] == "bulletin"]

    assert {("notice_unchanged", "before"), ("verified_without_api", "stopped"), ("notice_unchanged", "after")} <= {
        *mine
    }


def test_a_snapshot_was_taken_of_what_was_stopped(lab: Lab, outcomes: list[dict[str, Any]], run_dir: Path) -> None:
    """All databases and the configuration of all hosts, after the stop; the files are what the records say."""
    taken = [one for one in outcomes if one["check"] == "snapshot_taken"]
    place = lab.root / "snapshots" / run_dir.name

    assert {one["phase"] for one in taken} == {"stopped"}
    databases = {"nova_api", "nova_cell0", *lab.services} - {"swift"}
    assert {f"database {name}" for name in databases} <= {one["subject"] for one in taken}
    for one in taken:
        assert (place / one["evidence"]["file"]).stat().st_size == one["evidence"]["size"]


def test_nothing_is_left(lab: Lab, results: dict[str, Any], run_dir: Path) -> None:
    """Neither the test nor a plugin has left anything in the cloud, nor a secret in the records."""
    assert results["resources"]["left"] == []
    assert lab.admin().of_tests() == frozenset()
    with quiet():
        assert not [
            one.name for one in lab.admin().cloud.identity.projects() if one.name.endswith(("_grenade", "_check"))
        ]
    password = (lab.root / "secrets/admin").read_text().split()[0]
    assert not [path for path in run_dir.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
