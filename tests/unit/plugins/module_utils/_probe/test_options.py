# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options: what is accepted, and the line that says why something is not."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import ProbeError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._options import (
    api_lanes,
    check_modes,
    check_nice,
    check_positive,
    check_rate,
    data_lanes,
    operation_lanes,
    tls_context,
)

URL = "http://127.0.0.1:5000/v3?x=1"


def test_api_lanes() -> None:
    """Each target has a lane in each mode, with everything a probe needs."""
    target = {
        "name": "a",
        "service": "keystone",
        "via": "public",
        "url": URL,
        "expect": {"status": [200], "body": "v3"},
    }
    new, kept = api_lanes([target], ["new", "kept"], 10)

    assert (new.mode, kept.mode) == ("new", "kept")
    assert (new.host_header, new.path, new.address) == ("127.0.0.1:5000", "/v3?x=1", "127.0.0.1:5000")
    assert (new.statuses, new.body, new.tls) == ({200}, b"v3", False)


def test_lanes_with_a_token() -> None:
    """With a rate for them, what has an auth_url is asked there with a token, at that rate and with its expectation."""
    target = {"name": "a", "url": URL, "auth_url": f"{URL}&limit=1", "auth_expect": {"body": "servers"}}
    lanes = api_lanes([target, {"name": "b", "url": URL}], ["new", "kept"], 10, auth_rate=2)

    assert [(lane.name, lane.mode) for lane in lanes if lane.auth] == [("a", "new"), ("a", "kept")]
    assert {(lane.path, lane.rate, lane.body) for lane in lanes if lane.auth} == {("/v3?x=1&limit=1", 2, b"servers")}
    assert {(lane.path, lane.rate, lane.body) for lane in lanes if not lane.auth} == {("/v3?x=1", 10, b"")}
    assert [lane.auth for lane in api_lanes([target], ["new", "kept"], 10)] == [False, False]
    assert all(lane.as_record()["auth"] is lane.auth for lane in lanes)


def test_operation_lanes() -> None:
    """Each operation is a lane in each mode, with or without a token as it says."""
    operations = [{"name": "list", "url": URL, "authenticated": True}, {"name": "show", "url": URL}]
    lanes = operation_lanes(operations, ["kept"], 2, token=True)

    assert [(lane.name, lane.mode, lane.auth, lane.rate) for lane in lanes] == [
        ("list", "kept", True, 2),
        ("show", "kept", False, 2),
    ]


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ([], "operations: name at least one operation"),
        (
            [{"name": "a", "url": URL, "auth_url": URL}],
            "operations[0]: unknown key 'auth_url'; known are name, service",
        ),
        ([{"name": "a", "url": URL, "authenticated": "maybe"}], "operations[0].authenticated: must be true or false"),
        ([{"name": "a", "url": URL, "authenticated": True}], "operations[0].authenticated: needs a token, so name"),
        (
            [{"name": "a", "url": URL + "{project_id}"}],
            "operations[0].url: put the id of the user's project in the place of",
        ),
        ([{"name": "a", "url": URL}] * 2, "operations: 'a' via '' is there twice"),
    ],
)
def test_operation_mistakes(operations: list[dict[str, Any]], message: str) -> None:
    """A mistake is one line that names the option."""
    with pytest.raises(ProbeError) as caught:
        operation_lanes(operations, ["new"], 2, token=False)

    assert message in str(caught.value)


def test_ipv6_and_tls() -> None:
    """An IPv6 address keeps its brackets where HTTP wants them, and TLS knows the name."""
    (lane,) = api_lanes([{"name": "a", "url": "https://[::1]/"}], ["new"], 10)

    assert (lane.host_header, lane.address, lane.server_name, lane.tls) == ("[::1]", "[::1]:443", "::1", True)


def test_data_lanes() -> None:
    """ICMP always, TCP and HTTP when asked for."""
    target = {"name": "a", "address": "127.0.0.1", "tcp_port": 22, "url": "http://127.0.0.1/"}

    assert [lane.mode for lane in data_lanes([target], 5)] == ["icmp", "tcp", "http"]
    assert [lane.mode for lane in data_lanes([{"name": "a", "address": "127.0.0.1"}], 5)] == ["icmp"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"name": "a", "ulr": URL}, "targets[0]: unknown key 'ulr'; did you mean 'url'?"),
        ({"name": "a"}, "targets[0]: 'url' is missing"),
        ({"name": "a", "url": URL, "auth_url": "x"}, "targets[0].auth_url: must be like http://host:port/path"),
        ({"url": URL}, "targets[0]: 'name' is missing"),
        ({"name": 5, "url": URL}, "targets[0].name: must be a string, not int"),
        ({"name": "a", "url": "ftp://x/"}, "targets[0].url: must be like http://host:port/path"),
        ({"name": "a", "url": "http://127.0.0.1:99999/"}, "targets[0].url: 'http://127.0.0.1:99999/' is no URL"),
        ({"name": "a", "url": "http://u:p@127.0.0.1/"}, "targets[0].url: must not contain a user name or password"),
        ({"name": "a", "url": "http://127.0.0.1/a b"}, "targets[0].url: contains characters that must be"),
        (
            {"name": "a", "url": "http://no-such-name.invalid/"},
            "targets[0].url: the name 'no-such-name.invalid' cannot",
        ),
        ({"name": "a", "url": URL, "expect": {"code": 1}}, "targets[0].expect: unknown key 'code'"),
        ({"name": "a", "url": URL, "expect": {"status": ["x"]}}, "targets[0].expect.status: must be HTTP statuses"),
        ({"name": "a", "url": URL, "expect": {"body": 5}}, "targets[0].expect.body: must be a string"),
        ("text", "targets[0]: must be a dictionary"),
    ],
)
def test_bad_target(target: Any, message: str) -> None:
    """A mistake in a target is one line that names the option."""
    with pytest.raises(ProbeError) as caught:
        api_lanes([target], ["new"], 10)

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert ":p@" not in str(caught.value)


def test_stream() -> None:
    """A kept connection is one lane more: of HTTP, or of a service that sends back what it is sent."""
    base = {"name": "a", "address": "127.0.0.1"}
    _icmp, page = data_lanes([{**base, "stream": "http://127.0.0.1:8080/x"}], 5)
    _icmp, echo = data_lanes([{**base, "stream": "echo://[::1]:7"}], 5)

    assert (page.mode, page.path, page.address, page.echo) == ("stream", "/x", "127.0.0.1:8080", False)
    assert (echo.mode, echo.address, echo.echo) == ("stream", "[::1]:7", True)


@pytest.mark.parametrize("text", ["https://127.0.0.1/", "echo://127.0.0.1", "127.0.0.1:7", "echo://127.0.0.1:99999"])
def test_bad_stream(text: str) -> None:
    """What a connection cannot be held open to is refused, with what would be right."""
    with pytest.raises(ProbeError) as caught:
        data_lanes([{"name": "a", "address": "127.0.0.1", "stream": text}], 5)

    assert str(caught.value).startswith("targets[0].stream: must be like http://host:port/path or echo://host:port")


@pytest.mark.parametrize("port", [0, 65536, "ssh", True])
def test_bad_port(port: Any) -> None:
    """A port is a number from 1 to 65535."""
    with pytest.raises(ProbeError, match=r"targets\[0\]\.tcp_port: must be a port number"):
        data_lanes([{"name": "a", "address": "127.0.0.1", "tcp_port": port}], 5)


def test_same_target_twice() -> None:
    """Two targets that could not be told apart are refused."""
    with pytest.raises(ProbeError, match="'a' via '' is there twice"):
        api_lanes([{"name": "a", "url": URL}] * 2, ["new"], 10)


def test_no_target() -> None:
    """Nothing to observe is a mistake, not a clean result."""
    with pytest.raises(ProbeError, match="name at least one target"):
        api_lanes([], ["new"], 10)


@pytest.mark.parametrize("rate", [0, -1, 1001, float("nan")])
def test_bad_rate(rate: float) -> None:
    """A rate is more than 0 and at most 1000."""
    with pytest.raises(ProbeError, match="rate: must be greater than 0"):
        check_rate(rate, "standard")


def test_profiles() -> None:
    """The rate goes before the profile."""
    assert (check_rate(None, "precise"), check_rate(3, "precise")) == (125.0, 3.0)


def test_bad_seconds_and_modes() -> None:
    """Times and modes are checked as well."""
    with pytest.raises(ProbeError, match="timeout: must be more than 0 seconds"):
        check_positive(0, "timeout")
    with pytest.raises(ProbeError, match="duration: must be 0 or more seconds"):
        check_positive(-1, "duration", zero=True)
    with pytest.raises(ProbeError, match="connections: name at least one of new, kept"):
        check_modes([])
    with pytest.raises(ProbeError, match="connections: must be from new, kept, not 'old'"):
        check_modes(["old"])
    with pytest.raises(ProbeError, match=r"nice: must be from -20 \(goes first\) to 19 \(goes last\), not 20"):
        check_nice(20, "nice")


def test_bad_ca_cert(tmp_path: Any) -> None:
    """A file without certificates is refused at the start, not by a wave of failures."""
    (tmp_path / "ca.pem").write_text("no certificate")
    for path in (tmp_path / "ca.pem", tmp_path / "missing.pem"):
        with pytest.raises(ProbeError, match="ca_cert: cannot read certificates"):
            tls_context(validate=True, ca_cert=str(path))


def test_a_target_may_name_its_own_connections() -> None:
    """A target that names its connections gets just these, the others the general ones."""
    targets = [
        {"name": "a", "url": "http://127.0.0.1:1/", "connections": ["new"]},
        {"name": "b", "url": "http://127.0.0.1:2/"},
    ]

    lanes = api_lanes(targets, ["new", "kept"], 10.0)

    assert [(lane.name, lane.mode) for lane in lanes] == [("a", "new"), ("b", "new"), ("b", "kept")]
