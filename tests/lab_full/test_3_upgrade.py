# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rolling upgrade of all services, watched and judged; what the user had before, he has after."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._lab import (
    ALL_SERVICES,
    NEW,
    OLD,
    Played,
    document,
    not_good,
    records,
)
from ansible_collections.openstack.upgrade_test.tests.lab_full._full import HOSTS, KINDS, STORAGE, FullLab, User

PATTERN = b"\xa5" * 4096
STACK = {
    "heat_template_version": "2021-04-16",
    "resources": {
        "word": {"type": "OS::Heat::RandomString"},
        "disk": {"type": "OS::Cinder::Volume", "properties": {"size": 1, "volume_type": "ceph"}},
        "box": {"type": "OS::Swift::Container"},
    },
    "outputs": {"word": {"value": {"get_attr": ["word", "value"]}}},
}


@dataclass
class Owned:
    """What the user has before the upgrade."""

    user: User
    server: str = ""
    volumes: dict[str, str] = field(default_factory=dict)
    content: bytes = b""
    stack: str = ""

    def word(self) -> str:
        """What the stack gives out."""
        (output,) = self.user.cloud.orchestration.get_stack(self.stack).outputs
        return str(output["output_value"])


@pytest.fixture(scope="module")
def owned(upgradable: FullLab) -> Iterator[Owned]:
    """A server with a volume of each backend, an object, a stack."""
    found = Owned(user=upgradable.user(), content=os.urandom(200_000))
    found.stack = found.user.begin_stack("upgrade-test-of-the-lab", STACK)
    found.server = found.user.make_server("upgrade-test-of-the-lab")
    for kind in KINDS:
        found.volumes[kind] = found.user.make_volume(f"of-the-lab-{kind}", kind)
        found.user.attach(found.server, found.volumes[kind])
    found.user.put("of-the-lab", "object", found.content)
    found.user.await_stack(found.stack, "CREATE_COMPLETE")
    yield found
    for volume in found.volumes.values():
        found.user.detach(found.server, volume)
    found.user.delete(found.server, *found.volumes.values())
    found.user.cloud.orchestration.delete_stack(found.stack)


@pytest.fixture(scope="module")
def word(owned: Owned) -> str:
    """What the stack gave out before."""
    return owned.word()


@pytest.fixture(scope="module")
def run(upgradable: FullLab, owned: Owned, word: str) -> Played:
    """The upgrade, with the settings that the lab's inventory has."""
    return upgradable.play("run", {"upgrade_test_to_release": NEW, "upgrade_test_depth": "normal"}, timeout=2400)


@pytest.fixture(scope="module")
def run_dir(upgradable: FullLab, run: Played) -> Path:
    """Its records."""
    return upgradable.latest()


def processes(run_dir: Path) -> Iterator[tuple[float, str, dict[str, Any]]]:
    """Moment, host and process of every reading in which something had changed."""
    for file in (run_dir / "samples/release_version").glob("*/processes.jsonl"):
        for record in records(file):
            for one in record["processes"]:
                yield record["time"], record["host"], one


def test_run_is_whole(upgradable: FullLab, run: Played, run_dir: Path) -> None:
    """The run was closed by its end, no check failed, and the lab is at the new release."""
    assert "Traceback" not in run.text
    assert document(run_dir / "run.json")["state"] == "closed"
    assert upgradable.release == NEW
    assert not_good(run_dir) == []


def published(run_dir: Path, service: str) -> list[dict[str, Any]]:
    """The lanes that asked a service where its users do."""
    lanes = document(run_dir / "results.json")["lanes"]
    return [
        lane for lane in lanes if (lane["observer"], lane["service"], lane["via"]) == ("api_uptime", service, "public")
    ]


def outages(run_dir: Path, service: str) -> list[dict[str, Any]]:
    """What certainly lasted for more than a second."""
    lanes = published(run_dir, service)
    return [outage for lane in lanes for outage in lane["outages"] if outage["lower"] > 1.0]


@pytest.mark.parametrize("service", ALL_SERVICES)
def test_every_service_was_watched(run_dir: Path, service: str) -> None:
    """All the time, and where its users ask it."""
    here = published(run_dir, service)

    assert here
    assert min(lane["coverage"] for lane in here) >= 0.95


@pytest.mark.parametrize("service", sorted(set(ALL_SERVICES) - {"heat"}))
def test_no_service_was_away(run_dir: Path, service: str) -> None:
    """Behind the load balancer none was out for more than a second."""
    assert outages(run_dir, service) == []


def test_heat_was_away_only_without_an_engine(run_dir: Path) -> None:
    """Engines must not be mixed, and without one all threads of its API soon wait for an answer."""
    engines = [one for _moment, _host, one in processes(run_dir) if one["component"] == "heat-engine"]
    began = max(one["started"] for one in engines if one["release"] == NEW)

    for outage in outages(run_dir, "heat"):
        assert began - 60 <= outage["begin"]
        assert outage["end"] <= began + 30


@pytest.mark.parametrize("service", ALL_SERVICES)
def test_both_releases_ran_side_by_side(run_dir: Path, service: str) -> None:
    """It was a rolling upgrade: processes of both releases were seen in the middle of it."""
    assert document(run_dir / "results.json")["mixed"][service]


def test_engines_of_two_releases_never_ran_together(run_dir: Path) -> None:
    """The last engine of the old release was gone before the first one of the new release began."""
    engines = [(host, one) for _moment, host, one in processes(run_dir) if one["component"] == "heat-engine"]
    began = {one["started"] for _host, one in engines if one["release"] == NEW}
    seen_old = [
        moment
        for moment, _host, one in processes(run_dir)
        if (one["component"], one["release"]) == ("heat-engine", OLD)
    ]

    assert {host for host, one in engines if one["release"] == NEW} == {"control1", "control2"}
    assert max(seen_old) < min(began)


def test_what_the_user_had_is_there(upgradable: FullLab, owned: Owned, word: str, run: Played) -> None:
    """Volumes are attached, the object is whole on every host, the stack still knows what it gave out."""
    attached = {volume: owned.user.cloud.block_storage.get_volume(volume).status for volume in owned.volumes.values()}

    assert set(attached.values()) == {"in-use"}
    assert owned.user.get("of-the-lab", "object") == owned.content
    assert upgradable.object_copies(owned.content) == len(STORAGE)
    assert owned.word() == word


def test_an_old_stack_can_be_updated(owned: Owned, word: str, run: Played) -> None:
    """The new engines go on with what the old ones have made, and replace nothing."""
    more = {**STACK, "resources": {**STACK["resources"], "more": {"type": "OS::Heat::RandomString"}}}
    owned.user.cloud.orchestration.update_stack(owned.stack, template=more)
    owned.user.await_stack(owned.stack, "UPDATE_COMPLETE")

    assert owned.word() == word


def test_upgraded_again_changes_nothing(upgraded: FullLab, run: Played) -> None:
    """What is upgraded need not be upgraded."""
    played = upgraded.deploy("upgraded", upgrade_test_lab_release=NEW)

    assert played.rc == 0
    assert set(played.changed.values()) == {0}
    assert set(played.changed) <= HOSTS
