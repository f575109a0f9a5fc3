# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sampler through a real HAProxy: what is an outage, and what only looks like one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._options import api_lanes
from ansible_collections.openstack.upgrade_test.tests.benchmarks import haproxy_events

HAPROXY = shutil.which("haproxy", path="/usr/sbin:" + os.defpath)

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="needs haproxy")

CONFIG = """
global
  stats socket {socket} mode 600 level admin
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 10s
frontend front
  bind 127.0.0.1:{port}
  default_backend back
backend back
  server s1 127.0.0.1:{backend}
"""


class Balancer:
    """A running HAProxy."""

    def __init__(self, folder: Path, backend: int) -> None:
        """Start it in front of the backend's port."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.admin = folder / "admin"
        self.config = folder / "haproxy.cfg"
        self.config.write_text(CONFIG.format(socket=self.admin, port=self.port, backend=backend))
        self.processes: list[subprocess.Popen[bytes]] = []
        self.start()

    def start(self, *arguments: str) -> None:
        """Start a process and wait until it answers."""
        process = subprocess.Popen([str(HAPROXY), "-db", "-f", str(self.config), *arguments])
        self.processes.append(process)
        while f"Pid: {process.pid}\n" not in self.ask("show info"):
            time.sleep(0.01)

    def ask(self, command: str) -> str:
        """The answer to a command on the admin socket; empty while there is none."""
        return haproxy_events.ask(self.admin, command)

    def reload(self) -> None:
        """Replace the process as -sf does: the new one listens, the old one finishes and goes."""
        old = self.processes[-1]
        self.start("-sf", str(old.pid))
        old.wait(10)

    def stop(self) -> None:
        """End all processes."""
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def balancer(tmp_path_factory: pytest.TempPathFactory, server: Any) -> Iterator[Balancer]:
    """HAProxy in front of the server."""
    balancer = Balancer(tmp_path_factory.mktemp("haproxy"), server.server_address[1])
    yield balancer
    balancer.stop()


def lanes(balancer: Balancer, rate: float) -> Any:
    """Both modes through the balancer."""
    return api_lanes([{"name": "t", "url": f"http://127.0.0.1:{balancer.port}/"}], ["new", "kept"], rate)


def test_disabled_server_is_one_outage_of_two_seconds(balancer: Balancer, sample: Any) -> None:
    """A backend disabled for 2.0 s is one outage in each mode, its bounds contain the truth, and HAProxy is named."""
    truth = []

    def story() -> None:
        time.sleep(0.5)
        truth.append(time.monotonic())
        balancer.ask("set server back/s1 state maint")
        truth.append(time.monotonic())
        time.sleep(2.0)
        truth.append(time.monotonic())
        balancer.ask("set server back/s1 state ready")
        truth.append(time.monotonic())
        time.sleep(0.5)

    for observation in sample(lanes(balancer, 10), story):
        (outage,) = observation.outages

        assert list(outage.kinds) == ["http_5xx_haproxy"]
        assert outage.lower <= truth[3] - truth[0]
        assert outage.upper >= truth[2] - truth[1]
        assert outage.lower > truth[2] - truth[1] - 0.4
        assert outage.upper < truth[3] - truth[0] + 0.4


def test_reload_is_no_outage_for_kept_connections(balancer: Balancer, sample: Any) -> None:
    """The end of kept-alive connections at a reload is not called downtime."""

    def story() -> None:
        for _turn in range(4):
            time.sleep(0.3)
            balancer.reload()
        time.sleep(0.3)

    _new, kept = sample(lanes(balancer, 100), story)

    assert kept.outages == ()
    assert kept.counts["up"] > 50


def test_restart_is_found(balancer: Balancer, sample: Any) -> None:
    """A balancer that is gone for a moment is one outage in each mode, found within its bounds."""
    truth = []

    def story() -> None:
        time.sleep(0.5)
        truth.append(time.monotonic())
        balancer.processes[-1].send_signal(signal.SIGKILL)
        balancer.processes[-1].wait()
        truth.append(time.monotonic())
        time.sleep(0.1)
        truth.append(time.monotonic())
        balancer.start()
        truth.append(time.monotonic())
        time.sleep(0.5)

    for observation in sample(lanes(balancer, 50), story):
        (outage,) = observation.outages

        assert "refused" in outage.kinds
        assert outage.lower <= truth[3] - truth[0]
        assert outage.upper >= truth[2] - truth[1]


def test_each_event_once() -> None:
    """What is away is found in both modes within its bounds; of all the rest, nothing is called downtime."""
    command = [sys.executable, haproxy_events.__file__, "--events", "1", "--down", "0.4", "0.5"]
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120)
    found = json.loads(done.stdout)

    assert [found[f"{kind}_found"] for kind in haproxy_events.AWAY] == [1, 1, 1]
    assert [found[name] for name in haproxy_events.ALL_ZERO] == [0] * len(haproxy_events.ALL_ZERO)
