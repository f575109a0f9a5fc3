# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._schema import (
    Revision,
    compare,
    heads_of,
    judge_migrations,
    judge_schema,
    look_at_migrations,
    look_at_schemas,
    read_revision,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.glance import SERVICE as GLANCE
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.neutron import SERVICE as NEUTRON
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.nova import SERVICE as NOVA
from ansible_collections.openstack.upgrade_test.tests.unit.plugins.module_utils._health.conftest import Installed

TABLE = "+----+\n| Migration | Total Found | Completed |\n+----+\n"


def migration(name: str, below: str | tuple[str, ...] | None, depends: str | None = None) -> str:
    return f'"""Words."""\nrevision = {name!r}\ndown_revision = {below!r}\ndepends_on = {depends!r}\n'


def facts(current: list[str], heads: list[str], known: list[str]) -> dict[str, Any]:
    return {"current": current, "heads": heads, "newer": sorted(set(current) - set(known))}


def test_a_migration_is_read_without_running_it() -> None:
    """Its name and what it builds upon are read, as a text, as several, with a type or as nothing."""
    assert read_revision(migration("b", "a", "x")) == Revision(name="b", below=("a",), depends=("x",))
    assert read_revision(migration("m", ("a", "b"))) == Revision(name="m", below=("a", "b"))
    assert read_revision("revision: str = 'n'\ndown_revision: str | None = None\n") == Revision(name="n")
    assert read_revision("raise SystemExit('this must not run')\n") is None
    assert read_revision("this is not python (") is None


def test_the_head_is_what_nothing_builds_or_depends_upon() -> None:
    """Two branches have two heads; what another depends on is not kept beside it, as with glance."""
    expand = [Revision(name="e1"), Revision(name="e2", below=("e1",))]
    contract = [Revision(name="c1"), Revision(name="c2", below=("c1",))]
    glance = [*expand, Revision(name="c1"), Revision(name="c2", below=("c1",), depends=("e2",))]

    assert heads_of([*expand, *contract]) == ["c2", "e2"]
    assert heads_of(glance) == ["c2"]


def test_a_schema_behind_or_ahead_fails() -> None:
    """A missing migration is named; a database that is newer than the code is none that the code can use."""
    behind = judge_schema("nova", facts(["a"], ["b"], ["a", "b"]))
    ahead = judge_schema("nova", facts(["z"], ["b"], ["a", "b"]))
    half = judge_schema("neutron", facts(["e2"], ["c2", "e2"], ["c1", "c2", "e1", "e2"]))

    assert judge_schema("nova", facts(["b"], ["b"], ["a", "b"])).status is Status.PASS
    assert (behind.status, "lacks b" in behind.message) == (Status.FAIL, True)
    assert (ahead.status, "newer than the code" in ahead.message) == (Status.FAIL, True)
    assert (half.status, "lacks c2" in half.message) == (Status.FAIL, True)
    assert judge_schema("nova", facts([], ["b"], ["b"])).status is Status.FAIL


def test_what_the_code_does_not_know_is_newer() -> None:
    """The database and the code are compared by the names of the migrations."""
    revisions = [Revision(name="a"), Revision(name="b", below=("a",))]

    assert compare(revisions, {"current": ["z"]}) == {"current": ["z"], "heads": ["b"], "newer": ["z"]}
    assert compare(revisions, {"problem": "p"}) == {"problem": "p", "heads": ["b"], "newer": []}


def test_a_schema_that_was_not_seen_is_unknown() -> None:
    """Neither a database that does not answer nor missing migrations say that anything is wrong."""
    assert judge_schema("nova", {"problem": "no answer", "heads": ["b"]}).status is Status.UNKNOWN
    assert judge_schema("nova", facts(["b"], [], [])).status is Status.UNKNOWN


@pytest.fixture
def database(nova: Installed, tmp_path: Path) -> Path:
    """A database of nova at its first migration of two, which the code has."""
    folder = nova.packages / "nova/db/main/migrations/versions"
    folder.mkdir(parents=True)
    (folder / "1_one.py").write_text(migration("one", None))
    (folder / "2_two.py").write_text(migration("two", "one"))
    path = tmp_path / "nova.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.execute("INSERT INTO alembic_version VALUES ('one')")
    nova.conf.write_text(f"[database]\nconnection = sqlite:///{path}\n")
    nova.start("nova-conductor", "--config-file", str(nova.conf))
    return path


def test_a_real_database_is_compared_with_the_code(nova: Installed, database: Path) -> None:
    """The interpreter of the service reads it; it is behind until the migration is done."""
    pytest.importorskip("sqlalchemy")
    behind = look_at_schemas(nova.place(), NOVA)
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'two'")
    done = look_at_schemas(nova.place(), NOVA)

    assert judge_schema("nova", behind["nova"]).status is Status.FAIL
    assert judge_schema("nova", done["nova"]).status is Status.PASS


def test_a_database_that_cannot_be_read_is_unknown_and_tells_no_secret(nova: Installed) -> None:
    """Its address holds a password, which is in no fact and in no message."""
    nova.conf.write_text("[database]\nconnection = mysql+pymysql://nova:a-secret-word@127.0.0.1:9/nova\n")
    nova.start("nova-conductor", "--config-file", str(nova.conf))
    found = look_at_schemas(nova.place(), NOVA)

    assert judge_schema("nova", found["nova"]).status is Status.UNKNOWN
    assert "a-secret-word" not in str(found)


def test_without_a_database_there_is_nothing_to_compare(nova: Installed) -> None:
    """A compute has no database, which is as it should be."""
    nova.start("nova-compute", "--config-file", str(nova.conf))

    assert look_at_schemas(nova.place(), NOVA) == {}


def answer(rc: int, said: str = TABLE) -> dict[str, Any]:
    return {"asked": True, "command": "c", "rc": rc, "said": said, "last": "x"}


def test_waiting_data_fail_and_a_crash_is_unknown() -> None:
    """0 is done, 1 has found some, 2 got into errors; without its table the command has only crashed."""
    states = {rc: judge_migrations(NOVA, answer(rc)).status for rc in (0, 1, 2, 127)}

    assert states == {0: Status.PASS, 1: Status.FAIL, 2: Status.FAIL, 127: Status.UNKNOWN}
    assert judge_migrations(NOVA, answer(1, "Traceback")).status is Status.UNKNOWN
    assert judge_migrations(NOVA, {"asked": False}).status is Status.UNKNOWN


def test_records_behind_those_that_cannot_be_migrated_are_unknown() -> None:
    """A batch of which nothing could be migrated says nothing of what lies behind; a smaller one was all there is."""
    row = "| {:<30} |      {:>2}      |     {:>2}    |\n".format
    table = "+--\n" + row("Migration", "", "") + row("fill_virtual_interface_list", 50, 0)
    stuck = judge_migrations(NOVA, answer(0, table + row("populate_instance_compute_id", 50, 0)))

    assert (stuck.status, "populate_instance_compute_id" in stuck.message) == (Status.UNKNOWN, True)
    assert "fill_virtual_interface_list" not in stuck.message
    assert judge_migrations(NOVA, answer(0, table + row("populate_instance_compute_id", 2, 0))).status is Status.PASS


def test_a_step_that_is_missing_is_named() -> None:
    """The command of glance says by its exit code which step comes next."""
    found = judge_migrations(GLANCE, answer(4, ""))

    assert (found.status, "run glance-manage db migrate" in found.message) == (Status.FAIL, True)
    assert judge_migrations(GLANCE, answer(1, "")).status is Status.UNKNOWN


def test_data_are_migrated_only_when_that_is_allowed(nova: Installed) -> None:
    """Without leave the command is not run, and it is said how to give leave."""
    mark = nova.folder / "ran"
    nova.start("nova-conductor")
    nova.command("nova-manage", f"open({str(mark)!r}, 'w').close()\nprint({TABLE!r})\nraise SystemExit(1)\n")
    without = look_at_migrations(nova.place(), NOVA, migrate=False)

    assert not mark.exists()
    assert without is not None
    assert "upgrade_test_online_migrations" in judge_migrations(NOVA, without).message
    asked = look_at_migrations(nova.place(), NOVA, migrate=True)
    assert mark.exists()
    assert asked is not None
    assert judge_migrations(NOVA, asked).status is Status.FAIL
    assert look_at_migrations(nova.place(), NEUTRON, migrate=True) is None
