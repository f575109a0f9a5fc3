# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of a running service: which files it has read, in which order, and what stands in them.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

Files are found and read as oslo.config and the services' WSGI applications do it, through the eyes of the process: its
command, its environment, its root, its home and where it works. What they hold is as secret as they are: a caller takes
out of it what may be told, and no problem quotes a line.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from ansible_collections.openstack.upgrade_test.plugins.module_utils import _processes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._packages import inside, put
from ansible_collections.openstack.upgrade_test.plugins.module_utils._processes import Process, UnreadableError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Configured, Service

Options = Mapping[tuple[str, str], str]

FILE, FOLDER = "--config-file", "--config-dir"
_FILES, _DROP_INS = ".conf", ".conf.d"
_VARIABLE = re.compile(r"OS_(?P<section>.+?)__(?P<option>.+)")  # OS_DATABASE__CONNECTION is [database] connection
_MOST_REFERENCES = 20


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where a process has its options from: ``files`` in the order in which it reads them, the last one overrides all.

    ``folders`` are those that were looked through for files. ``variables`` of its environment set options, too, and go
    before all files; they may be secret.
    """

    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """The options of a process, by section and name, and what of its sources was changed last, and when.

    ``unread`` says of each file that could not be read why; what it would have set is not known.
    """

    options: Options = field(repr=False)
    changed: float = 0.0
    file: str = ""
    unread: tuple[str, ...] = ()


def configuration_of(pid: int, service: Service, component: str, proc: Path = _processes.PROC) -> Configuration | None:
    """Return the configuration of a process; None when there is no file to read."""
    root, sources = proc / str(pid) / "root", sources_of(pid, service, component, proc)
    options: dict[tuple[str, str], str] = {}
    unread = []
    for file in sources.files:
        try:
            options |= read_options(inside(root, file))
        except UnreadableError as problem:
            unread.append(f"{file}: {problem}")
    if len(unread) == len(sources.files):
        return None
    # A file that was taken out of a folder leaves only this trace.
    changed, file = max((put(inside(root, path)), path) for path in (*sources.files, *sources.folders))
    options |= options_of_variables(sources.variables)
    return Configuration(options=options, changed=changed, file=file, unread=tuple(unread))


def sources_of(pid: int, service: Service, component: str, proc: Path = _processes.PROC) -> Sources:
    """Return where a process has its options from; nothing of a service without such a configuration.

    Files and folders at the usual places are read first, each kind only when the command names none of it; then what
    the command names, in its order. So a file that the command names overrides the drop-ins of usual folders.
    """
    looks = service.upkeep.configuration
    process = _processes.process_at(pid, proc)
    if looks is None or not process.command:
        return Sources()
    environment = _processes.environment_of(process, proc)
    view = _View.of(process, environment, proc)
    served = _is_application(process, component, proc)
    program = looks.programs.get(component, "") if served else component
    alike = served or component in looks.alike
    words = () if alike and not looks.words else _processes.words_of(process, proc)
    given = [(option, view.absolute(value)) for option, value in _given(words)]
    files: list[str] = []
    folders: list[str] = []
    if FILE not in dict(given):
        files += view.named(looks, service.name, environment) if alike else []
        files = files or view.usual(service.name, program, _FILES)
    if FOLDER not in dict(given):
        folders += view.usual(service.name, program, _DROP_INS)
        files += [file for folder in folders for file in view.files_in(folder)]
    for option, path in given:
        files += [path] if option == FILE else view.files_in(path)
        folders += [path] if option == FOLDER else []
    return Sources(
        files=tuple(reversed(dict.fromkeys(reversed(files)))),  # of one that is read twice, the last time counts
        folders=tuple(folders),
        variables=tuple(sorted(pair for pair in environment.items() if _VARIABLE.fullmatch(pair[0]))),
    )


def _is_application(process: Process, component: str, proc: Path) -> bool:
    """Whether a process is a WSGI application, not the command that has the name of the component."""
    return _processes.is_server(process) or component not in _processes.names_of(process, proc)


def _given(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    for word, after in pairwise([*words, ""]):
        option, sign, value = word.partition("=")
        if option in (FILE, FOLDER) and (value if sign else after):
            yield option, value if sign else after


@dataclass(frozen=True, kw_only=True)
class _View:
    """How a process sees files: its root, seen from here; where it works, and its home, as it calls them."""

    root: Path
    work: str
    home: str

    @classmethod
    def of(cls, process: Process, environment: Mapping[str, str], proc: Path) -> _View:
        place = proc / str(process.pid)
        try:
            work = os.readlink(place / "cwd")
        except OSError:
            work = "/"
        return cls(root=place / "root", work=work, home=environment.get("HOME") or _home_of(place))

    def absolute(self, name: str) -> str:
        if self.home and (name == "~" or name.startswith("~/")):
            name = self.home + name[1:]
        return os.path.normpath(os.path.join(self.work, name))

    def has(self, path: str) -> bool:
        return os.path.exists(inside(self.root, path))

    def files_in(self, folder: str) -> list[str]:
        """Return the configuration files in a folder, in their order."""
        try:
            names = sorted(os.listdir(inside(self.root, folder)))
        except OSError:
            return []
        return [f"{folder}/{name}" for name in names if name.endswith(_FILES) and not name.startswith(".")]

    def usual(self, project: str, program: str, ending: str) -> list[str]:
        """Return what has a usual name at a usual place: the first of the project, and the first of the program."""
        homes = [f"{self.home}/.{project}", self.home] if self.home else []
        places = [os.path.normpath(place) for place in (*homes, f"/etc/{project}", "/etc")]
        found = []
        for name in dict.fromkeys(filter(None, (project, program))):
            paths = (os.path.join(place, name + ending) for place in places)
            found += [path for path in paths if self.has(path)][:1]
        return found

    def named(self, looks: Configured, project: str, environment: Mapping[str, str]) -> list[str]:
        """Return the files that a WSGI application takes without being told by its command; none: the usual ones."""
        prefix = f"OS_{project.upper()}_CONFIG_"
        listed = environment.get(f"{prefix}FILES", "") if looks.listed else ""
        names = [name.strip() for name in listed.split(";") if name.strip()]
        folder = environment.get(f"{prefix}DIR", looks.folder).strip()
        if not (names or folder):
            return []
        paths = {name: self.absolute(os.path.join(folder, name)) for name in (names or looks.names)}
        # The one for PasteDeploy tells how the application is put together; it sets no options.
        return [
            path
            for name, path in paths.items()
            if not name.endswith("paste.ini") and (name not in looks.optional or self.has(path))
        ]


def _home_of(place: Path) -> str:
    """Return the home that a process has by its user, for want of one in its environment; empty if unknown."""
    try:
        status = (place / "status").read_text(errors="replace")
        accounts = inside(place / "root", "/etc/passwd").read_text(errors="replace")
    except OSError:
        return ""
    user = re.search(r"^Uid:\s+(\d+)", status, re.M)
    entries = (line.split(":") for line in accounts.splitlines())
    homes = (entry[5] for entry in entries if user and len(entry) > 5 and entry[2] == user[1])
    return next(homes, "")


def read_options(path: Path) -> dict[tuple[str, str], str]:
    """Return the options in a file, the last value of each; UnreadableError when oslo.config would not read it."""
    try:
        text = path.read_text(errors="replace")
    except OSError as problem:
        raise UnreadableError(f"it cannot be read ({problem.strerror})") from problem
    return {(section, name): value for section, name, value in assignments(text)}


def options_of_variables(variables: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the options that variables of an environment set."""
    found = {}
    for name, value in variables:
        if match := _VARIABLE.fullmatch(name):
            section = match["section"]
            found[section if section == "DEFAULT" else section.lower(), match["option"].lower()] = value
    return found


def assignments(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield section, name and value of each assignment; an option that takes several values may have several.

    A line that begins with a blank goes on with the value before. UnreadableError where oslo.config would not go on.
    """
    section, name = "", ""
    values: list[str] = []
    for number, line in enumerate(map(str.rstrip, text.split("\n")), 1):
        if line.startswith((" ", "\t")):
            if not name:
                raise UnreadableError(f"line {number} goes on with a value where there is none")
            values.append(line.lstrip())
            continue
        if name:
            yield section, name, "\n".join(values)
            name = ""
        if line.startswith("["):
            if len(line) < 3 or not line.endswith("]"):
                raise UnreadableError(f"line {number} begins with [ and is no section")
            section = plain_section(line[1:-1])
        elif line and not line.startswith(("#", ";")):
            name, value = _parted(line, number)
            values = [value]
            if not section:
                raise UnreadableError(f"line {number} sets an option outside of any section")
    if name:
        yield section, name, "\n".join(values)


def _parted(line: str, number: int) -> tuple[str, str]:
    sign = re.search("[=:]", line)
    name, value = (line[: sign.start()].strip(), line[sign.end() :].strip()) if sign else ("", "")
    if not name:
        raise UnreadableError(f"line {number} is neither an option with a value nor a section nor a comment")
    if value and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return name, value


def plain_section(name: str) -> str:
    """Return the form of a section's name by which oslo.config knows it: ``[AGENT]`` and ``[agent]`` are the same."""
    return name if name == "DEFAULT" else name.lower()


class _Value(string.Template):
    idpattern = r"[_a-z][\._a-z0-9]*"


@dataclass
class _References:
    """What a value may refer to: ``$option`` of its own section or of DEFAULT, ``$section.option``."""

    options: Options
    section: str
    depth: int

    def __getitem__(self, name: str) -> str:
        section, dot, option = name.partition(".")
        keys = [(plain_section(section), option)] if dot else [(self.section, name), ("DEFAULT", name)]
        for key in keys:
            if key in self.options and self.depth < _MOST_REFERENCES:
                return _resolved(self.options, key, self.depth + 1)
        raise KeyError(name)


def value_of(options: Options, section: str, option: str) -> str | None:
    """Return what a service takes an option for, with what it refers to; None when it is not set.

    A reference to an option that is not set stays as it is: its default is known to the code only.
    """
    return _resolved(options, (section, option), 0) if (section, option) in options else None


def _resolved(options: Options, key: tuple[str, str], depth: int) -> str:
    references = _References(options, key[0], depth)
    return _Value(options[key].replace(r"\$", "$$")).safe_substitute(references)  # type: ignore[arg-type]
