# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real hosts made of real namespaces."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.openstack.upgrade_test.plugins.module_utils._lab import _host
from ansible_collections.openstack.upgrade_test.plugins.modules import lab_hosts

BOOT = Path(_host.__file__).parents[3] / "roles/lab/files/host/boot.sh"
HOSTS = {"one": "172.24.6.10/25", "two": "172.24.6.11/25"}
NAMES = ["fabric", "one", "two"]
SSHD_CONFIG = """
HostKey {root}/host_key
AuthorizedKeysFile none
UsePAM no
PidFile none
"""

Call = Callable[..., dict[str, Any]]

# The first process outlives the module on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


def why_not() -> str:
    """Why no host can be made here; empty when one can."""
    if os.geteuid() != 0:
        return "needs root"
    if missing := [name for name in ("unshare", "tini", "sshd", "ip") if not shutil.which(name)]:
        return f"needs {', '.join(missing)}"
    tried = subprocess.run([*_host.UNSHARE, "true"], capture_output=True, text=True, check=False)
    return f"namespaces are refused here: {tried.stderr.strip()}" if tried.returncode else ""


REASON = why_not()
real = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run(**params: Any) -> dict[str, Any]:
        with patch_module_args(params), pytest.raises(SystemExit):
            lab_hosts.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """The folder of a lab, as the role lays it out; whatever of the lab is left is ended after the test."""
    folder = tmp_path / "lab"
    folder.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host_key")], check=True)
    for name in NAMES:
        (folder / "hosts" / name / "etc").mkdir(parents=True)
        (folder / "hosts" / name / "sshd_config").write_text(SSHD_CONFIG.format(root=folder))
        (folder / "hosts" / name / "etc" / "hostname").write_text(f"{name}\n")
    yield folder
    _host.remove_all(folder)


@pytest.fixture
def present(call: Call, root: Path) -> Call:
    return lambda **more: call(
        **{"root": str(root), "boot_script": str(BOOT), "gateway": "172.24.6.1/25", "hosts": HOSTS, **more}
    )


def first(root: Path, name: str) -> int:
    pid = _host.first_process(_host.LabHost(root=root, name=name))
    assert pid is not None
    return pid


def inside(root: Path, name: str, *arguments: str) -> str:
    """What a command prints that runs on a host of the lab."""
    return _host.run("nsenter", "--all", "-t", str(first(root, name)), *arguments)


def namespaces(pid: int | str) -> set[str]:
    """Names of the network, mount and PID namespaces of a process; empty when it is gone."""
    try:
        return {os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("net", "mnt", "pid")}
    except OSError:
        return set()


def members(spaces: set[str]) -> set[int]:
    """Processes of the machine that live in one of these namespaces."""
    return {int(pid) for pid in os.listdir("/proc") if pid.isdigit() and namespaces(pid) & spaces}


def traces(root: Path) -> tuple[set[str], list[str]]:
    """What of a lab can be seen from the machine: its interfaces and its mounts."""
    links = {name for name in os.listdir("/sys/class/net") if name.startswith(_host.lab_tag(root))}
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(root) in line]
    return links, mounts


def banner(address: str) -> str:
    """The greeting of the SSH server at an address, as seen from the machine; waits until it listens."""
    deadline = time.monotonic() + 10
    while True:
        try:
            with socket.create_connection((address.partition("/")[0], 22), timeout=2) as connection:
                return connection.recv(7).decode()
        except OSError:
            if time.monotonic() > deadline:
                raise


@real
def test_hosts_are_made_found_and_kept(present: Call, root: Path) -> None:
    """The first call makes the hosts, which the machine reaches by SSH; the second one changes nothing."""
    made = present()
    greetings = [banner(address) for address in HOSTS.values()]
    pids = {name: first(root, name) for name in NAMES}
    again = present()

    assert made == made | {"changed": True, "hosts": NAMES}
    assert greetings == ["SSH-2.0"] * 2
    assert again == again | {"changed": False, "hosts": []}
    assert {name: first(root, name) for name in NAMES} == pids


@real
def test_hosts_keep_to_themselves(present: Call, root: Path) -> None:
    """A host has its own name, /run, /etc/hostname and processes, and reaches the other host."""
    present()
    banner(HOSTS["one"])
    inside(root, "one", "touch", "/run/mine")

    assert inside(root, "one", "hostname") == inside(root, "one", "cat", "/etc/hostname") == "one\n"
    assert inside(root, "one", "cat", "/proc/1/comm") == "tini\n"
    assert "mine" not in inside(root, "two", "ls", "/run")
    assert not Path("/run/mine").exists()
    assert socket.gethostname() != "one"
    inside(root, "one", "bash", "-c", "exec 3<>/dev/tcp/172.24.6.11/22; head -c 7 <&3")


@real
def test_absent_leaves_nothing(present: Call, call: Call, root: Path) -> None:
    """Removal ends every process of every host, even one that ignores signals, with interfaces and mounts."""
    before = traces(root)
    present()
    spaces = set[str]().union(*(namespaces(first(root, name)) for name in NAMES))
    stubborn = "trap '' TERM HUP INT; touch /run/begun; sleep 600 & wait"
    with subprocess.Popen(
        ["nsenter", "--all", "-t", str(first(root, "one")), "setsid", "--fork", "sh", "-c", stubborn],
        stdin=subprocess.DEVNULL,
    ):
        pass
    _host.wait_for(lambda: "begun" in inside(root, "one", "ls", "/run"), "begin of the stubborn process")
    during, living = traces(root), members(spaces)
    removed = call(root=str(root), state="absent")

    assert members(spaces) == set()
    assert removed == removed | {"changed": True, "hosts": NAMES}
    assert len(living) >= 2 * len(NAMES) + 2
    assert during != before
    assert traces(root) == before
    assert call(root=str(root), state="absent")["changed"] is False


@real
def test_absent_works_without_the_folder(present: Call, call: Call, root: Path) -> None:
    """Hosts are found and ended although their folder was deleted."""
    present()
    spaces = set[str]().union(*(namespaces(first(root, name)) for name in NAMES))
    _host.run("rm", "-r", str(root))
    removed = call(root=str(root), state="absent")

    assert removed["hosts"] == NAMES
    assert members(spaces) == set()
    assert traces(root) == (set(), [])


@real
@pytest.mark.parametrize("victim", NAMES)
def test_lost_host_comes_back(present: Call, root: Path, victim: str) -> None:
    """A host that died, be it the one with the bridge, is made again and reached again, at once; the others live on."""
    present()
    others = {name: first(root, name) for name in NAMES if name != victim}
    os.kill(first(root, victim), signal.SIGKILL)
    _host.wait_for(lambda: _host.first_process(_host.LabHost(root=root, name=victim)) is None, "end of the victim")
    result = present()

    assert result == result | {"changed": True, "hosts": [victim]}
    assert [banner(address) for address in HOSTS.values()] == ["SSH-2.0"] * 2
    assert {name: first(root, name) for name in others} == others


@real
def test_interrupted_call_is_completed(present: Call, root: Path) -> None:
    """A host whose interface lacks its address, as after an interruption, gets it from the next call."""
    present()
    inside(root, "two", "ip", "address", "flush", "dev", "eth0")
    inside(root, "two", "ip", "link", "set", "eth0", "down")
    present()

    assert banner(HOSTS["two"]) == "SSH-2.0"


@real
def test_labs_live_side_by_side(present: Call, call: Call, root: Path, tmp_path: Path) -> None:
    """Removing another lab, even one whose path begins the same, leaves this one alone."""
    present()
    pids = {name: first(root, name) for name in NAMES}
    result = call(root=str(tmp_path / "la"), state="absent")

    assert result["changed"] is False
    assert {name: first(root, name) for name in NAMES} == pids


@real
def test_route_leads_through_a_host(present: Call, root: Path) -> None:
    """What goes to a network of ``routes`` is sent through the lab's host."""
    present(routes={"172.24.6.128/25": "172.24.6.11"})

    assert f"via 172.24.6.11 dev {_host.lab_tag(root)}-fabric" in _host.run("ip", "route", "get", "172.24.6.200")


@real
def test_check_mode_makes_and_removes_nothing(present: Call, call: Call, root: Path) -> None:
    """Check mode names what would be made or removed, and does not."""
    would_make = present(_ansible_check_mode=True)
    nothing = _host.hosts_below(root)
    present()
    would_remove = call(root=str(root), state="absent", _ansible_check_mode=True)

    assert (would_make["changed"], would_make["hosts"], nothing) == (True, NAMES, {})
    assert (would_remove["changed"], would_remove["hosts"]) == (True, NAMES)
    assert sorted(_host.hosts_below(root)) == NAMES


@real
def test_failing_boot_is_told_in_one_line(present: Call, root: Path) -> None:
    """A host that ends at its start is named, with its log and the log's last line, and leaves nothing."""
    boot = root / "boot.sh"
    boot.write_text("echo first; echo the last word >&2; exit 3\n")
    result = present(boot_script=str(boot))

    assert result["msg"] == (
        f"lab host fabric ended at its start; see {root}/hosts/fabric/log/boot.log, which ends with: the last word"
    )
    assert _host.hosts_below(root) == {}


@real
def test_hanging_boot_is_ended(present: Call, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that does not come up in time is named and ended, so that the next call can try again."""
    monkeypatch.setattr(_host, "START_TIMEOUT", 0.3)
    boot = root / "boot.sh"
    boot.write_text("echo waiting; sleep 600\n")
    result = present(boot_script=str(boot))

    assert re.fullmatch(r"start of lab host fabric did not happen .*: waiting", result["msg"])
    _host.wait_for(lambda: _host.hosts_below(root) == {}, "end of the host")


@real
def test_missing_command_is_named(present: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the commands gets one line that names the command."""
    monkeypatch.setattr(_host, "UNSHARE", ["no-such-unshare"])

    assert present()["msg"] == "no-such-unshare cannot be run: No such file or directory"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"root": "relative"}, "root: relative must be an absolute path"),
        ({"boot_script": "/nowhere/boot.sh"}, "boot_script: there is no file /nowhere/boot.sh"),
        ({"gateway": "172.24.6.1"}, "gateway: '172.24.6.1' must be an address with a prefix length, such as"),
        ({"hosts": {"one": "172.24.6.300/25"}}, "hosts: one: '172.24.6.300/25' must be an address with"),
        ({"hosts": {"one": None}}, "hosts: one: 'None' must be an address with"),
        ({"hosts": {"../one": "172.24.6.3/25"}}, "hosts: '../one' must be at most 13 small letters"),
        ({"hosts": {"fabric": "172.24.6.3/25"}}, "hosts: 'fabric' must be at most 13 small letters"),
        ({"hosts": {"fourteen-chars": "172.24.6.3/25"}}, "hosts: 'fourteen-chars' must be at most 13"),
        ({"hosts": None}, "hosts: needed with state=present"),
    ],
)
def test_bad_input_is_told_in_one_line(call: Call, tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    """A wrong option is named with what would be right, before anything is made."""
    options = {"root": str(tmp_path / "lab"), "boot_script": str(BOOT), "gateway": "172.24.6.1/25", "hosts": HOSTS}
    result = call(**options | wrong)

    assert result["failed"] is True
    assert result["msg"].startswith(message)
    assert "\n" not in result["msg"]
    assert not (tmp_path / "lab").exists()


def test_folder_that_cannot_be_made_is_named(call: Call, tmp_path: Path) -> None:
    """A root below a file is told with its path."""
    (tmp_path / "file").touch()
    result = call(root=str(tmp_path / "file"), boot_script=str(BOOT), gateway="172.24.6.1/25", hosts=HOSTS)

    assert result["failed"] is True
    assert str(tmp_path / "file") in result["msg"]
