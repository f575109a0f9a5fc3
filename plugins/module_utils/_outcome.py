# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One check of one subject, and how a module returns its checks.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import time as clock
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

SCHEMA = 1


class Status(StrEnum):
    """What became of a check; ``unknown`` is never counted as good."""

    PASS = "pass"  # noqa: S105 - a status, not a password
    FAIL = "fail"
    ERROR = "error"
    SKIP = "skip"
    UNKNOWN = "unknown"


BAD = frozenset({Status.FAIL, Status.ERROR})
QUOTED = 5  # messages in a summary; the outcomes have all
WORDS = {
    Status.PASS: "passed",
    Status.FAIL: "failed",
    Status.ERROR: "broke",
    Status.SKIP: "skipped",
    Status.UNKNOWN: "could not be seen",
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One check of one subject; ``time`` is in seconds since the epoch, ``message`` is one sentence."""

    validator: str
    check: str
    service: str
    subject: str
    status: Status
    message: str
    phase: str = ""
    host: str = ""
    time: float = field(default_factory=clock.time)
    expected: Any = None
    found: Any = None
    evidence: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Turn a plain word into a Status; a word that is none raises ValueError."""
        object.__setattr__(self, "status", Status(self.status))

    def as_record(self) -> dict[str, Any]:
        """Return the JSON form: every field, plus ``schema``."""
        return {"schema": SCHEMA, **asdict(self), "status": str(self.status)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Outcome:
        """Read a record back; unknown fields are left out, a missing or odd status becomes ``unknown``."""
        known = {item.name: record[item.name] for item in fields(cls) if item.name in record}
        words = {"validator": "", "check": "", "service": "", "subject": "", "message": ""}
        if known.get("status") not in list(Status):
            known["status"] = Status.UNKNOWN
        return cls(**{**words, **known})


def is_bad(outcomes: Iterable[Outcome]) -> bool:
    """Whether any check failed or broke."""
    return any(outcome.status in BAD for outcome in outcomes)


def summary(outcomes: Sequence[Outcome]) -> str:
    """Say in one line how many checks ended how, and quote the first bad ones."""
    if not outcomes:
        return "Nothing was checked."
    counts = Counter(outcome.status for outcome in outcomes)
    parts = [f"{counts[status]} {WORDS[status]}" for status in Status if counts[status]]
    noun = "check" if len(outcomes) == 1 else "checks"
    text = f"{len(outcomes)} {noun}: {', '.join(parts)}."
    bad = list(dict.fromkeys(outcome.message for outcome in outcomes if outcome.status in BAD))
    more = [f"And {len(bad) - QUOTED} more."] if len(bad) > QUOTED else []
    return " ".join([text, *bad[:QUOTED], *more])


def finish(module: Any, outcomes: Sequence[Outcome], **more: Any) -> None:
    """Exit the module with its outcomes; fail it when one is bad, unless its option ``collect`` is set.

    ``more`` goes into the result as it is; ``changed`` defaults to false, ``msg`` to the summary.
    """
    result = {"changed": False, "msg": summary(outcomes), **more}
    result["outcomes"] = [outcome.as_record() for outcome in outcomes]
    if is_bad(outcomes) and not module.params.get("collect"):
        module.fail_json(**result)
    module.exit_json(**result)
