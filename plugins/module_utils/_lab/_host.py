# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection.

"""Hosts of the embedded lab: a set of namespaces whose first process is their life.

A lab host owns a network, mount, PID, UTS and IPC namespace. Its first process is ``tini``, which runs sshd; when that
process ends, the kernel ends every other process of the host and takes its interfaces and mounts away, so nothing
can be left behind. Hosts are found by the command line of that first process, never by a file that may be out of date.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._lab._process import start_time
from ansible_collections.openstack.upgrade_test.plugins.module_utils._wait import becomes_true

BRIDGE = "fabric"
START_TIMEOUT = 15.0
UNSHARE = ["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
UNSHARE += ["--propagation", "private", "--"]


class LabError(Exception):
    """A lab host could not be made or removed; the text says what to do."""


@dataclass(frozen=True, kw_only=True)
class LabHost:
    """One host of the lab below ``root``, named ``name``."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        """What belongs to this host alone: etc, var, log."""
        return self.root / "hosts" / self.name

    @property
    def marker(self) -> str:
        """The argument by which the host's first process is recognised among all processes of the machine."""
        return f"{self.folder}/sshd_config"

    @property
    def uplink(self) -> str:
        """Name of the host's interface on the outer side; at most 15 characters, different for each lab."""
        return f"{lab_tag(self.root)}-{self.name}"[:15]


def lab_tag(root: Path) -> str:
    """Short tag that tells the interfaces of several labs on one machine apart."""
    return "ut" + hashlib.sha256(str(root).encode()).hexdigest()[:4]


def command_lines() -> Iterator[tuple[int, list[str]]]:
    """(pid, arguments) of every process that can be read."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                raw = (entry / "cmdline").read_bytes()
            except OSError:  # it ended while we looked
                continue
            yield int(entry.name), [part.decode(errors="replace") for part in raw.split(b"\0")[:-1]]


def first_process(host: LabHost) -> int | None:
    """PID (as seen from the machine) of the host's first process, or None when the host is down."""
    for pid, arguments in command_lines():
        if arguments and os.path.basename(arguments[0]) == "tini" and host.marker in arguments:
            return pid
    return None


def hosts_below(root: Path) -> dict[str, list[int]]:
    """Every process that holds a host of the lab below ``root`` alive, by host name.

    Both the outer ``unshare`` and the inner ``tini`` carry the marker, so one that is half started is found too.
    """
    prefix = f"{root}/hosts/"
    found: dict[str, list[int]] = {}
    for pid, arguments in command_lines():
        if arguments and os.path.basename(arguments[0]) in {"tini", "unshare", "sh"}:
            for argument in arguments:
                if argument.startswith(prefix) and argument.endswith("/sshd_config"):
                    found.setdefault(argument[len(prefix) :].split("/")[0], []).append(pid)
    return found


def run(*arguments: str) -> str:
    """Run a command and return what it printed.

    :raises LabError: it failed; the text holds the command and its complaint.
    """
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise LabError(f"{arguments[0]} cannot be run: {error.strerror}") from None
    if done.returncode:
        raise LabError(f"{' '.join(arguments)} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def wait_for(condition: Callable[[], bool], what: str, timeout: float = START_TIMEOUT) -> None:
    """Wait until ``condition()`` holds.

    :raises LabError: it did not within ``timeout`` seconds.
    """
    if not becomes_true(condition, timeout, step=0.02):
        raise LabError(f"{what} did not happen within {timeout:.0f} s")


def start(host: LabHost, boot_script: Path) -> int:
    """Start the host's first process through ``boot_script`` and return its PID as seen from the machine.

    :raises LabError: it did not start; the text holds the last line of its log.
    """
    for pid in hosts_below(host.root).get(host.name, []):  # half started by a call that was interrupted
        kill(pid)
    log = host.folder / "log" / "boot.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        outer = spawn([*UNSHARE, "sh", str(boot_script), str(host.folder), host.name, host.marker], output)

    def decided() -> bool:
        return first_process(host) is not None or outer.poll() is not None

    try:
        wait_for(decided, f"start of lab host {host.name}", START_TIMEOUT)
    except LabError as error:
        outer.kill()
        outer.wait()
        raise LabError(f"{error}; {last_words(log)}") from None
    found = first_process(host)
    if found is None:
        raise LabError(f"lab host {host.name} ended at its start; {last_words(log)}")
    return found


def spawn(arguments: list[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    """A process that outlives the one that calls.

    :raises LabError: there is no such command, or it may not be run.
    """
    try:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        )
    except OSError as error:
        raise LabError(f"{arguments[0]} cannot be run: {error.strerror}") from None


def last_words(log: Path) -> str:
    """Where a log is and how it ends, for an error message of one line."""
    lines = log.read_text(errors="replace").split("\n")
    return f"see {log}, which ends with: {next((line for line in reversed(lines) if line.strip()), '(nothing)')}"


def inside(pid: int) -> tuple[str, ...]:
    """The beginning of an ``ip`` command in the network of a process."""
    return ("nsenter", "--net", "-t", str(pid), "ip")


def links(pid: int) -> set[str]:
    """Names of the interfaces in the network of a process."""
    lines = run(*inside(pid), "-brief", "link").splitlines()
    return {line.split()[0].partition("@")[0] for line in lines}


def cable(pid: int, name: str, far_pid: int, far_name: str) -> None:
    """Join the networks of two processes by a pair of interfaces."""
    ends = [(owner, end) for owner, end in ((pid, name), (far_pid, far_name)) if end in links(owner)]
    if len(ends) == 2:
        return
    for owner, end in ends:  # half of a pair whose other host has just ended: the kernel may be quicker
        with contextlib.suppress(LabError):
            run(*inside(owner), "link", "delete", end)
    run(
        *("ip", "link", "add", name, "netns", str(pid)),
        *("type", "veth", "peer", "name", far_name, "netns", str(far_pid)),
    )


def join_fabric(host: LabHost, pid: int, fabric_pid: int, address: str) -> None:
    """Give the host an ``eth0`` with ``address`` (CIDR) whose other end hangs on the fabric's bridge."""
    port = f"p-{host.name}"
    cable(fabric_pid, port, pid, "eth0")
    # Each step may be repeated, so an interrupted call can be completed by the next one.
    run(*inside(fabric_pid), "link", "set", port, "master", BRIDGE, "up")
    run(*inside(pid), "address", "replace", address, "dev", "eth0")
    run(*inside(pid), "link", "set", "eth0", "up")


def refuse_foreign_routes(networks: list[str], own: str, routes: list[dict[str, Any]]) -> None:
    """Check that nobody else on this machine uses the lab's networks.

    :param own: the lab's own interface, whose routes are its own.
    :param routes: what ``ip -json route`` says.
    :raises LabError: a route of another interface overlaps.
    """
    for found in routes:
        if found["dst"] == "default" or found.get("dev") == own:
            continue
        for network in networks:
            if ipaddress.ip_network(found["dst"]).overlaps(ipaddress.ip_network(network, strict=False)):
                raise LabError(
                    f"{network} is in use: a route leads to {found['dst']} over {found.get('dev', 'nothing')}; "
                    "choose a free network for the lab (upgrade_test_lab_network)"
                )


def make_fabric(fabric: LabHost, pid: int, gateway: str) -> None:
    """Make the bridge inside the fabric and the machine's own interface to it, which carries ``gateway`` (CIDR)."""
    if BRIDGE not in links(pid):
        run(*inside(pid), "link", "add", BRIDGE, "up", "type", "bridge")
    refuse_foreign_routes([gateway], fabric.uplink, json.loads(run("ip", "-json", "route")))
    cable(os.getpid(), fabric.uplink, pid, "p-machine")
    run(*inside(pid), "link", "set", "p-machine", "master", BRIDGE, "up")
    run("ip", "address", "replace", gateway, "dev", fabric.uplink)
    run("ip", "link", "set", fabric.uplink, "up")


def route(fabric: LabHost, network: str, via: str) -> None:
    """Send what goes to ``network`` (the floating addresses) through the lab host at ``via``."""
    run("ip", "route", "replace", network, "via", via, "dev", fabric.uplink)


def remove_all(root: Path) -> list[str]:
    """End every host of the lab below ``root``; their names. Returns only when all of them are gone.

    :raises LabError: something could not be ended within 30 s.
    """
    removed: set[str] = set()
    killed: dict[int, int | None] = {}

    def gone() -> bool:
        left = hosts_below(root)
        removed.update(left)
        for pid in (pid for pids in left.values() for pid in pids):
            killed.setdefault(pid, start_time(pid))
            kill(pid)
        # A first process loses its command line before the others of its host have ended, and ends after them.
        return not left and not any(born and start_time(pid) == born for pid, born in killed.items())

    wait_for(gone, f"end of the lab hosts below {root}", timeout=30)
    uplink = f"{lab_tag(root)}-fabric"
    wait_for(lambda: uplink not in links(os.getpid()), f"removal of interface {uplink}", timeout=30)
    return sorted(removed)


def kill(pid: int) -> None:
    """End one process at once; it may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
