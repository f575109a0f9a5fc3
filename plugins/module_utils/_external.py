# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that others have written: a command, its exit code, and what it says of its tests.

A command that ends well has shown nothing when it ran no test. So the passed tests are counted, for each service, and
the results have to be those of this very run.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
import tempfile
import time as clock
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._command import inherited, last_word, watched
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import BAD, Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._redact import Redactor
from ansible_collections.openstack.upgrade_test.plugins.module_utils._results import READERS, ResultsError, Test
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory

VALIDATOR = "external_test"
EXIT_CODE = "exit_code"
TEST, ENOUGH, NOT_SLOWER = "test", "tests_passed", "not_slower"
MEDIAN = "median"
LINES = 40  # of the end of the output are kept beside an outcome that is bad
TRACEBACK = 6000  # characters of the end of a traceback that are kept
MOST = 500  # with more tests than these, those that passed are counted and not listed


class TestsError(Exception):
    """What is wrong with a test's options, in one sentence for the operator."""

    __test__ = False  # its name looks like a test to pytest


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is run and where its results are: in a file, else its output, or that of a second command."""

    argv: Sequence[str]
    format: str = EXIT_CODE
    results: Path | None = None
    results_argv: Sequence[str] = ()
    chdir: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 3600


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What it takes to be good; ``services`` has for a service an expression that the names of its tests match.

    Of ``every_service`` so many tests have to pass, or of all of them together. ``slower`` is how many times as long as
    before the median of what was measured may be. What is not meant for this phase ``once`` has to be run after, too.
    """

    name: str
    service: str
    services: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    minimum: int = 1
    every_service: bool = True
    slower: float | None = None
    once: bool = False
    rc: Sequence[int] = (0,)
    phase: str = ""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a command ended; ``rc`` is None when it took too long. ``trouble`` says why there are no results."""

    rc: int | None
    seconds: float
    lines: Sequence[str] = ()
    log: str = ""
    tests: Sequence[Test] = ()
    trouble: str = ""


def run(command: Command, name: str, directory: RunDirectory | None) -> Ran:
    """Run a command to its end and read its results; its output is kept without secrets."""
    before = _state(command.results)
    began = clock.monotonic()
    rc, said, complained = _run(command.argv, command, "argv")
    seconds = round(clock.monotonic() - began, 1)
    piped = command.format != EXIT_CODE and command.results is None and not command.results_argv
    text = (b"" if piped else said) + complained
    told: bytes | str = said
    if command.results_argv:
        second, told, complained = _run(command.results_argv, command, "results_argv")
        text += complained
        told = told if second == 0 else f"{command.results_argv[0]} ended with exit code {second}"
    ran = _kept(Ran(rc=rc, seconds=seconds), text.decode("utf-8", "replace"), name, directory)
    if command.format == EXIT_CODE:
        return ran
    if command.results is not None and not isinstance(told, str):
        told = _fresh(command.results, before)
    return _read(ran, command, told)


def _run(argv: Sequence[str], command: Command, option: str) -> tuple[int | None, bytes, bytes]:
    """Return exit code, output and complaints; TestsError when it does not start."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            rc = watched(
                argv,
                environment={**inherited(), **command.environment},
                output=output,
                errors=errors,
                folder=command.chdir,
                timeout=command.timeout,
            )
        except OSError as problem:
            raise TestsError(f"{option}: {argv[0]} could not be started: {problem}") from None
        return rc, _content(output), _content(errors)


def _content(file: Any) -> bytes:
    file.seek(0)
    return bytes(file.read())


def _state(path: Path | None) -> tuple[int, int, int] | None:
    """Return what tells one state of a file from another."""
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None


def _fresh(path: Path | None, before: tuple[int, int, int] | None) -> bytes | str:
    """Return the content of a file that this run has written, or why there is none."""
    after = _state(path)
    if path is None or after is None:
        return f"it has not written {path}"
    if after == before:
        return f"{path} is of an earlier run"
    try:
        return path.read_bytes()
    except OSError as problem:
        return f"{path} cannot be read: {problem.strerror}"


def _kept(ran: Ran, text: str, name: str, directory: RunDirectory | None) -> Ran:
    """Keep the output in the run directory, and its end beside the outcomes."""
    redactor = directory.redactor if directory else Redactor()
    lines = redactor.text(text).splitlines()[-LINES:]
    if directory is None or not text:
        return replace(ran, lines=lines)
    (directory.path / "evidence").mkdir(mode=0o700, exist_ok=True)
    # A test may be run as often as one likes, and none hides what an earlier one said.
    names = (f"evidence/test-{slug(name)}-{number}.log" for number in count(1))
    log = next(one for one in names if not (directory.path / one).exists())
    directory.write_text(log, text)
    return replace(ran, lines=lines, log=log)


def _read(ran: Ran, command: Command, results: bytes | str) -> Ran:
    if isinstance(results, str):
        return replace(ran, trouble=results)
    if not results.strip():
        return replace(ran, trouble="its results are empty")
    try:
        return replace(ran, tests=READERS[command.format](results))
    except ResultsError as problem:
        return replace(ran, trouble=f"its results cannot be read: {problem}")


def slug(name: str) -> str:
    """Return a name as a part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "test"


def outcomes(
    wanted: Wanted,
    ran: Ran,
    format_: str,
    redactor: Redactor | None = None,
    before: Mapping[str, Mapping[str, float]] | None = None,
) -> list[Outcome]:
    """Return what became of the tests, and whether enough of them passed; ``before`` are figures to compare with."""
    make = _Maker(wanted, ran, redactor or Redactor())
    if format_ == EXIT_CODE:
        return [make.by_exit_code()]
    listed = [test for test in ran.tests if len(ran.tests) <= MOST or test.status is not Status.PASS]
    found = [make.of_test(test) for test in listed] + make.by_service()
    return found if wanted.slower is None else found + make.slower(before or {}, wanted.slower)


def measured_before(wanted: Wanted, records: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, float]]:
    """Return the figures of these tests before the upgrade, of a run's outcomes; the newest of each."""
    mine = (
        record
        for record in records
        if (record.get("validator"), record.get("check"), record.get("phase")) == (VALIDATOR, TEST, "before")
        and record.get("evidence", {}).get("suite") == wanted.name
    )
    return {str(record["subject"]): record["evidence"].get("figures", {}) for record in mine}


def not_run(name: str, service: str, why: str, phase: str) -> Outcome:
    """Return the outcome of tests that could not even be begun."""
    return Outcome(
        validator=VALIDATOR,
        check=ENOUGH,
        service=service,
        subject=name,
        status=Status.ERROR,
        message=f"{name} could not be run: {why}",
        phase=phase,
        evidence={"suite": name},
    )


class _Maker:
    """Makes the outcomes of one command."""

    def __init__(self, wanted: Wanted, ran: Ran, redactor: Redactor) -> None:
        self.wanted, self.ran, self.redactor = wanted, ran, redactor

    def by_exit_code(self) -> Outcome:
        """The whole command is one test."""
        good = self.ran.rc in self.wanted.rc
        status = Status.PASS if good else Status.FAIL
        where: dict[str, Any] = {"check": TEST, "service": self.wanted.service, "subject": self.wanted.name}
        return self._outcome(**where, status=status, message=self._ended(), expected=self._rc(), found=self.ran.rc)

    def of_test(self, test: Test) -> Outcome:
        """Return the outcome of one test."""
        words = {Status.PASS: "passed", Status.FAIL: "failed", Status.SKIP: "was skipped", Status.ERROR: "broke"}
        why = self.redactor.text(test.reason)[:300]
        more: dict[str, Any] = {"seconds": round(test.seconds, 3)} if test.seconds is not None else {}
        more |= {"figures": dict(test.figures)} if test.figures else {}
        if test.status in BAD and test.detail:
            more["traceback"] = self.redactor.text(test.detail)[-TRACEBACK:]
        text = f"{test.id} {words[test.status]}{f': {why}' if why and test.status is not Status.PASS else ''}"
        text = text if text[-1] in ".!?" else f"{text}."
        where: dict[str, Any] = {"check": TEST, "service": self.service_of(test), "subject": test.id}
        return self._outcome(**where, status=test.status, message=text, evidence=more)

    def service_of(self, test: Test) -> str:
        """Return the service that a test is of: the first whose expression its name matches."""
        fitting = (name for name, pattern in self.wanted.services.items() if pattern.search(test.id))
        return next(fitting, self.wanted.service)

    def by_service(self) -> list[Outcome]:
        """Say for each service whether enough tests of it passed."""
        if not self.wanted.every_service:
            return [self._enough(self.wanted.service, self.ran.tests)]
        groups: dict[str, list[Test]] = {name: [] for name in self._demanded()}
        for test in self.ran.tests:
            groups.setdefault(self.service_of(test), []).append(test)
        return [self._enough(service, tests) for service, tests in groups.items()]

    def _enough(self, service: str, tests: Sequence[Test]) -> Outcome:
        ends = Counter(test.status for test in tests)
        passed = ends[Status.PASS]
        told = f"{passed} of {len(tests)} tests passed" + (
            f", {ends[Status.SKIP]} were skipped" if ends[Status.SKIP] else ""
        )
        status, why = self._judged(service, passed, bad=any(ends[one] for one in BAD))
        return self._outcome(
            check=ENOUGH,
            service=service,
            subject=self.wanted.name,
            status=status,
            message=f"{self.wanted.name}, {service}: {told}{why}.",
            expected=f"at least {self._least(service)}",
            found=passed,
        )

    def _demanded(self) -> Sequence[str]:
        """Return the services of which tests have to pass, also when there are none."""
        named = self.wanted.services if self.wanted.every_service else ()
        return list(named) or [self.wanted.service]

    def _least(self, service: str) -> int:
        return self.wanted.minimum if service in self._demanded() else 0

    def _judged(self, service: str, passed: int, *, bad: bool) -> tuple[Status, str]:
        ran, least = self.ran, self._least(service)
        if ran.trouble:
            return Status.FAIL, f"; {ran.trouble}. {self._ended()[:-1]}"
        if ran.rc is None:
            return Status.FAIL, f"; {self._ended()[:-1]}"
        if passed < least:
            ended = "" if ran.rc in self.wanted.rc else f". {self._ended()[:-1]}"
            return Status.FAIL, f", and at least {least} must{ended}"
        # Failed tests have outcomes of their own; without one, a bad end would go unnoticed.
        if ran.rc not in self.wanted.rc and not bad and not self._any_bad():
            return Status.FAIL, f", and none is told to have failed. But {self._ended()[:-1]}"
        return Status.PASS, ""

    def slower(self, before: Mapping[str, Mapping[str, float]], factor: float) -> list[Outcome]:
        """Say of each test that was measured whether its median is as it was before; ``before`` has their figures."""
        measured = [test for test in self.ran.tests if test.figures]
        return [self._slower(test, before.get(test.id, {}).get(MEDIAN), factor) for test in measured]

    def _slower(self, test: Test, before: float | None, factor: float) -> Outcome:
        now = test.figures.get(MEDIAN)
        if not before or now is None:
            status, what = Status.UNKNOWN, "was not measured before, so nothing can be compared."
        else:
            status = Status.PASS if now <= before * factor else Status.FAIL
            what = f"took {now:.3g} s in the median, {now / before:.2f} times as long as before ({before:.3g} s)."
        return self._outcome(
            check=NOT_SLOWER,
            service=self.service_of(test),
            subject=test.id,
            status=status,
            message=f"{test.id} {what}",
            expected=f"at most {factor:g} times as long as before",
            found=now,
            evidence={"figures": dict(test.figures)},
        )

    def _any_bad(self) -> bool:
        return any(test.status in BAD for test in self.ran.tests)

    def _rc(self) -> Any:
        return self.wanted.rc[0] if len(self.wanted.rc) == 1 else list(self.wanted.rc)

    def _ended(self) -> str:
        name, ran = self.wanted.name, self.ran
        if ran.rc is None:
            return f"{name} did not end within {ran.seconds:.0f} s."
        how = f"was ended by signal {-ran.rc}" if ran.rc < 0 else f"ended with exit code {ran.rc}"
        said = "" if ran.rc in self.wanted.rc else last_word(ran.lines)[:300]
        return f"{name} {how}{f': {said}' if said else ''}".rstrip(".") + "."

    def _outcome(
        self, *, check: str, subject: str, status: Status, evidence: Mapping[str, Any] | None = None, **more: Any
    ) -> Outcome:
        told: dict[str, Any] = {"suite": self.wanted.name, **(evidence or {})}
        told |= {"once": True} if self.wanted.once else {}
        told |= {"log": self.ran.log} if self.ran.log else {}
        if check == ENOUGH or subject == self.wanted.name:
            told["seconds"] = self.ran.seconds
            told |= {"last_lines": list(self.ran.lines)} if status in BAD else {}
        return Outcome(
            validator=VALIDATOR,
            check=check,
            subject=subject,
            status=status,
            phase=self.wanted.phase,
            evidence=told,
            **more,
        )
