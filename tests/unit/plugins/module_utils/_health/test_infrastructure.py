# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils import _processes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._infrastructure import (
    ClockLook,
    judge_balancer,
    judge_clock,
    judge_database,
    judge_queues,
    look_at_balancer,
    look_at_database,
    parse_stats,
    service_of_proxy,
    service_of_queue,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._place import Inside
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._processes import Process
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import NAMES

HAPROXY = shutil.which("haproxy", path="/usr/sbin:" + os.defpath)
CONFIG = """
global
  stats socket {socket} mode 600 level admin
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
  default-server inter 100ms fall 1 rise 1 check
listen nova_api
  bind unix@{front}
  server control1 127.0.0.1:{alive}
  server control2 127.0.0.1:{dead}
"""


def process(pid: int) -> Process:
    return next(one for one in _processes.processes() if one.pid == pid)


@pytest.fixture
def listener() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def balancer(tmp_path: Path, listener: int) -> Iterator[int]:
    """A HAProxy with one server that lives and one that does not; its process."""
    if HAPROXY is None:
        pytest.skip("needs haproxy")
    config = tmp_path / "haproxy.cfg"
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # taken, so that nobody else listens there, and without a listener
        places = {"socket": tmp_path / "stats.sock", "front": tmp_path / "front.sock"}
        config.write_text(CONFIG.format(alive=listener, dead=dead.getsockname()[1], **places))
        argv = [HAPROXY, "-db", "-f", str(config)]
        running = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 30
            while "control2" not in down(running.pid) and time.monotonic() < deadline:
                time.sleep(0.05)
            yield running.pid
        finally:
            running.kill()
            running.wait()


def down(pid: int) -> list[str]:
    """Return the servers that are down."""
    if pid not in {one.pid for one in _processes.processes()}:
        return []  # it has only just been started
    facts = look_at_balancer(process(pid), Inside(pid=pid))
    return [one["server"] for one in facts.get("servers", ()) if one["status"].startswith("DOWN")]


def test_a_dead_server_behind_a_healthy_balancer_is_named(balancer: int) -> None:
    """Users notice nothing as long as another server lives; the dead one is found all the same."""
    (found,) = judge_balancer(look_at_balancer(process(balancer), Inside(pid=balancer)))

    assert found.status is Status.FAIL
    assert "server control2 is DOWN" in found.message
    assert "1 of 2 take requests" in found.message
    assert service_of_proxy(found.subject, NAMES) == "nova"


def rows(*states: str) -> dict[str, Any]:
    servers = [
        {"proxy": "nova", "server": f"s{number}", "status": state, "check": ""} for number, state in enumerate(states)
    ]
    return {"servers": servers}


def test_the_states_of_servers_are_told_apart() -> None:
    """Up is good, unchecked unknown; taken out by an operator is his wish, unless none is left."""
    states = {
        ("UP", "UP"): Status.PASS,
        ("no check",): Status.UNKNOWN,
        ("UP", "MAINT"): Status.PASS,
        ("DRAIN", "MAINT"): Status.FAIL,
        ("UP", "DOWN 1/2"): Status.FAIL,
        ("DOWN",): Status.FAIL,
    }

    assert {given: judge_balancer(rows(*given))[0].status for given in states} == states


def test_a_balancer_that_does_not_tell_is_unknown(tmp_path: Path) -> None:
    """Without its socket nothing is known of its servers."""
    config = tmp_path / "haproxy.cfg"
    config.write_text("global\n")
    silent = Process(
        pid=os.getpid(), parent=1, ticks=1, started=1, name="haproxy", command=("haproxy", "-f", str(config))
    )
    facts = look_at_balancer(silent, Inside(pid=os.getpid()))

    assert judge_balancer(facts)[0].status is Status.UNKNOWN
    assert parse_stats("# pxname,svname,status,\nnova,FRONTEND,OPEN,\n") == []


def queue(name: str, messages: int, consumers: int) -> dict[str, Any]:
    return {"vhost": "/", "name": name, "messages": messages, "consumers": consumers}


def of_queues(first: list[dict[str, Any]], last: list[dict[str, Any]]) -> list[tuple[str, Status, str]]:
    found = judge_queues({"first": first, "last": last, "seconds": 5})
    return [(service, one.status, one.message) for service, one in found]


def test_a_queue_without_a_reader_fails_and_names_its_service() -> None:
    """One with messages always, one that a service must read even when it is empty; what it is good for is told."""
    quiet = [queue("conductor", 0, 0), queue("engine_worker.1", 0, 0), queue("scheduler", 0, 2)]
    waiting = [queue("cinder-volume.storage1@ceph", 7, 0)]

    assert [(service, status) for service, status, _word in of_queues(quiet, quiet)] == [("nova", Status.FAIL)]
    ((service, status, message),) = of_queues([queue("cinder-volume.storage1@ceph", 4, 0)], waiting)
    assert (service, status) == ("cinder", Status.FAIL)
    assert "has 7 messages, 3 more within 5 s and nobody who reads it" in message


def test_what_a_restart_leaves_behind_is_no_fault() -> None:
    """Each process has queues of its own that outlive it by half an hour, and fill meanwhile."""
    left = [queue("reply_7f3a", 3, 0), queue("q-agent-notifier-port-update_fanout_7f3a", 9, 0)]

    assert [status for _service, status, _word in of_queues(left, left)] == [Status.PASS]


def test_a_queue_that_grows_fails() -> None:
    """A backlog that becomes more is not read fast enough; a few messages are in every queue now and then."""
    assert of_queues([queue("q-plugin", 500, 1)], [queue("q-plugin", 900, 1)])[0][1] is Status.FAIL
    assert of_queues([queue("q-plugin", 500, 1)], [queue("q-plugin", 400, 1)])[0][1] is Status.PASS
    assert of_queues([queue("q-plugin", 1, 1)], [queue("q-plugin", 3, 1)])[0][1] is Status.PASS


def test_a_burst_of_notifications_is_no_fault() -> None:
    """They have readers, and nobody waits for them."""
    assert of_queues([queue("notifications.info", 500, 1)], [queue("notifications.info", 900, 1)])[0][1] is Status.PASS


def test_a_queue_is_known_by_its_topic() -> None:
    """The longest topic that fits; a name that tells nothing belongs to nobody."""
    names = ("conductor", "compute.host1", "q-l3-plugin", "scheduler_fanout_7f3a", "notifications.info")

    assert [service_of_queue(name) for name in names] == ["nova", "nova", "neutron", "nova", ""]


def member(**more: str) -> dict[str, Any]:
    status = {
        "wsrep_cluster_size": "3",
        "wsrep_cluster_status": "Primary",
        "wsrep_connected": "ON",
        "wsrep_ready": "ON",
        "wsrep_local_state_comment": "Synced",
    }
    return {"status": {**status, **more}}


def test_a_member_of_the_databases_cluster_has_to_be_in_order() -> None:
    """It is in the part that decides, in step, and nobody of those that run is missing."""
    assert judge_database("db1", member(), 3).status is Status.PASS
    assert judge_database("db1", member(wsrep_cluster_size="2"), 3).status is Status.FAIL
    apart = judge_database("db1", member(wsrep_cluster_status="non-Primary"), 3)
    assert (apart.status, "wsrep_cluster_status is non-Primary" in apart.message) == (Status.FAIL, True)
    alone = {"wsrep_cluster_size": "0", "wsrep_cluster_status": "Disconnected", "wsrep_provider_name": ""}
    assert judge_database("db1", {"status": alone}, 1).status is Status.SKIP
    assert judge_database("db1", {"status": {**alone, "wsrep_provider_name": "Galera"}}, 1).status is Status.FAIL
    assert judge_database("db1", {"problem": "access denied"}, 1).status is Status.UNKNOWN


def test_a_database_is_asked_by_its_own_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gets the options first, then the socket of the server; what it refuses is told, and no traceback."""
    server = Process(
        pid=os.getpid(), parent=1, ticks=1, started=1, name="mariadbd", command=("mariadbd", "--socket=/run/db.sock")
    )
    client = tmp_path / "mariadb"
    client.write_text('#!/bin/sh\nprintf "wsrep_cluster_size\\t1\\n"; echo "$@ $HOME" > $0.arguments\n')
    client.chmod(0o755)
    path = "ansible_collections.openstack.upgrade_test.plugins.module_utils._health._place.USUAL_PATH"
    monkeypatch.setattr(path, f"{tmp_path}:/usr/bin:/bin")
    found = look_at_database(server, Inside(pid=os.getpid()), ["--defaults-file=/root/my.cnf"])

    assert found == {"status": {"wsrep_cluster_size": "1"}}
    told = Path(f"{client}.arguments").read_text()
    assert told.rstrip().endswith(" /root")
    assert told.startswith("--defaults-file=/root/my.cnf --socket=/run/db.sock --batch")
    client.write_text('#!/bin/sh\necho "ERROR 1045: Access denied" >&2; exit 1\n')
    refused = look_at_database(server, Inside(pid=os.getpid()), [])
    assert judge_database("db1", refused, 1).status is Status.UNKNOWN


def clock(skew: float, *delays: tuple[float, float]) -> tuple[Status, str]:
    """Return what is said of a host whose clock is wrong by so much, when the ways there and back take so long."""
    looks: list[ClockLook] = [
        {"sent": 100.0, "told": 100 + there + skew, "received": 100 + there + back} for there, back in delays
    ]
    found = judge_clock("control1", looks, 5)
    return found.status, found.message


def test_a_wrong_clock_fails_by_what_is_certain() -> None:
    """Only a difference that the way of the question cannot explain counts; its direction is told."""
    ahead, behind = clock(30, (0.5, 0.5)), clock(-30, (0.5, 0.5))

    assert clock(0, (0.5, 0.5)) == (
        Status.PASS,
        "The clock of control1 differs from that of the controller by at most 0.5 s.",
    )
    assert ahead == (Status.FAIL, "The clock of control1 is at least 29.5 s ahead of that of the controller.")
    assert behind == (Status.FAIL, "The clock of control1 is at least 29.5 s behind that of the controller.")


@pytest.mark.parametrize("skew", [-4.0, 0.0, 4.0])
def test_a_slow_way_does_not_accuse_a_clock(skew: float) -> None:
    """On a busy host the answer takes long: that is no skew, and nothing is known of the clock then."""
    assert clock(skew, (8, 8)) == (
        Status.UNKNOWN,
        f"The clock of control1 differs from that of the controller by at most {8 + abs(skew):.1f} s."
        " It could not be compared more closely.",
    )


@pytest.mark.parametrize("skew", [-29.0, 29.0])
def test_a_slow_way_does_not_excuse_a_clock(skew: float) -> None:
    """What may be the way or the clock is not called good."""
    assert clock(skew, (30, 30))[0] is Status.UNKNOWN


def test_several_looks_bound_it_together() -> None:
    """One that was quick on the way there and one that was quick on the way back."""
    assert clock(0, (9, 0.1), (0.2, 9))[1].endswith("by at most 0.2 s.")
    assert clock(6, (9, 0.1), (0.2, 9))[0] is Status.FAIL


def test_a_clock_that_was_not_told_is_unknown() -> None:
    """No look says nothing about a clock."""
    assert judge_clock("control1", [], 5).status is Status.UNKNOWN
