# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._logs import (
    errors_in,
    errors_of_journal,
    judge_logs,
    kind_of,
    log_of,
    look_at_logs,
    read_tail,
    shift,
    summarise,
    usual_of,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._redact import Redactor
from ansible_collections.openstack.upgrade_test.tests.unit.plugins.module_utils._health.conftest import Installed

ID = "7690ffb5-7406-4e44-8bd7-c427d3d9b396"
ERROR = "2026-11-21 20:06:43.272 892 ERROR nova.compute.manager "
FAILED = "Instance failed to spawn: nova.exception.PortBindingFailed: Binding failed for port"
LINES = (
    f"2026-11-21 20:06:42.100 892 INFO nova.compute.manager [None req-{ID} - - - -] An ERROR word",
    f"{ERROR}[None req-{ID} u p - -] [instance: {ID}] {FAILED} 17.",
    f"{ERROR}Traceback (most recent call last):",
    f'{ERROR}  File "/opt/nova/manager.py", line 12, in spawn',
    f"{ERROR}    raise error",
    f"{ERROR}KeyError: 'x'",
    ERROR,
    f"{ERROR}During handling of the above exception, another exception occurred:",
    ERROR,
    f"{ERROR}Traceback (most recent call last):",
    f'{ERROR}  File "/opt/nova/manager.py", line 13, in spawn',
    f"{ERROR}nova.exception.PortBindingFailed: Binding failed for port 17.",
    ERROR,
    f"2026-11-21 20:07:43.001 893 ERROR nova.compute.manager [-] {FAILED} 4711.",
    "2026-11-21 20:08:00.000 77 ERROR nova [-] Unhandled error: OSError: write error",
    "2026-11-21 20:08:00.000 77 ERROR nova OSError: write error",
    "2026-11-21 20:08:00.001 77 ERROR nova ",
    "not a line of a log",
)
LOG = "\n".join(LINES)
WHEN = time.mktime(time.strptime("2026-11-21 20:06:43", "%Y-%m-%d %H:%M:%S"))


def kinds(text: str = LOG, since: float = 0, secret: str = "") -> list[dict[str, Any]]:
    return summarise("nova", errors_in(text.splitlines()), since, Redactor([secret]))


def judged(since: float | None, usual: Any = (), **facts: Any) -> tuple[Status, str]:
    found = judge_logs(
        {"service": "nova", "component": "nova-compute", "log": "l", "errors": kinds(), **facts}, since, usual
    )
    return found.status, found.message


def test_a_traceback_belongs_to_its_error() -> None:
    """However many lines it has, it is one error, and errors that differ in ids only are of one kind."""
    found = kinds()

    assert [(one["count"], one["kind"]) for one in found] == [
        (2, "Instance failed to spawn: nova.exception.PortBindingFailed: Binding failed for port <n>."),
        (1, "Unhandled error: OSError: write error"),
    ]
    assert found[0]["last"] == WHEN + 60
    assert kind_of("port 7690ffb5-7406-4e44-8bd7-c427d3d9b396 at 10.0.0.7") == "port <id> at <n>"


def test_a_new_kind_of_error_is_quoted_and_a_fatal_one_fails() -> None:
    """Since the mark it came, was not there before, and nobody knows it as harmless, nor as harm unless it is fatal."""
    status, message = judged(WHEN)
    fatal = [{**one, "level": "CRITICAL"} for one in kinds()]

    assert (status, "Whether it does harm is not known" in message) == (Status.UNKNOWN, True)
    assert "2 times 'Instance failed to spawn" in message
    assert judged(WHEN, errors=fatal)[0] is Status.FAIL


def test_old_usual_and_harmless_errors_pass() -> None:
    """What was before the mark, what was usual before the upgrade and what is on the list is no new error."""
    facts = {"component": "nova-compute", "errors": kinds()}

    assert judged(WHEN + 61)[0] is Status.PASS
    assert judged(WHEN, usual_of(facts))[0] is Status.PASS
    assert kinds(since=WHEN + 61)[0]["harmless"] != ""


def test_without_a_mark_nothing_is_new() -> None:
    """That is skipped; a log that could not be read, or not far enough, is unknown."""
    assert judged(None)[0] is Status.SKIP
    assert judged(WHEN, problem="it cannot be read")[0] is Status.UNKNOWN
    assert judged(WHEN + 61, cut=True)[0] is Status.UNKNOWN
    assert "new kind" in judged(WHEN, cut=True)[1]


def test_no_secret_is_quoted() -> None:
    """What the configuration keeps secret is in no sample."""
    line = "2026-11-21 20:06:43.272 892 ERROR nova.db Cannot reach mysql://nova:my-secret-word@h\n"

    assert "my-secret-word" not in str(kinds(line, secret="my-secret-word"))


def test_a_log_in_another_time_zone_is_understood() -> None:
    """A container that counts in another time zone is off by whole half hours; a quiet log is not."""
    assert shift(1000.0, 1000.0 + 7200) == 7200
    assert shift(1000.0, 1003.0) == 0
    assert shift(1000.0, 1000.0 - 19800 + 20) == -19800


def test_the_log_of_a_running_process_is_found_and_read(nova: Installed) -> None:
    """It is what the process writes to, and an error in it is found."""
    pid = nova.start("nova-compute")
    log = nova.folder / "nova-compute.log"
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    log.write_text(f"{now}.001 {pid} CRITICAL nova [-] Unhandled error: KeyError: 'x'\n")
    (found,) = look_at_logs([("nova", "nova-compute", pid)], time.time() - 60, Redactor())

    assert log_of(pid) is not None
    assert found["log"] == str(log)
    assert [one["kind"] for one in found["errors"]] == ["Unhandled error: KeyError: 'x'"]
    assert judge_logs(found, time.time() - 60, []).status is Status.FAIL


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    """A line that was cut in two is left out, and it is told that there was more."""
    path = tmp_path / "long.log"
    path.write_text("first line\nsecond line\nthird line\n")
    with path.open("rb") as file:
        assert read_tail(file, 15) == (["third line"], True)
        assert read_tail(file, 1000) == (["first line", "second line", "third line"], False)


def test_the_journal_tells_errors_too() -> None:
    """As the service wrote them, or by their priority; what is no entry is passed over."""
    entries = [
        {"MESSAGE": LINES[1], "__REALTIME_TIMESTAMP": "1000000", "PRIORITY": "6"},
        {"MESSAGE": "plain", "__REALTIME_TIMESTAMP": "2000000", "PRIORITY": "3", "SYSLOG_IDENTIFIER": "nova-api"},
        {"MESSAGE": "fine", "__REALTIME_TIMESTAMP": "3000000", "PRIORITY": "6"},
        {"MESSAGE": None},
    ]
    found = list(errors_of_journal("\n".join(["{", *map(json.dumps, entries)])))

    assert [(one.time, one.logger) for one in found] == [(1.0, "nova.compute.manager"), (2.0, "nova-api")]
