# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small cloud, and a connection to it, for whatever asks a cloud."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Access, Cloud, connect
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._small_cloud import (
    SmallCloud,
    clouds_yaml,
    small_cloud,
)


@pytest.fixture
def small() -> Iterator[SmallCloud]:
    """A cloud that serves what a test gives it."""
    with small_cloud() as cloud:
        yield cloud


@pytest.fixture
def cloud(small: SmallCloud, tmp_path: Path) -> Cloud:
    """The same, as its user sees it."""
    return connect(Access(cloud="small", clouds_yaml=clouds_yaml(tmp_path, f"{small.url}/v3"), api_timeout=5))
