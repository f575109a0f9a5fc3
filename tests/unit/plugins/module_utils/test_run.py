# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory, RunError, new_run_id

CANARY = "c4n4ry-S3cr3t"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_run_is_private_and_linked(runs: Path) -> None:
    """Only the owner can read a run, and current and latest lead to it."""
    run = RunDirectory.create(runs, cloud="lab")
    run.append_event("mark", "hello")
    run.write_text("verdict.txt", "met\n")
    run.samples_directory("api_uptime", "localhost")

    files = [path for path in run.path.rglob("*") if path.is_file()]
    folders = [runs, run.path, *(path for path in run.path.rglob("*") if path.is_dir())]
    assert {mode(path) for path in files} == {0o600}
    assert {mode(path) for path in folders} == {0o700}
    assert (runs / "current").resolve() == (runs / "latest").resolve() == run.path
    assert (runs / ".gitignore").read_text() == "*\n"
    assert run.document["state"] == "open"


def test_second_run_is_refused(runs: Path) -> None:
    """While a run is open, the error names it and says how to close it."""
    first = RunDirectory.create(runs)

    with pytest.raises(RunError, match=f"{first.run_id} is open.*cleanup"):
        RunDirectory.create(runs)
    assert [path.name for path in runs.iterdir() if path.is_dir() and not path.is_symlink()] == [first.run_id]


def test_closing_ends_the_phase_and_the_credentials(runs: Path) -> None:
    """A closed run has an end, no current and no credentials; closing again changes nothing."""
    run = RunDirectory.create(runs, now=100.0)
    run.begin_phase("before", now=101.0)
    run.write_credentials(f"password: {CANARY}\n")
    first = run.close(completed=True, now=200.0)
    again = run.close(completed=False, now=300.0)

    assert (first["state"], first["ended"]) == ("closed", 200.0)
    assert again == first
    assert [event["name"] for event in run.read("events.jsonl")] == ["before", "end"]
    assert not (run.path / "clouds.yaml").exists()
    assert not (runs / "current").is_symlink()
    assert RunDirectory.find(runs).run_id == run.run_id


def test_interrupted_run_is_told(runs: Path) -> None:
    """A run whose procedure did not end is interrupted, and another can be opened."""
    run = RunDirectory.create(runs)
    run.close(completed=False)

    assert run.state == "interrupted"
    assert RunDirectory.create(runs).state == "open"


def test_closing_one_run_leaves_the_other_open(runs: Path) -> None:
    """Closing an old run does not take current from the new one."""
    old = RunDirectory.create(runs, now=1.0)
    old.close(completed=True)
    new = RunDirectory.create(runs)
    old.close(completed=True)

    opened = RunDirectory.opened(runs)
    assert opened is not None
    assert opened.run_id == new.run_id


@pytest.mark.parametrize("leftover", ["closed", "gone", "no document"])
def test_stale_current_is_replaced(runs: Path, leftover: str) -> None:
    """What a crash while closing or opening leaves does not block the next run."""
    runs.mkdir()
    target = runs / "20261120T091300Z-7f3a"
    (runs / "current").symlink_to(target.name)
    if leftover != "gone":
        target.mkdir()
    if leftover == "closed":
        (target / "run.json").write_text('{"state": "closed"}')
    run = RunDirectory.create(runs)

    assert (runs / "current").resolve() == run.path


def test_malformed_run_id_is_refused(runs: Path) -> None:
    """A run id is never a way out of the folder of runs."""
    with pytest.raises(RunError, match="run_id"):
        RunDirectory.create(runs, "../elsewhere")


def test_no_run_is_a_clear_error(runs: Path) -> None:
    """Without any run the error says what to do; with a wrong id it names the id."""
    with pytest.raises(RunError, match="state: opened"):
        RunDirectory.find(runs)
    RunDirectory.create(runs)
    with pytest.raises(RunError, match="no run 20200101"):
        RunDirectory.find(runs, "20200101T000000Z-0000")


def test_torn_last_line_is_left_out_and_not_continued(runs: Path) -> None:
    """A line that a crash tore spoils only itself, and is counted."""
    run = RunDirectory.create(runs)
    run.append_event("mark", "one")
    path = run.path / "events.jsonl"
    path.write_bytes(path.read_bytes() + b'{"schema": 1, "kind": "mark", "na')
    assert [event["name"] for event in run.read("events.jsonl")] == ["one"]
    run.append_event("mark", "two")

    assert [event["name"] for event in run.read("events.jsonl")] == ["one", "two"]
    assert run.unreadable("events.jsonl") == 1


def test_broken_document_is_no_traceback(runs: Path) -> None:
    """A run.json that cannot be read makes the run interrupted, and nothing worse."""
    run = RunDirectory.create(runs)
    (run.path / "run.json").write_text("{")

    assert (run.document, run.state) == ({}, "interrupted")


def test_secrets_never_reach_a_file(runs: Path) -> None:
    """What clouds.yaml holds, also when another process writes it later, is in no other file."""
    run = RunDirectory.create(runs)
    RunDirectory(run.path).write_credentials(f"auth:\n  password: {CANARY}\n")
    run.append_event("mark", f"mark {CANARY}")
    run.append_outcome(Outcome(validator="v", check="c", service="s", subject=CANARY, status="fail", message=CANARY))  # type: ignore[arg-type]
    run.append_resource(
        "intent", service="nova", type="server", name="x", facts={"adminPass": "other-secret", "a": CANARY}
    )
    run.write_json("results.json", {"a": [CANARY], CANARY: 1})
    run.write_text("report.html", f"<b>{CANARY}</b>", rendered=True)
    run.update(labels={"x": CANARY})

    texts = {path.name: path.read_text() for path in run.path.iterdir() if path.name != "clouds.yaml"}
    assert len(texts) == 6
    assert [name for name, text in texts.items() if CANARY in text or "other-secret" in text] == []
    assert texts["report.html"] == "<b>[redacted:known]</b>"


def test_wrong_kinds_are_refused(runs: Path) -> None:
    """Only the kinds of the contract can be written."""
    run = RunDirectory.create(runs)

    with pytest.raises(ValueError, match="kind"):
        run.append_event("gossip", "x")
    with pytest.raises(ValueError, match="event"):
        run.append_resource("made", service="nova", type="server", name="x")


def test_ids_sort_by_time() -> None:
    """The names of runs sort in the order in which they began."""
    assert new_run_id(0.0) < new_run_id(1.0) < new_run_id(2_000_000_000.0)
    assert new_run_id(0.0).startswith("19700101T000000Z-")


WRITER = """
import sys
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
run = RunDirectory(sys.argv[1])
for number in range(int(sys.argv[3])):
    run.append_event("mark", f"{sys.argv[2]} {number} " + "x" * 3000)
"""


def write(run: RunDirectory, name: str, count: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", WRITER, str(run.path), name, str(count)], env=environment)


def test_two_writers_do_not_mix_their_records(runs: Path) -> None:
    """Records of processes that write at once are whole, and none is lost."""
    run = RunDirectory.create(runs)
    writers = [write(run, name, 300) for name in ("a", "b")]

    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert (len(run.read("events.jsonl")), run.unreadable("events.jsonl")) == (600, 0)


def test_killed_writer_leaves_whole_records(runs: Path) -> None:
    """SIGKILL in the middle of writing loses at most the record being written."""
    run = RunDirectory.create(runs)
    writer = write(run, "a", 1_000_000)
    path = run.path / "events.jsonl"
    while not path.exists() or path.stat().st_size < 200_000:
        assert writer.poll() is None
    writer.send_signal(signal.SIGKILL)
    writer.wait(60)
    names = [event["name"].split()[1] for event in run.read("events.jsonl")]

    assert run.unreadable("events.jsonl") <= 1
    assert names == [str(number) for number in range(len(names))]


HOLDER = """
import sys, time
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
run = RunDirectory(sys.argv[1])
with run.alone():
    print("in", flush=True)
    time.sleep(float(sys.argv[2]))
    run.append_event("mark", "made last")
"""


@contextmanager
def busy(run: RunDirectory, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that works on a run for some seconds, as a module does whose playbook was killed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", HOLDER, str(run.path), str(seconds)]
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"in\n"
        yield holder
        holder.kill()


def test_who_works_on_a_run_is_waited_for(runs: Path) -> None:
    """What another process makes last is there for the one that comes after it."""
    run = RunDirectory.create(runs)
    with busy(run, 0.5), run.alone():
        assert [one["name"] for one in run.read("events.jsonl")] == ["made last"]


def test_who_works_too_long_is_named(runs: Path) -> None:
    """Patience ends with the process that has it; an end by SIGKILL frees the run."""
    run = RunDirectory.create(runs)
    with busy(run, 60) as holder:
        with pytest.raises(RunError, match=rf"^Process {holder.pid} has worked on run {run.run_id} for 0.2 s"):
            run.alone(patience=0.2).__enter__()
        holder.kill()
        with run.alone(patience=20):
            pass


def test_same_document_same_bytes(runs: Path) -> None:
    """Order of keys does not matter, so that results can be compared."""
    run = RunDirectory.create(runs)
    first = run.write_json("a.json", {"x": 1, "y": [2]}).read_bytes()
    second = run.write_json("b.json", {"y": [2], "x": 1}).read_bytes()

    assert first == second
    assert json.loads(first) == {"x": 1, "y": [2]}
