# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a cloud consists of, and what could not be seen of it."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Access, connect
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services import _discovery
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._discovery import LISTINGS, discover
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._small_cloud import (
    SmallCloud,
    clouds_yaml,
)

pytest.importorskip("openstack")
pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB")
AGENT = {"agent_type": "DHCP agent", "binary": "neutron-dhcp-agent", "host": "net1", "alive": False}


@pytest.fixture
def closed() -> str:
    """A URL at which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


def look(small: SmallCloud, tmp_path: Path, services: list[str] | None = None) -> dict[str, Any]:
    access = Access(cloud="small", clouds_yaml=clouds_yaml(tmp_path, f"{small.url}/v3"), api_timeout=60)
    return discover(connect(access), services, ["public"])


def test_every_endpoint_is_asked(small: SmallCloud, closed: str, tmp_path: Path) -> None:
    """Those of other interfaces and regions, too; one that nobody reaches from here says so and stops nothing."""
    small.extra = [
        ("network", "internal", "R", f"{small.url}/other"),
        ("network", "admin", "R", closed),
        ("network", "public", "S", closed),
    ]
    found = look(small, tmp_path)
    endpoints = {one["service"]: one["endpoints"] for one in found["services"]}["neutron"]

    assert found["regions"] == ["R", "S"]
    assert [(one["interface"], one["region"], one["answers"]) for one in endpoints] == [
        ("admin", "R", False),
        ("internal", "R", False),
        ("public", "R", False),
        ("public", "S", False),
    ]
    assert "got no answer" in endpoints[0]["problem"]
    # The small cloud answers, but not with versions.
    assert "not with a version document" in endpoints[2]["problem"]


def test_an_endpoint_that_swallows_requests_stops_nothing(
    small: SmallCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in a network that is not reached from here: it is given up after a short time, the others are told."""
    monkeypatch.setattr(_discovery, "PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        small.extra = [("network", "admin", "R", f"http://127.0.0.1:{silent.getsockname()[1]}")]
        began = time.monotonic()
        endpoints = {one["service"]: one["endpoints"] for one in look(small, tmp_path)["services"]}["neutron"]

    assert time.monotonic() - began < 30  # half of the patience with the endpoint that is used
    assert "timed out" in endpoints[0]["problem"].lower()


def test_versions_of_an_endpoint(small: SmallCloud, tmp_path: Path) -> None:
    """All versions with their range, and the current one beside them."""
    versions = [
        {"id": "v2.0", "status": "SUPPORTED", "min_version": "", "version": ""},
        {"id": "v2.1", "status": "CURRENT", "min_version": "2.1", "version": "2.100"},
    ]
    small.documents["GET /"] = {"versions": versions}
    nova = {one["service"]: one for one in look(small, tmp_path)["services"]}["nova"]

    assert (nova["version"], nova["min_version"], nova["max_version"]) == ("v2.1", "2.1", "2.100")
    assert [(one["id"], one["status"], one["max_version"]) for one in nova["versions"]] == [
        ("v2.0", "SUPPORTED", ""),
        ("v2.1", "CURRENT", "2.100"),
    ]
    assert [one["answers"] for one in nova["endpoints"]] == [True]


def test_what_it_consists_of(small: SmallCloud, tmp_path: Path) -> None:
    """Agents are told with whether they are alive; services that nobody here knows are named."""
    small.documents["GET /v2.0/agents"] = {"agents": [AGENT]}
    small.types["key-manager"] = "/secrets"
    found = look(small, tmp_path)

    assert found["agents"] == [
        {
            "agent_type": "DHCP agent",
            "binary": "neutron-dhcp-agent",
            "host": "net1",
            "is_alive": False,
            "is_enabled": True,
        }
    ]
    assert found["others"] == [{"type": "key-manager", "name": "key-manager"}]
    assert "agents" not in found["unseen"]


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "The user of cloud small may not list it: HTTP 403."), (503, "got HTTP 503"), (404, "got HTTP 404")],
)
def test_what_could_not_be_seen_is_not_empty(status: int, words: str, small: SmallCloud, tmp_path: Path) -> None:
    """Without the right to see agents, or while the service is down, nobody may believe that there are none."""
    small.statuses["GET /v2.0/agents"] = status
    found = look(small, tmp_path)

    assert found["agents"] is None
    assert words in found["unseen"]["agents"]
    assert found["unseen"]["volume_services"] == "cinder is not in the catalogue."
    assert set(found["unseen"]) <= set(LISTINGS)


def test_one_service_at_a_time(small: SmallCloud, tmp_path: Path) -> None:
    """What was not asked for is not looked at."""
    found = look(small, tmp_path, ["neutron"])

    assert [one["service"] for one in found["services"]] == ["neutron"]
    assert found["unseen"]["compute_services"] == "nova was not asked for."
    assert not any("os-services" in one for one in small.requests)
