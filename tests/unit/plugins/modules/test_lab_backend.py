# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers of a real HAProxy, taken out and put back."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.openstack.upgrade_test.plugins.modules import lab_backend

HAPROXY = shutil.which("haproxy", path="/usr/sbin:" + os.defpath)

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="needs haproxy")

CONFIG = """
global
  stats socket {socket} mode 600 level admin
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  default-server check inter 100ms fall 1 rise 1
listen back
  bind 127.0.0.1:{port}
  option httpchk GET /check
  server one 127.0.0.1:{one}
  server two 127.0.0.1:{two}
"""

Call = Callable[..., dict[str, Any]]


class Server(http.server.ThreadingHTTPServer):
    """Answers with its name; ``/slow`` waits for ``release``, ``/check`` for ``healthy``."""

    daemon_threads = True

    def __init__(self, name: str) -> None:
        """Serve on a free port."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.name = name
        self.begun, self.release, self.healthy = threading.Event(), threading.Event(), threading.Event()
        self.healthy.set()
        threading.Thread(target=self.serve_forever, args=(0.02,)).start()

    def end(self) -> None:
        """Let everything that waits go, and end."""
        self.release.set()
        self.healthy.set()
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path == "/check":
            self.server.healthy.wait(20)
        if self.path == "/slow":
            self.server.begun.set()
            self.server.release.wait(20)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.name.encode())

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # HAProxy gave up a check
            self.close_connection = True

    def log_message(self, *_words: Any) -> None:  # type: ignore[override]
        pass


class Balanced:
    """HAProxy in front of two servers."""

    def __init__(self, folder: Path) -> None:
        """Start all three and wait until HAProxy finds both servers up."""
        self.servers = {name: Server(name) for name in ("one", "two")}
        self.socket = str(folder / "admin")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        ports = {name: server.server_address[1] for name, server in self.servers.items()}
        config = folder / "haproxy.cfg"
        config.write_text(CONFIG.format(socket=self.socket, port=self.port, **ports))
        self.process = subprocess.Popen([str(HAPROXY), "-db", "-q", "-f", str(config)])
        until(lambda: {self.status("one"), self.status("two")} == {"UP"})

    def status(self, server: str) -> str:
        """HAProxy's word for a server, or nothing while it does not answer."""
        try:
            return lab_backend.look(self.socket, "back", server)[0]
        except lab_backend.BackendError:
            return ""

    def get(self, path: str = "/") -> str:
        """Name of the server that answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
            return str(answer.read().decode())

    def stop(self) -> None:
        """End all three."""
        for server in self.servers.values():
            server.end()
        self.process.kill()
        self.process.wait()


def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds, at most 20 s."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def balanced(tmp_path: Path) -> Iterator[Balanced]:
    running = Balanced(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def call(balanced: Balanced, capsys: pytest.CaptureFixture[str]) -> Call:
    def run(server: str, state: str, **more: Any) -> dict[str, Any]:
        options = {"socket": balanced.socket, "backend": "back", "server": server, "state": state, **more}
        with patch_module_args(options), pytest.raises(SystemExit):
            lab_backend.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


def occupy(balanced: Balanced, pool: ThreadPoolExecutor) -> str:
    """Begin a slow request; the name of the server that has it."""
    pool.submit(balanced.get, "/slow")
    until(lambda: any(server.begun.is_set() for server in balanced.servers.values()))
    return next(name for name, server in balanced.servers.items() if server.begun.is_set())


def test_drain_waits_for_the_running_request(balanced: Balanced, call: Call) -> None:
    """Draining ends when the running request is answered, and new requests go to the other server meanwhile."""
    with ThreadPoolExecutor() as pool:
        busy = occupy(balanced, pool)
        server = balanced.servers[busy]
        new: list[str] = []

        def watch() -> None:
            """Once the server is drained of new requests, prove it, then let the running one end."""
            until(lambda: balanced.status(busy) == "DRAIN")
            new.extend(balanced.get() for _turn in range(4))
            server.release.set()

        watcher = pool.submit(watch)
        result = call(busy, "drained")
        released = server.release.is_set()
        watcher.result()

    assert released
    assert result == result | {"changed": True, "status": "DRAIN", "sessions": 0}
    assert set(new) == {"one", "two"} - {busy}


def test_drain_gives_up_on_an_endless_request(balanced: Balanced, call: Call) -> None:
    """After the timeout the module goes on and says how many requests still run."""
    with ThreadPoolExecutor() as pool:
        busy = occupy(balanced, pool)
        result = call(busy, "drained", timeout=0.2)
        balanced.servers[busy].release.set()

    assert result == result | {"changed": True, "status": "DRAIN", "sessions": 1}


def test_ready_brings_a_server_back(balanced: Balanced, call: Call) -> None:
    """A drained server gets requests again when the module returns; a second call changes nothing."""
    call("one", "drained")
    alone = {balanced.get() for _turn in range(4)}
    back = call("one", "ready")
    both = {balanced.get() for _turn in range(4)}

    assert (alone, both) == ({"two"}, {"one", "two"})
    assert back == back | {"changed": True, "status": "UP"}
    assert call("one", "ready")["changed"] is False


def test_ready_waits_for_the_check(balanced: Balanced, call: Call) -> None:
    """A server that hangs is waited for until HAProxy's check has found it up, or the timeout names its state."""
    server = balanced.servers["one"]
    call("one", "drained")
    server.healthy.clear()
    until(lambda: "DOWN" in balanced.status("one"))
    late = call("one", "ready", timeout=0.5)
    timer = threading.Timer(0.3, server.healthy.set)
    timer.start()
    result = call("one", "ready")
    timer.join()

    assert late["failed"] is True
    assert late["msg"] == "back/one is DOWN 0.5 s after it was made ready"
    assert result["status"] == "UP"


def test_disabled_is_at_once(balanced: Balanced, call: Call) -> None:
    """A server is taken out although a request runs on it."""
    with ThreadPoolExecutor() as pool:
        busy = occupy(balanced, pool)
        result = call(busy, "disabled")
        balanced.servers[busy].release.set()

    assert result == result | {"changed": True, "status": "MAINT"}


def test_check_mode_only_looks(balanced: Balanced, call: Call) -> None:
    """Check mode takes nothing out."""
    result = call("one", "disabled", _ansible_check_mode=True)

    assert result == result | {"changed": False, "status": "UP", "sessions": 0}
    assert balanced.status("one") == "UP"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"server": "three"}, "server: HAProxy has no server three in a backend back"),
        ({"backend": "nova"}, "server: HAProxy has no server one in a backend nova"),
        ({"socket": "/nowhere/admin"}, "socket: HAProxy does not answer at /nowhere/admin: No such file or directory"),
        ({"socket": f"/{'x' * 120}"}, f"socket: HAProxy does not answer at /{'x' * 120}: AF_UNIX path too long"),
    ],
)
def test_bad_input_is_told_in_one_line(call: Call, wrong: dict[str, str], message: str) -> None:
    """What HAProxy does not have is named in one line."""
    result = call(**{"server": "one", "state": "drained", **wrong})

    assert result == result | {"failed": True, "msg": message}


def test_dead_balancer_is_told_in_one_line(balanced: Balanced, call: Call) -> None:
    """A socket behind which nobody lives any more is named in one line."""
    balanced.process.kill()
    balanced.process.wait()

    assert call("one", "ready")["msg"] == f"socket: HAProxy does not answer at {balanced.socket}: Connection refused"
