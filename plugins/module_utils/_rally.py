# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Rally is run in a test of an upgrade: as the test's users, before and after it, with a database of its own.

Rally cannot begin a task while Keystone is down, so it is nothing to watch an upgrade with.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Cloud
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.module_utils._test_users import account, users, write

ENVIRONMENT, REPORT, SPEC = "upgrade-test", "report.json", "environment.json"
# How the names of a service's scenarios begin.
SCENARIOS: Mapping[str, str] = {
    "keystone": "^(?:Keystone|Authenticate)",
    "nova": "^(?:Nova|VMTasks)",
    "glance": "^Glance",
    "cinder": "^Cinder",
    "neutron": "^Neutron",
    "swift": "^Swift",
    "heat": "^Heat",
}


def specification(people: list[Cloud]) -> dict[str, Any]:
    """Return what Rally is told of the cloud: the users, and no administrator."""
    first = people[0]
    config = first.region.config
    told: dict[str, Any] = {
        "auth_url": first.auth_url,
        "endpoint_type": first.interface,
        "https_insecure": not config.get("verify", True),
        "users": [{key: value for key, value in account(one).items() if key != "roles"} for one in people],
    }
    told |= {"region_name": first.region_name} if first.region_name else {}
    told |= {"https_cacert": str(config["cacert"])} if config.get("cacert") else {}
    return {"openstack": told}


def prepare(run: RunDirectory, folder: Path, api_timeout: int) -> dict[str, str]:
    """Make the folder with the users and an empty database; return the variables for Rally's commands."""
    people = users(run, api_timeout)
    told = specification(people)
    run.redactor.add([one["password"] for one in told["openstack"]["users"]])
    shutil.rmtree(folder, ignore_errors=True)
    (folder / ".rally").mkdir(mode=0o700, parents=True)
    folder.chmod(0o700)
    write(folder / SPEC, json.dumps(told))
    # It is looked for below HOME, as are the names of the last environment and task.
    write(folder / ".rally/rally.conf", f"[database]\nconnection = sqlite:///{folder}/rally.sqlite\n")
    return {"HOME": str(folder)}


def commands(rally: str, task: str, arguments: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the commands in their order: two that prepare, one that runs the task, one that brings the results."""
    given = ["--task-args", json.dumps(dict(arguments))] if arguments else []
    return {
        "database": [rally, "db", "create"],
        "connect": [rally, "env", "create", "--name", ENVIRONMENT, "--spec", SPEC],
        "run": [rally, "task", "start", task, "--env", ENVIRONMENT, *given],
        "report": [rally, "task", "report", "--json", "--out", REPORT],
    }


def remove(folder: Path) -> bool:
    """Remove the folder; whether there was one."""
    there = folder.exists()
    shutil.rmtree(folder, ignore_errors=True)
    return there
