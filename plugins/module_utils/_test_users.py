# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test's users, in the forms that test programs of others want them, and where these programs are installed.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Access, Cloud, CloudError, connect
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import CLOUDS, RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import (
    CLOUD,
    READER,
    STRANGER,
)


class ToolError(Exception):
    """Why a tool cannot be run, in one sentence for the operator."""


def command(environment: Path, name: str, packages: str) -> str:
    """Return the path of a command of a virtual environment; ToolError when it is not there."""
    path = environment / "bin" / name
    if not os.access(path, os.X_OK):
        raise ToolError(f"environment_path: {environment} has no bin/{name}: install {packages} in it.")
    return str(path)


def search_path(environment: Path) -> dict[str, str]:
    """Return the variable by which commands of a virtual environment find each other."""
    return {"PATH": f"{environment / 'bin'}:{os.environ.get('PATH', os.defpath)}"}


def users(run: RunDirectory, api_timeout: int) -> list[Cloud]:
    """Return the two users of the test that may do everything, connected; CloudError when the run has none."""
    return [_connected(run, name, api_timeout) for name in (CLOUD, STRANGER)]


def reader(run: RunDirectory, api_timeout: int) -> Cloud | None:
    """Return the user who may only read in the project of the first one, connected; None when the run has none."""
    import yaml

    there = yaml.safe_load((run.path / CLOUDS).read_text(encoding="utf-8"))["clouds"]
    return _connected(run, READER, api_timeout) if READER in there else None


def _connected(run: RunDirectory, name: str, api_timeout: int) -> Cloud:
    path = run.path / CLOUDS
    if not path.is_file():
        raise CloudError(f"run_dir: {run.path} has no {CLOUDS}, so there is no user to test as: prepare the run first.")
    return connect(Access(cloud=name, clouds_yaml=str(path), api_timeout=api_timeout))


def account(cloud: Cloud) -> dict[str, Any]:
    """Return a user by names, as Tempest's file of accounts has him.

    Who may write has no role reader there, although Keystone gives him one: Tempest would take him for a reader.
    """
    return {
        "username": cloud.user_name,
        "password": str(cloud.region.config["auth"]["password"]),
        "project_name": cloud.project_name,
        "user_domain_name": cloud.user_domain_name,
        "project_domain_name": cloud.project_domain_name,
        "roles": [role for role in cloud.roles if role != "reader"] or cloud.roles,
    }


def entry(cloud: Cloud) -> dict[str, Any]:
    """Return a user's entry of clouds.yaml by names, which is what python-tempestconf reads."""
    auth = {key: value for key, value in account(cloud).items() if key != "roles"}
    config = cloud.region.config
    found: dict[str, Any] = {"auth": {"auth_url": cloud.auth_url, **auth}, "interface": cloud.interface}
    found |= {"region_name": cloud.region_name} if cloud.region_name else {}
    found |= {"cacert": config["cacert"]} if config.get("cacert") else {}
    return found | ({} if config.get("verify", True) else {"verify": False})


def write(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
