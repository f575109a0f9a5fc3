# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host of a cloud is: what runs on it, which tool has deployed that, and what its load balancer serves.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils import _packages, _processes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._processes import Process, UnreadableError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import recognise

KOLLA, OSA, DEVSTACK = "Kolla-Ansible", "OpenStack-Ansible", "DevStack"
LAB, PACKAGES = "lab", "packages"
# Where the code of a running process lies, as that process sees it. The first that fits says who put it there.
PLACES: Sequence[tuple[str, re.Pattern[str]]] = (
    (KOLLA, re.compile(r"/var/lib/kolla/venv/")),
    (OSA, re.compile(r"/openstack/venvs/")),
    (DEVSTACK, re.compile(r"/opt/stack/")),
    (PACKAGES, re.compile(r"/usr/lib(?:64)?/python[\d.]*/(?:dist|site)-packages")),
)
# What a tool leaves on a host on which none of the services runs, such as one with the load balancer only.
TRACES: Sequence[tuple[str, str]] = (
    (KOLLA, "etc/kolla/*/config.json"),
    (OSA, "etc/ansible/facts.d/openstack_ansible.fact"),
    (DEVSTACK, "etc/systemd/system/devstack@*.service"),
)
# The lab keeps its inventory and the release that it is at beside what it has installed.
LAB_FILES = ("inventory.yml", "release")
_PROXIES = ("listen", "frontend", "backend")
_OTHERS = "defaults|global|userlist|peers|resolvers|mailers|program|cache|ring|http-errors|log-forward|fcgi-app"
_SECTION = re.compile(rf"^\s*({'|'.join(_PROXIES)}|{_OTHERS})\b(?:\s+(\S+))?")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A process of a service, and where its code lies."""

    service: str
    component: str
    folder: str = ""


def describe(root: Path = Path("/"), proc: Path = _processes.PROC) -> dict[str, Any]:
    """Return what ``host_info`` returns; nothing is asked but the kernel and files."""
    running, balancers = [], []
    for process in _processes.processes(proc):
        names = _processes.names_of(process, proc)
        known = recognise(names) if names else None
        if known:
            running.append(Found(service=known[0], component=known[1], folder=_folder(process, proc)))
        elif process.name == "haproxy":
            balancers.append(process)
    deployer, evidence = deployed_by(running, traces(root))
    return {
        "deployer": deployer,
        "evidence": evidence,
        "components": [
            {"service": service, "component": component}
            for service, component in sorted({(one.service, one.component) for one in running})
        ],
        "listeners": _listeners(balancers, proc),
    }


def _folder(process: Process, proc: Path) -> str:
    """Return the folder from which a process imports; empty when it may not be read."""
    with suppress(UnreadableError, OSError):
        for folder in _packages.package_folders(process, proc):
            return folder
    return ""


def traces(root: Path) -> dict[str, str]:
    """Return what tools have left on the host: the tool, and the first file that shows it."""
    found = {}
    for tool, pattern in TRACES:
        first = next(iter(sorted(root.glob(pattern))), None)
        if first:
            found[tool] = f"/{first.relative_to(root)}"
    return found


def deployed_by(running: Sequence[Found], left: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the tool that deployed what runs, with the evidence; empty when nothing tells it.

    What runs goes before what lies about: a host may keep the files of a tool that was given up long ago.
    """
    seen = {tool: one for one in reversed(running) if (tool := _tool_of(one.folder))}
    if seen:
        evidence = [f"{one.component} runs from {one.folder}" for _tool, one in sorted(seen.items())]
        return " and ".join(sorted(seen)), evidence
    if running:
        return "", [f"{running[0].component} runs from {running[0].folder or 'a folder that may not be read'}"]
    return " and ".join(sorted(left)), [f"{path} is there" for _tool, path in sorted(left.items())]


def _tool_of(folder: str) -> str:
    for tool, pattern in PLACES:
        if pattern.search(f"{folder}/"):
            return tool
    return LAB if any(_is_lab(parent) for parent in Path(folder).parents) else ""


def _is_lab(folder: Path) -> bool:
    return all((folder / name).is_file() for name in LAB_FILES)


# The load balancer: which address leads to which servers. Whether these are up is the affair of system_health.


@dataclass
class Proxy:
    """One section of HAProxy's configuration."""

    kind: str
    name: str
    binds: list[str] = field(default_factory=list)
    servers: list[dict[str, str]] = field(default_factory=list)
    backends: list[str] = field(default_factory=list)


def _listeners(balancers: Sequence[Process], proc: Path) -> list[dict[str, Any]]:
    """Return what the load balancers of this host listen on; a forked one has the configuration of the first."""
    found: dict[str, dict[str, Any]] = {}
    for process in balancers:
        texts = [text for path in _configurations(process, proc) for text in _text(path)]
        for one in listeners(parse_proxies("\n".join(texts))):
            found.setdefault(one["name"], one)
    return list(found.values())


def _configurations(process: Process, proc: Path) -> Iterator[Path]:
    """Yield the files that a load balancer was started with; a folder stands for the files in it."""
    seen = proc / str(process.pid)
    for word, after in pairwise(process.command):
        if word == "-f":
            place = seen / "root" / after.lstrip("/") if after.startswith("/") else seen / "cwd" / after
            yield from sorted(place.glob("*.cfg")) if place.is_dir() else [place]


def _text(path: Path) -> Iterator[str]:
    with suppress(OSError):
        yield path.read_text(errors="replace")


def parse_proxies(text: str) -> list[Proxy]:
    """Return the sections of a configuration that listen or serve."""
    found: list[Proxy] = []
    inside = False
    for line in text.splitlines():
        section = _SECTION.match(line)
        if section:
            inside = section[1] in _PROXIES
            if inside:
                found.append(Proxy(kind=section[1], name=section[2] or ""))
        elif inside and (words := line.split("#")[0].split()):
            _take(found[-1], words)
    return found


def _take(proxy: Proxy, words: Sequence[str]) -> None:
    """Read one line of a section."""
    keyword, rest = words[0], words[1:]
    if keyword == "bind" and rest:
        proxy.binds.append(rest[0])
    elif keyword == "server" and len(rest) > 1:
        proxy.servers.append({"name": rest[0], "address": rest[1], "scheme": "https" if "ssl" in rest else "http"})
    elif keyword in ("default_backend", "use_backend") and rest:
        proxy.backends.append(rest[0])


def listeners(proxies: Sequence[Proxy]) -> list[dict[str, Any]]:
    """Return each address that is listened on, with the servers behind it."""
    by_name = {one.name: one for one in proxies if one.kind != "frontend"}
    found = []
    for one in proxies:
        if one.binds:
            behind = [by_name[name] for name in one.backends if name in by_name]
            servers = [*one.servers, *(server for backend in behind for server in backend.servers)]
            unique = list({(server["name"], server["address"]): server for server in servers}.values())
            told = {"name": one.name, "binds": one.binds, "servers": unique}
            # Behind one address may be several services, told apart by what is asked for.
            found.append({**told, "backends": len({backend.name for backend in behind}) or 1})
    return found
