# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What users expect, as JMESPath expressions over what was discovered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.openstack.upgrade_test.plugins.module_utils._expect import (
    MOST,
    ExpectationError,
    Judgement,
    brief,
    judge,
    quoted,
    read_expectations,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status

DEAD = {"agent_type": "DHCP agent", "binary": "neutron-dhcp-agent", "host": "net1", "is_alive": False}
DATA = {
    "agents": [{**DEAD, "host": "net2", "is_alive": True}, DEAD],
    "compute_services": [{"binary": "nova-compute", "host": "c1", "is_alive": True, "is_enabled": True}],
    "volume_services": None,
    "services": [{"service": "nova", "max_version": "2.100"}],
}


def look(query: str, data: Any = None, **more: Any) -> Judgement:
    [one] = read_expectations([{"name": "it", "service": "nova", "query": query, **more}])
    return judge(one, DATA if data is None else data)


@pytest.mark.parametrize(
    ("query", "more", "status"),
    [
        ("agents[?!is_alive]", {}, Status.FAIL),
        ("agents[?!is_alive && host != 'net1']", {}, Status.PASS),
        ("agents[?is_alive]", {"must_be": "filled"}, Status.PASS),
        ("agents[?host == 'nowhere']", {"must_be": "filled"}, Status.FAIL),
        ("length(compute_services[?is_enabled])", {"value": 1}, Status.PASS),
        ("length(compute_services[?is_enabled])", {"value": 2}, Status.FAIL),
        ("compute_services[0].is_alive", {"must_be": "true"}, Status.PASS),
        ("agents[1].is_alive", {"must_be": "true"}, Status.FAIL),
        ("services[?service == 'nova'].max_version | [0]", {"value": "2.100"}, Status.PASS),
        ("agents[].{machine: host} | [?machine == 'net7']", {}, Status.PASS),
        ("compute_services[0].is_alive", {"value": 1}, Status.FAIL),
    ],
)
def test_what_is_expected_is_compared(query: str, more: dict[str, Any], status: Status) -> None:
    """Empty, filled, true and equal are told from their opposites; true is not one."""
    assert look(query, **more).status is status


def test_what_was_found_is_told() -> None:
    """The dead agent stands in the sentence and in the outcome."""
    judged = look("agents[?!is_alive]")

    assert judged.found == [DEAD]
    assert judged.message.startswith("it: found 1: [{")
    assert "net1" in judged.message


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("volume_services[?!is_alive]", "the result is null"),
        ("length(volume_services)", 'received: "null"'),
        ("agents[?is_alvie]", "has the field is_alvie; did you mean is_alive?"),
        ("shares[?!mounted]", "nothing that was discovered has the field shares"),
    ],
)
def test_what_nobody_saw_is_not_good(query: str, words: str) -> None:
    """What may not be seen, and what is misspelt, gives an empty result too; it is unknown and never passes."""
    judged = look(query)

    assert judged.status is Status.UNKNOWN
    assert words in judged.message


@pytest.mark.parametrize("query", ["length(agents)", "agents[0].is_alive", "max_by(agents, &is_alive)"])
def test_an_expression_that_cannot_be_judged_is_an_error(query: str) -> None:
    """A number is neither empty nor filled, and a function may refuse what it gets: neither passes nor fails."""
    assert look(query).status is Status.ERROR


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"query": "agents[?"}, "expectations[1].query: 'agents[?' is no JMESPath expression: "),
        ({"query": ""}, "expectations[1].query: '' is no JMESPath expression: "),
        ({"query": "len(agents)"}, "expectations[1].query: 'len(agents)' calls len(), which JMESPath does not have."),
        ({"query": "agents", "must_be": "filled", "value": 3}, "expectations[1].value: goes with must_be: equal"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_entry(entry: dict[str, Any], words: str) -> None:
    """A bad expression is found before anything is looked at."""
    good = {"name": "a", "service": "nova", "query": "agents"}
    with pytest.raises(ExpectationError) as caught:
        read_expectations([good, {**good, **entry}])

    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_a_long_result_is_cut_and_counted() -> None:
    """A record does not hold a thousand agents; it says how many it leaves out."""
    kept = brief([DEAD] * 1000)

    assert len(str(kept)) < MOST + 100
    assert kept[-1] == f"and {1000 - len(kept) + 1} more"
    assert brief([DEAD]) == [DEAD]
    assert len(brief(["x" * MOST])) < MOST + 10


def test_a_sentence_quotes_whole_entries() -> None:
    """What is cut in the middle of an entry cannot be read; the number says how many more there are."""
    three = [{"binary": f"neutron-agent-{number}", "host": "compute1" * 12} for number in range(3)]

    assert quoted(three).startswith('[{"binary": "neutron-agent-0", ')
    assert json.loads(quoted(three)) == [three[0], three[1], "and 1 more"]
    assert json.loads(quoted(three[:2])) == three[:2]
    assert quoted(["x" * MOST]).endswith("xxx...")


def test_the_examples_of_the_documentation() -> None:
    """Each passes where all is well, fails when what it is for goes wrong, and is unknown without data."""
    text = (Path(__file__).parents[4] / "docs/extensions.md").read_text()
    block = text.partition("upgrade_test_expectations:\n")[2].partition("```")[0]
    well: dict[str, Any] = {
        "agents": [{"is_alive": True}],
        "compute_services": [{"binary": "nova-compute", "is_enabled": True, "host": host} for host in "abc"],
        "services": [{"endpoints": [{"answers": True}]}, {"endpoints": [{"answers": True}]}],
        "processes": {"c1": [{"service": "nova", "release": "2026.1"}], "c2": []},
    }
    bad: dict[str, Any] = {
        "agents": [{"is_alive": False}],
        "compute_services": [{"binary": "nova-compute", "is_enabled": False}],
        "services": [{"endpoints": [{"answers": True}]}, {"endpoints": [{"answers": False}]}],
        "processes": {"c1": [{"service": "nova", "release": "2025.1"}], "c2": []},
    }
    expectations = read_expectations(yaml.safe_load(block))

    assert len(expectations) == 4
    assert [judge(one, well).status for one in expectations] == [Status.PASS] * 4
    assert [judge(one, bad).status for one in expectations] == [Status.FAIL] * 4
    assert {judge(one, dict.fromkeys(well)).status for one in expectations} == {Status.UNKNOWN}
