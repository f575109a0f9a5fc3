# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look on a host for what tells of the health of its services. What it means is for ``_verdict``.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
import socket
import time as clock
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils import _processes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._configuration import (
    look_at_configurations,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._infrastructure import (
    RABBITMQ,
    infrastructure_of,
    look_at_infrastructure,
    look_at_queues,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._logs import look_at_logs
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._place import (
    Found,
    Inside,
    Place,
    find_places,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._schema import (
    look_at_migrations,
    look_at_schemas,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._upgrade_check import (
    look_at_upgrade_check,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._redact import Redactor
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import NAMES
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Service

INFRASTRUCTURE = "infrastructure"
_IN_URL = re.compile(r"://[^/\s:@]*:(?P<secret>[^@\s]+)@")
_SECRET = re.compile(r"pass(?:word|wd)?$|secret|_key$|token$", re.I)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What to look at: a glance at all, or, with ``components``, what the commands of these say.

    ``log_hours`` is how far back logs are read, ``pause`` the seconds between two looks at the queues.
    """

    services: Sequence[Service]
    components: Sequence[str] = ()
    log_hours: float = 24
    migrate: bool = False
    pause: float = 5
    database: Sequence[str] = ()
    proc: Path = _processes.PROC


def gather(wish: Wish) -> dict[str, Any]:
    """Return what this host tells; what could not be seen stands beside it."""
    began = clock.time()
    found = find_places(wish.services, wish.proc)
    redactor = Redactor(secrets_of(found.places))
    name = socket.gethostname()
    evidence: dict[str, Any] = {"host": name, "hostname": name, "problems": found.problems}
    there = infrastructure_of(wish.proc)
    services = {f"{service}/{component}" for service, component, _pid in found.processes}
    evidence["components"] = sorted(services | {f"{INFRASTRUCTURE}/{kind}" for kind in there})
    queues = f"{INFRASTRUCTURE}/{RABBITMQ}" in wish.components and RABBITMQ in there
    parts: dict[str, Callable[[], Any]] = {
        "services": lambda: look_at_services(found, wish),
        "infrastructure": lambda: (
            {RABBITMQ: look_at_queues(Inside(pid=there[RABBITMQ].pid, proc=wish.proc), wish.pause)} if queues else {}
        ),
    }
    if not wish.components:
        parts = {
            "logs": lambda: look_at_logs(found.processes, began - wish.log_hours * 3600, redactor, wish.proc),
            "infrastructure": lambda: look_at_infrastructure(there, wish.database, wish.proc),
        }
    for name, look in parts.items():
        try:
            evidence[name] = look()
        except Exception as problem:  # one surprise must not hide what else this host tells
            evidence["problems"].append(f"{name}: {type(problem).__name__}: {problem}")
    clean: dict[str, Any] = redactor.value(evidence)
    return clean


def secrets_of(places: Iterable[Place]) -> set[str]:
    """Return the secrets in the configuration of some places, so that they are written nowhere."""
    found: set[str] = set()
    for place in places:
        for (_section, name), value in place.settings().items():
            found |= {match["secret"] for match in _IN_URL.finditer(value)}
            found |= {value} if _SECRET.search(name) else set()
    return found


def look_at_services(found: Found, wish: Wish) -> dict[str, dict[str, Any]]:
    """Return what the services' own commands say, where one of the wanted components lives."""
    mine: dict[str, list[Place]] = {}
    for place in found.places:
        if any(f"{place.service}/{component}" in wish.components for component in place.components):
            mine.setdefault(place.service, []).append(place)
    services = [one for one in wish.services if one.name in mine]
    # Most of the time goes into the start of interpreters; more at once would be felt by the services.
    with ThreadPoolExecutor(max_workers=2) as pool:
        told = pool.map(lambda service: _look_at_service(service, mine[service.name], migrate=wish.migrate), services)
        return {service.name: facts for service, facts in zip(services, told, strict=True)}


def _look_at_service(service: Service, places: Sequence[Place], *, migrate: bool) -> dict[str, Any]:
    """Return what is to say of one service; what concerns its database is asked once, where one is configured."""
    facts: dict[str, Any] = {"configuration": look_at_configurations(places, NAMES)}
    for place in places:
        if "schemas" not in facts and (schemas := look_at_schemas(place, service)):
            facts["schemas"] = schemas
            facts["upgrade_check"] = look_at_upgrade_check(place, service)
            facts["migrations"] = look_at_migrations(place, service, migrate=migrate)
    return facts
