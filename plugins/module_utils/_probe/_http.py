# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP/1.1 as far as a probe needs it: one GET out, one response in, nothing trusted and everything bounded."""

from __future__ import annotations

import re

MAX_HEAD = 32 * 1024
"""Bytes of status line and headers (or of a line of the trailers) beyond which a response is refused."""
MAX_BODY = 1024 * 1024
"""Bytes of body, with what frames its chunks and its trailers, beyond which a response is refused."""
MAX_KEPT = 64 * 1024
"""Bytes of the body that are kept to be compared with what is expected."""
MAX_LINE = 256
"""Bytes of a chunk-size line."""
MAX_INTERIM = 16
"""Number of 1xx responses before the real one."""

# Where a line ends must not be a matter of opinion: one reader's value would be another one's header.
_TEXT = rb"[^\0\n\v\f\r]*"
_FIELD = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+:" + _TEXT
_HEAD_LINES = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: " + _TEXT + rb")?(?:\r\n" + _FIELD + rb")*")
_NAMES = rb"connection|content-length|server|transfer-encoding"
_WANTED = re.compile(rb"\r\n(" + _NAMES + rb"):[ \t]*(" + _TEXT + rb")", re.IGNORECASE)
_TRAILER = re.compile(_FIELD)
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;" + _TEXT + rb")?")

_ONCE = rb"(?(%d)(?!)|(?i:%s):[ \t]*(%s)(?=\r))"
"""A header that may come once: the number of its group, its name, its value."""
_USUAL_HEADERS = (
    _ONCE % (2, b"content-length", rb"[0-9]{1,5}"),
    _ONCE % (3, b"server", _TEXT),
    _ONCE % (4, b"connection", rb"close|keep-alive"),
    rb"(?!(?i:" + _NAMES + rb"):)" + _FIELD,
)
_USUAL_HEAD = re.compile(
    rb"HTTP/1\.1 (?!204|304)([2-5][0-9]{2})(?: %s)?(?:\r\n(?:%s))*\r\n\r\n" % (_TEXT, b"|".join(_USUAL_HEADERS))
)

_HEAD, _LENGTH, _CHUNK_SIZE, _CHUNK, _CHUNK_END, _TRAILERS, _UNTIL_CLOSE, _DONE = range(8)


class HttpError(Exception):
    """The peer does not speak HTTP/1.x, or beyond the limits; the text says what was wrong."""


class EarlyCloseError(HttpError):
    """The connection ended before the response was complete."""


def build_request(path: str, host: str, *, keep: bool) -> bytes:
    """The bytes of one GET request."""
    connection = "keep-alive" if keep else "close"
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: openstack.upgrade_test\r\n"
        f"Accept: */*\r\nConnection: {connection}\r\n\r\n"
    ).encode("ascii")


class ResponseReader:
    """Reads one response to a GET from pieces of any size.

    ``feed`` and ``end`` return True once the response is complete and raise HttpError otherwise unusable;
    then ``status``, ``body`` (its first 64 KiB), ``server`` and ``reusable`` hold.
    """

    # Of the class, as the usual response needs few of them: what is never touched costs nothing.
    _state = _HEAD
    _buffer = b""
    _left = 0
    _size = 0
    _interim = 0
    started = False
    status = 0
    server = b""
    body = b""
    reusable = False

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; True when the response is complete.

        A whole response of the usual form is taken at once, to the same effect as step by step: a probe finds cold
        caches, so that each of the dozen calls that this spares costs more than its work.
        """
        found = None if self.started else _USUAL_HEAD.match(data)
        if found is None:
            return self._take_steps(data)
        status, length, server, connection = found.groups()
        body = data[found.end() :]
        if length is None or len(body) != int(length) or len(data) > MAX_HEAD:
            return self._take_steps(data)
        self._state = _DONE
        self.started = True
        self.status = int(status)
        if server:
            self.server = server.rstrip(b" \t")[:100]
        self.body = body
        self.reusable = connection != b"close"
        return True

    def _take_steps(self, data: bytes) -> bool:
        self.started = True
        self._buffer = self._buffer + data if self._buffer else data
        while self._state != _DONE and _STEPS[self._state](self):
            pass
        if self._state == _DONE and self._buffer:
            # Bytes after the response to the only request: whatever they are, they answer nothing.
            self.reusable = False
        return self._state == _DONE

    def end(self) -> bool:
        """The peer closed; True when that ends the response properly."""
        if self._state == _UNTIL_CLOSE:
            self._state = _DONE
        if self._state != _DONE:
            raise EarlyCloseError("the connection was closed before the response was complete")
        return True

    def _cut(self, mark: bytes, limit: int, what: str) -> bytes | None:
        """Take what stands before the mark, which must come within the limit; None while it has not come."""
        end = self._buffer.find(mark, 0, limit + len(mark))
        if end >= 0:
            piece, self._buffer = self._buffer[:end], self._buffer[end + len(mark) :]
            return piece
        if len(self._buffer) >= limit + len(mark):
            raise HttpError(f"{what} of the response is longer than {limit} bytes")
        return None

    def _read_head(self) -> bool:
        head = self._cut(b"\r\n\r\n", MAX_HEAD, "the head")
        if head is None:
            self._check_beginning()
            return False
        version, self.status, headers = _parse_head(head)
        chunked = _parse_coding(headers.get(b"transfer-encoding"))
        length = _parse_length(headers.get(b"content-length"))
        if self.status < 200:
            return self._skip_interim()
        self._note_connection(version, headers)
        self._choose_body(chunked, length)
        return True

    def _check_beginning(self) -> None:
        # A peer that speaks something else would otherwise be waited for until the timeout.
        if not self._buffer.startswith(b"HTTP/1."[: len(self._buffer)]):
            raise HttpError("the response does not begin with HTTP/1.")

    def _skip_interim(self) -> bool:
        self._interim += 1
        if self.status == 101 or self._interim > MAX_INTERIM:
            raise HttpError(f"unexpected interim response {self.status}")
        return True

    def _note_connection(self, version: int, headers: dict[bytes, bytes]) -> None:
        self.server = headers.get(b"server", b"")[:100]
        self.reusable = _is_reusable(version, headers.get(b"connection"))

    def _choose_body(self, chunked: bool, length: int | None) -> None:
        if self.status in (204, 304):
            self._state = _DONE
        elif chunked:
            # Both headers together are how requests are smuggled: the framing is ambiguous.
            self.reusable = self.reusable and length is None
            self._state = _CHUNK_SIZE
        elif length is not None:
            self._left = length
            self._state = _LENGTH if length else _DONE
        else:
            self.reusable = False
            self._state = _UNTIL_CLOSE

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > MAX_BODY:
            raise HttpError(f"the body of the response is longer than {MAX_BODY} bytes")

    def _take(self, data: bytes) -> None:
        self._count(len(data))
        room = MAX_KEPT - len(self.body)
        if room > 0:
            self.body += data[:room]

    def _read_some(self) -> bool:
        """Move up to the wanted bytes to the body; True when none is wanting any more."""
        piece, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
        self._left -= len(piece)
        self._take(piece)
        return not self._left

    def _read_length(self) -> bool:
        if self._read_some():
            self._state = _DONE
        return False

    def _read_chunk_size(self) -> bool:
        line = self._cut(b"\r\n", MAX_LINE, "a chunk-size line")
        if line is None:
            return False
        self._count(len(line) + 2)
        self._left = _parse_size(line)
        self._state = _CHUNK if self._left else _TRAILERS
        return True

    def _read_chunk(self) -> bool:
        if not self._read_some():
            return False
        self._state = _CHUNK_END
        return True

    def _read_chunk_end(self) -> bool:
        if len(self._buffer) < 2 and b"\r\n".startswith(self._buffer):
            return False
        if not self._buffer.startswith(b"\r\n"):
            raise HttpError("a chunk does not end where it said")
        self._buffer = self._buffer[2:]
        self._state = _CHUNK_SIZE
        return True

    def _read_trailers(self) -> bool:
        line = self._cut(b"\r\n", MAX_HEAD, "a trailer")
        if line is None:
            return False
        self._count(len(line) + 2)
        if not line:
            self._state = _DONE
        elif not _TRAILER.fullmatch(line):
            raise HttpError("a trailer is malformed")
        return True

    def _read_until_close(self) -> bool:
        data, self._buffer = self._buffer, b""
        self._take(data)
        return False


_STEPS = (
    ResponseReader._read_head,
    ResponseReader._read_length,
    ResponseReader._read_chunk_size,
    ResponseReader._read_chunk,
    ResponseReader._read_chunk_end,
    ResponseReader._read_trailers,
    ResponseReader._read_until_close,
)


def _parse_head(head: bytes) -> tuple[int, int, dict[bytes, bytes]]:
    """The minor version, the status, and the wanted headers by lower-case name; repeated ones joined with a comma."""
    found = _HEAD_LINES.fullmatch(head)
    if found is None:
        raise HttpError("the head of the response is malformed")
    headers: dict[bytes, bytes] = {}
    for written, text in _WANTED.findall(head, found.end(2)):
        name, value = written.lower(), text.rstrip(b" \t")
        headers[name] = headers[name] + b"," + value if name in headers else value
    return int(found[1]), int(found[2]), headers


def _is_reusable(version: int, value: bytes | None) -> bool:
    """True when the peer will take another request over the connection."""
    if value is None:
        return version >= 1
    options = {option.strip() for option in value.lower().split(b",")}
    return b"close" not in options and (version >= 1 or b"keep-alive" in options)


def _parse_coding(value: bytes | None) -> bool:
    """True when the body comes in chunks."""
    if value is not None and value.lower() != b"chunked":
        raise HttpError("unknown transfer coding")
    return value is not None


def _parse_length(value: bytes | None) -> int | None:
    if value is None:
        return None
    if value.isdigit() and len(value) <= 15:
        return int(value)
    first, *others = {part.strip() for part in value.split(b",")}
    if others or not first.isdigit() or len(first) > 15:
        raise HttpError("the content length is malformed")
    return int(first)


def _parse_size(line: bytes) -> int:
    found = _SIZE_LINE.fullmatch(line)
    if found is None:
        raise HttpError("a chunk size is malformed")
    return int(found[1], 16)
