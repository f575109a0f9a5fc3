# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which OpenStack release something belongs to: a version, what an API offers, the head of a database, a record.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

A release begins, for each service, with the version in the table and ends where the next release begins. Most facts do
not change with every release, so what is returned are the releases that are possible; none of them is a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from ansible_collections.openstack.upgrade_test.plugins.module_utils import _release_data as data

MASTER = "master"
"""What is developed now, and so is no release yet."""
OTHER = "none that is known"
"""What lies between the releases of the table, or before them."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One release: its number (``2026.1``; before 2023 its name), codename, and whether it is a SLURP release."""

    name: str
    codename: str
    slurp: bool


RELEASES: tuple[Release, ...] = tuple(
    Release(name=name, codename=codename, slurp=slurp) for name, codename, slurp in data.RELEASES
)
NAMES: tuple[str, ...] = tuple(release.name for release in RELEASES)

_VERSION = re.compile(r"(?:\d+!)?(\d+(?:\.\d+)*)(?P<pre>\.?(?:a|b|rc)\d+)?(?P<rest>.*)")


def distribution(service: str) -> str:
    """Return the name of a service's distribution on PyPI; a service that is not in the table is named as itself."""
    return data.SERVICES.get(service, {}).get("distribution", service)


def services() -> tuple[str, ...]:
    """Return every service whose versions the table knows."""
    return tuple(data.SERVICES)


def canonical(name: str) -> str:
    """Return the number of a release given by number or codename; ValueError names those there are."""
    wanted = name.strip().lower()
    if wanted == MASTER:
        return MASTER
    for release in RELEASES:
        if wanted in (release.name.lower(), release.codename.lower()):
            return release.name
    known = f"{', '.join(NAMES)} and their codenames, and {MASTER}"
    raise ValueError(f"{name!r} is no release that is known here; known are {known}.")


def release_of(service: str, version: str) -> str | None:
    """Return the release that a version of a service belongs to, or None when the version does not decide it.

    A build from the stable branch of a release (``33.0.3.dev10``) is of that release. Undecided are builds from other
    branches (``33.1.0.dev373``), versions older or newer than the table, unknown services.
    """
    found = possible(service, version)
    decided = not is_development(version) or _is_stable_build(version)
    return found[0] if len(found) == 1 and decided else None


def is_development(version: str) -> bool:
    """Whether a version was built from a branch, and is none that was ever released."""
    match = _VERSION.fullmatch(version.strip())
    return match is not None and "dev" in match["rest"]


def _is_stable_build(version: str) -> bool:
    """Whether a build comes from the stable branch of a release that was out already."""
    match = _VERSION.fullmatch(version.strip())
    if match is None or match["pre"]:
        return False
    numbers = _plain(match[1])
    return _is_stable_branch(numbers) and numbers[2] > 0


def possible(service: str, version: str) -> tuple[str, ...]:
    """Return the releases that a version of a service may belong to, none when it is outside of the table.

    Between branching and the first beta the next release is built under the number of the one before: ``33.1.0.dev5``
    is of the release of 33.0 or of a later one, while ``33.0.3.dev5`` comes from the stable branch of 33.0.
    """
    match = _VERSION.fullmatch(version.strip())
    if match is None or service not in data.SERVICES:
        return ()
    numbers = _plain(match[1])
    begun = [name for name, first in _firsts(service).items() if (*numbers, 0, 0) >= _plain(first)]
    end = data.SERVICES[service]["end"]
    is_newer = end != "?" and numbers >= _plain(end)
    if "dev" not in match["rest"]:
        return () if is_newer else tuple(begun[-1:])
    if is_newer:
        return () if _is_stable_build(version) else (MASTER,)
    if match["pre"] or _is_stable_branch(numbers):
        return tuple(begun[-1:])
    return (*NAMES[NAMES.index(begun[-1]) :][:2], MASTER) if begun else ()


def _is_stable_branch(numbers: tuple[int, ...]) -> bool:
    """Whether only the last of three numbers went up, as fixes do; development lets the second one go up."""
    return len(numbers) > 2 and numbers[1] == 0


def possible_api(service: str, version: str) -> tuple[str, ...]:
    """Return the releases whose API offers just this version as its newest; none when the table cannot tell.

    What is newer than the table is ``MASTER``, what no release of it offers ``OTHER``.
    """
    known = {name: value for name, value in _values(service, "api").items() if value != "?"}
    if not known or not _comparable(version):
        return ()
    found = tuple(name for name, value in known.items() if _fits(version, value))
    is_newer = all(_comparable(version) > _comparable(part) for part in _parts([*known.values()][-1]))
    return found or ((MASTER,) if is_newer else (OTHER,))


def possible_heads(service: str, branch: str, head: str) -> tuple[str, ...]:
    """Return the releases with which a branch (or database) of a service's schema ends at this revision."""
    return tuple(name for name, value in _values(service, f"heads {branch}").items() if head in value.split("|"))


def branches(service: str) -> tuple[str, ...]:
    """Return the branches or databases of a service whose heads the table knows."""
    facts = data.SERVICES.get(service, {})
    return tuple(name.removeprefix("heads ") for name in facts if name.startswith("heads "))


def branch_of(service: str, head: str) -> str:
    """Return to which branch or database of a service a revision belongs; empty when the table does not know it."""
    return next((branch for branch in branches(service) if possible_heads(service, branch, head)), "")


def possible_record(service: str, number: int) -> tuple[str, ...]:
    """Return the releases whose processes write this version of themselves into the service's records; as with APIs."""
    known = {name: int(value) for name, value in _values(service, "record").items() if value != "?"}
    if not known:
        return ()
    found = tuple(name for name, value in known.items() if value == number)
    return found or ((MASTER,) if number > max(known.values()) else (OTHER,))


def first_version(service: str, release: str) -> str:
    """Return the version with which a release of a service begins, such as ``33.0``; empty when it is not known."""
    return _firsts(service).get(release, "")


def why_undecided(service: str, version: str) -> str:
    """Say in half a sentence why ``release_of`` returned None."""
    if service not in data.SERVICES:
        return f"the versions of {service} are not in the table of releases"
    if is_development(version):
        found = possible(service, version)
        which = f" ({' or '.join(found)})" if found else ""
        return f"{version} is a development build, whose number does not tell its release{which}"
    return f"{version} is outside the table of releases ({NAMES[0]} to {NAMES[-1]})"


def _firsts(service: str) -> dict[str, str]:
    return {name: value for name, value in _values(service, "versions").items() if value != "?"}


@cache
def _values(service: str, fact: str) -> dict[str, str]:
    """Return a fact's value at each release: each holds until the next one."""
    changes = dict(word.split("=", 1) for word in data.SERVICES.get(service, {}).get(fact, "").split())
    return dict(_filled(changes))


def _filled(changes: dict[str, str]) -> Iterator[tuple[str, str]]:
    value = "?"
    for name in NAMES:
        value = changes.get(name, value)
        yield name, value


def _fits(version: str, value: str) -> bool:
    """Whether a version is a value of the table: one of its alternatives, or in its range."""
    if ".." in value:
        low, high = _parts(value)
        return _comparable(low) <= _comparable(version) <= _comparable(high)
    return version in _parts(value)


def _parts(value: str) -> list[str]:
    return re.split(r"\||\.\.", value)


def _comparable(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _plain(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
