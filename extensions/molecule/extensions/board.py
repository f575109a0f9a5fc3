# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A board of notices on loopback: board.py <folder> [<seconds>]. Notices are files in <folder>/store.

It ends on <folder>/quit, or after that time, 300 seconds when nobody says.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 300.0
STORE = FOLDER / "store"


class Board(BaseHTTPRequestHandler):
    """PUT pins a notice unless it is there, GET reads it, DELETE takes it down."""

    def answer(self, status: int, body: Any = None) -> None:
        """Answer with JSON."""
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def file(self) -> Path:
        """Return where the notice lies."""
        return STORE / f"{self.path.rpartition('/')[2]}.json"

    def do_PUT(self) -> None:
        """Pin a notice."""
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.file().exists():
            self.answer(409, {"error": "It is pinned already."})
            return
        notice = {"id": self.file().stem, "text": given["text"]}
        self.file().write_text(json.dumps(notice))
        self.answer(201, notice)

    def do_GET(self) -> None:
        """Read a notice."""
        self.answer(200, json.loads(self.file().read_text())) if self.file().exists() else self.answer(404)

    def do_DELETE(self) -> None:
        """Take a notice down."""
        there = self.file().exists()
        self.file().unlink(missing_ok=True)
        self.answer(204 if there else 404)

    def log_message(self, *_words: Any) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until it is to end."""
    STORE.mkdir(parents=True, exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Board)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (FOLDER / "port.new").write_text(str(server.server_address[1]))
    (FOLDER / "port.new").rename(FOLDER / "port")
    deadline = time.monotonic() + SECONDS
    while not (FOLDER / "quit").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    (FOLDER / "port").unlink(missing_ok=True)


main()
