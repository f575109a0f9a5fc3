#!/usr/bin/env python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read from installed packages what tells their release, and write it into the table of releases.

A release is learnt from any environment that has its services installed, such as one of the lab's:

    tools/releases.py 2026.2 --codename Hibiscus --packages <environment>/lib/python3.11/site-packages

The sources are read as text, nothing of them is run. What a package does not tell is taken over from the release before
and named, so that it can be looked up. Without ``--write`` it only says what would change.
"""

from __future__ import annotations

import argparse
import difflib
import re
import runpy
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TABLE = Path(__file__).resolve().parent.parent / "plugins" / "module_utils" / "_release_data.py"
HEAD = '''# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tells a release of each service: its versions, what its API offers, the heads of its databases, its records.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

Written by tools/releases.py, which says how to add a release. It is Python because nothing else travels to the hosts.
A fact is ``release=value`` for each release with which it changed, oldest first; ``?`` is what is not known, ``a|b``
are alternatives, ``a..b`` is a range. ``versions`` begin a release, ``end`` is newer than all of them.
"""

from __future__ import annotations

'''
REVISION = re.compile(r"""^revision\b[^=]*=\s*["']([^"']+)["']""", re.M)
PARENTS = re.compile(r"""^down_revision\b[^=]*=\s*(?P<parents>\([^)]*\)|["'][^"']+["'])""", re.M)
QUOTED = re.compile(r"""["']([^"']+)["']""")
Facts = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the sources of a service tell something; ``heads`` are folders of migrations by database."""

    package: str
    api: tuple[str, str] = ("", "")
    record: tuple[str, str] = ("", "")
    heads: Mapping[str, str] = field(default_factory=dict)


MAX_VERSION = r"""^_MAX_API_VERSION\s*=\s*["']([\d.]+)"""
SOURCES: dict[str, Source] = {
    "barbican": Source(package="barbican", heads={"main": "model/migration/alembic_migrations/versions"}),
    "cinder": Source(
        package="cinder",
        api=("api/openstack/api_version_request.py", MAX_VERSION),
        heads={"main": "db/migrations/versions"},
    ),
    "designate": Source(package="designate", heads={"main": "storage/sqlalchemy/alembic/versions"}),
    "glance": Source(package="glance", heads={"": "db/sqlalchemy/alembic_migrations/versions"}),
    "heat": Source(package="heat", heads={"main": "db/migrations/versions"}),
    "ironic": Source(
        package="ironic",
        api=("api/controllers/v1/versions.py", r"^MINOR_MAX_VERSION\s*=\s*MINOR_(\d+)"),
        heads={"main": "db/sqlalchemy/alembic/versions"},
    ),
    "keystone": Source(
        package="keystone",
        api=("api/discovery.py", r"""["']id["']:\s*["'](v3[\d.]*)["']"""),
        heads={"": "common/sql/migrations/versions"},
    ),
    "magnum": Source(package="magnum", heads={"main": "db/sqlalchemy/alembic/versions"}),
    "manila": Source(
        package="manila",
        api=("api/openstack/api_version_request.py", MAX_VERSION),
        heads={"main": "db/migrations/alembic/versions"},
    ),
    "neutron": Source(package="neutron", heads={"": "db/migration/alembic_migrations/versions"}),
    "nova": Source(
        package="nova",
        api=("api/openstack/api_version_request.py", MAX_VERSION),
        record=("objects/service.py", r"^SERVICE_VERSION\s*=\s*(\d+)"),
        heads={"main": "db/main/migrations/versions", "api": "db/api/migrations/versions"},
    ),
    "octavia": Source(package="octavia", heads={"main": "db/migration/alembic_migrations/versions"}),
    "placement": Source(
        package="placement",
        api=("microversion.py", r"""(?s).*^\s+["'](\d+\.\d+)["'],"""),
        heads={"main": "db/sqlalchemy/alembic/versions"},
    ),
    "swift": Source(package="swift"),
}
# Where a service has one folder for two databases or branches, by what stands in the path or in the name of a revision.
BRANCHES = ("expand", "contract")
BY_MINOR = ("swift",)  # a new release of it has a new minor version
BY_RANGE = ("ironic",)  # it releases several times in a cycle, so its first version of a release must be given


class ToolError(Exception):
    """What ends the work, in one line."""


def versions_in(packages: Path) -> dict[str, str]:
    """Return the version of each installed distribution, by its normalised name."""
    found = {}
    for folder in packages.glob("*.dist-info"):
        name, _dash, version = folder.name.removesuffix(".dist-info").partition("-")
        found[re.sub(r"[-_.]+", "-", name).lower()] = version
    return found


def facts_of(service: str, version: str, packages: Path) -> Facts:
    """Return what one installed service tells of its release."""
    source, facts = SOURCES[service], {}
    root = packages / source.package
    if service not in BY_RANGE:
        facts["versions"] = ".".join(version.split(".")[: 2 if service in BY_MINOR else 1])
        facts["versions"] += "" if service in BY_MINOR else ".0"
        facts["end"] = _after(facts["versions"], minor=service in BY_MINOR)
    for name, (path, pattern) in {"api": source.api, "record": source.record}.items():
        value = _found(root / path, pattern) if path else ""
        if value:
            facts[name] = f"1.{value}" if service in BY_RANGE and name == "api" else value
    for branch, folder in source.heads.items():
        facts |= {f"heads {name}": head for name, head in _heads(root / folder, branch).items()}
    return facts


def _after(version: str, *, minor: bool) -> str:
    first, second = version.split(".")
    return f"{first}.{int(second) + 1}" if minor else f"{int(first) + 1}.0"


def _found(path: Path, pattern: str) -> str:
    if not path.is_file():
        return ""
    match = re.search(pattern, path.read_text(encoding="utf-8"), re.M)
    return match[1] if match else ""


def _heads(folder: Path, branch: str) -> dict[str, str]:
    """Return the newest revision of each branch: the one that is no other's parent."""
    revisions: dict[str, str] = {}
    parents: set[str] = set()
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        revision = REVISION.search(text)
        if revision is None:
            continue
        revisions[revision[1]] = branch or _branch_of(path.relative_to(folder), revision[1])
        before = PARENTS.search(text)
        parents |= set(QUOTED.findall(before["parents"])) if before else set()
    heads: dict[str, list[str]] = {}
    for revision, name in revisions.items():
        if revision not in parents and name:
            heads.setdefault(name, []).append(revision)
    return {name: "|".join(sorted(found)) for name, found in heads.items()}


def _branch_of(path: Path, revision: str) -> str:
    return next((branch for branch in BRANCHES if branch in path.parts or branch in revision), "")


def unroll(row: str, releases: Sequence[str]) -> dict[str, str]:
    """Return a fact's value at each release: each holds until the next."""
    changes = dict(word.split("=", 1) for word in row.split())
    values, value = {}, "?"
    for release in releases:
        value = changes.get(release, value)
        values[release] = value
    return values


def roll(values: Mapping[str, str], releases: Sequence[str]) -> str:
    """Return the row of a fact's values."""
    words, last = [], "?"
    for release in releases:
        if values.get(release, "?") != last:
            last = values.get(release, "?")
            words.append(f"{release}={last}")
    return " ".join(words)


def learn(
    table: dict[str, Any], release: str, packages: Sequence[Path], first: Mapping[str, str], *, added: bool
) -> list[str]:
    """Write into the table what the packages tell of a release; return what they do not tell.

    Of a service that is not among them nothing is known at a release that was ``added``.
    """
    names = [name for name, *_rest in table["RELEASES"]]
    newest = release == names[-1]
    unsure = []
    for service, facts in table["SERVICES"].items():
        seen = _seen(service, facts["distribution"], packages)
        if added and not seen:
            seen = dict.fromkeys(set(facts) - {"distribution", "end"}, "?") | {"end": facts["end"]}
            unsure.append(f"{service}: no package was found; nothing is known of it")
        if service in first:
            seen |= {"versions": first[service]} | ({"end": "?"} if newest else {})
        if not newest:
            seen.pop("end", None)
        for name in sorted({*seen, *facts} - {"distribution", "end"}):
            values = unroll(facts.get(name, ""), names)
            if name in seen:
                values[release] = seen[name]
                facts[name] = roll(values, names)
            elif newest and seen:
                unsure.append(f"{service}: {name} was not found; {values[release]} is taken over")
        facts["end"] = seen.get("end", facts.get("end", "?"))
    return unsure


def _seen(service: str, distribution: str, packages: Sequence[Path]) -> Facts:
    for folder in packages:
        version = versions_in(folder).get(distribution)
        if version:
            return facts_of(service, version, folder)
    return {}


def render(table: Mapping[str, Any]) -> str:
    """Return the text of the table's file."""
    lines = ["# Number, codename, and whether it is a SLURP release."]
    lines += ["RELEASES: tuple[tuple[str, str, bool], ...] = ("]
    lines += [f'    ("{name}", "{codename}", {slurp}),' for name, codename, slurp in table["RELEASES"]]
    lines += [")", "", "SERVICES: dict[str, dict[str, str]] = {"]
    for service, facts in sorted(table["SERVICES"].items()):
        lines += [f'    "{service}": {{', *(line for fact in _ordered(facts) for line in _fact(*fact)), "    },"]
    return HEAD + "\n".join([*lines, "}", ""])


def _ordered(facts: Facts) -> Iterator[tuple[str, str]]:
    order = ("distribution", "versions", "end", "api", "record")
    yield from ((name, facts[name]) for name in order if name in facts)
    yield from ((name, facts[name]) for name in sorted(facts) if name not in order)


def _fact(name: str, value: str) -> list[str]:
    if len(value) + len(name) < 100:
        return [f'        "{name}": "{value}",']
    parts = textwrap.wrap(value, 100)
    ends = [" "] * (len(parts) - 1) + [""]
    return [
        f'        "{name}": (',
        *(f'            "{part}{end}"' for part, end in zip(parts, ends, strict=True)),
        "        ),",
    ]


def load(path: Path) -> dict[str, Any]:
    """Return the table as it is."""
    names = runpy.run_path(str(path))
    return {"RELEASES": list(names["RELEASES"]), "SERVICES": {key: dict(row) for key, row in names["SERVICES"].items()}}


def with_release(table: dict[str, Any], name: str, codename: str, *, slurp: bool) -> bool:
    """Add a release that is new, as the newest; return whether it was."""
    if name in [known for known, *_rest in table["RELEASES"]]:
        return False
    if not codename:
        raise ToolError(f"--codename: {name} is new in the table, so its codename is needed, such as Hibiscus.")
    table["RELEASES"].append((name, codename, slurp))
    return True


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("release", help="number of the release, such as 2026.2")
    parser.add_argument("--codename", default="", help="codename, when the release is new in the table")
    parser.add_argument("--slurp", action="store_true", help="the new release is a SLURP release")
    parser.add_argument("--packages", action="append", type=Path, required=True, help="a folder of installed packages")
    parser.add_argument("--first", action="append", default=[], metavar="SERVICE=VERSION", help="first version of it")
    parser.add_argument("--table", type=Path, default=TABLE, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="change the table")
    return parser.parse_args(words)


def _pair(word: str) -> tuple[str, str]:
    service, _sign, version = word.partition("=")
    if service not in SOURCES or not re.fullmatch(r"\d+\.\d+", version):
        raise ToolError(f"--first: {word!r} is no service with its first version, such as ironic=40.0.")
    return service, version


def run(words: Sequence[str], say: Callable[[str], Any]) -> int:
    """Do it; return the exit code."""
    asked = arguments(words)
    missing = [str(folder) for folder in asked.packages if not any(folder.glob("*.dist-info"))]
    if missing:
        raise ToolError(f"--packages: {missing[0]} holds no installed packages; name a folder site-packages.")
    table = load(asked.table)
    before = render(table)
    added = with_release(table, asked.release, asked.codename, slurp=asked.slurp)
    first = dict(_pair(word) for word in asked.first)
    unsure = learn(table, asked.release, asked.packages, first, added=added)
    after = render(table)
    for line in difflib.unified_diff(before.splitlines(), after.splitlines(), "now", "then", lineterm="", n=0):
        say(line)
    for line in unsure:
        say(line)
    if asked.write:
        asked.table.write_text(after, encoding="utf-8")
    return 0


def main() -> int:
    """Run the tool."""
    try:
        return run(sys.argv[1:], lambda line: sys.stdout.write(f"{line}\n"))
    except ToolError as problem:
        sys.stderr.write(f"{problem}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
