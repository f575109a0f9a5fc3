# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cold upgrade to the next release, with a service of one's own and plugins of Grenade, and a snapshot.

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
    SERVICES,
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
HOME = "https://opendev.org/openstack/grenade"
PROJECTS = ["keystone", "neutron", "nova"]
FLAVOR, TRAIT = "grenade", "CUSTOM_REAL_GUESTS"
NEXT = {OLD: NEW, NEW: "2026.2"}
CLIENTS = ("python-openstackclient==10.5.0", "osc-placement==4.9.1")


@pytest.fixture(scope="module")
def grenade(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """Grenade's tree, never part of this one; None where it cannot be had."""
    if os.environ.get("UPGRADE_TEST_GRENADE"):
        return Path(os.environ["UPGRADE_TEST_GRENADE"])
    folder = tmp_path_factory.mktemp("trees") / "grenade"
    done = subprocess.run(
        ["timeout", "60", "git", "clone", "--quiet", "--depth=1", HOME, str(folder)], check=False, capture_output=True
    )
    return folder if done.returncode == 0 else None


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
    process = subprocess.Popen([sys.executable, str(BOARD), str(folder)])
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


def plugins(lab: Lab, tree: Path, clients: Path, target: str) -> dict[str, Any]:
    """The variables for Grenade's plugins against this lab."""
    options = (
        *("-F", "/dev/null", "-i", f"{lab.root}/ssh/id_ed25519", "-o", "BatchMode=yes"),
        *("-o", f"UserKnownHostsFile={lab.root}/ssh/known_hosts", "-o", "StrictHostKeyChecking=yes"),
    )
    command = (f"{lab.root}/releases/{target}/bin/nova-manage", "--config-file")
    config = f"{lab.root}/hosts/control1/etc/nova/nova.conf"
    return {
        "upgrade_test_grenade_plugins": [{"path": str(tree), "projects": PROJECTS}],
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
def run(lab: Lab, target: str, board: dict[str, str], clients: Path, grenade: Path | None) -> Played:
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
        **(plugins(lab, grenade, clients, target) if grenade else {}),
    }
    with flavor_of_the_real_compute(lab):
        return lab.play("run", given, timeout=1800)


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


@pytest.mark.parametrize("service", SERVICES)
def test_the_api_was_away_as_planned(results: dict[str, Any], service: str) -> None:
    """Every API was down while its services were stopped; it is told as planned, with its length."""
    [one] = [one for one in results["services"] if one["name"] == service]

    assert one["planned_downtime"] > 10
    assert (one["outages"], one["failed_requests"]) == (0, 0)
    told = [
        found for found in results["findings"] if (found["kind"], found["service"]) == ("downtime.planned", service)
    ]
    assert told
    assert all(found["severity"] == "warning" for found in told)


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


@pytest.mark.parametrize("service", [*SERVICES, "bulletin"])
def test_resources_were_verified_while_nothing_ran(outcomes: list[dict[str, Any]], service: str) -> None:
    """Each service's resources were looked at without any API, where there is something to look at."""
    seen = [one for one in outcomes if (one["phase"], one["service"]) == ("stopped", service)]

    assert seen or service == "placement"
    assert all(one["status"] in ("pass", "skip", "unknown") for one in seen)


@pytest.mark.parametrize("project", PROJECTS)
def test_plugins_of_grenade_ran_unchanged(
    outcomes: list[dict[str, Any]], grenade: Path | None, run_dir: Path, project: str
) -> None:
    """All phases of each passed, at the times at which Grenade has them, and nothing of them is left."""
    if grenade is None:
        pytest.skip(f"{HOME} cannot be reached, and UPGRADE_TEST_GRENADE does not name a tree")
    mine = [one for one in outcomes if (one["validator"], one["subject"]) == ("grenade_plugin", project)]
    told = [(one["check"], one["phase"], one["evidence"].get("side", "")) for one in mine if one["status"] == "pass"]

    assert [one["message"] for one in mine if one["status"] != "pass"] == []
    assert [one for one in told if one[0] != "created"] == [
        ("verified", "before", "pre-upgrade"),
        ("verified_without_api", "stopped", "pre-upgrade"),
        ("verified", "after", "post-upgrade"),
        ("removed", "after", ""),
    ]
    assert ("created", "before", "") in told
    assert not (run_dir / "grenade").exists()


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
    assert {f"database {name}" for name in ("keystone", "glance", "placement", "neutron", "nova", "nova_api")} <= {
        one["subject"] for one in taken
    }
    for one in taken:
        assert (place / one["evidence"]["file"]).stat().st_size == one["evidence"]["size"]


def test_nothing_is_left(lab: Lab, results: dict[str, Any], run_dir: Path) -> None:
    """Neither the test nor a plugin has left anything in the cloud, nor a secret in the records."""
    assert results["resources"]["left"] == []
    assert lab.admin().of_tests(f"upgrade-test-{run_dir.name}") == frozenset()
    with quiet():
        assert not [
            one.name for one in lab.admin().cloud.identity.projects() if one.name.endswith(("_grenade", "_check"))
        ]
    password = (lab.root / "secrets/admin").read_text().split()[0]
    assert not [path for path in run_dir.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
