# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service of a test's own: packages, commands, configuration and a running process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._place import Place, find_places
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import chosen

SLEEPER = "import sys, time\nprint('up', file=sys.stderr, flush=True)\ntime.sleep(60)\n"


@dataclass
class Installed:
    """A virtual environment with one service, and its processes."""

    folder: Path
    name: str
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Lay out the environment."""
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        self.bin = self.folder / "bin"
        self.packages = self.folder / "lib" / version / "site-packages"
        for folder in (self.bin, self.packages / f"{self.name}-33.0.0.dist-info"):
            folder.mkdir(parents=True)
        (self.bin / "python").symlink_to(sys.executable)
        (self.folder / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).parent}\n")
        metadata = self.packages / f"{self.name}-33.0.0.dist-info" / "METADATA"
        metadata.write_text(f"Metadata-Version: 2.1\nName: {self.name}\nVersion: 33.0.0\n")
        self.conf = self.folder / f"{self.name}.conf"
        self.conf.write_text("[DEFAULT]\ndebug = true\n")

    def command(self, name: str, text: str) -> Path:
        """Write a command of the service; return its path."""
        path = self.bin / name
        path.write_text(f"#!{self.bin}/python\n{text}")
        path.chmod(0o755)
        return path

    def start(self, component: str, *arguments: str, environment: dict[str, str] | None = None) -> int:
        """Run a component until the test ends; its log is in the environment's folder."""
        script = self.command(component, SLEEPER)
        with (self.folder / f"{component}.log").open("w") as log:
            process = subprocess.Popen(
                [str(script), *arguments],
                stdout=log,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        self.processes.append(process)
        assert process.stderr is not None
        assert process.stderr.readline() == "up\n"
        return process.pid

    def proc(self) -> Path:
        """Return a folder like ``/proc`` with its own processes only: what else runs on the machine is left alone."""
        folder = self.folder / "proc"
        folder.mkdir(exist_ok=True)
        for name in ("stat", "uptime", "self", *(str(process.pid) for process in self.processes)):
            if not (folder / name).is_symlink():
                (folder / name).symlink_to(f"/proc/{name}")
        return folder

    def place(self) -> Place:
        """Return where it lives, as it is found by its processes."""
        (found,) = find_places(chosen([self.name]), self.proc()).places
        return found


@pytest.fixture
def nova(tmp_path: Path) -> Iterator[Installed]:
    """Nova, installed; nothing of it runs yet."""
    installed = Installed(tmp_path / "venv", "nova")
    yield installed
    for process in installed.processes:
        os.killpg(process.pid, 9)
        process.communicate()
