# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the certificates of the endpoints last, and those of the authorities that are trusted.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import datetime
import os
import re
import socket
import ssl
import time as clock
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Cloud
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import (
    Finding,
    finding,
    unseen,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import VALIDATOR
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Service

PATIENCE = 10.0  # seconds for a handshake
_DAY = 86400.0
_PEM = re.compile(rb"-----BEGIN (?:TRUSTED )?CERTIFICATE-----.+?-----END (?:TRUSTED )?CERTIFICATE-----", re.S)


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """One certificate: whose it is, and from when to when it is valid (seconds since the epoch)."""

    name: str
    begins: float
    ends: float


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What an endpoint showed: its certificate, and why it is not trusted (empty when it is)."""

    certificate: Certificate | None = None
    distrust: str = ""
    problem: str = ""


def certificates(cloud: Cloud, services: Sequence[Service], days: float, phase: str) -> list[Outcome]:
    """Return an outcome for each endpoint in use that has TLS, and for the authorities that the cloud is trusted by."""
    points = [(service, name, url) for service in services for name, url in cloud.endpoints(service.types).items()]
    wanted = [
        (service.name, f"{name} endpoint of {service.name}", place)
        for service, name, url in points
        if (place := place_of(url))
    ]
    verify = cloud.session.verify
    with ThreadPoolExecutor(max_workers=8) as pool:
        places = sorted({place for _service, _subject, place in wanted})
        shown = dict(
            zip(places, pool.map(lambda place: look_at_certificate(place[0], place[1], verify), places), strict=True)
        )
    found = [(service, judge_certificate(subject, shown[place], days)) for service, subject, place in wanted]
    if wanted and isinstance(verify, str):
        found.append(("", judge_authorities(verify, authorities_in(verify), days)))
    return [
        one.as_outcome(validator=VALIDATOR, check="certificate", service=service, phase=phase) for service, one in found
    ]


def place_of(url: str) -> tuple[str, int] | None:
    """Return host and port of a URL with TLS; None for any other."""
    parts = urlsplit(url)
    return (parts.hostname, parts.port or 443) if parts.scheme == "https" and parts.hostname else None


def look_at_certificate(host: str, port: int, verify: bool | str) -> Shown:
    """Return what an endpoint shows; ``verify`` is a file of authorities, or whether to trust the usual ones."""
    try:
        with _channel(host, port, _context(verify=False)) as channel:
            shown = channel.getpeercert(binary_form=True)
    except (OSError, ValueError) as problem:
        return Shown(problem=str(problem))
    return Shown(certificate=read(shown or b""), distrust=_distrust(host, port, verify) if verify else "")


def _distrust(host: str, port: int, verify: bool | str) -> str:
    """Return why the certificate is not trusted; empty when it is, or when that could not be found out."""
    try:
        _channel(host, port, _context(verify=verify)).close()
    except ssl.SSLCertVerificationError as problem:
        return str(problem.verify_message or problem)
    except (OSError, ValueError):
        return ""
    return ""


def _channel(host: str, port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Return a connection after its handshake; it owns the plain one."""
    plain = socket.create_connection((host, port), timeout=PATIENCE)
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _context(*, verify: bool | str) -> ssl.SSLContext:
    if verify:
        return ssl.create_default_context(cafile=verify if isinstance(verify, str) else _usual_authorities())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _usual_authorities() -> str:
    """Return the file of those whom openstacksdk trusts when nothing else was said."""
    from requests.utils import DEFAULT_CA_BUNDLE_PATH  # comes with openstacksdk

    named = (os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))
    return next(filter(None, named), None) or str(DEFAULT_CA_BUNDLE_PATH)


def read(encoded: bytes) -> Certificate:
    """Read a certificate; raises ValueError when it is none."""
    from cryptography import x509  # comes with openstacksdk

    loaded = x509.load_der_x509_certificate(encoded)
    return Certificate(
        name=loaded.subject.rfc4514_string(),
        begins=_moment(loaded, "not_valid_before"),
        ends=_moment(loaded, "not_valid_after"),
    )


def _moment(loaded: Any, field: str) -> float:
    """Return a date of a certificate; older versions of the library give it without a time zone, which is UTC."""
    found = getattr(loaded, f"{field}_utc", None) or getattr(loaded, field).replace(tzinfo=datetime.UTC)
    return float(found.timestamp())


def authorities_in(file: str) -> list[Certificate]:
    """Return the certificates in a file of authorities; none when it cannot be read."""
    try:
        found = _PEM.findall(Path(file).read_bytes())
        return [read(ssl.PEM_cert_to_DER_cert(one.decode())) for one in found]
    except (OSError, ValueError):
        return []


def judge_certificate(subject: str, shown: Shown, days: float) -> Finding:
    """Say whether an endpoint's certificate is trusted, and for how many days it will be."""
    if shown.certificate is None:
        return unseen(subject, f"The certificate of the {subject} was not seen: {shown.problem or 'it showed none'}.")
    lasts = _lasts(f"The certificate of the {subject} ({shown.certificate.name})", shown.certificate, days)
    if lasts or not shown.distrust:
        left = _days_left(shown.certificate)
        message = lasts or f"The certificate of the {subject} is valid for {left:.0f} days."
        return finding(subject, not lasts, message, expected=f"valid for {days:g} days", found=round(left, 1))
    return finding(subject, False, f"The certificate of the {subject} is not trusted: {shown.distrust}.")


def judge_authorities(file: str, found: Iterable[Certificate], days: float) -> Finding:
    """Say whether those who are trusted can be trusted for so many days."""
    every = list(found)
    if not every:
        return unseen(file, f"No certificate could be read in {file}.")
    wrong = [words for one in every if (words := _lasts(f"The authority {one.name} in {file}", one, days))]
    message = " ".join(wrong) or f"All {len(every)} authorities in {file} are valid for more than {days:g} days."
    return finding(file, not wrong, message, expected=f"valid for {days:g} days")


def _days_left(certificate: Certificate) -> float:
    return (certificate.ends - clock.time()) / _DAY


def _lasts(what: str, certificate: Certificate, days: float) -> str:
    """Say what is wrong with the time of a certificate; empty when nothing is."""
    left = _days_left(certificate)
    if left < 0:
        return f"{what} expired {-left:.0f} days ago."
    if certificate.begins > clock.time():
        return f"{what} is not valid yet."
    return f"{what} expires in {left:.0f} days." if left < days else ""
