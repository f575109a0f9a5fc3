# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A very small cloud on loopback: real HTTP, a Keystone that gives out tokens, collections that keep what they get."""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory

PASSWORD = "a-password-that-nobody-may-see"
TYPES = {"identity": "/v3", "network": "", "compute": "/v2.1"}


class SmallCloud:
    """The state of the cloud, and switches with which a test breaks it."""

    def __init__(self) -> None:
        """Begin empty and healthy."""
        self.collections: dict[str, dict[str, dict[str, Any]]] = {}
        self.requests: list[str] = []
        self.statuses: dict[str, int] = {}  # "GET /path": the status to answer with
        self.swallow: set[str] = set()  # "POST /path": done, but the connection is cut instead of an answer
        self.cuts: Counter[str] = Counter()  # "GET /path": how often the connection is closed instead of an answer
        self.types = dict(TYPES)
        self.extra: list[tuple[str, str, str, str]] = []  # endpoints beside the usual: type, interface, region, URL
        self.documents: dict[str, Any] = {}  # "GET /path": the body to answer with
        self.roles = ["member"]
        self.project_name = "project"
        self.port = 0
        self.domain_name = "Default"

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def token(self) -> dict[str, Any]:
        """Return a token's body."""
        catalog = [
            {
                "type": type_,
                "name": type_,
                "endpoints": [{"interface": "public", "region_id": "R", "region": "R", "url": f"{self.url}{path}"}],
            }
            for type_, path in self.types.items()
        ]
        for entry in catalog:
            entry["endpoints"] += [
                {"interface": interface, "region_id": region, "region": region, "url": url}
                for type_, interface, region, url in self.extra
                if type_ == entry["type"]
            ]
        return {
            "user": {"id": "u", "name": "user", "domain": {"id": "default"}},
            "project": {"id": "p", "name": self.project_name, "domain": {"id": "default"}},
            "roles": [{"id": name, "name": name} for name in self.roles],
            "expires_at": "2999-01-01T00:00:00.000000Z",
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "methods": ["password"],
            "catalog": catalog,
        }


class _Handler(BaseHTTPRequestHandler):
    cloud: SmallCloud
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)

    def serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"null")
        parts = urlsplit(self.path)
        asked = f"{self.command} {parts.path}"
        self.cloud.requests.append(asked)
        if self.cloud.cuts[asked]:
            self.cloud.cuts[asked] -= 1
            self.close_connection = True
        elif asked in self.cloud.statuses:
            self.answer(self.cloud.statuses[asked], {"error": {"message": "planted by the test"}})
        elif asked in self.cloud.documents:
            self.answer(200, self.cloud.documents[asked])
        elif asked == "POST /v3/auth/tokens":
            self.authenticate(body)
        else:
            self.collect(asked, parts.path.strip("/").split("/"), body, parse_qs(parts.query))

    def authenticate(self, body: Any) -> None:
        given = body["auth"]["identity"]["password"]["user"]["password"]
        if given == PASSWORD:
            token = self.cloud.token()
            for whose in ("user", "project"):
                token[whose]["domain"]["name"] = self.cloud.domain_name
            self.answer(201, {"token": token}, {"X-Subject-Token": uuid.uuid4().hex})
        else:
            self.answer(401, {"error": {"message": "The request you have made requires authentication."}})

    def collect(self, asked: str, path: list[str], body: Any, query: dict[str, list[str]]) -> None:
        many, one = path[0], path[0].removesuffix("s")
        kept = self.cloud.collections.setdefault(many, {})
        if self.command == "POST":
            entry = {"id": uuid.uuid4().hex, "status": "ACTIVE", **body[one]}
            kept[entry["id"]] = entry
            if asked in self.cloud.swallow:
                self.close_connection = True
                return
            self.answer(201, {one: entry})
        elif self.command == "GET" and len(path) == 1:
            wanted = [e for e in kept.values() if all(e.get(k, v[0]) == v[0] for k, v in query.items())]
            self.answer(200, {many: wanted})
        elif path[-1] not in kept:
            self.answer(404, {"error": {"message": "no such thing"}})
        elif self.command == "DELETE":
            del kept[path[-1]]
            self.answer(204)
        else:
            self.answer(200, {one: kept[path[-1]]})

    do_GET = do_POST = do_PUT = do_DELETE = serve  # noqa: N815 - the names that the base class calls

    def log_message(self, *_words: Any) -> None:
        pass


@contextmanager
def small_cloud() -> Iterator[SmallCloud]:
    """Run a cloud for the time of a test."""
    cloud = SmallCloud()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"cloud": cloud}))
    server.daemon_threads = True
    cloud.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield cloud
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def clouds_yaml(folder: Path, auth_url: str, **auth: str) -> str:
    """Write a clouds.yaml with the cloud ``small``; return its path."""
    entry = {
        "auth_url": auth_url,
        "username": "user",
        "password": PASSWORD,
        "project_name": "project",
        "user_domain_id": "default",
        "project_domain_id": "default",
        **auth,
    }
    path = folder / "clouds.yaml"
    path.write_text(json.dumps({"clouds": {"small": {"auth": entry, "region_name": "R"}}}))
    return str(path)


def run_with_users(runs_dir: Path, small: SmallCloud, **facts: Any) -> str:
    """Open a run that has its users in that cloud; return its folder."""
    directory = RunDirectory.create(runs_dir, **facts)
    entry = {
        "auth": {"auth_url": f"{small.url}/v3", "user_id": "u", "project_id": "p", "password": PASSWORD},
        "auth_type": "v3password",
        "region_name": "R",
    }
    clouds = {"upgrade_test": entry, "upgrade_test_stranger": entry, "upgrade_test_reader": entry}
    directory.write_credentials(json.dumps({"clouds": clouds}))
    return str(directory.path)
