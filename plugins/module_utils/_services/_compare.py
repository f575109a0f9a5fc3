# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found when something is looked at: pure comparisons, and how they are put into words.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one look at one subject brought; the check that asked for it gives it its name."""

    subject: str
    status: Status
    message: str
    expected: Any = None
    found: Any = None
    evidence: dict[str, Any] = field(default_factory=dict)

    def as_outcome(self, *, validator: str, check: str, service: str, phase: str, host: str = "") -> Outcome:
        """Return the outcome of the check that has asked for it."""
        return Outcome(
            validator=validator,
            check=check,
            service=service,
            subject=self.subject,
            host=host,
            status=self.status,
            message=self.message,
            phase=phase,
            expected=self.expected,
            found=self.found,
            evidence=self.evidence,
        )


def finding(subject: str, good: bool, message: str, **more: Any) -> Finding:
    """Return a finding that passes or fails."""
    return Finding(subject=subject, status=Status.PASS if good else Status.FAIL, message=message, **more)


def skipped(subject: str, message: str) -> Finding:
    """Return the finding of a check that does not apply here."""
    return Finding(subject=subject, status=Status.SKIP, message=message)


def unseen(subject: str, message: str, **more: Any) -> Finding:
    """Return the finding of a check that could not see what it looks at."""
    return Finding(subject=subject, status=Status.UNKNOWN, message=message, **more)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the fields of ``before`` that differ now, each with both values; fields that are new do not count."""
    return {key: (value, after.get(key)) for key, value in before.items() if after.get(key) != value}


def in_words(apart: Mapping[str, tuple[Any, Any]]) -> str:
    """Return differences as text."""
    return "; ".join(f"{key} was {before!r} and is {after!r}" for key, (before, after) in apart.items())


def sides(apart: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    """Return differences as what was expected and what was found."""
    return {
        "expected": {key: before for key, (before, _after) in apart.items()},
        "found": {key: after for key, (_before, after) in apart.items()},
    }


def unchanged(what: str, subject: str, before: Mapping[str, Any], now: Mapping[str, Any], **evidence: Any) -> Finding:
    """Say whether something still is what it was."""
    apart = differences(before, now)
    message = f"{what} {subject} changed: {in_words(apart)}." if apart else f"{what} {subject} is unchanged."
    return finding(subject, not apart, message, evidence=evidence, **sides(apart))


def in_step(service: str, used: Mapping[str, int], counted: Mapping[str, int]) -> Finding:
    """Say whether the usage that a quota is held against is what there really is."""
    apart = differences(counted, used)
    words = "; ".join(f"{key}: {there} there, {told} counted" for key, (there, told) in apart.items())
    message = f"The quota usage of {service} is out of step: {words}." if apart else _agrees(service, counted)
    return finding(f"{service} quota", not apart, message, **sides(apart))


def _agrees(service: str, counted: Mapping[str, int]) -> str:
    words = ", ".join(f"{there} {key}" for key, there in counted.items())
    return f"The quota usage of {service} is what there is: {words}."
