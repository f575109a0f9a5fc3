# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    Access,
    CloudError,
    RefusedError,
    connect,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services import _phases, _sample
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import differences
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._journal import Journal, still_there
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._phases import levels, locked_out, work
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import SERVICES, samples
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import (
    Checks,
    Kind,
    Options,
    Sample,
    Workshop,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    Components,
    Probe,
    Service,
    current_version,
)
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._small_cloud import (
    SmallCloud,
    clouds_yaml,
)

pytest.importorskip("openstack")
pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB")

THINGS = Kind(type="thing", path="/things", one="thing", many="things")


def thing_facts(thing: Mapping[str, Any]) -> dict[str, Any]:
    return {key: thing.get(key) for key in ("id", "name", "colour")}


class ThingSample(Sample):
    """One thing."""

    def kinds(self) -> Sequence[Kind]:
        return (THINGS,)

    def create(self) -> None:
        self.keep(THINGS, "thing", {"colour": "red", "tags": [self.shop.owner.tag]}, thing_facts)

    def checks(self) -> Checks:
        return {
            "thing_unchanged": lambda: self.same(THINGS, "thing", thing_facts),
            "things_listed": lambda: self.listed((THINGS, self.api)),
            "usage_in_step": self.usage_in_step,
        }

    def used(self) -> dict[str, int]:
        quota = self.api.get("/quota")["quota"]
        return {"things": quota[0]["things"] if quota else self.counted()["things"]}

    def counted(self) -> dict[str, int]:
        return {"things": len(THINGS.all(self.api))}


THING = Service(
    name="thing",
    types=("network",),
    prefix="",
    probe=Probe(path="/"),
    components=Components(wsgi={}, prefixes=("thing-",)),
    sample=ThingSample,
)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "runs")


class Bench:
    """Does one thing after the other with the sample, each time as a new module would."""

    def __init__(self, small: SmallCloud, run: RunDirectory, folder: Path) -> None:
        self.small, self.run = small, run
        self.access = Access(cloud="small", clouds_yaml=clouds_yaml(folder, f"{small.url}/v3"), api_timeout=5)
        self.reconnect()

    def reconnect(self) -> None:
        self.cloud = connect(self.access)

    def shop(self) -> Workshop:
        return Workshop(cloud=self.cloud, journal=Journal(self.run), options=Options())

    def __call__(self, state: str) -> Workshop:
        shop = self.shop()
        work(shop, [THING], state)
        return shop

    @property
    def things(self) -> dict[str, dict[str, Any]]:
        return self.small.collections.setdefault("things", {})

    def events(self) -> list[str]:
        return [record["event"] for record in self.run.read("resources.jsonl")]


@pytest.fixture
def bench(small: SmallCloud, run: RunDirectory, tmp_path: Path) -> Bench:
    return Bench(small, run, tmp_path)


def statuses(shop: Workshop) -> list[Status]:
    return [outcome.status for outcome in shop.outcomes]


def test_what_was_made_verifies(bench: Bench) -> None:
    """What nobody touched is unchanged."""
    assert bench("present").changed is True
    assert set(statuses(bench("verified"))) == {Status.PASS}


def test_making_twice_makes_once(bench: Bench) -> None:
    """A second time changes nothing."""
    bench("present")

    assert bench("present").changed is False
    assert len(bench.things) == 1


def test_intent_is_journaled_before_the_create(bench: Bench) -> None:
    """When the create fails, the journal knows what may be there."""
    bench.small.statuses["POST /things"] = 503

    assert statuses(bench("present")) == [Status.FAIL]
    assert bench.events() == ["intent"]


def test_every_name_begins_with_the_run(bench: Bench, run: RunDirectory) -> None:
    """What was made can be found by its name alone."""
    bench("present")

    assert [thing["name"] for thing in bench.things.values()] == [f"upgrade-test-{run.run_id}-thing"]


def test_a_crash_after_the_create_makes_no_second_one(bench: Bench, run: RunDirectory) -> None:
    """What was made just before a crash is found by its name, although the journal has no id of it."""
    bench("present")
    journal = run.path / "resources.jsonl"
    journal.write_text(journal.read_text().splitlines()[0] + "\n")

    bench("present")

    assert len(bench.things) == 1
    assert set(statuses(bench("verified"))) == {Status.PASS}


def test_no_answer_to_a_create_makes_no_second_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made although its answer was lost is found by its name."""
    monkeypatch.setattr(_sample, "PATIENCE", 1)
    bench.small.swallow.add("POST /things")

    assert statuses(bench("present")) == [Status.PASS]
    assert len(bench.things) == 1


def test_a_change_fails_and_names_both_values(bench: Bench) -> None:
    """A field that differs is told with what it was and what it is."""
    bench("present")
    next(iter(bench.things.values()))["colour"] = "blue"
    outcome = bench("verified").outcomes[0]

    assert outcome.status is Status.FAIL
    assert "colour was 'red' and is 'blue'" in outcome.message


def test_a_deletion_behind_our_back_fails_and_names_it(bench: Bench, run: RunDirectory) -> None:
    """What is gone fails, by name, each time it is looked at."""
    bench("present")
    bench.things.clear()
    first, second = bench("verified").outcomes[0], bench("verified").outcomes[0]

    assert (first.status, second.status) == (Status.FAIL, Status.FAIL)
    assert f"upgrade-test-{run.run_id}-thing" in first.message
    assert "no longer exists" in first.message


def test_verifying_what_was_never_made_does_not_pass(bench: Bench) -> None:
    """An empty journal is no proof of anything."""
    assert bench("verified").outcomes[0].status is Status.FAIL


def test_removing_twice_changes_once(bench: Bench) -> None:
    """After the first removal nothing is left, and the second finds nothing to do."""
    bench("present")

    assert [bench("absent").changed, bench("absent").changed] == [True, False]
    assert bench.things == {}


def test_removal_finds_by_name_without_a_journal(bench: Bench, run: RunDirectory) -> None:
    """A lost journal loses nothing; what belongs to others stays."""
    bench("present")
    bench.things["other"] = {"id": "other", "name": "upgrade-test-20260101T000000Z-0000-thing"}
    (run.path / "resources.jsonl").unlink()

    assert bench("absent").changed is True
    assert list(bench.things) == ["other"]


def test_removal_finds_by_journal_what_was_renamed(bench: Bench) -> None:
    """A renamed resource is removed too."""
    bench("present")
    next(iter(bench.things.values()))["name"] = "renamed"

    bench("absent")

    assert bench.things == {}


def test_removal_finds_by_tag_what_was_renamed(bench: Bench, run: RunDirectory) -> None:
    """Without journal and name there still is the tag."""
    bench("present")
    next(iter(bench.things.values()))["name"] = "renamed"
    (run.path / "resources.jsonl").unlink()

    bench("absent")

    assert bench.things == {}


def test_a_project_of_the_test_is_emptied(bench: Bench) -> None:
    """In a project that was made for the run, all is the run's, whatever it is called."""
    bench.things["other"] = {"id": "other", "name": "something"}
    bench.small.project_name = "upgrade-test-20261120T091300Z-7f3a"
    bench.reconnect()

    assert bench("absent").removed == ["something"]
    assert bench.things == {}


def test_what_nobody_made_is_on_no_list(bench: Bench, run: RunDirectory) -> None:
    """A list with one that was never made is as wrong as one that lacks one."""
    bench("present")
    bench.things["twin"] = {"id": "twin", "name": f"upgrade-test-{run.run_id}-twin"}
    (outcome,) = [one for one in bench("verified").outcomes if one.check == "things_listed"]

    assert outcome.status is Status.FAIL
    assert "never made: upgrade-test-" in outcome.message


def test_usage_out_of_step_is_found(bench: Bench) -> None:
    """A quota that counts more than there is fails, with both numbers."""
    bench("present")
    bench.small.collections["quota"] = {"usage": {"id": "usage", "things": 2}}
    (outcome,) = [one for one in bench("verified").outcomes if one.check == "usage_in_step"]

    assert outcome.status is Status.FAIL
    assert "things: 1 there, 2 counted" in outcome.message


def test_the_usage_of_others_is_theirs(bench: Bench) -> None:
    """In a project that others use too, what they have made meanwhile is no leak."""
    bench("present")
    bench.things["other"] = {"id": "other", "name": "something"}

    assert bench("absent").outcomes == []


def test_what_is_left_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its service still lists after all was deleted is a leak, with its id."""
    monkeypatch.setattr(_phases, "PATIENCE", 0)
    monkeypatch.setattr(ThingSample, "remove", lambda _self: None)
    bench("present")
    (id_,) = bench.things
    (outcome,) = bench("absent").outcomes

    assert (outcome.check, outcome.status) == ("removed", Status.FAIL)
    assert id_ in outcome.message


def test_usage_that_is_not_given_back_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the removal the quotas have to be where they were at the beginning."""
    monkeypatch.setattr(_phases, "PATIENCE", 0)
    bench.small.project_name = "upgrade-test-20261120T091300Z-7f3a"
    bench.reconnect()
    bench("present")
    bench.small.collections["quota"] = {"usage": {"id": "usage", "things": 1}}
    (outcome,) = bench("absent").outcomes

    assert (outcome.check, outcome.status) == ("usage_returned", Status.FAIL)
    assert "things was 0 and is 1" in outcome.message


def test_a_check_that_breaks_hides_no_other(bench: Bench) -> None:
    """What one check cannot look at fails it, and the others are made all the same."""
    bench("present")
    bench.small.statuses["GET /quota"] = 500
    found = {one.check: one.status for one in bench("verified").outcomes}

    assert found.pop("usage_in_step") is Status.FAIL
    assert set(found.values()) == {Status.PASS}


@pytest.mark.parametrize(
    ("answer", "expected"), [(401, Status.PASS), (404, Status.FAIL), (500, Status.FAIL), (None, Status.FAIL)]
)
def test_a_refusal_is_one_refusal(bench: Bench, answer: int | None, expected: Status) -> None:
    """Only the refusal that is due is good: neither an answer, nor another refusal, nor a service that fails."""
    if answer:
        bench.small.statuses["GET /secret"] = answer
    found = ThingSample(THING, bench.shop()).anonymous_refused("/secret")

    assert found.status is expected


def test_without_a_stranger_nobody_can_say(bench: Bench) -> None:
    """Whether strangers are kept out is unknown without one, and never good."""
    assert ThingSample(THING, bench.shop()).stranger_refused("/things").status is Status.UNKNOWN


def test_a_user_who_is_locked_out_is_keystones_failure(bench: Bench) -> None:
    """When the user is refused himself, keystone fails, and of the others nothing is known."""
    outcomes = locked_out(SERVICES, RefusedError("refused", 401), "after")

    assert {one.service: one.status for one in outcomes if one.service in ("keystone", "nova")} == {
        "keystone": Status.FAIL,
        "nova": Status.UNKNOWN,
    }


def test_what_cannot_be_removed_is_named(bench: Bench) -> None:
    """A deletion that is refused fails, names the resource, and is tried again the next time."""
    bench("present")
    (id_,) = bench.things
    bench.small.statuses[f"DELETE /things/{id_}"] = 409
    (outcome,) = bench("absent").outcomes
    bench.small.statuses.clear()

    assert outcome.status is Status.FAIL
    assert id_ in outcome.message
    assert bench("absent").removed == [bench.run.read("resources.jsonl")[0]["name"]]


def test_still_there_keeps_the_newest_facts() -> None:
    """The journal's last word on a resource counts, and what was deleted is not in it."""
    base = {"service": "s", "type": "t"}
    items = still_there(
        [
            {**base, "event": "intent", "name": "a"},
            {**base, "event": "created", "name": "a", "id": "1"},
            {**base, "event": "created", "name": "a", "id": "1", "facts": {"x": 1}},
            {**base, "event": "lost", "name": "a", "id": "1"},
            {**base, "event": "created", "name": "b", "id": "2"},
            {**base, "event": "deleted", "name": "b", "id": "2"},
        ]
    )

    assert [(item.name, item.id, item.facts) for item in items] == [("a", "1", {"x": 1})]


def test_differences_forgive_new_fields_only() -> None:
    """A field that a newer release adds is no change; one that is missing now is."""
    assert differences({"a": 1, "b": 2}, {"a": 1, "c": 3}) == {"b": (2, None)}


def test_levels_put_a_server_after_its_network() -> None:
    """What is needed is made first and removed last; the rest goes side by side."""
    forward = [{service.name for service in level} for level in levels(SERVICES)]
    backward = [{service.name for service in level} for level in levels(SERVICES, reverse=True)]

    assert forward == [{"keystone", "glance", "placement", "neutron"}, {"nova"}, {"swift", "cinder"}, {"heat"}]
    assert backward == forward[::-1]


def test_the_server_brings_its_network_along(bench: Bench) -> None:
    """Choosing nova alone chooses what its sample needs."""
    assert [service.name for service in samples(bench.cloud, ["nova"])] == ["neutron", "nova"]


def test_an_unknown_service_is_told_beside_the_known_ones(bench: Bench) -> None:
    """A misspelt service is an error that names the right ones."""
    with pytest.raises(CloudError, match=r"services: 'novaa' is not known; known are keystone, glance"):
        samples(bench.cloud, ["novaa"])


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"version": {"id": "v3.14", "status": "stable"}}, ("v3.14", "", "")),
        (
            {
                "versions": [
                    {"id": "v2.0", "status": "SUPPORTED", "version": ""},
                    {"id": "v2.1", "status": "CURRENT", "version": "2.100", "min_version": "2.1"},
                ]
            },
            ("v2.1", "2.1", "2.100"),
        ),
        (
            {"versions": [{"id": "v1.0", "status": "CURRENT", "max_version": "1.39", "min_version": "1.0"}]},
            ("v1.0", "1.0", "1.39"),
        ),
        ({"versions": {"values": [{"id": "v3.14", "status": "stable"}]}}, ("v3.14", "", "")),
        ("<html>", ("", "", "")),
        (None, ("", "", "")),
        ({"versions": "none"}, ("", "", "")),
    ],
)
def test_current_version_of_any_document(document: Any, expected: tuple[str, str, str]) -> None:
    """Each service has a form of its own for its versions; what is no such document has none."""
    assert tuple(current_version(document).values()) == expected
