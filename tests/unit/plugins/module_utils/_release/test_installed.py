# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._installed import (
    Installed,
    container_of,
    dpkg_entry,
    image_in,
    packages,
    rpm_entry,
    upstream,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._running import Running
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._verdict import Target

NEW = Target(releases=("2026.1",))
STATUS = """Package: python3-novaclient
Status: install ok installed
Version: 2:18.9.0-0ubuntu1

Package: python3-nova
Status: {state}
Priority: optional
Maintainer: Somebody <somebody@example.org>
Source: nova
Version: {version}
Depends: python3:any, python3-sqlalchemy (>= 1.4)
Description: OpenStack Compute - Python libraries
 More words, Version: not this one
 .

Package: zlib1g
Status: install ok installed
Version: 1:1.3
"""
CONTAINER = "3f1c9a" + "0" * 58
# As engines tell it, shortened.
DOCKER = """[{"Id": "3f1c9a", "Name": "/nova_api", "Config": {
 "Image": "quay.io/openstack.kolla/nova-api:2026.1-ubuntu-noble", "Labels": {"kolla_version": "22.2.0"}}}]"""
PODMAN = (
    """[{"Name": "nova_api", "ImageName": "quay.io/openstack.kolla/nova-api:2026.1", "Config": {"Labels": null}}]"""
)


def host(tmp_path: Path, version: str, state: str = "install ok installed") -> Running:
    """A process whose code comes from the package of a distribution, on a host with dpkg."""
    status = tmp_path / "7" / "root" / "var" / "lib" / "dpkg" / "status"
    status.parent.mkdir(parents=True)
    status.write_text(STATUS.format(version=version, state=state))
    return Running(
        service="nova",
        component="nova-conductor",
        host="control1",
        pid=7,
        started=0.0,
        evidence={"metadata": "/usr/lib/python3/dist-packages/nova-33.0.0.egg-info"},
    )


@pytest.mark.parametrize(
    ("version", "state", "status", "words"),
    [
        ("3:33.0.0-0ubuntu1", "install ok installed", "pass", "3:33.0.0-0ubuntu1 (2026.1) is installed on control1"),
        ("3:31.0.0-0ubuntu1", "install ok installed", "fail", "which is not 2026.1"),
        (
            "3:33.0.0-0ubuntu1",
            "install ok half-configured",
            "fail",
            "by half, its state is 'install ok half-configured'",
        ),
        ("3:33.0.0-0ubuntu1", "install ok unpacked", "fail", "by half"),
        ("3:99.0.0-0ubuntu1", "install ok installed", "unknown", "release not known"),
    ],
)
def test_a_package_of_the_distribution(tmp_path: Path, version: str, state: str, status: str, words: str) -> None:
    """Its version is of the release that is wanted, and it is installed as a whole."""
    running = host(tmp_path, version, state)
    (outcome,) = packages([running, running], NEW, "after", tmp_path)

    assert (str(outcome.status), outcome.subject, outcome.host) == (status, "python3-nova", "control1")
    assert words in outcome.message


def test_code_of_a_virtual_environment_has_no_package(tmp_path: Path) -> None:
    """What the distribution has installed says nothing of a process that runs other code."""
    running = host(tmp_path, "3:31.0.0-0ubuntu1")
    venv = Running(**{**vars(running), "evidence": {"metadata": "/opt/nova/lib/python3.12/site-packages/n.dist-info"}})

    assert packages([venv], NEW, "", tmp_path) == []


@pytest.mark.parametrize(
    ("version", "plain"),
    [
        ("3:33.0.0-0ubuntu1~cloud0", "33.0.0"),
        ("2:33.0.0~rc1-0ubuntu1", "33.0.0rc1"),
        ("3:33.1.0+git2026060112.9155b119-0ubuntu1", "33.1.0.dev2026060112.9155b119"),
        ("33.0.0-1.el10", "33.0.0"),
        ("33.0.0", "33.0.0"),
    ],
)
def test_versions_of_distributions(version: str, plain: str) -> None:
    """Epoch and revision are the distribution's; a snapshot stays one."""
    assert upstream(version) == plain


def test_what_package_managers_do_not_know() -> None:
    """A package that is not there is none, and neither is one that was removed but for its configuration."""
    assert dpkg_entry(STATUS, "python3-glance") is None
    assert dpkg_entry(STATUS.format(version="3:31.0.0", state="deinstall ok config-files"), "python3-nova") is None
    assert rpm_entry("package python3-nova is not installed", "python3-nova") is None
    assert rpm_entry("33.0.0-1.el10", "python3-nova") == Installed(name="python3-nova", version="33.0.0-1.el10")


@pytest.mark.parametrize(
    ("inspected", "told"),
    [
        (
            DOCKER,
            {
                "container": "nova_api",
                "image": "quay.io/openstack.kolla/nova-api:2026.1-ubuntu-noble",
                "kolla_version": "22.2.0",
            },
        ),
        (PODMAN, {"container": "nova_api", "image": "quay.io/openstack.kolla/nova-api:2026.1"}),
        ("", {}),
        ("[]", {}),
        ("[1]", {}),
    ],
)
def test_what_an_engine_says_of_a_container(inspected: str, told: dict[str, str]) -> None:
    """Name, image and Kolla's version are told, as far as there are any."""
    assert image_in(inspected) == told


@pytest.mark.parametrize(
    "group",
    [
        f"0::/system.slice/docker-{CONTAINER}.scope",
        f"12:cpu:/docker/{CONTAINER}",
        f"0::/machine.slice/libpod-{CONTAINER}.scope/container",
    ],
)
def test_the_container_of_a_process(tmp_path: Path, group: str) -> None:
    """Where its engine cannot be asked, the container is at least named by its number."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text(f"{group}\n")

    assert container_of(7, tmp_path)["container"] == CONTAINER[:12]


def test_a_process_in_no_container(tmp_path: Path) -> None:
    """A service of the host itself has none."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text("0::/system.slice/nova-conductor.service\n")

    assert container_of(7, tmp_path) == {} == container_of(8, tmp_path)
