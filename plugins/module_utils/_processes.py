# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read from /proc which Python programs run, and which files they have mapped.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

Knows nothing of OpenStack. A process in a container or another mount namespace is read through ``/proc/<pid>/root``,
so paths in the results are as that process sees them.
"""

from __future__ import annotations

import os
import re
import time as clock
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

PROC = Path("/proc")
SERVERS = r"uwsgi.*|apache2|httpd|gunicorn|mod_wsgi.*"
RUNNERS = re.compile(rf"(?:python[\d.]*|pypy[\d.]*|{SERVERS})$")
PACKAGES = re.compile(r"^(/.*?/(?:site|dist)-packages)/")
DELETED = " (deleted)"
_VENV_OPTIONS = ("--venv", "--virtualenv", "--home", "--pyhome", "-H")
_MODULE_OPTIONS = ("--module", "-w", "--wsgi", "--wsgi-file", "--file", "--mount")
_INI_OPTIONS = ("--ini", "--ini-paste", "--yaml")
_INI_MODULES = re.compile(r"^\s*(?:module|wsgi|wsgi-file|file|mount)\s*[=:]\s*(\S+)", re.M)
_ARGUMENTS, _VARIABLES = ("--pyargv",), ("--env", "-e")
_INI_ARGUMENTS = re.compile(r"^\s*pyargv\s*[=:]\s*(.*\S)", re.M)
_INI_VARIABLES = re.compile(r"^\s*env\s*[=:]\s*(.*\S)", re.M)
_INI_VENVS = re.compile(r"^\s*(?:venv|virtualenv|home|pyhome)\s*[=:]\s*(\S+)", re.M)
_ASKED = frozenset({"--help", "--version", "--test-config"})
"""A program that is given one of these tells something and ends, as Swift's servers do of their configuration."""
_WSGI_TITLE = re.compile(r"^\(wsgi:([^)\s]+)")
_RETITLED = re.compile(r"^[\w.\-]+:? (?:.* )?(?:\((/.+)\)|\[(/.+)\])\s*$")


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process: ``started`` in seconds since the epoch, ``command`` the words of its command line."""

    pid: int
    parent: int
    ticks: int
    started: float
    name: str
    command: tuple[str, ...]


class UnreadableError(Exception):
    """What could not be read of a process, and why, in half a sentence."""


def boot_time() -> float:
    """Return when this machine was started, in seconds since the epoch, as its clock has it now.

    Ask anew each time: when the clock is set, the same start has another time, as have files that are written then.
    """
    return clock.time() - clock.clock_gettime(clock.CLOCK_BOOTTIME)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A process at one look: ``ticks`` since boot when it was started, ``stack`` where its stack begins.

    A program that another one takes the place of (a reload that executes itself anew) keeps pid and start, but the
    kernel puts its stack elsewhere. Without the right to see it, ``stack`` is 0.
    """

    pid: int
    parent: int
    ticks: int
    name: str
    stack: int

    @property
    def key(self) -> tuple[int, int, str, int]:
        """What stays the same for as long as it is the same program."""
        return (self.pid, self.ticks, self.name, self.stack)


def identities(proc: Path = PROC) -> Iterator[Identity]:
    """Yield each process that still runs."""
    for entry in os.listdir(proc):
        if not entry.isdigit():
            continue
        try:
            text = (proc / entry / "stat").read_text(errors="replace")
        except OSError:
            continue
        name, fields = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
        if fields[0] != "Z":  # a zombie runs no code
            numbers = [int(fields[index]) for index in (1, 19, 25)]
            yield Identity(pid=int(entry), parent=numbers[0], ticks=numbers[1], name=name, stack=numbers[2])


def command_of(pid: int, proc: Path = PROC) -> tuple[str, ...]:
    """Return the words of a command line; empty for kernel threads and for what has ended."""
    try:
        raw = (proc / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ()
    words = raw.rstrip(b"\0").decode(errors="replace").split("\0")
    if len(words) == 1:  # a title that the process gave itself; its own command line may stand in it, in brackets
        title = words[0].strip()
        match = _RETITLED.match(title)
        return tuple((match[1] or match[2] if match else title).split())
    return tuple(words)


def process_at(pid: int, proc: Path = PROC) -> Process:
    """Return a process of which only the number is known, with its command; when it began is left open."""
    return Process(pid=pid, parent=0, ticks=0, started=0, name="", command=command_of(pid, proc))


def processes(proc: Path = PROC) -> Iterator[Process]:
    """Yield every process that has a command line."""
    began, ticks_per_second = boot_time(), os.sysconf("SC_CLK_TCK")
    for one in identities(proc):
        command = command_of(one.pid, proc)
        if command:
            started = began + one.ticks / ticks_per_second
            yield Process(
                pid=one.pid, parent=one.parent, ticks=one.ticks, started=started, name=one.name, command=command
            )


def names_of(process: Process, proc: Path = PROC) -> list[str]:
    """Return what may name the program: script, WSGI modules, stem of the uwsgi file, mod_wsgi group; empty for others.

    Only interpreters and WSGI servers count: a shell or an editor that names a service runs none of its code. Nor does
    a program count that is only asked about itself: it serves nobody.
    """
    command = process.command
    if not _ASKED.isdisjoint(command[1:]):
        return []
    title = _WSGI_TITLE.match(command[0])
    if title:
        return [f"wsgi:{title[1]}"]
    runner = PurePosixPath(command[0]).name
    if not RUNNERS.match(runner):
        # A script that the kernel ran by its first line has its interpreter in front; a retitled one has not.
        # A retitled one puts a colon behind its name: "nova-scheduler: master process".
        return [runner.removesuffix(":")] if _is_python(process.pid, proc) else []
    if runner.startswith(("python", "pypy")):
        return _script_names(command[1:])
    return [*_wsgi_names(command[1:]), *_ini_names(process.pid, command, proc)]


def is_server(process: Process) -> bool:
    """Whether a process is a WSGI server, which runs the application of another."""
    if _WSGI_TITLE.match(process.command[0]):
        return True
    words = [PurePosixPath(word).name for word in process.command[:2]]
    runs_script = words[0].startswith(("python", "pypy"))
    return bool(re.fullmatch(SERVERS, words[-1] if runs_script else words[0]))


def words_of(process: Process, proc: Path = PROC) -> list[str]:
    """Return the words that the code of a process is given: those of its command, and each that a uwsgi hands on."""
    words: list[str] = []
    for before, word in pairwise(["", *process.command]):
        handed = _values((before, word), _ARGUMENTS)
        words += handed[0].split() if handed else [word]
    for _file, text in _ini_texts(process.pid, process.command, proc):
        words += [word for value in _INI_ARGUMENTS.findall(text) for word in value.split()]
    return words


def environment_of(process: Process, proc: Path = PROC) -> dict[str, str]:
    """Return the environment that the code of a process has: as it was started, and what a WSGI server adds."""
    added = list(_values(process.command, _VARIABLES)) if is_server(process) else []
    for _file, text in _ini_texts(process.pid, process.command, proc):
        added += _INI_VARIABLES.findall(text)
    return {**started_with(process.pid, proc), **_variables(added)}


def started_with(pid: int, proc: Path = PROC) -> dict[str, str]:
    """Return the environment that a process was started with; empty when it cannot be read."""
    try:
        raw = (proc / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    return _variables(raw.decode(errors="replace").split("\0"))


def _variables(entries: Iterable[str]) -> dict[str, str]:
    return {name: value for name, sign, value in (entry.partition("=") for entry in entries) if sign}


def _is_python(pid: int, proc: Path) -> bool:
    return bool(RUNNERS.match(PurePosixPath(interpreter(pid, proc).removesuffix(DELETED)).name))


def _script_names(words: tuple[str, ...]) -> list[str]:
    """Return the script, or the module of ``-m``, that an interpreter runs."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "-m":
            return rest[:1]
        if word == "-c":
            return []
        if word in ("-W", "-X"):
            rest = rest[1:]
        elif not word.startswith("-"):
            return [PurePosixPath(word).name, *_wsgi_names(tuple(rest))]
    return []


def _wsgi_names(words: tuple[str, ...]) -> list[str]:
    return [_wsgi_name(value) for value in _values(words, _MODULE_OPTIONS)]


def _wsgi_name(value: str) -> str:
    """Return the module or the script's name of ``module:callable``, ``/path/script`` or ``/mount=module``."""
    value = value.rpartition("=")[2]
    return PurePosixPath(value).name if value.startswith("/") else value.partition(":")[0]


def _values(words: tuple[str, ...], options: tuple[str, ...]) -> list[str]:
    """Return the values of these options, written ``--option value`` or ``--option=value``."""
    apart = [after for word, after in pairwise(words) if word in options]
    joined = [word.partition("=")[2] for word in words if "=" in word and word.partition("=")[0] in options]
    return apart + joined


def _ini_texts(pid: int, command: tuple[str, ...], proc: Path) -> Iterator[tuple[str, str]]:
    """Yield path and content of the files that configure a uwsgi; what cannot be read is empty."""
    root = proc / str(pid) / "root"
    for path in _values(command, _INI_OPTIONS):
        inside = path.partition(":")[0]
        try:
            yield inside, (root / inside.lstrip("/")).read_text(errors="replace")
        except OSError:
            yield inside, ""


def _ini_names(pid: int, command: tuple[str, ...], proc: Path) -> list[str]:
    names = []
    for path, text in _ini_texts(pid, command, proc):
        names += [_wsgi_name(value) for value in _INI_MODULES.findall(text)]
        names.append(PurePosixPath(path).stem)
    return names


def mapped_files(pid: int, proc: Path = PROC) -> list[str]:
    """Return the paths of the files that a process has mapped; raises UnreadableError."""
    try:
        text = (proc / str(pid) / "maps").read_text(errors="replace")
    except OSError as problem:
        raise UnreadableError(f"its mapped files cannot be read ({problem.strerror})") from problem
    return [line.split(None, 5)[5] for line in text.splitlines() if line.count("/") and len(line.split(None, 5)) == 6]


def interpreter(pid: int, proc: Path = PROC) -> str:
    """Return the program that a process executes, ``DELETED`` behind it when its file is gone; empty if unreadable."""
    try:
        return os.readlink(proc / str(pid) / "exe")
    except OSError:
        return ""


def environments(process: Process, proc: Path = PROC) -> Iterator[str]:
    """Yield the virtual environments that the command names: by option, by interpreter, by script."""
    yield from _values(process.command, _VENV_OPTIONS)
    for _file, text in _ini_texts(process.pid, process.command, proc):
        yield from _INI_VENVS.findall(text)
    for word in process.command[:2]:
        path = PurePosixPath(word)
        if path.is_absolute() and path.parent.name == "bin":
            yield str(path.parent.parent)
