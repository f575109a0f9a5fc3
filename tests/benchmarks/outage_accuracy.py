# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How exact outages are found: a server whose truth is known against the sampler, each in a process of its own.

Prints one line of JSON. missed_share counts outages of at least 10 ms (every visible kind); outside_bounds, split and
invented count all; error_p50_ms is of the length of listener losses.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import select
import shutil
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

KINDS = ("refuse", "503", "reset")
LENGTHS = (0.002, 0.005, 0.010, 0.020, 0.050, 0.200, 0.500)
LINGER = struct.pack("ii", 1, 0)


class Truth(NamedTuple):
    """An outage as it was: each edge lies between two wall-clock stamps."""

    kind: str
    length: float
    begin_first: float
    begin_last: float
    end_first: float
    end_last: float


class Server:
    """A single-threaded HTTP server that fails when it is told to, so that nothing is under way at an edge."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.connections: dict[int, socket.socket] = {}
        self.mode = "ok"
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.listen()

    def listen(self) -> None:
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
        status = 503 if self.mode == "503" else 200
        with contextlib.suppress(OSError):
            connection.send(b"HTTP/1.1 %d X\r\nServer: truth\r\nContent-Length: 2\r\n\r\nok" % status)
        if b"Connection: close" in request:
            self.drop(descriptor)

    def drop(self, descriptor: int, *, abort: bool = False) -> None:
        connection = self.connections.pop(descriptor)
        if abort:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        connection.close()

    def fail(self, kind: str, length: float) -> Truth:
        """One outage."""
        begin_first = time.time()
        if kind == "refuse":
            self.listener.close()
            for descriptor in list(self.connections):
                self.drop(descriptor, abort=True)
        self.mode = kind
        begin_last = time.time()
        if kind == "refuse":
            time.sleep(length)
        else:
            self.serve(begin_last + length)
        end_first = time.time()
        self.mode = "ok"
        if kind == "refuse":
            self.listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
            self.listen()
        return Truth(kind, length, begin_first, begin_last, end_first, time.time())


def run_server(pipe: Connection, count: int, pause: float, seed: int, realtime: bool) -> None:
    """Serve, fail as often as asked, and tell the truth at the end."""
    if realtime:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))
    server = Server()
    pipe.send(server.port)
    source = random.Random(seed)
    story = [(kind, LENGTHS[number % len(LENGTHS)]) for kind in KINDS for number in range(count // len(KINDS))]
    source.shuffle(story)
    server.serve(time.time() + 1)
    truth = []
    for kind, length in story:
        truth.append(server.fail(kind, length))
        server.serve(time.time() + pause * (1 + source.random()))
    pipe.send(truth)
    server.serve(time.time() + 2)


def run_observer(directory: str, port: int, rate: float, realtime: bool) -> None:
    """Observe until the stop file."""
    lanes = api_lanes([{"name": "t", "url": f"http://127.0.0.1:{port}/"}], ["new", "kept"], rate)
    observe(Plan(directory=Path(directory), timeout=2, realtime=realtime), lanes)


def measure(count: int, rate: float, pause: float, seed: int, realtime: bool) -> tuple[list[Truth], list[Any]]:
    """The truth, and what was observed of it."""
    directory = tempfile.mkdtemp()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=run_server, args=(theirs, count, pause, seed, realtime))
    server.start()
    observer = multiprocessing.Process(target=run_observer, args=(directory, ours.recv(), rate, realtime))
    observer.start()
    truth = ours.recv()
    time.sleep(0.5)
    (Path(directory) / "stop").touch()
    observer.join()
    server.join()
    observations = read_observations(Path(directory))
    shutil.rmtree(directory)
    return truth, observations


def judge(truth: list[Truth], found: tuple[Outage, ...]) -> dict[str, Any]:
    """Compare one lane with the truth."""
    claimed: dict[int, list[Truth]] = {}
    matches = [[number for number, outage in enumerate(found) if overlaps(one, outage)] for one in truth]
    for one, numbers in zip(truth, matches, strict=True):
        for number in numbers:
            claimed.setdefault(number, []).append(one)
    single = [(ones[0], found[number]) for number, ones in claimed.items() if len(ones) == 1]
    outside = [pair for pair in single if not contains(*pair)]
    return {
        "missed": [one for one, numbers in zip(truth, matches, strict=True) if not numbers],
        "split": sum(len(numbers) > 1 for numbers in matches),
        "invented": len(found) - len(claimed),
        "outside": outside,
        "errors": [abs((b.end - b.begin) - (a.end_first - a.begin_last)) for a, b in single if a.kind == "refuse"],
    }


def overlaps(truth: Truth, outage: Outage) -> bool:
    """The outage, taken as wide as its bounds allow, meets the true one."""
    slack = outage.upper - (outage.end - outage.begin)
    return outage.begin - slack <= truth.end_last and outage.end + slack >= truth.begin_first


def contains(truth: Truth, outage: Outage) -> bool:
    """The bounds agree with the truth, as far as it is known itself."""
    longest, shortest = truth.end_last - truth.begin_first, truth.end_first - truth.begin_last
    return outage.lower <= longest + 2e-6 and outage.upper >= shortest - 2e-6


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=504)
    parser.add_argument("--rate", type=float, default=125)
    parser.add_argument("--pause", type=float, default=0.15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--realtime", action="store_true")
    options = parser.parse_args()
    truth, observations = measure(options.count, options.rate, options.pause, options.seed, options.realtime)
    lanes = {observation.target.mode: judge(truth, observation.outages) for observation in observations}
    long = [one for one in truth if one.length >= 0.010]
    # An outage is found when either connection mode shows it.
    missed = [one for one in long if all(one in lane["missed"] for lane in lanes.values())]
    errors = lanes["new"]["errors"]
    result = {
        "benchmark": "outage_accuracy",
        "outages": len(truth),
        "missed_share": len(missed) / max(1, len(long)),
        "outside_bounds": sum(len(lane["outside"]) for lane in lanes.values()),
        "split": sum(lane["split"] for lane in lanes.values()),
        "invented": sum(lane["invented"] for lane in lanes.values()),
        "error_p50_ms": 1000 * statistics.median(errors) if errors else 0.0,
    }
    for mode, lane in lanes.items():
        missing = sorted({(one.kind, one.length) for one in lane["missed"]})
        print(mode, "missed", len(lane["missed"]), missing, "outside", lane["outside"][:3], file=sys.stderr)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
