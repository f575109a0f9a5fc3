# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What services stand on: the load balancer, the message queue, the database cluster, and the clocks of the hosts.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

Each is found by its process. A host without one has nothing to tell, which is no failure.
"""

from __future__ import annotations

import csv
import io
import json
import re
import socket
import time as clock
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypedDict

from ansible_collections.openstack.upgrade_test.plugins.module_utils import _processes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._place import (
    USUAL_PATH,
    CommandError,
    Done,
    Inside,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._processes import Process
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import (
    Finding,
    finding,
    skipped,
    unseen,
)


class ClockLook(TypedDict):
    """What a host's clock told, between two moments of ours; all in seconds since the epoch."""

    sent: float
    told: float
    received: float


HAPROXY, RABBITMQ, DATABASE = "haproxy", "rabbitmq", "database"
_STATS_SOCKET = re.compile(r"^\s*stats\s+socket\s+(?P<path>/\S+)", re.M)
_SOCKET_PATIENCE = 5.0
_CLIENTS = ("mariadb", "mysql")
# Before what packages put in the usual folders: scripts that change the user, and lose the environment.
_RABBITMQ_COMMANDS = "/usr/lib/rabbitmq/bin"
_BACKLOG = 100  # messages in a queue with readers from which it counts that they become more
# What a process that has ended leaves behind for a while: its answers, and its share of what goes to all.
_PASSING = re.compile(r"^reply_|_fanout")
# Queues that only those of one service read, so that without a reader the service stands still.
TOPICS: Mapping[str, str] = {
    "conductor": "nova",
    "scheduler": "nova",
    "compute": "nova",
    "cinder-scheduler": "cinder",
    "cinder-volume": "cinder",
    "cinder-backup": "cinder",
    "engine": "heat",
    "q-plugin": "neutron",
    "q-l3-plugin": "neutron",
    "q-reports-plugin": "neutron",
    "dhcp_agent": "neutron",
    "l3_agent": "neutron",
}
# Their queues stay behind when the service or the driver is given up, so that without a reader they tell nothing.
_OPTIONAL = frozenset({"cinder-backup", "dhcp_agent", "l3_agent"})


def infrastructure_of(proc: Path = _processes.PROC) -> dict[str, Process]:
    """Return what of the infrastructure runs on this host: the kind and a process of it."""
    found: dict[str, Process] = {}
    for process in _processes.processes(proc):
        if process.name == "haproxy":
            found.setdefault(HAPROXY, process)
        elif process.name == "beam.smp" and "rabbit" in " ".join(process.command):
            found.setdefault(RABBITMQ, process)
        elif Path(process.command[0]).name in ("mariadbd", "mysqld"):
            found.setdefault(DATABASE, process)
    return found


def look_at_infrastructure(
    there: Mapping[str, Process], database: Sequence[str], proc: Path = _processes.PROC
) -> dict[str, Any]:
    """Return what the load balancer and the database of this host tell; ``database`` are options of its client."""
    found: dict[str, Any] = {}
    if HAPROXY in there:
        found[HAPROXY] = look_at_balancer(there[HAPROXY], Inside(pid=there[HAPROXY].pid, proc=proc))
    if DATABASE in there:
        inside = Inside(pid=there[DATABASE].pid, proc=proc)
        found[DATABASE] = look_at_database(there[DATABASE], inside, database)
    return found


def look_at_balancer(process: Process, inside: Inside) -> dict[str, Any]:
    """Return what HAProxy says of its servers, over the socket that its configuration names."""
    for name in _configurations(process, inside):
        try:
            text = inside.path(name).read_text(errors="replace")
        except OSError as problem:
            return {"problem": f"{name} cannot be read ({problem.strerror})"}
        for path in _STATS_SOCKET.findall(text):
            try:
                return {"servers": parse_stats(ask_socket(inside.path(path), "show stat"))}
            except OSError as problem:
                return {"problem": f"its socket {path} does not answer ({problem.strerror or problem})"}
    return {"problem": "its configuration names no stats socket"}


def _configurations(process: Process, inside: Inside) -> list[str]:
    """Return the configuration files that HAProxy was started with; a folder stands for the files in it."""
    words = process.command
    named = [after for word, after in pairwise(words) if word == "-f"]
    found: list[str] = []
    for name in named:
        place = inside.path(name)
        below = (
            [f"{name.rstrip('/')}/{path.name}" for path in sorted(place.glob("*.cfg"))] if place.is_dir() else [name]
        )
        found += below
    return found


def ask_socket(path: Path, question: str) -> str:
    """Return the answer to a question over a socket of the file system."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(_SOCKET_PATIENCE)
        channel.connect(str(path))
        channel.sendall(question.encode() + b"\n")
        parts = iter(lambda: channel.recv(65536), b"")
        return b"".join(parts).decode(errors="replace")


def parse_stats(text: str) -> list[dict[str, str]]:
    """Return the servers behind a load balancer, each with ``proxy``, ``server``, ``status`` and ``check``."""
    rows = csv.DictReader(io.StringIO(text.removeprefix("# ")))
    return [
        {
            "proxy": str(row["pxname"]),
            "server": str(row["svname"]),
            "status": str(row["status"]),
            "check": " ".join(filter(None, (row.get("check_status"), row.get("last_chk")))),
        }
        for row in rows
        if row.get("svname") not in ("FRONTEND", None)
    ]


def judge_balancer(facts: Mapping[str, Any]) -> list[Finding]:
    """Say of each published service how many of its servers take requests."""
    if facts.get("problem"):
        return [unseen("load balancer", f"HAProxy could not be asked: {facts['problem']}.")]
    proxies: dict[str, list[Mapping[str, str]]] = {}
    for row in facts.get("servers", ()):
        if row["server"] != "BACKEND":
            proxies.setdefault(row["proxy"], []).append(row)
    return [_judge_proxy(name, servers) for name, servers in sorted(proxies.items())]


def _judge_proxy(name: str, servers: Sequence[Mapping[str, str]]) -> Finding:
    down = [one for one in servers if one["status"].startswith("DOWN")]
    away = [one["server"] for one in servers if one["status"].startswith(("MAINT", "DRAIN"))]
    good = len(servers) - len(down) - len(away)
    words = [f"server {one['server']} is {' '.join((one['status'], one['check'])).strip()}" for one in down]
    words += [f"{', '.join(away)} {'is' if len(away) == 1 else 'are'} taken out by an operator"] * bool(away)
    still = f"; {good} of {len(servers)} take requests" if words else ""
    message = f"Behind {name} of the load balancer {'; '.join(words) or f'all {good} servers take requests'}{still}."
    found = {one["server"]: one["status"] for one in servers}
    blind = [one["server"] for one in servers if one["status"] == "no check"]
    if blind and not down:
        message = f"Behind {name} of the load balancer nobody checks whether {', '.join(blind)} can take requests."
        return unseen(name, message, evidence={"servers": found})
    if not down and away and good:
        return finding(name, True, message, expected="UP", found=found)
    return finding(name, not down and good > 0, message, expected="UP", found=found)


def service_of_proxy(name: str, services: Iterable[str]) -> str:
    """Return which service a load balancer's proxy is for, by its name; empty when it does not tell."""
    return next((service for service in services if service in name.lower()), "")


def look_at_queues(inside: Inside, pause: float) -> dict[str, Any]:
    """Return all queues of RabbitMQ with their messages and consumers, twice: ``pause`` seconds later, too."""
    wanted = ("RABBITMQ_", "ERL_", "HOME")
    own = {name: value for name, value in inside.environment().items() if name.startswith(wanted)}
    own["PATH"] = f"{_RABBITMQ_COMMANDS}:{USUAL_PATH}"
    try:
        hosts = _rows(inside.run(["rabbitmqctl", "--quiet", "list_vhosts", "--formatter", "json"], environment=own))
        names = [str(row["name"]) for row in hosts]
        first = _queues(inside, names, own)
        clock.sleep(pause)
        return {"first": first, "last": _queues(inside, names, own), "seconds": pause}
    except CommandError as problem:
        return {"problem": str(problem)}


def _queues(inside: Inside, vhosts: Sequence[str], environment: Mapping[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for vhost in vhosts:
        argv = ["rabbitmqctl", "--quiet", "list_queues", "--vhost", vhost, "--formatter", "json"]
        rows = _rows(inside.run([*argv, "name", "messages", "consumers"], environment=environment))
        found += [{"vhost": vhost, **row} for row in rows]
    return found


def _rows(done: Done) -> list[dict[str, Any]]:
    try:
        rows = json.loads(done.out)
    except ValueError:
        raise CommandError(f"rabbitmqctl broke with exit code {done.rc}: {done.last_line}") from None
    return [dict(row) for row in rows]


def judge_queues(facts: Mapping[str, Any]) -> list[tuple[str, Finding]]:
    """Say which queues nobody reads, each with the service that it belongs to (empty when not known)."""
    if facts.get("problem"):
        return [("", unseen("message queue", f"RabbitMQ could not be asked: {facts['problem']}."))]
    before = {(row["vhost"], row["name"]): int(row["messages"] or 0) for row in facts.get("first", ())}
    bad: list[tuple[str, Finding]] = []
    last = list(facts.get("last", ()))
    for row in last:
        words = _trouble_of(row, before.get((row["vhost"], row["name"]), 0), float(facts.get("seconds", 0)))
        if words:
            name = str(row["name"])
            message = f"Queue {name} of RabbitMQ (vhost {row['vhost']}) {words}."
            bad.append((service_of_queue(name), finding(f"queue {name}", False, message, found=dict(row))))
    if bad:
        return bad
    waiting = sum(int(row["messages"] or 0) for row in last)
    message = f"No queue of RabbitMQ lacks a reader that it needs; {waiting} messages wait in {len(last)} queues."
    return [("", finding("message queue", True, message))]


def _trouble_of(row: Mapping[str, Any], before: int, seconds: float) -> str:
    """Say what is wrong with a queue; empty when nothing is."""
    messages, consumers, name = int(row["messages"] or 0), int(row["consumers"] or 0), str(row["name"])
    if _PASSING.search(name):
        return ""
    if not consumers and messages:
        grown = f", {messages - before} more within {seconds:.0f} s" if messages > before else ""
        return f"has {messages} messages{grown} and nobody who reads it"
    if not consumers and name in TOPICS and name not in _OPTIONAL:
        return f"has nobody who reads it, so {TOPICS[name]} does not get its work"
    # Notifications come in bursts, for which nobody waits.
    if service_of_queue(name) and messages > max(before, _BACKLOG) and before and seconds:
        return f"grows: {before} messages, and {messages} after {seconds:.0f} s"
    return ""


def service_of_queue(name: str) -> str:
    """Return which service a queue belongs to; empty when its name does not tell."""
    fitting = [topic for topic in TOPICS if name == topic or name.startswith((f"{topic}.", f"{topic}_fanout"))]
    return TOPICS[max(fitting, key=len)] if fitting else ""


def look_at_database(process: Process, inside: Inside, options: Sequence[str]) -> dict[str, Any]:
    """Return what the database server of this host says of its cluster."""
    given = [word for word in process.command if word.startswith("--socket=")]
    query = ["--batch", "--skip-column-names", "--execute=SHOW GLOBAL STATUS LIKE 'wsrep%'"]
    for client in _CLIENTS:
        try:
            # Where root needs a password, it stands in a file of his.
            own = {"HOME": "/root"}
            done = inside.run([client, *options, *given, *query], environment=own, as_root=True, timeout=30)
        except CommandError:
            continue
        if done.rc:
            return {"problem": done.last_line}
        rows = (line.split("\t") for line in done.out.splitlines())
        return {"status": {row[0]: row[1] for row in rows if len(row) == 2}}
    return {"problem": f"there is no {' or '.join(_CLIENTS)} to ask it with"}


def judge_database(host: str, facts: Mapping[str, Any], members: int) -> Finding:
    """Say whether a database server is a working member of its cluster; ``members`` is how many hosts have one."""
    subject = f"database on {host}"
    if facts.get("problem"):
        return unseen(subject, f"The database on {host} could not be asked for its cluster: {facts['problem']}.")
    status = facts.get("status", {})
    size = str(status.get("wsrep_cluster_size", "0"))
    if size in ("", "0") and not status.get("wsrep_provider_name"):
        return skipped(subject, f"The database on {host} is in no cluster.")
    wanted = {
        "wsrep_cluster_status": "Primary",
        "wsrep_connected": "ON",
        "wsrep_ready": "ON",
        "wsrep_local_state_comment": "Synced",
    }
    wrong = {name: status.get(name) for name, value in wanted.items() if status.get(name) != value}
    words = [f"{name} is {value}" for name, value in wrong.items()]
    words += [f"its cluster has {size} members and not {members}"] * (int(size or 0) < members)
    message = (
        f"The database on {host} is a member of a cluster of {size}{': ' if words else ' in order'}{'; '.join(words)}."
    )
    found = {**{name: status.get(name) for name in wanted}, "wsrep_cluster_size": size}
    return finding(subject, not words, message, expected={**wanted, "wsrep_cluster_size": str(members)}, found=found)


def judge_clock(host: str, looks: Sequence[ClockLook], limit: float) -> Finding:
    """Say by how much (seconds) the clock of a host differs from ours.

    It told its time after we had sent the question and before we had received the answer. So each look bounds the
    difference from both sides, and the narrowest bounds of all count.
    """
    subject = f"clock of {host}"
    if not looks:
        return unseen(subject, f"{host} did not tell its time.")
    low = max(look["told"] - look["received"] for look in looks)
    high = min(look["told"] - look["sent"] for look in looks)
    evidence = {"least_s": round(low, 3), "most_s": round(high, 3)}
    expected = f"within {limit:g} s of the controller's"
    if low > limit or high < -limit:
        least, word = (low, "ahead of") if low > 0 else (-high, "behind")
        message = f"The clock of {host} is at least {least:.1f} s {word} that of the controller."
        return finding(subject, False, message, expected=expected, found=round(least, 1), evidence=evidence)
    most = max(abs(low), abs(high))
    message = f"The clock of {host} differs from that of the controller by at most {most:.1f} s."
    if most <= limit:
        return finding(subject, True, message, expected=expected, evidence=evidence)
    return unseen(subject, f"{message} It could not be compared more closely.", evidence=evidence)
