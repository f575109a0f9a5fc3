# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module external_test, as a task, with real commands."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._external import MOST
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._small_cloud import PASSWORD
from ansible_collections.openstack.upgrade_test.tests.unit.plugins.modules.test_validators import (
    documented,
    module,
    run,
)

FACTS = ("type", "default", "choices", "required", "elements")
SERVICES = {"keystone": r"api\.identity", "nova": r"api\.compute"}
GOOD = ("api.identity.a", "pass"), ("api.compute.a", "pass"), ("api.compute.b", "pass")


def test_documentation_and_arguments_agree() -> None:
    """Every option is documented with the type, the default and the choices that it has."""
    assert {key: [one.get(fact) for fact in FACTS] for key, one in documented("external_test").items()} == {
        key: [one.get(fact) for fact in FACTS] for key, one in module("external_test").ARGUMENT_SPEC.items()
    }


@pytest.fixture
def run_dir(tmp_path: Path) -> str:
    return str(RunDirectory.create(tmp_path / "runs", services=["keystone"]).path)


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def play(capsys: Any, argv: Sequence[str], **more: Any) -> dict[str, Any]:
    given = {"name": "our tests", "service": "keystone", "argv": list(argv), "collect": True, **more}
    return run(capsys, "external_test", **given)


def junit(tests: Sequence[tuple[str, str]]) -> str:
    bodies = {"pass": "", "fail": "<failure message='AssertionError: no'>Traceback\n  at line 4</failure>"}
    bodies["skip"] = "<skipped message='no image'/>"
    cases = (f"<testcase name='{id_}'>{bodies[end]}</testcase>" for id_, end in tests)
    return f"<testsuite>{''.join(cases)}</testsuite>"


def play_junit(capsys: Any, tests: Sequence[tuple[str, str]], rc: int = 0, **more: Any) -> dict[str, Any]:
    argv = [sys.executable, "-c", "import sys; print(sys.argv[1]); sys.exit(int(sys.argv[2]))", junit(tests), str(rc)]
    return play(capsys, argv, format="junit", services=SERVICES, **more)


def told(result: dict[str, Any], check: str) -> dict[str, tuple[str, str]]:
    return {
        one["service"] if check == "tests_passed" else one["subject"]: (one["status"], one["message"])
        for one in result["outcomes"]
        if one["check"] == check
    }


@pytest.mark.parametrize(
    ("script", "more", "status", "message"),
    [
        ("exit 0", {}, "pass", "our tests ended with exit code 0."),
        ("echo all is lost >&2; exit 3", {}, "fail", "our tests ended with exit code 3: all is lost."),
        ("exit 3", {"rc": [0, 3]}, "pass", "our tests ended with exit code 3."),
        ("kill -9 $$", {}, "fail", "our tests was ended by signal 9."),
        ("sleep 60 & sleep 60", {"timeout": 0.5}, "fail", "our tests did not end within"),
    ],
)
def test_an_exit_code_is_an_outcome(
    script: str, more: dict[str, Any], status: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command is good when it ends as it should, in time; else its last line is told."""
    began = time.monotonic()
    [outcome] = play(capsys, shell(script), phase="after", **more)["outcomes"]

    assert (outcome["status"], outcome["service"], outcome["phase"]) == (status, "keystone", "after")
    assert outcome["message"].startswith(message)
    assert time.monotonic() - began < 30


def test_a_bad_end_fails_the_task(capsys: pytest.CaptureFixture[str]) -> None:
    """Unless outcomes are collected."""
    assert play(capsys, shell("exit 1"), collect=False)["failed"] is True
    assert "failed" not in play(capsys, shell("exit 1"))


def test_each_test_becomes_an_outcome_of_its_service(capsys: pytest.CaptureFixture[str]) -> None:
    """Failures have their traceback; for each service it is said whether enough tests passed."""
    bad = ("api.compute.c", "fail"), ("api.compute.d", "skip"), ("scenario.x", "pass")
    result = play_junit(capsys, [*GOOD, *bad], rc=1)

    assert told(result, "test")["api.compute.c"] == ("fail", "api.compute.c failed: AssertionError: no.")
    assert told(result, "test")["api.compute.d"] == ("skip", "api.compute.d was skipped: no image.")
    assert {one["subject"]: one["service"] for one in result["outcomes"] if one["check"] == "test"} == {
        "api.identity.a": "keystone",
        "api.compute.a": "nova",
        "api.compute.b": "nova",
        "api.compute.c": "nova",
        "api.compute.d": "nova",
        "scenario.x": "keystone",
    }
    [failed] = [one for one in result["outcomes"] if one["status"] == "fail"]
    assert failed["evidence"]["traceback"].startswith("Traceback\n  at line 4")
    assert told(result, "tests_passed")["nova"] == (
        "pass",
        "our tests, nova: 2 of 4 tests passed, 1 were skipped.",
    )


@pytest.mark.parametrize(
    ("tests", "more", "service", "words"),
    [
        ([], {}, "nova", "0 of 0 tests passed, and at least 1 must."),
        ([], {"rc": [0]}, "keystone", "0 of 0 tests passed, and at least 1 must."),
        (GOOD[:1], {}, "nova", "0 of 0 tests passed, and at least 1 must."),
        (GOOD, {"minimum": 2}, "keystone", "1 of 1 tests passed, and at least 2 must."),
        ([*GOOD[:1], ("api.compute.a", "skip")], {}, "nova", "0 of 1 tests passed, 1 were skipped, and at least 1"),
    ],
)
def test_too_few_tests_are_a_failure(
    tests: Sequence[tuple[str, str]],
    more: dict[str, Any],
    service: str,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No test of a service is a failure of that service, although the command ended well; so are skipped ones."""
    status, message = told(play_junit(capsys, tests, **more), "tests_passed")[service]

    assert status == "fail"
    assert words in message


def test_a_bad_end_without_a_bad_test_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    """When the command fails and no test is told to have failed, something else is wrong."""
    status, message = told(play_junit(capsys, GOOD, rc=2), "tests_passed")["nova"]

    assert status == "fail"
    assert message.endswith("none is told to have failed. But our tests ended with exit code 2.")


def test_results_of_an_earlier_run_do_not_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that writes nothing must not be judged by what lay there before."""
    file = tmp_path / "out.xml"
    file.write_text(junit(GOOD))
    options = {"format": "junit", "results": "out.xml", "chdir": str(tmp_path)}
    [stale] = play(capsys, shell("true"), **options)["outcomes"]
    good = play(capsys, shell(f"cp {file} new && mv new out.xml"), **options)
    file.unlink()
    [missing] = play(capsys, shell("echo cannot import x; exit 1"), **options)["outcomes"]

    assert (stale["status"], "is of an earlier run" in stale["message"]) == ("fail", True)
    assert {one["status"] for one in good["outcomes"]} == {"pass"}
    assert missing["message"].endswith("out.xml. our tests ended with exit code 1: cannot import x.")


def test_results_that_nobody_can_read_are_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no JUnit is told as such."""
    [outcome] = play(capsys, ["echo", "5 passed"], format="junit")["outcomes"]

    assert outcome["status"] == "fail"
    assert "its results cannot be read: They are no XML" in outcome["message"]


def test_a_stream_of_subunit_from_a_real_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tests of Python's own unittest, run as Tempest's are, with the traceback of the one that fails."""
    pytest.importorskip("subunit", reason="python-subunit is not installed")
    (tmp_path / "api.py").write_text(
        "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        pass\n"
        "    def test_b(self):\n        self.fail('the server is gone')\n"
        "    def test_c(self):\n        self.skipTest('no network')\n"
    )
    argv = [sys.executable, "-W", "ignore", "-m", "subunit.run", "api"]
    environment = {"PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}"}
    result = play(capsys, argv, format="subunit", environment=environment, chdir=str(tmp_path))
    found = told(result, "test")

    assert {id_: status for id_, (status, _text) in found.items()} == {
        "api.T.test_a": "pass",
        "api.T.test_b": "fail",
        "api.T.test_c": "skip",
    }
    assert "the server is gone" in found["api.T.test_b"][1]
    [failed] = [one for one in result["outcomes"] if one["subject"] == "api.T.test_b"]
    assert "api.py" in failed["evidence"]["traceback"]


def test_many_tests_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """Of very many tests only those that did not pass are told one by one."""
    tests = [(f"api.compute.t{number}", "pass") for number in range(MOST)]
    result = play_junit(capsys, [*tests, ("api.compute.bad", "fail"), ("api.identity.a", "pass")])

    assert list(told(result, "test")) == ["api.compute.bad"]
    assert told(result, "tests_passed")["nova"][1] == f"our tests, nova: {MOST} of {MOST + 1} tests passed."


def test_credentials_of_the_caller_stay_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A test runs as whom its environment names, never as the administrator whose variables happen to be set."""
    monkeypatch.setenv("OS_PASSWORD", PASSWORD)
    monkeypatch.setenv("OS_CLOUD", "admin")
    script = 'test -z "$OS_PASSWORD" && test "$OS_CLOUD" = upgrade_test && test -n "$PATH"'
    [outcome] = play(capsys, shell(script), environment={"OS_CLOUD": "upgrade_test"})["outcomes"]

    assert outcome["status"] == "pass"


def test_what_is_kept_has_no_secret(run_dir: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Output and tracebacks are redacted; the output lies in the run directory, and the services are judged."""
    RunDirectory(run_dir).write_credentials(f"clouds: {{}}\npassword: {PASSWORD}\n")
    tests = [*GOOD, ("api.compute.c", "fail")]
    text = junit(tests).replace("Traceback", f"Traceback of {PASSWORD}")
    (tmp_path / "script").write_text(f"echo {PASSWORD} >&2; cat <<'E'\n{text}\nE\nexit 1\n")
    argv = ["/bin/sh", str(tmp_path / "script")]
    result = play(capsys, argv, run_dir=run_dir, format="junit", services=SERVICES)

    [failed] = [one for one in result["outcomes"] if one["status"] == "fail"]
    log = Path(run_dir) / failed["evidence"]["log"]
    assert "[redacted" in failed["evidence"]["traceback"]
    assert "[redacted" in log.read_text()
    kept = [path.read_text() for path in Path(run_dir).rglob("*") if path.is_file() and path.name != "clouds.yaml"]
    assert not any(PASSWORD in one for one in kept)
    assert RunDirectory(run_dir).document["services"] == ["keystone", "nova"]


def test_no_log_hides_an_earlier_one(run_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A test that is run twice at once leaves what it said both times."""
    for word in ("first", "second"):
        play(capsys, ["echo", word], run_dir=run_dir)

    logs = sorted((Path(run_dir) / "evidence").iterdir())
    assert [path.read_text() for path in logs] == ["first\n", "second\n"]


def test_check_mode_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In check mode the command is not started."""
    result = play(capsys, shell(f"touch {tmp_path}/ran"), _ansible_check_mode=True)

    assert (result["changed"], result["outcomes"]) == (True, [])
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"argv": []}, "argv: has to name a command."),
        ({"argv": ["/nowhere/tool"]}, "argv: /nowhere/tool could not be started: "),
        ({"chdir": "/nowhere"}, "chdir: there is no folder /nowhere."),
        ({"results": "x.xml"}, "results: goes with a format other than exit_code."),
        ({"services": {"nova": "("}}, "services: '(' of nova is no regular expression: "),
        ({"run_dir": "/nowhere"}, "/nowhere is not a run directory"),
    ],
)
def test_mistakes_are_one_line(options: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An option that cannot work is named."""
    assert play(capsys, **{"argv": ["true"], **options})["msg"].startswith(words)
