# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The HTTP reader: against h11, against every way of cutting the bytes, against rubbish and against floods.

What is compared with h11, and where the two may differ, stands in the benchmark ``http_fuzz``.
"""

from __future__ import annotations

import contextlib
import random
import tracemalloc

import h11
import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._http import (
    MAX_BODY,
    MAX_HEAD,
    MAX_INTERIM,
    MAX_KEPT,
    MAX_LINE,
    EarlyCloseError,
    HttpError,
    ResponseReader,
    build_request,
)
from ansible_collections.openstack.upgrade_test.tests.benchmarks import http_fuzz
from hypothesis import given, settings
from hypothesis import strategies as st

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def read(data: bytes, *, closed: bool = False, step: int = 1 << 30) -> ResponseReader | None:
    """The reader when the response is complete, else None."""
    reader = ResponseReader()
    for start in range(0, len(data), step):
        if reader.feed(data[start : start + step]):
            return reader
    return reader if closed and reader.end() else None


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


@pytest.mark.no_cover
def test_twenty_thousand_bad_days() -> None:
    """Made, damaged and cut at random: HttpError or one result, whatever the cuts, and none that h11 would not give."""
    result = http_fuzz.run_batch(seed=20, count=20_000)

    assert result.failures == []
    assert result.accepted > 5_000


REFUSED_ON_PURPOSE = {
    "a version other than 1.0 and 1.1": b"HTTP/1.2 200 OK\r\n\r\n",
    "a line that does not end in CR LF": OK + b"X: y\nServer: z\r\n\r\n",
    "a folded line": OK + b"X: y\r\n z\r\n\r\n",
    "a control character in a chunk extension": CHUNKED + b"1;a\0\r\na\r\n0\r\n\r\n",
    "more than 15 digits of length": OK + b"Content-Length: 0000000000000001\r\n\r\na",
    "more than 8 digits of chunk size": CHUNKED + b"000000001\r\na\r\n0\r\n\r\n",
    "a chunk-size line above its limit": CHUNKED + b"1;" + b"a" * (MAX_LINE - 1) + b"\r\na\r\n0\r\n\r\n",
    "more interim responses than the limit": CONTINUE * (MAX_INTERIM + 1) + OK + b"\r\n",
    "a head above its limit": OK + b"X: " + b"a" * (MAX_HEAD - len(OK) - 2) + b"\r\n\r\n",
    "a body above its limit": OK + b"\r\n" + b"a" * (MAX_BODY + 1),
}


@pytest.mark.parametrize("reason", http_fuzz.STRICTER)
def test_stricter_than_h11_for_one_reason(reason: str) -> None:
    """Each thing that h11 accepts and we do not is told apart from all others."""
    data = REFUSED_ON_PURPOSE[reason]
    theirs = http_fuzz.read_by_h11(data)

    assert theirs is not None
    assert [name for name, applies in http_fuzz.STRICTER.items() if applies(theirs)] == [reason]
    assert http_fuzz.read([data]).problem in ("refused", "early close")


def test_laxer_than_h11() -> None:
    """The one thing that h11 refuses and we accept, because the standard has it, is read as without it."""
    data = CONTINUE + CHUNKED + b"1 \t;a\r\na\r\n8;b\r\n\r\n1 ;\r\n2\r\n0 ;c\r\n\r\n"
    (rewrite,) = http_fuzz.LAXER.values()
    theirs = http_fuzz.read_by_h11(rewrite(data))

    assert http_fuzz.read_by_h11(data) is None
    assert theirs is not None
    assert http_fuzz.read([data])[:3] == ("", 200, theirs.body)
    assert theirs.body == b"a\r\n1 ;\r\n2"


@pytest.mark.no_cover
@pytest.mark.parametrize("size", [64, 16384])
@pytest.mark.parametrize(
    ("beginning", "repeated"),
    [pytest.param(*flood, id=name) for name, *flood in http_fuzz.floods(random.Random(1))],
)
def test_flood_is_refused_in_bounded_memory(beginning: bytes, repeated: bytes, size: int) -> None:
    """What never ends is refused within the limits, and never held."""
    tracemalloc.start()
    try:
        wrong = http_fuzz.drown(beginning, repeated, size)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert wrong == ""
    assert peak < 4 * http_fuzz.HELD


@pytest.mark.parametrize(
    ("data", "limit", "longer"),
    [
        (OK + b"X: %s\r\n\r\n", MAX_HEAD - len(OK) - 3, "head"),
        (CHUNKED + b"1;%s\r\na\r\n0\r\n\r\n", MAX_LINE - 2, "chunk-size line"),
        (CHUNKED + b"0\r\nX:%s\r\n\r\n", MAX_HEAD - 2, "trailer"),
    ],
)
def test_limit_does_not_depend_on_the_cut(data: bytes, limit: int, longer: str) -> None:
    """What just fits is accepted when it comes byte by byte, too; one byte more never is."""
    fits, too_long = data % (b"a" * limit), data % (b"a" * (limit + 1))

    for step in (1, 1 << 30):
        assert read(fits, closed=True, step=step) is not None
        with pytest.raises(HttpError, match=f"{longer} of the response is longer"):
            read(too_long, closed=True, step=step)


def test_request_is_complete() -> None:
    """The request has a host, no body, and says what will be done with the connection."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(build_request("/v3?x=1", "[::1]:80", keep=False))
    request = connection.next_event()

    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (b"GET", b"/v3?x=1")
    assert dict(request.headers)[b"connection"] == b"close"
    assert isinstance(connection.next_event(), h11.EndOfMessage)
