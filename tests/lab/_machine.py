# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine is like: processes, interfaces, mounts, files; to see what is left behind, and who still works."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.openstack.upgrade_test.tests.lab._lab import Lab, wait_for

DAEMONS = frozenset(
    [
        *(
            "beam.smp",
            "ceph-mgr",
            "ceph-mon",
            "ceph-osd",
            "dnsmasq",
            "epmd",
            "haproxy",
            "libvirtd",
            "mariadbd",
            "memcached",
            "ovs-vswitchd",
            "ovsdb-server",
        ),
        *("qemu-system-x86", "rsync", "sshd", "tini", "uwsgi", "virtlogd"),
    ]
)
"""What the lab's packages and the lab itself would run."""
NAMESPACES = ("net", "mnt", "pid", "uts", "ipc")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What was seen at one moment."""

    interfaces: frozenset[str]
    addresses: frozenset[str]
    routes: frozenset[str]
    mounts: frozenset[str]
    loops: frozenset[str]
    etc: dict[str, str]
    run: frozenset[str]
    left_by_hosts: frozenset[str]

    @classmethod
    def look(cls) -> Machine:
        """See how things are now."""
        links = json.loads(_output("ip", "-json", "address"))
        places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
        return cls(
            interfaces=frozenset(link["ifname"] for link in links),
            addresses=frozenset(f"{a['local']} on {link['ifname']}" for link in links for a in link["addr_info"]),
            routes=frozenset(_output("ip", "route", "show", "table", "all").splitlines()),
            mounts=frozenset(places),
            loops=frozenset(str(path) for path in Path("/sys/block").glob("loop*/loop/backing_file")),
            etc={str(path): _fingerprint(path) for path in _files(Path("/etc"))},
            run=frozenset(str(path) for path in _files(Path("/run"))),
            left_by_hosts=frozenset(str(path) for path in Path("/var/tmp").glob("upgrade-test-*")),
        )

    def difference(self, later: Machine) -> dict[str, list[str]]:
        """What is not the same later, by kind; nothing when all is as it was."""
        found = {
            kind: sorted(getattr(self, kind) ^ getattr(later, kind))
            for kind in ("interfaces", "addresses", "routes", "mounts", "loops", "run", "left_by_hosts")
        }
        paths = self.etc.keys() | later.etc.keys()
        found["etc"] = sorted(path for path in paths if self.etc.get(path) != later.etc.get(path))
        return {kind: names for kind, names in found.items() if names}


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def _files(folder: Path) -> Iterator[Path]:
    """Everything below a folder that does not belong to another file system."""
    device = folder.stat().st_dev
    for place, folders, files in os.walk(folder):
        folders[:] = [one for one in folders if os.lstat(os.path.join(place, one)).st_dev == device]
        yield from (Path(place, one) for one in (*folders, *files))


def _fingerprint(path: Path) -> str:
    """Mode, owner and content."""
    facts = path.lstat()
    content = os.readlink(path) if path.is_symlink() else ""
    if path.is_file() and not content:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{facts.st_mode:o} {facts.st_uid} {facts.st_gid} {content}"


def processes() -> Iterator[Path]:
    """The folder in /proc of every process; it may be gone by the time it is looked at."""
    return (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())


def namespaces_of(pid: str = "self") -> frozenset[str]:
    """The namespaces of a process, such as ``net:[4026531840]``; nothing when it is gone."""
    try:
        return frozenset(os.readlink(f"/proc/{pid}/ns/{kind}") for kind in NAMESPACES)
    except OSError:
        return frozenset()


def command_line(entry: Path) -> str:
    """The command line of a process; empty when it is gone or belongs to the kernel."""
    try:
        return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def lab_namespaces(root: Path) -> frozenset[str]:
    """The namespaces of the lab's hosts, except those that are the machine's own."""
    hosts = [entry for entry in processes() if f"{root}/hosts/" in command_line(entry)]
    return frozenset().union(*(namespaces_of(entry.name) for entry in hosts)) - namespaces_of()


def daemons() -> frozenset[tuple[int, str]]:
    """Process id and name of everything that serves in the machine's own network."""
    here = os.readlink("/proc/self/ns/net")
    found = set()
    for entry in processes():
        try:
            if os.readlink(entry / "ns/net") == here:
                found.add((int(entry.name), (entry / "comm").read_text(encoding="utf-8").strip()))
        except OSError:
            continue
    return frozenset(one for one in found if one[1] in DAEMONS)


def inside(namespaces: frozenset[str]) -> list[str]:
    """Command lines of the processes that are in one of these namespaces."""
    return [command_line(entry) for entry in processes() if namespaces_of(entry.name) & namespaces]


def speaking_of(text: str) -> list[str]:
    """Command lines of all processes that contain a text, this one and those that started it excepted."""
    own = _ancestors()
    found = {entry.name: command_line(entry) for entry in processes() if entry.name not in own}
    return [line for line in found.values() if text in line]


def writing_below(*folders: Path) -> dict[int, str]:
    """Process id and command line of every process that has a file below one of these folders open."""
    beginnings = tuple(f"{folder}/" for folder in folders)
    found = {}
    for entry in processes():
        try:
            open_files = [os.readlink(one) for one in (entry / "fd").iterdir()]
        except OSError:
            continue
        if any(file.startswith(beginnings) for file in open_files):
            found[int(entry.name)] = command_line(entry)
    return found


def _ancestors() -> set[str]:
    pid, found = str(os.getpid()), set()
    while pid not in ("", "0"):
        found.add(pid)
        try:
            pid = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
        except OSError:
            pid = ""
    return found


def remove_all(lab: Lab, before: Machine, *, namespaces: int) -> None:
    """Remove a lab that has at least so many namespaces, and see that the machine is as it was before it."""
    there = lab_namespaces(lab.root)
    assert len(there) >= namespaces, "each host has namespaces of its own"
    played = lab.deploy("absent")
    assert played.rc == 0, played.messages
    assert not lab.root.exists()
    assert not inside(there), inside(there)
    # Ansible keeps its connections for half a minute.
    wait_for(lambda: speaking_of(f"{lab.root}/") == [], f"the end of all processes that have to do with {lab.root}", 45)
    found = before.difference(Machine.look())
    assert not found, found
