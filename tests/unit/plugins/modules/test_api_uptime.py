# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""api_uptime as a task: options in, a short result out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.openstack.upgrade_test.plugins.modules import api_uptime


def run(capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    """The result of the module."""
    with patch_module_args(options), pytest.raises(SystemExit):
        api_uptime.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_observes_and_sums_up(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The result says how the observer ended and what it saw, in both modes."""
    target = {"name": "a", "service": "keystone", "via": "public", "url": url, "expect": {"body": "hello"}}
    result = run(capsys, targets=[target], directory=str(tmp_path), duration=0.5, rate=50)

    assert result["changed"] is False
    assert result["observer"]["state"] == "ended"
    assert [observation["target"]["mode"] for observation in result["observations"]] == ["new", "kept"]
    for observation in result["observations"]:
        assert observation["outages"] == []
        assert observation["counts"]["up"] > 5


def test_check_mode_sends_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In check mode the targets are listed and nothing happens."""
    target = {"name": "a", "url": "http://127.0.0.1:1/"}
    result = run(capsys, targets=[target], directory=str(tmp_path / "new"), _ansible_check_mode=True)

    assert "would send 20 probes per second to 2 targets" in result["observer"]["message"]
    assert not (tmp_path / "new").exists()


def test_mistake_is_one_line_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake fails the task with the option's name, and is found in the heartbeat of the background task."""
    result = run(capsys, targets=[{"name": "a"}], directory=str(tmp_path))

    assert result["failed"]
    assert result["msg"] == "targets[0]: 'url' is missing"
    assert json.loads((tmp_path / "status.json").read_text())["message"] == result["msg"]


def test_mistake_in_check_mode_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Check mode finds mistakes too, without a trace."""
    result = run(capsys, targets=[], directory=str(tmp_path), _ansible_check_mode=True)

    assert result["msg"] == "targets: name at least one target"
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_cloud_is_one_line(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A cloud that is not in clouds.yaml fails the task before anything is sent, in check mode too."""
    pytest.importorskip("openstack")
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text("clouds: {prod: {auth: {auth_url: http://127.0.0.1:1/v3}}}")
    target = {"name": "a", "url": url, "auth_url": url}
    options = {"targets": [target], "directory": str(tmp_path / "o"), "cloud": "prd", "clouds_yaml": str(clouds)}

    for check in (False, True):
        result = run(capsys, **options, _ansible_check_mode=check)
        assert "the clouds there are 'prod'" in result["msg"]
        assert (tmp_path / "o" / "log").exists() is False


# Openstacksdk warns of its own optional dependencies.
@pytest.mark.filterwarnings("ignore:Support for InfluxDB")
def test_a_cloud_that_does_not_answer_is_observed_all_the_same(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With Keystone away the plain lanes are observed, the others are void, and the result holds no secret."""
    pytest.importorskip("openstack")
    auth = {"auth_url": "http://127.0.0.1:1/v3", "username": "u", "password": "unspeakable", "project_name": "p"}
    (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": {"prod": {"auth": auth}}}))
    target = {"name": "a", "url": url, "auth_url": url, "connections": ["new"]}
    given = {"directory": str(tmp_path / "o"), "duration": 1, "cloud": "prod"}
    result = run(capsys, targets=[target], clouds_yaml=str(tmp_path / "clouds.yaml"), authenticated_rate=20, **given)

    plain, token = result["observations"]
    assert (plain["target"]["auth"], token["target"]["auth"]) == (False, True)
    assert plain["coverage"] == 1
    assert token["coverage"] == 0
    assert token["counts"]["down"] == 0
    status = (tmp_path / "o" / "status.json").read_text()
    assert "127.0.0.1:1/v3 is unreachable" in json.loads(status)["tokens"]["error"]
    assert "unspeakable" not in status + json.dumps(result)
