# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the services of a host live: their commands, packages and configuration, and how to run something there.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

A service may live in a container or a virtual environment. Its files are read through ``/proc/<pid>/root``, and its
commands are run in the namespaces of one of its processes, as the user of that process.
"""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ansible_collections.openstack.upgrade_test.plugins.module_utils import _packages, _processes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._processes import Process, UnreadableError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._releases import distribution
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import recognise
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Service

USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATIENCE = 120.0  # seconds that a command may take; on a busy host a service's own tool needs many just to start
_FILE, _FOLDER = "--config-file", "--config-dir"
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
        return self.root / name.lstrip("/")

    def environment(self) -> dict[str, str]:
        """Return the environment that the process was started with; empty when it cannot be read."""
        try:
            raw = (self.proc / str(self.pid) / "environ").read_bytes()
        except OSError:
            return {}
        pairs = (entry.partition("=") for entry in raw.decode(errors="replace").split("\0") if "=" in entry)
        return {name: value for name, _sign, value in pairs}

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
    """One installation of a service with one configuration: ``files`` are its configuration files in their order."""

    service: str
    components: tuple[str, ...]
    inside: Inside
    packages: str
    files: tuple[str, ...] = ()

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
        return [word for file in self.files for word in (_FILE, file)]

    def has(self, command: str) -> bool:
        """Whether a command of the service is there."""
        return bool(command) and self.inside.path(f"{self.commands}/{command}").exists()

    def run(self, command: str, *arguments: str) -> Done:
        """Run a command of the service with the service's configuration."""
        own = {"PATH": f"{self.commands}:{USUAL_PATH}", "PYTHONWARNINGS": "ignore"}
        return self.inside.run([f"{self.commands}/{command}", *self.arguments(), *arguments], environment=own)

    def setting(self, section: str, option: str) -> str | None:
        """Return an option of the configuration, as the last of its files has it; None when none has it."""
        return settings(self.inside, self.files).get((section, option))


def settings(inside: Inside, files: Iterable[str]) -> dict[tuple[str, str], str]:
    """Return all options of some configuration files; a later file goes before an earlier one."""
    found: dict[tuple[str, str], str] = {}
    for file in files:
        with suppress(CommandError):
            found |= settings_in(inside, file)
    return found


def settings_in(inside: Inside, file: str) -> dict[tuple[str, str], str]:
    """Return the options of a configuration file; CommandError when it cannot be read."""
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, default_section="")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(inside.path(file).read_text(errors="replace"))
    except OSError as problem:
        raise CommandError(f"it cannot be read ({problem.strerror})") from problem
    except configparser.Error as problem:  # whose words may quote a secret
        raise CommandError(f"it cannot be read ({type(problem).__name__})") from problem
    return {
        (plain_section(part), name): value or "" for part in parser.sections() for name, value in parser.items(part)
    }


def plain_section(name: str) -> str:
    """Return the form of a section's name by which oslo.config knows it: ``[AGENT]`` and ``[agent]`` are the same."""
    return name if name == "DEFAULT" else name.lower()


@dataclass(kw_only=True)
class Found:
    """What lives on a host, and what could not be looked at."""

    places: list[Place] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    processes: list[tuple[str, str, int]] = field(default_factory=list)  # service, component, pid


def find_places(services: Sequence[Service], proc: Path = _processes.PROC) -> Found:
    """Find the services on this host by their processes; one installation with one configuration is one place."""
    found = Found()
    grouped: dict[tuple[str, str, tuple[str, ...]], dict[str, Inside]] = {}
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
        files = configuration_files(process, service, inside)
        grouped.setdefault((name, folder, files), {}).setdefault(component, inside)
    for (name, folder, files), members in sorted(grouped.items()):
        first = next(iter(members.values()))
        place = Place(service=name, components=tuple(sorted(members)), inside=first, packages=folder, files=files)
        found.places.append(place)
    return found


def configuration_files(process: Process, service: Service, inside: Inside) -> tuple[str, ...]:
    """Return the configuration files of a process: as its command names them, its environment, or the usual ones."""
    named = files_of_command(process.command, inside)
    if not named:
        named = files_of_environment(inside.environment(), service)
    usual = [file for file in service.upkeep.configuration if inside.path(file).exists()]
    return tuple(dict.fromkeys(named or usual))


def files_of_command(command: Sequence[str], inside: Inside) -> list[str]:
    """Return what ``--config-file`` and ``--config-dir`` name, also those within another option's value."""
    words = [part for word in command for part in _split(word)]
    found: list[str] = []
    for number, word in enumerate(words):
        option, sign, value = word.partition("=")
        value = value if sign else (words[number + 1] if number + 1 < len(words) else "")
        if option == _FILE and value:
            found.append(value)
        elif option == _FOLDER and value:
            folder = inside.path(value)
            found += [f"{value.rstrip('/')}/{path.name}" for path in sorted(folder.glob("*.conf"))]
    return found


def _split(word: str) -> list[str]:
    """Return the words that a WSGI server hands on, as in ``--pyargv=--config-file /etc/nova/nova.conf``."""
    return word.partition("=")[2].split() if word.startswith("--pyargv=") else [word]


def files_of_environment(environment: Mapping[str, str], service: Service) -> list[str]:
    """Return what ``OS_NOVA_CONFIG_FILES`` and ``OS_NOVA_CONFIG_DIR`` name."""
    name = service.name.upper()
    folder = environment.get(f"OS_{name}_CONFIG_DIR", "")
    listed = [part.strip() for part in environment.get(f"OS_{name}_CONFIG_FILES", "").split(";") if part.strip()]
    usual = [PurePosixPath(file).name for file in service.upkeep.configuration[:1]]
    return [str(PurePosixPath(folder) / file) for file in (listed or (usual if folder else []))]
