# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host of a cloud is: real processes, and configurations as deployment tools write them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.filter.balanced_instances import FilterModule
from ansible_collections.openstack.upgrade_test.plugins.module_utils._host_info import (
    DEVSTACK,
    KOLLA,
    LAB,
    OSA,
    PACKAGES,
    Found,
    deployed_by,
    describe,
    listeners,
    parse_proxies,
    traces,
)
from ansible_collections.openstack.upgrade_test.tests.unit.plugins.modules.test_validators import module, run

SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(60)\n"
LIBRARY = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
# A load balancer of one section a service, as the embedded lab has it.
LISTEN = """
global
    stats socket /run/h.sock mode 600 level admin
listen keystone
    bind 10.81.0.10:5000
    option httpchk
    server control1 10.81.0.11:5000
    server control2 10.81.0.12:5000 # the second
"""
# As Kolla-Ansible writes it.
KOLLA_STYLE = """
frontend nova_api_front
    mode http
    http-request del-header X-Forwarded-Proto
    bind 192.0.2.10:8774
    default_backend nova_api_back
backend nova_api_back
    mode http
    option httpchk
    server ctl1 192.0.2.11:8774 check inter 2000 rise 2 fall 5
    server ctl2 192.0.2.12:8774 check inter 2000 rise 2 fall 5
userlist users
    server no_server 1.2.3.4:8774
"""
# As OpenStack-Ansible writes it, with TLS up to the servers, and a second address for the outside.
OSA_STYLE = """
frontend glance_api-front-1
    bind 203.0.113.5:9292 ssl crt /etc/haproxy/ssl/x.pem
    default_backend glance_api-back
frontend glance_api-front-2
    bind 172.29.236.9:9292,[::]:9292
    default_backend glance_api-back
backend glance_api-back
    server infra1_glance 172.29.236.11:9292 check port 9292 inter 12000 ssl verify none
    server gone
"""
# One port for several services.
SHARED = """
frontend all
    bind *:443
    use_backend nova if { path_beg /compute }
    use_backend glance if { path_beg /image }
backend nova
    server a 10.0.0.1:8774
backend glance
    server a 10.0.0.1:9292
"""
Start = Callable[..., int]
instances = FilterModule().filters()["balanced_instances"]


def script(folder: Path, name: str) -> str:
    """Write a program into a virtual environment, as pip does."""
    (folder / LIBRARY).mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(sys.executable)
    (folder / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).parent}\n")
    path = folder / "bin" / name
    path.write_text(f"#!{folder}/bin/python\n{SLEEPER}")
    path.chmod(0o755)
    return str(path)


def test_a_running_process_tells_who_deployed_it(tmp_path: Path, start: Start) -> None:
    """Its code lies where a tool puts it; the component is told, too."""
    start(script(tmp_path / "openstack/venvs/nova-33.0.1", "nova-conductor"))
    found = describe()

    assert {"service": "nova", "component": "nova-conductor"} in found["components"]
    # Others may run on this machine, too.
    assert OSA in found["deployer"].split(" and ")
    assert any("/openstack/venvs/nova-33.0.1/" in one for one in found["evidence"])


def test_the_lab_is_recognised(tmp_path: Path, start: Start) -> None:
    """By what it keeps beside its releases, wherever that is."""
    for name in ("inventory.yml", "release"):
        (tmp_path / name).touch()
    start(script(tmp_path / "releases/2026.1", "nova-scheduler"))

    assert LAB in describe()["deployer"].split(" and ")


@pytest.mark.parametrize(
    ("folders", "left", "tool"),
    [
        (["/var/lib/kolla/venv/lib/python3/site-packages"], {}, KOLLA),
        (["/opt/stack/data/venv/lib/python3.12/site-packages"], {}, DEVSTACK),
        (["/usr/lib/python3/dist-packages"], {}, PACKAGES),
        (["/usr/lib/python3.9/site-packages"], {KOLLA: "/etc/kolla/x/config.json"}, PACKAGES),
        (["/usr/lib/python3/dist-packages", "/openstack/venvs/nova-1/lib/x"], {}, f"{OSA} and {PACKAGES}"),
        (["/home/somebody/lib"], {KOLLA: "/etc/kolla/x/config.json"}, ""),
        ([""], {}, ""),
        ([], {KOLLA: "/etc/kolla/haproxy/config.json"}, KOLLA),
        ([], {}, ""),
    ],
)
def test_what_runs_goes_before_what_lies_about(folders: list[str], left: dict[str, str], tool: str) -> None:
    """A tool's files count only where nothing runs; what nothing tells is not guessed."""
    running = [Found(service="nova", component="nova-api", folder=folder) for folder in folders]
    deployer, evidence = deployed_by(running, left)

    assert deployer == tool
    assert bool(evidence) == bool(folders or left)


def test_traces_are_files(tmp_path: Path) -> None:
    """Empty folders are none."""
    (tmp_path / "etc/kolla/haproxy").mkdir(parents=True)
    assert traces(tmp_path) == {}
    (tmp_path / "etc/kolla/haproxy/config.json").touch()
    assert traces(tmp_path) == {KOLLA: "/etc/kolla/haproxy/config.json"}


def test_a_running_load_balancer_is_read(tmp_path: Path, start: Start) -> None:
    """Its files are those that it was started with, a folder of them, too."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "haproxy.cfg").write_text(LISTEN.replace("keystone", "keystone-of-this-test"))
    (tmp_path / "conf.d/nova.cfg").write_text(KOLLA_STYLE.replace("nova_api_front", "nova-of-this-test"))
    (tmp_path / "conf.d/note.txt").write_text(SHARED)
    start(script(tmp_path / "v", "haproxy"), "-W", "-f", "haproxy.cfg", "-f", f"{tmp_path}/conf.d", cwd=tmp_path)
    found = {one["name"]: one for one in describe()["listeners"]}

    assert found["keystone-of-this-test"]["binds"] == ["10.81.0.10:5000"]
    assert [one["name"] for one in found["nova-of-this-test"]["servers"]] == ["ctl1", "ctl2"]


def hosts(*texts: str) -> dict[str, dict[str, object]]:
    return {f"lb{number}": {"listeners": listeners(parse_proxies(text))} for number, text in enumerate(texts)}


def published(**urls: str) -> list[dict[str, str]]:
    return [{"service": name, "via": "public", "url": url} for name, url in urls.items()]


PUBLISHED = published(
    keystone="http://10.81.0.10:5000/v3", nova="http://192.0.2.10:8774/", glance="https://cloud.example.org:9292/"
)


def test_instances_stand_behind_the_published_ports() -> None:
    """Of each style; once, although both balancers and both addresses lead to them."""
    found = instances(PUBLISHED, hosts(LISTEN + KOLLA_STYLE + OSA_STYLE, KOLLA_STYLE))

    assert [(one["service"], one["host"], one["url"]) for one in found] == [
        ("keystone", "control1", "http://10.81.0.11:5000"),
        ("keystone", "control2", "http://10.81.0.12:5000"),
        ("nova", "ctl1", "http://192.0.2.11:8774"),
        ("nova", "ctl2", "http://192.0.2.12:8774"),
        ("glance", "infra1_glance", "https://172.29.236.11:9292"),
    ]


def test_what_shares_a_port_is_not_guessed() -> None:
    """Which servers belong to which service stands in rules; nothing is better than the wrong one."""
    shared = published(nova="https://cloud/compute/v2.1", glance="https://cloud/image")

    assert instances(shared, hosts(SHARED)) == []
    assert instances(published(nova="https://cloud/compute/v2.1"), hosts(SHARED)) == []


def test_the_module_asks_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    """It has no options and changes nothing."""
    assert module("host_info").DOCUMENTATION.count("options:") == 0
    result = run(capsys, "host_info")

    assert result["changed"] is False
    assert set(json.loads(json.dumps(result["host_info"]))) == {"deployer", "evidence", "components", "listeners"}
