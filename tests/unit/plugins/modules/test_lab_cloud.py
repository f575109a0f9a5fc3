# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""lab_cloud's arguments; what it makes is tested with the lab itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.openstack.upgrade_test.plugins.modules import lab_cloud

# openstacksdk warns of an option that nobody set.
pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB")

CLOUDS = """
clouds:
  lab:
    auth: {auth_url: "http://127.0.0.1:1/v3", username: admin, password: very-secret, project_name: admin}
"""
USER = {"project": "service", "roles": ["admin"], "password": "very-secret"}

Call = Callable[..., dict[str, Any]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text(CLOUDS)

    def run(**params: Any) -> dict[str, Any]:
        options = {"cloud": "lab", "clouds_yaml": str(clouds), **params}
        with patch_module_args(options), pytest.raises(SystemExit):
            lab_cloud.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"services": {"nova": {"type": "compute"}}}, "services: nova needs url"),
        ({"users": {"glance": {"password": "very-secret"}}}, "users: glance needs project, roles"),
        ({"users": {"glance": "very-secret"}}, "users: glance needs password, project, roles"),
        ({"domains": {"heat": {"password": "very-secret"}}}, "domains: heat needs admin"),
        ({"flavors": {"guest": {"ram": 128}}}, "flavors: guest needs disk, vcpus"),
        ({"images": {"guest": {"file": "/nowhere"}}}, "images: guest needs format"),
        (
            {"images": {"guest": {"file": "/nowhere", "format": "ami", "kernel": "later"}}},
            "images: kernel of guest must be an image that is named before it, not later",
        ),
        ({"networks": {"public": None}}, "networks: public needs cidr, gateway, physical_network"),
    ],
)
def test_incomplete_content_is_told(call: Call, wrong: dict[str, Any], message: str, check: bool) -> None:
    """What lacks is named before the cloud is asked, in check mode too, and never with a password."""
    result = call(**wrong, _ansible_check_mode=check)

    assert result == result | {"failed": True, "msg": message}
    assert "very-secret" not in json.dumps(result)


def test_check_mode_asks_nobody(call: Call) -> None:
    """Check mode makes nothing and needs no cloud."""
    result = call(users={"glance": USER}, _ansible_check_mode=True)

    assert result == result | {"changed": False, "made": []}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"cloud": "other"}, ["'other'", "clouds.yaml", "'lab'"]),
        ({"clouds_yaml": "/nowhere/clouds.yaml"}, ["/nowhere/clouds.yaml"]),
        ({}, ["lab", "127.0.0.1:1"]),
    ],
)
def test_cloud_that_cannot_be_used_is_told(call: Call, wrong: dict[str, Any], words: list[str]) -> None:
    """An unknown cloud, a missing file or an unreachable cloud is named in one line, without a password."""
    result = call(**wrong)

    assert result["failed"] is True
    assert [word for word in words if word not in result["msg"]] == []
    assert "\n" not in result["msg"]
    assert "very-secret" not in json.dumps(result)
