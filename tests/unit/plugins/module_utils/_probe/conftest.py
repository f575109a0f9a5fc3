# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server whose truth is known, and a sampler that looks at it."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import socketserver
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._log import LogWriter
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import LaneSpec
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._observer import Plan
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._observer import _Observer as Observer
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import (
    Observation,
    read_observations,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._sampler import Sampler
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._seconds import export
from hypothesis.configuration import set_hypothesis_home_dir

# Neither examples nor caches belong into the tree.
set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "hypothesis")

RESET = struct.pack("ii", 1, 0)
HOST_TOO_BUSY = {"void_late", "void_crowded", "void_stall", "void_canary"}


class _Handler(socketserver.BaseRequestHandler):
    """Answers GET requests as the server's ``answer`` says at that moment."""

    server: TruthServer

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self.serve()

    def serve(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.server.tls is not None:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        self.server.connections.add(self.request)
        buffer = b""
        while data := self.request.recv(4096):
            buffer += data
            while b"\r\n\r\n" in buffer:
                head, _end, buffer = buffer.partition(b"\r\n\r\n")
                self.server.requests += 1
                if not self.server.answer_to(self.request, head) or b"onnection: close" in head:
                    return

    def finish(self) -> None:
        self.server.connections.discard(self.request)
        with contextlib.suppress(OSError):
            self.request.close()


class TruthServer(socketserver.ThreadingTCPServer):
    """An HTTP server that is told how to fail, and says between which moments it did."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        """Serve on a free port."""
        self.tls: ssl.SSLContext | None = None
        self.requests = 0
        self.connections: set[socket.socket] = set()
        self.answer = self.fine
        super().__init__(("127.0.0.1", 0), _Handler)
        self.begin_serving()

    def begin_serving(self) -> None:
        """Serve in a thread."""
        self._thread = threading.Thread(target=self.serve_forever, args=(0.001,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where to ask."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.server_address[1]}/"

    def answer_to(self, connection: socket.socket, _head: bytes) -> bool:
        """Answer one request; True keeps the connection."""
        return self.answer(connection)

    @staticmethod
    def respond(connection: socket.socket, status: int, body: bytes = b"hello", headers: bytes = b"") -> bool:
        """Send one response; True keeps the connection."""
        length = b"Content-Length: %d\r\n" % len(body)
        connection.sendall(b"HTTP/1.1 %d X\r\nServer: truth\r\n%s%s\r\n%s" % (status, headers, length, body))
        return True

    def fine(self, connection: socket.socket) -> bool:
        """Healthy."""
        return self.respond(connection, 200)

    def unavailable(self, connection: socket.socket) -> bool:
        """The service's own 503."""
        return self.respond(connection, 503)

    def reset(self, connection: socket.socket) -> bool:
        """Reset the connection."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.close()
        return False

    def silent(self, _connection: socket.socket) -> bool:
        """Accept and say nothing."""
        time.sleep(30)
        return False

    def stop_listening(self) -> None:
        """The listener dies, and all connections with it."""
        self.shutdown()
        self._thread.join()
        self.socket.close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                connection.shutdown(socket.SHUT_RDWR)

    def listen_again(self) -> None:
        """The listener is back on the same port."""
        self.socket = socket.socket()
        self.server_bind()
        self.server_activate()
        self.begin_serving()


@pytest.fixture
def server() -> Iterator[TruthServer]:
    """A healthy server."""
    truth = TruthServer()
    yield truth
    truth.shutdown()
    truth.server_close()


Sample = Callable[..., list[Observation]]


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """Sample lanes in a thread while ``story`` runs here; returns what was observed."""

    def run(specs: Sequence[LaneSpec], story: Callable[[], Any], **options: Any) -> list[Observation]:
        plan = Plan(directory=tmp_path, timeout=options.pop("timeout", 1.0), tls=options.pop("tls", None))
        log = LogWriter(tmp_path)
        sampler = Sampler(specs, log, timeout=plan.timeout, tls=plan.tls, **options)
        over = threading.Event()
        observer = Observer(plan, specs, log, sampler, over)
        thread = threading.Thread(target=observer.live, args=("normal",))
        thread.start()
        try:
            story()
        finally:
            over.set()
            thread.join()
            sampler.close()
            log.close()
        return read_observations(tmp_path)

    return run


def withheld(directory: Path) -> set[tuple[str, bool, str]]:
    """(mode, with a token, why) of the void probes, without those of which a busy machine is the reason."""
    log = io.StringIO()
    export(directory, log)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    void = [line for line in lines if line["kind"] == "sample" and line["result"].startswith("void_")]
    named = {(line["target"]["mode"], line["target"]["auth"], line["result"]) for line in void}
    return {one for one in named if one[2] not in HOST_TOO_BUSY}
