# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real processes: when they serve, how they end, what outlives them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._lab import _process
from ansible_collections.openstack.upgrade_test.plugins.module_utils._wait import becomes_true

# The processes outlive those that start them on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

SERVER = """
import http.server, os, signal, socket, subprocess, sys, time
mode, argument = sys.argv[1:]
print("begun", flush=True)
if mode == "die":
    sys.exit(f"cannot go on: {argument}")
if mode == "http":
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(int(self.path[1:]))
            self.end_headers()
    http.server.HTTPServer(("127.0.0.1", int(argument)), Handler).serve_forever()
if mode == "garbage":
    listener = socket.create_server(("127.0.0.1", int(argument)))
    while True:
        connection = listener.accept()[0]
        connection.recv(1000)
        connection.sendall(b"what?\\r\\n\\r\\n")
        connection.close()
if mode == "socket":
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(argument)
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "family":
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    family = [subprocess.Popen(sleep).pid, subprocess.Popen(sleep, start_new_session=True).pid]
    print("family", *family, flush=True)
print("serving", flush=True)
time.sleep(600)
"""

Make = Callable[..., _process.Process]


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for the records; what they name is ended after the test."""
    folder = tmp_path / "records"
    monkeypatch.setattr(_process, "RECORDS", folder)
    yield folder
    for path in folder.glob("[!.]*.json"):
        if record := _process.load(path.stem):
            for pid in _process.session_of(record.pid):
                _process.signal_to(pid, signal.SIGKILL)


@pytest.fixture
def make(tmp_path: Path, records: Path) -> Make:
    """What should run: the server above in a mode, with its argument."""
    script = tmp_path / "server.py"
    script.write_text(SERVER)

    def process(mode: str, argument: Any = "", **more: Any) -> _process.Process:
        argv = [sys.executable, str(script), mode, str(argument)]
        return _process.Process(**{"name": mode, "argv": argv, "log": tmp_path / "log" / f"{mode}.log", **more})

    return process


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(process: _process.Process) -> _process.Record:
    """Start a process and wait until it serves; its record."""
    _process.wait_ready(process, _process.launch(process), 0)
    record = _process.load(process.name)
    assert record is not None
    return record


def family(process: _process.Process) -> tuple[int, int]:
    """PIDs of the worker and of the guest that the server names in its log."""
    worker, guest = process.log.read_text().split("family ")[1].split()[:2]
    return int(worker), int(guest)


def lives(pid: int) -> bool:
    return _process.start_time(pid) is not None


def refuses(port: int) -> bool:
    return not _process.connects("127.0.0.1", port)


def test_ready_by_port(make: Make, port: int) -> None:
    """A process serves once its port takes connections, not before."""
    process = make("http", port, ready={"port": str(port)})
    assert not _process.is_ready(process, 0)
    record = serve(process)

    assert record.alive()
    assert record.served
    assert not refuses(port)


@pytest.mark.parametrize(("status", "ready"), [(200, True), (401, True), (300, True), (500, False), (503, False)])
def test_ready_by_url(make: Make, port: int, status: int, ready: bool) -> None:
    """Whatever the service answers by itself counts; an error of the server does not."""
    serve(make("http", port, ready={"port": port}))

    assert _process.answers(f"http://127.0.0.1:{port}/{status}") is ready


def test_proxy_is_not_asked(make: Make, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the surroundings neither hides a service nor answers in its place."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    serve(make("http", port, ready={"url": f"http://127.0.0.1:{port}/200"}, timeout=20))


def test_garbage_is_not_ready(make: Make, port: int) -> None:
    """A server that does not speak HTTP is told as one that does not serve."""
    process = make("garbage", port, ready={"url": f"http://127.0.0.1:{port}/"}, timeout=0.5)
    with pytest.raises(_process.ProcessError, match=r"^garbage did not serve within 0\.5 s; end of .*garbage\.log"):
        serve(process)


def test_ready_by_socket(make: Make, tmp_path: Path) -> None:
    """A process serves once its socket is there."""
    process = make("socket", tmp_path / "s", ready={"socket": str(tmp_path / "s")})

    assert not _process.is_ready(process, 0)
    assert serve(process).served


def test_ready_by_log_of_this_start(make: Make) -> None:
    """Only what the log says since this start counts, not what an earlier process wrote."""
    process = make("die", "now", ready={"log": "serving"})
    process.log.parent.mkdir()
    process.log.write_text("serving\n")
    size = _process.log_size(process)
    with pytest.raises(_process.ProcessError, match="die ended at its start"):
        _process.wait_ready(process, _process.launch(process), size)

    assert serve(make("plain", ready={"log": "serving"})).served


def test_death_at_the_start_is_told(make: Make, port: int) -> None:
    """A process that dies is told at once, by name, with the end of its log; it leaves no record that counts."""
    process = make("die", "the disk is full", ready={"port": port})
    began = time.monotonic()
    with pytest.raises(_process.ProcessError, match=r"(?s)^die ended at its start; end of .*the disk is full$"):
        serve(process)

    assert time.monotonic() - began < process.timeout / 2
    assert _process.load("die") is None


def test_not_ready_in_time_is_told(make: Make, port: int) -> None:
    """A process that lives and does not serve is told, and remembered as one that never served."""
    process = make("plain", ready={"port": port}, timeout=0.3)
    with pytest.raises(_process.ProcessError, match=r"plain did not serve within 0\.3 s"):
        serve(process)
    record = _process.load("plain")

    assert record is not None
    assert record.alive()
    assert not record.served


def test_stop_ends_workers_and_spares_guests(make: Make) -> None:
    """A worker of the session ends with the process; what has a session of its own lives on."""
    process = make("family", ready={"log": "serving"})
    record = serve(process)
    worker, guest = family(process)
    try:
        before = [lives(pid) for pid in (record.pid, worker, guest)]
        _process.stop(process, record)
        after = [lives(pid) for pid in (record.pid, worker, guest)]
    finally:
        _process.signal_to(guest, signal.SIGKILL)

    assert before == [True, True, True]
    assert after == [False, False, True]
    assert _process.load("family") is None


def test_stop_ends_what_a_crash_left(make: Make) -> None:
    """Workers of a process that crashed are still known as its own, and ended."""
    process = make("family", ready={"log": "serving"})
    record = serve(process)
    worker, guest = family(process)
    try:
        os.kill(record.pid, signal.SIGKILL)
        assert becomes_true(lambda: not record.alive(), 10)
        left = _process.load("family")
        assert left == record
        _process.stop(process, record)

        assert not lives(worker)
        assert lives(guest)
    finally:
        _process.signal_to(guest, signal.SIGKILL)
    assert _process.load("family") is None


def test_stop_insists(make: Make) -> None:
    """A process that ignores SIGTERM is given its time and then ended."""
    process = make("stubborn", ready={"log": "serving"}, stop_timeout=0.3)
    record = serve(process)
    began = time.monotonic()
    _process.stop(process, record)

    assert time.monotonic() - began >= 0.3
    assert not lives(record.pid)


def test_record_of_another_life_counts_as_none(make: Make, records: Path) -> None:
    """A process that has the pid of an earlier one by chance is not taken for it, and not touched."""
    records.mkdir()
    _process.save("other", _process.Record(os.getpid(), 1, "x"))

    assert _process.load("other") is None


def test_plain_surroundings(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process gets the variables it asked for and none of those of the connection."""
    monkeypatch.setenv("OS_PASSWORD", "secret")
    surroundings = _process.surroundings(make("plain", environment={"HOME": "/nowhere", "A": "1"}))

    assert set(surroundings) == {"PATH", "LANG", "HOME", "A"}
    assert surroundings["HOME"] == "/nowhere"


def test_fingerprint_follows_what_matters(make: Make, tmp_path: Path) -> None:
    """Command, environment, user and the content of inputs make another process; times and signs do not."""
    folder = tmp_path / "etc"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.conf").write_text("1")
    missing = tmp_path / "later.conf"
    inputs = [str(folder), str(missing)]
    first = make("plain", inputs=inputs).fingerprint()
    same = make("plain", inputs=inputs, timeout=3, stop_timeout=3, ready={"log": "x"}).fingerprint()
    os.utime(folder / "deep" / "a.conf", (0, 0))
    touched = make("plain", inputs=inputs).fingerprint()
    others = [
        make("plain", "more", inputs=inputs).fingerprint(),
        make("plain", inputs=inputs, environment={"A": "1"}).fingerprint(),
        make("plain", inputs=inputs, user="nobody").fingerprint(),
    ]
    (folder / "deep" / "a.conf").write_text("2")
    others.append(make("plain", inputs=inputs).fingerprint())
    missing.write_text("now there")
    others.append(make("plain", inputs=inputs).fingerprint())

    assert same == touched == first
    assert len({first, *others}) == 6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"argv": ["no-such-command", "x"]}, "plain: no-such-command cannot be run: No such file or directory"),
        ({"argv": ["/etc/passwd"]}, "plain: /etc/passwd cannot be run: Permission denied"),
        ({"user": "no-such-user"}, "plain: user: there is no user no-such-user"),
    ],
)
def test_what_cannot_be_run_is_told(make: Make, records: Path, wrong: dict[str, Any], message: str) -> None:
    """A command or user that is not there is named in one line, and leaves no record."""
    with pytest.raises(_process.ProcessError) as problem:
        _process.launch(make("plain", **wrong))

    assert str(problem.value) == message
    assert list(records.iterdir()) == []


def test_nothing_starts_without_a_record(make: Make, records: Path) -> None:
    """Where no record can be written nothing is started: it could never be found again."""
    records.write_text("a file in the way")
    process = make("plain")
    with pytest.raises(OSError, match="records"):
        _process.launch(process)

    assert not process.log.exists()


def test_a_process_without_its_first_thread_is_alive() -> None:
    """A process whose first thread has ended still holds its sockets, so it counts as running until all have ended."""
    code = "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(60,)).start(); "
    code += "ctypes.CDLL(None).pthread_exit(None)"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            stat = Path(f"/proc/{process.pid}/stat")
            assert becomes_true(lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z", 20)
            assert _process.start_time(process.pid) is not None
        finally:
            process.kill()
            process.wait()

    assert _process.start_time(process.pid) is None
