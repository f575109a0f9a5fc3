# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._certificates import (
    Shown,
    authorities_in,
    judge_authorities,
    judge_certificate,
    look_at_certificate,
    place_of,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status

pytest.importorskip("cryptography")
from ansible_collections.openstack.upgrade_test.tests._certificates import certificate, private_key


@contextmanager
def serving(folder: Path, chain: bytes) -> Iterator[int]:
    """Give the port of a server with this certificate."""
    (folder / "server.pem").write_bytes(chain + private_key())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def judged(folder: Path, leaf: float, authority: float) -> tuple[Status, str]:
    """Return what is said of a server whose certificate and whose authority end in so many days."""
    trusted = folder / "ca.pem"
    trusted.write_bytes(certificate("ca", authority, authority=True))
    with serving(folder, certificate("server", leaf, "ca")) as port:
        found = judge_certificate("endpoint", look_at_certificate("127.0.0.1", port, str(trusted)), 14)
    return found.status, found.message


def test_a_certificate_that_lasts_passes(tmp_path: Path) -> None:
    """A server shows it, an authority that is trusted vouches for it, and it is valid long enough."""
    status, message = judged(tmp_path, 100.5, 100)

    assert (status, "valid for 100 days" in message) == (Status.PASS, True)


def test_one_that_expires_fails(tmp_path: Path) -> None:
    """That it has expired, or will soon, is told in days."""
    soon, late = judged(tmp_path, 5.5, 100), judged(tmp_path, -3.5, 100)

    assert (soon[0], "expires in 5 days" in soon[1]) == (Status.FAIL, True)
    assert (late[0], "expired 4 days ago" in late[1]) == (Status.FAIL, True)


def test_an_expired_authority_is_found(tmp_path: Path) -> None:
    """The server's own certificate is good, and nobody trusts it any more: both the endpoint and the file tell."""
    status, message = judged(tmp_path, 100, -1.5)
    file = str(tmp_path / "ca.pem")
    found = judge_authorities(file, authorities_in(file), 14)

    assert (status, "is not trusted: certificate has expired" in message) == (Status.FAIL, True)
    assert (found.status, "The authority CN=ca" in found.message) == (Status.FAIL, True)


def test_without_a_file_the_usual_authorities_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those whom openstacksdk trusts: not an authority of one's own, unless the environment names it."""
    (tmp_path / "ca.pem").write_bytes(certificate("ca", 100, authority=True))
    with serving(tmp_path, certificate("server", 100, "ca")) as port:
        usual = look_at_certificate("127.0.0.1", port, verify=True)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        named = look_at_certificate("127.0.0.1", port, verify=True)

    assert (bool(usual.distrust), named.distrust) == (True, "")


def test_what_was_not_seen_is_unknown(tmp_path: Path) -> None:
    """A server that is not there, and a file without certificates, prove nothing."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    shown = look_at_certificate("127.0.0.1", port, verify=False)

    assert judge_certificate("endpoint", shown, 14).status is Status.UNKNOWN
    assert judge_certificate("endpoint", Shown(), 14).status is Status.UNKNOWN
    assert judge_authorities("f", authorities_in(str(tmp_path / "none")), 14).status is Status.UNKNOWN


def test_only_tls_has_certificates() -> None:
    """The usual port stands for none."""
    assert place_of("https://cloud.example/identity") == ("cloud.example", 443)
    assert place_of("https://cloud.example:5000/v3") == ("cloud.example", 5000)
    assert place_of("http://cloud.example:5000/v3") is None
