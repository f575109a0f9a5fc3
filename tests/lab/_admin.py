# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's cloud as its administrator sees it, through openstacksdk, apart from the code under test."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PREFIX = "upgrade-test-"

Found = frozenset[tuple[str, str, str]]
"""Type, name and id of each thing found."""


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of openstacksdk and of what it imports; they are not ours to correct."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Admin:
    """A connection with admin rights."""

    def __init__(self, clouds_yaml: Path) -> None:
        with quiet():
            from openstack.config import OpenStackConfig
            from openstack.connection import Connection

            files: dict[str, Any] = {"config_files": [str(clouds_yaml)], "secure_files": [], "vendor_files": []}
            region = OpenStackConfig(load_envvars=False, **files).get_one(cloud="lab")
            self.cloud: Any = Connection(config=region)

    def of_tests(self, prefix: str = PREFIX) -> Found:
        """Everything in the cloud whose name begins with the prefix, or whose project's name does or is gone."""
        with quiet():
            names = {project.id: project.name for project in self.cloud.identity.projects()}
            kinds = self._kinds(names)
            return frozenset(
                (kind, str(one.name or ""), str(one.id))
                for kind, listed in kinds.items()
                for one in listed()
                if str(one.name or "").startswith(prefix) or self._is_of_test(one, names, prefix)
            )

    def _kinds(self, projects: dict[str, str]) -> dict[str, Callable[[], Any]]:
        cloud, network = self.cloud, self.cloud.network
        return {
            "project": lambda: [project for project in cloud.identity.projects() if project.id in projects],
            "user": cloud.identity.users,
            "server": lambda: cloud.compute.servers(all_projects=True),
            "image": lambda: [*cloud.image.images(), *cloud.image.images(visibility="shared", member_status="all")],
            "network": network.networks,
            "subnet": network.subnets,
            "router": network.routers,
            "port": network.ports,
            "floating ip": network.ips,
            "security group": network.security_groups,
        }

    @staticmethod
    def _is_of_test(one: Any, projects: dict[str, str], prefix: str) -> bool:
        """Whether it belongs to a project of a test, or to one that is not there any more."""
        owner = getattr(one, "project_id", None) or getattr(one, "owner_id", None)
        return bool(owner) and projects.get(owner, PREFIX).startswith(prefix)

    def delete_server(self, name: str) -> str:
        """Delete the only server of this name, wait until it is gone, return its id."""
        with quiet():
            (server,) = [one for one in self.cloud.compute.servers(all_projects=True) if one.name == name]
            self.cloud.compute.delete_server(server)
            self.cloud.compute.wait_for_delete(server, interval=1, wait=120)
        return str(server.id)

    @contextmanager
    def service_hidden(self, type_: str) -> Iterator[None]:
        """Keep a service out of the catalogue for a while."""
        with quiet():
            (service,) = self.cloud.identity.services(type=type_)
            self.cloud.identity.update_service(service, is_enabled=False)
        try:
            yield
        finally:
            with quiet():
                self.cloud.identity.update_service(service, is_enabled=True)
