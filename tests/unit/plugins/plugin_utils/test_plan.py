# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of a test: what is observed, what is made, and what that can decide."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.openstack.upgrade_test.plugins.filter.test_plan import FilterModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._checklist import RULES
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._policy import REQUIREMENTS
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._plan import NEEDS, UNMEASURED

NAMES = ("keystone", "glance", "neutron", "nova")
ALL_OBSERVERS = ("api_uptime", "service_performance", "data_plane", "release_version")


def service(name: str, **more: Any) -> dict[str, Any]:
    point = {"region": "R", "interface": "public", "url": f"http://{name}", "answers": True, "problem": ""}
    versions = {"version": "v2", "min_version": "", "max_version": ""}
    return {"service": name, **versions, "endpoints": [point], "resources": ["thing"], **more}


def cloud(**more: Any) -> dict[str, Any]:
    return {
        "cloud": "prod",
        "auth_url": "http://keystone/v3",
        "interface": "public",
        "region": "R",
        "regions": ["R"],
        "roles": ["admin", "member"],
        "services": [service(name) for name in NAMES],
        "others": [],
        "operations": [{}, {}, {}],
        "images": [{"id": "i1", "name": "cirros"}],
        "flavors": [{"id": "f1", "name": "tiny"}, {"id": "f2", "name": "large"}],
        "external_networks": [{"id": "n1", "name": "public"}],
        "unseen": {},
        **more,
    }


def targets() -> list[dict[str, Any]]:
    published = [
        {"name": f"{name} public", "service": name, "via": "public", "url": "http://v", "auth_url": "http://v/x"}
        for name in NAMES
    ]
    instances = [
        {"name": f"{name} {host}", "service": name, "via": host, "url": f"http://{host}", "connections": ["new"]}
        for name in NAMES
        for host in ("c1", "c2")
    ]
    return published + instances


def facts(deployer: str = "packages", services: tuple[str, ...] = NAMES, **more: Any) -> dict[str, Any]:
    components = [{"service": name, "component": f"{name}-api"} for name in services]
    return {"deployer": deployer, "evidence": [], "components": components, "listeners": [], **more}


def everything(**more: Any) -> dict[str, Any]:
    """All that can be given."""
    return {
        "observers": ALL_OBSERVERS,
        "targets": targets(),
        "hosts": ["c1", "c2"],
        "host_facts": {host: facts() for host in ("c1", "c2")},
        "from_release": "2025.1",
        "to_release": "2026.1",
        "baseline": 250,
        "claims": ["rolling", "zero_downtime", "zero_impact"],
        **more,
    }


def tell(info: dict[str, Any], given: dict[str, Any]) -> str:
    return "\n".join(FilterModule().filters()["test_plan"](info, given))


def claims(text: str) -> dict[str, str]:
    """Return what is said of each claim, on one line."""
    found: dict[str, str] = {}
    for line in text.partition("\nClaims\n")[2].splitlines():
        word = line[:22].strip()
        last = word or list(found)[-1]
        found[last] = f"{found.get(last, '')} {line[22:].strip()}".strip()
    return found


def test_every_requirement_has_its_needs() -> None:
    """What a run can show is either needed for, or told to be measured by nobody; nothing else is named."""
    measured = {one.id for one in REQUIREMENTS if one.kind == "measured"}

    assert measured == set(NEEDS) | set(UNMEASURED)
    assert set(UNMEASURED) <= set(RULES)


def test_with_everything_given_the_upgrade_can_be_decided() -> None:
    """What remains is what this version does not measure, and what only others can do meanwhile."""
    told = claims(tell(cloud(), everything()))

    assert told["upgrade"] == "can be decided with what is given (not asked)"
    assert told["accessible"] == "can be decided with what is given (not asked)"
    assert told["rolling"] == "can be decided with what is given"
    assert "- what this version does not measure (Z4, Z5)" in told["zero_downtime"]


@pytest.mark.parametrize(
    ("changes", "claim", "words"),
    [
        ({"hosts": []}, "upgrade", "- hosts in the inventory's group upgrade_test_hosts (U2a, U2b, U3a, U7)"),
        ({"hosts": []}, "rolling", "upgrade_test_hosts (U2a, U2b, U3a, U7, R2, R3)"),
        ({"host_facts": {}}, "rolling", "- access to the hosts of upgrade_test_hosts (U2a, U2b, U3a, U7, R2, R3)"),
        ({"from_release": ""}, "upgrade", "- upgrade_test_from_release (U7)"),
        ({"observers": ["release_version"]}, "zero_downtime", "- api_uptime among upgrade_test_observers (U1, Z2, Z3"),
        ({"observers": ["api_uptime"]}, "accessible", "- data_plane among upgrade_test_observers (C2, C3)"),
        ({"api_rate": 2}, "zero_downtime", "- upgrade_test_api_rate of 5 or more (Z2)"),
        ({"baseline": 20}, "zero_impact", "- upgrade_test_baseline of 250 s or more, at 2 requests a second (I3)"),
        ({"look_interval": 0}, "rolling", "- upgrade_test_look_interval above 0, as health and use"),
        ({"strategy": "cold"}, "rolling", "- upgrade_test_strategy rolling (R2, R3)"),
        ({"persistent_resources": False}, "upgrade", "- upgrade_test_persistent_resources (U3b, U6)"),
        ({"server_image": "cirrus"}, "accessible", "upgrade_test_server_image is cirrus, and there are cirros"),
        ({"boot_id_path": ""}, "upgrade", "- upgrade_test_boot_id_path, so that a reboot of the server shows (U6)"),
        (
            {"host_facts": {"c1": facts(), "c2": facts(services=NAMES[:3])}},
            "rolling",
            "- two processes of each service on the hosts; there are not two of nova (R2, R3)",
        ),
    ],
)
def test_what_is_missing_is_named(changes: dict[str, Any], claim: str, words: str) -> None:
    """Each thing that was not given makes its claims undecidable, and says which variable would help."""
    told = claims(tell(cloud(), everything(**changes)))[claim]

    assert told.startswith("can be contradicted, but not proven")
    assert words in told


def test_what_the_cloud_lacks_is_named() -> None:
    """No external network, no right to see the agents, an endpoint that is silent: each is told where it matters."""
    info = cloud(
        external_networks=[],
        unseen={"agents": "The user of cloud prod may not list it: HTTP 403."},
        services=[service(name, **({"version": ""} if name == "glance" else {})) for name in NAMES],
    )
    told = claims(tell(info, everything()))["accessible"]

    assert "upgrade_test_external_network is to name one; there are none" in told
    assert "- a user of the cloud who may list agents (U8)" in told
    assert "- an endpoint that answers from here, of glance (U1)" in told


def test_a_user_without_rights_is_warned() -> None:
    """Projects are made by an administrator; whoever is none learns it before he begins."""
    assert "takes an administrator" not in tell(cloud(), everything())
    assert "the roles of the user of prod: member" in " ".join(tell(cloud(roles=["member"]), everything()).split())


def test_what_nobody_may_see_is_not_called_missing() -> None:
    """Images that could not be listed may well be there."""
    told = claims(tell(cloud(images=None), everything(server_image="cirros")))

    assert told["accessible"].startswith("can be decided")


def test_the_rates_are_summed_up() -> None:
    """Four endpoints over two lanes and eight instances over one, ten times a second, and one with a token each."""
    text = tell(cloud(), everything(observer_hosts=["site1", "site2"]))

    assert "12 targets, 10 requests a second on each of 16 lanes" in text
    assert "168 requests a second in all, from site1, site2" in " ".join(text.split())
    assert "3 operations, 2 a second each" in text
    assert "pings and HTTP, 5 a second each" in text
    assert "the processes on c1, c2, every 2 s" in text


def test_without_hosts_they_are_unknown() -> None:
    """A cloud of somebody else: nothing fails for it, and nothing is said of its hosts."""
    text = tell(cloud(), everything(hosts=[], host_facts={}, targets=targets()[:4]))

    assert text.count("unknown: no host access") == 3
    assert "deployed by         unknown: no host access" in text


def test_what_is_known_of_the_cloud_is_told() -> None:
    """Other regions, services that nobody here knows, endpoints that do not answer, and the deployment tool."""
    services = [service("nova", min_version="2.1", max_version="2.100")]
    services[0]["endpoints"].append(
        {"region": "S", "interface": "admin", "url": "x", "answers": False, "problem": "GET x got no answer."}
    )
    info = cloud(services=services, regions=["R", "S"], others=[{"type": "key-manager", "name": "barbican"}])
    seen = {"c1": facts("Kolla-Ansible"), "c2": facts("Kolla-Ansible"), "c3": facts("")}
    text = " ".join(tell(info, everything(host_facts=seen)).split())

    assert "region R; not tested: S" in text
    assert "deployed by Kolla-Ansible (c1, c2); unknown (c3)" in text
    assert "nova v2, 2.1 to 2.100" in text
    assert "its admin endpoint in region S does not answer from here: GET x got no answer." in text
    assert "not known here barbican (key-manager)" in text


def test_instances_that_nobody_watches_are_named() -> None:
    """What the load balancer knows is offered as the variable that has it watched; what is watched is not."""
    servers = [{"name": host, "address": f"{host}:8774", "scheme": "http"} for host in ("c1", "c9")]
    balancer = facts(listeners=[{"name": "nova", "binds": ["*:8774"], "servers": servers, "backends": 1}])
    watched = {"name": "nova c1", "service": "nova", "via": "c1", "url": "http://c1:8774/"}
    public = {"name": "nova public", "service": "nova", "via": "public", "url": "http://v:8774/"}
    text = tell(cloud(), everything(host_facts={"lb": balancer}, targets=[public, watched]))

    assert "load balancer       lb: nova (2 servers)" in text
    assert "- {service: nova, host: c9, url: http://c9:8774}" in text
    assert "host: c1," not in text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"driver": "lab"}, "driver lab"),
        ({}, "driver none: somebody else upgrades while the observers watch"),
        ({"host_facts": {"c1": facts("Kolla-Ansible")}}, "command: [kolla-ansible, upgrade, -i, INVENTORY]"),
        ({"to_release": ""}, "releases 2025.1 to one that is not given, rolling"),
    ],
)
def test_who_upgrades_is_told(given: dict[str, Any], words: str) -> None:
    """A driver that was given, else the command that the recognised tool has for it."""
    assert words in " ".join(tell(cloud(), everything(**given)).split())


def test_lines_are_for_people() -> None:
    """They fit a terminal, and have neither quotation marks nor tabs that a callback would escape."""
    lines = tell(cloud(), everything()).splitlines()

    assert max(len(line) for line in lines) <= 110
    assert not any(sign in line for line in lines for sign in ('"', "\t", "\\"))


def test_a_wrong_name_is_one_line() -> None:
    """Whoever uses the filter in a playbook of his own is told which name it does not know."""
    with pytest.raises(AnsibleFilterError, match="unexpected keyword argument 'observer'"):
        tell(cloud(), {"observer": []})
