# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import ProbeError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import read_records
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import SERVICES, recognise
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._running import (
    Running,
    Watch,
    absence,
    judge,
    observe,
)

SLEEPER = "import sys, time\nprint('up', flush=True)\ntime.sleep(60)\n"
FORKING = "import os, sys, time\nos.fork()\nos.write(1, b'up\\n')\ntime.sleep(60)\n"  # in one write: two speak at once
Start = Callable[..., int]


class Venv:
    """A virtual environment without pip, into which a test writes distributions and scripts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "bin").mkdir(parents=True)
        (path / "bin" / "python").symlink_to(sys.executable)
        (path / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).parent}\n")
        self.packages = path / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        self.packages.mkdir(parents=True)

    def install(self, distribution: str, version: str, *, age: float = 60) -> None:
        """Install a distribution that many seconds ago, in place of an older one."""
        for old in self.packages.glob(f"{distribution}-*"):
            (old / "METADATA").unlink()
            old.rmdir()
        folder = self.packages / f"{distribution}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        moment = time.time() - age
        os.utime(folder, (moment, moment))

    def script(self, name: str, text: str = SLEEPER) -> str:
        """Write a console script as pip does; return its path."""
        path = self.path / "bin" / name
        path.write_text(f"#!{self.path}/bin/python\n{text}")
        path.chmod(0o755)
        return str(path)


@pytest.fixture
def venv(tmp_path: Path) -> Venv:
    return Venv(tmp_path / "venv")


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes that end with the test; each is known to run its code when this returns."""
    started: list[subprocess.Popen[str]] = []

    def run(*command: str, executable: str | None = None) -> int:
        process = subprocess.Popen(
            command, executable=executable, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process.pid

    yield run
    for process in started:
        os.killpg(process.pid, 9)
        process.communicate()


def find(pid: int, watch: Watch | None = None) -> Running | None:
    """Return what is said of one process."""
    return next((one for one in (watch or Watch("control1", SERVICES)).read() if one.pid == pid), None)


def seen(pid: int, watch: Watch | None = None) -> Running:
    found = find(pid, watch)
    assert found is not None
    return found


def test_a_script_of_a_virtual_environment_is_read(venv: Venv, start: Start) -> None:
    """A console script runs what is installed in its own environment."""
    venv.install("nova", "33.0.1")
    running = seen(start(venv.script("nova-conductor")))

    assert (running.service, running.component, running.instance) == (
        "nova",
        "nova-conductor",
        "control1/nova-conductor",
    )
    assert (running.version, running.release, running.problem) == ("33.0.1", "2026.1", "")
    assert running.evidence["metadata"] == f"{venv.packages}/nova-33.0.1.dist-info"


def test_a_wsgi_server_is_read_by_its_module(venv: Venv, start: Start) -> None:
    """A server that names module and environment in its options is the component behind the module."""
    venv.install("openstack_placement", "13.0.0")
    script = venv.script("any")
    command = ("uwsgi", script, "--module", "placement.wsgi.api:application", "--venv", str(venv.path))
    running = seen(start(*command, executable=sys.executable))

    assert (running.service, running.component, running.release) == ("placement", "placement-api", "2025.1")


def test_a_wsgi_server_is_read_by_its_file(venv: Venv, start: Start, tmp_path: Path) -> None:
    """A server whose module and environment stand in its file is found out there."""
    venv.install("keystone", "29.0.1")
    ini = tmp_path / "public.ini"
    ini.write_text(f"[uwsgi]\nmodule = keystone.wsgi.api:application\nvirtualenv = {venv.path}\n")
    running = seen(start("uwsgi", venv.script("any"), "--ini", str(ini), executable=sys.executable))

    assert (running.service, running.component, running.release) == ("keystone", "keystone-api", "2026.1")


def test_what_only_names_a_service_is_none_of_its_processes(start: Start, venv: Venv) -> None:
    """A shell, and a command of the operator, run none of the service's code."""
    venv.install("nova", "33.0.1")
    shell = start("/bin/sh", "-c", "echo up; sleep 60; :", "nova-conductor")
    tool = start(venv.script("nova-manage"))

    assert [find(shell), find(tool)] == [None, None]


def test_workers_are_one_with_the_process_that_forked_them(venv: Venv, start: Start) -> None:
    """A worker runs the code that its parent had loaded, so it is not counted."""
    venv.install("neutron", "28.0.0")
    pid = start(venv.script("neutron-rpc-server", FORKING))
    mine = [one for one in Watch("h", SERVICES).read() if str(venv.path) in str(one.evidence)]

    assert [one.pid for one in mine] == [pid]


def test_a_process_older_than_its_packages_fails(venv: Venv, start: Start) -> None:
    """What was upgraded but not restarted is never taken for the new release."""
    venv.install("nova", "31.0.0")
    pid = start(venv.script("nova-scheduler"))
    venv.install("nova", "33.0.1", age=-60)
    running = seen(pid)
    outcome = judge([running], ["2026.1"], "after")[0]

    assert (running.version, running.release) == ("", "")
    assert outcome.status is Status.FAIL
    assert "nova-scheduler on control1" in outcome.message
    assert "before nova 33.0.1 was installed" in outcome.message


def test_what_was_read_in_time_stays_known(venv: Venv, start: Start) -> None:
    """A watch that saw the process before its packages were replaced knows what still runs."""
    venv.install("nova", "31.0.0")
    pid, watch = start(venv.script("nova-scheduler")), Watch("control1", SERVICES)
    before = seen(pid, watch)
    venv.install("nova", "33.0.1", age=-60)

    assert seen(pid, watch) == before
    assert before.release == "2025.1"


def test_missing_metadata_is_unknown(venv: Venv, start: Start) -> None:
    """A process whose packages cannot be found is unknown, and never good."""
    outcome = judge([seen(start(venv.script("nova-compute")))], ["2026.1"], "after")[0]

    assert outcome.status is Status.UNKNOWN
    assert "metadata of nova was not found" in outcome.message


def running(version: str, release: str, **more: object) -> Running:
    facts = {"service": "nova", "component": "nova-compute", "host": "compute1", "pid": 7, "started": 0.0}
    return Running(**{**facts, "version": version, "release": release, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("releases", "status"),
    [(["2025.1"], Status.PASS), (["2026.1"], Status.FAIL), (["2025.1", "2026.1"], Status.PASS), ([], Status.PASS)],
)
def test_the_release_decides(releases: list[str], status: Status) -> None:
    """The one release expected passes, another one fails, and any of several passes."""
    assert judge([running("31.0.0", "2025.1")], releases, "")[0].status is status


def test_a_wrong_release_names_all_there_is_to_know() -> None:
    """A failure names service, instance and both versions."""
    message = judge([running("31.0.0", "2025.1")], ["2026.1"], "")[0].message

    assert message == "nova-compute on compute1 runs nova 31.0.0 (2025.1) and should run 2026.1 (nova 33.0)."


def test_a_host_without_processes_is_skipped() -> None:
    """A host on which nothing runs is neither good nor bad."""
    assert absence(Watch("infra", SERVICES), "before").status is Status.SKIP


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["nova.wsgi.osapi_compute"], ("nova", "nova-api")),
        (["nova-api-wsgi"], ("nova", "nova-api")),
        (["wsgi:keystone-public"], ("keystone", "keystone-api")),
        (["keystone-uwsgi-public"], ("keystone", "keystone-api")),
        (["neutron-openvswitch-agent"], ("neutron", "neutron-openvswitch-agent")),
        (["neutron-server"], ("neutron", "neutron-server")),
        (["glance.wsgi.api"], ("glance", "glance-api")),
        (["neutron-keepalived-state-change"], None),
        (["nova-rootwrap-daemon"], None),
        (["privsep-helper"], None),
        (["novastar"], None),
        ([], None),
    ],
)
def test_recognise(names: list[str], expected: tuple[str, str] | None) -> None:
    """A program is recognised by what names it, whoever deployed it; tools and strangers are not."""
    assert recognise(names) == expected


def test_an_observer_logs_each_change_once(venv: Venv, start: Start, tmp_path: Path) -> None:
    """What appears is logged when it appears, what stays is not logged again, and the last heartbeat says ended."""
    venv.install("nova", "31.0.0")
    observed, watch = tmp_path / "observed", Watch("control1", SERVICES)
    first = observe(watch, observed, interval=0.1, duration=0.5)
    pid = start(venv.script("nova-novncproxy"))
    last = observe(watch, observed, interval=0.1, duration=0.5)
    records, torn = read_records(observed / "processes.jsonl")
    mine = [[one for one in record["processes"] if one["pid"] == pid] for record in records]

    assert (first["state"], last["state"], torn) == ("ended", "ended", 0)
    assert first["counts"]["readings"] >= 2
    assert mine[0] == []
    assert mine[-1][0]["release"] == "2025.1"
    assert oct((observed / "processes.jsonl").stat().st_mode & 0o777) == "0o600"


def test_an_observer_ends_on_the_stop_file(tmp_path: Path) -> None:
    """A stop file that is there ends it at once, whatever its duration."""
    (tmp_path / "stop").touch()
    begin = time.monotonic()
    observe(Watch("h", SERVICES), tmp_path, interval=1, duration=60)

    assert time.monotonic() - begin < 30


def test_a_directory_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    """A directory that is a file is an error that names it."""
    (tmp_path / "file").touch()

    with pytest.raises(ProbeError, match="directory: "):
        observe(Watch("h", SERVICES), tmp_path / "file", interval=1, duration=1)
