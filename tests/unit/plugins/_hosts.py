# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes as a host has them: real ones, of virtual environments into which a test writes what is installed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

SLEEPER = "import sys, time\nprint('up', flush=True)\ntime.sleep(60)\n"
Start = Callable[..., int]


class Venv:
    """A virtual environment without pip, into which a test writes distributions and scripts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "bin").mkdir(parents=True)
        (path / "bin" / "python").symlink_to(sys.executable)
        (path / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).parent}\n")
        self.packages = path / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        self.packages.mkdir(parents=True)

    def install(self, distribution: str, version: str, *, age: float = 60) -> None:
        """Install a distribution that many seconds ago, in place of an older one."""
        for old in self.packages.glob(f"{distribution}-*"):
            (old / "METADATA").unlink()
            old.rmdir()
        folder = self.packages / f"{distribution}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        moment = time.time() - age
        os.utime(folder, (moment, moment))

    def library(self, name: str) -> str:
        """Put a file of code beside the distributions, as a new one; return its path."""
        path = self.packages / name
        path.with_suffix(".new").write_bytes(b"x" * 4096)
        path.with_suffix(".new").rename(path)
        return str(path)

    def metadata(self, distribution: str, version: str, file: str, text: str) -> None:
        """Write a further file into the metadata of a distribution."""
        (self.packages / f"{distribution}-{version}.dist-info" / file).write_text(text)

    def script(self, name: str, text: str = SLEEPER) -> str:
        """Write a console script as pip does; return its path."""
        path = self.path / "bin" / name
        path.write_text(f"#!{self.path}/bin/python\n{text}")
        path.chmod(0o755)
        return str(path)
