# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What test programs write, as a list of tests."""

from __future__ import annotations

import datetime
import io
import json
import subprocess
import sys
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._results import (
    ResultsError,
    Test,
    need,
    read_junit,
    read_rally,
    read_subunit,
)

PYTESTS = """
import pytest

def test_good():
    pass

def test_bad():
    assert 1 + 1 == 3, "two \\x1b[31m colours"

@pytest.mark.skip(reason="no image")
def test_left_out():
    pass

@pytest.fixture
def broken():
    raise OSError("nothing listens")

def test_without_ground(broken):
    pass
"""


@pytest.fixture(scope="module")
def junit(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What pytest really writes."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "test_it.py").write_text(PYTESTS)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junit-xml=out.xml", "-c", "/dev/null"]
    done = subprocess.run([*argv, "test_it.py"], cwd=folder, check=False, capture_output=True, timeout=120)
    assert done.returncode == 1, done.stdout
    return (folder / "out.xml").read_bytes()


def by_name(tests: list[Test]) -> dict[str, Test]:
    return {test.id.rpartition(".")[2]: test for test in tests}


def test_what_pytest_writes(junit: bytes) -> None:
    """Passed, failed, skipped and broken tests are told apart, with traceback, reason and time."""
    found = by_name(read_junit(junit))

    assert {name: test.status for name, test in found.items()} == {
        "test_good": Status.PASS,
        "test_bad": Status.FAIL,
        "test_left_out": Status.SKIP,
        "test_without_ground": Status.FAIL,
    }
    assert "assert (1 + 1) == 3" in found["test_bad"].detail
    assert found["test_left_out"].reason == "no image"
    assert "def broken" in found["test_without_ground"].detail
    assert "nothing listens" in found["test_without_ground"].reason
    assert found["test_good"].seconds is not None


def test_suites_inside_of_suites() -> None:
    """Each test is told once, however deep it lies; a name space does not matter."""
    text = (
        '<testsuites xmlns="urn:x"><testsuite name="all" failures="1"><testsuite name="part" failures="1">'
        '<testcase classname="a.B" name="c" time="1,234.5"><failure message="no"/></testcase>'
        '<testcase classname="a.B" name="d"/></testsuite></testsuite></testsuites>'
    )
    first, second = read_junit(text.encode())

    assert (first.id, first.status, first.reason, first.seconds) == ("a.B.c", Status.FAIL, "no", 1234.5)
    assert (second.id, second.status, second.seconds) == ("a.B.d", Status.PASS, None)


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ('status="run" result="completed"', Status.PASS),
        ('status="notrun" result="suppressed"', Status.SKIP),
        ('status="Skipped"', Status.SKIP),
        ('status="failed"', Status.FAIL),
    ],
)
def test_a_word_instead_of_an_element(attributes: str, status: Status) -> None:
    """A test that was not run has not passed, in whatever way its writer says so."""
    [test] = read_junit(f'<testsuite><testcase name="a" {attributes}/></testsuite>'.encode())

    assert test.status is status


def test_a_failure_without_a_test_is_not_lost() -> None:
    """A suite that says that something failed and does not show it is broken, not good."""
    found = read_junit(b'<testsuite name="s" tests="2" errors="1"><testcase name="a"/></testsuite>')

    assert [(one.id, one.status) for one in found] == [("a", Status.PASS), ("s", Status.ERROR)]


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><testsuite name="&b;"/>'


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "They are no XML"),
        (b"5 passed in 0.1s", "They are no XML"),
        (b"<testsuite><testcase name='a'>", "They are no XML"),
        (b"<html/>", "They are no JUnit: the first element is html"),
        (BOMB.encode(), "They have a document type"),
        (BOMB.encode("utf-16"), "They have a document type"),
    ],
)
def test_what_is_no_junit_is_told(data: bytes, words: str) -> None:
    """A cut file, another format and a file with entities are refused in one sentence."""
    with pytest.raises(ResultsError) as caught:
        read_junit(data)
    assert str(caught.value).startswith(words)


T0 = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC)


class Writer:
    """Writes a stream as test runners do."""

    def __init__(self) -> None:
        self.subunit = pytest.importorskip("subunit", reason="python-subunit is not installed")
        self.stream = io.BytesIO()
        self.bytes = self.subunit.StreamResultToBytes(self.stream)

    def test(self, id_: str, status: str | None, seconds: float = 1.5, **files: str) -> None:
        self.bytes.status(test_id=id_, test_status="inprogress", timestamp=T0)
        for name, text in files.items():
            self.bytes.status(test_id=id_, file_name=name, file_bytes=text.encode(), eof=True, mime_type="text/plain")
        if status:
            end = T0 + datetime.timedelta(seconds=seconds)
            self.bytes.status(test_id=id_, test_status=status, timestamp=end)


@pytest.fixture
def writer() -> Writer:
    return Writer()


def test_what_a_stream_says(writer: Writer) -> None:
    """Each end of a test has its meaning; expected failures prove nothing good, unexpected successes are failures."""
    for status in ("success", "fail", "skip", "xfail", "uxsuccess"):
        writer.test(f"t.{status}", status, traceback="Traceback:\n  line\nKeyError: 3\n", reason="no rights", log="x")
    found = by_name(read_subunit(writer.stream.getvalue()))

    assert {name: str(test.status) for name, test in found.items()} == {
        "success": "pass",
        "fail": "fail",
        "skip": "skip",
        "xfail": "skip",
        "uxsuccess": "fail",
    }
    assert (found["fail"].reason, found["fail"].seconds) == ("KeyError: 3", 1.5)
    assert found["skip"].detail == "no rights"


def test_a_class_that_cannot_be_set_up_is_a_failure(writer: Writer) -> None:
    """It has a packet for its end only, and a name of its own."""
    writer.bytes.status(test_id="setUpClass (tempest.api.identity.T)", test_status="fail")
    [test] = read_subunit(writer.stream.getvalue())

    assert (test.id, test.status) == ("setUpClass (tempest.api.identity.T)", Status.FAIL)


def test_a_test_that_was_cut_off_has_not_passed(writer: Writer) -> None:
    """A runner that was killed leaves a test without an end; what it printed besides does not matter."""
    writer.test("t.good", "success")
    writer.test("t.cut", None)
    found = by_name(read_subunit(b"loading\n" + writer.stream.getvalue() + b"Killed\n"))

    assert {name: test.status for name, test in found.items()} == {"good": Status.PASS, "cut": Status.FAIL}
    assert "did not end" in found["cut"].detail


def test_a_torn_packet_is_not_overlooked(writer: Writer) -> None:
    """A stream that ends within a packet is broken."""
    writer.test("t.good", "success")
    writer.test("t.other", "fail")
    found = read_subunit(writer.stream.getvalue()[:-5])

    assert Status.ERROR in {test.status for test in found}


def test_listed_tests_are_no_tests_that_ran(writer: Writer) -> None:
    """`--list` writes ids alone."""
    writer.bytes.status(test_id="t.there", test_status="exists")

    assert read_subunit(writer.stream.getvalue()) == []


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told before anything is run, with what to do."""
    monkeypatch.setitem(sys.modules, "subunit", None)
    with pytest.raises(ResultsError) as caught:
        need("subunit")

    assert str(caught.value).startswith(f"format: subunit needs the library python-subunit for {sys.executable}.")
    need("junit")


def workload(scenario: str, **more: Any) -> dict[str, Any]:
    """One workload, as Rally's report in JSON has it."""
    figures = {"min": 0.2, "median": 0.25, "90%ile": 0.3, "95%ile": 0.3, "max": 0.4, "avg": 0.26, "success": "100.0%"}
    total = {"name": "total", "data": {**figures, "iteration_count": 10}, "children": []}
    return {
        "uuid": "u",
        "description": "",
        "scenario": {scenario: {}},
        "position": 0,
        "full_duration": 3.5,
        "load_duration": 3.0,
        "statistics": {"durations": {"total": total, "atomics": []}},
        "failed_iteration_count": 0,
        "total_iteration_count": 10,
        "pass_sla": True,
        "sla": {"failure_rate": {"max": 0}},
        "sla_results": {"sla": [{"criterion": "failure_rate", "detail": "Failure rate 0.00%", "success": True}]},
        **more,
    }


def report(*workloads: dict[str, Any], status: str = "finished") -> bytes:
    task = {"title": "two lists", "status": status, "subtasks": [{"workloads": list(workloads)}]}
    return json.dumps({"info": {"format_version": "1.2"}, "tasks": [task]}).encode()


def test_what_rally_reports() -> None:
    """A workload that keeps to its SLA has passed; one that does not says which criterion; figures are kept."""
    slow = {"criterion": "max_avg_duration", "detail": "Average duration 3.1s is above 2s", "success": False}
    found = read_rally(
        report(
            workload("Authenticate.keystone"),
            workload("NovaServers.list_servers", position=1, pass_sla=False, sla_results={"sla": [slow]}),
            workload("Dummy.dummy", sla={}),
            workload("GlanceImages.list_images", total_iteration_count=0),
        )
    )

    assert [(one.id, str(one.status)) for one in found] == [
        ("Authenticate.keystone 0", "pass"),
        ("NovaServers.list_servers 1", "fail"),
        ("Dummy.dummy 0", "skip"),
        ("GlanceImages.list_images 0", "fail"),
    ]
    assert found[1].reason == "Average duration 3.1s is above 2s"
    assert (found[0].figures["median"], found[0].figures["iteration_count"]) == (0.25, 10)


def test_the_same_scenario_in_two_subtasks_is_two_tests() -> None:
    """Positions begin anew with each subtask; under one name the figures of both could not be told apart."""
    twice = [{"workloads": [workload("Authenticate.keystone")]}, {"workloads": [workload("Authenticate.keystone")]}]
    told = {"tasks": [{"title": "t", "status": "finished", "subtasks": twice}]}

    names = [one.id for one in read_rally(json.dumps(told).encode())]
    assert names == ["Authenticate.keystone 0", "Authenticate.keystone 0 (2)"]


def test_a_task_that_crashed_has_not_passed() -> None:
    """Rally ends with 0 then."""
    assert [str(one.status) for one in read_rally(report(status="crashed"))] == ["fail"]
    assert "crashed" in read_rally(report(workload("Authenticate.keystone"), status="crashed"))[1].detail


@pytest.mark.parametrize("data", [b"", b"[]", b'{"tasks": [{}]}', b'{"tasks": 3}', b"Report is not ready"])
def test_what_is_no_report_is_told(data: bytes) -> None:
    """In one sentence."""
    with pytest.raises(ResultsError, match=r"^They are no JSON report of Rally"):
        read_rally(data)
