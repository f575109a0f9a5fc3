# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of which one endpoint has TLS, with an authority that lasts as long as a test wants."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from ansible_collections.openstack.upgrade_test.tests._certificates import certificate, private_key
from ansible_collections.openstack.upgrade_test.tests.lab._admin import quiet
from ansible_collections.openstack.upgrade_test.tests.lab._lab import wait_for
from ansible_collections.openstack.upgrade_test.tests.lab_full._full import FullLab

PROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend tls
  bind 127.0.0.1:{port} ssl crt {folder}/endpoint.pem
  default_backend image
backend image
  server lab {place}
"""


@contextmanager
def image_endpoint_with_tls(lab: FullLab, authority_days: float) -> Iterator[str]:
    """Publish glance's endpoint for administrators by TLS; gives the file with the authority that it is trusted by.

    The endpoint's own certificate is good; its authority ends in so many days, which may be past.
    """
    folder = lab.workplace / f"tls{authority_days:g}"
    folder.mkdir()
    authority = folder / "authority.pem"
    authority.write_bytes(certificate("authority of the lab", authority_days, authority=True))
    (folder / "endpoint.pem").write_bytes(certificate("image", 300, "authority of the lab") + private_key())
    with quiet():
        identity = lab.admin().cloud.identity
        (image,) = (one.id for one in identity.services() if one.type == "image")
        (endpoint,) = identity.endpoints(service_id=image, interface="admin")
    with _proxy(folder, urlsplit(endpoint.url).netloc) as port:
        try:
            with quiet():
                identity.update_endpoint(endpoint.id, url=f"https://127.0.0.1:{port}")
            yield str(authority)
        finally:
            with quiet():
                identity.update_endpoint(endpoint.id, url=endpoint.url)


@contextmanager
def _proxy(folder: Path, place: str) -> Iterator[int]:
    """Give the port at which a proxy with TLS serves for this address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = folder / "proxy.cfg"
    config.write_text(PROXY.format(port=port, folder=folder, place=place), encoding="utf-8")
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(["haproxy", "-db", "-f", str(config)], stdout=log, stderr=log)
    try:
        wait_for(lambda: _listens(port), "the proxy listens", 20)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
