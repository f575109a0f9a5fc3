# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the services of a host live: their commands, packages and configuration, and how to run something there.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

A service may live in a container or a virtual environment. Its files are read through ``/proc/<pid>/root``, and its
commands are run in the namespaces of one of its processes, as the user of that process.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ansible_collections.openstack.upgrade_test.plugins.module_utils import _packages, _processes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._configured import (
    FILE,
    Options,
    options_of_variables,
    read_options,
    sources_of,
    value_of,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._processes import UnreadableError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._releases import distribution
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import recognise
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Service

USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATIENCE = 120.0  # seconds that a command may take; on a busy host a service's own tool needs many just to start
_LIBRARY = re.compile(r"^(?P<root>/.*?|)/lib(?:64)?/python[\d.]*/(?:site|dist)-packages$")


class CommandError(Exception):
    """A command could not be run, in half a sentence."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """What became of a command."""

    rc: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """The last thing that it said, which is where a crash says why."""
        told = self.out if "Traceback" in self.out else f"{self.out}\n{self.err}"
        lines = [line.strip() for line in told.splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it said nothing"


@dataclass(frozen=True, kw_only=True)
class Inside:
    """The namespaces and the user of one process; commands are run in them."""

    pid: int
    proc: Path = _processes.PROC

    @property
    def root(self) -> Path:
        """Its file system, as seen from here."""
        return self.proc / str(self.pid) / "root"

    def path(self, name: str) -> Path:
        """Return where to find from here what the process calls so; a name may begin where the process works."""
        if not name.startswith("/"):
            with suppress(OSError):
                name = f"{os.readlink(self.proc / str(self.pid) / 'cwd')}/{name}"
        return _packages.inside(self.root, name)

    def environment(self) -> dict[str, str]:
        """Return the environment that the process was started with; empty when it cannot be read."""
        return _processes.started_with(self.pid, self.proc)

    def owner(self) -> tuple[int, int]:
        """Return the user and the group that it runs as."""
        try:
            text = (self.proc / str(self.pid) / "status").read_text(errors="replace")
        except OSError as problem:
            raise CommandError(f"process {self.pid} has ended") from problem
        ids = {line.split()[0]: int(line.split()[2]) for line in text.splitlines() if line.startswith(("Uid:", "Gid:"))}
        return ids["Uid:"], ids["Gid:"]

    def is_apart(self) -> bool:
        """Whether it sees other files than we do, as in a container."""
        try:
            return os.readlink(self.proc / str(self.pid) / "ns/mnt") != os.readlink(self.proc / "self/ns/mnt")
        except OSError:
            return False

    def run(
        self,
        argv: Sequence[str],
        *,
        feed: str = "",
        environment: Mapping[str, str] | None = None,
        as_root: bool = False,
        timeout: float = PATIENCE,
    ) -> Done:
        """Run a command there and return what became of it; raises CommandError when it cannot be run or never ends."""
        uid, gid = (0, 0) if as_root else self.owner()
        full = {"PATH": USUAL_PATH, "LANG": "C.UTF-8", "HOME": "/", **(environment or {})}
        enter = [
            "nsenter",
            f"--target={self.pid}",
            "--mount",
            "--net",
            "--uts",
            f"--setuid={uid}",
            f"--setgid={gid}",
            "--",
        ]
        identity = {} if self.is_apart() or os.geteuid() != 0 else {"user": uid, "group": gid, "extra_groups": []}
        try:
            done = subprocess.run(
                [*(enter if self.is_apart() else []), *argv],
                input=feed,
                env=full,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=timeout,
                cwd="/",
                **identity,  # type: ignore[call-overload]
            )
        except FileNotFoundError as problem:
            raise CommandError(f"{argv[0]} is not there") from problem
        except subprocess.TimeoutExpired as problem:
            raise CommandError(f"{PurePosixPath(argv[0]).name} did not end within {timeout:.0f} s") from problem
        except OSError as problem:
            raise CommandError(f"{argv[0]} cannot be run: {problem.strerror}") from problem
        return Done(rc=done.returncode, out=done.stdout, err=done.stderr)


@dataclass(frozen=True, kw_only=True)
class Place:
    """One installation of a service with one configuration.

    ``files`` are its configuration files in their order; ``variables`` of its environment set options, too.
    """

    service: str
    components: tuple[str, ...]
    inside: Inside
    packages: str
    files: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def commands(self) -> str:
        """The folder of the commands that belong to these packages."""
        found = _LIBRARY.match(self.packages)
        root = found["root"] if found else "/usr"
        return f"{'/usr' if root in ('', '/usr') else root}/bin"

    @property
    def python(self) -> str:
        """The interpreter of these packages."""
        names = ("python3", "python")
        there = (f"{self.commands}/{name}" for name in names if self.inside.path(f"{self.commands}/{name}").exists())
        return next(there, f"{self.commands}/{names[0]}")

    def arguments(self) -> list[str]:
        """Return how a command of the service is told its configuration."""
        return [word for file in self.files for word in (FILE, file)]

    def has(self, command: str) -> bool:
        """Whether a command of the service is there."""
        return bool(command) and self.inside.path(f"{self.commands}/{command}").exists()

    def run(self, command: str, *arguments: str) -> Done:
        """Run a command of the service with the service's configuration."""
        own = {"PATH": f"{self.commands}:{USUAL_PATH}", "PYTHONWARNINGS": "ignore", **dict(self.variables)}
        return self.inside.run([f"{self.commands}/{command}", *self.arguments(), *arguments], environment=own)

    def setting(self, section: str, option: str) -> str | None:
        """Return an option of the configuration, as the service takes it; None when it is not set."""
        return value_of(self.settings(), section, option)

    def settings(self) -> Options:
        """Return all options of the configuration as they are written; a file that cannot be read has none."""
        found: dict[tuple[str, str], str] = {}
        for file in self.files:
            with suppress(UnreadableError):
                found |= read_options(self.inside.path(file))
        return found | options_of_variables(self.variables)


@dataclass(kw_only=True)
class Found:
    """What lives on a host, and what could not be looked at."""

    places: list[Place] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    processes: list[tuple[str, str, int]] = field(default_factory=list)  # service, component, pid


def find_places(services: Sequence[Service], proc: Path = _processes.PROC) -> Found:
    """Find the services on this host by their processes; one installation with one configuration is one place."""
    found = Found()
    grouped: dict[tuple[str, str, tuple[str, ...], tuple[tuple[str, str], ...]], dict[str, Inside]] = {}
    for process in _processes.processes(proc):
        recognised = recognise(_processes.names_of(process, proc), services)
        if recognised is None:
            continue
        name, component = recognised
        found.processes.append((name, component, process.pid))
        service = next(one for one in services if one.name == name)
        inside = Inside(pid=process.pid, proc=proc)
        try:
            folder = str(PurePosixPath(_packages.find_package(process, distribution(name), proc).path).parent)
        except UnreadableError as problem:
            found.problems.append(f"{component}: {problem}")
            continue
        sources = sources_of(process.pid, service, component, proc)
        grouped.setdefault((name, folder, sources.files, sources.variables), {}).setdefault(component, inside)
    for (name, folder, files, variables), members in sorted(grouped.items()):
        found.places.append(
            Place(
                service=name,
                components=tuple(sorted(members)),
                inside=next(iter(members.values())),
                packages=folder,
                files=files,
                variables=variables,
            )
        )
    return found
