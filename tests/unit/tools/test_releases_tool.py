# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.tools.releases import TABLE, ToolError, load, render, run

NEXT = "2027.1"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "_release_data.py"
    path.write_text(TABLE.read_text(encoding="utf-8"), encoding="utf-8")
    return path


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """The next release of three services, laid out as their packages are."""
    files = {
        "nova-35.0.1.dist-info/METADATA": "Version: 35.0.1\n",
        "nova/api/openstack/api_version_request.py": '_MIN_API_VERSION = "2.1"\n_MAX_API_VERSION = "2.107"\n',
        "nova/objects/service.py": "SERVICE_VERSION = 77\n",
        "nova/db/main/migrations/versions/ab450ba04102_a.py": "revision = 'ab450ba04102'\ndown_revision = 'x'\n",
        "nova/db/main/migrations/versions/cc_b.py": "revision: str = 'cc'\ndown_revision: str = 'ab450ba04102'\n",
        "nova/db/api/migrations/versions/cdeec0c85668_a.py": 'revision = "cdeec0c85668"\ndown_revision = None\n',
        "neutron-30.0.0.dist-info/METADATA": "",
        "neutron/db/migration/alembic_migrations/versions/kilo_initial.py": 'revision = "k"\ndown_revision = None\n',
        "neutron/db/migration/alembic_migrations/versions/a/contract/c_.py": 'revision = "c"\ndown_revision = "k"\n',
        "neutron/db/migration/alembic_migrations/versions/b/expand/e_.py": (
            'revision = "e"\ndown_revision = ("d", "k")\n'
        ),
        "neutron/db/migration/alembic_migrations/versions/b/expand/d_.py": 'revision = "d"\ndown_revision = "k"\n',
        "swift-2.39.2.dist-info/METADATA": "",
        "openstack_placement-17.0.0.dist-info/METADATA": "",
        "placement/microversion.py": "VERSIONS = [\n    '1.0',  # first\n    '1.40',  # it's new\n]\n\nX = ['9.9']\n",
    }
    for name, text in files.items():
        path = tmp_path / "site-packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "site-packages"


def test_the_table_is_as_the_tool_writes_it() -> None:
    """Nobody has edited the file in a form that the next run of the tool would undo."""
    assert render(load(TABLE)) == TABLE.read_text(encoding="utf-8")


def test_a_new_release_is_learnt_from_packages(table: Path, packages: Path) -> None:
    """Versions, API, records and heads of each branch come from the installed files."""
    words = [NEXT, "--codename", "Indri", "--slurp", "--packages", str(packages), "--table", str(table), "--write"]
    said: list[str] = []

    assert run(words, said.append) == 0
    found = runpy.run_path(str(table))
    nova, neutron, swift = (found["SERVICES"][name] for name in ("nova", "neutron", "swift"))
    assert found["RELEASES"][-1] == (NEXT, "Indri", True)
    assert [nova[name].split()[-1] for name in ("versions", "api", "record", "heads main")] == [
        f"{NEXT}=35.0",
        f"{NEXT}=2.107",
        f"{NEXT}=77",
        f"{NEXT}=cc",
    ]
    assert nova["heads api"].split()[-1] == "2023.2=cdeec0c85668"
    assert [neutron[f"heads {branch}"].split()[-1] for branch in ("expand", "contract")] == [f"{NEXT}=e", f"{NEXT}=c"]
    assert (nova["end"], swift["versions"].split()[-1], swift["end"]) == ("36.0", f"{NEXT}=2.39", "2.40")
    assert found["SERVICES"]["placement"]["api"].split()[-1] == f"{NEXT}=1.40"


def test_nothing_is_made_up_of_services_that_are_not_there(table: Path, packages: Path) -> None:
    """A service without a package has no versions of the new release, and keeps those of the release before."""
    said: list[str] = []
    run([NEXT, "--codename", "Indri", "--packages", str(packages), "--table", str(table), "--write"], said.append)
    ironic = runpy.run_path(str(table))["SERVICES"]["ironic"]

    assert [ironic[name].split()[-2:] for name in ("versions", "heads main")] == [
        ["2026.2=36.0", f"{NEXT}=?"],
        ["2026.2=9fb44677ef15", f"{NEXT}=?"],
    ]
    assert "ironic: no package was found; nothing is known of it" in said


def test_a_second_run_changes_nothing(table: Path, packages: Path) -> None:
    """What is in the table already is not written twice, and not said to be a change."""
    words = [NEXT, "--codename", "Indri", "--packages", str(packages), "--table", str(table), "--write"]
    run(words, [].append)
    first, said = table.read_text(encoding="utf-8"), list[str]()
    run(words, said.append)

    assert table.read_text(encoding="utf-8") == first
    assert [line for line in said if line.startswith(("+", "-"))] == []


def test_what_was_not_found_is_named(table: Path, packages: Path) -> None:
    """A fact that is taken over unseen is said, so that somebody looks it up."""
    (packages / "nova/objects/service.py").unlink()
    said: list[str] = []
    run([NEXT, "--codename", "Indri", "--packages", str(packages), "--table", str(table)], said.append)

    assert "nova: record was not found; 74 is taken over" in said
    assert table.read_text(encoding="utf-8") == TABLE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "named"),
    [(["--codename", "Indri", "--packages", "/nowhere"], "--packages"), (["--packages"], "codename")],
)
def test_a_mistake_is_one_line(table: Path, packages: Path, words: list[str], named: str) -> None:
    """What is wrong with an option is told with its name."""
    whole = [*words, str(packages)] if words == ["--packages"] else words

    with pytest.raises(ToolError, match=named):
        run([NEXT, *whole, "--table", str(table)], [].append)
