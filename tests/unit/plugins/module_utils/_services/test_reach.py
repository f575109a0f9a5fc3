# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._reach import (
    BLOCKED,
    OPEN,
    REFUSED,
    CannotPingError,
    checksum,
    http_get,
    ping,
    tcp,
)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_ping_answers_on_loopback_and_not_on_a_documentation_address() -> None:
    """An address that answers is told from one that does not."""
    try:
        assert ping("127.0.0.1") is True
    except CannotPingError:
        pytest.skip("this user may not send ICMP")

    assert ping("240.0.0.1", 0.2) is False


def test_checksum_is_the_one_of_the_internet() -> None:
    """A packet with its checksum in it sums up to nothing."""
    packet = struct.pack("!BBHHH", 8, 0, 0, 1, 1) + b"sixteen bytes..."
    whole = struct.pack("!BBHHH", 8, 0, checksum(packet), 1, 1) + b"sixteen bytes..."

    assert checksum(whole) == 0


def test_tcp_tells_open_refused_and_blocked(listener: socket.socket) -> None:
    """A refusal is an answer: nothing blocks the port."""
    port = listener.getsockname()[1]
    before = tcp("127.0.0.1", port)
    listener.close()

    assert (before, tcp("127.0.0.1", port)) == (OPEN, REFUSED)


def test_tcp_without_any_answer_is_blocked(listener: socket.socket) -> None:
    """A connection that nobody takes and nobody refuses runs into its time limit."""
    listener.listen(0)
    waiting = [socket.socket() for _each in range(4)]
    for client in waiting:  # fill the queue of the listener, so that the kernel drops what comes next
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
    try:
        assert tcp("127.0.0.1", listener.getsockname()[1], timeout=0.3) == BLOCKED
    finally:
        for client in waiting:
            client.close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\nboot-id\n", (200, "boot-id\n")),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", (404, "")),
        (b"garbage\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", None),
    ],
)
def test_http_get_takes_whole_answers_only(
    listener: socket.socket, answer: bytes, expected: tuple[int, str] | None
) -> None:
    """An answer that is cut short or none at all is no answer."""

    def serve() -> None:
        client, _address = listener.accept()
        with client:
            client.recv(1024)
            client.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    found = http_get(f"http://127.0.0.1:{listener.getsockname()[1]}/boot_id", timeout=2)
    thread.join()

    assert found == expected


def test_http_get_of_a_closed_port_is_no_answer(listener: socket.socket) -> None:
    """Nobody there is no answer."""
    port = listener.getsockname()[1]
    listener.close()

    assert http_get(f"http://127.0.0.1:{port}/") is None
