# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel's word on when an answer came, in every kind of lane."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._log import SAMPLE, LogWriter
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._options import api_lanes, data_lanes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._sampler import Sampler

SLEEP = 0.3


class Log(LogWriter):
    """Remembers what is written."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.windows: list[int] = []

    def write_samples(self, base: int, samples: Any) -> None:
        """Note how long each probe took, in microseconds."""
        self.windows += [SAMPLE.unpack(sample)[6] for sample in samples]
        super().write_samples(base, samples)


@pytest.mark.parametrize("mode", ["icmp", "tcp", "http", "stream", "new", "kept"])
def test_own_sleep_is_no_latency(mode: str, server: Any, tmp_path: Path) -> None:
    """An observer that sleeps while the answer comes does not count its sleep as the target's time."""
    port, url = server.server_address[1], server.url
    target = {"name": "t", "address": "127.0.0.1", "tcp_port": port, "url": url, "stream": url}
    every = [*data_lanes([target], 1), *api_lanes([{"name": "t", "url": url}], ["new", "kept"], 1)]
    log = Log(tmp_path)
    sampler = Sampler([lane for lane in every if lane.mode == mode], log, timeout=5)
    (lane,) = sampler.lanes
    try:
        deadline = time.monotonic_ns() + 10_000_000_000
        while len(log.windows) < 3:
            now = sampler.turn(time.monotonic_ns() + 20_000_000)
            assert now < deadline
            if lane.in_flight and not sampler.hurried:
                time.sleep(SLEEP)
    finally:
        sampler.close()
        log.close()

    # Over the first connection of a flow the request itself waited for the observer to wake up.
    assert max(log.windows[mode == "stream" :]) < SLEEP * 1_000_000 / 2
