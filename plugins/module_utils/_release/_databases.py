# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the databases of services tell of the release: the heads of their schemas, and the records of Nova's services.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

A database is asked as its service asks it: with the connection in the configuration of a running process, by the Python
and the libraries of that process, as its user and in its namespaces. So it also works in containers, which get no more
rights by it, and while all APIs are stopped. Nothing is written, and no connection is told: it goes through a pipe.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible_collections.openstack.upgrade_test.plugins.module_utils import _processes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._configured import configuration_of, value_of
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._packages import inside
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._running import Running
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._verdict import (
    VALIDATOR,
    Target,
    Verdict,
    either,
    weigh,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._releases import (
    branch_of,
    branches,
    possible_heads,
    possible_record,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import chosen

LIMIT = 30.0  # seconds that all databases of one interpreter may take
HEADS = "SELECT version_num FROM alembic_version"
RECORDS = "SELECT host, binary, version FROM services WHERE deleted = 0"  # `binary` is a word of MySQL, too
_MOST_NAMES = 5
_NAMESPACES = ("mnt", "net", "pid")
# Runs in the interpreter of a service, which may be older than this one.
PROGRAM = """
import json, sys
from sqlalchemy import create_engine, text

def rows(question):
    engine = create_engine(question["url"])
    try:
        with engine.connect() as connection:
            ask = lambda statement: [list(row) for row in connection.execute(text(statement))]
            return {name: ask(statement) for name, statement in question["statements"].items()}
    finally:
        engine.dispose()

answers = []
for question in json.load(sys.stdin):
    try:
        answers.append(rows(question))
    except Exception as problem:
        answers.append({"problem": type(problem).__name__ + ": " + str(problem).partition("\\n")[0]})
json.dump(answers, sys.stdout, default=str)
"""


@dataclass(frozen=True, kw_only=True)
class Database:
    """One database of a service, and how to ask it; ``name`` is its kind, ``url`` is a secret."""

    service: str
    name: str
    url: str = field(repr=False)
    pid: int
    host: str
    statements: Mapping[str, str]

    @property
    def subject(self) -> str:
        """Its name on its server, of which a service may have several of the same kind."""
        return f"database {PurePosixPath(urlsplit(self.url).path).name or self.name}"

    @property
    def label(self) -> str:
        """How to name it in a sentence."""
        return f"The {self.subject} of {self.service}, asked from {self.host},"


Answer = Mapping[str, Any]


def databases(found: Sequence[Running], target: Target, phase: str, proc: Path = _processes.PROC) -> list[Outcome]:
    """Return an outcome for each database that a process of this host is configured with."""
    groups: dict[tuple[Any, ...], list[Database]] = {}
    for database in _configured(found, proc):
        groups.setdefault(_kind(database.pid, proc), []).append(database)
    places = [(place_of(group[0].pid, proc), group) for group in groups.values()]
    answered = [pair for place, group in places for pair in zip(group, _ask(place, group), strict=True)]
    return [outcome for database, answer in answered for outcome in judge(database, answer, target, phase)]


def _kind(pid: int, proc: Path) -> tuple[Any, ...]:
    """Return what processes have in common of which one can ask for all: Python, user, namespaces."""
    place = place_of(pid, proc)
    spaces = []
    for kind in _NAMESPACES:
        with suppress(OSError):
            spaces.append(os.readlink(proc / str(pid) / "ns" / kind))
    return (*place.command[-4:-1], place.user, place.group, *spaces)


def _configured(found: Sequence[Running], proc: Path) -> Iterator[Database]:
    """Yield each database once, with the first process that has its connection."""
    done = set()
    for running in found:
        if not branches(running.service):
            continue
        (service,) = chosen([running.service])
        found_in = configuration_of(running.pid, service, running.component, proc)
        for section, name in {"database": "main", "api_database": "api"}.items():
            url = value_of(found_in.options, section, "connection") if found_in else None
            if not url or (running.service, url) in done or (name == "api" and running.service != "nova"):
                continue
            done.add((running.service, url))
            records = {"records": _quoted(url)} if (running.service, name) == ("nova", "main") else {}
            yield Database(
                service=running.service,
                name=name,
                url=url,
                pid=running.pid,
                host=running.host,
                statements={"heads": HEADS, **records},
            )


def _quoted(url: str) -> str:
    """Return the question for records with the column ``binary`` quoted as the database wants it."""
    mark = "`" if url.startswith(("mysql", "mariadb")) else '"'
    return RECORDS.replace("binary", f"{mark}binary{mark}")


@dataclass(frozen=True, kw_only=True)
class Place:
    """How to start the Python of a process: its command, and the user and group that the process has."""

    command: tuple[str, ...]
    user: int
    group: int


def place_of(pid: int, proc: Path = _processes.PROC) -> Place:
    """Return how to start the Python of a process where and as whom it runs."""
    root = proc / str(pid) / "root"
    process = _processes.process_at(pid, proc)
    names = [f"{venv}/bin/python" for venv in _processes.environments(process, proc)]
    names += [_processes.interpreter(pid, proc).removesuffix(_processes.DELETED)]
    pythons = [name for name in names if PurePosixPath(name).name.startswith("python")]
    python = next((name for name in pythons if inside(root, name).exists()), "/usr/bin/python3")
    user, group = _owner(pid, proc)
    enter = () if all(_same(pid, kind, proc) for kind in _NAMESPACES) else _enter(pid, user, group)
    return Place(command=(*enter, python, "-I", "-c", PROGRAM), user=user, group=group)


def _enter(pid: int, user: int, group: int) -> tuple[str, ...]:
    whom = ("--setuid", str(user), "--setgid", str(group))
    return ("nsenter", "--target", str(pid), "--mount", "--net", "--pid", "--root", "--wd", *whom, "--")


def _owner(pid: int, proc: Path) -> tuple[int, int]:
    """Return user and group of a process; our own when they cannot be read."""
    try:
        text = (proc / str(pid) / "status").read_text(errors="replace")
    except OSError:
        text = ""
    found = [re.search(rf"^{name}:\s+\d+\s+(\d+)", text, re.M) for name in ("Uid", "Gid")]
    numbers = [int(match[1]) for match in found if match]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (os.geteuid(), os.getegid())


def _same(pid: int, kind: str, proc: Path) -> bool:
    try:
        return os.readlink(proc / str(pid) / "ns" / kind) == os.readlink(proc / "self" / "ns" / kind)
    except OSError:
        return True


def _start(place: Place, text: str) -> subprocess.CompletedProcess[str]:
    as_whom: dict[str, Any] = {}
    if place.command[0] != "nsenter" and os.geteuid() == 0:
        as_whom = {"user": place.user, "group": place.group, "extra_groups": []}
    return subprocess.run(
        place.command, input=text, capture_output=True, text=True, check=False, timeout=LIMIT, cwd="/", **as_whom
    )


def _ask(place: Place, group: Sequence[Database]) -> list[Answer]:
    """Ask the databases of one interpreter; what went wrong is an answer of each."""
    questions = [{"url": one.url, "statements": dict(one.statements)} for one in group]
    try:
        done = _start(place, json.dumps(questions))
        answers = json.loads(done.stdout) if done.returncode == 0 else []
    except subprocess.TimeoutExpired:
        return [{"problem": f"no answer within {LIMIT:.0f} s"} for _one in group]
    except (OSError, ValueError, subprocess.SubprocessError) as problem:
        return [{"problem": f"{place.command[0]}: {problem}"} for _one in group]
    if len(answers) != len(group):
        last = done.stderr.strip().rpartition("\n")[2]
        return [{"problem": f"{place.command[-4]}: {without_secret(last, one.url)}"} for one in group]
    return [_clean(answer, one.url) for answer, one in zip(answers, group, strict=True)]


def _clean(answer: Answer, url: str) -> Answer:
    return {"problem": without_secret(str(answer["problem"]), url)} if "problem" in answer else answer


def without_secret(text: str, url: str) -> str:
    """Return a text without the password of a connection, as it is written there or as it is meant."""
    password = urlsplit(url).password or ""
    for secret in filter(None, (url, password, unquote(password))):
        text = text.replace(secret, "***")
    return text


def judge(database: Database, answer: Answer, target: Target, phase: str) -> list[Outcome]:
    """Return the outcome of a database's heads, and, where it has them, of its records."""
    facts: dict[str, Any] = {"validator": VALIDATOR, "service": database.service, "host": database.host, "phase": phase}
    facts["expected"] = " or ".join(target.releases) or None
    if "problem" in answer:
        message = f"{database.label} gave no answer: {answer['problem']}"
        evidence = {"verdict": str(Verdict.UNKNOWN)}
        subject = f"database {database.name}"
        status = Status.UNKNOWN
        return [
            Outcome(
                check="release_database", subject=subject, status=status, message=message, evidence=evidence, **facts
            )
        ]
    outcomes = [_heads_outcome(database, [str(row[0]) for row in answer["heads"]], target, facts)]
    if "records" in answer:
        outcomes.append(_records_outcome(database, answer["records"], target, facts))
    return outcomes


_STATUS = {
    Verdict.REFUTED: Status.FAIL,
    Verdict.UNKNOWN: Status.UNKNOWN,
    Verdict.CONSISTENT: Status.PASS,
    Verdict.CONFIRMED: Status.PASS,
}


def _heads_outcome(database: Database, heads: Sequence[str], target: Target, facts: dict[str, Any]) -> Outcome:
    fits = {head: releases_of(database, head) for head in heads}
    verdict = _together([weigh(found, target.releases, direct=False) for found in fits.values()])
    told = [f"{head} ({either(found) or 'in no release of the table'})" for head, found in fits.items()]
    message = f"{database.label} is at {' and '.join(told) or 'no revision at all'}"
    if verdict is Verdict.REFUTED:
        message += f", which is not {either(target.releases)}"
    return Outcome(
        check="release_database",
        subject=database.subject,
        status=_STATUS[verdict],
        message=f"{message}.",
        found=" and ".join(either(found) for found in fits.values()) or None,
        evidence={"verdict": str(verdict), "heads": list(heads)},
        **facts,
    )


def releases_of(database: Database, head: str) -> tuple[str, ...]:
    """Return the releases whose schema ends with a revision, in this database or in one of its branches."""
    known = branches(database.service)
    branch = database.name if database.name in known else branch_of(database.service, head)
    return possible_heads(database.service, branch, head)


def _together(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst of several verdicts; of none nothing is known."""
    order = (Verdict.REFUTED, Verdict.UNKNOWN, Verdict.CONSISTENT, Verdict.CONFIRMED)
    return next((verdict for verdict in order if verdict in verdicts), Verdict.UNKNOWN)


def _registered(version: Any) -> tuple[str, ...]:
    """Return the releases of which a service with this record may be; one that never told its version has none."""
    return possible_record("nova", int(version)) if version else ()


def _records_outcome(
    database: Database, rows: Sequence[Sequence[Any]], target: Target, facts: dict[str, Any]
) -> Outcome:
    fits = {(str(host), str(binary)): (version, _registered(version)) for host, binary, version in rows}
    verdicts = {key: weigh(found, target.releases, direct=False) for key, (_version, found) in fits.items()}
    verdict = _together(list(verdicts.values()))
    odd = [key for key, one in verdicts.items() if one is verdict] if verdict is not Verdict.CONSISTENT else []
    named = [f"{binary} on {host} {fits[host, binary][0]} ({either(fits[host, binary][1])})" for host, binary in odd]
    names = ", ".join(named[:_MOST_NAMES]) + (f" and {len(named) - _MOST_NAMES} more" if named[_MOST_NAMES:] else "")
    numbers = sorted({f"{version} ({either(found)})" for version, found in fits.values()})
    message = (
        f"The {len(fits)} records of services in {database.label.removeprefix('The ')} are at {', '.join(numbers)}"
    )
    if verdict is Verdict.REFUTED:
        message += f"; not of {either(target.releases)}: {names}"
    return Outcome(
        check="release_records",
        subject="service records",
        status=_STATUS[verdict],
        message=f"{message}." if fits else f"{database.label} has no record of a service.",
        found=" and ".join(sorted({either(found) for _version, found in fits.values()})) or None,
        evidence={"verdict": str(verdict), "records": named},
        **facts,
    )
