#!/usr/bin/python
# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the configuration files of a lab host in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_files
short_description: Write the configuration files of a lab host in one call
version_added: 0.1.0
description:
  - Writes many small files at once. A task for each file would cost the lab more time than its databases.
author:
  - The openstack.upgrade_test contributors (@openstack)
options:
  folder:
    description: Folder below which the files lie. It and the folders in between are made.
    type: path
    required: true
  files:
    description: Content of each file by its path below O(folder). Files that already hold their content are left alone.
    type: dict
    required: true
  folders:
    description: Further folders to make below O(folder).
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says what would be written without writing it.
    support: full
  diff_mode:
    description: The files hold passwords, so no differences are shown.
    support: none
"""

EXAMPLES = r"""
- name: Write two files
  openstack.upgrade_test.lab_files:
    folder: /var/lib/upgrade-test-lab/hosts/control1
    files:
      etc/nova/nova.conf: "[DEFAULT]\n"
      etc/hosts: "127.0.0.1 localhost\n"
"""

RETURN = r"""
files:
  description: Paths of the files that were written.
  type: list
  elements: str
  returned: always
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule


def write(path: Path, content: str) -> None:
    """Replace a file in one step, readable by its owner only (MariaDB and its like run as root in the lab)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.encode())
    temporary.replace(path)


def differs(path: Path, content: str) -> bool:
    """Whether the file has to be written."""
    return not path.is_file() or path.read_bytes() != content.encode()


def complaints(files: dict[str, Any], folders: list[str]) -> Iterator[str]:
    """What is wrong with the files and folders as asked for; never a word of a file's content."""
    for option, names in (("files", files), ("folders", folders)):
        for name in names:
            if not name or Path(name).is_absolute() or ".." in Path(name).parts:
                yield f"{option}: '{name}' must be a path below folder"
    for name, content in files.items():
        if not isinstance(content, str):
            yield f"files: content of {name} must be a text, not {type(content).__name__}"


def settle(folder: Path, files: dict[str, str], folders: list[str], *, really: bool) -> tuple[list[str], bool]:
    """Write what differs and make what is missing; the files that were due, and whether anything was.

    :raises OSError: a file could not be read or written.
    """
    due = sorted(name for name, text in files.items() if differs(folder / name, text))
    missing = [name for name in folders if not (folder / name).is_dir()]
    if really:
        for name in missing:
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name in due:
            write(folder / name, files[name])
    return due, bool(due or missing)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True, "no_log": True},  # they hold passwords
            "folders": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    folder, files, folders = Path(module.params["folder"]), module.params["files"], module.params["folders"]
    for complaint in complaints(files, folders):
        module.fail_json(msg=complaint)
    try:
        written, changed = settle(folder, files, folders, really=not module.check_mode)
    except OSError as error:
        module.fail_json(msg=f"{error.filename} could not be read or written: {error.strerror}")
    module.exit_json(changed=changed, files=written)


if __name__ == "__main__":
    main()
