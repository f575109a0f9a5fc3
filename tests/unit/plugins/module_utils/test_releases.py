# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._releases import (
    MASTER,
    OTHER,
    RELEASES,
    branch_of,
    branches,
    canonical,
    distribution,
    first_version,
    possible,
    possible_api,
    possible_heads,
    possible_record,
    release_of,
    services,
    why_undecided,
)
from hypothesis import given
from hypothesis import strategies as st


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
        ("nova", "33.0.3.dev10", "2026.1"),
        ("nova", "33.0.0.0rc2.dev4", None),
        ("nova", "34.0.0.dev4", None),
        ("swift", "2.37.1.dev4", None),
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


@pytest.mark.parametrize(
    ("service", "version", "releases"),
    [
        ("nova", "33.0.1", ("2026.1",)),
        ("nova", "33.0.3.dev10", ("2026.1",)),
        ("nova", "33.1.0.dev373", ("2026.1", "2026.2", MASTER)),
        ("nova", "34.0.0.0b2.dev5", ("2026.2",)),
        ("nova", "34.1.0.dev2", ("2026.2", MASTER)),
        ("nova", "35.0.0.0b1.dev2", (MASTER,)),
        ("swift", "2.37.1.dev4", ("2026.1", "2026.2", MASTER)),
        ("nova", "35.0.2.dev2", ()),
        ("nova", "1.0.0.dev1", ()),
        ("horizon", "25.0.0", ()),
    ],
)
def test_a_development_build_leaves_open_what_it_leaves_open(
    service: str, version: str, releases: tuple[str, ...]
) -> None:
    """The number of a build from a branch names every release that it may lead to, and no other."""
    assert possible(service, version) == releases


@pytest.mark.parametrize(
    ("service", "version", "releases"),
    [
        ("nova", "2.103", ("2026.1",)),
        ("nova", "2.100", ("2025.1", "2025.2")),
        ("nova", "2.9", (OTHER,)),
        ("nova", "2.101", (OTHER,)),
        ("nova", "2.110", (MASTER,)),
        ("cinder", "3.71", ("2024.1", "2024.2", "2025.1", "2025.2", "2026.1", "2026.2")),
        ("glance", "v2.17", ("2024.2", "2025.1", "2025.2", "2026.1", "2026.2")),
        ("glance", "v2.18", ("2026.2",)),
        ("ironic", "1.105", ("2026.1",)),
        ("ironic", "1.97", (OTHER,)),
        ("heat", "1.0", ()),
        ("neutron", "v2.0", ()),
        ("nova", "", ()),
    ],
)
def test_an_api_leaves_open_every_release_that_offers_it(service: str, version: str, releases: tuple[str, ...]) -> None:
    """The newest version that an API offers fits the releases that offer just this, however many they are."""
    assert possible_api(service, version) == releases


def test_heads_of_a_database_are_of_their_branch() -> None:
    """A revision is known by its branch, and fits every release whose schema ends with it."""
    assert branches("keystone") == ("contract", "expand")
    assert branch_of("keystone", "e8725d6fa226") == "expand"
    assert possible_heads("keystone", "expand", "e8725d6fa226") == ("2025.2",)
    assert possible_heads("nova", "main", "2903cd72dc14") == ("2025.1", "2025.2", "2026.1")
    assert (branch_of("keystone", "0"), possible_heads("nova", "main", "0"), branches("swift")) == ("", (), ())


def test_records_of_services_name_their_release() -> None:
    """Nova's processes write a number into their records that changes with nearly every release."""
    found = [possible_record("nova", number) for number in (68, 72, 73, 99)]

    assert found == [("2025.1",), ("2026.1",), (OTHER,), (MASTER,)]
    assert possible_record("glance", 1) == ()


def test_master_can_be_named() -> None:
    """Who tests what is developed now says so."""
    assert canonical("Master") == MASTER


NUMBERS = st.tuples(st.integers(0, 45), st.integers(0, 40), st.integers(0, 9))


@given(service=st.sampled_from(services()), one=NUMBERS, other=NUMBERS)
def test_a_newer_version_is_never_of_an_older_release(
    service: str, one: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    """Of two released versions the newer one is of the same release or of a later one, and of one only."""
    names = [release.name for release in RELEASES]
    found = [possible(service, ".".join(map(str, version))) for version in sorted((one, other))]

    assert all(len(releases) <= 1 for releases in found)
    if all(found):
        assert names.index(found[0][0]) <= names.index(found[1][0])


@given(service=st.sampled_from(services()), version=NUMBERS, number=st.integers(1, 999))
def test_a_build_is_at_least_as_undecided_as_its_version(
    service: str, version: tuple[int, int, int], number: int
) -> None:
    """What a build from a branch leaves possible holds the release of the same number, wherever that is known."""
    text = ".".join(map(str, version))
    released, built = possible(service, text), possible(service, f"{text}.dev{number}")

    assert set(released) <= set(built)
    if release_of(service, f"{text}.dev{number}"):
        assert built == released
