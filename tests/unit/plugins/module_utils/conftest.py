# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes that run real code, for whatever looks at processes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._hosts import Start, Venv


@pytest.fixture
def venv(tmp_path: Path) -> Venv:
    return Venv(tmp_path / "venv")


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes that end with the test; each is known to run its code when this returns."""
    started: list[subprocess.Popen[str]] = []

    def run(*command: str, **more: Any) -> int:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, **more)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process.pid

    yield run
    for process in started:
        os.killpg(process.pid, 9)
        process.communicate()
