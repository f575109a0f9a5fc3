# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what a user wrote to lanes: every mistake is one line that names the option."""

from __future__ import annotations

import difflib
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import LaneSpec, ProbeError

PROFILES = {"light": 2.0, "standard": 10.0, "precise": 125.0}
MODES = ("new", "kept")
MOST_RATE = 1000.0
LEAST_BYTES = 1024 * 1024
_API_KEYS = ("name", "service", "via", "url", "expect", "auth_url", "auth_expect", "connections")
_OPERATION_KEYS = ("name", "service", "via", "url", "expect", "authenticated", "connections")
_DATA_KEYS = ("name", "service", "via", "address", "url", "tcp_port", "stream", "expect")
_EXPECT_KEYS = ("status", "body")

Resolve = Callable[[str, int, str], tuple[int, tuple[Any, ...]]]
"""(host, port, option) -> (address family, socket address); raises ProbeError."""


def check_rate(rate: float | None, profile: str, option: str = "rate") -> float:
    """Probes per second and lane: the rate if given, else the profile's."""
    if rate is None:
        return PROFILES[profile]
    if not 0 < rate <= MOST_RATE:
        raise ProbeError(f"{option}: must be greater than 0 and at most {MOST_RATE:g} probes per second, not {rate:g}")
    return float(rate)


def check_positive(value: float, option: str, *, zero: bool = False) -> float:
    """A number of seconds."""
    if not 0 <= value < float("inf") or (value == 0 and not zero):
        raise ProbeError(f"{option}: must be {'0 or more' if zero else 'more than 0'} seconds, not {value:g}")
    return float(value)


def check_bytes(value: int, option: str) -> int:
    """A limit of a log's size."""
    if value < LEAST_BYTES:
        raise ProbeError(f"{option}: must be at least {LEAST_BYTES} bytes (1 MiB), not {value}")
    return value


def check_nice(value: int, option: str) -> int:
    """A nice value, see nice(1)."""
    if not -20 <= value <= 19:
        raise ProbeError(f"{option}: must be from -20 (goes first) to 19 (goes last), not {value}")
    return value


def check_modes(modes: Sequence[str]) -> tuple[str, ...]:
    """The connection modes, once each."""
    for mode in modes:
        if mode not in MODES:
            raise ProbeError(f"connections: must be from {', '.join(MODES)}, not '{mode}'")
    if not modes:
        raise ProbeError(f"connections: name at least one of {', '.join(MODES)}")
    return tuple(dict.fromkeys(modes))


def resolve(host: str, port: int, option: str) -> tuple[int, tuple[Any, ...]]:
    """The first address of a host. It is asked once, so that no name service can ever delay a probe."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no valid name"
        raise ProbeError(f"{option}: the name '{host}' cannot be resolved on this host: {reason}") from None
    family, _type, _protocol, _canonical, address = found[0]
    return int(family), address


def api_lanes(
    targets: Sequence[Mapping[str, Any]],
    modes: Sequence[str],
    rate: float,
    find: Resolve = resolve,
    *,
    auth_rate: float = 0.0,
) -> list[LaneSpec]:
    """The lanes of api_uptime: each target in each connection mode, its own where it names some.

    Those with an ``auth_url`` are asked with a token, too, ``auth_rate`` times a second; 0 means that there is none.
    """
    lanes = []
    for number, target in enumerate(_not_empty(targets)):
        option = f"targets[{number}]"
        _check_keys(target, _API_KEYS, option)
        _text(target, "url", option, required=True)
        common, own = _common(target, option), check_modes(target.get("connections", modes))
        plain = _http(target, option, find)
        lanes += [LaneSpec(mode=mode, rate=rate, **common, **plain) for mode in own]
        if _text(target, "auth_url", option):
            if auth_rate:
                _check_project(target["auth_url"], f"{option}.auth_url")
            token = _http(target, option, find, "auth_")
            lanes += [LaneSpec(mode=mode, rate=auth_rate, auth=True, **common, **token) for mode in own if auth_rate]
    return _unique(lanes)


def operation_lanes(
    operations: Sequence[Mapping[str, Any]], modes: Sequence[str], rate: float, *, token: bool, find: Resolve = resolve
) -> list[LaneSpec]:
    """The lanes of service_performance: each operation in each connection mode; token: whether there is one."""
    lanes = []
    for number, operation in enumerate(_not_empty(operations, "operations")):
        option = f"operations[{number}]"
        _check_keys(operation, _OPERATION_KEYS, option)
        _text(operation, "url", option, required=True)
        auth = operation.get("authenticated", False)
        if not isinstance(auth, bool):
            raise ProbeError(f"{option}.authenticated: must be true or false, not '{auth}'")
        if auth and not token:
            raise ProbeError(f"{option}.authenticated: needs a token, so name the user's cloud in the option cloud")
        _check_project(operation["url"], f"{option}.url")
        common = _common(operation, option) | _http(operation, option, find)
        own = check_modes(operation.get("connections", modes))
        lanes += [LaneSpec(mode=mode, rate=rate, auth=auth, bursts=False, **common) for mode in own]
    return _unique(lanes, "operations")


def data_lanes(targets: Sequence[Mapping[str, Any]], rate: float, find: Resolve = resolve) -> list[LaneSpec]:
    """The lanes of data_plane: ICMP to each address; TCP connect, HTTP and one kept connection where they are given."""
    lanes = []
    for number, target in enumerate(_not_empty(targets)):
        option = f"targets[{number}]"
        _check_keys(target, _DATA_KEYS, option)
        common = _common(target, option)
        host = _text(target, "address", option, required=True)
        family, address = find(host, 0, f"{option}.address")
        lanes.append(LaneSpec(mode="icmp", rate=rate, family=family, sockaddr=address, address=address[0], **common))
        if target.get("tcp_port") is not None:
            lanes.append(_tcp_lane(target["tcp_port"], host, option, find, rate=rate, **common))
        if target.get("url"):
            lanes.append(LaneSpec(mode="http", rate=rate, **common, **_http(target, option, find)))
        if target.get("stream"):
            lanes.append(LaneSpec(mode="stream", rate=rate, **common, **_stream(target, option, find)))
    return _unique(lanes)


def tls_context(*, validate: bool, ca_cert: str | None) -> ssl.SSLContext:
    """One TLS context for all lanes."""
    try:
        context = ssl.create_default_context(cafile=ca_cert or None)
    except (OSError, ssl.SSLError) as error:
        raise ProbeError(f"ca_cert: cannot read certificates from {ca_cert}: {error.strerror or error}") from None
    if not validate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _tcp_lane(value: Any, host: str, option: str, find: Resolve, **common: Any) -> LaneSpec:
    option = f"{option}.tcp_port"
    if not str(value).isdigit() or not 0 < int(value) < 65536:
        raise ProbeError(f"{option}: must be a port number from 1 to 65535, not '{value}'")
    family, address = find(host, int(value), option)
    text = address_text(address)
    return LaneSpec(mode="tcp", family=family, sockaddr=address, address=text, **common)


def _stream(target: Mapping[str, Any], option: str, find: Resolve) -> dict[str, Any]:
    """What goes over the kept connection: GETs of a page, or lines that an echo service sends back."""
    text, option = _text(target, "stream", option), f"{option}.stream"
    if text.startswith("http://"):
        return _page(text, option, find)
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        host, port = None, None
    if not host or not port or not text.startswith("echo://"):
        raise ProbeError(f"{option}: must be like http://host:port/path or echo://host:port, not '{text}'")
    family, address = find(host, port, option)
    return {"family": family, "sockaddr": address, "address": address_text(address), "echo": True}


def _not_empty(targets: Sequence[Mapping[str, Any]], option: str = "targets") -> Sequence[Mapping[str, Any]]:
    if not targets:
        raise ProbeError(f"{option}: name at least one {option[:-1]}")
    return targets


def _common(target: Mapping[str, Any], option: str) -> dict[str, Any]:
    return {
        "name": _text(target, "name", option, required=True),
        "service": _text(target, "service", option),
        "via": _text(target, "via", option),
    }


def _check_keys(value: Any, allowed: Sequence[str], option: str) -> None:
    if not isinstance(value, Mapping):
        raise ProbeError(f"{option}: must be a dictionary with {', '.join(allowed)}")
    for key in value:
        if key not in allowed:
            near = difflib.get_close_matches(str(key), allowed, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(allowed)}"
            raise ProbeError(f"{option}: unknown key '{key}'; {hint}")


def _text(target: Mapping[str, Any], key: str, option: str, *, required: bool = False) -> str:
    value = target.get(key)
    if value is None or value == "":
        if required:
            raise ProbeError(f"{option}: '{key}' is missing")
        return ""
    if not isinstance(value, str):
        raise ProbeError(f"{option}.{key}: must be a string, not {type(value).__name__}")
    return value


def _http(target: Mapping[str, Any], option: str, find: Resolve, which: str = "") -> dict[str, Any]:
    """What the URL and the expectation of a target say; which: the beginning of their keys."""
    statuses, body = _expectation(target.get(f"{which}expect"), f"{option}.{which}expect")
    page = _page(str(target[f"{which}url"]), f"{option}.{which}url", find)
    return {**page, "statuses": statuses, "body": body}


def _page(text: str, option: str, find: Resolve) -> dict[str, Any]:
    """What a URL says."""
    url = _check_url(text, option)
    tls = url.scheme == "https"
    host, port = url.hostname or "", url.port or (443 if tls else 80)
    family, address = find(host, port, option)
    bracketed = f"[{host}]" if ":" in host else host
    return {
        "family": family,
        "sockaddr": address,
        "address": address_text(address),
        "host_header": bracketed if port == (443 if tls else 80) else f"{bracketed}:{port}",
        "path": (url.path or "/") + (f"?{url.query}" if url.query else ""),
        "tls": tls,
        "server_name": host if tls else "",
    }


def _check_project(url: str, option: str) -> None:
    """What cloud_info leaves open has to be filled in: asked as it is, the service would be called broken."""
    if "{project_id}" in url:
        raise ProbeError(f"{option}: put the id of the user's project in the place of {{project_id}}")


def _check_url(text: str, option: str) -> SplitResult:
    try:
        url = urlsplit(text)
        _port = url.port  # read, because a port that is none is found here only
    except ValueError as error:
        raise ProbeError(f"{option}: '{text}' is no URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ProbeError(f"{option}: must be like http://host:port/path or https://host/path, not '{text}'")
    if url.username is not None or url.password is not None:
        raise ProbeError(f"{option}: must not contain a user name or password")
    if any(not "!" <= character <= "~" for character in url.path + url.query + url.hostname):
        raise ProbeError(f"{option}: contains characters that must be percent-encoded")
    return url


def _expectation(value: Any, option: str) -> tuple[frozenset[int], bytes]:
    if value is None:
        return frozenset(), b""
    _check_keys(value, _EXPECT_KEYS, option)
    statuses = value.get("status")
    statuses = [] if statuses is None else statuses if isinstance(statuses, (list, tuple)) else [statuses]
    for status in statuses:
        if not str(status).isdigit() or not 100 <= int(status) < 600:
            raise ProbeError(f"{option}.status: must be HTTP statuses such as [200, 300], not '{status}'")
    body = value.get("body")
    if body is not None and not isinstance(body, str):
        raise ProbeError(f"{option}.body: must be a string that the response contains, not {type(body).__name__}")
    return frozenset(int(status) for status in statuses), (body or "").encode()


def address_text(address: tuple[Any, ...]) -> str:
    """A socket address as host:port."""
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _unique(lanes: list[LaneSpec], option: str = "targets") -> list[LaneSpec]:
    seen = set()
    for lane in lanes:
        key = (lane.name, lane.via, lane.mode, lane.auth)
        if key in seen:
            raise ProbeError(
                f"{option}: '{lane.name}' via '{lane.via}' is there twice; each pair of name and via must be unique"
            )
        seen.add(key)
    return lanes
