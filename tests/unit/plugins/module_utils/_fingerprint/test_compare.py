# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._compare import (
    ADDED,
    CHANGED,
    REMOVED,
    Allowance,
    Comparison,
    compare,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._kinds import KINDS
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._model import (
    Fingerprint,
    Part,
    Thing,
    canonical,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._tell import (
    MOST,
    told_of_comparison,
    told_of_look,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from hypothesis import given
from hypothesis import strategies as st


def part(things: dict[str, dict[str, Any]] | None = None, **more: Any) -> Part:
    named = {id_: Thing(name=f"name of {id_}", fields=fields) for id_, fields in (things or {}).items()}
    return Part(service="nova", one="server", things=named, **more)


def taken(**parts: Part) -> Fingerprint:
    return Fingerprint(taken=1.0, parts=parts)


def servers(before: Part, after: Part, *rules: Allowance) -> Comparison:
    [found] = compare(taken(servers=before), taken(servers=after), rules)
    return found


SAME = part({"a": {"host": "h1", "status": "ACTIVE"}, "b": {"host": "h2", "status": "ACTIVE"}})


def test_nothing_changed() -> None:
    """Equal fingerprints have nothing apart, and it is said how many things were compared."""
    found = servers(SAME, SAME)

    assert (found.count, found.apart, found.unknown) == (2, (), "")


@pytest.mark.parametrize(("kind", "apart"), [("network_quotas", 0), ("servers", 1)])
def test_a_new_release_may_count_more(kind: str, apart: int) -> None:
    """A limit that no release had before is no change of what was; anything else that was not there is."""
    more = part({**{id_: dict(thing.fields) for id_, thing in SAME.things.items()}, "p/router_route": {"limit": 30}})
    [found] = compare(taken(**{kind: SAME}), taken(**{kind: more}))

    assert len(found.apart) == apart
    assert len(found.allowed) == 1 - apart


@pytest.mark.parametrize("limit", [None, 5])
def test_a_limit_that_changed_or_is_gone_is_told(limit: int | None) -> None:
    """Whatever a new release counts more, what users were allowed is as it was."""
    before = part({"p/networks": {"limit": 100}})
    after = part({"p/networks": {"limit": limit}} if limit else {})
    [found] = compare(taken(network_quotas=before), taken(network_quotas=after))

    assert len(found.apart) == 1


@pytest.mark.parametrize(
    ("after", "change", "sentence"),
    [
        (
            {"a": {"host": "h1", "status": "ACTIVE"}},
            REMOVED,
            "The server name of b (b) is gone.",
        ),
        (
            {"a": {"host": "h1", "status": "ACTIVE"}, "b": {"host": "h2", "status": "ACTIVE"}, "c": {}},
            ADDED,
            "The server name of c (c) was not there before.",
        ),
        (
            {"a": {"host": "h1", "status": "ACTIVE"}, "b": {"host": "h1", "status": "SHUTOFF"}},
            CHANGED,
            "The server name of b (b) changed: host was 'h2' and is 'h1'; status was 'ACTIVE' and is 'SHUTOFF'.",
        ),
    ],
)
def test_each_change_is_caught(after: dict[str, dict[str, Any]], change: str, sentence: str) -> None:
    """What was removed, added or changed is named with its id, and with both values."""
    [one] = servers(SAME, part(after)).apart

    assert (one.change, one.sentence) == (change, sentence)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_field_of_every_kind_counts(kind: Any) -> None:
    """There is no field in a fingerprint whose change would not be told."""
    old = Part(service=kind.service, one=kind.one, things={"x": Thing(name="x", fields=dict.fromkeys(kind.fields, 1))})
    for name in kind.fields:
        fields = {**dict.fromkeys(kind.fields, 1), name: 2}
        new = Part(service=kind.service, one=kind.one, things={"x": Thing(name="x", fields=fields)})
        [found] = compare(taken(**{kind.name: old}), taken(**{kind.name: new}))

        assert [dict(one.fields) for one in found.apart] == [{name: (1, 2)}]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (part(trouble="HTTP 503"), SAME, "The servers could not be seen before: HTTP 503"),
        (SAME, part(trouble="HTTP 503"), "The servers could not be seen: HTTP 503"),
    ],
)
def test_what_was_not_seen_is_unknown(before: Part, after: Part, words: str) -> None:
    """A kind that could not be listed at either time is unknown, and nothing of it counts as lost or kept."""
    found = servers(before, after)

    assert (found.unknown, found.apart) == (words, ())


def test_a_kind_that_only_one_has_is_unknown() -> None:
    """A service that has gone from the catalogue, or that was not looked at, is not taken as empty."""
    [gone] = compare(taken(servers=SAME), taken())
    [new] = compare(taken(), taken(servers=SAME))

    assert gone.unknown == "The servers were looked at before and are not now: the catalogue has lost nova."
    assert new.unknown.startswith("The servers were not looked at before")


def test_an_extension_that_is_gone_takes_its_things_along() -> None:
    """An API that answers 404 for what it had before has lost all of it."""
    found = servers(SAME, part(absent=True))

    assert [one.change for one in found.apart] == [REMOVED, REMOVED]
    assert not found.absent


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        (Allowance(kind="servers", change=CHANGED, field="host"), True),
        (Allowance(kind="serv*", field="h*"), True),
        (Allowance(name="name of b"), True),
        (Allowance(id="b"), True),
        (Allowance(kind="ports"), False),
        (Allowance(change=REMOVED), False),
        (Allowance(field="status"), False),
        (Allowance(name="name of a"), False),
    ],
)
def test_allowed_changes(rule: Allowance, allowed: bool) -> None:
    """A change is allowed when all parts of one rule fit it, and is told apart from those that are not."""
    moved = part({"a": {"host": "h1", "status": "ACTIVE"}, "b": {"host": "h9", "status": "ACTIVE"}})
    found = servers(SAME, moved, rule)

    assert (len(found.allowed), len(found.apart)) == ((1, 0) if allowed else (0, 1))


def test_every_field_that_changed_has_to_be_allowed() -> None:
    """A rule for one field does not let another one pass with it; two rules may do it together."""
    after = part({"a": {"host": "h1", "status": "ACTIVE"}, "b": {"host": "h1", "status": "SHUTOFF"}})
    host, status = Allowance(field="host"), Allowance(field="status")

    assert len(servers(SAME, after, host).apart) == 1
    assert servers(SAME, after, host, status).apart == ()


def test_fields_that_only_one_of_them_has_are_not_compared() -> None:
    """A fingerprint of an older version of the collection does not make a difference of every new field."""
    assert servers(part({"a": {"host": "h1"}}), part({"a": {"host": "h1", "tags": []}})).apart == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, st.randoms())
def test_the_order_in_which_a_service_lists_is_no_difference(value: Any, random: Any) -> None:
    """Lists in another order and dictionaries in another order have the same canonical form, which is stable."""

    def shuffled(one: Any) -> Any:
        if isinstance(one, dict):
            pairs = [(key, shuffled(item)) for key, item in one.items()]
            random.shuffle(pairs)
            return dict(pairs)
        if isinstance(one, list):
            items = [shuffled(item) for item in one]
            random.shuffle(items)
            return items
        return one

    assert canonical(shuffled(value)) == canonical(value)
    assert canonical(canonical(value)) == canonical(value)


def test_the_form_in_a_file_loses_nothing() -> None:
    """A fingerprint read back from its document is the one that was written."""
    one = taken(servers=SAME, ports=part(trouble="x"), trunks=part(absent=True))

    assert Fingerprint.from_document(one.as_document()) == one


def told(before: Part, after: Part, *rules: Allowance) -> list[tuple[str, Status, str]]:
    found = compare(taken(servers=before), taken(servers=after), rules)
    return [(one.check, one.status, one.subject) for one in told_of_comparison(found, "after", 1.0)]


def test_outcomes() -> None:
    """What is as it was passes once; each thing that is not fails by itself; unseen is unknown, absent is skipped."""
    assert told(SAME, SAME) == [("servers_kept", Status.PASS, "servers")]
    assert told(SAME, part({})) == [
        ("servers_kept", Status.FAIL, "server name of a"),
        ("servers_kept", Status.FAIL, "server name of b"),
    ]
    assert told(SAME, part(trouble="x")) == [("servers_kept", Status.UNKNOWN, "servers")]
    assert told(part(absent=True), part(absent=True)) == [("servers_kept", Status.SKIP, "servers")]
    assert told(SAME, part({}), Allowance(change=REMOVED)) == [("servers_kept", Status.PASS, "servers")]


def test_a_great_loss_is_summed_up() -> None:
    """Only so many are told one by one; the rest is counted, and still fails."""
    many = part({f"{number:03}": {} for number in range(MOST + 5)})
    outcomes = told(many, part({}))

    assert len(outcomes) == MOST + 1
    assert outcomes[-1] == ("servers_kept", Status.FAIL, "servers")


def test_what_was_seen_is_told() -> None:
    """Without anything to compare with, each service says what was seen, and is unknown when something was not."""
    [good] = told_of_look(taken(servers=SAME, trunks=part(absent=True)), "before")
    [blind] = told_of_look(taken(servers=SAME, flavors=part(trouble="HTTP 500.")), "before")

    assert (good.status, good.message) == (Status.PASS, "Of nova were seen: 2 servers.")
    assert blind.status is Status.UNKNOWN
    assert blind.message == "Of nova were seen: 2 servers. Not seen were the flavors: HTTP 500."
