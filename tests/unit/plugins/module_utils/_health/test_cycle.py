# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Access, Cloud, connect
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._cycle import (
    cycle,
    nobody,
    usable,
    workshop,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import Finding, finding
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import SERVICES
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import (
    Checks,
    Kind,
    Options,
    Sample,
    SampleError,
    Workshop,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    Components,
    Probe,
    Service,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.nova import judge_reached, networks_for
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._small_cloud import (
    SmallCloud,
    clouds_yaml,
)

pytest.importorskip("openstack")
pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB")
THINGS = Kind(type="thing", path="/things", one="thing", many="things")


class CyclingSample(Sample):
    """A thing that is made, used and removed."""

    used_by: Callable[[], None] = staticmethod(lambda: None)

    def kinds(self) -> Sequence[Kind]:
        return (THINGS,)

    def cycles(self) -> Checks:
        return {"thing": self._thing}

    def _thing(self) -> Finding:
        item = self.ensure(THINGS, "cycle-thing", {})
        type(self).used_by()
        self.drop(THINGS, item)
        return finding("thing", True, "A thing was made and removed.")


@pytest.fixture
def service() -> Service:
    """A service whose sample nobody else has."""
    kind = type("OwnSample", (CyclingSample,), {})
    components = Components(wsgi={}, prefixes=("thing-",))
    return Service(
        name="thing", types=("network",), prefix="", probe=Probe(path="/"), components=components, sample=kind
    )


@pytest.fixture
def user(small: SmallCloud, tmp_path: Path) -> Cloud:
    return connect(Access(cloud="small", clouds_yaml=clouds_yaml(tmp_path, f"{small.url}/v3"), api_timeout=5))


def breaks(service: Service, problem: Exception) -> None:
    """Let the thing not be of use."""

    def use() -> None:
        raise problem

    assert service.sample is not None
    service.sample.used_by = staticmethod(use)  # type: ignore[attr-defined]


def test_a_cycle_leaves_nothing(small: SmallCloud, user: Cloud, service: Service, tmp_path: Path) -> None:
    """What the ordinary user makes he removes; the outcome is one of the health, and the journal knows of it."""
    run = RunDirectory.create(tmp_path / "runs")
    with workshop(user, run, Options(), "after") as shop:
        (outcome,) = cycle(shop, [service])

    assert (outcome.validator, outcome.check, outcome.status) == ("system_health", "cycle_thing", Status.PASS)
    assert outcome.phase == "after"
    assert small.collections["things"] == {}
    assert [one["event"] for one in run.read("resources.jsonl")] == ["intent", "created", "deleted"]


def test_a_cycle_that_fails_is_cleared(small: SmallCloud, user: Cloud, service: Service, tmp_path: Path) -> None:
    """The cloud's fault fails, and what was made goes all the same; the next cycle begins anew."""
    run = RunDirectory.create(tmp_path / "runs")
    breaks(service, SampleError("Server s went into ERROR: no valid host."))
    with workshop(user, run, Options(), "") as shop:
        (failed,) = cycle(shop, [service])
    breaks(service, KeyError("a bug"))
    with workshop(user, run, Options(), "") as shop:
        (broken,) = cycle(shop, [service])

    assert (failed.status, "went into ERROR" in failed.message) == (Status.FAIL, True)
    assert (broken.status, "KeyError" in broken.message) == (Status.ERROR, True)
    assert small.collections["things"] == {}


def test_what_an_earlier_cycle_left_is_cleared_first(
    small: SmallCloud, user: Cloud, service: Service, tmp_path: Path
) -> None:
    """A cycle that was cut short does not spoil the next one."""
    run = RunDirectory.create(tmp_path / "runs")
    with workshop(user, run, Options(), "") as shop:
        assert service.sample is not None
        old = service.sample(service, shop).ensure(THINGS, "cycle-thing", {})
        assert list(small.collections["things"]) == [old.id]
        (outcome,) = cycle(shop, [service])

    assert outcome.status is Status.PASS
    assert small.collections["things"] == {}


def test_without_a_run_nothing_stays_behind(user: Cloud, service: Service) -> None:
    """The place to work in goes with its journal."""
    with workshop(user, None, Options(), "") as shop:
        assert [one.status for one in cycle(shop, [service])] == [Status.PASS]
        folder = shop.journal.run.path
        assert folder.exists()

    assert not folder.exists()


def test_a_service_without_an_endpoint_for_the_user_fails(user: Cloud, service: Service) -> None:
    """It fails for itself; the others go on."""
    absent = replace(service, name="absent", types=("nothing-such",))
    with workshop(user, None, Options(), "") as shop:
        found = {one.service: one.status for one in cycle(shop, [absent, service])}

    assert found == {"absent": Status.FAIL, "thing": Status.PASS}


def test_without_a_user_nothing_is_known() -> None:
    """Each service that a user could have tried is unknown, and how to name one is said."""
    outcomes = nobody(SERVICES, "before")

    assert {one.status for one in outcomes} == {Status.UNKNOWN}
    assert {one.service for one in outcomes} == {service.name for service in SERVICES if service.sample}
    assert all("user_cloud" in one.message for one in outcomes)


def test_every_sample_has_a_cycle(user: Cloud, tmp_path: Path) -> None:
    """No service is forgotten, and going deep adds to it."""
    with workshop(user, RunDirectory.create(tmp_path / "runs"), Options(), "") as shop:
        deep = replace(shop, computes={"zone": ["host"]})
        names = {service.name: _cycles(service, shop) for service in SERVICES if service.sample}
        more = {service.name: _cycles(service, deep) for service in SERVICES if service.sample}

    assert all(names.values())
    assert {name for name in names if more[name] != names[name]} == {"nova", "cinder"}


def _cycles(service: Service, shop: Workshop) -> list[str]:
    """Return the names of a service's cycles; its API need not be there."""
    kind = service.sample
    assert kind is not None
    sample = kind.__new__(kind)
    sample.service, sample.shop = service, shop
    return sorted(sample.cycles())


def test_each_host_has_to_be_reached() -> None:
    """A server that failed is a failure, with the host that has none; where none was sent, nothing is known."""
    hosts = {"compute1", "compute2"}
    both, one = {"compute1": "a", "compute2": "b"}, {"compute1": "a"}
    failed = judge_reached(hosts, one, ["Server s went into ERROR: PortBindingFailed"])

    assert judge_reached(hosts, both, []).status is Status.PASS
    assert (failed.status, "compute2" in failed.message) == (Status.FAIL, True)
    assert judge_reached(hosts, one, []).status is Status.UNKNOWN


def test_a_host_without_a_place_is_unknown() -> None:
    """It may be kept for other flavors, or be full; a server that failed on a host is told in other words."""
    no_place = "Server s went into ERROR: No valid host was found. There are not enough hosts available."
    exhausted = "Server s went into ERROR: Exceeded maximum number of retries. Exhausted all hosts available."

    assert judge_reached({"a", "b"}, {"a": "1"}, [no_place]).status is Status.UNKNOWN
    assert judge_reached({"a", "b"}, {"a": "1"}, [no_place, exhausted]).status is Status.FAIL


def test_a_host_that_no_agent_serves_gets_a_server_without_a_network() -> None:
    """Its port could not be bound anywhere; where the network needs no agents, or one has died, it has to be."""
    given = [{"uuid": "n"}]

    assert networks_for(["compute2"], {"compute1.example.org", "network1"}, "n") == "none"
    assert networks_for(["compute1", "compute2"], {"compute1.example.org"}, "n") == given
    assert networks_for(["compute2"], set(), "n") == given


def test_only_hosts_that_take_servers_are_asked_for() -> None:
    """A dead compute and one that an operator switched off get no server, and are told of elsewhere."""
    hosts = {
        "a": {"nova-compute": {"available": True, "active": True}},
        "b": {"nova-compute": {"available": False, "active": True}},
        "c": {"nova-compute": {"available": True, "active": False}},
        "control1": {"nova-conductor": {"available": True, "active": True}},
    }

    assert usable(hosts) == ["a"]
