# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Probes with a token, against a real server that knows which tokens it accepts; the test is the source of tokens."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import LaneSpec
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import Observation
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import SECOND, boot_ns
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._tokens import MOST_LINE, parse
from ansible_collections.openstack.upgrade_test.tests.unit.plugins.module_utils._probe.conftest import (
    Sample,
    TruthServer,
    withheld,
)

LONG = 3600.0
RATE = 50.0
WITHOUT_TOKEN = {("new", True, "void_token"), ("kept", True, "void_token")}


class Keyed(TruthServer):
    """Answers 401 to a request for /private without an accepted token, and notes what it was shown."""

    def __init__(self) -> None:
        self.accepted = {b"one", b"two"}
        self.shown: list[bytes] = []
        super().__init__()

    def answer_to(self, connection: socket.socket, head: bytes) -> bool:
        if b"GET /private " not in head:
            return self.respond(connection, 200)
        token = head.partition(b"X-Auth-Token: ")[2].partition(b"\r\n")[0]
        self.shown.append(token)
        return self.respond(connection, 200 if token in self.accepted else 401)


@pytest.fixture
def keyed() -> Iterator[Keyed]:
    server = Keyed()
    yield server
    server.shutdown()
    server.server_close()


class Source:
    """The other end of the sampler's connection."""

    def __init__(self) -> None:
        self.sampler, self.mine = socket.socketpair()

    def give(self, token: str, seconds: float = LONG) -> None:
        """A token that is valid for so long."""
        self.say(header=f"X-Auth-Token: {token}", ends=boot_ns() + int(seconds * SECOND))

    def say(self, **line: object) -> None:
        self.mine.sendall(json.dumps(line).encode() + b"\n")


@pytest.fixture
def source() -> Iterator[Source]:
    made = Source()
    yield made
    made.mine.close()
    made.sampler.close()


def lanes(server: TruthServer) -> list[LaneSpec]:
    """One endpoint, plain and with a token, over new and kept connections."""
    host, port = server.server_address[:2]
    common = {"name": "nova public", "service": "nova", "via": "public", "sockaddr": (host, port), "rate": RATE}
    plain = [LaneSpec(mode=mode, path="/", address=f"{host}:{port}", **common) for mode in ("new", "kept")]
    token = [
        LaneSpec(mode=mode, path="/private", address=f"{host}:{port}", auth=True, **common) for mode in ("new", "kept")
    ]
    return plain + token


def until(condition: Callable[[], bool], what: str, timeout: float = 10) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def split(observations: list[Observation]) -> tuple[list[Observation], list[Observation]]:
    """Plain lanes, lanes with a token."""
    plain = [one for one in observations if not one.target.auth]
    return plain, [one for one in observations if one.target.auth]


def test_lanes_are_told_apart(keyed: Keyed, source: Source, sample: Sample, tmp_path: Path) -> None:
    """Plain lanes carry no token, the others do; nobody is down, and the log says which is which."""
    source.give("one")
    plain, token = split(
        sample(lanes(keyed), lambda: until(lambda: keyed.requests > 60, "no requests"), tokens=source.sampler)
    )

    assert [one.target.mode for one in token] == ["new", "kept"]
    assert [one.target.mode for one in plain] == ["new", "kept"]
    assert set(keyed.shown) == {b"one"}
    assert all(one.counts["down"] == 0 < one.counts["up"] for one in plain + token)
    assert withheld(tmp_path) == set()


def test_without_a_token_nothing_is_sent_and_only_those_lanes_suffer(
    keyed: Keyed, source: Source, sample: Sample, tmp_path: Path
) -> None:
    """No token, no request: void, which says nothing of the target; the plain lanes do not notice."""
    plain, token = split(
        sample(lanes(keyed), lambda: until(lambda: keyed.requests > 30, "no requests"), tokens=source.sampler)
    )

    assert keyed.shown == []
    for one in token:
        assert one.coverage == 0
        assert one.counts["void"] > 5
        assert one.counts["down"] == one.counts["up"] == 0
        assert one.outages == ()
    assert withheld(tmp_path) == WITHOUT_TOKEN
    assert all(one.counts["up"] > 5 and one.outages == () for one in plain)


def test_an_expired_token_is_not_used(keyed: Keyed, source: Source, sample: Sample, tmp_path: Path) -> None:
    """From its end on nothing is sent with it, and the next one is taken up."""

    def story() -> None:
        source.give("one", 0.3)
        until(lambda: b"one" in keyed.shown, "the first token was not used")
        time.sleep(max(0, ends - time.monotonic()))
        until(lambda: not pending(keyed), "requests are under way")
        shown, requests = len(keyed.shown), keyed.requests
        until(lambda: keyed.requests > requests + 20, "plain requests stopped")
        assert len(keyed.shown) == shown, "the token was used after its end"
        source.give("two")
        until(lambda: b"two" in keyed.shown, "the next token was not used")

    ends = time.monotonic() + 0.4
    _plain, token = split(sample(lanes(keyed), story, tokens=source.sampler))

    assert all(one.counts["void"] > 0 and one.counts["down"] == 0 for one in token)
    assert withheld(tmp_path) == WITHOUT_TOKEN


def pending(server: Keyed) -> bool:
    """Whether the number of requests with a token still grows."""
    before = len(server.shown)
    time.sleep(0.05)
    return len(server.shown) > before


def test_a_new_token_replaces_the_old_one_without_a_gap(
    keyed: Keyed, source: Source, sample: Sample, tmp_path: Path
) -> None:
    """The old token is used until the new one is there, also on a connection that is open."""

    def story() -> None:
        source.give("one")
        until(lambda: len(keyed.shown) > 20, "the first token was not used")
        source.give("two")
        until(lambda: keyed.shown[-20:] == [b"two"] * 20, "the second token was not used")

    _plain, token = split(sample(lanes(keyed), story, tokens=source.sampler))

    assert set(keyed.shown) == {b"one", b"two"}
    assert all(one.counts["down"] == 0 for one in token)
    assert withheld(tmp_path) == set()


def test_a_revoked_token_is_down_and_asked_for_anew(
    keyed: Keyed, source: Source, sample: Sample, tmp_path: Path
) -> None:
    """401 to a valid token is an outage of its own kind; the source is asked once, and its answer ends it."""

    def story() -> None:
        source.give("one")
        until(lambda: b"one" in keyed.shown, "the token was not used")
        keyed.accepted.discard(b"one")
        assert source.mine.recv(100) == b"?"
        refused = len(keyed.shown)
        until(lambda: len(keyed.shown) > refused + 10, "it was not tried again")
        source.mine.setblocking(False)
        with pytest.raises(BlockingIOError):
            source.mine.recv(100)
        source.give("two")
        until(lambda: keyed.shown[-20:] == [b"two"] * 20, "the second token was not used")

    plain, token = split(sample(lanes(keyed), story, tokens=source.sampler))

    for one in token:
        (outage,) = one.outages
        assert set(outage.kinds) == {"unauthorized"}
    assert all(one.outages == () for one in plain)
    assert withheld(tmp_path) == set()


def test_the_death_of_the_source_is_told(keyed: Keyed, source: Source, sample: Sample, tmp_path: Path) -> None:
    """The heartbeat says that nobody gets tokens any more; the last one is used on."""

    def status() -> dict[str, object]:
        file = tmp_path / "status.json"
        tokens: dict[str, object] = json.loads(file.read_text())["tokens"] if file.exists() else {}
        return tokens

    def story() -> None:
        source.say(error="Keystone is away.")
        source.give("one")
        until(lambda: status().get("valid"), "the token is not told of")
        assert status() == {"valid": True, "source": "running", "error": ""}
        source.say(error="Keystone is away.")
        until(lambda: status()["error"] == "Keystone is away.", "the error is not told")
        source.mine.close()
        until(lambda: status()["source"] == "gone", "the end is not told")
        assert status()["error"] == "Keystone is away. The source of tokens is gone."
        shown = len(keyed.shown)
        until(lambda: len(keyed.shown) > shown + 5, "the valid token is not used any more")

    _plain, token = split(sample(lanes(keyed), story, tokens=source.sampler))

    assert all(one.counts["down"] == 0 for one in token)


def test_no_token_in_any_file(keyed: Keyed, source: Source, sample: Sample, tmp_path: Path) -> None:
    """Log and heartbeat hold no token, also when it comes in lines that cannot be read."""
    secret = "gAAAAA-very-secret"
    keyed.accepted.add(secret.encode())

    def story() -> None:
        source.mine.sendall(f'{{"header": "X-Auth-Token: {secret}\\nEvil: x", "ends": 1}}\n{secret}\n'.encode())
        source.mine.sendall(secret.encode() * (MOST_LINE // 10) + b"\n")
        source.give(secret)
        until(lambda: secret.encode() in keyed.shown, "the token was not used")

    sample(lanes(keyed), story, tokens=source.sampler)

    assert {name for name in os.listdir(tmp_path) if secret.encode() in (tmp_path / name).read_bytes()} == set()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"gAAAA",
        b'{"header": 1, "ends": 1}',
        b'{"header": "a: b", "ends": "1"}',
        b'{"header": "a: b\\r\\nc: d", "ends": 1}',
        b'{"header": "a: \\u00e4", "ends": 1}',
        b"\xff",
    ],
)
def test_a_line_that_is_none_is_refused(line: bytes) -> None:
    """Nothing but a whole header with its end is taken, least of all one that would add further lines."""
    with pytest.raises(ValueError):  # noqa: PT011 - json and str have words of their own
        parse(line)


def test_lines_come_in_pieces(keyed: Keyed, source: Source, sample: Sample) -> None:
    """A line is taken when it is complete, however it was cut."""

    def story() -> None:
        line = json.dumps({"header": "X-Auth-Token: one", "ends": boot_ns() + int(LONG * SECOND)}).encode() + b"\n"
        for number in range(len(line)):
            source.mine.send(line[number : number + 1])
        until(lambda: b"one" in keyed.shown, "the token was not used")

    _plain, token = split(sample(lanes(keyed), story, tokens=source.sampler))

    assert all(one.counts["down"] == 0 for one in token)
