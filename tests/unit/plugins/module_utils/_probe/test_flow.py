# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The connection that is held open, against servers whose connections are cut."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe import _flow
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._attribution import Cause, attribute
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._flow import FlowLane
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._lane import Probe
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import LaneSpec
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._options import data_lanes

from .conftest import RESET


def until(condition: Callable[[], bool], timeout: float = 10) -> None:
    """Wait for something that will happen."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def stream(url: str, rate: float = 50) -> list[LaneSpec]:
    """The lane of the kept connection alone."""
    target = {"name": "t", "address": "127.0.0.1", "stream": url}
    return [lane for lane in data_lanes([target], rate) if lane.mode == "stream"]


class Watched:
    """Counts the connections that a server takes, and lets a story wait for requests."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.taken: set[int] = set()
        self._answer = server.answer
        server.answer = self.answer

    def answer(self, connection: socket.socket) -> bool:
        self.taken.add(connection.getpeername()[1])
        return bool(self._answer(connection))

    def more(self, count: int) -> None:
        """That many further requests come."""
        goal = self.server.requests + count
        until(lambda: self.server.requests >= goal)

    def cut(self, how: str) -> tuple[float, float]:
        """End the connection; returns the moments around it."""
        before = time.time()
        for connection in list(self.server.connections):
            if how == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                # The handler's thread sleeps in recv and holds the socket; this is how it is closed for good.
                connection.shutdown(socket.SHUT_RD)
                until(lambda connection=connection: connection not in self.server.connections)
            else:
                connection.shutdown(socket.SHUT_WR)
        return before, time.time()


@pytest.fixture
def watched(server: Any) -> Watched:
    """The server, watched."""
    return Watched(server)


def test_one_connection_for_the_whole_run(watched: Watched, sample: Any) -> None:
    """A flow that nobody cuts is one connection, over which every request is answered."""
    (seen,) = sample(stream(watched.server.url), lambda: watched.more(50))

    assert seen.outages == ()
    assert seen.counts["up"] > 40
    assert len(watched.taken) == 1
    assert seen.kept_resets == 0


@pytest.mark.parametrize("how", ["reset", "fin"])
def test_cut_is_a_finding_with_its_time(watched: Watched, sample: Any, how: str) -> None:
    """The end of an idle connection is one outage of its own kind at that moment; then the lane goes on."""
    moments: list[tuple[float, float]] = []

    def story() -> None:
        watched.more(10)
        moments.append(watched.cut(how))
        watched.more(20)

    (seen,) = sample(stream(watched.server.url), story)
    (outage,) = seen.outages
    ((before, after),) = moments

    assert outage.kinds == {"flow_broken": 1}
    assert outage.begin_low <= after
    assert outage.end_high >= before
    assert before - 0.5 < outage.begin <= outage.end < after + 0.5
    assert (len(watched.taken), seen.kept_resets) == (2, 1)


def test_cut_under_a_request_is_a_finding_and_the_request_goes_on(watched: Watched, sample: Any) -> None:
    """Each cut under a request is counted once, and what waited is answered over the next connection."""
    asked: dict[int, int] = {}

    def every_tenth_dies(connection: socket.socket) -> bool:
        port = connection.getpeername()[1]
        asked[port] = asked.get(port, 0) + 1
        watched.taken.add(port)
        return watched.server.reset(connection) if asked[port] == 10 else watched.server.fine(connection)

    watched.server.answer = every_tenth_dies
    (seen,) = sample(stream(watched.server.url), lambda: watched.more(60))
    cuts = sum(count == 10 for count in asked.values())

    assert sum(outage.kinds.get("flow_broken", 0) for outage in seen.outages) == cuts >= 4
    assert seen.counts["down"] == 0
    assert cuts - 1 <= seen.kept_resets <= cuts


def test_cut_under_the_last_request_leaves_nothing_unasked(watched: Watched, sample: Any) -> None:
    """What waited when the flow was cut is asked again, also when nothing new is sent any more."""
    over = threading.Event()

    def dies_when_all_is_over(connection: socket.socket) -> bool:
        watched.server.answer = watched.answer
        over.wait(10)
        time.sleep(0.5)
        return bool(watched.server.reset(connection))

    def story() -> None:
        watched.more(5)
        watched.server.answer = dies_when_all_is_over
        watched.more(1)
        over.set()

    (seen,) = sample(stream(watched.server.url), story, timeout=3)

    assert [outage.kinds for outage in seen.outages] == [{"flow_broken": 1}]
    assert seen.counts["down"] == 0


def test_answer_that_came_before_a_question_is_not_its_answer() -> None:
    """A probe sent after the kernel had the answer waits for the next one, which is asked for."""
    finished: list[Probe] = []
    asked: list[int] = []
    flow: Any = SimpleNamespace(connecting=False, asked=False, used=True, since=0, ask=lambda: asked.append(1))
    host: Any = SimpleNamespace(finish=lambda probe, *_result: finished.append(probe))
    (spec,) = stream("echo://127.0.0.1:7")
    lane = FlowLane(0, spec, host)
    lane._flow = flow
    early, late = (Probe(lane, 0, 0, 0, 0) for _number in range(2))
    lane.send(early)
    moment = time.monotonic_ns()
    lane.send(late)
    lane.answered(flow, moment)

    assert finished == [early]
    assert lane.waiting() == [early, late]  # the sampler marks what is finished
    assert len(asked) == 3


def test_silence_is_an_outage_that_the_flow_survives(watched: Watched, sample: Any) -> None:
    """A flow through which nothing gets for a while is down in that time, and is the same flow afterwards."""
    moments = []

    def story() -> None:
        watched.more(10)
        held = threading.Event()

        def hold(connection: socket.socket) -> bool:
            held.wait(5)
            return bool(watched.server.fine(connection))

        watched.server.answer = hold
        moments.append(time.time())
        time.sleep(1.0)
        moments.append(time.time())
        held.set()
        watched.server.answer = watched.answer
        watched.more(20)

    (seen,) = sample(stream(watched.server.url), story, timeout=0.3)
    (outage,) = seen.outages

    assert list(outage.kinds) == ["timeout"]
    assert outage.lower > 0.3
    assert outage.begin_low <= moments[0] + 0.2
    assert outage.end_high >= moments[1] - 0.3
    assert (len(watched.taken), seen.kept_resets) == (1, 0)


def test_announced_end_is_the_services_own(watched: Watched, sample: Any) -> None:
    """A service that says that it closes has not lost the flow: it is opened again, and counted."""
    answers = []

    def fifth_is_the_last(connection: socket.socket) -> bool:
        answers.append(1)
        last = len(answers) % 5 == 0
        watched.server.respond(connection, 200, headers=b"Connection: close\r\n" if last else b"")
        return not last

    watched.server.answer = fifth_is_the_last
    (seen,) = sample(stream(watched.server.url), lambda: watched.more(40))

    assert seen.outages == ()
    assert seen.kept_resets >= 5


@pytest.mark.parametrize("headers", [b"Connection: close\r\n", b"Transfer-Encoding: chunked\r\nConnection: close\r\n"])
def test_service_that_never_keeps_a_connection_proves_nothing(watched: Watched, sample: Any, headers: bytes) -> None:
    """Without a flow there is nothing that could survive: that is void, neither up nor down."""

    def once(connection: socket.socket) -> bool:
        chunked = b"chunked" in headers
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + headers)
        connection.sendall(b"\r\n5\r\nhello\r\n0\r\n\r\n" if chunked else b"\r\nhello to the end")
        return False

    watched.server.answer = once
    (seen,) = sample(stream(watched.server.url), lambda: watched.more(20))

    assert seen.outages == ()
    assert seen.counts["up"] == seen.counts["down"] == 0
    assert seen.counts["void"] >= 10
    assert seen.coverage == 0


def test_dead_listener(watched: Watched, sample: Any) -> None:
    """A listener that dies breaks the flow, refuses the next ones, and is one outage until it is back."""

    def story() -> None:
        watched.more(10)
        watched.server.stop_listening()
        time.sleep(0.4)
        watched.server.listen_again()
        watched.more(20)

    (seen,) = sample(stream(watched.server.url), story)
    (outage,) = seen.outages

    assert outage.kinds["flow_broken"] == 1
    assert outage.kinds["refused"] > 3
    assert outage.lower > 0.2
    assert seen.kept_resets == 1


def test_silent_flow_is_given_up_in_the_end(watched: Watched, sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that stays silent beyond all patience is broken, and a new one tells when the way is open."""
    monkeypatch.setattr(_flow, "PATIENCE", 300_000_000)

    def story() -> None:
        watched.more(10)
        held = threading.Event()
        watched.server.answer = lambda _connection: held.wait(60) and False
        try:
            watched.more(1)
            watched.server.answer = watched.answer
            watched.more(20)
        finally:
            held.set()

    (seen,) = sample(stream(watched.server.url), story, timeout=5)

    assert [outage.kinds for outage in seen.outages] == [{"flow_broken": 1}]
    assert seen.kept_resets == 1


def test_answer_that_is_none(watched: Watched, sample: Any) -> None:
    """What is no HTTP over an open connection is the service's failure, not the flow's."""

    def story() -> None:
        watched.more(10)
        watched.server.answer = lambda connection: connection.sendall(b"what?\r\n\r\n")
        watched.more(3)
        watched.server.answer = watched.answer
        watched.more(20)

    (seen,) = sample(stream(watched.server.url), story)

    assert [list(outage.kinds) for outage in seen.outages] == [["bad_response"]]


class _Echo(socketserver.StreamRequestHandler):
    """Sends lines back, in two pieces, until the server is told to change them."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            for line in self.rfile:
                said = line.upper() if self.server.changes else line  # type: ignore[attr-defined]
                self.wfile.write(said[:5])
                time.sleep(0.002)
                self.wfile.write(said[5:])


@pytest.fixture
def echo() -> Iterator[Any]:
    """An echo service."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo) as server:
        server.daemon_threads = True
        server.changes = False  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_echo_service(echo: Any, sample: Any) -> None:
    """Any service that sends back what it is sent will do; one that changes it has failed."""

    def story() -> None:
        time.sleep(0.5)
        echo.changes = True
        time.sleep(0.2)
        echo.changes = False
        time.sleep(0.5)

    (seen,) = sample(stream(f"echo://127.0.0.1:{echo.server_address[1]}"), story)

    assert [list(outage.kinds) for outage in seen.outages] == [["bad_response"]]
    assert seen.counts["up"] > 10


def test_cut_flow_is_attributed(watched: Watched, sample: Any) -> None:
    """A flow that is cut while new connections are served has lost its state on the way, or by the server itself."""

    def story() -> None:
        watched.more(20)
        for connection in list(kept.values()):
            connection.shutdown(socket.SHUT_WR)
        watched.more(60)

    kept: dict[int, socket.socket] = {}
    plain = watched.server.answer

    def note(connection: socket.socket) -> bool:
        port = connection.getpeername()[1]
        if port in watched.taken:
            kept[port] = connection
        return bool(plain(connection))

    watched.server.answer = note
    target = {"name": "t", "address": "127.0.0.1", "url": watched.server.url, "stream": watched.server.url}
    # New connections are opened so often that one is answered between two answers over the open one.
    specs = [replace(spec, rate=50 if spec.mode == "stream" else 250) for spec in data_lanes([target], 50)]
    observations = sample(specs, story)
    causes = attribute([("here", one) for one in observations])

    assert [one.outages for one in observations[:2]] == [(), ()]
    assert [[one.cause for one in found] for found in causes] == [[], [], [Cause.FLOW]]
