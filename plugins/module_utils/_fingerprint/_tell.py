# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outcomes of a fingerprint: what was seen, what is apart, what does not agree. Pure.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._compare import (
    ADDED,
    CHANGED,
    Comparison,
    Difference,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._model import Fingerprint, Part
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._step import Fault, InStep
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status

VALIDATOR = "cloud_fingerprint"
MOST = 20  # of one kind and in one look, so many are told one by one
About = tuple[str, str, str]
"""Which check of which service, in which phase."""


def told_of_look(fingerprint: Fingerprint, phase: str) -> list[Outcome]:
    """Return an outcome for each service: what was seen of it, and what was not."""
    services: dict[str, dict[str, Part]] = {}
    for kind, part in fingerprint.parts.items():
        services.setdefault(part.service, {})[kind] = part
    return [_look(service, parts, phase) for service, parts in services.items()]


def _look(service: str, parts: dict[str, Part], phase: str) -> Outcome:
    unseen = {kind: part.trouble for kind, part in parts.items() if part.trouble}
    seen = [f"{len(part.things)} {kind}" for kind, part in parts.items() if not part.trouble and not part.absent]
    text = f"Of {service} were seen: {', '.join(seen) or 'nothing'}."
    for kind, trouble in unseen.items():
        text += f" Not seen were the {kind}: {trouble}"
    status = Status.UNKNOWN if unseen else Status.PASS
    return _outcome(("looked", service, phase), service, status, text, evidence={"unseen": unseen})


def told_of_comparison(found: Iterable[Comparison], phase: str, taken: float) -> list[Outcome]:
    """Return the outcomes of a comparison: one for each kind that is as it was, else one for each thing that is not."""
    return [outcome for one in found for outcome in _compared(one, phase, taken)]


def _compared(one: Comparison, phase: str, taken: float) -> list[Outcome]:
    about, evidence = (f"{one.kind}_kept", one.service, phase), {"since": taken}
    if one.unknown:
        return [_outcome(about, one.kind, Status.UNKNOWN, one.unknown)]
    if one.absent:
        text = f"This cloud has no {one.kind}."
        return [_outcome(about, one.kind, Status.SKIP, text)]
    if not one.apart:
        text = f"All {one.count} {one.kind} are as they were{_allowed(one.allowed)}."
        more = {**evidence, "allowed": [each.sentence for each in one.allowed[:MOST]]}
        return [_outcome(about, one.kind, Status.PASS, text, evidence=more)]
    told = [_difference(about, each, evidence) for each in one.apart[:MOST]]
    rest = len(one.apart) - len(told)
    if rest > 0:
        text = f"{rest} more {one.kind} are not as they were."
        told.append(_outcome(about, one.kind, Status.FAIL, text, evidence=evidence))
    return told


def _allowed(allowed: Sequence[Difference]) -> str:
    return f", but for {len(allowed)} changes that are allowed" if allowed else ""


def _difference(about: About, one: Difference, evidence: dict[str, Any]) -> Outcome:
    sides: dict[str, Any] = {"expected": "there", "found": "gone"}
    if one.change == ADDED:
        sides = {"expected": "not there", "found": "there"}
    if one.change == CHANGED:
        sides = {
            "expected": {name: old for name, (old, _new) in one.fields.items()},
            "found": {name: new for name, (_old, new) in one.fields.items()},
        }
    more = {**evidence, "id": one.id, "change": one.change}
    return _outcome(about, f"{one.one} {one.name}", Status.FAIL, one.sentence, evidence=more, **sides)


def told_of_steps(found: Iterable[InStep], phase: str) -> list[Outcome]:
    """Return the outcomes of what services have to agree about."""
    return [outcome for one in found for outcome in _step(one, phase)]


def _step(one: InStep, phase: str) -> list[Outcome]:
    step = one.step
    about = (step.check, step.service, phase)
    if one.unknown:
        return [_outcome(about, step.what, Status.UNKNOWN, one.unknown)]
    if not one.faults:
        text = f"Looked at {one.count} {step.what}: all agree."
        return [_outcome(about, step.what, Status.PASS, text)]
    told = [_fault(about, fault) for fault in one.faults[:MOST]]
    rest = len(one.faults) - len(told)
    if rest > 0:
        text = f"{rest} more of the {step.what}: they do not agree."
        told.append(_outcome(about, step.what, Status.FAIL, text))
    return told


def _fault(about: About, fault: Fault) -> Outcome:
    return _outcome(about, fault.subject, Status.FAIL, fault.sentence, expected=fault.expected, found=fault.found)


def _outcome(about: About, subject: str, status: Status, text: str, **more: Any) -> Outcome:
    check, service, phase = about
    return Outcome(
        validator=VALIDATOR,
        check=check,
        service=service,
        subject=subject,
        status=status,
        message=text,
        phase=phase,
        **more,
    )
