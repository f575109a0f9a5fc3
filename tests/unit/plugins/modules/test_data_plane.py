# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""data_plane as a task."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.openstack.upgrade_test.plugins.modules import data_plane


def run(capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    """The result of the module."""
    with patch_module_args(options), pytest.raises(SystemExit):
        data_plane.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_observes_address_and_port(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An address that answers echoes and listens is up in both ways."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = {"name": "a", "service": "nova", "address": "127.0.0.1", "tcp_port": listener.getsockname()[1]}
        result = run(capsys, targets=[target], directory=str(tmp_path), duration=0.5, rate=50)

    assert [observation["target"]["mode"] for observation in result["observations"]] == ["icmp", "tcp"]
    for observation in result["observations"]:
        assert observation["outages"] == []
        assert observation["counts"]["up"] > 5


def test_closed_port_is_an_outage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A port that nobody listens on is refused; the address itself is up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    target = {"name": "a", "address": "127.0.0.1", "tcp_port": port}
    ping, tcp = run(capsys, targets=[target], directory=str(tmp_path), duration=0.3, rate=50)["observations"]

    assert ping["outages"] == []
    assert list(tcp["outages"][0]["kinds"]) == ["refused"]


def test_bad_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rate of 0 is refused by name."""
    result = run(capsys, targets=[{"name": "a", "address": "127.0.0.1"}], directory=str(tmp_path), rate=0)

    assert result["msg"].startswith("rate: must be greater than 0")
