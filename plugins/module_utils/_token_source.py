# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source of tokens: processes beside a sampler that authenticate, so that it need not know what a cloud is.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

The sampler gets one end of a socket pair. On it come lines of JSON, each with one key or two:

    {"ready": true}                     first of all: the cloud's entry in clouds.yaml can be used
    {"fatal": "cloud: ..."}             ... or it cannot be, and nothing more will come
    {"header": "X-Auth-Token: ...", "ends": 815}
                                        a header for each request, and until when (nanoseconds of CLOCK_BOOTTIME)
    {"error": "..."}                    why there is no new one, in one line without secrets

The sampler may send bytes, each of which asks for a new token at once, because the last one was refused. A token is
renewed when half of its life is over, and the old one stays valid: nothing is ever revoked.

The worker authenticates. The keeper only starts it again when it dies. The kernel ends both with the sampler.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Access, CloudError, check, connect
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import SECOND, boot_ns
from ansible_collections.openstack.upgrade_test.plugins.module_utils._redact import Redactor, secrets_in_clouds_yaml

HEADER = "X-Auth-Token"
RENEW_AT = 0.5
"""The share of a token's life after which it is renewed."""
MARGIN = 5.0
"""Seconds before its end from which a token is not used any more, or a tenth of its life if that is shorter."""
LEAST_PAUSE, MOST_PAUSE = 1.0, 30.0
"""Seconds between two attempts; each one that does not help doubles the pause."""
FIRST_WORD = 15.0
"""Seconds to wait for the first line: libraries are read until then, no network is asked."""
FIRST_TOKEN = 5.0
"""Seconds to wait for the second one, so that what is observed need not begin without a token."""
_PR_SET_PDEATHSIG = 1

Grant = Callable[[], tuple[str, float]]
"""Authenticate: returns a token and its lifetime in seconds. Raises CloudError."""


def argument_spec() -> dict[str, dict[str, Any]]:
    """Return the options of whoever may use tokens; keep in step with doc_fragments/observer.py: USER."""
    return {
        "cloud": {"type": "str"},
        "clouds_yaml": {"type": "path"},
        "region_name": {"type": "str"},
        "api_timeout": {"type": "int", "default": 10},
    }


@contextlib.contextmanager
def tokens_for(params: Mapping[str, Any], *, needed: bool, only_check: bool) -> Iterator[socket.socket | None]:
    """Our end of the connection to a source as a module's options say; None when it is not needed, or only to check.

    Raises CloudError for a wrong option.
    """
    if not needed:
        yield None
        return
    own = {name: params[name] for name in argument_spec()}
    # That certificates are checked is a default, which must not outdo clouds.yaml.
    access = Access(**own, ca_cert=params["ca_cert"], validate_certs=None if params["validate_certs"] else False)
    if only_check:
        check(access)
        yield None
        return
    with token_source(access) as connection:
        yield connection


@contextlib.contextmanager
def token_source(access: Access) -> Iterator[socket.socket]:
    """Our end of the connection to a new source, which ends with the block. Raises CloudError for a wrong option.

    To be entered before there are threads, as it forks.
    """
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _as_child(parent, theirs, lambda: _keep(theirs, lambda: _work(theirs, access)))
    theirs.close()
    try:
        _await_first_word(ours)
        select.select([ours], [], [], FIRST_TOKEN)
        yield ours
    finally:
        ours.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _await_first_word(connection: socket.socket) -> None:
    """Read the first line and no byte more. A slow start is no mistake: then the tokens come later."""
    line = b""
    deadline = time.monotonic() + FIRST_WORD
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([connection], [], [], left)[0]:
            return
        byte = connection.recv(1)
        if not byte:
            return
        line += byte
    fatal = json.loads(line).get("fatal")
    if fatal:
        raise CloudError(fatal)


def _as_child(parent: int, keep: socket.socket, life: Callable[[], None]) -> NoReturn:
    """Live as a forked child that shares nothing with its parent but one socket, and ends when the parent does."""
    try:
        ctypes.PyDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _close_all_but(keep.fileno())
        life()
    except BaseException:  # whatever it is: the child must never return into the parent's code, nor show a traceback
        os._exit(1)
    os._exit(0)


def _close_all_but(keep: int) -> None:
    """No log, lock or terminal of the parent is held, and nothing that a library prints is seen by anybody."""
    os.closerange(3, keep)
    os.closerange(keep + 1, 4096)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    if null > 2:
        os.close(null)


def _keep(connection: socket.socket, work: Callable[[], None]) -> None:
    """Let the work be done by a child, and by another one when it dies of anything but the end of its work."""
    keeper, deaths = os.getpid(), 0
    while True:
        began = boot_ns()
        pid = os.fork()
        if pid == 0:
            _as_child(keeper, connection, work)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code == 0:
            return
        deaths = 0 if boot_ns() - began > MOST_PAUSE * SECOND else deaths + 1
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        _say(connection, error=f"The process that authenticates died ({how}) and is started again.")
        time.sleep(pause(deaths) / SECOND)


def _work(connection: socket.socket, access: Access) -> None:
    """The life of the worker."""
    redactor = Redactor(_secrets(access))
    try:
        check(access)
    except CloudError as problem:
        _say(connection, fatal=redactor.text(str(problem)))
        return
    _say(connection, ready=True)
    serve(connection, lambda: _authenticate(access), redactor)


def _secrets(access: Access) -> set[str]:
    with contextlib.suppress(OSError, TypeError):
        return secrets_in_clouds_yaml(Path(access.clouds_yaml or "").read_text(encoding="utf-8", errors="replace"))
    return set()


def _authenticate(access: Access) -> tuple[str, float]:
    # clouds.yaml is read anew each time: the password in it may be another one by now.
    cloud = connect(access)
    return cloud.token, cloud.token_lifetime


def serve(connection: socket.socket, grant: Grant, redactor: Redactor) -> None:
    """Give out tokens until the other side closes the connection."""
    schedule = Schedule(boot_ns())
    while True:
        left = max(0, schedule.due - boot_ns()) / SECOND
        if select.select([connection], [], [], left)[0]:
            if not connection.recv(64):
                return
            schedule.refused(boot_ns())
        elif schedule.due <= boot_ns():
            _give(connection, grant, redactor, schedule)


def _give(connection: socket.socket, grant: Grant, redactor: Redactor, schedule: Schedule) -> None:
    """Authenticate once, and tell what came of it."""
    asked = boot_ns()
    try:
        token, lifetime = grant()
    except CloudError as problem:
        schedule.failed(boot_ns())
        _say(connection, error=redactor.text(str(problem)))
    except Exception as problem:  # what a library says of what it did not expect may have secrets in it
        schedule.failed(boot_ns())
        _say(connection, error=f"Authentication failed with an unexpected {type(problem).__name__}.")
    else:
        schedule.granted(boot_ns(), lifetime)
        # Its life began somewhere between question and answer.
        ends = asked + int((lifetime - min(MARGIN, lifetime / 10)) * SECOND)
        _say(connection, header=f"{HEADER}: {token}", ends=ends)


class Schedule:
    """When to authenticate next; pure. Moments in nanoseconds of one clock, other times in seconds."""

    def __init__(self, now: int) -> None:
        """Begin at once."""
        self.due = now
        self._last = now
        self._failures = 0
        self._refusals = 0

    def granted(self, now: int, lifetime: float) -> None:
        """There is a new token."""
        self._failures = 0
        self._last = now
        self.due = now + int(max(lifetime * RENEW_AT, LEAST_PAUSE) * SECOND)

    def failed(self, now: int) -> None:
        """There is none."""
        self._last = now
        self.due = now + pause(self._failures)
        self._failures += 1

    def refused(self, now: int) -> None:
        """The last token was not accepted. If it was a young one, a still younger one will hardly fare better."""
        if now - self._last > MOST_PAUSE * SECOND:
            self._refusals = 0
            self.due = now
        else:
            self.due = min(self.due, max(now, self._last + pause(self._refusals)))
            self._refusals += 1


def pause(attempts: int) -> int:
    """Nanoseconds to wait after so many attempts in vain before this one."""
    return int(min(LEAST_PAUSE * 2 ** min(attempts, 10), MOST_PAUSE) * SECOND)


def _say(connection: socket.socket, **line: Any) -> None:
    """Send one line; when nobody is there any more, the next look at the connection will tell."""
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(line).encode() + b"\n")
