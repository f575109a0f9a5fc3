# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API instances behind a load balancer, as its configuration names them.

Note that this plugin util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

_PORT = re.compile(r":(\d+)(?:-(\d+))?$")
_DEFAULTS = {"http": 80, "https": 443}


def instances(targets: Iterable[Mapping[str, Any]], hosts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the instances of published services, in the form of ``upgrade_test_api_instances``.

    A listener belongs to the service whose published address has its port. Where several services share a port,
    nothing is said: which servers are whose stands in rules that are not read here.
    """
    ports: dict[int, set[str]] = {}
    for target in targets:
        if target.get("via") in ("public", "internal", "admin"):
            ports.setdefault(_port_of(str(target["url"])), set()).add(str(target["service"]))
    found: dict[tuple[str, str], dict[str, str]] = {}
    for facts in hosts.values():
        for listener in facts.get("listeners", ()):
            services = {name for port in _bound(listener["binds"]) for name in ports.get(port, ())}
            if len(services) == 1 and listener.get("backends", 1) == 1:
                for one in _servers(next(iter(services)), listener["servers"]):
                    found.setdefault((one["service"], one["host"]), one)
    return list(found.values())


def _port_of(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or _DEFAULTS.get(parts.scheme, 0)


def _bound(binds: Iterable[str]) -> Iterator[int]:
    """Yield the ports of addresses such as ``10.0.0.1:5000,:::5000`` and ``*:8000-8010``."""
    for bind in binds:
        for address in bind.split(","):
            match = _PORT.search(address)
            if match:
                yield from range(int(match[1]), int(match[2] or match[1]) + 1)


def _servers(service: str, servers: Iterable[Mapping[str, str]]) -> Iterator[dict[str, str]]:
    for server in servers:
        # An address without a port is that of the listener, and one of a socket has no host.
        if _PORT.search(server["address"]) and not server["address"].startswith(("/", "unix@")):
            yield {"service": service, "host": server["name"], "url": f"{server['scheme']}://{server['address']}"}
