# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sampler against servers whose truth is known."""

from __future__ import annotations

import os
import resource
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe import _sampler, _stream
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._canary import start_canary
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import LaneSpec
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._options import (
    api_lanes,
    data_lanes,
    tls_context,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import Waiter
from ansible_collections.openstack.upgrade_test.tests.unit.plugins.module_utils._probe.conftest import withheld


def lanes(url: str, *modes: str, rate: float = 100, **expect: Any) -> list[LaneSpec]:
    """Lanes of one target."""
    return api_lanes([{"name": "t", "url": url, "expect": expect}], modes or ("new", "kept"), rate)


def until(condition: Callable[[], bool], timeout: float = 10) -> None:
    """Wait for something that will happen."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def seen(server: Any, count: int) -> Callable[[], None]:
    """A story: the server gets that many further requests."""

    def story() -> None:
        goal = server.requests + count
        until(lambda: server.requests >= goal)

    return story


def test_healthy_server_has_no_outage(server: Any, sample: Any) -> None:
    """Every probe of a healthy server is up, in both modes, and the kept connection is really kept."""
    new, kept = sample(lanes(server.url), seen(server, 100))

    for observation in (new, kept):
        assert observation.ended
        assert observation.outages == ()
        assert observation.counts["down"] == 0
        assert observation.counts["up"] + observation.counts["slow"] > 20
        assert 0 < observation.longest_gap < 10
    assert kept.latency_ms["p50"] < new.latency_ms["p50"]


def test_closed_connection_says_when_a_listener_died(server: Any, sample: Any, tmp_path: Path) -> None:
    """At a low rate, a listener's death is put to the moment at which it closed its connections."""
    died: list[float] = []

    def story() -> None:
        seen(server, 20)()
        until(lambda: bool(server.connections))
        died.append(time.time())
        server.stop_listening()
        died.append(time.time())
        time.sleep(0.05)
        server.listen_again()
        seen(server, 20)()

    for observation in sample(lanes(server.url, rate=10), story):
        (outage,) = observation.outages

        assert outage.signed
        assert died[0] <= outage.begin <= died[1] + 0.02
        assert outage.begin_low <= outage.begin <= outage.begin_high
    assert withheld(tmp_path) == set()


@pytest.mark.parametrize(
    ("failure", "kind"),
    [("unavailable", "http_5xx_service"), ("reset", "reset")],
)
def test_failing_answers_are_one_outage(server: Any, sample: Any, failure: str, kind: str) -> None:
    """A service that fails for a while has one outage, whose bounds contain the truth, of the right kind."""
    truth = []

    def story() -> None:
        seen(server, 20)()
        truth.append(time.monotonic())
        server.answer = getattr(server, failure)
        truth.append(time.monotonic())
        seen(server, 50)()
        truth.append(time.monotonic())
        server.answer = server.fine
        truth.append(time.monotonic())
        seen(server, 50)()

    for observation in sample(lanes(server.url), story):
        (outage,) = observation.outages

        assert list(outage.kinds) == [kind]
        assert outage.lower <= truth[3] - truth[0]
        assert outage.upper >= truth[2] - truth[1]
        assert outage.lower > 0


def test_dead_listener_is_one_outage(server: Any, sample: Any) -> None:
    """A listener that dies and comes back is one outage in each mode, inside its bounds and at the right time."""
    truth = []
    wall = []

    def story() -> None:
        seen(server, 20)()
        truth.append(time.monotonic())
        wall.append(time.time())
        server.stop_listening()
        truth.append(time.monotonic())
        time.sleep(0.3)
        truth.append(time.monotonic())
        server.listen_again()
        truth.append(time.monotonic())
        wall.append(time.time())
        seen(server, 50)()

    for observation in sample(lanes(server.url), story):
        (outage,) = observation.outages

        assert "refused" in outage.kinds
        assert outage.lower <= truth[3] - truth[0]
        assert outage.upper >= truth[2] - truth[1]
        # On a busy machine the bounds are wide, and the estimates lie somewhere between them.
        slack = outage.upper - outage.lower + 0.2
        assert wall[0] - slack < outage.begin < outage.end < wall[1] + slack


def test_silence_is_an_outage_near_the_sending(server: Any, sample: Any) -> None:
    """A server that accepts and says nothing is down when it was asked, not when the patience ended."""
    truth = []

    def story() -> None:
        seen(server, 10)()
        truth.append(time.monotonic())
        server.answer = server.silent
        seen(server, 10)()
        server.answer = server.fine
        truth.append(time.monotonic())
        time.sleep(1.5)

    (observation,) = sample(lanes(server.url, "new", rate=50), story, timeout=0.5)
    (outage,) = observation.outages

    assert list(outage.kinds) == ["timeout"]
    assert outage.lower <= truth[1] - truth[0]
    assert outage.upper < truth[1] - truth[0] + 0.5


def test_kept_connection_closed_while_idle_is_no_outage(server: Any, sample: Any) -> None:
    """A server that closes kept-alive connections is asked again on a new one and never called down."""

    def close_after(connection: socket.socket) -> bool:
        server.respond(connection, 200)
        return False

    server.answer = close_after
    (observation,) = sample(lanes(server.url, "kept"), seen(server, 50))

    assert observation.outages == ()
    assert observation.counts["down"] == 0


def test_kept_connection_closed_under_a_request_is_sent_again(server: Any, sample: Any) -> None:
    """A kept-alive connection that dies before any byte of the answer is a reset of the connection, not an outage."""
    asked: dict[socket.socket, int] = {}

    def second_request_dies(connection: socket.socket) -> bool:
        asked[connection] = asked.get(connection, 0) + 1
        return server.fine(connection) if asked[connection] == 1 else server.reset(connection)

    server.answer = second_request_dies
    (observation,) = sample(lanes(server.url, "kept"), seen(server, 50))

    assert observation.kept_resets > 5
    assert observation.outages == ()


def test_wrong_body(server: Any, sample: Any) -> None:
    """A response without the expected text is a failure and named."""
    (body,) = sample(lanes(server.url, "new", body="something else"), seen(server, 5))

    assert list(body.outages[0].kinds) == ["wrong_body"]


@pytest.mark.parametrize("mode", ["new", "kept"])
def test_response_that_is_nearly_the_usual_one(server: Any, sample: Any, mode: str) -> None:
    """What is known from the response before is not believed of one that differs from it by a letter."""

    def story() -> None:
        seen(server, 20)()
        server.answer = lambda connection: server.respond(connection, 200, b"hallo")
        seen(server, 20)()
        server.answer = server.fine
        seen(server, 20)()

    (observation,) = sample(lanes(server.url, mode, body="hello"), story)

    (outage,) = observation.outages
    assert list(outage.kinds) == ["wrong_body"]
    assert "no success was seen after it" not in outage.detail
    assert observation.counts["up"] > 20


def test_usual_response_that_announces_the_end(server: Any, sample: Any) -> None:
    """A connection that the peer will close is not used again, however often it says so with the same words."""
    asked: list[socket.socket] = []

    def last(connection: socket.socket) -> bool:
        asked.append(connection)
        return bool(server.respond(connection, 200, headers=b"Connection: close\r\n"))

    server.answer = last
    (observation,) = sample(lanes(server.url, "kept"), seen(server, 30))

    assert len(set(asked)) == len(asked)
    assert observation.outages == ()


def test_expected_status(server: Any, sample: Any) -> None:
    """Only the expected statuses count as up."""
    (status,) = sample(lanes(server.url, "new", status=[503]), seen(server, 5))

    assert list(status.outages[0].kinds) == ["wrong_status"]
    assert status.outages[0].detail.endswith("no success was seen before it; no success was seen after it")


def test_own_stall_is_void(server: Any, sample: Any) -> None:
    """What was not sent while the observer slept is void: it lowers coverage and is no outage."""
    stop = threading.Event()

    def story() -> None:
        seen(server, 20)()
        # The interpreter's lock stops the sampler's thread as SIGSTOP would stop its process.
        deadline = time.monotonic() + 0.4
        sum_of = 0
        while time.monotonic() < deadline:
            sum_of += sum(range(2_000_000))
        stop.set()
        seen(server, 20)()

    (observation,) = sample(lanes(server.url, "new"), story)

    assert observation.outages == ()
    assert observation.counts["down"] == 0


def test_own_stall_right_before_sending_is_not_slow(server: Any, sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe that the observer stamped, and sent only when it was let go on, says nothing about the target's speed."""
    connect, stalls = _stream.Connection.connect, [1.3]

    def stalled(connection: _stream.Connection) -> None:
        if stalls and server.requests > 20:
            time.sleep(stalls.pop())
        connect(connection)

    monkeypatch.setattr(_stream.Connection, "connect", stalled)
    (observation,) = sample(lanes(server.url, "new"), seen(server, 60), timeout=2.0)

    assert not stalls
    assert observation.outages == ()
    assert observation.counts["slow"] == 0
    assert observation.counts["void"] > 0


def test_no_descriptors_left_is_void(server: Any, sample: Any) -> None:
    """An observer out of descriptors blames itself and lives on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def story() -> None:
        seen(server, 20)()
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        time.sleep(0.2)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        seen(server, 20)()

    try:
        (observation,) = sample(lanes(server.url, "new"), story)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert observation.counts["void"] > 5
    assert observation.coverage < 1


def test_canary_that_is_stopped_makes_silence_void(server: Any, sample: Any) -> None:
    """While the observer's own host does not answer itself, silence of the target proves nothing."""
    canary = start_canary()

    def story() -> None:
        seen(server, 10)()
        os.kill(canary[1], signal.SIGSTOP)
        server.answer = server.silent
        seen(server, 10)()
        time.sleep(0.8)
        server.answer = server.fine
        os.kill(canary[1], signal.SIGCONT)
        time.sleep(0.5)

    (observation,) = sample(lanes(server.url, "new", rate=50), story, timeout=0.5, canary=canary)

    assert observation.outages == ()
    assert observation.counts["void"] > 5


def test_data_plane_kinds(server: Any, sample: Any) -> None:
    """ICMP, TCP and HTTP each see a server that is there."""
    port = server.server_address[1]
    target = {"name": "t", "address": "127.0.0.1", "tcp_port": port, "url": server.url}
    observations = sample(data_lanes([target], 50), seen(server, 10))

    assert [observation.target.mode for observation in observations] == ["icmp", "tcp", "http"]
    for observation in observations:
        assert observation.outages == ()
        assert observation.counts["up"] > 5


def test_ping_over_ipv6(sample: Any) -> None:
    """ICMP for IPv6 works as well."""
    (observation,) = sample(data_lanes([{"name": "t", "address": "::1"}], 50), lambda: time.sleep(0.3))

    assert observation.outages == ()
    assert observation.counts["up"] > 5


def test_ping_without_reply(sample: Any) -> None:
    """An address that does not answer is down."""
    # TEST-NET-1 behind the loopback interface: nobody answers.
    (observation,) = sample(
        [LaneSpec(name="t", mode="icmp", rate=50, family=2, sockaddr=("240.0.0.1", 0))],
        lambda: time.sleep(0.3),
        timeout=0.2,
    )

    assert observation.counts["up"] == 0
    assert observation.counts["down"] + observation.counts["void"] > 5


@pytest.fixture
def long_naps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers wait for the next probe however far it is, which is at most a fifth of a second here."""
    monkeypatch.setattr(_sampler, "NAP", 1 << 62)


@pytest.mark.usefixtures("long_naps")
def test_answers_that_wait_are_dated_by_the_kernel(server: Any, sample: Any) -> None:
    """An answer that is read together with the next probe does not seem to have taken until then."""
    for observation in sample(lanes(server.url, rate=5), seen(server, 20)):
        assert observation.counts["up"] > 5
        assert observation.counts["down"] == 0
        assert observation.latency_ms["p50"] < 50


@pytest.mark.usefixtures("long_naps")
def test_prompt_server_that_becomes_slow(server: Any, sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that were there whenever one looked for them are waited for when they are not there any more."""
    looks: list[int] = []
    look = _stream.Connection.look
    monkeypatch.setattr(
        _stream.Connection, "look", lambda connection: (looks.append(server.requests), look(connection))
    )

    def late(connection: socket.socket) -> bool:
        time.sleep(0.3)
        return bool(server.fine(connection))

    def story() -> None:
        seen(server, 20)()
        server.answer = late
        seen(server, 20)()
        server.answer = server.fine
        seen(server, 20)()

    (observation,) = sample(lanes(server.url, "new", rate=50), story)

    assert min(looks) < 10
    assert max(looks) > 50
    assert observation.counts["down"] == 0
    assert observation.counts["up"] + observation.counts["slow"] > 50
    assert 300 <= observation.latency_ms["max"] < 600


@pytest.mark.usefixtures("long_naps")
def test_nobody_naps_while_a_connection_is_made(tls_server: Any, sample: Any, certificate: Path) -> None:
    """The steps of a handshake follow each other at once: who does not only wait for an answer keeps the loop awake."""
    tls = tls_context(validate=True, ca_cert=str(certificate))
    (observation,) = sample(lanes(tls_server.url, "new", rate=5), seen(tls_server, 10), tls=tls)

    assert observation.counts["up"] > 5
    assert observation.latency_ms["p50"] < 100


@pytest.mark.usefixtures("long_naps")
def test_nobody_naps_after_an_alarm(server: Any, sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before something is seen to fail answers wait, afterwards each is read at once: not all failures are stamped."""
    naps: list[int] = []
    failing: list[int] = []
    nap = Waiter.nap

    def spy(waiter: Waiter, moment: int) -> Any:
        naps.append(time.monotonic_ns())
        return nap(waiter, moment)

    def story() -> None:
        seen(server, 10)()
        server.answer = server.unavailable
        seen(server, 20)()
        failing.append(time.monotonic_ns())
        seen(server, 20)()
        failing.append(time.monotonic_ns())

    monkeypatch.setattr(Waiter, "nap", spy)
    sample(lanes(server.url, "new", rate=5), story)

    assert naps
    assert [moment for moment in naps if failing[0] < moment < failing[1]] == []


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1"
    parts = [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(parts, check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def tls_server(certificate: Path, server: Any) -> Any:
    """The server, speaking TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.tls = context
    return server


def test_tls(tls_server: Any, sample: Any, certificate: Path) -> None:
    """HTTPS with a certificate that is trusted works in both modes."""
    tls = tls_context(validate=True, ca_cert=str(certificate))
    for observation in sample(lanes(tls_server.url, rate=50), seen(tls_server, 50), tls=tls):
        assert observation.outages == ()
        assert observation.counts["up"] > 5


def test_tls_with_unknown_certificate(tls_server: Any, sample: Any) -> None:
    """A certificate that nobody vouches for is a failure of the kind tls."""
    tls = tls_context(validate=True, ca_cert=None)
    (observation,) = sample(lanes(tls_server.url, "new", rate=50), lambda: time.sleep(0.5), tls=tls)

    assert list(observation.outages[0].kinds) == ["tls"]
    assert observation.counts["up"] == 0


def test_silent_server_gets_no_burst(server: Any, sample: Any) -> None:
    """A server that does not answer gets the probes of the schedule and hardly more: it may be overloaded."""
    server.answer = server.silent
    sample(lanes(server.url, "new", rate=20), lambda: time.sleep(1.5), timeout=0.3)

    assert server.requests < 50


def test_one_silent_answer_among_failures_does_not_end_the_burst(server: Any, sample: Any) -> None:
    """While a failing server answers others at once, the answers it owes do not keep it from being looked at."""

    def every_other_of_eight(connection: socket.socket) -> bool:
        owes = server.requests % 2 == 0 and server.requests < 18
        return server.silent(connection) if owes else server.unavailable(connection)

    server.answer = every_other_of_eight
    sample(lanes(server.url, "new", rate=20), lambda: time.sleep(1), timeout=1.5)

    assert server.requests > 80


def test_habit_of_closing_connections_raises_no_load(server: Any, sample: Any) -> None:
    """A server that closes kept-alive connections as a habit is soon no longer looked at more closely for it."""

    def close_after(connection: socket.socket) -> bool:
        server.respond(connection, 200)
        return False

    server.answer = close_after
    observations = sample(lanes(server.url, rate=20), lambda: time.sleep(2))
    planned = sum(observation.counts["up"] for observation in observations)

    assert server.requests < planned + 2 * 7 * 6 + 5
