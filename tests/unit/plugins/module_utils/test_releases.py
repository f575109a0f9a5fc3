# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._releases import (
    RELEASES,
    canonical,
    distribution,
    first_version,
    release_of,
    services,
    why_undecided,
)


@pytest.mark.parametrize(
    ("service", "version", "release"),
    [
        ("nova", "31.0.0", "2025.1"),
        ("nova", "33.0.1", "2026.1"),
        ("nova", "34.0.0", "2026.2"),
        ("keystone", "27.1.0", "2025.1"),
        ("keystone", "29.0.1", "2026.1"),
        ("glance", "32", "2026.1"),
        ("neutron", "28.0.2", "2026.1"),
        ("placement", "15.0.0", "2026.1"),
        ("nova", "34.0.0.0rc1", "2026.2"),
        ("glance", "33.0.0.0b3", "2026.2"),
        ("ironic", "21.1.0", "zed"),
        ("ironic", "35.1.0", "2026.1"),
        ("swift", "2.37.4", "2026.1"),
        ("swift", "2.3.0", None),
        ("nova", "33.1.0.dev373", None),
        ("nova", "35.0.0", None),
        ("nova", "1.0.0", None),
        ("horizon", "25.0.0", None),
        ("nova", "not a version", None),
        ("nova", "", None),
    ],
)
def test_release_of(service: str, version: str, release: str | None) -> None:
    """A version belongs to one release, or is not decided: never to the nearest one."""
    assert release_of(service, version) == release


def test_every_service_begins_anew_with_every_release() -> None:
    """The first version of a release belongs to it, for each service and release."""
    wrong = [(s, r.name) for s in services() for r in RELEASES if release_of(s, first_version(s, r.name)) != r.name]

    assert wrong == []


def test_canonical_takes_number_and_codename() -> None:
    """A release can be named either way, in any case."""
    assert [canonical("2026.1"), canonical("gazpacho"), canonical(" Gazpacho ")] == ["2026.1"] * 3


def test_canonical_names_what_is_known() -> None:
    """An unknown release is told beside the known ones."""
    with pytest.raises(ValueError, match=r"'2026.9' .* 2026.1, 2026.2"):
        canonical("2026.9")


def test_distributions_are_named_as_on_pypi() -> None:
    """Two services have a distribution of another name."""
    assert [distribution(name) for name in ("placement", "heat", "nova", "x")] == [
        "openstack-placement",
        "openstack-heat",
        "nova",
        "x",
    ]


def test_undecided_versions_have_a_reason() -> None:
    """Why a version decides nothing is told apart."""
    reasons = [why_undecided("nova", "33.1.0.dev3"), why_undecided("nova", "99.0.0"), why_undecided("x", "1")]

    assert ["development" in reasons[0], "outside" in reasons[1], "not in the table" in reasons[2]] == [True] * 3
