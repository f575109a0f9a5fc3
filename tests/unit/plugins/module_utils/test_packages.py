# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._packages import (
    Package,
    born,
    inside,
    newest_change,
    package_in,
    put,
)

LONG_AGO = 1_000_000_000.0


def test_links_are_followed_as_the_process_would(tmp_path: Path) -> None:
    """An absolute link in a container leads to a place in the container, and none leads out of it."""
    (tmp_path / "opt" / "nova-33").mkdir(parents=True)
    (tmp_path / "opt" / "nova").symlink_to("/opt/nova-33")
    (tmp_path / "srv").symlink_to("opt/../opt")
    (tmp_path / "out").symlink_to("/../../../etc")

    assert inside(tmp_path, "/opt/nova/lib") == tmp_path / "opt" / "nova-33" / "lib"
    assert inside(tmp_path, "/srv/nova") == tmp_path / "opt" / "nova-33"
    assert inside(tmp_path, "/out/passwd") == tmp_path / "etc" / "passwd"
    assert inside(tmp_path, "/not/there") == tmp_path / "not" / "there"


def test_links_that_go_round_end(tmp_path: Path) -> None:
    """A link to itself is no endless work."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    assert inside(tmp_path, "/a/x").is_relative_to(tmp_path)


def test_a_file_with_the_time_of_its_build_is_as_young_as_its_birth(tmp_path: Path) -> None:
    """Package managers set old times; the system remembers when the file was really put there."""
    path = tmp_path / "METADATA"
    begun = time.time()
    path.write_text("")
    os.utime(path, (LONG_AGO, LONG_AGO))
    if born(path) is None:
        pytest.skip("This file system does not know when a file was born.")

    assert put(path) >= begun - 1
    assert born(path) == pytest.approx(put(path))


def test_a_change_of_owner_or_mode_is_no_change_of_code(tmp_path: Path) -> None:
    """What deployment tools do to files at each of their runs does not make them younger."""
    path = tmp_path / "METADATA"
    path.write_text("")
    before = put(path)
    path.chmod(0o600)
    os.chown(path, os.getuid(), os.getgid())

    assert put(path) == before
    assert put(tmp_path / "none") == 0.0
    assert born(tmp_path / "none") is None


def test_the_newest_file_of_the_code_is_found(tmp_path: Path) -> None:
    """Tests and bytecode do not count, as they are none of what a service runs."""
    for name, moment in {"a.py": 5.0, "api/b.py": 9.0, "tests/c.py": 99.0, "__pycache__/d.py": 99.0}.items():
        path = tmp_path / "nova" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        os.utime(path, (LONG_AGO + moment, LONG_AGO + moment))
    package = Package(version="1", path="/nova.dist-info", installed=0, folder="/")
    found = newest_change(tmp_path, package, "nova")

    assert found is not None
    assert (found.time, found.file) == (LONG_AGO + 9.0, "nova/api/b.py")
    assert newest_change(tmp_path, package, "glance") is None


def test_metadata_of_a_distribution_package_is_read(tmp_path: Path) -> None:
    """Debian has a folder or a file that names the version; of several the newest counts."""
    folder = tmp_path / "usr" / "lib" / "python3" / "dist-packages"
    (folder / "nova-33.0.0.egg-info").mkdir(parents=True)
    (folder / "nova-33.0.0.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nVersion: 33.0.0\n")
    (folder / "glance-32.0.0.egg-info").write_text("")
    os.utime(folder / "glance-32.0.0.egg-info")
    found = [package_in(tmp_path, "/usr/lib/python3/dist-packages", name) for name in ("nova", "glance", "heat")]

    assert [one.version if one else None for one in found] == ["33.0.0", "32.0.0", None]


@pytest.mark.parametrize(
    ("origin", "folder"),
    [
        ('{"url": "file:///opt/my%20nova", "dir_info": {"editable": true}}', "/opt/my nova"),
        ('{"url": "file:///opt/nova", "dir_info": {}}', "/p"),
        ('{"url": "https://opendev.org/openstack/nova", "vcs_info": {"commit_id": "9155b11973"}}', "/p"),
        ('{"url": [], "dir_info": [], "vcs_info": 1}', "/p"),
        ("nonsense", "/p"),
        ("[]", "/p"),
    ],
)
def test_where_an_installation_says_it_came_from(tmp_path: Path, origin: str, folder: str) -> None:
    """Only an editable installation has its code elsewhere; what is damaged says nothing."""
    metadata = tmp_path / "p" / "nova-33.0.1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "direct_url.json").write_text(origin)
    found = package_in(tmp_path, "/p", "nova")

    assert found is not None
    assert found.folder == folder
    assert found.commit == ("9155b11973" if "commit_id" in origin else "")


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root can make a mount namespace.")
def test_a_process_with_files_of_its_own_is_read_through_its_eyes(tmp_path: Path) -> None:
    """What is mounted for one process alone, as in a container, is what counts for it."""
    shown, hidden = tmp_path / "shown", tmp_path / "hidden"
    shown.mkdir()
    (hidden / "nova-33.0.1.dist-info").mkdir(parents=True)
    script = f"mount --bind {hidden} {shown} && echo up && exec sleep 60"
    process = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "up\n":
            pytest.skip("No mount namespace can be made here.")
        root = Path(f"/proc/{process.pid}/root")

        assert package_in(Path("/"), str(shown), "nova") is None
        found = package_in(root, str(shown), "nova")
        assert found is not None
        assert (found.version, found.path) == ("33.0.1", f"{shown}/nova-33.0.1.dist-info")
    finally:
        process.kill()
        process.communicate()
