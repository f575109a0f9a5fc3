# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's package manager and its container engine say of the code that a process runs.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

What is installed need not be what runs, so it confirms nothing. It finds packages that were unpacked by half, and a
release that was installed over the one that is wanted. The tag of an image is its operator's own; it is only told.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils import _processes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._packages import inside
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._running import Running
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._verdict import (
    VALIDATOR,
    Target,
    Verdict,
    either,
    weigh,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._releases import possible

LIMIT = 20.0  # seconds for one command
WHOLE = "install ok installed"
_SYSTEM = re.compile(r"^/usr/lib(?:64)?/python")
_CONTAINER = re.compile(r"(docker|libpod|crio|containerd)[-/:](?:.*[-/:])?([0-9a-f]{64})")
_ENGINES = {"docker": "docker", "libpod": "podman"}


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A package of a distribution; ``state`` is dpkg's, and ``WHOLE`` is the good one."""

    name: str
    version: str
    state: str = WHOLE


def packages(found: Sequence[Running], target: Target, phase: str, proc: Path = _processes.PROC) -> list[Outcome]:
    """Return an outcome for each package whose code a process of this host runs; venvs and images have none."""
    owned: dict[tuple[str, Installed], Running] = {}
    for running in found:
        installed = package_of(running, proc)
        if installed:
            owned.setdefault((running.service, installed), running)
    return [judge(running, installed, target, phase) for (_service, installed), running in owned.items()]


def package_of(running: Running, proc: Path = _processes.PROC) -> Installed | None:
    """Return the distribution's package that the code of a process belongs to, or None."""
    name = f"python3-{running.service}"
    if not _SYSTEM.match(str(running.evidence.get("metadata", ""))):
        return None
    root = proc / str(running.pid) / "root"
    try:
        return dpkg_entry(inside(root, "/var/lib/dpkg/status").read_text(errors="replace"), name)
    except OSError:
        form = ("--query", "--queryformat", "%{VERSION}-%{RELEASE}")
        return rpm_entry(_said("rpm", "--root", str(root), *form, name), name)


def dpkg_entry(status: str, name: str) -> Installed | None:
    """Return what dpkg's own file says of a package."""
    match = re.search(rf"^Package: {re.escape(name)}\n(?:(?!\n\n)[\s\S])*", status, re.M)
    entry = dict(line.split(": ", 1) for line in match[0].splitlines() if ": " in line) if match else {}
    if "Version" not in entry or entry.get("Status", "").endswith(("config-files", "not-installed")):
        return None
    return Installed(name=name, version=entry["Version"], state=entry.get("Status", ""))


def rpm_entry(said: str, name: str) -> Installed | None:
    """Return what rpm says of a package."""
    return Installed(name=name, version=said.strip()) if re.match(r"\d", said) else None


def upstream(version: str) -> str:
    """Return a distribution's version as its project has it: without epoch and revision, snapshots as such."""
    plain = version.rpartition(":")[2].rpartition("-")[0] or version.rpartition(":")[2]
    return re.sub(r"[+~.]git", ".dev", plain).replace("~", "")


def judge(running: Running, installed: Installed, target: Target, phase: str) -> Outcome:
    """Return the outcome of one package."""
    found = possible(running.service, upstream(installed.version))
    verdict = weigh(found, target.releases, direct=False)
    text = (
        f"{installed.name} {installed.version} ({either(found) or 'release not known'}) is installed on {running.host}"
    )
    if installed.state != WHOLE:
        verdict, text = Verdict.REFUTED, f"{text} by half, its state is '{installed.state}': end its installation."
    elif verdict is Verdict.REFUTED:
        text = f"{text}, which is not {either(target.releases)}."
    else:
        text = f"{text}."
    status = {Verdict.REFUTED: Status.FAIL, Verdict.UNKNOWN: Status.UNKNOWN}.get(verdict, Status.PASS)
    return Outcome(
        validator=VALIDATOR,
        check="release_package",
        service=running.service,
        subject=installed.name,
        host=running.host,
        phase=phase,
        status=status,
        message=text,
        expected=" or ".join(target.releases) or None,
        found=either(found) or None,
        evidence={"verdict": str(verdict), "version": installed.version, "state": installed.state},
    )


def container_of(pid: int, proc: Path = _processes.PROC) -> dict[str, str]:
    """Return the container that a process is in, with its image, as far as its engine tells; nothing when in none."""
    try:
        text = (proc / str(pid) / "cgroup").read_text(errors="replace")
    except OSError:
        return {}
    match = _CONTAINER.search(text)
    if not match:
        return {}
    engine = _ENGINES.get(match[1], "")
    return {"container": match[2][:12], **(image_in(_inspected(engine, match[2])) if engine else {})}


@cache
def _inspected(engine: str, container: str) -> str:
    return _said(engine, "inspect", container)


def image_in(inspected: str) -> dict[str, str]:
    """Return name, image and Kolla's own version of a container, from what its engine says of it."""
    try:
        document = json.loads(inspected)
    except ValueError:
        return {}
    if not isinstance(document, list) or not document or not isinstance(document[0], Mapping):
        return {}
    container: Mapping[str, Any] = document[0]
    configuration = container.get("Config") or {}
    labels = configuration.get("Labels") or {}
    told = {
        "container": str(container.get("Name") or "").lstrip("/"),
        "image": str(container.get("ImageName") or configuration.get("Image") or ""),
        "kolla_version": str(labels.get("kolla_version") or ""),
    }
    return {key: value for key, value in told.items() if value}


def _said(*command: str) -> str:
    """Return what a command prints; nothing when it is not there, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
