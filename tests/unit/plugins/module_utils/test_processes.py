# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._processes import Process, names_of


@pytest.mark.parametrize("title", ["nova-scheduler:", "nova-scheduler"])
def test_a_retitled_process_keeps_its_name(tmp_path: Path, title: str) -> None:
    """A service that has put its own title in place of its command line is still the same component."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "exe").symlink_to(sys.executable)
    process = Process(pid=7, parent=1, ticks=1, started=0.0, name=title, command=(title, "master", "process"))

    assert names_of(process, tmp_path) == ["nova-scheduler"]
