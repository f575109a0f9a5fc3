# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the schema of a database is what the code wants, and whether data still wait for their migration.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

The code's head is read from the files of its migrations, without running any of it. What the database has is read by
the interpreter of the service, which has the driver for it; its address goes there by a pipe, because it holds a
password.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._place import CommandError, Done, Place
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import (
    Finding,
    finding,
    unseen,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    BATCH,
    Schema,
    Service,
)

_READ = """
import json, sys
from sqlalchemy import create_engine, text
found = {}
for name, url in json.load(sys.stdin).items():
    try:
        with create_engine(url).connect() as connection:
            rows = connection.execute(text("SELECT version_num FROM alembic_version")).fetchall()
        found[name] = {"current": sorted(row[0] for row in rows)}
    except Exception as problem:
        found[name] = {"problem": (str(getattr(problem, "orig", None) or problem).splitlines() or [""])[0][:200]}
print(json.dumps(found))
"""
_ROW = re.compile(r"^\|\s*(?P<name>\w+)\s*\|\s*(?P<found>\d+)\s*\|\s*(?P<done>\d+)\s*\|")
_PASSES = "fill_virtual_interface_list"  # goes through all servers, a batch at a time, and counts those that are well
_ERRORS = 2  # the exit code of a migration that ran into errors and got nothing done


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One migration: what it builds upon, and what has to be there as well."""

    name: str
    below: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()


def read_revision(source: str) -> Revision | None:
    """Return what a migration's file says of itself; None when it is none."""
    values: dict[str, Any] = {}
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError):
        return None
    for statement in statements:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value:
                values[target.id] = _constant(statement.value)
    if not isinstance(values.get("revision"), str):
        return None
    return Revision(
        name=values["revision"], below=_names(values.get("down_revision")), depends=_names(values.get("depends_on"))
    )


def _constant(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(str(one) for one in value) if isinstance(value, (tuple, list)) else ()


def heads_of(revisions: Iterable[Revision]) -> list[str]:
    """Return what a database has that is at the head: what nothing builds or depends upon.

    What another migration depends on is not kept beside it.
    """
    every = list(revisions)
    needed = {name for one in every for name in (*one.below, *one.depends)}
    return sorted(one.name for one in every if one.name not in needed)


def read_migrations(folder: Path) -> list[Revision]:
    """Return the migrations below a folder."""
    found = (read_revision(path.read_text(errors="replace")) for path in sorted(folder.rglob("*.py")))
    return [one for one in found if one]


def look_at_schemas(place: Place, service: Service) -> dict[str, dict[str, Any]]:
    """Return, for each database that the configuration names, what it has and what the code wants."""
    urls = {one.name: url for one in service.upkeep.schemas if (url := place.setting(one.section, "connection"))}
    wanted = [one for one in service.upkeep.schemas if one.name in urls]
    if not wanted:
        return {}
    try:
        done = place.inside.run([place.python, "-c", _READ], feed=json.dumps(urls))
        current = _told(done)
    except CommandError as problem:
        current = {one.name: {"problem": str(problem)} for one in wanted}
    return {one.name: compare(_revisions(place, one), current.get(one.name, {})) for one in wanted}


def _told(done: Done) -> dict[str, Any]:
    """Return what the interpreter of the service printed; it may have grumbled before."""
    try:
        found = json.loads(done.out.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise CommandError(f"the interpreter of the service failed: {done.last_line}") from None
    return dict(found) if isinstance(found, dict) else {}


def _revisions(place: Place, schema: Schema) -> list[Revision]:
    return read_migrations(place.inside.path(f"{place.packages}/{schema.migrations}"))


def compare(revisions: Iterable[Revision], told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the database told, beside what the code wants and what it does not know."""
    every = list(revisions)
    known = {one.name for one in every}
    return {**told, "heads": heads_of(every), "newer": [one for one in told.get("current", ()) if one not in known]}


def judge_schema(name: str, facts: Mapping[str, Any]) -> Finding:
    """Say whether a database has all migrations that the code wants."""
    subject = f"database {name}"
    heads, newer = list(facts.get("heads", ())), list(facts.get("newer", ()))
    if facts.get("problem"):
        return unseen(subject, f"The schema of database {name} could not be read: {facts['problem']}.")
    if not heads:
        return unseen(subject, f"The migrations of database {name} were not found among the packages of its service.")
    current = list(facts.get("current", ()))
    missing = sorted(set(heads) - set(current))
    if newer:
        message = (
            f"Database {name} is newer than the code here: it has {', '.join(newer)}, which the code does not know."
        )
        return finding(subject, False, message, expected=heads, found=current)
    word = f"is behind: it has {', '.join(current) or 'no migration'} and lacks {', '.join(missing)}"
    message = f"The schema of database {name} {word if missing else 'is at the head of the code'}."
    return finding(subject, not missing, message, expected=heads, found=current)


def look_at_migrations(place: Place, service: Service, *, migrate: bool) -> dict[str, Any] | None:
    """Return what the service's own command says of data that wait; None when there is nothing to ask."""
    upkeep = service.upkeep
    command = upkeep.pending or (upkeep.migrate if migrate else ())
    if not command:
        return {"asked": False} if upkeep.migrate else None
    if not place.has(command[0]):
        return {"problem": f"there is no {command[0]} in {place.commands}"}
    try:
        done = place.run(*command)
    except CommandError as problem:
        return {"problem": str(problem)}
    return {
        "asked": True,
        "command": " ".join(command),
        "rc": done.rc,
        "said": done.out[-2000:],
        "last": done.last_line,
    }


def judge_migrations(service: Service, facts: Mapping[str, Any]) -> Finding:
    """Say whether data still wait for their migration."""
    subject = f"data of {service.name}"
    if facts.get("problem"):
        return unseen(
            subject, f"Whether data of {service.name} wait for their migration is not known: {facts['problem']}."
        )
    if not facts.get("asked"):
        how = "upgrade_test_online_migrations: true"
        message = (
            f"Only migrating some tells whether data of {service.name} wait for their migration: allow it with {how}."
        )
        return unseen(subject, message)
    command, rc = str(facts["command"]), int(facts["rc"])
    evidence = {"command": command, "rc": rc, "said": facts.get("said", "")}
    stuck = blocked(str(facts.get("said"))) if rc == 0 else []
    if stuck:
        message = f"{command} could migrate none of the first {BATCH} records of {', '.join(stuck)}, and saw no others."
        return unseen(subject, message, evidence=evidence)
    if rc == 0:
        message = f"No data of {service.name} wait for their migration ({command})."
        return finding(subject, True, message, evidence=evidence)
    pending = _pending(service, command, rc, str(facts.get("said")))
    if pending:
        return finding(subject, False, pending, expected=0, found=rc, evidence=evidence)
    return unseen(subject, f"{command} broke with exit code {rc}: {facts.get('last')}", evidence=evidence)


def blocked(said: str) -> list[str]:
    """Return the migrations whose whole batch was of records that cannot be migrated, so that others may lie behind."""
    rows = (match for line in said.splitlines() if (match := _ROW.match(line)) and match["name"] != _PASSES)
    return [row["name"] for row in rows if int(row["found"]) - int(row["done"]) >= BATCH]


def _pending(service: Service, command: str, rc: int, said: str) -> str:
    """Say what an exit code means that is not 0; empty when it means that the command broke."""
    steps = service.upkeep.steps
    if rc in steps:
        return f"The database of {service.name} lacks a step: run {steps[rc]}."
    if steps or "+--" not in said:  # a command that came to its end has printed its table
        return ""
    if rc == 1:
        return (
            f"Data of {service.name} wait for their migration: {command} found some (exit code 1). Run it to its end."
        )
    return f"The migration of data of {service.name} ends in errors: see the log." if rc == _ERRORS else ""
