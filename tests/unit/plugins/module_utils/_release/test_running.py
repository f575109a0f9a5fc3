# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import ProbeError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._judgement import (
    absence,
    judge,
    releases_on,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._running import Running, Watch, observe
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._verdict import Target, target_of
from ansible_collections.openstack.upgrade_test.plugins.module_utils._releases import possible
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import read_records
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import SERVICES, recognise
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._hosts import Start, Venv

MAPPING = """import mmap, sys, time
file = open(sys.argv[1], 'rb')
mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
file.close()
print('up', flush=True)
time.sleep(60)
"""
AGAIN = """import os, signal, sys
print('up', flush=True)
signal.signal(signal.SIGUSR1, lambda *_: os.execv(sys.executable, [sys.executable, *sys.argv]))
while True:
    signal.pause()
"""
FORKING = "import os, sys, time\nos.fork()\nos.write(1, b'up\\n')\ntime.sleep(60)\n"  # in one write: two speak at once


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
    outcome = judge([running], Target(releases=("2026.1",)), "after")[0]

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
    outcome = judge([seen(start(venv.script("nova-compute")))], Target(releases=("2026.1",)), "after")[0]

    assert outcome.status is Status.UNKNOWN
    assert "metadata of nova was not found" in outcome.message


def running(version: str, release: str, **more: object) -> Running:
    facts = {"service": "nova", "component": "nova-compute", "host": "compute1", "pid": 7, "started": 0.0}
    facts["possible"] = possible("nova", version)
    return Running(**{**facts, "version": version, "release": release, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("releases", "status"),
    [(["2025.1"], Status.PASS), (["2026.1"], Status.FAIL), (["2025.1", "2026.1"], Status.PASS), ([], Status.PASS)],
)
def test_the_release_decides(releases: list[str], status: Status) -> None:
    """The one release expected passes, another one fails, and any of several passes."""
    assert judge([running("31.0.0", "2025.1")], Target(releases=tuple(releases)), "")[0].status is status


def test_a_wrong_release_names_all_there_is_to_know() -> None:
    """A failure names service, instance and both versions."""
    message = judge([running("31.0.0", "2025.1")], Target(releases=("2026.1",)), "")[0].message

    assert message == "nova-compute on compute1 runs nova 31.0.0 (2025.1) and should run 2026.1 (nova 33.0)."


def test_a_host_without_processes_is_skipped() -> None:
    """A host on which nothing runs is neither good nor bad."""
    assert absence("infra", SERVICES, "before").status is Status.SKIP


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
    assert records[0]["until"] is None
    assert all(record["until"] is None or record["until"] <= record["time"] for record in records)
    assert last["last_reading"] <= last["time"]
    assert last["releases"]["nova"]["2025.1"] >= 1
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


def verdict(found: Running, *releases: str, **builds: str) -> tuple[str, str]:
    """Return status and verdict."""
    outcome = judge([found], Target(releases=releases, builds=builds), "")[0]
    return str(outcome.status), outcome.evidence["verdict"]


def test_code_that_was_changed_after_the_start_fails(venv: Venv, start: Start) -> None:
    """A file of the service that is newer than its process is found, although the version is the same."""
    venv.install("nova", "33.0.1")
    file = venv.packages / "nova" / "virt" / "driver.py"
    file.parent.mkdir(parents=True)
    file.write_text("")
    pid = start(venv.script("nova-compute"))
    assert seen(pid).problem == ""
    later = time.time() + 60
    os.utime(file, (later, later))
    found = seen(pid)

    assert (found.stale, found.evidence["changed_file"]) == (True, "nova/virt/driver.py")
    assert verdict(found, "2026.1") == ("fail", "refuted")


def test_a_loaded_file_that_was_replaced_fails(venv: Venv, start: Start) -> None:
    """What a process has loaded and what is gone by now shows that it runs other code than is installed."""
    venv.install("nova", "33.0.1")
    pid = start(venv.script("nova-compute", MAPPING), venv.library("fast.so"))
    assert seen(pid).problem == ""
    venv.library("fast.so")
    found = seen(pid)

    assert found.stale
    assert found.evidence["mapped_files"] == 1
    assert found.evidence["replaced_files"] == [f"{venv.packages}/fast.so (deleted)"]


def test_a_process_that_may_have_executed_itself_anew_is_not_blamed(venv: Venv, start: Start) -> None:
    """Who was not watched and has loaded what came after its start may run the new code, so nothing is known."""
    venv.install("nova", "31.0.0")
    library = venv.library("fast.so")
    pid = start(venv.script("nova-compute", MAPPING), library)
    venv.install("nova", "33.0.1", age=-60)
    assert verdict(seen(pid), "2026.1") == ("fail", "refuted")
    later = time.time() + 60
    os.utime(library, (later, later))
    found = seen(pid)

    assert verdict(found, "2026.1") == ("unknown", "unknown")
    assert "may have executed itself anew" in found.problem


def test_a_worker_that_outlives_its_parent_is_seen(venv: Venv, start: Start) -> None:
    """As long as its parent lives a worker is not counted; then it is, with the time at which it began itself."""
    venv.install("neutron", "28.0.0")
    pid, watch = start(venv.script("neutron-rpc-server", FORKING)), Watch("h", SERVICES)
    mine = [one for one in watch.read() if str(venv.path) in str(one.evidence)]
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    orphans: list[Running] = []
    while not orphans:
        assert time.monotonic() < deadline
        time.sleep(0.02)
        orphans = [one for one in watch.read() if str(venv.path) in str(one.evidence) and one.pid != pid]

    assert [one.pid for one in mine] == [pid]
    assert (orphans[0].release, orphans[0].stale) == ("2026.1", False)
    assert orphans[0].started < time.time() - 0.01


def test_a_link_that_was_moved_does_not_hide_what_is_loaded(tmp_path: Path, start: Start) -> None:
    """Behind the link lies the new release already, but the process has loaded files of the old one."""
    old, new = Venv(tmp_path / "nova-31"), Venv(tmp_path / "nova-33")
    old.install("nova", "31.0.0")
    new.install("nova", "33.0.1")
    link = tmp_path / "nova"
    link.symlink_to(old.path)
    old.script("nova-compute", MAPPING)
    pid = start(f"{link}/bin/python", f"{link}/bin/nova-compute", old.library("fast.so"))
    assert seen(pid).release == "2025.1"
    link.unlink()
    link.symlink_to(new.path)

    assert (seen(pid).release, seen(pid).stale) == ("2025.1", False)


def reloaded(pid: int, watch: Watch) -> Running:
    """Make a process execute itself anew; return what the watch says of it then."""
    before = Path(f"/proc/{pid}/stat").read_text().split()[27]
    os.kill(pid, signal.SIGUSR1)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}/stat").read_text().split()[27] == before or not find(pid, watch):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return seen(pid, watch)


def test_a_process_that_executed_itself_anew_is_a_new_one(venv: Venv, start: Start) -> None:
    """A reload keeps pid and start; a watch that saw it before knows that the program began anew."""
    venv.install("swift", "2.35.0", age=3600)
    pid, watch = start(venv.script("swift-proxy-server", AGAIN)), Watch("control1", SERVICES)
    began = seen(pid, watch)
    venv.install("swift", "2.37.0")
    after = reloaded(pid, watch)

    assert (began.release, after.release, after.stale) == ("2025.1", "2026.1", False)
    assert after.started > began.started


def test_a_reload_that_keeps_the_old_code_is_seen(tmp_path: Path, start: Start) -> None:
    """A proxy that executes its old script again is of the old release, whatever the reload has said."""
    old, new = Venv(tmp_path / "old"), Venv(tmp_path / "new")
    old.install("swift", "2.35.0")
    pid, watch = start(old.script("swift-proxy-server", AGAIN)), Watch("control1", SERVICES)
    seen(pid, watch)
    new.install("swift", "2.37.0")

    assert verdict(reloaded(pid, watch), "2026.1") == ("fail", "refuted")


def test_a_development_build_is_found_and_told_by_its_commit(venv: Venv, start: Start) -> None:
    """A build from master is neither the release of its number nor the next one, until its commit is named."""
    venv.install("nova", "33.1.0.dev373")
    venv.metadata("nova", "33.1.0.dev373", "pbr.json", '{"git_version": "9155b11973", "is_release": false}')
    found = seen(start(venv.script("nova-conductor")))

    assert verdict(found, "2026.1") == ("unknown", "consistent")
    assert verdict(found, "2025.1") == ("fail", "refuted")
    assert verdict(found, "master") == ("unknown", "consistent")
    assert verdict(found, nova="9155b11973aabbccdd") == ("pass", "confirmed")
    assert verdict(found, nova="33.1.0.dev373") == ("pass", "confirmed")
    assert verdict(found, nova="0123456") == ("fail", "refuted")
    message = judge([found], Target(releases=("2026.1",)), "")[0].message
    assert "development build" in message
    assert "2026.1 or 2026.2 or master" in message


def test_a_working_tree_confirms_nothing(venv: Venv, start: Start, tmp_path: Path) -> None:
    """Metadata beside a working tree is of the time when it was installed; its commit is told."""
    tree = tmp_path / "stack" / "nova"
    (tree / ".git" / "refs" / "heads").mkdir(parents=True)
    (tree / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (tree / ".git" / "refs" / "heads" / "main").write_text("9155b119730123456789\n")
    venv.install("nova", "33.0.1")
    venv.metadata("nova", "33.0.1", "direct_url.json", f'{{"url": "file://{tree}", "dir_info": {{"editable": true}}}}')
    found = seen(start(venv.script("nova-conductor")))

    assert found.evidence["working_tree"] == str(tree)
    assert verdict(found, "2026.1") == ("unknown", "consistent")
    assert verdict(found, nova="9155b11973") == ("pass", "confirmed")


def test_a_working_tree_that_was_not_moved_is_what_its_metadata_says(venv: Venv, start: Start, tmp_path: Path) -> None:
    """As long as the tree is at the commit of which the metadata was made, it tells the version."""
    tree = tmp_path / "stack" / "nova"
    (tree / ".git").mkdir(parents=True)
    (tree / ".git" / "HEAD").write_text("9155b119730123456789\n")
    venv.install("nova", "33.0.3.dev4")
    origin = f'{{"url": "file://{tree}", "dir_info": {{"editable": true}}}}'
    venv.metadata("nova", "33.0.3.dev4", "direct_url.json", origin)
    venv.metadata("nova", "33.0.3.dev4", "pbr.json", '{"git_version": "9155b11973", "is_release": false}')
    pid = start(venv.script("nova-conductor"))
    before = verdict(seen(pid), "2026.1")
    (tree / ".git" / "HEAD").write_text("0000000000123456789\n")

    assert (before, verdict(seen(pid), "2026.1")) == (("pass", "confirmed"), ("unknown", "consistent"))


def test_a_host_that_is_upgraded_by_half_is_named() -> None:
    """What runs the old release is told beside those that run the new one."""
    found = [
        running("31.0.0", "2025.1"),
        *(running("33.0.0", "2026.1", component=name) for name in ("nova-api", "nova-conductor")),
    ]
    messages = [one.message for one in judge(found, Target(releases=("2026.1",)), "")]

    assert messages[0].endswith("compute1 is upgraded by half: nova-api, nova-conductor there run 2026.1.")
    assert [message for message in messages[1:] if "half" in message] == []
    assert releases_on(found) == {"2025.1": ["nova-compute"], "2026.1": ["nova-api", "nova-conductor"]}


def test_a_process_whose_code_was_replaced_says_nothing_of_the_others() -> None:
    """Nobody knows its release: it may have been installed once more as it was."""
    found = [
        running("", "", stale=True, problem="it started before nova 33.0.0 was installed in its place"),
        running("33.0.0", "2026.1", component="nova-api"),
    ]

    assert "half" not in judge(found, Target(releases=("2026.1",)), "")[0].message


def test_any_release_is_right_when_none_is_named() -> None:
    """``any`` is the same as nothing, also beside a release."""
    assert target_of(["any"]) == target_of([]) == target_of(["2026.1", "Any"])
    assert target_of(["Gazpacho", "2026.1"]).releases == ("2026.1",)
