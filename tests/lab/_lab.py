# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab under test: playbooks as an operator runs them, its hosts over SSH, its cloud as the administrator sees it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.openstack.upgrade_test.tests.lab._admin import Admin

OLD, NEW = "2025.1", "2026.1"
SERVICES = ("glance", "keystone", "neutron", "nova", "placement")
ALL_SERVICES = (*SERVICES, "cinder", "heat", "swift")
TREE = next(path.parent for path in Path(__file__).absolute().parents if path.name == "ansible_collections")
BIN = Path(sys.executable).parent
_DECODER = json.JSONDecoder()
_RECAP = re.compile(r"^(\S+)\s+: (ok=.*)$", re.M)
_FATAL = re.compile(r"^fatal: \[[^\]]+\]: (?:FAILED|UNREACHABLE)! => (?=\{)", re.M)


@dataclass(frozen=True, kw_only=True)
class Played:
    """A playbook that has ended; ``changed`` is by host."""

    name: str
    rc: int
    text: str = field(repr=False)
    log: Path
    seconds: float

    @property
    def changed(self) -> dict[str, int]:
        """How many tasks changed something on each host."""
        return {host: int(_fields(counts)["changed"]) for host, counts in _RECAP.findall(self.text)}

    @property
    def messages(self) -> list[str]:
        """What the failed tasks said, in order."""
        results = [_DECODER.raw_decode(self.text, found.end())[0] for found in _FATAL.finditer(self.text)]
        return [str(result.get("msg", "")) for result in results]


def _fields(counts: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in counts.split())


@dataclass(kw_only=True)
class Lab:
    """The lab below ``root`` and the place where this test session keeps its runs and logs."""

    root: Path
    network: str
    owned: bool
    workplace: Path
    profile: str = "core"
    played: list[Played] = field(default_factory=list, repr=False)
    shown: set[Path] = field(default_factory=set, repr=False)

    @property
    def inventory(self) -> Path:
        """The inventory that the lab wrote."""
        return self.root / "inventory.yml"

    @property
    def clouds_yaml(self) -> Path:
        """The clouds.yaml that the lab wrote."""
        return self.root / "clouds.yaml"

    @property
    def release(self) -> str:
        """The release that the lab is at, or an empty text."""
        file = self.root / "release"
        return file.read_text(encoding="utf-8").strip() if file.exists() else ""

    @property
    def services(self) -> tuple[str, ...]:
        """What the profile deploys."""
        return ALL_SERVICES if self.profile == "full" else SERVICES

    @property
    def runs(self) -> Path:
        """The folder of all runs."""
        return self.workplace / "runs"

    def run_dirs(self) -> list[Path]:
        """Every run of this session, oldest first."""
        return sorted(path for path in self.runs.glob("2*Z-*") if path.is_dir())

    def latest(self) -> Path:
        """The newest run's directory."""
        return (self.runs / "latest").resolve(strict=True)

    def admin(self) -> Admin:
        """A new connection with admin rights."""
        return Admin(self.clouds_yaml)

    def addresses(self) -> dict[str, str]:
        """Address of each host, by name."""
        groups = yaml.safe_load(self.inventory.read_text(encoding="utf-8"))["all"]["children"]["upgrade_test_hosts"]
        hosts = [group["hosts"] for group in groups["children"].values()]
        return {name: facts["ansible_host"] for part in hosts for name, facts in part.items()}

    def ssh(self, host: str, script: str, *arguments: str, timeout: float = 60) -> str:
        """Run a Python script on a host of the lab and return what it printed."""
        options = (
            *("-F", "/dev/null", "-i", str(self.root / "ssh/id_ed25519"), "-o", "BatchMode=yes"),
            *("-o", f"UserKnownHostsFile={self.root}/ssh/known_hosts", "-o", "StrictHostKeyChecking=yes"),
        )
        done = subprocess.run(
            ["ssh", *options, f"root@{self.addresses()[host]}", "/usr/bin/python3", "-", *arguments],
            input=script,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        assert done.returncode == 0, f"on {host}: {done.stderr}"
        return done.stdout

    def deploy(self, state: str = "present", *, timeout: float = 900, **variables: Any) -> Played:
        """Run the playbook ``lab``."""
        return self._play("lab", (), {"upgrade_test_lab_state": state, **self._which(), **variables}, timeout, None)

    def deploy_again(self) -> Played:
        """Run the playbook ``lab`` on a lab that is as this version of the role would make it."""
        release = self.release
        if not self.owned:
            # It may have been made by an older version of the role.
            assert self.deploy(upgrade_test_lab_release=release).rc == 0
        return self.deploy(upgrade_test_lab_release=release)

    def _which(self) -> dict[str, Any]:
        """The variables that tell this lab from others."""
        return {
            "upgrade_test_lab_root": str(self.root),
            "upgrade_test_lab_network": self.network,
            "upgrade_test_lab_profile": self.profile,
        }

    def prepare_machine(self, *releases: str) -> Played:
        """Install what the lab needs, and start nothing of it."""
        more = {"upgrade_test_lab_release": releases[0], "upgrade_test_lab_prepare_releases": list(releases)}
        return self._play(str(Path(__file__).with_name("machine.yml")), (), {**self._which(), **more}, 1200, None)

    def play(
        self,
        name: str,
        variables: Mapping[str, Any] | None = None,
        *,
        timeout: float = 300,
        meanwhile: Callable[[subprocess.Popen[bytes]], None] | None = None,
    ) -> Played:
        """Run another playbook with the lab's inventory; ``meanwhile`` is called with its process once it runs.

        Health is looked at quickly, unless the variables say otherwise: most tests are about something else.
        """
        given = {"upgrade_test_runs_dir": str(self.runs), "upgrade_test_depth": "quick", **(variables or {})}
        return self._play(name, ("-i", str(self.inventory)), given, timeout, meanwhile)

    def _play(
        self,
        name: str,
        options: Sequence[str],
        variables: Mapping[str, Any],
        timeout: float,
        meanwhile: Callable[[subprocess.Popen[bytes]], None] | None,
    ) -> Played:
        file = name if name.startswith("/") else f"openstack.upgrade_test.{name}"
        argv = [str(BIN / "ansible-playbook"), *options, file, "-e", json.dumps(variables)]
        name = Path(name).stem
        log = self.workplace / "logs" / f"{len(self.played) + 1:02}-{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        with log.open("wb") as output:
            output.write(f"{' '.join(argv)}\n".encode())
            output.flush()
            process = subprocess.Popen(
                # A shell that starts the tests in the background lets them ignore Ctrl-C, and all that they start.
                ["env", "--default-signal=INT", *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.workplace,
                env=self._environment(),
                start_new_session=True,
            )
            late = _watch(process, timeout, meanwhile)
        text = log.read_text(encoding="utf-8", errors="replace")
        seconds = time.monotonic() - began
        played = Played(name=name, rc=process.returncode, text=text, log=log, seconds=seconds)
        self.played.append(played)
        assert not late, f"playbook {name} did not end within {timeout:.0f} s; its output is in {log}"
        return played

    def _environment(self) -> dict[str, str]:
        """An environment of its own: what the developer has set for Ansible or a run is not taken over."""
        config = self.workplace / "ansible.cfg"
        callback = "openstack.upgrade_test.upgrade_report"
        config.write_text(f"[defaults]\ncallbacks_enabled = {callback}\ncollections_path = {TREE}\n", encoding="utf-8")
        foreign = ("ANSIBLE_", "UPGRADE_TEST_", "OS_", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTEST_", "COV_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        path = f"{BIN}:{os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
        return {**kept, "ANSIBLE_CONFIG": str(config), "ANSIBLE_COLLECTIONS_PATH": str(TREE), "PATH": path}


def _watch(
    process: subprocess.Popen[bytes], timeout: float, meanwhile: Callable[[subprocess.Popen[bytes]], None] | None
) -> bool:
    """Wait for the end of a playbook, and end it when it takes too long or the test ends early; whether it was late."""
    try:
        if meanwhile:
            meanwhile(process)
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        return True
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return False


def wait_for(condition: Callable[[], bool], what: str, timeout: float) -> None:
    """Wait until a condition holds; fails when it does not within ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout:.0f} s"
        time.sleep(0.1)


def records(file: Path) -> list[dict[str, Any]]:
    """The records of a JSON Lines file; none when there is no file. A line that is being written is left out."""
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def document(file: Path) -> dict[str, Any]:
    """A JSON file."""
    return dict(json.loads(file.read_text(encoding="utf-8")))


def not_good(run_dir: Path) -> list[str]:
    """The messages of all outcomes of a run that are neither good nor left out.

    A restart makes services complain of each other; of such an error in a log nobody knows whether it does harm.
    """
    outcomes = [one for one in records(run_dir / "outcomes.jsonl") if one["status"] not in ("pass", "skip")]
    unclear = ("log_errors", "unknown")
    return [f"{one['status']}: {one['message']}" for one in outcomes if (one["check"], one["status"]) != unclear]
