# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is seen of a real HAProxy: reloads, restarts, disabled servers and killed backends.

Two backends behind one HAProxy, and an observer that looks at all three addresses in both connection modes. Whatever is
done is stamped before and after. What is away for 50 to 300 ms has to be found in both modes and within its bounds.
Requests that fail at a reload, or because their backend is killed, really failed: they are counted and shown, for a
single one is nothing that any rate of probes is sure to meet.

Prints one line of JSON, all numbers: <event>_expected and <event>_found for restart, disable_both and kill; missed;
false_outages (nothing explains them), kept_eof_downtime (the end of an idle connection called downtime), split and
outside_bounds, which should all be 0; and of what may be: reloads and reload_drops, usr2_reloads and usr2_drops,
kill_drops, disable_one_events and disable_one_drops (outages at the balancer meanwhile), kept_eofs, seconds.
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
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import FLAG_REUSED
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._observer import Plan, observe
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._options import PROFILES, api_lanes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import (
    Observation,
    Outage,
    read_observations,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._seconds import export

HAPROXY = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
PATIENCE = 20.0
"""Seconds for anything to begin or to end."""
DOWN = (0.050, 0.300)
"""Seconds for which something stays away."""
PAUSE = (0.15, 0.25)
"""Seconds between two events."""
CONFIG = """
global
  stats socket {admin} mode 600 level admin
  hard-stop-after 3s
defaults
  mode http
  retries 3
  option redispatch 1
  timeout connect 2s
  timeout client 30s
  timeout server 10s
frontend front
  bind 127.0.0.1:{port}
  default_backend back
backend back
  server s0 127.0.0.1:{backends[0]}
  server s1 127.0.0.1:{backends[1]}
"""
STAGES = (("reload", "restart", "disable_both", "disable_one", "kill"), ("usr2",))
"""Events that one HAProxy goes through; the last one needs a master."""
AWAY = ("restart", "disable_both", "kill")
"""Events that are an outage."""
ALL_ZERO = ("false_outages", "kept_eof_downtime", "split", "outside_bounds")
BALANCER = "balancer"


class Truth(NamedTuple):
    """An event at a target as it was: each edge lies between two wall-clock stamps."""

    kind: str
    target: str
    begin_first: float
    begin_last: float
    end_first: float
    end_last: float


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Return when the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.001)


def serve(port: int, ready: Connection) -> None:
    """A healthy HTTP server in one thread, until it is killed."""
    listener = socket.create_server(("127.0.0.1", port), backlog=512)
    listener.setblocking(False)
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    ready.send("listening")
    while True:
        for descriptor, _mask in epoll.poll():
            if descriptor != listener.fileno():
                answer(connections, descriptor)
                continue
            with contextlib.suppress(BlockingIOError):
                connection, _address = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = connection
                epoll.register(connection, select.EPOLLIN)


def answer(connections: dict[int, socket.socket], descriptor: int) -> None:
    """Answer one request, or close."""
    request = b""
    with contextlib.suppress(OSError):
        request = connections[descriptor].recv(4096)
        if request:
            connections[descriptor].send(b"HTTP/1.1 200 OK\r\nServer: truth\r\nContent-Length: 2\r\n\r\nok")
    if not request or b"onnection: close" in request:
        connections.pop(descriptor).close()


class Backend:
    """One server, killed and started again on the same port."""

    def __init__(self, number: int) -> None:
        self.name = f"s{number}"
        self.port = free_port()
        self.start()

    def start(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=serve, args=(self.port, theirs), daemon=True)
        self.process.start()
        if not ours.poll(PATIENCE):
            raise TimeoutError(f"{self.name} does not begin to listen")
        ours.recv()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def ask(admin: Path, command: str) -> str:
    """The answer of HAProxy's admin socket to a command; empty while there is none."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(admin))
            connection.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    except OSError:
        return ""


class Balancer:
    """A running HAProxy: one process, or a master with its worker."""

    def __init__(self, folder: Path, backends: list[Backend], *, master: bool) -> None:
        self.port = free_port()
        self.admin = folder / "admin"
        self.config = folder / "haproxy.cfg"
        self.config.write_text(
            CONFIG.format(admin=self.admin, port=self.port, backends=[backend.port for backend in backends])
        )
        self.mode = ["-W"] if master else ["-db"]
        self.start()

    def start(self, *arguments: str) -> None:
        """Start a process and wait until it is the one that answers."""
        before = self.worker()
        command = [str(HAPROXY), *self.mode, "-f", str(self.config), *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_for(lambda: self.worker() not in ("", before), "HAProxy does not start")

    def ask(self, command: str) -> str:
        """The answer of the admin socket; empty while there is none."""
        return ask(self.admin, command)

    def worker(self) -> str:
        """The pid of the process that answers now; empty while there is none."""
        return next((line[5:] for line in self.ask("show info").splitlines() if line.startswith("Pid: ")), "")

    def reload(self) -> None:
        """The new process listens, the old one finishes and goes."""
        old = self.process
        self.start("-sf", str(old.pid))
        old.wait(PATIENCE)

    def reload_master(self) -> None:
        """The master replaces its worker, and the old one goes."""
        old = self.worker()
        self.process.send_signal(signal.SIGUSR2)
        wait_for(lambda: self.worker() not in ("", old), "the master starts no new worker")
        wait_for(lambda: not os.path.exists(f"/proc/{old}"), "the old worker stays")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)

    def set_state(self, state: str, *names: str) -> None:
        """Take servers out of service (maint) or back (ready), in one go."""
        self.ask("; ".join(f"set server back/{name} state {state}" for name in names))


class Stage:
    """Everything that runs, and the events that can be made to happen."""

    def __init__(self, folder: Path, down: tuple[float, float], source: random.Random, *, master: bool) -> None:
        self.down = down
        self.source = source
        self.backends = [Backend(0), Backend(1)]
        self.balancer = Balancer(folder, self.backends, master=master)

    def targets(self) -> list[dict[str, str]]:
        ports = {BALANCER: self.balancer.port} | {backend.name: backend.port for backend in self.backends}
        return [{"name": name, "url": f"http://127.0.0.1:{port}/"} for name, port in ports.items()]

    def happen(self, kind: str) -> Truth:
        """One event, stamped."""
        if kind in ("reload", "usr2"):
            return self.between(kind, self.balancer.reload if kind == "reload" else self.balancer.reload_master)
        if kind == "restart":
            return self.away(kind, BALANCER, self.balancer.stop, self.balancer.start)
        if kind == "kill":
            backend = self.source.choice(self.backends)
            return self.away(kind, backend.name, backend.kill, backend.start)
        names = [backend.name for backend in self.backends]
        if kind == "disable_one":
            names = [self.source.choice(names)]
        disable, enable = (partial(self.balancer.set_state, state, *names) for state in ("maint", "ready"))
        return self.away(kind, BALANCER, disable, enable)

    @staticmethod
    def between(kind: str, action: Callable[[], None]) -> Truth:
        """Something that should not show."""
        begin = time.time()
        action()
        end = time.time()
        return Truth(kind, BALANCER, begin, begin, end, end)

    def away(self, kind: str, target: str, begin: Callable[[], None], end: Callable[[], None]) -> Truth:
        """Something that is away for a while."""
        begin_first = time.time()
        begin()
        begin_last = time.time()
        time.sleep(self.source.uniform(*self.down))
        end_first = time.time()
        end()
        return Truth(kind, target, begin_first, begin_last, end_first, time.time())

    def close(self) -> None:
        self.balancer.stop()
        for backend in self.backends:
            backend.kill()


def run_observer(directory: str, targets: list[dict[str, str]], rate: float) -> None:
    """Observe until the stop file."""
    observe(Plan(directory=Path(directory), timeout=2), api_lanes(targets, ["new", "kept"], rate))


@contextlib.contextmanager
def observed(directory: Path, targets: list[dict[str, str]], rate: float) -> Iterator[None]:
    """An observer in a process of its own looks on."""
    observer = multiprocessing.Process(target=run_observer, args=(str(directory), targets, rate))
    observer.start()
    try:
        wait_for((directory / "status.json").exists, "the observer does not start")
        time.sleep(0.5)
        yield
        time.sleep(0.5)
    finally:
        (directory / "stop").touch()
        observer.join()


class Story(NamedTuple):
    """What happened, and what was seen of it."""

    truth: list[Truth]
    observations: list[Observation]
    samples: list[dict[str, Any]]


def measure(
    kinds: tuple[str, ...], events: int, down: tuple[float, float], rate: float, source: random.Random
) -> Story:
    """So many events of each kind in any order."""
    plot = [kind for kind in kinds for _number in range(events)]
    source.shuffle(plot)
    truth = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "samples"
        stage = Stage(Path(name), down, source, master="usr2" in kinds)
        try:
            with observed(directory, stage.targets(), rate):
                for kind in plot:
                    truth.append(stage.happen(kind))
                    time.sleep(source.uniform(*PAUSE))
        finally:
            stage.close()
        lines = io.StringIO()
        export(directory, lines)
        samples = [record for line in lines.getvalue().splitlines() if (record := json.loads(line))["kind"] == "sample"]
        return Story(truth, read_observations(directory), samples)


# What became of it


def meets(truth: Truth, outage: Outage) -> bool:
    """The outage, as wide as its bounds allow, meets the event."""
    slack = max(0.0, outage.upper - (outage.end - outage.begin))
    return outage.begin - slack <= truth.end_last and outage.end + slack >= truth.begin_first


def contains(truth: Truth, outage: Outage) -> bool:
    """The bounds agree with the event, as far as it is known itself."""
    longest, shortest = truth.end_last - truth.begin_first, truth.end_first - truth.begin_last
    return outage.lower <= longest + 2e-6 and outage.upper >= shortest - 2e-6


def judge(story: Story) -> Counter[str]:
    """All figures of one stage."""
    figures: Counter[str] = Counter()
    found: Counter[Truth] = Counter()
    for observation in story.observations:
        at_target = [event for event in story.truth if event.target == observation.target.name]
        unexplained = dict(enumerate(observation.outages))
        for event in at_target:
            if event.kind in AWAY:
                matches = [number for number, outage in unexplained.items() if meets(event, outage)]
                outages = [unexplained.pop(number) for number in matches]
                found[event] += len(outages) == 1
                figures["split"] += len(outages) > 1
                figures["outside_bounds"] += sum(not contains(event, outage) for outage in outages)
        for outage in unexplained.values():
            figures[cause(story.truth, observation, outage)] += 1
        figures["kept_eofs"] += observation.kept_resets
    for event in story.truth:
        figures[f"{event.kind}_expected"] += 1
        figures[f"{event.kind}_found"] += found[event] == 2
    figures["kept_eof_downtime"] = sum(map(ended_idle, story.samples))
    return figures


def cause(truth: list[Truth], observation: Observation, outage: Outage) -> str:
    """Under which name an outage is counted that had not to be there."""
    if observation.target.name == BALANCER:
        for event in truth:
            if event.kind not in ("restart", "disable_both") and meets(event, outage):
                return f"{event.kind}_drops"
    print("false outage:", observation.target, outage, file=sys.stderr)
    return "false_outages"


def ended_idle(sample: dict[str, Any]) -> bool:
    """A kept-alive connection ended before any byte of an answer, and the request was called failed, not sent again."""
    lost = sample["result"] in ("reset", "early_close")
    return lost and bool(sample["flags"] & FLAG_REUSED) and not sample["first_us"]


def summary(figures: Counter[str], seconds: float) -> dict[str, float]:
    """The line of JSON."""
    shown = {f"{kind}_{word}": figures[f"{kind}_{word}"] for kind in AWAY for word in ("expected", "found")}
    return {
        **shown,
        "missed": sum(figures[f"{kind}_expected"] - figures[f"{kind}_found"] for kind in AWAY),
        **{name: figures[name] for name in ALL_ZERO},
        "reloads": figures["reload_expected"],
        "reload_drops": figures["reload_drops"],
        "usr2_reloads": figures["usr2_expected"],
        "usr2_drops": figures["usr2_drops"],
        "kill_drops": figures["kill_drops"],
        "disable_one_events": figures["disable_one_expected"],
        "disable_one_drops": figures["disable_one_drops"],
        "kept_eofs": figures["kept_eofs"],
        "seconds": round(seconds, 1),
    }


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100, help="of each kind")
    parser.add_argument("--down", type=float, nargs=2, default=DOWN, help="least and most seconds")
    parser.add_argument("--rate", type=float, default=PROFILES["precise"])
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if HAPROXY is None:
        print("haproxy_events: needs haproxy (Debian's package) in PATH or /usr/sbin", file=sys.stderr)
        return 1
    began = time.monotonic()
    source = random.Random(options.seed)
    figures: Counter[str] = Counter()
    for kinds in STAGES:
        figures.update(judge(measure(kinds, options.events, tuple(options.down), options.rate, source)))
    print(json.dumps({"benchmark": "haproxy_events", **summary(figures, time.monotonic() - began)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
