# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a cloud is listed. The answers are canned; tests/lab takes the fingerprint of a real one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    Answer,
    BrokenError,
    CloudError,
    MissingError,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._kinds import (
    KINDS,
    NAMES,
    assignments,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._model import Fingerprint
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._take import (
    chosen,
    next_page,
    take,
)

TYPES = ("identity", "compute", "network", "object-store", "placement")


class Cloud:
    """A cloud that answers each path with what the test gives: a body, headers, or an error."""

    interface = "public"
    project_id = "own"

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers, self.asked = answers, list[str]()

    def endpoints(self, types: tuple[str, ...]) -> dict[str, str]:
        return {"public": "http://here"} if types[0] in TYPES else {}

    def api(self, *_where: Any) -> Any:
        return self

    def request(self, _method: str, path: str, *, params: Any = None, **_more: Any) -> Answer:
        self.asked.append(path)
        found = self.answers.get(path, MissingError("not there", 404))
        if isinstance(found, list):  # pages, of which the marker tells the number
            found = found[int((params or {}).get("marker", 0))]
        if isinstance(found, Exception):
            raise found
        told = found if path.startswith("/AUTH_") else {}
        return Answer(200, told, b"", lambda: found)


def look(answers: Mapping[str, Any], *kinds: str) -> Fingerprint:
    return take(Cloud(answers), chosen(kinds, None))  # type: ignore[arg-type]


def test_only_the_named_fields_are_kept() -> None:
    """A heartbeat or a new field of a newer release does not become part of a fingerprint."""
    agent = {"id": "1", "binary": "a", "alive": True, "host": "h", "heartbeat_timestamp": "now", "new": 1}
    [thing] = look({"/agents": {"agents": [agent]}}, "agents").parts["agents"].things.values()

    assert thing.name == "a"
    assert set(thing.fields) == {"agent_type", "binary", "host", "alive", "admin_state_up", "availability_zone"}


def test_all_pages_are_read() -> None:
    """A list goes on until there is no next page, whatever address the service thinks it has."""
    link = {"rel": "next", "href": "http://inside:1/v2.1/servers/detail?all_tenants=1&marker=1"}
    pages = [{"servers": [{"id": "a"}], "servers_links": [link]}, {"servers": [{"id": "b"}]}]

    assert set(look({"/servers/detail": pages}, "servers").parts["servers"].things) == {"a", "b"}


@pytest.mark.parametrize(
    ("body", "query"),
    [
        ({"images": [], "next": "/v2/images?limit=200&marker=7"}, {"limit": "200", "marker": "7"}),
        ({"stacks": [], "links": [{"rel": "next", "href": "http://h/x?marker=7"}]}, {"marker": "7"}),
        ({"users": [], "links": {"next": None, "self": "http://h/v3/users"}}, {}),
        ({"servers": [], "servers_links": [{"rel": "previous", "href": "x?a=b"}]}, {}),
    ],
)
def test_next_pages(body: dict[str, Any], query: dict[str, str]) -> None:
    """Each service's way to name the next page is understood, and its absence ends the list."""
    assert next_page(body, next(iter(body))) == query


def test_what_fails_is_not_seen_and_the_rest_is() -> None:
    """A service that answers with an error leaves its kind unseen, with the reason, and nothing else."""
    answers = {"/flavors/detail": BrokenError("HTTP 500.", 500), "/os-aggregates": {"aggregates": []}}
    parts = look(answers, "flavors", "aggregates").parts

    assert parts["flavors"].trouble == "HTTP 500."
    assert (parts["aggregates"].trouble, parts["aggregates"].things) == ("", {})


def test_an_answer_of_another_form_is_not_seen() -> None:
    """A body without the list is trouble of this kind only, and says what was wrong."""
    assert "not understood" in look({"/flavors/detail": {}}, "flavors").parts["flavors"].trouble


def test_a_missing_extension_is_absent() -> None:
    """404 for a whole list means that the cloud has no such thing, which is no trouble."""
    part = look({}, "trunks").parts["trunks"]

    assert (part.absent, part.trouble) == (True, "")


def test_a_service_that_the_catalogue_lacks_has_no_part() -> None:
    """A cloud without cinder has no volumes to look at."""
    assert "volumes" not in look({}, "volumes").parts


def test_what_is_listed_by_another_kind() -> None:
    """Quotas are asked project by project, and named after both."""
    answers = {
        "/projects": {"projects": [{"id": "p1", "name": "one"}, {"id": "p2", "name": "two"}]},
        "/os-quota-sets/p1/detail": {"quota_set": {"id": "p1", "cores": {"limit": 20, "in_use": 3, "reserved": 0}}},
        "/os-quota-sets/p2/detail": {"quota_set": {"id": "p2", "cores": {"limit": 10, "in_use": 0, "reserved": 0}}},
    }
    part = look(answers, "compute_quotas").parts["compute_quotas"]

    assert {id_: (one.name, dict(one.fields)) for id_, one in part.things.items()} == {
        "p1/cores": ("one cores", {"limit": 20, "used": 3}),
        "p2/cores": ("two cores", {"limit": 10, "used": 0}),
    }


def test_one_that_fails_leaves_all_of_its_kind_unseen() -> None:
    """When one project's quota cannot be read, it is not known what is missing."""
    answers = {
        "/projects": {"projects": [{"id": "p1", "name": "one"}, {"id": "p2", "name": "two"}]},
        "/os-quota-sets/p1/detail": {"quota_set": {}},
        "/os-quota-sets/p2/detail": BrokenError("HTTP 503.", 503),
    }

    assert look(answers, "compute_quotas").parts["compute_quotas"].trouble == "HTTP 503."


def test_agents_are_asked_for_what_they_serve() -> None:
    """Only L3 agents are asked for routers."""
    agents = [
        {"id": "1", "binary": "l3", "agent_type": "L3 agent"},
        {"id": "2", "binary": "dhcp", "agent_type": "DHCP agent"},
    ]
    cloud = Cloud({"/agents": {"agents": agents}, "/agents/1/l3-routers": {"routers": [{"id": "r", "name": "x"}]}})
    part = take(cloud, chosen(["routers_of_agents"], None)).parts["routers_of_agents"]  # type: ignore[arg-type]

    assert set(part.things) == {"1/r"}
    assert "/agents/2/l3-routers" not in cloud.asked


def test_a_write_of_the_same_allocation_is_no_difference() -> None:
    """What a server holds is compared, and not how often that was written."""

    def held(generation: int) -> Fingerprint:
        one = {"resources": {"VCPU": 1}, "consumer_generation": generation}
        return look(
            {
                "/resource_providers": {"resource_providers": [{"uuid": "p", "name": "compute1"}]},
                "/resource_providers/p/allocations": {"allocations": {"s": one}},
            },
            "allocations",
        )

    assert held(1).parts == held(2).parts
    [thing] = held(1).parts["allocations"].things.items()
    assert (thing[0], dict(thing[1].fields)) == ("p/s", {"resources": {"VCPU": 1}})


def test_accounts_are_read_from_headers() -> None:
    """Swift tells in headers what an account has."""
    answers = {
        "/projects": {"projects": [{"id": "p", "name": "one"}]},
        "/AUTH_p": {"x-account-object-count": "7", "date": "now"},
    }
    part = look(answers, "accounts").parts["accounts"]

    assert {id_: dict(one.fields) for id_, one in part.things.items()} == {"p/objects": {"value": "7"}}


def test_role_assignments_are_known_by_what_they_say() -> None:
    """An assignment that is removed is gone by its words; the same user in another project is another one."""
    body = {
        "role_assignments": [
            {"role": {"id": "r"}, "user": {"id": "u"}, "scope": {"project": {"id": "p"}}},
            {"role": {"id": "r"}, "group": {"id": "g"}, "scope": {"system": {"all": True}}},
            {
                "role": {"id": "r"},
                "user": {"id": "u"},
                "scope": {"domain": {"id": "d"}, "OS-INHERIT:inherited_to": "projects"},
            },
        ]
    }

    assert [one["id"] for one in assignments(body)] == [
        "role r of user u in project p",
        "role r of group g in system all",
        "role r of user u in domain d, inherited",
    ]


def test_kinds_are_chosen_by_name_and_service() -> None:
    """Unknown kinds are refused with those that are known; keystone is always looked at with a service."""
    with pytest.raises(CloudError, match=r"kinds: 'server' is not known; known are .*servers"):
        chosen(["server"], None)
    assert {kind.service for kind in chosen(None, ["nova"])} == {"nova", "keystone"}
    assert len(NAMES) == len(set(NAMES)) == len(KINDS)


def test_every_parent_is_a_kind_of_its_own() -> None:
    """What a kind is listed by is known."""
    assert {kind.of for kind in KINDS if kind.of} <= set(NAMES)
