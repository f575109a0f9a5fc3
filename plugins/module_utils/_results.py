# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What test programs write: JUnit's XML, subunit's stream and Rally's report, as a list of tests.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status

JUNIT, SUBUNIT, RALLY = "junit", "subunit", "rally"
FIGURES = ("min", "median", "90%ile", "95%ile", "max", "avg", "iteration_count")
_PARSER = "subunit.parser"  # the test as which python-subunit tells of a stream that it could not read
_OTHER = "output"  # under this name come bytes that are no subunit
_BAD_WORDS = frozenset({"failed", "failure", "fail", "error", "broken"})
_IDLE_WORDS = frozenset({"notrun", "skipped", "suppressed", "disabled", "ignored"})
_ENDS = {
    "success": Status.PASS,
    "fail": Status.FAIL,
    "uxsuccess": Status.FAIL,
    # It failed as somebody expects: that proves nothing good.
    "xfail": Status.SKIP,
    "skip": Status.SKIP,
}


class ResultsError(Exception):
    """Why results cannot be read, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Test:
    """One test; ``detail`` is its traceback, or why it was skipped; ``figures`` are what was measured, in seconds."""

    __test__ = False  # its name looks like a test to pytest

    id: str
    status: Status
    detail: str = ""
    seconds: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """The line that says best what became of it: of a traceback the last one."""
        lines = [line.strip() for line in self.detail.splitlines() if line.strip()]
        return lines[-1] if lines else ""


def need(format_: str) -> None:
    """See that a format can be read here; ResultsError says what is missing."""
    if format_ != SUBUNIT:
        return
    try:
        import subunit  # noqa: F401 - only whether it is there
    except ImportError:
        raise ResultsError(
            f"format: subunit needs the library python-subunit for {sys.executable}. Install it there, or set "
            "ansible_python_interpreter for this task to a Python that has it, such as that of Tempest's environment."
        ) from None


def read_junit(data: bytes) -> list[Test]:
    """Return the tests of a JUnit file."""
    from xml.etree import ElementTree

    _refuse_document_type(data)
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 - document types, and so entities, were refused
    except ElementTree.ParseError as problem:
        raise ResultsError(f"They are no XML: {problem}.") from None
    if root.tag.rpartition("}")[2] not in ("testsuites", "testsuite"):
        raise ResultsError(f"They are no JUnit: the first element is {root.tag}.")
    return [test for suite in root.iter() if _tag(suite) == "testsuite" for test in _suite(suite)]


def _refuse_document_type(data: bytes) -> None:
    """Refuse a document type: JUnit needs none, and entities can make a small file large."""
    from xml.parsers import expat

    def refuse(*_declaration: Any) -> None:
        raise ResultsError("They have a document type, which JUnit needs not and which is not read.")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as problem:
        raise ResultsError(f"They are no XML: {problem}.") from None


def _tag(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _suite(suite: Any) -> Iterator[Test]:
    cases = [_case(child) for child in suite if _tag(child) == "testcase"]
    yield from cases
    if any(_tag(child) == "testsuite" for child in suite):
        return  # it counts what its parts have
    declared = sum(_number(suite.get(name)) for name in ("failures", "errors"))
    shown = sum(case.status is Status.FAIL for case in cases)
    if declared > shown:
        name = suite.get("name") or "suite"
        yield Test(id=name, status=Status.ERROR, detail=f"It declares {declared} failures and shows {shown}.")


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def _case(case: Any) -> Test:
    id_ = ".".join(part for part in (case.get("classname"), case.get("name")) if part) or "unnamed"
    seconds = _seconds(case.get("time"))
    for child in case:
        kind = _tag(child)
        if kind in ("failure", "error", "skipped"):
            status = Status.SKIP if kind == "skipped" else Status.FAIL
            text = (child.text or "").strip()
            message = (child.get("message") or child.get("type") or "").strip()
            # The traceback is the text; what it came to, the last line of a detail, is the attribute.
            parts = (message or text,) if kind == "skipped" else (text, message if message != text else "")
            detail = "\n".join(part for part in parts if part)
            return Test(id=id_, status=status, detail=detail, seconds=seconds)
    # Some writers have no element for it: googletest's disabled tests would look as if they had passed.
    words = {str(case.get(name, "")).lower() for name in ("status", "result")}
    status = Status.FAIL if words & _BAD_WORDS else Status.SKIP if words & _IDLE_WORDS else Status.PASS
    return Test(id=id_, status=status, detail=", ".join(sorted(words - {""})), seconds=seconds)


def _seconds(text: str | None) -> float | None:
    try:
        return float((text or "").replace(",", ""))
    except ValueError:
        return None


@dataclass
class _Stream:
    """Collects what a stream says of its tests; python-subunit calls ``status`` for each packet."""

    begun: dict[str, Any] = field(default_factory=dict)
    tests: list[Test] = field(default_factory=list)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def status(self, **packet: Any) -> None:
        id_, status = packet.get("test_id"), packet.get("test_status")
        if not id_:
            return
        if packet.get("file_name"):
            files = self.files.setdefault(id_, {})
            name = packet["file_name"]
            files[name] = files.get(name, b"") + bytes(packet.get("file_bytes") or b"")
        if status == "inprogress":
            self.begun[id_] = packet.get("timestamp")
        elif status in _ENDS:
            self._end(id_, _ENDS[status], packet.get("timestamp"))

    def _end(self, id_: str, status: Status, moment: Any) -> None:
        begun = self.begun.pop(id_, None)
        seconds = (moment - begun).total_seconds() if begun and moment else None
        status = Status.ERROR if id_ == _PARSER else status
        detail = _detail(status, self.files.pop(id_, {}))
        self.tests.append(Test(id=id_, status=status, detail=detail, seconds=seconds))


def _detail(status: Status, files: dict[str, bytes]) -> str:
    """Return the attachment that tells why, else all that are text."""
    texts = {name: content.decode("utf-8", "replace").strip() for name, content in files.items()}
    texts.pop("Packet data", None)
    wanted = "reason" if status is Status.SKIP else "traceback"
    if texts.get(wanted):
        return texts[wanted]
    return "" if status is Status.PASS else "\n".join(text for text in texts.values() if text)


def read_subunit(data: bytes) -> list[Test]:
    """Return the tests of a stream of subunit's version 2; one that began and did not end has failed."""
    import subunit

    stream = _Stream()
    subunit.ByteStreamToStreamResult(io.BytesIO(data), non_subunit_name=_OTHER).run(stream)
    lost = [
        Test(id=id_, status=Status.FAIL, detail="It began and did not end: its process ended, or the output is cut.")
        for id_ in stream.begun
    ]
    return stream.tests + lost


def read_rally(data: bytes) -> list[Test]:
    """Return the workloads of a report of Rally as tests, by whether they have kept to their SLA."""
    try:
        return [test for task in json.loads(data)["tasks"] for test in _task(task)]
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise ResultsError(f"They are no JSON report of Rally: {type(problem).__name__} {problem}.") from None


def _task(task: Mapping[str, Any]) -> Iterator[Test]:
    workloads = [_workload(one) for subtask in task["subtasks"] for one in subtask["workloads"]]
    for number, test in enumerate(workloads):
        # Positions begin anew with each subtask.
        times = sum(one.id == test.id for one in workloads[: number + 1])
        yield test if times == 1 else replace(test, id=f"{test.id} ({times})")
    if task["status"] != "finished":
        # Rally itself ends well although its task has crashed.
        yield Test(id=task["title"] or "task", status=Status.FAIL, detail=f"The task ended as {task['status']}.")


def _workload(workload: Mapping[str, Any]) -> Test:
    name = f"{next(iter(workload['scenario']))} {workload['position']}"
    total = (workload.get("statistics") or {}).get("durations", {}).get("total", {}).get("data", {})
    figures = {key: float(total[key]) for key in FIGURES if isinstance(total.get(key), (int, float))}
    told = {"id": name, "seconds": workload["full_duration"], "figures": figures}
    if not workload["sla"]:
        return Test(status=Status.SKIP, detail="It has no SLA, so nothing was asked of it.", **told)
    if not workload["total_iteration_count"]:
        return Test(status=Status.FAIL, detail="It was not run once.", **told)
    broken = [str(one["detail"]) for one in workload["sla_results"]["sla"] if not one["success"]]
    status = Status.PASS if workload["pass_sla"] else Status.FAIL
    return Test(status=status, detail="\n".join(broken), **told)


READERS = {JUNIT: read_junit, SUBUNIT: read_subunit, RALLY: read_rally}
