# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the HTTP reader does with responses that nobody should send, beside what h11 does with them.

Each input is a response made from its parts, mostly damaged, cut at random places. The reader has to end in HttpError
or in a response, to come to the same end however the bytes are cut, never to accept what h11 refuses but for LAXER,
and never to refuse what h11 accepts but for STRICTER. Floods without an end have to be refused within the limits.

Prints one line of JSON: benchmark, inputs, failures, accepted (by both readers), seconds, rss_mb, growth_mb (of the
largest worker since its first thousand inputs). A failure is shown on stderr with the input that made it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import random
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import NamedTuple

import h11
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._http import (
    MAX_BODY,
    MAX_HEAD,
    MAX_INTERIM,
    MAX_KEPT,
    MAX_LINE,
    EarlyCloseError,
    HttpError,
    ResponseReader,
)

BATCH = 1000
HANG = 60.0
"""Seconds for one batch, which needs less than one."""
READ = 16384
"""The most bytes that the sampler hands to the reader at once."""
FLOOD = (MAX_INTERIM + 1) * (MAX_HEAD + 4) + MAX_HEAD + MAX_BODY + 2 * READ
"""Bytes within which every flood has to be refused."""
HELD = MAX_HEAD + MAX_KEPT + 2 * READ
"""Bytes that the reader may hold at any moment."""

# Making responses


def mostly(source: random.Random, usual: Sequence[bytes], odd: Sequence[bytes], share: float = 0.1) -> bytes:
    """One of the usual ones, now and then an odd one."""
    return source.choice(odd if source.random() < share else usual)


def any_case(source: random.Random, text: bytes) -> bytes:
    """The same word in another mixture of cases."""
    return source.choice((text, text, text.lower(), text.upper(), text.title().swapcase()))


def status_line(source: random.Random) -> bytes:
    """The first line, without its end."""
    version = mostly(source, (b"1.1", b"1.1", b"1.0"), (b"2.0", b"0.9", b"1.2", b"1.", b"11", b"1.10"), 0.04)
    usual = (b"200", b"200", b"200", b"204", b"300", b"304", b"401", b"404", b"500", b"503")
    status = mostly(source, usual, (b"099", b"1000", b"20", b"2x0", b"600", b"999", b"101"), 0.04)
    reason = mostly(source, (b" OK", b" ", b"", b" Not Found", b" \tX Y"), (b"  ", b"OK", b" a\rb", b" \xe9\x01"), 0.04)
    return b"HTTP/" + version + b" " + status + reason


PLAIN = (
    b"Server: nginx/1.22",
    b"server:x",
    b"Date: Fri, 20 Nov 2026 09:13:00 GMT",
    b"Vary: X-Auth-Token",
    b"X-Empty:",
    b"X-Blank: \t ",
    b"X-Latin: \xe9\xff",
    b"Server: a\r\nServer: b",
)
DAMAGED = (
    b"no colon",
    b": no name",
    b"Name : value",
    b"Na me: value",
    b" folded",
    b"X: a\r\n b",
    b"X: a\nServer: b",
    b"X: a\rb",
    b"X: a\0b",
    b"X: a\x0bb",
    b"X\xe9: y",
    b"Server: a\r\r",
)


def headers(source: random.Random) -> list[bytes]:
    """Header lines that say nothing of the body."""
    lines = [mostly(source, PLAIN, DAMAGED, 0.03) for _number in range(source.choice((0, 0, 1, 2, 3, 8)))]
    if source.random() < 0.4:
        options = mostly(source, (b"close", b"keep-alive", b"Close, x", b"x,Keep-Alive", b""), (b"close;", b",,close"))
        lines.append(any_case(source, b"Connection") + b": " + options)
    return lines


def length_line(source: random.Random, size: int) -> bytes:
    """A Content-Length, mostly the right one."""
    right = b"%d" % size
    odd = (
        b"%d" % (size + 1),
        b"%d" % max(0, size - 1),
        b"%d, %d" % (size, size),
        b"%d,%d" % (size, size + 1),
        b"-1",
        b"+%d" % size,
        b"0x%x" % size,
        b"",
        b"\x0b%d" % size,
        b"0" * 15 + right,
        b"9" * 25,
        right + b"\r\nContent-Length: " + right,
        right + b"\r\nContent-Length: 7",
    )
    blank = source.choice((b" ", b"", b" \t"))
    return any_case(source, b"Content-Length") + b":" + blank + mostly(source, (right,), odd)


def coding_line(source: random.Random) -> bytes:
    """A Transfer-Encoding, mostly chunked."""
    twice = b"chunked\r\nTransfer-Encoding: chunked"
    odd = (b"gzip", b"chunked, chunked", b"gzip, chunked", b"", b"\x0bchunked", twice)
    coding = mostly(source, (b"chunked", b"Chunked ", b"\tCHUNKED"), odd, 0.05)
    return any_case(source, b"Transfer-Encoding") + b":" + coding


def chunks(source: random.Random, body: bytes) -> bytes:
    """The body in chunks with extensions and trailers."""
    out = []
    while body:
        size = source.randint(1, len(body))
        piece, body = body[:size], body[size:]
        written = source.choice((b"%x", b"%X", b"0%x", b"000000%x")) % mostly_right(source, size)
        extension = mostly(source, (b"", b"", b";a", b";a=b", b';a="b;c"', b" ", b" \t;x"), CHUNK_LINES, 0.05)
        end = mostly(source, (b"\r\n",), (b"\n", b"\r", b"", b"x\r\n"), 0.02)
        out.append(written + extension + b"\r\n" + piece + end)
    last = mostly(source, (b"0", b"0", b"000", b"0;x"), (b"", b"-0", b"0x0", b"0" * 9, b"0" * 21), 0.03)
    trailers = [mostly(source, PLAIN, DAMAGED, 0.05) for _number in range(source.choice((0, 0, 0, 1, 2)))]
    return b"".join(out) + last + b"\r\n" + b"".join(line + b"\r\n" for line in trailers) + b"\r\n"


CHUNK_LINES = (b"x", b";a\nb", b";a\rb", b";a\0", b"\t;" + b"a" * MAX_LINE, b"\n", b" x", b";\x0b")


def mostly_right(source: random.Random, size: int) -> int:
    """The size of a chunk as it is announced."""
    return size if source.random() > 0.02 else size + source.choice((-1, 1, 16, 1 << 32))


def make_response(source: random.Random) -> bytes:
    """One response, with interim ones before it and bytes behind it now and then."""
    sizes = (0, 1, 2, 5, 30, 200, source.randint(0, 2000))
    body = source.randbytes(source.choice(sizes)) if source.random() < 0.5 else b"a" * source.choice(sizes)
    lines = headers(source)
    framing = source.choice(("length", "length", "chunked", "chunked", "close", "both"))
    if framing in ("length", "both"):
        lines.append(length_line(source, len(body)))
    if framing in ("chunked", "both"):
        lines.append(coding_line(source))
        body = chunks(source, body)
    source.shuffle(lines)
    head = b"\r\n".join([status_line(source), *lines])
    behind = mostly(source, (b"",), (b"\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"x"), 0.05)
    return interims(source) + head + b"\r\n\r\n" + body + behind


def interims(source: random.Random) -> bytes:
    """Responses before the response."""
    count = source.choice((0,) * 16 + (1, 1, 2, MAX_INTERIM + 1))
    usual = (b"100 Continue\r\n", b"103 Early Hints\r\nLink: x\r\nConnection: close\r\n")
    odd = (b"100 X\r\nno colon\r\n", b"101 X\r\n", b"102 X\r\nContent-Length: z\r\n")
    return b"".join(b"HTTP/1.1 " + mostly(source, usual, odd) + b"\r\n" for _number in range(count))


INTERESTING = (b"\r\n", b"\r\n\r\n", *(bytes((character,)) for character in b"\n\r\0\t\v :;,0f-\xff"))


def damage(source: random.Random, data: bytes) -> bytes:
    """The bytes with a few mistakes in them."""
    for _number in range(source.choice((0, 0, 0, 1, 1, 2, 4))):
        place = source.randrange(len(data) + 1)
        length = source.choice((1, 1, 2, source.randint(1, 40)))
        kind = source.randrange(6)
        if kind == 0:
            data = data[:place] + bytes((source.randrange(256),)) + data[place + 1 :]
        elif kind == 1:
            data = data[:place] + source.choice(INTERESTING) + data[place:]
        elif kind == 2:
            data = data[:place] + data[place + length :]
        elif kind == 3:
            data = data[:place] + data[place : place + length] + data[place:]
        elif kind == 4:
            data = data.replace(*source.choice(((b"\r\n", b"\n"), (b"\r\n", b"\r"), (b": ", b" : "))), 1 + place % 3)
        else:
            data = data[:place]
    return data


def cut(source: random.Random, data: bytes) -> list[bytes]:
    """The bytes in pieces: all at once, one by one, or anyhow."""
    style = source.randrange(10)
    if style == 0 and len(data) < 500:
        return [data[place : place + 1] for place in range(len(data))]
    if style < 4:
        return [data]
    places = sorted(source.randrange(len(data) + 1) for _number in range(source.choice((1, 2, 3, 10))))
    return [data[begin:end] for begin, end in itertools.pairwise([0, *places, len(data)]) if begin < end]


# Reading them


class Reading(NamedTuple):
    """What our reader made of a response; problem is empty, "refused" or "early close"."""

    problem: str
    status: int = 0
    body: bytes = b""
    server: bytes = b""
    reusable: bool = False


def read(pieces: Iterable[bytes]) -> Reading:
    """Read to the end of the connection. Raises nothing but what would be a defect."""
    reader = ResponseReader()
    complete = False
    try:
        for piece in pieces:
            complete = reader.feed(piece)
        complete = complete or reader.end()
    except EarlyCloseError:
        return Reading("early close")
    except HttpError:
        return Reading("refused")
    return Reading("", reader.status, reader.body, reader.server, reader.reusable)


class Reference(NamedTuple):
    """What h11 accepted; head has all heads in it, framing the lines of chunks and the trailers."""

    status: int
    body: bytes
    version: bytes
    head: bytes
    framing: bytes
    interims: int
    reusable: bool


def read_by_h11(data: bytes) -> Reference | None:
    """What h11 makes of the same bytes; None when it refuses them or finds no end."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 30)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    status, version, interims_, body, head, framing, left = 0, b"", 0, b"", b"", b"", data
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return None
        rest = connection.trailing_data[0]
        taken, left = left[: len(left) - len(rest)], rest
        if isinstance(event, h11.InformationalResponse):
            interims_ += 1
            head += taken
        elif isinstance(event, h11.Response):
            status, version = event.status_code, event.http_version
            head += taken
        elif isinstance(event, h11.Data):
            body += event.data
            framing += taken[: len(taken) - len(event.data)]
        elif isinstance(event, h11.EndOfMessage):
            reusable = connection.their_state is h11.DONE and not rest
            return Reference(status, body, version, head, framing + taken, interims_, reusable)
        else:
            return None


def has(pattern: bytes) -> Callable[[Reference], bool]:
    """True for a response that has the pattern outside of its body."""
    find = re.compile(pattern, re.MULTILINE | re.IGNORECASE).search
    return lambda reference: bool(find(reference.head) or find(reference.framing))


STRICTER: dict[str, Callable[[Reference], bool]] = {
    "a version other than 1.0 and 1.1": has(rb"^HTTP/(?!1\.[01] )"),
    "a line that does not end in CR LF": has(rb"(?<!\r)\n"),
    "a folded line": has(rb"\n[ \t]"),
    "a control character in a chunk extension": has(rb";.*?(?:[\0\v\f]|\r(?!\n))"),
    "more than 15 digits of length": has(rb"^content-length:.*[0-9]{16}"),
    "more than 8 digits of chunk size": has(rb"^[0-9a-f]{9}"),
    "a chunk-size line above its limit": lambda reference: len(max(reference.framing.split(b"\n"), key=len)) > MAX_LINE,
    "more interim responses than the limit": lambda reference: reference.interims > MAX_INTERIM,
    "a head above its limit": lambda reference: len(reference.head) > MAX_HEAD,
    "a body above its limit": lambda reference: len(reference.body) + len(reference.framing) > MAX_BODY,
}
"""What h11 accepts and we refuse on purpose: no service sends it, and whoever does means to be misread."""

SIZE_LINE = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(;.*)?")


def without_blanks(data: bytes) -> bytes:
    """The same response in chunks, without blanks between a chunk's size and its extension."""
    head, place = 0, data.find(b"\r\n\r\n") + 4
    while data[head + 9 : head + 10] == b"1":
        head, place = place, data.find(b"\r\n\r\n", place) + 4
    out = data[:place]
    while found := SIZE_LINE.fullmatch(data[place : data.find(b"\r\n", place)]):
        begin = data.find(b"\r\n", place)
        end = begin + 2 + int(found[1], 16) + 2
        out += found[1] + (found[2] or b"") + data[begin:end]
        place = end
    return out + data[place:]


LAXER: dict[str, Callable[[bytes], bytes]] = {"blanks before a chunk extension (RFC 9112, 7.1.1)": without_blanks}
"""What we accept and h11 refuses: each is a rewriting after which h11 must read the same."""


def difference(data: bytes, ours: Reading) -> str:
    """What is wrong with our reading beside that of h11; empty when nothing is."""
    theirs = read_by_h11(data)
    if ours.problem:
        excused = theirs is None or any(applies(theirs) for applies in STRICTER.values())
        return "" if excused else f"{ours.problem}, but h11 accepts it"
    for rewrite in LAXER.values():
        theirs = theirs or read_by_h11(rewrite(data))
    if theirs is None:
        return "accepted, but h11 refuses it"
    if (ours.status, ours.body) != (theirs.status, theirs.body[:MAX_KEPT]):
        return "read otherwise than by h11"
    # h11 never keeps a connection of HTTP/1.0; servers of that version that offer to keep it do keep it.
    if ours.reusable and not theirs.reusable and theirs.version != b"1.0":
        return "kept, but h11 closes it"
    return ""


# Floods


def floods(source: random.Random) -> Iterator[tuple[str, bytes, bytes]]:
    """Name, beginning and the part that is repeated for ever."""
    ok = b"HTTP/1.1 200 OK\r\n"
    chunked = ok + b"Transfer-Encoding: chunked\r\n\r\n"
    yield "header line", ok + b"X: ", b"a"
    yield "header lines", ok, b"X: y\r\n"
    yield "interim responses", b"", b"HTTP/1.1 100 Continue\r\n\r\n"
    yield "long interim responses", b"", b"HTTP/1.1 103 X\r\nA: %s\r\n\r\n" % (b"a" * source.randint(1, MAX_HEAD - 50))
    yield "body with a length", ok + b"Content-Length: 999999999999999\r\n\r\n", b"a"
    yield "body until close", ok + b"\r\n", b"a"
    yield "chunk", chunked + b"ffffffff\r\n", b"a"
    yield "tiny chunks", chunked, b"1\r\na\r\n"
    yield "chunk extension", chunked + b"1;", b"a"
    yield "chunk extensions", chunked, b"1;" + b"a" * source.randint(1, MAX_LINE - 2) + b"\r\nb\r\n"
    yield "chunk size", chunked, b"0"
    yield "trailer", chunked + b"0\r\nX:", b"a"
    yield "trailers", chunked + b"0\r\n", b"X: y\r\n"


def drown(beginning: bytes, repeated: bytes, size: int) -> str:
    """Feed a flood in pieces of that size; what is wrong with the reader, or nothing."""
    reader = ResponseReader()
    water = repeated * (size // len(repeated) + 2)
    fed = phase = 0
    try:
        reader.feed(beginning)
        while fed <= FLOOD:
            if reader.feed(water[phase : phase + size]):
                return "a flood ends"
            fed += size
            phase = (phase + size) % len(repeated)
            held = len(reader._buffer) + len(reader.body)
            if held > HELD:
                return f"{held} bytes are held"
    except HttpError:
        return ""
    return f"not refused after {fed} bytes"


# Running it


class Result(NamedTuple):
    """What a batch found; rss is the most the process has had so far, in MB."""

    inputs: int
    accepted: int
    failures: list[str]
    rss: float
    pid: int


class HangError(Exception):
    """The batch takes longer than anything can explain."""


def run_batch(seed: int, count: int = BATCH) -> Result:
    """Try that many inputs and, for each thousand of them, one flood."""
    source = random.Random(seed)
    failures: list[str] = []
    accepted = 0
    for number in range(count):
        data = damage(source, make_response(source))
        problem, good = examine(source, data)
        accepted += good
        if problem:
            failures.append(f"seed {seed}, input {number}: {problem}: {data[:2000]!r}")
        if number % BATCH == 0:
            name, beginning, repeated = source.choice(list(floods(source)))
            size = source.choice((64, 1000, READ))
            if wrong := drown(beginning, repeated, size):
                failures.append(f"seed {seed}, flood '{name}' in pieces of {size} bytes: {wrong}")
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Result(count, accepted, failures, rss, os.getpid())


def examine(source: random.Random, data: bytes) -> tuple[str, bool]:
    """What is wrong with the reader at this input, and whether the input is a response."""
    try:
        whole = read([data] if data else [])
        if read(cut(source, data)) != whole:
            return "another result when cut otherwise", False
        return difference(data, whole), not whole.problem
    except HangError:
        raise
    except Exception as error:  # whatever it is, it is what is looked for
        return f"{type(error).__name__}: {error}", False


def run_worker(seed: int) -> Result:
    """A batch in a worker, which may hang without making us wait."""

    def hang(_number: int, _frame: FrameType | None) -> None:
        raise HangError

    signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, HANG)
    try:
        return run_batch(seed)
    except HangError:
        return Result(0, 0, [f"seed {seed}: hangs"], 0.0, os.getpid())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    batches = -(-options.inputs // BATCH)
    inputs = accepted = failures = 0
    largest = growth = 0.0
    at_first: dict[int, float] = {}
    with multiprocessing.Pool() as pool:
        for result in pool.imap_unordered(run_worker, range(options.seed, options.seed + batches)):
            inputs += result.inputs
            accepted += result.accepted
            failures += len(result.failures)
            largest = max(largest, result.rss)
            growth = max(growth, result.rss - at_first.setdefault(result.pid, result.rss))
            print(*result.failures[:3], sep="\n", end="\n" * bool(result.failures), file=sys.stderr)
    figures = {
        "benchmark": "http_fuzz",
        "inputs": inputs,
        "failures": failures,
        "accepted": accepted,
        "seconds": round(time.monotonic() - began, 1),
        "rss_mb": round(largest, 1),
        "growth_mb": round(growth, 1),
    }
    print(json.dumps(figures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
