# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the samples of keystone, neutron and nova conclude, without a cloud."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._journal import Item
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._offline import Offline
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import Owner
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._witness import Beat
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.keystone import (
    blob_facts,
    catalogue_facts,
    judge_keys,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.neutron import (
    interface_facts,
    is_users_port,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.nova import SERVICE as NOVA
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.nova import (
    is_timely,
    judge_witness,
    latest_beat,
    look_at_witness,
    public_key,
    reach_checks,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._wait import Patience, look_until

BEAT = Beat(seen=1000.0, boot_id="b", number=50, uptime=60.0, longest_gap=1.0)
SERVER = Item(service="nova", type="server", name="s", id="1", facts={"witness": BEAT.as_facts(), "floating_ip": "x"})


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"name": "upgrade-test-r-thing"}, True),
        ({"name": "upgrade-test-r2-thing"}, False),
        ({"name": "renamed", "tags": ["upgrade-test-r"]}, True),
        ({"name": "renamed", "metadata": {"upgrade_test_run": "r"}}, True),
        ({"name": "renamed", "metadata": {"upgrade_test_run": "r2"}}, False),
        ({"name": None, "tags": None, "metadata": None}, False),
    ],
)
def test_a_run_knows_its_own(entry: dict[str, Any], expected: bool) -> None:
    """By name, by tag, by metadata; another run's are not its own, however much alike their names are."""
    assert Owner(run_id="r").marked(entry, "name") is expected


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="nobody here can read a key")
def test_the_key_of_the_pair_is_a_real_one() -> None:
    """OpenSSH takes it for what it says it is."""
    told = subprocess.run(
        ["ssh-keygen", "-l", "-f", "-"], input=public_key(b"k" * 32), capture_output=True, text=True, check=True
    ).stdout

    assert "(ED25519)" in told


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (replace(BEAT, seen=1600.0, uptime=660.0), Status.PASS),
        (replace(BEAT, seen=1600.0, uptime=600.0), Status.FAIL),
        (replace(BEAT, seen=1600.0, uptime=10.0, boot_id="c"), Status.FAIL),
        (None, Status.UNKNOWN),
    ],
)
def test_a_server_that_stood_still_fails(now: Beat | None, expected: Status) -> None:
    """A pause and a reboot fail; a witness that is silent proves nothing."""
    assert judge_witness(SERVER, now).status is expected


@contextmanager
def witness(beats: Iterable[Beat]) -> Iterator[str]:
    """A web server that tells one beat after the other, the last again and again; its address."""
    left = deque(beats)

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            beat = left.popleft() if len(left) > 1 else left[0]
            uptime = beat.uptime + time.time() - beat.seen
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"{beat.boot_id} {beat.number} {uptime:.2f} {beat.longest_gap:.2f}".encode())

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_late_beat_is_no_pause() -> None:
    """A busy host delays beats; a guest is not said to have stood still before a fresh one was waited for."""
    now = time.time()
    server = replace(SERVER, facts={**SERVER.facts, "witness": replace(BEAT, seen=now - 100, uptime=100.0).as_facts()})
    late, fresh = replace(BEAT, seen=now, uptime=195.0), replace(BEAT, seen=now, uptime=199.5)
    with witness([late, late, fresh]) as address:
        assert judge_witness(server, look_at_witness(address)).status is Status.FAIL
        assert judge_witness(server, latest_beat(server, address, Patience(5))).status is Status.PASS


def test_a_pause_stays_one_however_often_one_looks() -> None:
    """What a guest lost never comes back, and the last look is what is judged."""
    now = time.time()
    before, stood = replace(BEAT, seen=now - 100, uptime=100.0), replace(BEAT, seen=now, uptime=195.0)
    server = replace(SERVER, facts={**SERVER.facts, "witness": before.as_facts()})
    with witness([stood]) as address:
        beat = look_until(lambda: look_at_witness(address), lambda now: is_timely(before, now), 1)

    assert judge_witness(server, beat).status is Status.FAIL


def test_without_a_witness_nothing_is_demanded() -> None:
    """What a guest never told is not demanded of it later, and a server that was never finished is not asked."""
    silent = replace(SERVER, facts={"floating_ip": "192.0.2.1", "http": False})

    assert judge_witness(silent, None).status is Status.SKIP
    assert list(reach_checks(silent, None)) == ["server_ping", "server_http"]
    assert reach_checks(None, None) == {}


def test_a_moved_server_is_not_a_lost_one() -> None:
    """A server that runs on another host now was moved; whether it was interrupted, its boot id tells."""

    def shown(host: str, pid: int) -> dict[str, Any]:
        return {host: {"services": {"nova": {"domains": {"1": {"pid": pid}}}}}}

    case = Offline(service=NOVA, items=[SERVER], before=shown("a", 1), now=shown("b", 2), prefix="")
    moved = case.stays("domains", "1", "it", ["pid"], movable=True)

    assert moved.status is Status.PASS
    assert "moved from a to b" in moved.message
    assert case.stays("domains", "1", "it", ["pid"]).status is Status.UNKNOWN  # a was not looked at


def test_one_key_that_stays_is_enough() -> None:
    """Keys rotate; as long as one of them is still there, what was written with it can be read."""
    before = {"a": {"0": "x", "1": "y", "owner": "0:0"}}

    assert judge_keys("fernet-keys", before, {"a": {"1": "y", "2": "z", "owner": "0:0"}}).status is Status.PASS
    assert judge_keys("fernet-keys", before, {"a": {"1": "z", "owner": "0:0"}}).status is Status.FAIL


def test_an_encrypted_secret_is_compared_and_never_told() -> None:
    """The journal gets the digest of the secret alone."""
    one, other = ({"id": "1", "blob": text} for text in ("secret-one", "secret-two"))

    assert blob_facts(one) != blob_facts(other)
    assert "secret-one" not in str(blob_facts(one))


def test_the_catalogue_is_compared_whatever_its_order() -> None:
    """The order of services and endpoints means nothing; another URL is another catalogue."""
    points = [{"interface": name, "region_id": "R", "url": f"http://{name}"} for name in ("public", "internal")]
    one = [{"type": "image", "endpoints": points}, {"type": "compute", "endpoints": []}]
    other = [{"type": "compute", "endpoints": []}, {"type": "image", "endpoints": points[::-1]}]

    assert catalogue_facts(one) == catalogue_facts(other)
    assert catalogue_facts(one) != catalogue_facts([{"type": "image", "endpoints": points[:1]}])


def test_ports_of_routers_and_agents_are_not_the_users() -> None:
    """What Neutron made for itself is neither compared nor removed as the user's; interfaces are compared in order."""
    assert is_users_port({"device_owner": "compute:nova"})
    assert is_users_port({"device_owner": ""})
    assert not is_users_port({"device_owner": "network:dhcp"})
    assert interface_facts([{"id": "b"}, {"id": "a"}]) == interface_facts([{"id": "a"}, {"id": "b"}])
