# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of a run: what a resource script saves in one phase and needs in a later one, such as the id of a server.

It is a document in the run directory, replaced as a whole under a lock, so that scripts may run side by side and a
crash loses nothing. Shell scripts reach it through the commands of this module, as ``python -m <this module> save nova
id``, whose value comes by standard input, because everyone can see the arguments of a process.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory, RunError

MEMORY = "memory.json"
LOCK = ".memory.lock"
SCHEMA = 1
VARIABLE = "UPGRADE_TEST_RUN_DIR"
SECRET = "UPGRADE_TEST_OS_PASSWORD"  # noqa: S105 - the name of the variable that has the administrator's password
USAGE = "save <project> <key>, with the value on standard input; or get <project> <key>; or forget <project> [<key>]"


class RecallError(Exception):
    """What cannot be remembered, in one sentence for the operator."""


class Memory:
    """What the scripts of one run remember, by project and key."""

    def __init__(self, run: RunDirectory) -> None:
        """Remember in this run directory."""
        self.run = run

    def get(self, project: str, key: str) -> Any:
        """Return what was saved, or None."""
        return self.all(project).get(key)

    def all(self, project: str) -> dict[str, Any]:
        """Return all that was saved for a project."""
        return dict(self._projects().get(project, {}))

    def save(self, project: str, values: Mapping[str, Any]) -> bool:
        """Save these values beside what is there; whether that changed anything."""
        for key, value in values.items():
            self._see_that_it_comes_back(project, key, value)
        with self.run.alone(LOCK):
            projects = self._projects()
            known = projects.get(project, {})
            changed = any(key not in known or known[key] != value for key, value in values.items())
            if changed:
                projects[project] = {**known, **values}
                self._write(projects)
        return changed

    def forget(self, project: str, keys: Sequence[str] = ()) -> bool:
        """Forget these keys of a project, or all of it; whether anything was there."""
        with self.run.alone(LOCK):
            projects = self._projects()
            known = projects.pop(project, {})
            left = {key: value for key, value in known.items() if keys and key not in keys}
            if left != known:
                self._write({**projects, project: left} if left else projects)
        return left != known

    def take_in(self, path: str | os.PathLike[str]) -> bool:
        """Save all that a Grenade left in its ``grenade_db.ini``; whether that changed anything."""
        changed = [self.save(project, values) for project, values in read_ini(Path(path)).items()]
        return any(changed)

    def _see_that_it_comes_back(self, project: str, key: str, value: Any) -> None:
        """Refuse what the run directory would write in another form than it was given."""
        if self.run.redactor.value({key: value}) != {key: value}:
            raise RecallError(
                f"{project} {key}: the value has a secret in it, and the run directory keeps none. Keep it in a file "
                "that only you can read, and save the path of the file."
            )

    def _projects(self) -> dict[str, dict[str, Any]]:
        return dict(self.run.read_json(MEMORY).get("projects", {}))

    def _write(self, projects: Mapping[str, Any]) -> None:
        self.run.write_json(MEMORY, {"schema": SCHEMA, "projects": projects})


def read_ini(path: Path) -> dict[str, dict[str, str]]:
    """Return the sections of a ``grenade_db.ini``; RecallError when it cannot be read."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # keys keep their case, as nova_inventory_VCPU
    try:
        parser.read_string(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, configparser.Error) as problem:
        raise RecallError(f"from_ini: {path} cannot be read: {' '.join(str(problem).split())}") from None
    return {section: dict(parser[section]) for section in parser.sections()}


def command(argv: Sequence[str], run_dir: str, value: str, secrets: Sequence[str] = ()) -> tuple[int, str, str]:
    """Do what a shell script asks for; return the exit code, what to print and what to complain of."""
    try:
        verb, project, *keys = argv
        memory = Memory(RunDirectory(run_dir, secrets))
        if verb == "save" and len(keys) == 1:
            memory.save(project, {keys[0]: value})
            return 0, "", ""
        if verb == "get" and len(keys) == 1:
            found = memory.get(project, keys[0])
            return 0, "" if found is None else f"{found}", ""
        if verb == "forget":
            memory.forget(project, keys)
            return 0, "", ""
    except (RecallError, RunError) as problem:
        return 1, "", str(problem)
    except ValueError:
        pass
    return 2, "", f"Not understood: {' '.join(argv)}. Known is {USAGE}."


def main() -> int:
    """Run as a command; the run is named by the environment. Returns the exit code."""
    argv, run_dir = sys.argv[1:], os.environ.get(VARIABLE, "")
    if not run_dir:
        sys.stderr.write(f"{VARIABLE} is not set, so it is not known whose memory is meant.\n")
        return 2
    value = sys.stdin.read() if argv[:1] == ["save"] else ""
    rc, out, complaint = command(argv, run_dir, value, [os.environ.get(SECRET, "")])
    sys.stdout.write(f"{out}\n" if argv[:1] == ["get"] and not rc else out)
    sys.stderr.write(f"{complaint}\n" if complaint else "")
    return rc


if __name__ == "__main__":
    raise SystemExit(main())
