# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the upgrade check of a service says: its exit code, and the table that it prints.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._place import CommandError, Done, Place
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import (
    Finding,
    finding,
    unseen,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Service

# Runs the command in the interpreter of the service, with other defaults of some options. What the configuration says
# of them is the same, only later.
_EARLY = """
import importlib, json, runpy, sys
told, sys.argv = json.loads(sys.argv[1]), sys.argv[2:]
conf = importlib.import_module(told["module"])
conf.configure()
for section, name, value in told["options"]:
    conf.CONF.set_default(name, value, group=section)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
_FIELDS = ("Check", "Result", "Details")
_SUCCESS, _WARNING, _FAILURE = "Success", "Warning", "Failure"
_CODES = {0: _SUCCESS, 1: _WARNING, 2: _FAILURE}


def parse_table(text: str) -> list[dict[str, str]]:
    """Return the checks of a table, each with ``Check``, ``Result`` and ``Details``; wrapped lines are joined."""
    found: list[dict[str, str]] = []
    field = ""
    for line in text.splitlines():
        if not (line.startswith("|") and line.rstrip().endswith("|")):
            field = ""
            continue
        cell = line.strip().strip("|").strip()
        name, sign, value = cell.partition(": ")
        if sign and name in _FIELDS:
            field = name
            if name == _FIELDS[0]:
                found.append({})
            if found:
                found[-1][name] = value.strip()
        elif field and found:
            found[-1][field] = f"{found[-1][field]} {cell}".strip()
    return [entry for entry in found if entry.keys() == set(_FIELDS)]


def look_at_upgrade_check(place: Place, service: Service) -> dict[str, Any] | None:
    """Return what the upgrade check says; None when the service has none."""
    command = service.upkeep.status
    if not command:
        return None
    if not place.has(command):
        return {"problem": f"there is no {command} in {place.commands}"}
    try:
        done = _run(place, service)
    except CommandError as problem:
        return {"problem": str(problem)}
    return {
        "command": f"{command} upgrade check",
        "rc": done.rc,
        "checks": parse_table(done.out),
        "last": done.last_line,
    }


def _run(place: Place, service: Service) -> Done:
    check = ("upgrade", "check")
    values = ((section, name, place.setting(section, name)) for section, name in service.upkeep.early)
    early = [one for one in values if one[2]]
    if not early:
        return place.run(service.upkeep.status, *check)
    told = json.dumps({"module": f"{service.name}.conf", "options": early})
    path = f"{place.commands}/{service.upkeep.status}"
    argv = [place.python, "-c", _EARLY, told, path, *place.arguments(), *check]
    return place.inside.run(argv, environment={"PYTHONWARNINGS": "ignore", **dict(place.variables)})


def judge_upgrade_check(service: str, facts: Mapping[str, Any]) -> Finding:
    """Say what it means: a warning is told and lets pass; a command that broke says nothing of the cloud."""
    subject = f"upgrade check of {service}"
    if facts.get("problem"):
        return unseen(subject, f"The upgrade check of {service} could not be run: {facts['problem']}.")
    command, rc, checks = str(facts["command"]), int(facts["rc"]), list(facts.get("checks", ()))
    evidence = {"command": command, "rc": rc, "checks": checks}
    if rc not in _CODES or not checks:
        # An interpreter that dies of an exception ends with 1 as well, and prints no table.
        return unseen(subject, f"{command} broke with exit code {rc}: {facts.get('last')}", evidence=evidence)
    failed, warned = _named(checks, _FAILURE), _named(checks, _WARNING)
    if rc == 2 or failed:
        words = "; ".join(failed) or "it does not say why"
        return finding(subject, False, f"{command} fails: {words}", expected=0, found=rc, evidence=evidence)
    words = f", with a warning: {'; '.join(warned)}" if warned else ""
    many = "1 check" if len(checks) == 1 else f"{len(checks)} checks"
    return finding(subject, True, f"{command} passes {many}{words}.", evidence=evidence)


def _named(checks: Sequence[Mapping[str, str]], result: str) -> list[str]:
    return [f"{one['Check']} ({one['Details']})" for one in checks if one["Result"] == result]
