# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._databases import (
    databases,
    place_of,
    without_secret,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._running import Running, Watch
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._verdict import Target
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import SERVICES
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._hosts import Start, Venv

OLD, NEW = Target(releases=("2025.1",)), Target(releases=("2026.1",))
SECRET = "p@ss-that-nobody-may-see"
# What of SQLAlchemy is used, over Python's own SQLite: the tools of the tests do not have the real one.
SQLALCHEMY = """
import contextlib, sqlite3
text = str
class Engine:
    def __init__(self, url):
        kind, _sign, path = url.partition(':///')
        if kind != 'sqlite':
            raise RuntimeError('cannot reach ' + url)
        self.path = path
    def connect(self):
        return contextlib.closing(sqlite3.connect(self.path))
    def dispose(self):
        pass
create_engine = Engine
"""


class Databases:
    """A host on which services run that have databases."""

    def __init__(self, tmp_path: Path, venv: Venv, start: Start) -> None:
        self._folder, self._venv, self._start = tmp_path, venv, start
        (venv.packages / "sqlalchemy.py").write_text(SQLALCHEMY)

    def make(self, name: str, heads: Sequence[str], records: Sequence[tuple[str, str, int, int]] = ()) -> str:
        """Make a database; return its connection."""
        path = self._folder / f"{name}.db"
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE alembic_version (version_num TEXT)")
            database.executemany("INSERT INTO alembic_version VALUES (?)", [(head,) for head in heads])
            database.execute('CREATE TABLE services (host TEXT, "binary" TEXT, version INTEGER, deleted INTEGER)')
            database.executemany("INSERT INTO services VALUES (?, ?, ?, ?)", records)
        database.close()
        return f"sqlite:///{path}"

    def run(self, service: str, component: str, version: str, **connections: str) -> Running:
        """Start a process that is configured with these connections, by section."""
        file = self._folder / f"{component}.conf"
        file.write_text("".join(f"[{section}]\nconnection = {url}\n" for section, url in connections.items()))
        self._venv.install(service, version)
        pid = self._start(self._venv.script(component), "--config-file", str(file))
        return next(one for one in Watch("control1", SERVICES).read() if one.pid == pid)


@pytest.fixture
def host(tmp_path: Path, venv: Venv, start: Start) -> Databases:
    return Databases(tmp_path, venv, start)


def found(outcomes: Sequence[Outcome]) -> list[tuple[str, str, str]]:
    return [(one.check, one.subject, f"{one.status} {one.evidence['verdict']}") for one in outcomes]


RECORDS = (("compute1", "nova-compute", 72, 0), ("control1", "nova-conductor", 72, 0), ("gone", "nova-compute", 68, 7))


def test_a_connection_is_understood_as_the_service_does(host: Databases) -> None:
    """A dollar in a password or a name is written twice."""
    url = host.make("n$va", ["2903cd72dc14"])
    running = host.run("cinder", "cinder-scheduler", "28.0.0", database=url.replace("$", "$$"))

    assert [one.evidence.get("heads") for one in databases([running], NEW, "after")] == [["2903cd72dc14"]]


def test_the_databases_of_a_process_are_asked_by_its_own_python(host: Databases) -> None:
    """Heads of both of Nova's databases and the records of its services fit the release that they are of."""
    running = host.run(
        "nova",
        "nova-conductor",
        "33.0.1",
        database=host.make("nova", ["2903cd72dc14"], RECORDS),
        api_database=host.make("api", ["cdeec0c85668"]),
    )

    assert found(databases([running, running], NEW, "")) == [
        ("release_database", "database nova.db", "pass consistent"),
        ("release_records", "service records", "pass consistent"),
        ("release_database", "database api.db", "pass consistent"),
    ]


def test_a_schema_and_records_of_another_release_are_found(host: Databases) -> None:
    """A head that the release does not end with, and a service that has registered with the old release, are named."""
    records = [*RECORDS, ("compute2", "nova-compute", 68, 0)]
    running = host.run("nova", "nova-api", "33.0.1", database=host.make("nova", ["13863f4e1612"], records))
    heads, services = databases([running], NEW, "")

    assert (heads.status, services.status) == ("fail", "fail")
    assert "13863f4e1612 (2024.1 or 2024.2), which is not 2026.1" in heads.message
    assert "nova-compute on compute2 68 (2025.1)" in services.message
    assert "gone" not in services.message


def test_an_expanded_schema_is_of_the_new_release_only_in_part(host: Databases) -> None:
    """Between expand and contract one branch is ahead: wrong at the end, and right while both releases may run."""
    running = host.run("keystone", "keystone-api", "29.0.1", database=host.make("k", ["742c857f1dfb", "c88cdce8f248"]))
    both = Target(releases=("2025.1", "2026.1"))

    assert [str(one.status) for target in (NEW, both, OLD) for one in databases([running], target, "")] == [
        "pass",
        "pass",
        "fail",
    ]


def test_a_head_that_no_release_has_is_unknown(host: Databases) -> None:
    """A revision from between two releases is no release, and not said to be wrong by its name alone."""
    running = host.run("glance", "glance-api", "32.0.0", database=host.make("g", ["deadbeef0000"]))

    assert found(databases([running], NEW, "")) == [("release_database", "database g.db", "unknown unknown")]


def test_a_database_that_does_not_answer_is_unknown_and_tells_no_secret(host: Databases) -> None:
    """What went wrong is told without the connection or its password."""
    url = f"mysql+pymysql://nova:{SECRET.replace('@', '%40')}@10.0.0.1/nova"
    (outcome,) = databases([host.run("nova", "nova-api", "33.0.1", database=url)], NEW, "")
    told = json.dumps(outcome.as_record())

    assert outcome.status == "unknown"
    assert "cannot reach" in outcome.message
    assert SECRET not in told
    assert SECRET.replace("@", "%40") not in told


def test_an_interpreter_that_breaks_is_unknown(host: Databases, venv: Venv) -> None:
    """Without SQLAlchemy nothing can be asked; the last word of the interpreter is told."""
    running = host.run("nova", "nova-api", "33.0.1", database=host.make("nova", []))
    (venv.packages / "sqlalchemy.py").unlink()
    (outcome,) = databases([running], NEW, "")

    assert (outcome.status, "No module named 'sqlalchemy'" in outcome.message) == ("unknown", True)


def test_a_process_without_a_database_is_left_out(host: Databases) -> None:
    """A compute has none, and Swift has none at all."""
    assert databases([host.run("nova", "nova-compute", "33.0.1")], NEW, "") == []
    assert databases([host.run("swift", "swift-proxy-server", "2.37.0", database="sqlite:///x")], NEW, "") == []


def test_no_secret_stands_in_a_command_line(host: Databases, venv: Venv) -> None:
    """The interpreter is the one of the process; its command says nothing of the database."""
    running = host.run("nova", "nova-api", "33.0.1", database=f"mysql+pymysql://nova:{SECRET}@10.0.0.1/nova")
    place = place_of(running.pid)

    assert place.command[0] == f"{venv.path}/bin/python"
    assert (place.user, place.group) == (os.geteuid(), os.getegid())
    assert SECRET not in " ".join(place.command)


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root can start a process of another user.")
def test_a_database_is_asked_as_the_user_of_the_process(host: Databases, tmp_path: Path) -> None:
    """What a service's interpreter does when it is started for this, it does without the rights of root."""
    running = host.run("nova", "nova-api", "33.0.1", database=host.make("nova", ["2903cd72dc14"]))
    (tmp_path / "nova.db").chmod(0o600)
    status = tmp_path / "proc" / str(running.pid)
    status.mkdir(parents=True)
    for name in ("root", "exe", "ns"):
        (status / name).symlink_to(f"/proc/{running.pid}/{name}")
    for name in ("cmdline", "environ", "maps"):
        (status / name).write_bytes(Path(f"/proc/{running.pid}/{name}").read_bytes())
    (status / "status").write_text("Uid:\t65534\t65534\t65534\t65534\nGid:\t65534\t65534\t65534\t65534\n")
    (status.parent / "self").symlink_to("/proc/self")
    (outcome,) = databases([running], NEW, "", status.parent)

    assert place_of(running.pid, status.parent).user == 65534
    assert outcome.status == "unknown"


def test_a_service_that_never_told_its_version_is_unknown(host: Databases) -> None:
    """A record without a version says nothing, and is named."""
    records = [("control1", "nova-conductor", 0, 0)]
    running = host.run("nova", "nova-api", "33.0.1", database=host.make("nova", ["2903cd72dc14"], records))

    assert [str(one.status) for one in databases([running], NEW, "")] == ["pass", "unknown"]


def test_a_password_is_removed_in_either_form() -> None:
    """As it is written in a connection, and as it is meant."""
    url = "mysql://nova:p%40ss@host/nova"

    assert without_secret(f"bad {url}, p%40ss, p@ss", url) == "bad ***, ***, ***"
    assert without_secret("plain", "sqlite:///x") == "plain"
