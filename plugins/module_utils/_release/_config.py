# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration that a running service was started with: its files, and what stands in them.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

Files are found as oslo.config and the services' WSGI modules find them: named by the command, by the environment, or at
their usual places. What they hold is as secret as they are; a caller takes out of it what may be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from ansible_collections.openstack.upgrade_test.plugins.module_utils import _processes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._packages import inside, put

Options = Mapping[tuple[str, str], str]


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """The options in the files of a process, by section and name, and when the newest of the files was changed."""

    options: Options = field(repr=False)
    changed: float = 0.0
    file: str = ""


_MAIN = {"glance": "glance-api.conf"}  # of other services it has their own name
_SECTION = re.compile(r"\[([^\]]+)\]\s*$")
_OPTION = re.compile(r"([^\s=:#;][^=:]*?)\s*[=:]\s*(.*)$")


def configuration_of(pid: int, service: str, component: str, proc: Path = _processes.PROC) -> Configuration | None:
    """Return the configuration of a process; None when there is no file to read."""
    root = proc / str(pid) / "root"
    command, environment = _processes.command_of(pid, proc), _environment(pid, service, proc)
    paths = list(_named(command, root)) or list(_by_environment(environment, service)) or _usual(service, component)
    texts = {path: text for path in paths if (text := _read(root, path)) is not None}
    if not texts:
        return None
    changed, file = max((put(inside(root, path)), path) for path in texts)
    return Configuration(options=parse(list(texts.values())), changed=changed, file=file)


def parse(texts: Sequence[str]) -> Options:
    """Return the options in configuration files; the last one that is given counts, as with oslo.config."""
    found: dict[tuple[str, str], str] = {}
    for text in texts:
        section = "DEFAULT"
        for line in text.splitlines():
            if match := _SECTION.match(line.strip()):
                section = match[1].strip()
            elif (option := _OPTION.match(line)) is not None:
                found[section, option[1].strip()] = option[2].strip().strip("\"'")
    return found


def _named(command: Sequence[str], root: Path) -> Iterator[str]:
    """Yield the files of ``--config-file`` and ``--config-dir``, in their order.

    A WSGI server hands its application's words on as one: ``--pyargv=--config-file /etc/x.conf``.
    """
    words = [part for word in command for part in (word.replace("=", " ").split() if "--config-" in word else [word])]
    for word, value in pairwise(words):
        if word == "--config-file":
            yield value
        elif word == "--config-dir":
            yield from _in_folder(root, value)


def _in_folder(root: Path, folder: str) -> list[str]:
    return [f"{folder}/{path.name}" for path in sorted(inside(root, folder).glob("*.conf"))]


def _environment(pid: int, service: str, proc: Path) -> dict[str, str]:
    """Return only those variables of a process that name its configuration."""
    try:
        raw = (proc / str(pid) / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    prefix = f"OS_{service.upper()}_CONFIG_"
    words = (word.partition("=") for word in raw.split("\0") if word.startswith(prefix))
    return {name.removeprefix(prefix): value.strip() for name, _sign, value in words}


def _by_environment(environment: Mapping[str, str], service: str) -> Iterator[str]:
    if not environment:
        return
    folder = environment.get("DIR") or f"/etc/{service}"
    files = environment.get("FILES") or _MAIN.get(service, f"{service}.conf")
    for file in files.split(";"):
        if file.strip():
            yield file.strip() if file.strip().startswith("/") else f"{folder}/{file.strip()}"


def _usual(service: str, component: str) -> list[str]:
    names = (_MAIN.get(service, f"{service}.conf"), f"{component}.conf")
    return [f"/etc/{service}/{name}" for name in dict.fromkeys(names)]


def _read(root: Path, path: str) -> str | None:
    try:
        return inside(root, path).read_text(errors="replace")
    except OSError:
        return None
