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
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

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
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise LabError(f"{' '.join(arguments)} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def wait_for(condition: Callable[[], bool], what: str, timeout: float = START_TIMEOUT) -> None:
    """Wait until ``condition()`` holds.

    :raises LabError: it did not within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"{what} did not happen within {timeout:.0f} s")
        time.sleep(0.02)


def start(host: LabHost, boot_script: Path) -> int:
    """Start the host's first process through ``boot_script`` and return its PID as seen from the machine."""
    log = host.folder / "log" / "boot.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        outer = subprocess.Popen(
            [*UNSHARE, "sh", str(boot_script), str(host.folder), host.name, host.marker],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        )
    try:
        wait_for(lambda: first_process(host) is not None or outer.poll() is not None, f"start of lab host {host.name}")
    except LabError as error:
        raise LabError(f"{error}; see {log}") from None
    pid = first_process(host)
    if pid is None:
        raise LabError(f"lab host {host.name} ended at its start; see {log}")
    return pid


def join_fabric(host: LabHost, pid: int, fabric_pid: int, address: str) -> None:
    """Give the host an ``eth0`` with ``address`` (CIDR) whose other end hangs on the fabric's bridge."""
    inside = ("nsenter", "--net", "-t", str(pid), "ip")
    if "eth0" in run(*inside, "-brief", "link"):
        return
    port = f"p-{host.name}"[:15]
    run(
        *("ip", "link", "add", port, "netns", str(fabric_pid)),
        *("type", "veth", "peer", "name", "eth0", "netns", str(pid)),
    )
    run("nsenter", "--net", "-t", str(fabric_pid), "ip", "link", "set", port, "master", BRIDGE, "up")
    run(*inside, "address", "add", address, "dev", "eth0")
    run(*inside, "link", "set", "eth0", "up")


def make_fabric(fabric: LabHost, pid: int, gateway: str) -> None:
    """Make the bridge inside the fabric and the machine's own interface to it, which carries ``gateway`` (CIDR)."""
    inside = ("nsenter", "--net", "-t", str(pid), "ip")
    if BRIDGE not in run(*inside, "-brief", "link"):
        run(*inside, "link", "add", BRIDGE, "up", "type", "bridge")
    if fabric.uplink in run("ip", "-brief", "link"):
        return
    run("ip", "link", "add", fabric.uplink, "type", "veth", "peer", "name", "p-machine", "netns", str(pid))
    run(*inside, "link", "set", "p-machine", "master", BRIDGE, "up")
    run("ip", "address", "add", gateway, "dev", fabric.uplink)
    run("ip", "link", "set", fabric.uplink, "up")


def route(fabric: LabHost, network: str, via: str) -> None:
    """Send what goes to ``network`` (the floating addresses) through the lab host at ``via``."""
    run("ip", "route", "replace", network, "via", via, "dev", fabric.uplink)


def remove_all(root: Path) -> list[str]:
    """End every host of the lab below ``root``; their names. Returns only when all of them are gone.

    :raises LabError: something could not be ended within 30 s.
    """
    removed: set[str] = set()

    def gone() -> bool:
        left = hosts_below(root)
        for name, pids in left.items():
            removed.add(name)
            for pid in pids:
                kill(pid)
        return not left

    wait_for(gone, f"end of the lab hosts below {root}", timeout=30)
    uplink = f"{lab_tag(root)}-fabric"
    wait_for(lambda: uplink not in run("ip", "-brief", "link"), f"removal of interface {uplink}", timeout=30)
    return sorted(removed)


def kill(pid: int) -> None:
    """End one process at once; it may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
