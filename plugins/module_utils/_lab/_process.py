# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection.

"""Long-lived processes of a lab host: what runs, is it what should run, and is it ready to serve."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._wait import becomes_true

STEP = 0.05  # seconds between two looks at a process
RECORDS = Path("/run/lab")
"""Private to the host and gone with it, so a record never outlives the processes of its host."""


class ProcessError(Exception):
    """A process did not start, become ready or end; the text says which and where its log is."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """What should run: a command, its surroundings and how to tell that it serves."""

    name: str
    argv: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)  # files and folders whose content it reads at its start
    user: str | None = None
    ready: dict[str, Any] = field(default_factory=dict)  # one of url, port, socket, log
    timeout: float = 90.0
    stop_timeout: float = 20.0

    def fingerprint(self) -> str:
        """Hash of all that decides how the process runs; another hash means that it must be restarted."""
        digest = hashlib.sha256(json.dumps([self.argv, self.environment, self.user]).encode())
        for path in self.inputs:
            for file in files_below(Path(path)):
                digest.update(str(file).encode())
                digest.update(self.read(file))
        return digest.hexdigest()

    def read(self, file: Path) -> bytes:
        """Content of an input.

        :raises ProcessError: it cannot be read.
        """
        try:
            return file.read_bytes()
        except OSError as error:
            raise ProcessError(f"{self.name}: inputs: {file} cannot be read: {error.strerror}") from None


@dataclass(frozen=True)
class Record:
    """What was started: pid and start time tell it from a later process with the same pid."""

    pid: int
    started: int
    fingerprint: str
    served: bool = True  # False until it was seen to serve: such a one is started anew

    def alive(self) -> bool:
        """Whether that very process still runs."""
        return start_time(self.pid) == self.started

    def remains(self) -> bool:
        """Whether the process runs, or has died and left workers of its session behind."""
        return self.alive() or (start_time(self.pid) is None and bool(session_of(self.pid)))


def files_below(path: Path) -> list[Path]:
    """A file itself, or all files of a folder in a stable order; nothing when it is not there."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path] if path.is_file() else []


def start_time(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None for one that is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if has_ended(fields) else int(fields[19])


def has_ended(fields: list[str]) -> bool:
    """Whether a process is done, by its ``stat`` from the state on.

    A zombie that still has threads is not: its first thread has ended, and the others hold its sockets.
    """
    return fields[0] == "Z" and int(fields[17]) <= 1


def load(name: str) -> Record | None:
    """The record of a process that runs, or of which workers are left; or None."""
    try:
        record = Record(**json.loads((RECORDS / f"{name}.json").read_text()))
    except FileNotFoundError:
        return None
    return record if record.remains() else None


def save(name: str, record: Record) -> None:
    """Write the record in one step, so that it is never read half written."""
    temporary = RECORDS / f".{name}.new"
    temporary.write_text(json.dumps(record.__dict__))
    temporary.replace(RECORDS / f"{name}.json")


def launch(process: Process) -> Record:
    """Start the process in a session of its own, so that it outlives the connection that starts it.

    :raises ProcessError: its inputs cannot be read, or it could not be started.
    :raises OSError: its log or record cannot be written.
    """
    # All that may fail comes first: a process without a record would never be ended.
    fingerprint = process.fingerprint()
    RECORDS.mkdir(parents=True, exist_ok=True)
    process.log.parent.mkdir(parents=True, exist_ok=True)
    with process.log.open("ab") as output:
        child = spawn(process, output)
    record = Record(child.pid, start_time(child.pid) or 0, fingerprint, served=False)
    save(process.name, record)
    return record


def spawn(process: Process, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """The new process, whose output goes to ``output``.

    :raises ProcessError: there is no such command or user, or it may not be run.
    """
    try:
        return subprocess.Popen(
            process.argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            user=process.user,
            env=surroundings(process),
        )
    except KeyError:
        raise ProcessError(f"{process.name}: user: there is no user {process.user}") from None
    except OSError as error:
        raise ProcessError(f"{process.name}: {process.argv[0]} cannot be run: {error.strerror}") from None


def surroundings(process: Process) -> dict[str, str]:
    """The environment: a plain one, not that of the connection, and with bytecode caches on."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "LANG": "C.UTF-8", "HOME": "/root"} | process.environment


def stop(process: Process, record: Record) -> None:
    """End the process by SIGTERM to it alone, then whatever of its workers is left.

    What has a session of its own (guests, dnsmasq, privileged helpers) lives on, as an upgrade needs it to.

    :raises ProcessError: it survived SIGKILL for five seconds.
    """
    signal_to(record.pid, signal.SIGTERM)
    becomes_true(lambda: not record.alive(), process.stop_timeout, STEP)
    for pid in session_of(record.pid):
        signal_to(pid, signal.SIGKILL)
    if not becomes_true(lambda: not record.alive() and not session_of(record.pid), 5.0, STEP):
        raise ProcessError(f"{process.name} (pid {record.pid}) could not be ended")


def signal_to(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def session_of(leader: int) -> list[int]:
    """PIDs of the processes of the session that ``leader`` began."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == leader and not has_ended(fields):
                members.append(int(entry.name))
    return members


def is_ready(process: Process, log_offset: int) -> bool:
    """Whether the process serves, by the one sign that ``ready`` names; no sign means: it lives."""
    if "url" in process.ready:
        return answers(process.ready["url"])
    if "port" in process.ready:
        return connects(process.ready.get("address", "127.0.0.1"), int(process.ready["port"]))
    if "socket" in process.ready:
        return Path(process.ready["socket"]).is_socket()
    if "log" in process.ready:
        with process.log.open("rb") as log:
            log.seek(log_offset)
            return process.ready["log"].encode() in log.read()
    return True


def answers(url: str) -> bool:
    """Whether a GET is answered with anything below 500."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy would answer in its place
    try:
        with direct.open(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        with error:
            return error.code < 500
    except (OSError, http.client.HTTPException):
        return False


def connects(address: str, port: int) -> bool:
    """Whether a TCP connection is accepted."""
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except OSError:
        return False


def tail(log: Path, lines: int = 8) -> str:
    """The last lines of a log, for an error message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"


def log_size(process: Process) -> int:
    """Bytes the log holds now: a sign of readiness counts only when it comes later."""
    return process.log.stat().st_size if process.log.exists() else 0


def wait_ready(process: Process, record: Record, log_offset: int) -> None:
    """Wait until the process serves.

    :raises ProcessError: it ended, or was not ready in time.
    """
    settled = becomes_true(lambda: not record.alive() or is_ready(process, log_offset), process.timeout, STEP)
    if settled and record.alive():
        save(process.name, replace(record, served=True))
        return
    what = f"did not serve within {process.timeout:g} s" if record.alive() else "ended at its start"
    raise ProcessError(f"{process.name} {what}; end of {process.log}:\n{tail(process.log)}")
