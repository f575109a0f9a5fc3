# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
FRAGMENT = "- openstack.upgrade_test.cloud\n"


def test_the_group_has_every_module_with_connection_options() -> None:
    """What is set once for the action group reaches each module that opens a connection, and no other."""
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())
    connecting = [path.stem for path in (ROOT / "plugins/modules").glob("*.py") if FRAGMENT in path.read_text()]

    assert connecting
    assert sorted(runtime["action_groups"]["cloud"]) == sorted(connecting)
