# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What evidence of a release is worth: the releases it leaves possible against the releases that are wanted.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

The word is stronger than the status of a check: only what was read from a running process can confirm a release. What a
database, a record or an API document leaves possible may fit, which is ``consistent``, or not, which is ``refuted``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ansible_collections.openstack.upgrade_test.plugins.module_utils._releases import canonical, first_version

VALIDATOR = "release_version"
ANY = "any"
NO_HOST = "no host access"
_LEAST_COMMIT = 7  # digits that name a commit


class Verdict(StrEnum):
    """What some evidence says of the release that is wanted."""

    CONFIRMED = "confirmed"
    CONSISTENT = "consistent"
    REFUTED = "refuted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Target:
    """What should run: any of these ``releases`` (none: whatever it is), or of a service the build that is named."""

    releases: tuple[str, ...] = ()
    builds: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_one(self) -> bool:
        """Whether exactly one release is right, so that no upgrade is under way."""
        return len(self.releases) == 1

    def words(self, service: str) -> str:
        """Say what should run of a service, such as ``2026.1 (nova 33.0)``."""
        if service in self.builds:
            return f"{service} {self.builds[service]}"
        firsts = {release: first_version(service, release) for release in self.releases}
        return " or ".join(f"{name} ({service} {first})" if first else name for name, first in firsts.items())


def target_of(releases: Sequence[str], builds: Mapping[str, str] | None = None) -> Target:
    """Return the target that options name; ValueError says what is no release."""
    names = [name for name in releases if name.strip().lower() != ANY]
    numbers = tuple(dict.fromkeys(canonical(name) for name in names))
    return Target(
        releases=numbers if len(names) == len(releases) else (),
        builds={service: str(build) for service, build in (builds or {}).items()},
    )


def weigh(possible: Sequence[str], wanted: Sequence[str], *, direct: bool) -> Verdict:
    """Return what evidence says: ``direct`` is what shows the very code that runs, and all else is only consistent."""
    if not possible:
        return Verdict.UNKNOWN
    if wanted and not set(possible) & set(wanted):
        return Verdict.REFUTED
    return Verdict.CONFIRMED if direct and len(possible) == 1 else Verdict.CONSISTENT


def is_build(wanted: str, version: str, commit: str) -> bool:
    """Whether a version or a commit is the build that is wanted; a commit may be given by its first digits."""
    if wanted == version:
        return True
    longer, shorter = sorted((wanted, commit), key=len, reverse=True)
    return len(shorter) >= _LEAST_COMMIT and longer.startswith(shorter)


def either(possible: Sequence[str]) -> str:
    """Say which releases are possible: two by name, more as from the first to the last."""
    if len(possible) <= 2:
        return " or ".join(possible)
    return f"{possible[0]} to {possible[-1]}"
