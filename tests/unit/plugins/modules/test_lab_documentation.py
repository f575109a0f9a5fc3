# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation of the lab's modules, as Ansible reads it."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.openstack.upgrade_test.plugins.module_utils._lab import _host

MODULES = Path(_host.__file__).parents[2] / "modules"
NAMES = sorted(path.stem for path in MODULES.glob("lab_*.py"))


@pytest.fixture(scope="module")
def documented() -> dict[str, Any]:
    """What ansible-doc says of each module."""
    script = "import sys; from ansible.cli.doc import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script, "-t", "module", "--json", *(f"openstack.upgrade_test.{name}" for name in NAMES)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"ANSIBLE_COLLECTIONS_PATH": str(MODULES.parents[4])},
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return {name.rpartition(".")[2]: text for name, text in found.items()}


def test_every_module_is_found(documented: dict[str, Any]) -> None:
    """ansible-doc knows each of them."""
    assert sorted(documented) == NAMES
    assert len(NAMES) >= 5


@pytest.mark.parametrize("name", NAMES)
def test_module_is_documented(documented: dict[str, Any], name: str) -> None:
    """Each has a sentence, options with descriptions, both modes, examples that name it, and its results."""
    text = documented[name]

    assert text["doc"]["short_description"]
    assert all(option["description"] for option in text["doc"]["options"].values())
    assert {"check_mode", "diff_mode"} <= set(text["doc"]["attributes"])
    assert all(f"openstack.upgrade_test.{name}" in task for task in yaml.safe_load(text["examples"]))
    assert all(value["description"] and value["returned"] for value in text["return"].values())


@pytest.mark.parametrize("name", NAMES)
def test_example_is_accepted(documented: dict[str, Any], name: str) -> None:
    """Examples use no option that is not documented."""
    options = set(documented[name]["doc"]["options"])
    used = {
        option
        for task in yaml.safe_load(documented[name]["examples"])
        for option in task[f"openstack.upgrade_test.{name}"]
    }

    assert used <= options


@pytest.mark.parametrize("name", NAMES)
def test_module_imports_nothing_heavy(name: str) -> None:
    """A module can be imported where openstacksdk is not installed."""
    source = importlib.import_module(f"ansible_collections.openstack.upgrade_test.plugins.modules.{name}").__file__
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, runpy; runpy.run_path({source!r}); sys.exit('openstack' in sys.modules)"],
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert done.returncode == 0
