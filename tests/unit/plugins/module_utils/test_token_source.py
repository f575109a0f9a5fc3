# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The source of tokens: real processes and sockets; what authenticates is given by the test."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils import _token_source
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Access, CloudError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import SECOND, boot_ns
from ansible_collections.openstack.upgrade_test.plugins.module_utils._redact import Redactor
from ansible_collections.openstack.upgrade_test.plugins.module_utils._token_source import (
    LEAST_PAUSE,
    MOST_PAUSE,
    Schedule,
    serve,
    token_source,
)

SECRET = "gAAAAAsecret-that-nobody-may-see"
HOUR = 3600.0


def at(seconds: float) -> int:
    """A moment of the clock."""
    return int(seconds * SECOND)


def test_a_token_is_renewed_at_half_of_its_life() -> None:
    """The next one is due while the old one still has half of its life, whatever its length."""
    schedule = Schedule(at(100))
    assert schedule.due == at(100)

    schedule.granted(at(101), HOUR)

    assert schedule.due == at(101 + HOUR / 2)


def test_failures_are_retried_ever_more_slowly() -> None:
    """While Keystone is down the pauses double up to the longest, and begin anew after a success."""
    schedule = Schedule(0)
    pauses = []
    now = 0
    for _attempt in range(8):
        schedule.failed(now)
        pauses.append((schedule.due - now) / SECOND)
        now = schedule.due

    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    schedule.granted(now, HOUR)
    schedule.failed(now)
    assert schedule.due - now == at(LEAST_PAUSE)


def test_a_refused_token_is_replaced_at_once() -> None:
    """A token that had served for long is replaced without delay."""
    schedule = Schedule(0)
    schedule.granted(0, HOUR)

    schedule.refused(at(MOST_PAUSE + 1))

    assert schedule.due == at(MOST_PAUSE + 1)


def test_tokens_refused_one_after_the_other_do_not_become_a_storm() -> None:
    """When each new token is refused at once, Keystone is asked ever more seldom."""
    schedule, now, moments = Schedule(0), 0, []
    for _attempt in range(8):
        schedule.granted(now, HOUR)
        schedule.refused(now + 1000)
        moments.append(round((schedule.due - now) / SECOND))
        now = schedule.due

    assert moments == [1, 2, 4, 8, 16, 30, 30, 30]


class Peer:
    """The side of the sampler."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.rest = b""

    def line(self, timeout: float = 20) -> dict[str, Any]:
        """The next line; an empty one at the end of the connection."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self.rest:
            assert select.select([self.connection], [], [], max(0, deadline - time.monotonic()))[0], "nothing was said"
            data = self.connection.recv(65536)
            if not data:
                return {}
            self.rest += data
        line, _newline, self.rest = self.rest.partition(b"\n")
        record: dict[str, Any] = json.loads(line)
        return record

    def until(self, key: str) -> dict[str, Any]:
        """The next line with this key."""
        while key not in (record := self.line()):
            assert record, f"it ended without a word of {key}"
        return record


@contextlib.contextmanager
def serving(grant: Callable[[], tuple[str, float]], redactor: Redactor | None = None) -> Iterator[Peer]:
    """Serve in a forked process, as the source does."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        try:
            serve(theirs, grant, redactor or Redactor())
        finally:
            os._exit(0)
    theirs.close()
    try:
        yield Peer(ours)
    finally:
        ours.close()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "it did not end with the connection"


def numbered(lifetime: float) -> Callable[[], tuple[str, float]]:
    """Tokens t1, t2, ..."""
    given = iter(range(1, 1000))
    return lambda: (f"t{next(given)}", lifetime)


def test_tokens_overlap() -> None:
    """A new token comes while the old one is still valid, again and again."""
    with serving(numbered(2.4)) as peer:
        first = peer.line()
        for number in (2, 3):
            following = peer.line()
            assert boot_ns() < first["ends"], "there was a time without a token"
            assert following == {"header": f"X-Auth-Token: t{number}", "ends": following["ends"]}
            assert following["ends"] > first["ends"]
            first = following


def test_a_token_ends_before_keystone_says_so() -> None:
    """The end that is told lies before the end of its life, counted from before the question."""
    before = boot_ns()
    with serving(numbered(HOUR)) as peer:
        ends = peer.line()["ends"]

    assert before + at(HOUR - 10) < ends < before + at(HOUR)


def test_a_byte_asks_for_a_new_token() -> None:
    """A refused token is replaced long before its end."""
    with serving(numbered(HOUR)) as peer:
        assert peer.line()["header"].endswith("t1")
        peer.connection.send(b"?")

        assert peer.line()["header"].endswith("t2")


def test_keystone_down_is_told_and_survived() -> None:
    """A failure is one line without secrets; the next success brings a token."""
    attempts = iter(range(10))

    def grant() -> tuple[str, float]:
        if next(attempts) == 0:
            raise CloudError(f"Keystone at http://h:5000 refused password={SECRET}")
        return "t", HOUR

    with serving(grant, Redactor([SECRET])) as peer:
        told = peer.line()
        assert "Keystone at http://h:5000 refused" in told["error"]
        assert SECRET not in told["error"]
        assert peer.line()["header"].endswith("t")


def test_what_a_library_says_is_not_repeated() -> None:
    """Of an unexpected exception only its name is told, because its text may be anything."""

    def grant() -> tuple[str, float]:
        raise KeyError(SECRET)

    with serving(grant) as peer:
        assert peer.line() == {"error": "Authentication failed with an unexpected KeyError."}


def test_a_wrong_cloud_is_told_before_anything_is_observed(tmp_path: Path) -> None:
    """A cloud that is not in clouds.yaml is the same one line as in every other module."""
    pytest.importorskip("openstack")
    (tmp_path / "clouds.yaml").write_text("clouds: {prod: {auth: {auth_url: http://127.0.0.1:1/v3}}}")
    access = Access(cloud="prd", clouds_yaml=str(tmp_path / "clouds.yaml"))

    with pytest.raises(CloudError, match=r"cloud: 'prd' is not in .*clouds there are 'prod'"), token_source(access):
        pass


def children(pid: int) -> list[int]:
    """The living children of a process."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 20) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@contextlib.contextmanager
def source(monkeypatch: pytest.MonkeyPatch, grant: Callable[[], tuple[str, float]]) -> Iterator[tuple[Peer, int, int]]:
    """A whole source; the sampler's side, keeper and worker."""
    monkeypatch.setattr(_token_source, "check", lambda _access: None)
    monkeypatch.setattr(_token_source, "_authenticate", lambda _access: grant())
    mine = set(children(os.getpid()))
    with token_source(Access(cloud="any")) as connection:
        (keeper,) = set(children(os.getpid())) - mine
        (worker,) = children(keeper)
        yield Peer(connection), keeper, worker


def test_both_processes_end_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of a source that was used."""
    with source(monkeypatch, numbered(HOUR)) as (peer, keeper, worker):
        assert peer.line()["header"].endswith("t1")

    wait_until(lambda: gone(keeper) and gone(worker), "a process is left")


def test_both_processes_end_when_the_sampler_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL of the sampler ends them too, even in the middle of a request."""
    read, write = os.pipe()

    def hang() -> tuple[str, float]:
        time.sleep(600)
        return "never", HOUR

    pid = os.fork()
    if pid == 0:
        with source(monkeypatch, hang) as (_peer, keeper, worker):
            os.write(write, f"{keeper} {worker}".encode())
            time.sleep(600)
    keeper, worker = map(int, os.read(read, 100).split())
    assert not gone(keeper)
    assert not gone(worker)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    wait_until(lambda: gone(keeper) and gone(worker), "a process outlives its sampler")


def test_a_worker_that_dies_is_replaced_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The death is told, and the next worker brings a token."""
    with source(monkeypatch, lambda: (f"of {os.getpid()}", HOUR)) as (peer, _keeper, worker):
        assert peer.line()["header"].endswith(f"of {worker}")
        os.kill(worker, signal.SIGKILL)

        assert "died (signal 9)" in peer.until("error")["error"]
        assert peer.until("header")["header"] != f"X-Auth-Token: of {worker}"


def test_the_end_of_all_is_the_end_of_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the keeper is killed the worker goes with it, and the sampler reads the end."""
    with source(monkeypatch, numbered(HOUR)) as (peer, keeper, _worker):
        peer.line()
        os.kill(keeper, signal.SIGKILL)

        assert peer.line() == {}


def test_nothing_of_the_parent_is_held_or_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The processes hold no file of the sampler, and have neither its terminal nor a token in what others can see."""
    with (tmp_path / "lock").open("w") as lock:
        lock.flush()
        with source(monkeypatch, lambda: (SECRET, HOUR)) as (peer, keeper, worker):
            assert SECRET in peer.line()["header"]
            for pid in (keeper, worker):
                held = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
                assert [name for name in held if not name.startswith("socket:")] == [os.devnull] * 3
                for name in ("cmdline", "environ"):
                    assert SECRET.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
