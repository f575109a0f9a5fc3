# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which OpenStack release a service's version belongs to.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

A release begins, for each service, with the version in the table and ends where the next release begins. The table is
Python and not data, because only Python travels to the hosts. Versions of development builds decide nothing: between
branching and the first beta, the next release is built under the number of the release before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Release:
    """One release: its number (``2026.1``; before 2023 its name), codename, and whether it is a SLURP release."""

    name: str
    codename: str
    slurp: bool


RELEASES: tuple[Release, ...] = (
    Release(name="yoga", codename="Yoga", slurp=False),
    Release(name="zed", codename="Zed", slurp=False),
    Release(name="2023.1", codename="Antelope", slurp=True),
    Release(name="2023.2", codename="Bobcat", slurp=False),
    Release(name="2024.1", codename="Caracal", slurp=True),
    Release(name="2024.2", codename="Dalmatian", slurp=False),
    Release(name="2025.1", codename="Epoxy", slurp=True),
    Release(name="2025.2", codename="Flamingo", slurp=False),
    Release(name="2026.1", codename="Gazpacho", slurp=True),
    Release(name="2026.2", codename="Hibiscus", slurp=False),
)

# For each service: its distribution on PyPI, the version with which each of RELEASES begins, and the first version
# that is newer than all of them (of ironic and swift: than what is known of them).
_VERSIONS: dict[str, tuple[str, str, str]] = {
    "barbican": ("barbican", "14.0 15.0 16.0 17.0 18.0 19.0 20.0 21.0 22.0 23.0", "24.0"),
    "cinder": ("cinder", "20.0 21.0 22.0 23.0 24.0 25.0 26.0 27.0 28.0 29.0", "30.0"),
    "designate": ("designate", "14.0 15.0 16.0 17.0 18.0 19.0 20.0 21.0 22.0 23.0", "24.0"),
    "glance": ("glance", "24.0 25.0 26.0 27.0 28.0 29.0 30.0 31.0 32.0 33.0", "34.0"),
    "heat": ("openstack-heat", "18.0 19.0 20.0 21.0 22.0 23.0 24.0 25.0 26.0 27.0", "28.0"),
    "ironic": ("ironic", "19.0 20.2 21.2 22.0 23.1 25.0 27.0 30.0 33.0 36.0", "40.0"),
    "keystone": ("keystone", "21.0 22.0 23.0 24.0 25.0 26.0 27.0 28.0 29.0 30.0", "31.0"),
    "magnum": ("magnum", "14.0 15.0 16.0 17.0 18.0 19.0 20.0 21.0 22.0 23.0", "24.0"),
    "manila": ("manila", "14.0 15.0 16.0 17.0 18.0 19.0 20.0 21.0 22.0 23.0", "24.0"),
    "neutron": ("neutron", "20.0 21.0 22.0 23.0 24.0 25.0 26.0 27.0 28.0 29.0", "30.0"),
    "nova": ("nova", "25.0 26.0 27.0 28.0 29.0 30.0 31.0 32.0 33.0 34.0", "35.0"),
    "octavia": ("octavia", "10.0 11.0 12.0 13.0 14.0 15.0 16.0 17.0 18.0 19.0", "20.0"),
    "placement": ("openstack-placement", "7.0 8.0 9.0 10.0 11.0 12.0 13.0 14.0 15.0 16.0", "17.0"),
    "swift": ("swift", "2.29 2.30 2.31 2.32 2.33 2.34 2.35 2.36 2.37 2.38", "2.39"),
}

_VERSION = re.compile(r"(?:\d+!)?(\d+(?:\.\d+)*)(?P<pre>\.?(?:a|b|rc)\d+)?(?P<rest>.*)")


def distribution(service: str) -> str:
    """Return the name of a service's distribution on PyPI; a service that is not in the table is named as itself."""
    entry = _VERSIONS.get(service)
    return entry[0] if entry else service


def services() -> tuple[str, ...]:
    """Return every service whose versions the table knows."""
    return tuple(_VERSIONS)


def canonical(name: str) -> str:
    """Return the number of a release given by number or codename; ValueError names those there are."""
    for release in RELEASES:
        if name.strip().lower() in (release.name.lower(), release.codename.lower()):
            return release.name
    known = ", ".join(release.name for release in RELEASES)
    raise ValueError(f"{name!r} is no release that is known here; known are {known} and their codenames.")


def release_of(service: str, version: str) -> str | None:
    """Return the release that a version of a service belongs to, or None when the version does not decide it.

    Undecided are development builds (``33.1.0.dev373``), versions older or newer than the table, unknown services.
    """
    numbers = _numbers(version)
    if numbers is None or service not in _VERSIONS:
        return None
    firsts, end = _VERSIONS[service][1:]
    if numbers >= _plain(end):
        return None
    begun = [release.name for release, first in zip(RELEASES, firsts.split(), strict=True) if numbers >= _plain(first)]
    return begun[-1] if begun else None


def first_version(service: str, release: str) -> str:
    """Return the version with which a release of a service begins, such as ``33.0``; empty when it is not known."""
    names = [known.name for known in RELEASES]
    if service not in _VERSIONS or release not in names:
        return ""
    return _VERSIONS[service][1].split()[names.index(release)]


def why_undecided(service: str, version: str) -> str:
    """Say in half a sentence why ``release_of`` returned None."""
    if service not in _VERSIONS:
        return f"the versions of {service} are not in the table of releases"
    if "dev" in version:
        return f"{version} is a development build, whose number does not tell its release"
    return f"{version} is outside the table of releases ({RELEASES[0].name} to {RELEASES[-1].name})"


def _plain(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _numbers(version: str) -> tuple[int, ...] | None:
    """Return the leading numbers of a version, at least three; None for development builds and what is no version.

    A beta or a release candidate (``33.0.0.0rc1``) is of the release that it leads to.
    """
    match = _VERSION.fullmatch(version.strip())
    if match is None or "dev" in match["rest"]:
        return None
    return (*_plain(match[1]), 0, 0)
