# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status file: a heartbeat that can tell of a full disk and of descriptors that are used up."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

PAGE = 4096
"""The file is as long as whole blocks, so that a longer word in it takes no further room."""


class StatusFile:
    """Replaces the file at once, again and again.

    Two files take turns under its name. From the second ``write`` on both are open and have their room on the disk, so
    that no write needs anything any more. Who opens the file has until the write after the next one to read it. A disk
    that refuses is survived: the old status then grows stale.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = path.with_suffix(".tmp")
        self._last = path.with_suffix(".old")
        self._fd = self._next_fd = -1

    def write(self, status: dict[str, Any]) -> None:
        """Make this the status."""
        with contextlib.suppress(OSError):
            self._write(json.dumps(status).encode())

    def _write(self, data: bytes) -> None:
        if self._next_fd < 0:
            self._next_fd = os.open(self._next, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        size = -(-len(data) // PAGE) * PAGE
        if os.pwrite(self._next_fd, data.ljust(size), 0) == size:
            os.ftruncate(self._next_fd, size)
            self._swap()

    def _swap(self) -> None:
        """Give the file that was written its name, and keep the one that had it for the next time."""
        with contextlib.suppress(OSError):
            self._last.unlink()
        with contextlib.suppress(OSError):  # nothing to keep, or a file system without links
            if os.path.samestat(os.fstat(self._fd), os.stat(self._path)):
                os.link(self._path, self._last)
        os.replace(self._next, self._path)
        self._fd, self._next_fd = self._next_fd, self._fd
        try:
            os.replace(self._last, self._next)
        except OSError:
            self._close_next()

    def _close_next(self) -> None:
        if self._next_fd >= 0:
            os.close(self._next_fd)
            self._next_fd = -1

    def close(self) -> None:
        """Leave the status as it is, and nothing else."""
        self._close_next()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        with contextlib.suppress(OSError):
            self._next.unlink()
