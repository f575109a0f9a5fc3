# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""lab_process as a task: what is restarted, what is left alone, what is told."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.openstack.upgrade_test.plugins.module_utils._lab import _process
from ansible_collections.openstack.upgrade_test.plugins.module_utils._wait import becomes_true
from ansible_collections.openstack.upgrade_test.plugins.modules import lab_process

# The processes outlive the module on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

READY = {"log": "serving"}
SERVER = "import sys, time; print('serving', flush=True); time.sleep(600)"

Call = Callable[..., dict[str, Any]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    monkeypatch.setattr(_process, "RECORDS", tmp_path / "records")

    def run(*processes: dict[str, Any], **params: Any) -> dict[str, Any]:
        with patch_module_args({"processes": processes, **params}), pytest.raises(SystemExit):
            lab_process.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    yield run
    for path in (tmp_path / "records").glob("[!.]*.json"):
        if record := _process.load(path.stem):
            for pid in _process.session_of(record.pid):
                _process.signal_to(pid, signal.SIGKILL)


@pytest.fixture
def unit(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Options of a process that serves soon."""

    def options(name: str = "a", **more: Any) -> dict[str, Any]:
        argv = [sys.executable, "-c", SERVER]
        return {"name": name, "argv": argv, "log": str(tmp_path / f"{name}.log"), "ready": READY, **more}

    return options


def pid_of(name: str) -> int | None:
    record = _process.load(name)
    return record.pid if record else None


def test_life_of_two_processes(call: Call, unit: Call) -> None:
    """Two start side by side, a second call leaves them alone, stopping ends them, stopping again changes nothing."""
    first = call(unit("a"), unit("b"))
    pids = [pid_of("a"), pid_of("b")]
    second = call(unit("a"), unit("b"))
    same = [pid_of("a"), pid_of("b")]
    stopped = call({"name": "a"}, {"name": "b"}, state="stopped")
    again = call({"name": "a"}, {"name": "b"}, state="stopped")

    assert [one["changed"] for one in (first, second, stopped, again)] == [True, False, True, False]
    assert first["processes"] == stopped["processes"] == ["a", "b"]
    assert None not in pids
    assert same == pids
    assert (pid_of("a"), pid_of("b")) == (None, None)


def test_only_what_changed_is_restarted(call: Call, unit: Call, tmp_path: Path) -> None:
    """Another input, environment or command restarts just that process; another timeout does not."""
    config = tmp_path / "a.conf"
    config.write_text("1")
    inputs = [str(config)]
    call(unit("a", inputs=inputs), unit("b"))
    old = pid_of("a")
    patient = call(unit("a", inputs=inputs, timeout=7), unit("b"))
    config.write_text("2")
    written = call(unit("a", inputs=inputs), unit("b"))
    new = pid_of("a")
    surrounded = call(unit("a", inputs=inputs, environment={"A": 1}), unit("b"))
    commanded = call(
        unit("a", inputs=inputs, environment={"A": 1}, argv=[sys.executable, "-u", "-c", SERVER]), unit("b")
    )

    assert [one["processes"] for one in (patient, written, surrounded, commanded)] == [[], ["a"], ["a"], ["a"]]
    assert old != new
    assert old is not None
    assert _process.start_time(old) is None


def test_process_that_crashed_is_started_again(call: Call, unit: Call) -> None:
    """A process that ended by itself is due again."""
    call(unit())
    record = _process.load("a")
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)
    becomes_true(lambda: not record.alive(), 10)

    assert call(unit())["processes"] == ["a"]


def test_process_that_never_served_is_started_again(call: Call, unit: Call) -> None:
    """A process that did not serve in time does not count as started, whatever the next call finds running."""
    late = call(unit(ready={"log": "never said"}, timeout=0.3))
    hanging = pid_of("a")
    result = call(unit())

    assert late["failed"] is True
    assert late["msg"].startswith("a did not serve within 0.3 s; end of ")
    assert result["processes"] == ["a"]
    assert hanging is not None
    assert _process.start_time(hanging) is None


def test_one_failure_does_not_hide_the_others(call: Call, unit: Call) -> None:
    """When one process dies the module fails with its name, and the others serve."""
    result = call(unit("a", argv=[sys.executable, "-c", "raise SystemExit('no disk')"]), unit("b"))

    assert result["failed"] is True
    assert result["msg"].startswith("a ended at its start")
    assert result["msg"].endswith("no disk")
    assert pid_of("b") is not None


def test_check_mode_starts_and_stops_nothing(call: Call, unit: Call, tmp_path: Path) -> None:
    """Check mode names what would be started or stopped, and does not."""
    start = call(unit(), _ansible_check_mode=True)
    nothing = list(tmp_path.iterdir())
    call(unit())
    pid = pid_of("a")
    stop = call({"name": "a"}, state="stopped", _ansible_check_mode=True)

    assert (start["changed"], start["processes"], nothing) == (True, ["a"], [])
    assert (stop["changed"], stop["processes"]) == (True, ["a"])
    assert pid_of("a") == pid


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"argv": None}, "processes: a needs argv and log to be started"),
        ({"argv": []}, "processes: a needs argv and log to be started"),
        ({"log": None}, "processes: a needs argv and log to be started"),
        ({"name": "../a"}, "processes: name '../a' must be a plain word, without a slash or a leading dot"),
        ({"ready": {"prot": 1}}, "processes: ready of a must have one of log, port, socket, url, not prot"),
        (
            {"ready": {"port": 1, "log": "x"}},
            "processes: ready of a must have one of log, port, socket, url, not log, port",
        ),
        ({"ready": {"port": "http"}}, "processes: ready of a needs a number as port, not http"),
        (
            {"ready": {"url": "localhost:80"}},
            "processes: ready of a needs a url that begins with http:// or https://, not localhost:80",
        ),
        ({"argv": ["no-such-command"]}, "a: no-such-command cannot be run: No such file or directory"),
        ({"user": "no-such-user"}, "a: user: there is no user no-such-user"),
        ({"log": "/dev/null/a.log"}, "[Errno 17] File exists: '/dev/null'"),
        ({"inputs": ["/proc/self/mem"]}, "a: inputs: /proc/self/mem cannot be read: Input/output error"),
    ],
)
def test_bad_input_is_told_in_one_line(call: Call, unit: Call, wrong: dict[str, Any], message: str) -> None:
    """What cannot be started is named, with what is wrong."""
    result = call(unit() | wrong)

    assert result["failed"] is True
    assert result["msg"] == message
    assert pid_of("a") is None


def test_same_name_twice_is_refused(call: Call, unit: Call) -> None:
    """Two processes of one name would overwrite each other's record."""
    assert call(unit(), unit())["msg"] == "processes: a is given twice"
