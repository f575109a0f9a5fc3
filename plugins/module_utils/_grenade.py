# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run an unchanged plugin of Grenade, its ``settings`` and its ``resources.sh``, phase by phase.

The scripts find what they expect of DevStack and Grenade in a small shell library of our own. The administrator's
credentials reach them by the environment, as ``openrc`` gives them; they stand in no argument and in no file.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import tempfile
import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils import _memory
from ansible_collections.openstack.upgrade_test.plugins.module_utils._command import inherited, watched
from ansible_collections.openstack.upgrade_test.plugins.module_utils._extension import (
    DESTROY,
    MAKING,
    Extension,
    ExtensionError,
    Keeper,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RESOURCES, RunDirectory

VALIDATOR = "grenade_plugin"
LINES = 40  # of the end of a log are kept beside an outcome
FORCE = "force_destroy"
NOTHING_REGISTERED, NO_SCRIPT = 125, 126
DATABASES = "databases"  # under this word the memory keeps what a snapshot should have
SETTINGS, SCRIPT, PLUGIN = "settings", "resources.sh", Path("devstack/upgrade")
# What DevStack calls the parts of a service.
DEVSTACK_NAMES: Mapping[str, str] = {
    "keystone": "key",
    "glance": "g-api",
    "placement": "placement-api",
    "neutron": "q-svc,q-agt,q-dhcp,q-l3,q-meta,neutron-api",
    "nova": "n-api,n-cond,n-sch,n-cpu,n-api-meta",
    "cinder": "c-api,c-sch,c-vol",
    "swift": "s-proxy,s-object,s-container,s-account",
    "heat": "h-api,h-api-cfn,h-eng",
}
# Where this collection was imported from: a tree, or the archive that Ansible makes of a module.
_ROOT = Path(_memory.__file__ or "").parents[_memory.__name__.count(".")]
_NUMBER = re.compile(r"^\d+_")
_TRACE = re.compile(r"^\++ ")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How plugins are run: where the shell library lies, what the scripts get, and how long each phase may take."""

    library: Path
    credentials: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    image: str | None = None
    flavor: str | None = None
    timeout: float = 900


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a script ended; ``rc`` is None when it took too long. ``databases`` are those that its settings name."""

    rc: int | None
    seconds: float
    log: str
    lines: tuple[str, ...]
    databases: tuple[str, ...] = ()


def plugin_folders(path: Path, projects: Sequence[str] = ()) -> list[Path]:
    """Return the folders with a plugin's settings or script: of a plugin, of a project's tree, or of Grenade's own."""
    for one in (path, path / PLUGIN):
        if (one / SETTINGS).is_file() or (one / SCRIPT).is_file():
            return [one]
    inside = sorted(one for one in (path / "projects").glob("*") if (one / SETTINGS).is_file())
    if not inside:
        raise ExtensionError(
            f"folder: {path} has no plugin of Grenade: neither {SETTINGS} nor {SCRIPT}, in it or in {PLUGIN}, nor a "
            "folder projects."
        )
    names = [project_of(one) for one in inside]
    unknown = [name for name in projects if name not in names]
    if unknown:
        raise ExtensionError(f"projects: {', '.join(unknown)} is not in {path}; there are {', '.join(names)}.")
    return [one for one in inside if not projects or project_of(one) in projects]


def project_of(folder: Path) -> str:
    """Return the project's name: of ``projects/60_nova`` or of ``nova/devstack/upgrade``."""
    if folder.parts[-2:] == PLUGIN.parts:
        return folder.parents[1].name
    return _NUMBER.sub("", folder.name)


class Plugins:
    """The plugins of one run."""

    def __init__(self, run: RunDirectory, settings: Settings) -> None:
        """Work in this run."""
        self.run, self.settings = run, settings
        self.place = run.path / "grenade"
        run.redactor.add([value for key, value in settings.credentials.items() if key.endswith("PASSWORD")])

    def phase(self, folder: Path, phase: str, side: str, stage: str, name: str = "") -> Outcome | None:
        """Run one phase of the plugin in a folder and return its outcome; None for one that was left out before."""
        project = name or project_of(folder)
        keeper = Keeper(self.run, Extension(validator=VALIDATOR, name=project, service=project))
        if phase not in MAKING and not keeper.is_begun():
            return None
        due = keeper.begin(phase)
        if not due.due:
            return keeper.outcome(phase, due.status, due.why, stage=stage)
        ended = self._run(folder, project, phase, side)
        status, message = verdict_on(project, phase, ended, self.settings.timeout)
        if status is Status.PASS:
            keeper.end(phase)
        elif status is Status.SKIP:  # what has nothing to do has not made anything either
            keeper.end(DESTROY)
        if phase == DESTROY:
            message += self._finish(folder, project, status)
        evidence = {"log": ended.log, "seconds": round(ended.seconds, 1), "side": side, "folder": str(folder)}
        evidence |= {"last_lines": list(ended.lines)} if status is not Status.PASS else {}
        if ended.databases:
            evidence["databases"] = list(ended.databases)
            _memory.Memory(self.run).save(DATABASES, {project: list(ended.databases)})
        return keeper.outcome(phase, status, message, stage=stage, evidence=evidence)

    def _finish(self, folder: Path, project: str, status: Status) -> str:
        """After the last phase: remove what can be removed when it failed, and what the scripts have saved."""
        if status is not Status.FAIL:
            self._tidy()
            return ""
        # It goes on after each error, so that one thing that is gone does not keep all others alive.
        self._run(folder, project, FORCE, "")
        return f" Then {FORCE} was run, which does not tell what is left."

    def _run(self, folder: Path, project: str, phase: str, side: str) -> Ended:
        """Run the script of a phase to its end; its output is kept without secrets."""
        for one in (self.place, self.place / "save", self.place / "logs", self.run.path / "evidence"):
            one.mkdir(mode=0o700, exist_ok=True)
        name = "-".join(("evidence/grenade", project, phase, side)).rstrip("-") + ".log"
        with tempfile.TemporaryDirectory(dir=self.place) as work:
            registered = Path(work) / "registered"
            registered.touch()
            self._write_commands(Path(work) / "bin")
            argv = [str(self.settings.library / "grenade/run-phase"), str(folder), phase, *([side] if side else [])]
            began = clock.monotonic()
            with (Path(work) / "output").open("w+b") as output:
                rc = self._watched(argv, self._environment(Path(work)), output)
                output.seek(0)
                text = output.read().decode("utf-8", "replace")
            databases = [
                line.split()[1] for line in registered.read_text().splitlines() if line.startswith("database ")
            ]
        self.run.write_text(name, text)
        lines = self.run.redactor.text(text).splitlines()[-LINES:]
        return Ended(rc=rc, seconds=clock.monotonic() - began, log=name, lines=tuple(lines), databases=tuple(databases))

    def _watched(self, argv: Sequence[str], environment: Mapping[str, str], output: Any) -> int | None:
        limit = self.settings.timeout
        try:
            return watched(argv, environment=environment, output=output, folder=self.place, timeout=limit)
        except OSError as problem:
            raise ExtensionError(f"library: {argv[0]} could not be started: {problem}") from None

    def _environment(self, work: Path) -> dict[str, str]:
        settings, library = self.settings, self.settings.library
        own = {
            "GRENADE_DIR": str(library / "grenade"),
            "TOP_DIR": str(library / "devstack"),
            "SAVE_DIR": str(self.place / "save"),
            "LOGDIR": str(self.place / "logs"),
            "ENABLED_SERVICES": enabled_services(self.run.document.get("services") or []),
            "UPGRADE_TEST_REGISTERED": str(work / "registered"),
            _memory.VARIABLE: str(self.run.path),
            "UPGRADE_TEST_PYTHON": sys.executable,
            "UPGRADE_TEST_PYTHONPATH": str(_ROOT),
            "UPGRADE_TEST_MEMORY": _memory.__name__,
            **{f"UPGRADE_TEST_{key}": value for key, value in settings.credentials.items()},
        }
        own |= {"DEFAULT_IMAGE_NAME": settings.image} if settings.image else {}
        own |= {"DEFAULT_INSTANCE_TYPE": settings.flavor} if settings.flavor else {}
        merged = {**inherited(), **own, **settings.environment}
        return {**merged, "PATH": f"{work / 'bin'}:{merged.get('PATH', os.defpath)}"}

    def _write_commands(self, folder: Path) -> None:
        """Write a command for each that the scripts expect here and that lives elsewhere."""
        folder.mkdir(mode=0o700)
        for name, argv in self.settings.commands.items():
            path = folder / Path(name).name
            path.write_text(wrapper(argv), encoding="utf-8")
            path.chmod(0o700)

    def _tidy(self) -> None:
        """Remove what the scripts have saved, such as keys to guests, when none of them has anything left."""
        if not any_begun(self.run.read(RESOURCES)):
            shutil.rmtree(self.place, ignore_errors=True)


def any_begun(records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether any plugin of this run may have left something."""
    alive: set[str] = set()
    for record in records:
        if record.get("type") == VALIDATOR:
            (alive.discard if record.get("event") == "deleted" else alive.add)(str(record.get("name")))
    return bool(alive)


def wrapper(argv: Sequence[str]) -> str:
    """Return a script that runs a command with the arguments that it is given itself."""
    # SSH makes one line of its arguments, which a shell on the other side reads again.
    given = '"${@@Q}"' if Path(argv[0]).name == "ssh" else '"$@"'
    return f"#!/usr/bin/env bash\nexec {shlex.join(argv)} {given}\n"


def enabled_services(services: Sequence[str]) -> str:
    """Return DevStack's words for what runs in the cloud."""
    return ",".join(["mysql", "rabbit", *(DEVSTACK_NAMES.get(name, name) for name in services)])


def verdict_on(project: str, phase: str, ended: Ended, timeout: float) -> tuple[Status, str]:
    """Return what became of a phase, and the sentence."""
    if ended.rc == 0:
        return Status.PASS, f"{project}, {phase}: the plugin's script ended well."  # what it looked at, it knows itself
    if ended.rc is None:
        return Status.FAIL, f"{project}, {phase}: did not end within {timeout:.0f} s."
    if ended.rc == NOTHING_REGISTERED:
        return Status.SKIP, f"The settings of {project} register nothing: its service is not in this cloud."
    if ended.rc == NO_SCRIPT:
        return Status.SKIP, f"{project} has no {SCRIPT}, so there is nothing that could survive."
    return Status.FAIL, f"{project}, {phase}: ended with exit code {ended.rc}: {reason(ended.lines)}"


def reason(lines: Sequence[str]) -> str:
    """Return the line of an output that says best why it ended."""
    said = [line.strip() for line in lines if line.strip() and not _TRACE.match(line)]
    errors = [line for line in said if line.startswith("[ERROR]")]
    before = [line for line in said if not line.startswith("Ended with exit code")][: _end(said)]
    return (errors or before or ["no output"])[-1]


def _end(said: Sequence[str]) -> int:
    """Return how many lines there are before the list of callers."""
    return next((at for at, line in enumerate(said) if line.startswith("Ended with exit code")), len(said))
