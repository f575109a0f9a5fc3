# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of the processes of one host: of each its verdict, and whether the host is upgraded by half.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._running import Running
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._verdict import (
    VALIDATOR,
    Target,
    Verdict,
    either,
    is_build,
    weigh,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Service

_MOST_NAMES = 3


def judge(found: Sequence[Running], target: Target, phase: str) -> list[Outcome]:
    """Return one outcome for each process: whether its release is the one wanted, or, with none wanted, is known."""
    return [_judge_one(running, found, target, phase) for running in found]


def _judge_one(running: Running, found: Sequence[Running], target: Target, phase: str) -> Outcome:
    verdict, message = verdict_on(running, target)
    if verdict is Verdict.REFUTED:
        message += half_upgraded(running, found)
    return Outcome(
        validator=VALIDATOR,
        check="release",
        service=running.service,
        subject=running.component,
        host=running.host,
        phase=phase,
        status=_STATUS[verdict],
        message=message,
        expected=target.builds.get(running.service) or " or ".join(target.releases) or None,
        found=running.release or None,
        evidence={
            "verdict": str(verdict),
            "pid": running.pid,
            "started": round(running.started, 2),
            "version": running.version,
            **running.evidence,
        },
    )


# A process whose version fits, without being decided by it, is not proven to be of the release.
_STATUS = {
    Verdict.CONFIRMED: Status.PASS,
    Verdict.CONSISTENT: Status.UNKNOWN,
    Verdict.REFUTED: Status.FAIL,
    Verdict.UNKNOWN: Status.UNKNOWN,
}


def verdict_on(running: Running, target: Target) -> tuple[Verdict, str]:
    """Return the verdict on one process and the sentence that says it."""
    label, service = running.label, running.service
    if running.stale:
        return Verdict.REFUTED, f"{label} runs code that is no longer installed: {running.problem}. Restart it."
    if not running.version:
        return Verdict.UNKNOWN, f"The release of {label} (pid {running.pid}) is not known: {running.problem}."
    if service in target.builds:
        return _build_verdict(running, target)
    verdict = weigh(running.possible, target.releases, direct=running.direct and bool(running.release))
    runs = f"{label} runs {service} {running.version} ({either(running.possible) or 'release not known'})"
    if verdict is Verdict.CONFIRMED:
        return verdict, f"{runs}."
    if verdict is Verdict.REFUTED:
        return verdict, f"{runs} and should run {target.words(service)}."
    reason = running.problem or "it runs from a working tree, which may hold other code than its metadata says"
    return verdict, f"The release of {label} (pid {running.pid}) is not known: {reason}."


def _build_verdict(running: Running, target: Target) -> tuple[Verdict, str]:
    wanted = target.builds[running.service]
    commit = f", commit {running.commit}" if running.commit else ""
    runs = f"{running.label} runs {running.service} {running.version}{commit}"
    if is_build(wanted, running.version, running.commit):
        return Verdict.CONFIRMED, f"{runs}."
    return Verdict.REFUTED, f"{runs} and should run {target.words(running.service)}."


def half_upgraded(running: Running, found: Sequence[Running]) -> str:
    """Say of a host on which others run another release than this process that it is upgraded by half.

    Of one whose code was replaced it is not known which release it runs: it may well be the same.
    """
    others = [one for one in found if running.release and one.release and one.release != running.release]
    if not others:
        return ""
    kinds = sorted({one.component for one in others})
    names = ", ".join(kinds[:_MOST_NAMES]) + (f" and {len(kinds) - _MOST_NAMES} more" if kinds[_MOST_NAMES:] else "")
    releases = either(sorted({one.release for one in others}))
    return f" {running.host} is upgraded by half: {names} there run {releases}."


def releases_on(found: Sequence[Running]) -> dict[str, list[str]]:
    """Return which components of a host run which release; ``stale`` and ``unknown`` stand for what is none."""
    releases: dict[str, set[str]] = {}
    for running in found:
        name = running.release or ("stale" if running.stale else "unknown")
        releases.setdefault(name, set()).add(running.component)
    return {name: sorted(components) for name, components in sorted(releases.items())}


def absence(host: str, services: Sequence[Service], phase: str) -> Outcome:
    """Return the one outcome of a host on which no process was found."""
    names = ", ".join(service.name for service in services)
    return Outcome(
        validator=VALIDATOR,
        check="release",
        service="",
        subject=host,
        host=host,
        phase=phase,
        status=Status.SKIP,
        message=f"No process of {names} runs on {host}.",
    )
