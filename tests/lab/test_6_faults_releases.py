# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the releases themselves: code replaced under its processes, a pin left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.tests.lab._lab import NEW, Lab, Played


@pytest.fixture(scope="module")
def validated(upgraded: Lab, code_replaced: None, pin_left_behind: None) -> Played:
    """A look at the cloud as it is, which leaves no record."""
    variables = {"upgrade_test_stage": "now", "upgrade_test_from_release": NEW, "upgrade_test_depth": "quick"}
    played = upgraded.play("validate", variables, timeout=600)
    assert "Traceback" not in played.text
    assert played.rc != 0
    return played


@pytest.fixture(scope="module")
def code_replaced(upgraded: Lab) -> Iterator[None]:
    """Placement was installed once more, and its processes go on as they are."""
    (metadata,) = upgraded.root.glob(f"releases/{NEW}/lib/python3.*/site-packages/openstack_placement-*.dist-info")
    before = metadata.stat()
    os.utime(metadata, (time.time(), time.time() + 60))
    yield
    os.utime(metadata, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture(scope="module")
def pin_left_behind(upgraded: Lab) -> Iterator[None]:
    """A conductor is held to the release before by its configuration."""
    file = Path(upgraded.root, "hosts", "control2", "etc", "nova", "nova.conf")
    text, before = file.read_text(encoding="utf-8"), file.stat()
    assert "compute = auto" in text
    file.write_text(text.replace("compute = auto", "compute = epoxy"), encoding="utf-8")
    yield
    file.write_text(text, encoding="utf-8")
    # A configuration that is younger than its process would prove nothing.
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_process_not_restarted(validated: Played) -> None:
    """Each process that runs other code than is installed is named, on each host."""
    for host in ("control1", "control2"):
        message = next(one for one in validated.messages if f"placement-api on {host}" in one)
        assert "runs code that is no longer installed" in message
    assert not any("glance-api on" in message for message in validated.messages)


def test_pin_left_behind(validated: Played) -> None:
    """The host and the option are named."""
    assert any("control2" in one and "[upgrade_levels] compute = epoxy" in one for one in validated.messages)
