# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a probe costs: processor time (user and system) of the whole observer against ``hey`` and against C.

Everything a run needs is switched on and counted: the log, the heartbeat, the canary and every other child. Not counted
is the start of Python, which happens once in a run; hey and the C floor are counted as a whole, their start is a few
milliseconds. All clients ask the same HAProxy for the same page at the same rate, one after the other in each round, in
an order that changes from round to round; the figures are the medians of the ratios within a round.

hey runs with one worker, which spaces its requests evenly as a lane does. By default it has 50, which wake up together
and send bunches of 50: cheaper, and of no use to find an outage of 10 ms; ``*_vs_hey50`` compares with that.

Needs hey, haproxy, openssl and a C compiler (Debian packages hey, haproxy, openssl, gcc and libc6-dev). Prints one line
of JSON: ratios of processor time per probe, and the observer's resident memory at the end of ``--minutes`` at the same
rate (rss_growth_mb: what it grew by in the last nine tenths of them).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._observer import Plan, observe
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._options import api_lanes, tls_context
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import read_observations

TOOLS = {"hey": "hey", "haproxy": "haproxy", "openssl": "openssl", "cc": "gcc and libc6-dev"}
FLOOR = Path(__file__).with_name("floor.c")
HEY = {"hey": 1, "hey50": 50}
"""Workers of hey."""
OBSERVER = """
import sys
from pathlib import Path
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._observer import Plan, observe
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._options import api_lanes
page = {"name": "page", "url": f"http://127.0.0.1:{sys.argv[2]}/"}
observe(Plan(directory=Path(sys.argv[1]), timeout=2), api_lanes([page], ["new", "kept"], float(sys.argv[3]) / 2))
"""
"""The observer without what the benchmark itself imports."""
HAPROXY = """
global
    nbthread 1
    stats socket {folder}/admin
defaults
    mode http
    timeout client 30s
    timeout http-keep-alive 30s
frontend page
    bind 127.0.0.1:{http}
    bind 127.0.0.1:{https} ssl crt {folder}/both.pem
    http-request return status 200 content-type text/plain string "{page}"
"""


class Case(NamedTuple):
    """One way to ask. mode as in api_uptime."""

    name: str
    mode: str
    tls: bool


CASES = (
    Case("new", "new", False),
    Case("kept", "kept", False),
    Case("tls_new", "new", True),
    Case("tls_kept", "kept", True),
)


class Server(NamedTuple):
    """Where HAProxy listens, and its certificate."""

    http: int
    https: int
    certificate: str

    def url(self, *, tls: bool) -> str:
        """The page."""
        return f"https://localhost:{self.https}/" if tls else f"http://127.0.0.1:{self.http}/"


def find_tools() -> None:
    """End with what is missing."""
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if missing:
        sys.exit(f"observer_cost: install these packages first: {' '.join(missing)}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def haproxy(folder: Path) -> Iterator[Server]:
    """A server whose own cost does not matter here."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    (folder / "both.pem").write_text(certificate.read_text() + key.read_text())
    server = Server(free_port(), free_port(), str(certificate))
    configuration = HAPROXY.format(folder=folder, http=server.http, https=server.https, page="x" * 200)
    (folder / "haproxy.cfg").write_text(configuration)
    process = subprocess.Popen(["haproxy", "-db", "-f", folder / "haproxy.cfg"], stderr=subprocess.DEVNULL)
    try:
        wait_for(server.http)
        yield server
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int) -> None:
    """Until somebody listens."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    sys.exit("observer_cost: haproxy does not listen")


def cost_of_command(command: list[str], probes: int) -> float:
    """Seconds of processor time per probe."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / probes


def cost_of_hey(server: Server, case: Case, rate: int, seconds: float, workers: int) -> float:
    """The same page as often, at the same rate."""
    probes = int(rate * seconds)
    command = ["hey", "-n", str(probes), "-c", str(workers), "-q", str(rate // workers)]
    if case.mode == "new":
        command.append("-disable-keepalive")
    return cost_of_command([*command, server.url(tls=case.tls)], probes)


def cost_of_floor(program: Path, server: Server, case: Case, rate: int, seconds: float) -> float:
    """The least that C needs."""
    probes = int(rate * seconds)
    return cost_of_command([str(program), str(server.http), str(rate), str(probes), case.mode], probes)


def cost_of_observer(server: Server, case: Case, rate: int, seconds: float) -> float:
    """The observer in a process of its own, and what it forks."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=run_observer, args=(theirs, server, case, rate, seconds))
    process.start()
    cost: float = ours.recv()
    process.join()
    return cost


def run_observer(pipe: Connection, server: Server, case: Case, rate: int, seconds: float) -> None:
    """Observe; report the cost of a probe, and fail when it did not do what it was to do."""
    directory = tempfile.mkdtemp()
    lanes = api_lanes([{"name": "page", "url": server.url(tls=case.tls)}], [case.mode], rate)
    tls = tls_context(validate=True, ca_cert=server.certificate)
    before = spent()
    observe(Plan(directory=Path(directory), duration=seconds, timeout=2, tls=tls), lanes)
    cost = spent() - before
    (seen,) = read_observations(Path(directory))
    shutil.rmtree(directory)
    answered = seen.counts["up"] + seen.counts["slow"]
    if answered < 0.9 * rate * seconds or seen.counts["down"]:
        print(f"observer_cost: {case.name} is not a fair run: {seen.counts}", file=sys.stderr)
    pipe.send(cost / max(1, answered))


def spent() -> float:
    """Processor time of this process and of its children that have ended."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def build_floor(folder: Path) -> Path:
    """Compile the C client."""
    program = folder / "floor"
    subprocess.run(["cc", "-O2", "-o", program, FLOOR], check=True)
    return program


def measure_round(server: Server, program: Path, rate: int, seconds: float, source: random.Random) -> dict[str, float]:
    """Seconds per probe of every client in every case."""
    work: dict[str, Callable[[], float]] = {}
    for case in CASES:
        work[f"{case.name}/ours"] = partial(cost_of_observer, server, case, rate, seconds)
        for peer, workers in HEY.items():
            work[f"{case.name}/{peer}"] = partial(cost_of_hey, server, case, rate, seconds, workers)
        if not case.tls:
            work[f"{case.name}/c"] = partial(cost_of_floor, program, server, case, rate, seconds)
    order = list(work)
    source.shuffle(order)
    costs = {name: work[name]() for name in order}
    print("  ".join(f"{name} {cost * 1e6:.0f} us" for name, cost in sorted(costs.items())), file=sys.stderr)
    return costs


def ratios(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The medians of what the observer costs against each of the others."""
    pairs = [name.split("/") for name in rounds[0]]
    return {
        f"{case}_vs_{peer}": round(statistics.median(one[f"{case}/ours"] / one[f"{case}/{peer}"] for one in rounds), 3)
        for case, peer in sorted(pairs)
        if peer != "ours"
    }


def measure_memory(server: Server, rate: int, minutes: float) -> tuple[float, float]:
    """Resident megabytes of the observer at the end, and its growth after the first tenth of the time."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-c", OBSERVER, directory, str(server.http), str(rate)]
        process = subprocess.Popen(command)
        time.sleep(minutes * 6)
        early = resident(process.pid)
        time.sleep(minutes * 54)
        late = resident(process.pid)
        (Path(directory) / "stop").touch()
        process.wait()
    return late, late - early


def resident(pid: int) -> float:
    """Megabytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    find_tools()
    source = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name, haproxy(Path(name)) as server:
        program = build_floor(Path(name))
        rounds = [
            measure_round(server, program, options.rate, options.seconds, source) for _round in range(options.rounds)
        ]
        late, growth = measure_memory(server, options.rate, options.minutes)
    memory = {"rss_mb": round(late, 1), "rss_growth_mb": round(growth, 2)}
    print(json.dumps({"benchmark": "observer_cost", **ratios(rounds), **memory}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
