# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The projects and users of a test: made and removed by an administrator, who does nothing else in the cloud.

One user works. The other, the stranger, has a project of his own and no rights in the first one: with him it is tried
that nobody else gets in, and that what is shared with him does get to him. A third may only read in the project of the
first; tests of others want one.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    Access,
    Api,
    Cloud,
    CloudError,
    MissingError,
    connect,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import BAD
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import CLOUDS, RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._journal import Item, Journal
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._phases import ABSENT, work
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import SERVICES, present
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import (
    CLOUD,
    NAME_PREFIX,
    READER,
    STRANGER,
    Options,
    Workshop,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.keystone import SERVICE as KEYSTONE
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.neutron import SERVICE as NEUTRON

_READING = "reader"  # the role that Keystone makes by itself; older clouds may lack it


@dataclass(frozen=True, kw_only=True)
class Person:
    """A user to make: his name, and his role in which project."""

    name: str
    project: str
    role: str


class TestProject:
    """One test's projects and users: two of the same name each, and a user who may read in the first project."""

    __test__ = False  # its name looks like a test to pytest

    def __init__(
        self,
        cloud: Cloud,
        run: RunDirectory | None,
        *,
        name: str | None,
        domain: str | None = None,
        role: str = "member",
    ) -> None:
        """Work as an administrator; the name defaults to the run's; CloudError when there is neither."""
        if not name and run is None:
            raise CloudError("name: is needed when there is no run_dir.")
        self.cloud, self.run, self.domain_option, self.role = cloud, run, domain, role
        self.name = name or f"{NAME_PREFIX}{run.run_id if run else ''}"
        if not self.name.startswith(NAME_PREFIX):
            raise CloudError(f"name: {self.name!r} must begin with {NAME_PREFIX}, as nothing else is ever removed.")
        self.api: Api = KEYSTONE.api(cloud)

    def make(self, *, check: bool = False) -> dict[str, Any]:
        """Make what is missing; return the module's result."""
        run, domain = self._needed_run(), self._domain()
        people = self._people()
        there = all(
            self._find("user", one.name, domain) and self._find("project", one.project, domain)
            for one in people.values()
        )
        works = there and all(self._credentials_work(run, cloud) for cloud in people)
        if not (check or works):
            _write_clouds(run, {cloud: self._settle(person, domain) for cloud, person in people.items()})
        return self._result(domain, changed=not works)

    def _people(self) -> dict[str, Person]:
        """Return whom to make, by the cloud in the run's clouds.yaml."""
        stranger = f"{self.name}-stranger"
        people = {
            CLOUD: Person(name=self.name, project=self.name, role=self.role),
            STRANGER: Person(name=stranger, project=stranger, role=self.role),
        }
        if self.api.get("/roles", name=_READING)["roles"]:
            people[READER] = Person(name=f"{self.name}-reader", project=self.name, role=_READING)
        return people

    def _settle(self, person: Person, domain: str) -> dict[str, Any]:
        """Make what is missing of a user and the project that he has a role in; return his entry of clouds.yaml."""
        password, role = secrets.token_urlsafe(32), self._role(person.role)
        project, user = self._find("project", person.project, domain), self._find("user", person.name, domain)
        about = {"description": "Made by openstack.upgrade_test."}
        project = project or self._create("project", person.project, domain, about)
        if user:
            self.api.request("PATCH", f"/users/{user['id']}", json={"user": {"password": password}})
        else:
            facts = {"password": password, "default_project_id": project["id"]}
            user = self._create("user", person.name, domain, facts)
        self.api.request("PUT", f"/projects/{project['id']}/users/{user['id']}/roles/{role}")
        return clouds_entry(self.cloud, user["id"], project["id"], password)

    def remove(self, *, check: bool = False) -> dict[str, Any]:
        """Remove what is there; return the module's result. CloudError names what a project still has."""
        domain = self._domain()
        projects, users = self._begin_with("projects", domain), self._begin_with("users", domain)
        file = self.run.path / CLOUDS if self.run else None
        changed = bool(projects or users or (file and file.exists()))
        removed = [f"project {entry['name']}" for entry in projects] + [f"user {entry['name']}" for entry in users]
        if check:
            return {"changed": changed, "removed": removed}
        for project in projects:
            self._empty(project, next((user for user in users if user["name"] == project["name"]), None))
        for user in users:
            self.api.delete(f"/users/{user['id']}")
            self._journal("deleted", "user", user)
        for project in projects:
            delete_default_group(self.cloud, project["id"])
            self.api.delete(f"/projects/{project['id']}")
            self._journal("deleted", "project", project)
        if file:
            file.unlink(missing_ok=True)
        return {"changed": changed, "removed": removed}

    def _needed_run(self) -> RunDirectory:
        if self.run is None:
            raise CloudError("run_dir: is needed to make a project, as its clouds.yaml is written there.")
        return self.run

    def _result(self, domain: str, *, changed: bool) -> dict[str, Any]:
        project, user = self._find("project", self.name, domain), self._find("user", self.name, domain)
        told = {"id": (project or {}).get("id"), "name": self.name, "user_id": (user or {}).get("id")}
        return {"changed": changed, "project": told, "clouds_yaml": str(self._needed_run().path / CLOUDS)}

    def _domain(self) -> str:
        """Return the id of the domain to work in."""
        wanted = self.domain_option
        if not wanted:
            return self.cloud.project_domain_id or "default"
        found = self.api.get("/domains", name=wanted)["domains"]
        return str(found[0]["id"]) if found else str(self.api.get(f"/domains/{wanted}")["domain"]["id"])

    def _role(self, name: str) -> str:
        found = self.api.get("/roles", name=name)["roles"]
        if not found:
            there = ", ".join(sorted(role["name"] for role in self.api.get("/roles")["roles"]))
            raise CloudError(f"role: there is no role {name!r}; there are {there}.")
        return str(found[0]["id"])

    def _find(self, type_: str, name: str, domain: str) -> dict[str, Any] | None:
        found = self.api.get(f"/{type_}s", name=name, domain_id=domain)[f"{type_}s"]
        return dict(found[0]) if found else None

    def _begin_with(self, many: str, domain: str) -> list[dict[str, Any]]:
        found = self.api.get(f"/{many}", domain_id=domain)[many]
        return [entry for entry in found if entry["name"].startswith(self.name)]

    def _create(self, type_: str, name: str, domain: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        self._journal("intent", type_, {"id": "", "name": name})
        made = self.api.post(f"/{type_}s", {type_: {"name": name, "domain_id": domain, **facts}})[type_]
        self._journal("created", type_, made)
        return dict(made)

    def _journal(self, event: str, type_: str, entry: Mapping[str, Any]) -> None:
        if self.run:
            item = Item(service=KEYSTONE.name, type=type_, name=str(entry["name"]), id=str(entry["id"]))
            Journal(self.run).write(event, item)

    def _credentials_work(self, run: RunDirectory, cloud: str) -> bool:
        """Whether the clouds.yaml of the run lets a user in, so that nothing is to be done."""
        try:
            connect(self._user_access(run, cloud))
        except CloudError:
            return False
        return True

    def _user_access(self, run: RunDirectory, cloud: str = CLOUD) -> Access:
        given = self.cloud.access
        return Access(cloud=cloud, clouds_yaml=str(run.path / CLOUDS), api_timeout=given.api_timeout)

    def _belongings(self, project: str) -> list[str]:
        """Return what a project still has, each as ``servers name``."""
        left = []
        for service in present(self.cloud, None):
            for path, key in service.belongings:
                found = service.api(self.cloud).get(path.format(project))[key]
                left += [f"{key} {entry.get('name') or entry['id']}" for entry in found]
        return left

    def _empty(self, project: Mapping[str, Any], user: Mapping[str, Any] | None) -> None:
        """Remove what a project still has, as its own user; CloudError when some of it stays."""
        left: list[str] = []
        if user and (self._belongings(project["id"]) or self._unfinished(project)):
            with self._directory(project) as run:
                left = self._remove_as_user(run, project, user)
        left = left or self._belongings(project["id"])
        if left:
            raise CloudError(
                f"Project {project['name']} still has {', '.join(left)}, so it is not removed: nothing could find them "
                "without it. Remove them first."
            )

    def _is_of_run(self, project: Mapping[str, Any]) -> bool:
        return bool(self.run and project["name"] == f"{NAME_PREFIX}{self.run.run_id}")

    def _unfinished(self, project: Mapping[str, Any]) -> bool:
        """Whether the journal of the run has resources of the project that were not deleted."""
        items = Journal(self.run).items() if self.run and self._is_of_run(project) else []
        return any(item.type not in ("project", "user") for item in items)

    @contextmanager
    def _directory(self, project: Mapping[str, Any]) -> Iterator[RunDirectory]:
        """Yield the run's directory, or one for a run that is lost."""
        if self.run and self._is_of_run(project):
            yield self.run
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / project["name"].removeprefix(NAME_PREFIX)
            path.mkdir(mode=0o700)
            yield RunDirectory(path)

    def _remove_as_user(self, run: RunDirectory, project: Mapping[str, Any], user: Mapping[str, Any]) -> list[str]:
        """Remove the resources as their user, who gets a new password and his role again; return what stays."""
        password = secrets.token_urlsafe(32)
        self.api.request("PATCH", f"/users/{user['id']}", json={"user": {"password": password}})
        self.api.request("PUT", f"/projects/{project['id']}/users/{user['id']}/roles/{self._role(self.role)}")
        _write_clouds(run, {CLOUD: clouds_entry(self.cloud, user["id"], project["id"], password)})
        shop = Workshop(cloud=connect(self._user_access(run)), journal=Journal(run), options=Options())
        work(shop, [service for service in SERVICES if shop.cloud.endpoints(service.types)], ABSENT)
        return [outcome.subject for outcome in shop.outcomes if outcome.status in BAD]


def delete_default_group(cloud: Cloud, project: str) -> None:
    """Delete the security group that neutron makes for a project as soon as anybody asks, and keeps for ever."""
    if not cloud.endpoints(NEUTRON.types):
        return
    network = NEUTRON.api(cloud)
    for group in network.get("/security-groups", project_id=project)["security_groups"]:
        network.delete(f"/security-groups/{group['id']}")


def delete_default_groups_of_gone(cloud: Cloud, projects: Iterable[str]) -> None:
    """Delete the default security groups of those of these projects (ids) that are deleted: Keystone leaves them."""
    for project in projects:
        if _is_gone(cloud, project):
            delete_default_group(cloud, project)


def _is_gone(cloud: Cloud, project: str) -> bool:
    try:
        KEYSTONE.api(cloud).get(f"/projects/{project}")
    except MissingError:
        return True
    return False


def clouds_entry(cloud: Cloud, user: str, project: str, password: str) -> dict[str, Any]:
    """Return the entry of clouds.yaml for a user, reached in the same way as the cloud."""
    auth = {"auth_url": cloud.auth_url, "user_id": user, "project_id": project, "password": password}
    config = cloud.region.config
    entry: dict[str, Any] = {"auth": auth, "auth_type": "v3password", "interface": cloud.interface}
    entry |= {"region_name": cloud.region_name} if cloud.region_name else {}
    entry |= {"cacert": config["cacert"]} if config.get("cacert") else {}
    entry |= {} if config.get("verify", True) else {"verify": False}
    return entry


def _write_clouds(run: RunDirectory, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the run's clouds.yaml; what a former user kept there is of no use to the new one."""
    import yaml

    clouds = {cloud: dict(entry) for cloud, entry in entries.items()}
    run.write_credentials(yaml.safe_dump({"clouds": clouds}, sort_keys=False))
