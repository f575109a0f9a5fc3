# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service file says of its service.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Api, Cloud, base_url, project_part

if TYPE_CHECKING:
    from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import Health
    from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._look import Look
    from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._offline import Offline
    from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import Sample


# Records that a migration of data looks at. Among the first ones there often are some that can never be migrated, as
# those of servers that came to no host; looking at these alone, it would find that there is nothing left to do.
BATCH = 50


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A request that needs no token and costs the service next to nothing, and what a good answer looks like."""

    path: str
    status: tuple[int, ...] = (200,)
    body: str = ""

    def expect(self) -> dict[str, Any]:
        """Return the expectation as a target carries it."""
        return {"status": list(self.status), "body": self.body}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A cheap GET that any user may make of his own project: what it does, its path, what its answer contains.

    ``{own}`` in the path stands for how the catalogue's URL ends for a project. In the URL to ask, the project is still
    open: ``{project_id}`` stands for the one of the user who asks.
    """

    name: str
    path: str
    body: str

    def expect(self) -> dict[str, Any]:
        """Return the expectation as a target carries it."""
        return {"status": [200], "body": self.body}


@dataclass(frozen=True, kw_only=True)
class Components:
    """How the processes of a service are recognised.

    ``wsgi`` maps what names a WSGI application (a module, a script, a mod_wsgi group) to its component. A script
    ``<prefix><rest>`` is the component ``<prefix><rest>``, unless its rest is in ``tools``: commands that an operator
    runs, and helpers that outlive the service that started them.
    """

    wsgi: Mapping[str, str]
    prefixes: tuple[str, ...]
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Schema:
    """One database: which option says where it is, and the folder of its migrations in the service's packages."""

    name: str
    section: str
    migrations: str


@dataclass(frozen=True, kw_only=True)
class Configured:
    """Where the WSGI applications of a service take their configuration from when no words of theirs name it.

    They take ``names`` in a ``folder``, some of them only where they are there (``optional``). The variable
    ``OS_<SERVICE>_CONFIG_DIR`` names another folder, and, for those to which files can be ``listed``,
    ``OS_<SERVICE>_CONFIG_FILES`` other names. Without names or without a folder they look at the usual places of
    oslo.config, as commands do. Some do not read ``words`` at all. ``programs`` is how components call themselves when
    they look for what is of their own; a server of several applications gives them no name. The components ``alike``
    are commands that look as the applications do.
    """

    names: tuple[str, ...] = ()
    folder: str = ""
    optional: tuple[str, ...] = ()
    listed: bool = False
    words: bool = True
    programs: Mapping[str, str] = field(default_factory=dict)
    alike: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Upkeep:
    """How a service looks after itself: its configuration (if oslo.config reads it), its databases, its own commands.

    ``status`` is the command with the upgrade check; ``early`` are options, by section and name, that it needs before
    it has read its configuration. ``pending`` says without changing anything which step of the database is missing; its
    exit codes stand in ``steps``. ``migrate`` is the only way to learn whether data still wait for their migration, and
    migrates some of them.
    """

    configuration: Configured | None = None
    schemas: tuple[Schema, ...] = ()
    status: str = ""
    early: tuple[tuple[str, str], ...] = ()
    pending: tuple[str, ...] = ()
    steps: Mapping[int, str] = field(default_factory=dict)
    migrate: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Service:
    """All that the collection knows of one service; adding a service is one such file and its line in the registry.

    The first of the ``operations`` is what an observer asks with a token, and stands for all that users do.
    ``health`` are the looks at its parts, which need nothing of each other.
    ``belongings`` are where an administrator finds what a project has: a path with the project's id, a key of the list.
    ``look`` says what a host holds of the samples, ``offline`` what that means; both work without any API.
    """

    name: str
    types: tuple[str, ...]
    prefix: str
    probe: Probe
    components: Components
    operations: tuple[Operation, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    health: tuple[Callable[[Health], None], ...] = ()
    sample: type[Sample] | None = None
    belongings: tuple[tuple[str, str], ...] = ()
    look: Callable[[Look], dict[str, Any]] | None = None
    offline: Callable[[Offline], None] | None = None
    upkeep: Upkeep = field(default_factory=Upkeep)

    def api(self, cloud: Cloud) -> Api:
        """Return the service's API in a cloud; CloudError when the catalogue lacks it."""
        return cloud.api(self.types, self.prefix, self.headers)

    def probe_url(self, url: str) -> str:
        """Return what to request of a catalogue URL, or of an instance's own URL."""
        return base_url(url) + self.probe.path

    def target(self, via: str, url: str) -> dict[str, Any]:
        """Return the target of an observer for one way to this service."""
        target = {
            "name": f"{self.name} {via}",
            "service": self.name,
            "via": via,
            "url": self.probe_url(url),
            "expect": self.probe.expect(),
        }
        for first in self._possible(url)[:1]:
            target |= {"auth_url": self._operation_url(url, first), "auth_expect": first.expect()}
        return target

    def performance(self, via: str, url: str) -> list[dict[str, Any]]:
        """Return the operations whose latency an observer measures, over one way to this service."""
        way = {"service": self.name, "via": via}
        plain = {"url": self.probe_url(url), "authenticated": False, "expect": self.probe.expect()}
        return [
            {"name": f"{self.name} show versions", **way, **plain},
            *(
                {
                    "name": f"{self.name} {operation.name}",
                    **way,
                    "url": self._operation_url(url, operation),
                    "authenticated": True,
                    "expect": operation.expect(),
                }
                for operation in self._possible(url)
            ),
        ]

    def question(self, url: str, project_id: str) -> tuple[str, str] | None:
        """Return what a user may ask at a catalogue URL, and what the answer contains; None when there is nothing."""
        for first in self._possible(url)[:1]:
            return self._operation_url(url, first).replace("{project_id}", project_id), first.body
        return None

    def _possible(self, url: str) -> list[Operation]:
        """Return the operations that can be asked for at a catalogue URL: some need to know its project's part."""
        own = project_part(url)
        return [operation for operation in self.operations if own or "{own}" not in operation.path]

    def _operation_url(self, url: str, operation: Operation) -> str:
        return base_url(url) + self.prefix + operation.path.replace("{own}", project_part(url))


def versions_in(document: Any) -> list[dict[str, Any]]:
    """Return the versions in a version document of any service; empty when it is none.

    Keystone wraps one (``version``) or several (``versions: values``), the others list them. Swift has one version, and
    tells instead which release of itself it is.
    """
    if not isinstance(document, Mapping):
        return []
    if isinstance(document.get("swift"), Mapping):
        return [{"id": "v1", "status": "CURRENT", "version": document["swift"].get("version", "")}]
    if isinstance(document.get("version"), Mapping):
        return [dict(document["version"])]
    found = document.get("versions", [])
    found = found.get("values", []) if isinstance(found, Mapping) else found
    if not isinstance(found, Sequence) or isinstance(found, str):
        return []
    return [dict(version) for version in found if isinstance(version, Mapping)]


def current_version(document: Any) -> dict[str, str]:
    """Return ``version``, ``min_version``, ``max_version`` of the current version; empty texts where there are none."""
    versions = versions_in(document)
    current = [version for version in versions if version.get("status") in ("CURRENT", "stable")]
    chosen = current[-1] if current else (versions[-1] if versions else {})
    return {
        "version": str(chosen.get("id", "")),
        "min_version": str(chosen.get("min_version", "") or ""),
        "max_version": str(chosen.get("max_version", chosen.get("version", "")) or ""),
    }
