# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others add to the test: a service of theirs with task files, or a plugin of Grenade. Both go through phases.

What such an extension makes is its own affair, so the journal of the run says only that it has made something: from the
moment before its first phase until its last one has succeeded.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RESOURCES, RunDirectory

EARLY, CREATE, VERIFY, NOAPI, DESTROY = "early_create", "create", "verify", "verify_noapi", "destroy"
PHASES = (EARLY, CREATE, VERIFY, NOAPI, DESTROY)
SIDES = ("pre-upgrade", "mid-upgrade", "post-upgrade")
MAKING = (EARLY, CREATE)
CHECKS: Mapping[str, str] = {
    EARLY: "created",
    CREATE: "created",
    VERIFY: "verified",
    NOAPI: "verified_without_api",
    DESTROY: "removed",
}
DEEDS: Mapping[str, str] = {
    EARLY: "made its first resources",
    CREATE: "made its resources",
    VERIFY: "found its resources as they should be",
    NOAPI: "found its resources as they should be, without any API",
    DESTROY: "removed its resources",
}
DESCRIPTION = "service.yml"
KEYS: Mapping[str, tuple[Any, str]] = {
    "name": (str, "text"),
    "service": (str, "text"),
    "description": (str, "text"),
    "api": (dict, "dictionary"),
    "snapshot": (dict, "dictionary"),
}
_NAME = re.compile(r"[a-z][a-z0-9_-]*")


class ExtensionError(Exception):
    """What is wrong with an extension, in one sentence for the operator."""


@dataclass(frozen=True, kw_only=True)
class Extension:
    """One extension in one run; ``validator`` is also the type of its entry in the journal."""

    validator: str
    name: str
    service: str


@dataclass(frozen=True, kw_only=True)
class Due:
    """Whether a phase has something to do now; if not, ``status`` and ``why`` say what that means."""

    due: bool
    status: Status = Status.SKIP
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What the journal says of one extension: the phases that made something, and whether any was begun."""

    begun: bool = False
    made: tuple[str, ...] = field(default_factory=tuple)


def ledger(records: Sequence[Mapping[str, Any]], extension: Extension) -> Ledger:
    """Read the journal's records of an extension."""
    found = Ledger()
    for record in records:
        if (record.get("type"), record.get("name")) != (extension.validator, extension.name):
            continue
        if record.get("event") == "deleted":
            found = Ledger()
        else:
            phases = (record.get("facts") or {}).get("phases", found.made)
            found = Ledger(begun=True, made=tuple(phases))
    return found


def is_due(phase: str, known: Ledger, name: str) -> Due:
    """Say whether a phase is to be run, by what was run before it."""
    if phase in MAKING and phase in known.made:
        return Due(due=False, status=Status.PASS, why=f"{name} has made its resources already.")
    if phase in (VERIFY, NOAPI) and not known.made:
        return Due(due=False, status=Status.UNKNOWN, why=f"{name} has made nothing that could be looked at.")
    if phase == DESTROY and not known.begun:
        return Due(due=False, status=Status.PASS, why=f"{name} has left nothing to remove.")
    return Due(due=True)


class Keeper:
    """Begins and ends the phases of one extension, and keeps the journal of it."""

    def __init__(self, run: RunDirectory, extension: Extension) -> None:
        """Work in this run."""
        self.run, self.extension = run, extension

    def begin(self, phase: str) -> Due:
        """Say whether a phase is due; if so, and if it makes something, write its intent down."""
        due = is_due(phase, self._ledger(), self.extension.name)
        if due.due and phase in MAKING:
            self._write("intent", self._ledger().made)
        return due

    def end(self, phase: str) -> None:
        """Write down that a phase has succeeded."""
        if phase in MAKING:
            self._write("created", (*self._ledger().made, phase))
            put_under_test(self.run, [self.extension.service])
        elif phase == DESTROY:
            self._write("deleted", ())

    def is_begun(self) -> bool:
        """Whether it may have left something."""
        return self._ledger().begun

    def _ledger(self) -> Ledger:
        return ledger(self.run.read(RESOURCES), self.extension)

    def _write(self, event: str, phases: Sequence[str]) -> None:
        self.run.append_resource(
            event,
            service=self.extension.service,
            type=self.extension.validator,
            name=self.extension.name,
            facts={"phases": list(phases)},
        )

    def outcome(self, phase: str, status: Status, message: str, *, stage: str, **more: Any) -> Outcome:
        """Return the outcome of a phase."""
        return Outcome(
            validator=self.extension.validator,
            check=CHECKS[phase],
            service=self.extension.service,
            subject=self.extension.name,
            status=status,
            message=message,
            phase=stage,
            **more,
        )


def put_under_test(run: RunDirectory, added: Sequence[str]) -> None:
    """Let the run judge these services, also when they are none that the collection knows."""
    services = list(run.document.get("services") or [])
    new = [service for service in dict.fromkeys(added) if service and service not in services]
    if run.document and new:
        run.update(services=[*services, *new])


def success(name: str, phase: str) -> str:
    """Say that a phase has succeeded."""
    return f"{name} has {DEEDS[phase]}."


def read_description(folder: Path) -> dict[str, Any]:
    """Return the checked content of a folder's service.yml; ExtensionError names what is wrong."""
    import yaml

    path = folder / DESCRIPTION
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise ExtensionError(f"folder: {path} cannot be read: {' '.join(str(problem).split())}") from None
    if not isinstance(document, dict):
        raise ExtensionError(f"folder: {path} has to be a dictionary with at least the key name.")
    _check(path, document)
    return {"service": document.get("name"), "description": "", "api": {}, "snapshot": {}, **document}


def _check(path: Path, document: Mapping[str, Any]) -> None:
    for key, value in document.items():
        if key not in KEYS:
            raise ExtensionError(f"folder: {path} has the unknown key {key!r}; known are {', '.join(sorted(KEYS))}.")
        type_, word = KEYS[key]
        if not isinstance(value, type_):
            raise ExtensionError(f"folder: in {path}, {key} has to be a {word}.")
    for key in ("name", "service"):
        if not _NAME.fullmatch(str(document.get(key, document.get("name", "")))):
            raise ExtensionError(
                f"folder: in {path}, {key} has to be a name of small letters, digits, dashes and underscores."
            )


def task_file(folder: Path, phase: str) -> Path | None:
    """Return the task file of a phase, or None when the folder has none."""
    return next((path for end in ("yml", "yaml") if (path := folder / f"{phase}.{end}").is_file()), None)
