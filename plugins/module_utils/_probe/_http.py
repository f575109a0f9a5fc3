# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP/1.1 as far as a probe needs it: one GET out, one response in, nothing trusted and everything bounded."""

from __future__ import annotations

MAX_HEAD = 32 * 1024
"""Bytes of status line and headers (or of trailers) beyond which a response is refused."""
MAX_BODY = 1024 * 1024
"""Bytes of body beyond which a response is refused."""
MAX_KEPT = 64 * 1024
"""Bytes of the body that are kept to be compared with what is expected."""
MAX_LINE = 256
"""Bytes of a chunk-size line."""
MAX_INTERIM = 16
"""Number of 1xx responses before the real one."""

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

    __slots__ = ("_buffer", "_interim", "_left", "_size", "_state", "body", "reusable", "server", "started", "status")

    def __init__(self) -> None:
        self._state = _HEAD
        self._buffer = b""
        self._left = 0
        self._size = 0
        self._interim = 0
        self.started = False
        self.status = 0
        self.server = b""
        self.body = b""
        self.reusable = False

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; True when the response is complete."""
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

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if (end if end >= 0 else len(self._buffer)) > MAX_HEAD:
            raise HttpError(f"the head of the response is longer than {MAX_HEAD} bytes")
        if end < 0:
            self._check_beginning()
            return False
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        version, self.status = _parse_status_line(head.partition(b"\r\n")[0])
        if 100 <= self.status < 200:
            return self._skip_interim()
        self._choose_body(version, _parse_headers(head))
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

    def _choose_body(self, version: int, headers: dict[bytes, bytes]) -> None:
        self.server = headers.get(b"server", b"")[:100]
        options = {option.strip() for option in headers.get(b"connection", b"").lower().split(b",")}
        self.reusable = b"close" not in options and (version >= 1 or b"keep-alive" in options)
        coding = headers.get(b"transfer-encoding")
        length = headers.get(b"content-length")
        if self.status in (204, 304):
            self._state = _DONE
        elif coding is not None:
            self._choose_coding(coding, length)
        elif length is not None:
            self._left = _parse_length(length)
            self._state = _LENGTH if self._left else _DONE
        else:
            self.reusable = False
            self._state = _UNTIL_CLOSE

    def _choose_coding(self, coding: bytes, length: bytes | None) -> None:
        if coding.strip().lower() != b"chunked":
            raise HttpError("unknown transfer coding")
        if length is not None:
            # Both headers together are how requests are smuggled: the framing is ambiguous.
            self.reusable = False
        self._state = _CHUNK_SIZE

    def _take(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > MAX_BODY:
            raise HttpError(f"the body of the response is longer than {MAX_BODY} bytes")
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
        end = self._buffer.find(b"\r\n")
        if (end if end >= 0 else len(self._buffer)) > MAX_LINE:
            raise HttpError("a chunk-size line is too long")
        if end < 0:
            return False
        self._left = _parse_hex(self._buffer[:end].partition(b";")[0].rstrip(b" \t"))
        self._buffer = self._buffer[end + 2 :]
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
        end = self._buffer.find(b"\r\n")
        if (end if end >= 0 else len(self._buffer)) + self._size > MAX_BODY or end > MAX_HEAD:
            raise HttpError("the trailers of the response are too long")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise HttpError("the trailers of the response are too long")
            return False
        self._buffer = self._buffer[end + 2 :]
        self._size += end + 2
        if end == 0:
            self._state = _DONE
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


def _parse_status_line(line: bytes) -> tuple[int, int]:
    """The minor version and the status."""
    code = line[9:12]
    plain = line[:7] == b"HTTP/1." and line[7:8] in (b"0", b"1") and line[8:9] == b" " and line[12:13] in (b"", b" ")
    if not plain or not code.isdigit() or code < b"100":
        raise HttpError("the status line is malformed")
    return line[7] - 48, int(code)


def _parse_headers(head: bytes) -> dict[bytes, bytes]:
    """Header names in lower case; a repeated header is joined with a comma."""
    headers: dict[bytes, bytes] = {}
    lines = head.split(b"\r\n")
    if head.count(b"\n") != len(lines) - 1 or b"\0" in head:
        # Where lines end must not be a matter of opinion: one reader's value would be another one's header.
        raise HttpError("a header line is malformed")
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise HttpError("a header line is malformed")
        name = name.lower()
        value = value.strip()
        headers[name] = headers[name] + b"," + value if name in headers else value
    return headers


def _parse_length(value: bytes) -> int:
    values = {part.strip() for part in value.split(b",")}
    text = values.pop()
    if values or not text.isdigit() or len(text) > 15:
        raise HttpError("the content length is malformed")
    return int(text)


def _parse_hex(text: bytes) -> int:
    if not text or len(text) > 8 or text.strip(b"0123456789abcdefABCDEF"):
        raise HttpError("a chunk size is malformed")
    return int(text, 16)
