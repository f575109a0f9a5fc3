# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look on a host for what it holds of the sample resources: processes, files, namespaces. No API is asked.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

What is returned are facts: by service, by category, by the key of a resource. What they mean is for ``_offline``.
"""

from __future__ import annotations

import glob
import hashlib
import os
import socket
import subprocess
import time as clock
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils import _processes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._journal import Item

COMMAND_LIMIT = 60  # seconds that a command on the host may take
_CHUNK = 1024 * 1024
_KOLLA = "/var/lib/docker/volumes"
# Where packages and Kolla keep things; a pattern that fits nothing is no mistake, as a host has few of the services.
PATHS: dict[str, list[str]] = {
    "keystone_keys": [
        "/etc/keystone/fernet-keys",
        "/etc/keystone/credential-keys",
        f"{_KOLLA}/keystone_fernet_tokens/_data",
    ],
    "glance_stores": ["/var/lib/glance/images", f"{_KOLLA}/glance/_data/images"],
    "cinder_mounts": ["/var/lib/cinder/mnt/*", f"{_KOLLA}/cinder/_data/mnt/*"],
    "ceph_configurations": ["/etc/ceph/ceph.conf"],
    "swift_configurations": ["/etc/swift"],
    "swift_devices": ["/srv/node/*"],
}


@dataclass(kw_only=True)
class Look:
    """One host: what to look for, and where its services keep their data; ``problems`` are what could not be seen."""

    sought: Sequence[Item]
    paths: Mapping[str, Sequence[str]]
    proc: Path = _processes.PROC
    problems: list[str] = field(default_factory=list)

    def items(self, service: str, *types: str) -> list[Item]:
        """Return what is looked for of a service and some types."""
        return [item for item in self.sought if item.service == service and item.type in types]

    def folders(self, name: str) -> list[Path]:
        """Return the files or folders that the patterns of a name fit."""
        found = (path for pattern in self.paths.get(name, ()) for path in glob.glob(pattern))
        return sorted(map(Path, dict.fromkeys(found)))

    def run(self, *argv: str) -> str | None:
        """Return what a command prints; None when it is not there, or fails, which is noted."""
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=COMMAND_LIMIT)
        except FileNotFoundError:
            return None
        except (OSError, subprocess.TimeoutExpired) as problem:
            self.problems.append(f"{argv[0]}: {problem}")
            return None
        if done.returncode:
            self.problems.append(f"{' '.join(argv)}: {done.stderr.strip()[-200:]}")
            return None
        return done.stdout

    def commands(self) -> Iterator[_processes.Process]:
        """Yield the processes that run."""
        return _processes.processes(self.proc)


def look_around(services: Iterable[Any], look: Look) -> dict[str, Any]:
    """Return what a host holds, by service; a service that cannot be looked at is a problem, and no end."""
    evidence: dict[str, Any] = {"host": socket.gethostname(), "time": clock.time(), "services": {}}
    for service in services:
        if service.look is None:
            continue
        try:
            evidence["services"][service.name] = service.look(look)
        except Exception as problem:  # one service's surprise must not hide what the host holds of the others
            look.problems.append(f"{service.name}: {type(problem).__name__}: {problem}")
    return {**evidence, "problems": look.problems}


def digest_of(path: Path, limit: int | None = None) -> str:
    """Return the SHA-256 of a file, or of its first bytes."""
    digest, left = hashlib.sha256(), limit
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK if left is None else min(_CHUNK, left)):
            digest.update(chunk)
            left = None if left is None else left - len(chunk)
    return digest.hexdigest()


def file_facts(path: Path) -> dict[str, Any]:
    """Return what there is to say of a file that is some resource's data."""
    return {"path": str(path), "size": path.stat().st_size, "sha256": digest_of(path)}


def process_facts(process: _processes.Process) -> dict[str, Any]:
    """Return what tells a process from one that was started in its place."""
    return {"pid": process.pid, "started": process.ticks}


def owner_of(path: Path) -> str:
    """Return owner, group and mode of a file."""
    stat = os.stat(path)
    return f"{stat.st_uid}:{stat.st_gid} {stat.st_mode & 0o7777:04o}"
