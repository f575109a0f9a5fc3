# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""lab_files as a task."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.openstack.upgrade_test.plugins.modules import lab_files

Call = Callable[..., dict[str, Any]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    def run(**params: Any) -> dict[str, Any]:
        with patch_module_args({"folder": str(tmp_path / "host"), **params}), pytest.raises(SystemExit):
            lab_files.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


def test_only_what_differs_is_written(call: Call, tmp_path: Path) -> None:
    """Files and folders are made, left alone when they are right, and replaced when they differ."""
    files = {"etc/nova/nova.conf": "[DEFAULT]\n", "etc/hosts": "Grüße\n"}
    first = call(files=files, folders=["var/a/b", "var/a"])
    inode = (tmp_path / "host/etc/hosts").stat().st_ino
    second = call(files=files, folders=["var/a/b", "var/a"])
    third = call(files=files | {"etc/nova/nova.conf": ""})

    assert [one["files"] for one in (first, second, third)] == [sorted(files), [], ["etc/nova/nova.conf"]]
    assert [one["changed"] for one in (first, second, third)] == [True, False, True]
    assert (tmp_path / "host/etc/hosts").read_text(encoding="utf-8") == "Grüße\n"
    assert (tmp_path / "host/etc/hosts").stat().st_ino == inode
    assert (tmp_path / "host/etc/nova/nova.conf").read_text() == ""
    assert (tmp_path / "host/var/a/b").is_dir()


def test_files_are_for_their_owner_only(call: Call, tmp_path: Path) -> None:
    """What is written may hold passwords: nobody else reads it, the result is silent, nothing half written is left."""
    result = call(files={"a": "password = very-secret\n"})

    assert (tmp_path / "host/a").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "host").iterdir()] == ["a"]
    assert "very-secret" not in json.dumps(result)


def test_missing_folder_alone_is_a_change(call: Call) -> None:
    """A folder that was not there is a change without any file."""
    result = call(files={}, folders=["a"])

    assert result == result | {"changed": True, "files": []}


def test_check_mode_writes_nothing(call: Call, tmp_path: Path) -> None:
    """Check mode names what would be written, and makes nothing."""
    result = call(files={"a": "some text"}, folders=["b"], _ansible_check_mode=True)

    assert result == result | {"changed": True, "files": ["a"]}
    assert list(tmp_path.iterdir()) == []


def test_binary_file_is_replaced(call: Call, tmp_path: Path) -> None:
    """What is no text at all differs."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host/a").write_bytes(b"\xff\xfe")

    assert call(files={"a": "text"})["files"] == ["a"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"files": {"/etc/passwd": ""}}, "files: '/etc/passwd' must be a path below folder"),
        ({"files": {"a/../../b": ""}}, "files: 'a/../../b' must be a path below folder"),
        ({"files": {}, "folders": [".."]}, "folders: '..' must be a path below folder"),
        ({"files": {"a": 5}}, "files: content of a must be a text, not int"),
        ({"files": {"a": {"password": "very-secret"}}}, "files: content of a must be a text, not dict"),
    ],
)
def test_wrong_files_are_refused(call: Call, tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    """What leads out of the folder or is no text is named, and nothing is written."""
    assert call(**wrong)["msg"] == message
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_the_way_is_named(call: Call, tmp_path: Path) -> None:
    """A file where a folder should be, or a folder where a file should be, is told with its path."""
    call(files={"file": "some text"}, folders=["folder/inner"])
    below = call(files={"file/inner": "some text"})
    instead = call(files={"folder": "some text"})

    assert below["msg"] == f"{tmp_path}/host/file could not be read or written: File exists"
    assert instead["msg"].endswith("/host/.folder.new could not be read or written: Is a directory")
