# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils import _memory
from ansible_collections.openstack.upgrade_test.plugins.module_utils._memory import (
    MEMORY,
    VARIABLE,
    Memory,
    RecallError,
    command,
    read_ini,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory

TREE = Path(_memory.__file__).absolute().parents[5]
CLOUDS = "clouds: {a: {auth: {\n  password: dirty-secret\n}}}\n"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "runs")


def test_what_is_saved_comes_back(run: RunDirectory) -> None:
    """Values of any JSON kind come back as they were, also to another process, by project and key."""
    assert Memory(run).save("nova", {"id": "a b'c", "count": 3})
    assert Memory(run).save("network", {"id": "n"})

    assert Memory(RunDirectory(run.path)).all("nova") == {"id": "a b'c", "count": 3}
    assert Memory(run).get("network", "id") == "n"
    assert Memory(run).get("nova", "other") is None


def test_saving_the_same_changes_nothing(run: RunDirectory) -> None:
    """A second save of the same value says so, and does not write."""
    Memory(run).save("nova", {"id": "1"})
    before = (run.path / MEMORY).stat().st_ino

    assert not Memory(run).save("nova", {"id": "1"})
    assert (run.path / MEMORY).stat().st_ino == before


def test_only_its_owner_can_read_it(run: RunDirectory) -> None:
    """The file has the mode of all that is in a run directory."""
    Memory(run).save("nova", {"id": "1"})

    assert stat.S_IMODE((run.path / MEMORY).stat().st_mode) == 0o600


def test_many_may_save_at_once(run: RunDirectory) -> None:
    """Nothing is lost when scripts save side by side, each with the directory opened for itself."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: Memory(RunDirectory(run.path)).save("nova", {f"key{n}": str(n)}), range(80)))

    assert Memory(run).all("nova") == {f"key{n}": str(n) for n in range(80)}


def test_forgetting(run: RunDirectory) -> None:
    """A key or a whole project is forgotten once."""
    memory = Memory(run)
    memory.save("nova", {"a": 1, "b": 2})

    assert memory.forget("nova", ["a"])
    assert memory.all("nova") == {"b": 2}
    assert memory.forget("nova")
    assert not memory.forget("nova")


@pytest.mark.parametrize(
    ("key", "value"), [("password", "hunter22"), ("id", "dirty-secret"), ("note", "token=gAAAAABexampleexampleexample")]
)
def test_a_secret_is_refused(run: RunDirectory, key: str, value: str) -> None:
    """What the run directory would write in another form is not saved at all, and the complaint does not quote it."""
    run.write_credentials(CLOUDS)

    with pytest.raises(RecallError, match=f"nova {key}: the value has a secret in it") as caught:
        Memory(run).save("nova", {key: value})
    assert value not in str(caught.value)
    assert not (run.path / MEMORY).exists()


def test_what_grenade_left_is_taken_in(run: RunDirectory, tmp_path: Path) -> None:
    """The sections of a grenade_db.ini are projects; keys keep their case, values what only looks like markup."""
    path = tmp_path / "grenade_db.ini"
    path.write_text("\n[network]\nnet_id = 7f\n\n[nova]\nnova_inventory_VCPU = 2\nodd = 100%\n")

    assert Memory(run).take_in(path)
    assert Memory(run).all("nova") == {"nova_inventory_VCPU": "2", "odd": "100%"}
    assert Memory(run).get("network", "net_id") == "7f"


def test_an_ini_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    """A missing or broken file names the option, without a traceback."""
    (tmp_path / "broken").write_text("no section\n")

    for name in ("none", "broken"):
        with pytest.raises(RecallError, match=r"^from_ini: [^\n]+ cannot be read: [^\n]+$"):
            read_ini(tmp_path / name)


def test_the_command_of_shell_scripts(run: RunDirectory) -> None:
    """As a process of its own it saves what comes by standard input, as it is, and prints it; nothing is no error."""
    told = {**os.environ, "PYTHONPATH": str(TREE), VARIABLE: str(run.path)}

    def call(*argv: str, value: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", _memory.__name__, *argv],
            input=value,
            env=told,
            capture_output=True,
            text=True,
            check=False,
        )

    assert call("save", "nova", "name", value="two words").returncode == 0
    assert call("get", "nova", "name").stdout == "two words\n"
    missing = call("get", "nova", "other")
    assert (missing.returncode, missing.stdout) == (0, "\n")


@pytest.mark.parametrize("argv", [[], ["save", "nova"], ["put", "nova", "key"]])
def test_a_wrong_command_says_what_is_right(run: RunDirectory, argv: list[str]) -> None:
    """What is not understood is answered with what would be."""
    rc, out, complaint = command(argv, str(run.path), "")

    assert (rc, out) == (2, "")
    assert "Known is save <project> <key>" in complaint


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    """A run directory that does not exist is named."""
    assert command(["get", "nova", "id"], str(tmp_path / "none"), "")[2].endswith("no such directory.")
