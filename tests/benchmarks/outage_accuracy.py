# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How exact outages are found: a server whose truth is known against the sampler, each in a process of its own.

One core is kept busy meanwhile. First at 125 probes a second, then at 10, where a lost listener is found by the
connections that it closes. Prints one line of JSON:

missed_share  of the outages of at least 10 ms at 125/s (a listener that is gone, 503, reset; from 20 ms a server that
              is silent, whose answers are slow but come; from 200 ms one bad answer in three, which is many outages)
outside_bounds, split, invented  of all outages that are neither silence nor one in three
error_p50_ms  of the length of listener losses
sentinel_missed_share  of the listener losses of at least 20 ms at 10/s
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import random
import select
import socket
import statistics
import struct
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._observer import Plan, observe
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._options import api_lanes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import Outage, read_observations
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._seconds import export

WHOLE = ("refuse", "503", "reset")
"""Kinds in which every request fails from begin to end."""
KINDS = (*WHOLE, "stall", "third")
LENGTHS = (0.002, 0.005, 0.010, 0.020, 0.050, 0.200, 0.500)
VISIBLE = {"stall": 0.020, "third": 0.200}
"""Seconds from which kinds that are harder to see are to be found; the others from 0.010."""
SLOW = 0.008
"""Seconds beyond which an answer counts as slow."""
BACKLOG = 512
LINGER = struct.pack("ii", 1, 0)


class Truth(NamedTuple):
    """An outage as it was: each edge lies between two wall-clock stamps."""

    kind: str
    length: float
    begin_first: float
    begin_last: float
    end_first: float
    end_last: float

    @property
    def duration(self) -> float:
        """Its length in seconds, from the middle of the stamps of its begin to the middle of those of its end."""
        return (self.end_first + self.end_last - self.begin_first - self.begin_last) / 2


class Server:
    """A single-threaded HTTP server that fails when it is told to, so that nothing is under way at an edge."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.connections: dict[int, socket.socket] = {}
        self.mode = "ok"
        self.answers = 0
        self.port = 0
        self.bind()
        self.listener.listen(BACKLOG)
        self.port = self.listener.getsockname()[1]

    def bind(self) -> None:
        """Have a port, on which connections are still refused."""
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.setblocking(False)
        self.epoll.register(self.listener, select.EPOLLIN)

    def serve(self, until: float) -> None:
        """Answer until that moment."""
        while (left := until - time.time()) > 0:
            self.turn(left)

    def turn(self, left: float) -> None:
        if left > 0.002:
            select.select([self.epoll], [], [], left - 0.001)
        for descriptor, _mask in self.epoll.poll(0):
            if descriptor == self.listener.fileno():
                self.accept()
            else:
                self.answer(descriptor)

    def accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _address = self.listener.accept()
                connection.setblocking(False)
                self.connections[connection.fileno()] = connection
                self.epoll.register(connection, select.EPOLLIN)

    def answer(self, descriptor: int) -> None:
        connection = self.connections[descriptor]
        try:
            request = connection.recv(4096)
        except OSError:
            request = b""
        if not request or self.mode == "reset":
            self.drop(descriptor, abort=bool(request))
            return
        self.answers += 1
        bad = self.mode == "503" or (self.mode == "third" and self.answers % 3 == 0)
        status = 503 if bad else 200
        # Whoever asks closes. A server that does has thousands of connections in TIME_WAIT, through all of which the
        # kernel goes when a port is listened on: the truth would be blurred by a millisecond.
        with contextlib.suppress(OSError):
            connection.send(b"HTTP/1.1 %d X\r\nServer: truth\r\nContent-Length: 2\r\n\r\nok" % status)

    def drop(self, descriptor: int, *, abort: bool = False) -> None:
        connection = self.connections.pop(descriptor)
        if abort:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        connection.close()

    def fail(self, kind: str, length: float) -> Truth:
        """One outage."""
        if kind == "refuse":
            return self.lose_listener(length)
        begin_first = time.time()
        self.mode = kind
        begin_last = time.time()
        if kind == "stall":
            time.sleep(length)
        else:
            self.serve(begin_last + length)
        end_first = time.time()
        self.mode = "ok"
        return Truth(kind, length, begin_first, begin_last, end_first, time.time())

    def lose_listener(self, length: float) -> Truth:
        """Refuse connections: from one system call to another, and only these lie between the stamps."""
        begin_first = time.time()
        self.listener.close()
        begin_last = time.time()
        for descriptor in list(self.connections):
            self.drop(descriptor, abort=True)
        self.bind()
        time.sleep(max(0.0, begin_last + length - time.time()))
        end_first = time.time()
        self.listener.listen(BACKLOG)
        return Truth("refuse", length, begin_first, begin_last, end_first, time.time())


class Study(NamedTuple):
    """One run: what happens, and how it is watched."""

    story: list[tuple[str, float]]
    rate: float
    pause: float
    seed: int
    realtime: bool


class Seen(NamedTuple):
    """What was observed: outages of each connection mode, and when answers were slow (begin, end; wall clock)."""

    outages: dict[str, tuple[Outage, ...]]
    slow: list[tuple[float, float]]


def run_server(pipe: Connection, study: Study) -> None:
    """Serve, fail as often as asked, and tell the truth at the end."""
    if study.realtime:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))
    server = Server()
    pipe.send(server.port)
    source = random.Random(study.seed)
    story = list(study.story)
    source.shuffle(story)
    server.serve(time.time() + 1)
    truth = []
    for kind, length in story:
        truth.append(server.fail(kind, length))
        server.serve(time.time() + study.pause * (1 + source.random()))
    pipe.send(truth)
    server.serve(time.time() + 2)


def run_observer(directory: str, port: int, study: Study) -> None:
    """Observe until the stop file."""
    lanes = api_lanes([{"name": "t", "url": f"http://127.0.0.1:{port}/"}], ["new", "kept"], study.rate)
    observe(Plan(directory=Path(directory), timeout=2, slow_after=SLOW, realtime=study.realtime), lanes)


def keep_busy() -> None:
    """Load one core until ended."""
    while True:
        sum(range(1000))


def measure(study: Study) -> tuple[list[Truth], Seen]:
    """The truth, and what was observed of it."""
    with tempfile.TemporaryDirectory() as directory:
        ours, theirs = multiprocessing.Pipe()
        load = multiprocessing.Process(target=keep_busy)
        server = multiprocessing.Process(target=run_server, args=(theirs, study))
        load.start()
        server.start()
        observer = multiprocessing.Process(target=run_observer, args=(directory, ours.recv(), study))
        observer.start()
        truth = ours.recv()
        time.sleep(0.5)
        (Path(directory) / "stop").touch()
        observer.join()
        load.terminate()
        load.join()
        server.join()
        return truth, read_seen(Path(directory))


def read_seen(directory: Path) -> Seen:
    """What the log says."""
    outages = {observation.target.mode: observation.outages for observation in read_observations(directory)}
    lines = io.StringIO()
    export(directory, lines)
    records = [json.loads(line) for line in lines.getvalue().splitlines()]
    slow = [
        (record["time"], record["time"] + record["window_us"] / 1e6)
        for record in records
        if record["kind"] == "sample" and record["result"] == "up" and record["window_us"] > SLOW * 1e6
    ]
    return Seen(outages, slow)


def judge(truth: list[Truth], found: tuple[Outage, ...]) -> dict[str, Any]:
    """Compare one lane with the truth."""
    claimed: dict[int, list[Truth]] = {}
    matches = [[number for number, outage in enumerate(found) if overlaps(one, outage)] for one in truth]
    for one, numbers in zip(truth, matches, strict=True):
        for number in numbers:
            claimed.setdefault(number, []).append(one)
    single = [(ones[0], found[number]) for number, ones in claimed.items() if len(ones) == 1]
    whole = [(one, outage) for one, outage in single if one.kind in WHOLE]
    return {
        "missed": [one for one, numbers in zip(truth, matches, strict=True) if not numbers],
        "split": sum(len(numbers) > 1 for one, numbers in zip(truth, matches, strict=True) if one.kind in WHOLE),
        "invented": len(found) - len(claimed),
        "outside": [pair for pair in whole if not contains(*pair)],
        "errors": [abs((b.end - b.begin) - a.duration) for a, b in whole if a.kind == "refuse"],
    }


def overlaps(truth: Truth, outage: Outage) -> bool:
    """The outage, taken as wide as its bounds allow, meets the true one."""
    slack = outage.upper - (outage.end - outage.begin)
    return outage.begin - slack <= truth.end_last and outage.end + slack >= truth.begin_first


def contains(truth: Truth, outage: Outage) -> bool:
    """The bounds agree with the truth, as far as it is known itself."""
    longest, shortest = truth.end_last - truth.begin_first, truth.end_first - truth.begin_last
    return outage.lower <= longest + 2e-6 and outage.upper >= shortest - 2e-6


def missed(truth: list[Truth], seen: Seen) -> list[Truth]:
    """What neither connection mode shows; silence shows as slow answers."""
    unseen = [judge(truth, outages)["missed"] for outages in seen.outages.values()]
    return [
        one for one in truth if all(one in lane for lane in unseen) and not (one.kind == "stall" and slowed(one, seen))
    ]


def slowed(truth: Truth, seen: Seen) -> bool:
    """Some answer was slow because of it."""
    return any(begin <= truth.end_last and end >= truth.end_first for begin, end in seen.slow)


def visible(truth: list[Truth]) -> list[Truth]:
    """Outages that are long enough to be found."""
    return [one for one in truth if one.length >= VISIBLE.get(one.kind, 0.010)]


def study_of(kinds: tuple[str, ...], count: int, lengths: tuple[float, ...], **how: Any) -> Study:
    """So many outages of these kinds and lengths, evenly."""
    story = [(kind, lengths[number % len(lengths)]) for kind in kinds for number in range(count // len(kinds))]
    return Study(story, **how)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="How exact outages are found.")
    parser.add_argument("--count", type=int, default=505)
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two outages (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--normal", action="store_true", help="do not ask for real-time scheduling")
    options = parser.parse_args()
    # The pause lets the connections that were lost be made anew before the next loss, and the probes that may be spent
    # on bursts come back, as between restarts in real life.
    how = {"pause": options.pause, "seed": options.seed, "realtime": not options.normal}
    truth, seen = measure(study_of(KINDS, options.count, LENGTHS, rate=125, **how))
    lanes = {mode: judge(truth, outages) for mode, outages in seen.outages.items()}
    wanted = visible(truth)
    unseen = [one for one in missed(truth, seen) if one in wanted]
    errors = lanes["new"]["errors"]
    sparse = study_of(("refuse",), options.count // 5, (0.020, 0.050, 0.200), rate=10, **how)
    losses, seen_sparsely = measure(sparse)
    unfound = missed(losses, seen_sparsely)
    result = {
        "benchmark": "outage_accuracy",
        "outages": len(truth) + len(losses),
        "missed_share": round(len(unseen) / max(1, len(wanted)), 4),
        "outside_bounds": sum(len(lane["outside"]) for lane in lanes.values()),
        "split": sum(lane["split"] for lane in lanes.values()),
        "invented": sum(lane["invented"] for lane in lanes.values()),
        "error_p50_ms": round(1000 * statistics.median(errors), 3) if errors else 0.0,
        "sentinel_missed_share": round(len(unfound) / max(1, len(losses)), 4),
        "realtime": int(not options.normal),
    }
    print("missed", sorted((one.kind, one.length) for one in unseen), file=sys.stderr)
    for mode, lane in lanes.items():
        print(mode, "outside", lane["outside"][:3], "missed", len(lane["missed"]), file=sys.stderr)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
