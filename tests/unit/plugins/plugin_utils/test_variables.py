# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._variables import complaints, known_variables

ROLES = Path(__file__).resolve().parents[4] / "roles"
KNOWN = frozenset({"upgrade_test_cloud", "upgrade_test_clouds_yaml", "upgrade_test_to_release"})


def test_known_names_are_no_trouble() -> None:
    """Variables that a role knows, and those of somebody else, are not complained about."""
    assert complaints(["upgrade_test_cloud", "ansible_host", "upgrade_testing"], KNOWN) == []


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("upgrade_test_clud", "upgrade_test_cloud"),
        ("upgrade_test_cloud_yaml", "upgrade_test_clouds_yaml"),
        ("upgrade_test_to_relase", "upgrade_test_to_release"),
    ],
)
def test_a_misspelt_name_gets_the_nearest(typo: str, meant: str) -> None:
    """A typing error is answered with the name that was meant."""
    (sentence,) = complaints([typo], KNOWN)

    assert sentence == f"{typo} is not a variable of openstack.upgrade_test; did you mean {meant}?"


def test_a_strange_name_gets_no_guess() -> None:
    """A name that resembles nothing is refused without a misleading guess, although the prefix is the same."""
    (sentence,) = complaints(["upgrade_test_zzz"], KNOWN)

    assert "did you mean" not in sentence


def test_every_complaint_is_there_once() -> None:
    """A name that several hosts set is complained about once, in a stable order."""
    found = complaints(["upgrade_test_zz", "upgrade_test_yy", "upgrade_test_zz"], KNOWN)

    assert [sentence.split()[0] for sentence in found] == ["upgrade_test_yy", "upgrade_test_zz"]


def test_names_come_from_all_entry_points(tmp_path: Path) -> None:
    """The options of each entry point of each role are known."""
    meta = tmp_path / "some_role" / "meta"
    meta.mkdir(parents=True)
    (meta / "argument_specs.yml").write_text(
        "argument_specs:\n  main: {options: {upgrade_test_a: {}}}\n  other: {options: {upgrade_test_b: {}}}\n"
    )

    assert known_variables(tmp_path) == {"upgrade_test_a", "upgrade_test_b"}


def test_every_default_is_documented() -> None:
    """A variable with a default in a role is described in an argument specification, or users could not set it."""
    import yaml

    described = [path.read_text() for path in ROLES.glob("*/meta/argument_specs.yml")]
    known = {
        name
        for text in described
        for spec in yaml.safe_load(text)["argument_specs"].values()
        for name in spec["options"]
    }
    names = {name for path in ROLES.glob("*/defaults/main.yml") for name in yaml.safe_load(path.read_text()) or {}}

    assert {name for name in names if name.startswith("upgrade_test_")} - known == set()
