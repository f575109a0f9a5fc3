# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What still makes a service speak the old release: a pin in its configuration, a version of the others that it keeps.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

Nova and Cinder look once which version the others have, and keep to it until they are restarted or told to look again.
Nothing but their own log says what they found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ansible_collections.openstack.upgrade_test.plugins.module_utils import _processes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._configured import Options, configuration_of
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._packages import inside
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._logs import (
    Log,
    family_of,
    logs_of,
    own_number,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._running import Running
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._verdict import VALIDATOR, Target
from ansible_collections.openstack.upgrade_test.plugins.module_utils._releases import canonical
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import chosen

CHECK = "release_pins"
_PREPARATION = 60.0  # seconds in which a container may put down its configuration before it executes the service
_QUIET = 60.0  # seconds that a process may take to write its first line
_LINE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\S* (\d+) (?:INFO|DEBUG) \S+ (.*)$", re.M)
_NOVA = re.compile(r"Automatically selected compute RPC version \S+ from minimum service version (\d+)")
_CINDER = re.compile(r"Automatically selected (\S+) objects version (\S+) as minimum service version")
_WORDS = re.compile("Automatically selected|Reloading compute RPC API|Resetting cached RPC")
_FORGOTTEN = re.compile(r"Reloading compute RPC API|Resetting cached RPC version pins")
# Where the code of a service says which version it would tell of itself.
_NEWEST = {
    "nova": ("nova/objects/service.py", re.compile(r"^SERVICE_VERSION\s*=\s*(\d+)", re.M)),
    "cinder": ("cinder/objects/base.py", re.compile(r"""^\s*OBJ_VERSIONS\.add\(\s*["']([\d.]+)""", re.M)),
}
_KEEP = {"nova": ("nova-api", "nova-conductor", "nova-compute")}  # of Cinder all do
_NO = ("", "auto")
_TRUE = ("true", "1", "yes", "on")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What the processes of a component keep: versions, by what they are of.

    Only when the log is ``whole``, from their start on, does it show that there is nothing else.
    """

    whole: bool
    versions: tuple[tuple[str, str], ...] = ()


def pins(found: Sequence[Running], target: Target, phase: str, proc: Path = _processes.PROC) -> list[Outcome]:
    """Return an outcome for each process that may be pinned; one for a service that has no pins."""
    outcomes = []
    for service in dict.fromkeys(running.service for running in found):
        mine = [running for running in found if running.service == service]
        if service not in ("nova", "cinder"):
            outcomes.append(
                _outcome(mine[0], service, phase, Status.SKIP, f"{service} has no pins to its old release.")
            )
            continue
        for running in mine:
            status, message, evidence = _look(running, target, proc)
            outcomes.append(_outcome(running, running.component, phase, status, message, **evidence))
    return outcomes


def _outcome(
    running: Running, subject: str, phase: str, status: Status, message: str, **evidence: str | list[str]
) -> Outcome:
    return Outcome(
        validator=VALIDATOR,
        check=CHECK,
        service=running.service,
        subject=subject,
        host=running.host,
        phase=phase,
        status=status,
        message=message,
        evidence=dict(evidence),
    )


Finding = tuple[Status, str, dict[str, "str | list[str]"]]


def _look(running: Running, target: Target, proc: Path) -> Finding:
    label = running.label
    if len(target.releases) > 1:
        return Status.SKIP, f"While both releases may run, {label} may be pinned to the old one.", {}
    (service,) = chosen([running.service])
    found = configuration_of(running.pid, service, running.component, proc)
    unseen = "; ".join(found.unread) if found else "its configuration was not found"
    if found is None or unseen:
        return Status.UNKNOWN, f"Whether {label} is pinned cannot be seen: {unseen}.", {}
    pinned = pins_in(running.service, found.options, running.release)
    if pinned:
        text = f"{label} is pinned by its configuration: {', '.join(pinned)}. Remove that and restart it."
        return Status.FAIL, text, {"pins": pinned}
    if found.changed > running.started + _PREPARATION:
        text = f"{label} may be pinned: it began before {found.file} was changed, and may hold what stood there."
        return Status.UNKNOWN, text, {"file": found.file}
    if not keeps_versions(running, found.options):
        return Status.PASS, f"{label} is not pinned by its configuration.", {}
    return _kept_finding(running, _kept(running, proc), _newest(running, proc))


def _kept_finding(running: Running, kept: Kept | None, newest: str) -> Finding:
    label = running.label
    if kept is None:
        return (
            Status.UNKNOWN,
            f"Which version of the others {label} keeps to cannot be seen: it has neither a log file nor a journal.",
            {},
        )
    if not (kept.whole or kept.versions):
        text = (
            f"Which version of the others {label} keeps to cannot be seen: its log does not tell it from its start on."
        )
        return Status.UNKNOWN, text, {}
    told = [f"{name} {version}" for name, version in kept.versions]
    if told and not newest:
        text = f"{label} keeps to {', '.join(told)}; whether that is old is not known, as its code could not be read."
        return Status.UNKNOWN, text, {"kept": told}
    old = [f"{name} {version}" for name, version in kept.versions if _numbers(version) < _numbers(newest)]
    if old:
        text = f"{label} still keeps to what it found when others were old: {', '.join(old)}. Restart or reload it."
        return Status.FAIL, text, {"kept": old}
    what = (
        f"keeps to the newest version of the others ({', '.join(told)})" if told else "keeps no version of the others"
    )
    return Status.PASS, f"{label} {what}.", {"kept": told}


def pins_in(service: str, options: Options, release: str) -> list[str]:
    """Return the options that hold a service to another release than it runs; ``auto`` is no pin."""
    found = []
    for (section, name), value in sorted(options.items()):
        if service == "nova" and section == "upgrade_levels" and value not in _NO and not _is(value, release):
            found.append(f"[{section}] {name} = {value}")
        leftover = (section, name) == ("workarounds", "disable_compute_service_check_for_ffu")
        if service == "nova" and leftover and value.lower() in _TRUE:
            found.append(f"[{section}] {name} = {value}")
    return found


def _is(value: str, release: str) -> bool:
    try:
        return bool(release) and canonical(value) == release
    except ValueError:
        return False


def keeps_versions(running: Running, options: Options) -> bool:
    """Whether a process looks once at the version of others, and keeps to it."""
    if running.service == "nova":
        return running.component in _KEEP["nova"] and options.get(("upgrade_levels", "compute")) == "auto"
    return True


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _newest(running: Running, proc: Path) -> str:
    """Return the newest version that the code of a process knows of what it keeps of others; empty if unknown."""
    file, pattern = _NEWEST[running.service]
    metadata = str(running.evidence.get("metadata", ""))
    folder = running.evidence.get("working_tree") or PurePosixPath(metadata).parent
    try:
        text = inside(proc / str(running.pid) / "root", f"{folder}/{file}").read_text(errors="replace")
    except OSError:
        return ""
    return max(pattern.findall(text), key=_numbers, default="")


def kept_in(logs: Sequence[Log], pids: Sequence[int], since: float) -> Kept:
    """Return what logs say that these processes keep by now; what they have forgotten is not kept.

    In containers the same numbers of processes come back, so only what was written ``since`` their start is theirs.
    """
    versions: dict[tuple[int, str], str] = {}
    for log in logs:
        clock = log.clock()
        for match in _telling_lines(log.text):
            pid, rest = int(match[2]), match[3]
            if pid not in pids or clock(match[1]) < since - 1:
                continue
            if _FORGOTTEN.search(rest):
                versions = {key: value for key, value in versions.items() if key[0] != pid}
            elif nova := _NOVA.search(rest):
                versions[pid, "service version"] = nova[1]
            elif cinder := _CINDER.search(rest):
                versions[pid, f"objects of {cinder[1]}"] = cinder[2]
    whole = any(log.first() <= since + _QUIET and _tells(log, pids, since) for log in logs)
    return Kept(whole=whole, versions=tuple(sorted({(name, value) for (_pid, name), value in versions.items()})))


def _telling_lines(text: str) -> Iterator[re.Match[str]]:
    """Yield the lines that say something of versions; a log is long, and nearly all of it is about something else."""
    for word in _WORDS.finditer(text):
        end = text.find("\n", word.end())
        match = _LINE.match(text, text.rfind("\n", 0, word.start()) + 1, len(text) if end < 0 else end)
        if match:
            yield match


def _tells(log: Log, pids: Sequence[int], since: float) -> bool:
    """Whether these processes write down what is not yet a warning."""
    clock = log.clock()
    return any(int(match[2]) in pids and clock(match[1]) >= since - 1 for match in _LINE.finditer(log.text))


def _kept(running: Running, proc: Path) -> Kept | None:
    family = family_of(running.pid, proc)
    logs = logs_of(family, running.started, proc)
    return kept_in(logs, [own_number(pid, proc) for pid in family], running.started) if logs else None
