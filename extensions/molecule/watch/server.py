# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small API on loopback: answers 200, or 503 while a file named `down` exists; ends when one named `quit` does.

server.py <directory>; writes its port into the directory, and to `refused` the time of each 503.
"""

from __future__ import annotations

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DIRECTORY = Path(sys.argv[1])


class Handler(BaseHTTPRequestHandler):
    """Answers GET requests, over kept connections too."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer as the file `down` says."""
        body = b'{"version": {"id": "v3"}}'
        down = (DIRECTORY / "down").exists()
        if down:
            with (DIRECTORY / "refused").open("a") as file:
                file.write(f"{time.time()}\n")
        self.send_response(503 if down else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing: many requests a second are normal here."""


class Server(ThreadingHTTPServer):
    """Looks for the file `quit` again and again."""

    daemon_threads = True

    def service_actions(self) -> None:
        """End when the scenario does."""
        if (DIRECTORY / "quit").exists():
            sys.exit()


server = Server(("127.0.0.1", 0), Handler)
port = DIRECTORY / "port.new"
port.write_text(str(server.server_address[1]))
port.rename(DIRECTORY / "port")
server.serve_forever()
