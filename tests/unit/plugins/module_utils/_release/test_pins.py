# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._configured import (
    Options,
    configuration_of,
    read_options,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._logs import Log, journal_text
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._pins import kept_in, pins, pins_in
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._running import Watch
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._verdict import Target
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import SERVICES, chosen
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._hosts import SLEEPER, Start, Venv

# As Nova writes it. The rest of the line says which request it was.
SELECTED = (
    "INFO nova.compute.rpcapi [None req-b589391d - - - - - -] Automatically selected compute RPC version 6.4 from "
)
LOGGING = "import sys\nlog = open(sys.argv[1], 'a')\n" + SLEEPER
NEW = Target(releases=("2026.1",))
AUTO = "[upgrade_levels]\ncompute = auto\n"


def line(pid: int, text: str, *, ago: float = 0, zone: float = 0) -> str:
    """A line of a log, written so many seconds ago, in a time zone that is so many hours ahead."""
    moment = datetime.now(UTC) - timedelta(seconds=ago) + timedelta(hours=zone)
    return f"{moment:%Y-%m-%d %H:%M:%S}.123 {pid} {text}\n"


def selected(pid: int, number: int, **more: float) -> str:
    return line(pid, f"{SELECTED}minimum service version {number}", **more)


class Host:
    """A host on which one component of Nova runs, with its configuration and its log."""

    def __init__(self, tmp_path: Path, venv: Venv, start: Start) -> None:
        self.config, self.log = tmp_path / "nova.conf", tmp_path / "nova.log"
        self.config.write_text(AUTO)
        self.log.touch()
        venv.install("nova", "33.0.1")
        self.code = venv.packages / "nova" / "objects" / "service.py"
        self.code.parent.mkdir(parents=True)
        self.code.write_text("SERVICE_VERSION = 72\nOLDEST_SUPPORTED_SERVICE_VERSION = 'Epoxy'\n")
        self._venv, self._start = venv, start

    def run(self, component: str = "nova-conductor", script: str = LOGGING, **environment: str) -> int:
        words = (str(self.log), "--config-file", str(self.config))
        return self._start(self._venv.script(component, script), *words, env={**os.environ, **environment})

    def write(self, *lines: str) -> None:
        with self.log.open("a") as file:
            file.writelines(lines)

    def outcome(self, pid: int, target: Target = NEW) -> Outcome:
        found = [one for one in Watch("control1", SERVICES).read() if one.pid == pid]
        (outcome,) = pins(found, target, "after")
        return outcome


@pytest.fixture
def host(tmp_path: Path, venv: Venv, start: Start) -> Host:
    return Host(tmp_path, venv, start)


def test_a_pin_in_the_configuration_fails(host: Host) -> None:
    """A release that stands in the configuration holds the service to it, and is named."""
    host.config.write_text("[upgrade_levels]\ncompute = epoxy\n[DEFAULT]\nhost = x\n")
    outcome = host.outcome(host.run())

    assert (outcome.status, outcome.check, outcome.subject) == ("fail", "release_pins", "nova-conductor")
    assert "[upgrade_levels] compute = epoxy" in outcome.message


def test_a_pin_in_a_drop_in_fails(host: Host) -> None:
    """A drop-in of a usual folder is read although the command names a file; what that file sets overrides it."""
    host.config.write_text("[DEFAULT]\nhost = x\n")
    drop_in = host.config.parent / ".nova/nova.conf.d/50-x.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[upgrade_levels]\ncompute = epoxy\n")
    home = str(host.config.parent)
    outcome = host.outcome(host.run("nova-scheduler", SLEEPER, HOME=home))
    host.config.write_text(AUTO)
    released = host.outcome(host.run("nova-scheduler", SLEEPER, HOME=home))

    assert (outcome.status, released.status) == ("fail", "pass")
    assert "[upgrade_levels] compute = epoxy" in outcome.message


def test_a_pin_in_the_environment_fails(host: Host) -> None:
    """A variable goes before all files."""
    outcome = host.outcome(host.run("nova-scheduler", SLEEPER, OS_UPGRADE_LEVELS__COMPUTE="epoxy"))

    assert outcome.status == "fail"
    assert "[upgrade_levels] compute = epoxy" in outcome.message


def test_a_file_that_cannot_be_read_may_hold_a_pin(host: Host) -> None:
    """What the service has read there is not known, whatever stands in its other files; the file is named."""
    broken = host.config.parent / ".nova/nova.conf.d/50-x.conf"
    broken.parent.mkdir(parents=True)
    broken.write_text("[upgrade_levels]\nsecret-word\n")
    outcome = host.outcome(host.run("nova-scheduler", SLEEPER, HOME=str(host.config.parent)))

    assert outcome.status == "unknown"
    assert f"{broken}: line 2 is neither" in outcome.message
    assert "secret-word" not in outcome.message


def test_a_configuration_that_is_younger_than_its_process_proves_nothing(host: Host) -> None:
    """A pin that was taken out of the file is still held by a process that was not restarted."""
    pid = host.run("nova-scheduler")
    later = time.time() + 600
    os.utime(host.config, (later, later))
    outcome = host.outcome(pid)

    assert outcome.status == "unknown"
    assert str(host.config) in outcome.message


def test_an_old_version_that_is_kept_fails(host: Host) -> None:
    """A service that looked when others were old, and not since, goes on to speak the old release."""
    pid = host.run()
    host.write(line(pid, "INFO nova.service [-] Starting conductor node (version 33.0.1)"), selected(pid, 68))
    outcome = host.outcome(pid)

    assert outcome.status == "fail"
    assert "service version 68" in outcome.message
    assert outcome.message.endswith("Restart or reload it.")


def test_a_service_that_looked_again_keeps_nothing_old(host: Host) -> None:
    """What it has forgotten by a reload is not held against it, nor what it found the first time."""
    pid = host.run()
    host.write(selected(pid, 68), line(pid, "INFO nova.conductor.manager [-] Reloading compute RPC API"))
    assert host.outcome(pid).status == "pass"
    host.write(selected(pid, 72))

    assert "service version 72" in host.outcome(pid).message


def test_code_that_cannot_be_read_leaves_it_open(host: Host) -> None:
    """Whether a version is old is told by the code of the service itself, and by nothing else."""
    pid = host.run()
    host.write(selected(pid, 72))
    host.code.unlink()

    assert host.outcome(pid).status == "unknown"


def test_what_an_earlier_process_of_the_same_number_wrote_is_not_its_own(host: Host) -> None:
    """In a container a service has the same number after each restart; the times in its log have no zone."""
    pid = host.run()
    host.write(selected(pid, 68, ago=3600, zone=-8), line(pid, "INFO nova.service [-] Starting", zone=-8))

    assert host.outcome(pid).status == "pass"


def test_a_log_that_begins_after_its_process_hides_what_it_found(host: Host) -> None:
    """After a rotation nobody knows what a service keeps, until it says it again."""
    started, moment = time.time() - 7200, datetime.now(UTC)
    text = f"{moment:%Y-%m-%d %H:%M:%S}.123 7 INFO nova.x [-] Something\n"
    kept = kept_in([Log(text=text, written=time.time())], [7], started)

    assert (kept.whole, kept.versions) == (False, ())


def test_a_service_without_a_log_file_is_unknown(host: Host) -> None:
    """What nobody can see is not said to be good."""
    outcome = host.outcome(host.run(script=SLEEPER))

    assert outcome.status == "unknown"
    assert "cannot be seen" in outcome.message


def test_a_journal_is_read_like_a_file() -> None:
    """Services of systemd hand bare messages to the journal, or lines as in a file."""
    entries = (
        "1795288319.297209 control1 nova-conductor[993]: Starting conductor node (version 33.0.1)\n"
        "1795288320.000001 control1 nova-conductor[993]: "
        f"2026-11-21 20:07:56.235 993 {SELECTED}minimum service version 68\n"
        "1795288399.500000 control1 nova-conductor[994]: Reloading compute RPC API\n"
    )
    text = journal_text(entries, {993: 7, 994: 8})
    log = Log(text=text, written=1795288399.0)

    assert text.splitlines()[0].endswith("7 INFO journal Starting conductor node (version 33.0.1)")
    assert (kept_in([log], [7], 1795288318.0).whole, kept_in([log], [7], 1795288318.0).versions) == (
        True,
        (("service version", "68"),),
    )
    assert journal_text("-- No entries --\n", {}) == ""


def test_a_log_without_a_word_of_it_is_unknown(host: Host) -> None:
    """A service that only logs warnings does not tell what it keeps."""
    pid = host.run()
    host.write(line(pid, "WARNING nova.x [-] Something"))

    assert host.outcome(pid).status == "unknown"


def test_a_component_that_keeps_nothing_needs_no_log(host: Host) -> None:
    """The scheduler asks no compute, so only its configuration counts."""
    assert host.outcome(host.run("nova-scheduler", SLEEPER)).status == "pass"


def test_pins_are_in_order_while_both_releases_may_run(host: Host) -> None:
    """During a rolling upgrade a pin is how it works."""
    host.config.write_text("[upgrade_levels]\ncompute = epoxy\n")

    assert host.outcome(host.run(), Target(releases=("2025.1", "2026.1"))).status == "skip"


def test_cinder_is_measured_by_its_own_objects(tmp_path: Path, venv: Venv, start: Start) -> None:
    """Cinder's log names a version of its objects; the newest one stands in the code that runs."""
    venv.install("cinder", "28.0.0")
    base = venv.packages / "cinder" / "objects" / "base.py"
    base.parent.mkdir(parents=True)
    base.write_text("#     OBJ_VERSIONS.add('1.9', {})\nOBJ_VERSIONS.add('1.38', {})\nOBJ_VERSIONS.add('1.39', {})\n")
    (tmp_path / "cinder.conf").write_text("[DEFAULT]\n")
    log = tmp_path / "cinder.log"
    pid = start(venv.script("cinder-scheduler", LOGGING), str(log), "--config-file", str(tmp_path / "cinder.conf"))
    statuses = []
    for version in ("1.38", "1.39"):
        text = f"Automatically selected cinder-volume objects version {version} as minimum service version."
        log.write_text(line(pid, f"INFO cinder.rpc [None req-1 - - - -] {text}"))
        found = [one for one in Watch("h", SERVICES).read() if one.pid == pid]
        statuses += [str(one.status) for one in pins(found, NEW, "")]

    assert statuses == ["fail", "pass"]


def test_a_service_without_pins_is_left_out(venv: Venv, start: Start) -> None:
    """Services that know no pins are said to have none, so that nobody waits for an answer."""
    venv.install("keystone", "29.0.0")
    script = venv.script("any")
    command = ("uwsgi", script, "--module", "keystone.wsgi.api", "--venv", str(venv.path))
    pid = start(*command, executable=str(venv.path / "bin" / "python"))
    found = [one for one in Watch("h", SERVICES).read() if one.pid == pid]

    assert [(one.subject, str(one.status)) for one in pins(found, NEW, "")] == [("keystone", "skip")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[upgrade_levels]\ncompute=auto\n", []),
        ("[upgrade_levels]\ncompute = 2026.1\n", []),
        ("[upgrade_levels]\n# compute = epoxy\nconductor: 3.0\n", ["[upgrade_levels] conductor = 3.0"]),
        (
            "[workarounds]\ndisable_compute_service_check_for_ffu = True\n",
            ["[workarounds] disable_compute_service_check_for_ffu = True"],
        ),
        ("[upgrade_levels]\ncompute = epoxy\n[upgrade_levels]\ncompute = auto\n", []),
        ("[Upgrade_Levels]\ncompute: 'epoxy'\n", ["[upgrade_levels] compute = epoxy"]),
        ("[other]\ncompute = epoxy\n", []),
    ],
)
def test_pins_in_a_configuration(text: str, found: list[str], tmp_path: Path) -> None:
    """Only what holds a service back is a pin; the last value of an option counts."""
    (tmp_path / "nova.conf").write_text(text)

    assert pins_in("nova", read_options(tmp_path / "nova.conf"), "2026.1") == found


def test_the_configuration_is_found_as_a_service_finds_it(tmp_path: Path, venv: Venv, start: Start) -> None:
    """By an option of the command, as one word or two, from a folder, or by the environment of a WSGI server."""
    folder = tmp_path / "conf.d"
    folder.mkdir()
    for name, text in {"a.conf": "[DEFAULT]\nx = 1\ny = 1\n", "b.conf": "[s]\nx = 2\n"}.items():
        (folder / name).write_text(text)
    by_file = start(venv.script("nova-compute"), f"--config-file={folder}/a.conf", "--config-file", f"{folder}/b.conf")
    by_folder = start(venv.script("nova-compute"), "--config-dir", str(folder))
    variables = {**os.environ, "OS_NOVA_CONFIG_DIR": str(folder), "OS_NOVA_CONFIG_FILES": "a.conf;b.conf"}
    server = ("uwsgi", venv.script("any"), "--module", "nova.wsgi.osapi_compute")
    by_variable = start(*server, executable=str(venv.path / "bin" / "python"), env=variables)
    by_server = start(
        venv.script("nova-compute"), f"--pyargv=--config-file {folder}/a.conf --config-file={folder}/b.conf"
    )
    none = start(venv.script("nova-compute"), "--config-file", str(tmp_path / "none"))
    expected = {("DEFAULT", "x"): "1", ("DEFAULT", "y"): "1", ("s", "x"): "2"}

    def options(pid: int) -> Options | None:
        (nova,) = chosen(["nova"])
        found = configuration_of(pid, nova, "nova-api" if pid == by_variable else "nova-compute")
        return found.options if found else None

    assert [options(pid) for pid in (by_file, by_folder, by_variable, by_server)] == [expected] * 4
    assert options(none) is None
