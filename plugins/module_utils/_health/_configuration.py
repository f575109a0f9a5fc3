# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the code knows all options that its configuration files set.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

oslo-config-generator says which options there are, in the interpreter of the service: those of the new code, once that
is what runs. This follows the rule of oslo-config-validator, but one run serves all files of a service, which saves
most of the time. An option that no code knows is ignored in silence, and so is the wish of the operator who set it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._configured import (
    Options,
    plain_section,
    read_options,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._place import (
    CommandError,
    Place,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._processes import UnreadableError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import (
    Finding,
    finding,
    unseen,
)

GENERATOR = "oslo-config-generator"
# Runs the generator in the interpreter of the service. A service lists the options of all its drivers, also of those
# whose libraries nobody has installed; so that these do not end it, they get something empty.
_GENERATE = """
import runpy, sys, types
from importlib.machinery import ModuleSpec

def part(self, name):
    if name.startswith("__"):
        raise AttributeError(name)
    return type("Anything", (type,), {"__getattr__": part, "__call__": lambda self, *_, **__: self})(name, (), {})

class Empty(types.ModuleType):
    __path__ = []
    __getattr__ = part

class Finder:
    missing = set()
    def find_spec(self, name, path=None, target=None):
        if any(name == one or name.startswith(one + ".") for one in self.missing):
            return ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        return Empty(spec.name)
    def exec_module(self, module):
        pass

own, sys.argv = sys.argv[1], sys.argv[2:]
sys.meta_path.append(Finder())
while True:
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
        break
    except ModuleNotFoundError as problem:
        if not problem.name or problem.name.split(".")[0] in (own, "oslo_config") or problem.name in Finder.missing:
            raise
        Finder.missing.add(problem.name)
"""
_OF_TESTS = re.compile(r"(?:^\w+client|(?:^|[._])\w*tests)(?:[._]|$)")  # clients have some for their own tests only
_SECTION = re.compile(r"^\[oslo\.config\.opts\]\s*$(?P<body>.*?)(?=^\[|\Z)", re.M | re.S)
# Options that a plugin of keystoneauth, or a context of oslo.privsep, brings with it in whichever section names one: no
# list has them all.
_DOMAINS = ("user_domain", "project_domain", "default_domain", "domain", "project", "tenant", "application_credential")
_PLUGIN_OPTIONS = frozenset(
    ["helper_command", "thread_pool_size", "logger_name", "log_daemon_traceback", "capabilities"]
    + ["auth_type", "auth_url", "auth_section", "username", "password", "user_id", "system_scope", "trust_id", "token"]
    + ["passcode", "application_credential_secret"]
    + [f"{one}_{word}" for one in _DOMAINS for word in ("id", "name")]
)
# Options that name sections of their own, each as ``name`` or ``name:type``.
_NAMING = ("enabled_backends", "enabled_share_backends")
_RESERVED = ("os_glance_staging_store", "os_glance_tasks_store")


def namespaces_in(entry_points: str) -> list[str]:
    """Return the namespaces of options that a package's ``entry_points.txt`` declares."""
    found = _SECTION.search(entry_points)
    lines = found["body"].splitlines() if found else []
    return [line.partition("=")[0].strip() for line in lines if "=" in line]


def choose_namespaces(service: str, there: Iterable[str], others: Iterable[str]) -> list[str]:
    """Return the namespaces that belong to a service: its own and those of libraries, not those of other services.

    Those of tests are left out: they need what is not installed, or read files of their own.
    """
    foreign = {name for name in others if name != service}
    mine = (one for one in set(there) if not _OF_TESTS.search(one))
    return sorted(one for one in mine if re.split(r"[._]", one)[0] not in foreign)


def compare(
    options: Iterable[tuple[str, str]], sample: Mapping[str, Any], made_up: Iterable[str]
) -> dict[str, list[str]]:
    """Return which of the options that are set are unknown to the code, and which are deprecated.

    An option is named ``section/option``. Sections that the configuration makes up are not looked at.
    """
    known = _by_section((name, group.get("opts", ())) for name, group in sample.get("options", {}).items())
    old = _by_section(sample.get("deprecated_options", {}).items())
    doomed = {
        (plain_section(section), name)
        for section, group in sample.get("options", {}).items()
        for option in group.get("opts", ())
        if option.get("deprecated_for_removal")
        for name in _names([option])
    }
    unknown, deprecated = [], []
    own = {plain_section(section) for section in made_up}
    for section, name in sorted(set(options)):
        if section in own:
            continue
        if name in old.get(section, ()) or (section, name) in doomed:
            deprecated.append(f"{section}/{name}")
        elif name not in known.get(section, ()) and name not in _PLUGIN_OPTIONS:
            unknown.append(f"{section}/{name}")
    return {"unknown": unknown, "deprecated": deprecated}


def _by_section(parts: Iterable[tuple[str, Iterable[Mapping[str, Any]]]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for section, options in parts:
        found.setdefault(plain_section(section), set()).update(_names(options))
    return found


def _names(options: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the names of options, as they may be written in a file."""
    return {str(name) for option in options for name in (option.get("name"), option.get("dest")) if name}


def own_sections(options: Options) -> list[str]:
    """Return the sections that the configuration itself makes up, such as those of backends."""
    named = [value for (_section, option), value in options.items() if option in _NAMING]
    backends = [part.partition(":")[0].strip() for value in named for part in value.split(",")]
    return sorted({*_RESERVED, *filter(None, backends)})


def look_at_configurations(places: Iterable[Place], others: Iterable[str]) -> list[dict[str, Any]]:
    """Return what is to say of each configuration file of some places; the same one is not told of twice.

    Of the same packages the options are asked for once, as that takes seconds.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    samples: dict[Any, dict[str, Any]] = {}
    for place in places:
        facts = [{"file": file, "sha256": _digest(place, file)} for file in place.files]
        new = [one for one in facts if (one["file"], one["sha256"]) not in found]
        found |= {(one["file"], one["sha256"]): one for one in _look_at(place, new, others, samples)}
    return list(found.values())


def _look_at(
    place: Place, facts: Sequence[dict[str, str]], others: Iterable[str], samples: dict[Any, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return what is to say of some files of a place; ``samples`` are kept by the packages that they are of."""
    if not facts:
        return []
    made_up = own_sections(place.settings())
    try:
        key = _identity(place)
        if key not in samples:
            samples[key] = _sample(place, others)
    except CommandError as problem:
        return [{**one, "problem": str(problem)} for one in facts]
    return [{**one, **_compared(place, one["file"], samples[key], made_up)} for one in facts]


def _identity(place: Place) -> tuple[int, int] | str:
    """Return what tells packages from those of another container, which has them at the same path."""
    try:
        found = place.inside.path(place.packages).stat()
    except OSError:
        return place.packages
    return (found.st_dev, found.st_ino)


def _compared(place: Place, file: str, sample: Mapping[str, Any], made_up: Iterable[str]) -> dict[str, Any]:
    try:
        return dict(compare(read_options(place.inside.path(file)), sample, made_up))
    except UnreadableError as problem:
        return {"problem": str(problem)}


def _digest(place: Place, file: str) -> str:
    try:
        return hashlib.sha256(place.inside.path(file).read_bytes()).hexdigest()
    except OSError:
        return ""


def _sample(place: Place, others: Iterable[str]) -> dict[str, Any]:
    """Return all options that the packages of a place know, as the generator tells them."""
    folder = place.inside.path(place.packages)
    texts = (path.read_text(errors="replace") for path in folder.glob("*-info/entry_points.txt"))
    chosen = choose_namespaces(place.service, (name for text in texts for name in namespaces_in(text)), others)
    try:
        return _generated(place, chosen)
    except CommandError as problem:
        if "DuplicateOptError" not in str(problem):
            raise
    # A service and a library may both define an option, which the generator does not get over.
    own = [name for name in chosen if re.split(r"[._]", name)[0] == place.service]
    return together([_generated(place, part) for part in (own, [name for name in chosen if name not in own])])


def _generated(place: Place, namespaces: Sequence[str]) -> dict[str, Any]:
    if not place.has(GENERATOR):
        raise CommandError(f"there is no {GENERATOR} in {place.commands}")
    words = [word for name in namespaces for word in ("--namespace", name)]
    argv = [place.python, "-c", _GENERATE, place.service, f"{place.commands}/{GENERATOR}", *words, "--format", "json"]
    done = place.inside.run(argv, environment={"PYTHONWARNINGS": "ignore"})
    try:
        return dict(json.loads(done.out))
    except ValueError:
        raise CommandError(f"{GENERATOR} broke with exit code {done.rc}: {done.last_line}") from None


def together(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return several lists of options as one."""
    options: dict[str, Any] = {}
    deprecated: dict[str, list[Any]] = {}
    for sample in samples:
        for name, group in sample.get("options", {}).items():
            known = options.setdefault(name, {**group, "opts": []})
            known["opts"] = [*known["opts"], *group["opts"]]
        for name, those in sample.get("deprecated_options", {}).items():
            deprecated[name] = [*deprecated.get(name, []), *those]
    return {"options": options, "deprecated_options": deprecated}


def judge_configuration(facts: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> Finding:
    """Say whether the code knows all options of a file; ``before`` is what was said of it before the upgrade."""
    file = str(facts["file"])
    if facts.get("problem"):
        return unseen(file, f"The options in {file} could not be checked: {facts['problem']}.")
    unknown, deprecated = list(facts.get("unknown", ())), list(facts.get("deprecated", ()))
    removed = [one for one in unknown if before and not before.get("problem") and one not in before.get("unknown", ())]
    lately = [one for one in deprecated if before and not before.get("problem") and one not in before["deprecated"]]
    notes = f" Deprecated are {', '.join(deprecated)}" if deprecated else ""
    notes += f", {', '.join(lately)} since the upgrade" if lately else ""
    more = {"expected": [], "found": unknown, "evidence": {"deprecated": deprecated, "sha256": facts.get("sha256")}}
    if not unknown:
        return finding(file, True, f"The code knows all options in {file}.{notes and notes + '.'}", **more)
    words = f"does not know {', '.join(unknown)}"
    words += f", of which {', '.join(removed)} went away with the upgrade" if removed else ""
    return finding(file, False, f"The code {words}, which {file} sets.{notes and notes + '.'}", **more)


def judge_old_configuration(facts: Mapping[str, Any], before: Mapping[str, Any] | None) -> Finding | None:
    """Say whether a file of the old release serves the new code as it is.

    None when nothing can be said of it, as of one that was changed with the upgrade: the old one was not tried then.
    """
    file = str(facts["file"])
    if not before or facts.get("problem") or not facts.get("sha256") or facts["sha256"] != before.get("sha256"):
        return None
    unknown = list(facts.get("unknown", ()))
    message = f"{file} is that of the old release, and the new code knows all its options."
    if unknown:
        message = f"{file} is that of the old release, and the new code does not know {', '.join(unknown)}."
    return finding(file, not unknown, message, expected=[], found=unknown)
