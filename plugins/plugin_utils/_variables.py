# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: it may change at any time.
"""Which variables the roles know, and which of a user's variables they do not.

Ansible takes any variable, so a misspelt one is silently ignored and the test runs with a default that nobody
wanted. The roles' argument specifications and defaults say which names exist.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

PREFIX = "upgrade_test_"


def known_variables(roles: Path) -> frozenset[str]:
    """Return the names in `roles/*/meta/argument_specs.yml` and `roles/*/defaults/main.yml`."""
    described = {name for path in roles.glob("*/meta/argument_specs.yml") for name in _options(path)}
    return frozenset(described.union(*(_document(path) for path in roles.glob("*/defaults/main.yml"))))


def complaints(names: Iterable[str], known: frozenset[str]) -> list[str]:
    """Return one sentence for each name that has our prefix and that no role knows."""
    unknown = sorted({name for name in names if name.startswith(PREFIX)} - known)
    return [f"{name} is not a variable of openstack.upgrade_test{_hint(name, known)}" for name in unknown]


def _hint(name: str, known: frozenset[str]) -> str:
    # Only the part behind the prefix is compared: the common prefix alone would make every name look alike.
    ends = {candidate.removeprefix(PREFIX): candidate for candidate in sorted(known)}
    near = difflib.get_close_matches(name.removeprefix(PREFIX), ends, n=1, cutoff=0.6)
    return f"; did you mean {ends[near[0]]}?" if near else "; README.md lists where all of them are described."


def _options(path: Path) -> Iterator[str]:
    for entry_point in _document(path).get("argument_specs", {}).values():
        yield from entry_point.get("options", {})


def _document(path: Path) -> dict[str, Any]:
    # Lazy: `ansible-doc` must work without loading anything. Ansible's reader is libyaml's where that is installed.
    from ansible.module_utils.common.yaml import yaml_load

    return yaml_load(path.read_text(encoding="utf-8")) or {}
