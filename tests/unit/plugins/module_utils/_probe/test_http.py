# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The HTTP reader: against h11, against every way of cutting the bytes, and against rubbish."""

from __future__ import annotations

import contextlib

import h11
import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._http import (
    MAX_BODY,
    MAX_HEAD,
    MAX_KEPT,
    EarlyCloseError,
    HttpError,
    ResponseReader,
    build_request,
)
from hypothesis import given, settings
from hypothesis import strategies as st

OK = b"HTTP/1.1 200 OK\r\n"


def read(data: bytes, *, closed: bool = False, step: int = 1 << 30) -> ResponseReader | None:
    """The reader when the response is complete, else None."""
    reader = ResponseReader()
    for start in range(0, len(data), step):
        if reader.feed(data[start : start + step]):
            return reader
    return reader if closed and reader.end() else None


def read_by_h11(data: bytes) -> tuple[int, bytes] | None:
    """(status, body) as h11 reads them from a closed connection; None when it refuses."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    status, body = 0, b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return status, body
            elif event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None


@pytest.mark.parametrize(
    ("data", "body", "reusable"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhello", b"hello", True),
        (OK + b"content-length:5\r\nConnection: close\r\n\r\nhello", b"hello", False),
        (OK + b"Content-Length: 0\r\n\r\n", b"", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nT: 1\r\n\r\n", b"hello", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok", b"ok", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: Keep-Alive\r\n\r\nok", b"ok", True),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
    ],
)
@pytest.mark.parametrize("step", [1, 2, 7, 1 << 30])
def test_complete_response(data: bytes, body: bytes, reusable: bool, step: int) -> None:
    """A complete response is read the same however its bytes are cut."""
    reader = read(data, step=step)

    assert reader is not None
    assert (reader.body, reader.reusable) == (body, reusable)


def test_response_until_close() -> None:
    """Without a length the end of the connection ends the body."""
    reader = read(OK + b"Server: x\r\n\r\nhello", closed=True)

    assert reader is not None
    assert (reader.status, reader.body, reader.server, reader.reusable) == (200, b"hello", b"x", False)


@pytest.mark.parametrize(
    "data",
    [b"", b"HTT", OK, OK + b"Content-Length: 5\r\n\r\nhell", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello"],
)
def test_early_close(data: bytes) -> None:
    """A connection that ends in the middle is told from a bad response."""
    with pytest.raises(EarlyCloseError):
        read(data, closed=True)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc",
        OK + b"X: " + b"a" * MAX_HEAD,
        OK + b"Content-Length: 9999999\r\n\r\n" + b"a" * (MAX_BODY + 1),
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 300,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
    ],
)
def test_refused_response(data: bytes) -> None:
    """What is no response, or beyond the limits, is refused as soon as it is seen."""
    with pytest.raises(HttpError):
        read(data)


def test_large_body_is_not_kept() -> None:
    """Only the beginning of a body is remembered."""
    reader = read(OK + b"Content-Length: 200000\r\n\r\n" + b"a" * 200000)

    assert reader is not None
    assert len(reader.body) == MAX_KEPT


def test_bytes_behind_the_response_spoil_the_connection() -> None:
    """A connection with bytes that nobody asked for is not used again."""
    reader = read(OK + b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n")

    assert reader is not None
    assert not reader.reusable


@settings(max_examples=500, deadline=None)
@given(data=st.binary(max_size=200), step=st.integers(1, 50), begin=st.sampled_from([b"", OK, OK + b"X: y\r\n\r\n"]))
def test_rubbish_raises_nothing_else(data: bytes, step: int, begin: bytes) -> None:
    """Whatever comes, the reader ends in HttpError or reads on."""
    with contextlib.suppress(HttpError):
        read(begin + data, closed=True, step=step)


pieces = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """Mostly well-formed responses, some of them damaged by one byte."""
    status = draw(st.sampled_from([200, 204, 300, 304, 404, 503]))
    head = f"HTTP/1.{draw(st.integers(0, 1))} {status} X\r\nServer: s\r\n".encode()
    body = draw(pieces)
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    if framing == "length":
        head += f"Content-Length: {sum(map(len, body))}\r\n\r\n".encode() + b"".join(body)
    elif framing == "chunked":
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in body)
        head += b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    else:
        head += b"\r\n" + b"".join(body)
    return draw(st.sampled_from([b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"])) + head


@settings(max_examples=500, deadline=None)
@given(data=responses(), step=st.integers(1, 60))
def test_reads_what_h11_reads(data: bytes, step: int) -> None:
    """Well-formed responses are read as h11 reads them."""
    reader = read(data, closed=True, step=step)
    expected = read_by_h11(data)

    assert reader is not None
    assert expected == (reader.status, reader.body)


@settings(max_examples=500, deadline=None)
@given(data=responses(), place=st.integers(0, 300), byte=st.integers(0, 255))
def test_never_reads_more_into_damage_than_h11(data: bytes, place: int, byte: int) -> None:
    """Where both accept a damaged response, they read the same from it."""
    place %= len(data)
    damaged = data[:place] + bytes((byte,)) + data[place + 1 :]
    expected = read_by_h11(damaged)
    try:
        reader = read(damaged, closed=True)
    except HttpError:
        reader = None

    if reader is not None and expected is not None:
        assert expected == (reader.status, reader.body)


def test_request_is_complete() -> None:
    """The request has a host, no body, and says what will be done with the connection."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(build_request("/v3?x=1", "[::1]:80", keep=False))
    request = connection.next_event()

    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (b"GET", b"/v3?x=1")
    assert dict(request.headers)[b"connection"] == b"close"
    assert isinstance(connection.next_event(), h11.EndOfMessage)
