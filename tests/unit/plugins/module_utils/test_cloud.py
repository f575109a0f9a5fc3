# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    Access,
    BrokenError,
    Cloud,
    CloudError,
    MissingError,
    RefusedError,
    UnreachableError,
    base_url,
    connect,
)
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._small_cloud import (
    PASSWORD,
    SmallCloud,
    clouds_yaml,
)

pytest.importorskip("openstack")
# Openstacksdk warns of its own optional dependencies.
pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB")


def refusal(path: str, cloud: str = "small") -> str:
    """Return the one line with which connecting fails, which never has the password in it."""
    with pytest.raises(CloudError) as caught:
        connect(Access(cloud=cloud, clouds_yaml=path, api_timeout=2))
    message = str(caught.value)
    assert "\n" not in message
    assert PASSWORD not in message
    return message


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:5000/v3", "http://h:5000"),
        ("http://h:5000/v3/", "http://h:5000"),
        ("http://h/identity/v3", "http://h/identity"),
        ("http://h:8774/v2.1", "http://h:8774"),
        ("http://h:8774/v2.1/3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c", "http://h:8774"),
        ("http://h/compute/v2.1/3f0c3f0c-3f0c-3f0c-3f0c-3f0c3f0c3f0c", "http://h/compute"),
        ("http://h:8080/v1/AUTH_3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c", "http://h:8080"),
        ("http://h:8776/v3/%(project_id)s", "http://h:8776"),
        ("http://h:9696", "http://h:9696"),
        ("http://h:9696/networking/", "http://h:9696/networking"),
    ],
)
def test_base_url_has_neither_project_nor_version(url: str, expected: str) -> None:
    """A catalogue URL of any form leads to where the version document is."""
    assert base_url(url) == expected


def test_connecting_authenticates(cloud: Cloud) -> None:
    """A connected cloud knows who it is."""
    assert (cloud.user_id, cloud.project_id, cloud.roles, cloud.interface) == ("u", "p", ["member"], "public")


def test_unknown_cloud_names_the_clouds_there_are(small: SmallCloud, tmp_path: Path) -> None:
    """A misspelt cloud is told beside the right names and the file."""
    path = clouds_yaml(tmp_path, small.url)

    message = refusal(path, "smal")

    assert "'smal' is not in" in message
    assert path in message
    assert "'small'" in message


def test_missing_clouds_yaml_is_named(tmp_path: Path) -> None:
    """A clouds.yaml that is not there is an error, and no other file is used in its place."""
    assert "No such file" in refusal(str(tmp_path / "none.yaml"))


def test_no_clouds_yaml_names_where_it_was_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any clouds.yaml the searched files are listed."""
    from openstack.config import loader

    monkeypatch.setattr(loader, "CONFIG_FILES", [str(tmp_path / "clouds.yaml")])

    with pytest.raises(CloudError, match=f"Searched {tmp_path}/clouds.yaml"):
        connect(Access(cloud="small"))


def test_broken_clouds_yaml_is_named(tmp_path: Path) -> None:
    """A clouds.yaml that is no YAML is an error of one line."""
    path = tmp_path / "clouds.yaml"
    path.write_text("clouds: [")

    assert str(path) in refusal(str(path))


def test_missing_auth_url_is_named(tmp_path: Path) -> None:
    """An entry that lacks an option says which."""
    path = tmp_path / "clouds.yaml"
    path.write_text("clouds: {small: {auth: {username: u}}}")

    assert "auth_url" in refusal(str(path))


@pytest.mark.parametrize("suffix", ["/v3", ""])
def test_closed_port_is_unreachable(tmp_path: Path, suffix: str) -> None:
    """Nobody listening is told as such, with the URL, whether or not it has a version."""
    url = f"http://127.0.0.1:{closed_port()}{suffix}"

    message = refusal(clouds_yaml(tmp_path, url))

    assert f"auth_url {url} is unreachable: Connection refused." in message


def test_unknown_name_is_unreachable(tmp_path: Path) -> None:
    """A host name that does not exist is told as such."""
    assert "is unreachable" in refusal(clouds_yaml(tmp_path, "http://keystone.invalid:5000/v3"))


def test_silence_is_unreachable(tmp_path: Path) -> None:
    """A server that takes the connection and never answers does not hold the module for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        message = refusal(clouds_yaml(tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}/v3"))

    assert "imed out" in message


def test_wrong_password_is_refused(small: SmallCloud, tmp_path: Path) -> None:
    """A wrong password is told as refused credentials."""
    path = clouds_yaml(tmp_path, f"{small.url}/v3", password="another")

    assert "refused the credentials (HTTP 401)" in refusal(path)


def test_plain_http_behind_https_is_a_tls_problem(small: SmallCloud, tmp_path: Path) -> None:
    """TLS that fails is told apart from a network that fails."""
    assert "TLS" in refusal(clouds_yaml(tmp_path, f"https://127.0.0.1:{small.port}/v3"))


def test_broken_keystone_is_told_with_its_status(small: SmallCloud, tmp_path: Path) -> None:
    """A Keystone that answers with 503 is not called unreachable."""
    small.statuses["POST /v3/auth/tokens"] = 503

    assert "answers HTTP 503" in refusal(clouds_yaml(tmp_path, f"{small.url}/v3"))


def test_another_service_is_not_keystone(small: SmallCloud, tmp_path: Path) -> None:
    """An auth_url that leads to something else says so."""
    small.statuses["POST /v3/auth/tokens"] = 404

    assert "not as Keystone does" in refusal(clouds_yaml(tmp_path, f"{small.url}/v3"))


def test_openstacksdk_missing_names_the_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without openstacksdk the message names the Python that lacks it."""
    monkeypatch.setitem(sys.modules, "openstack", None)

    assert sys.executable in refusal(clouds_yaml(tmp_path, "http://127.0.0.1:1/v3"))


def test_service_missing_in_the_catalogue_is_named(cloud: Cloud) -> None:
    """A service that is not registered is told beside those that are."""
    with pytest.raises(
        CloudError, match=r"no service of type placement in region R; it has compute, identity, network"
    ):
        cloud.api(("placement",))


def test_interface_missing_in_the_catalogue_is_named(small: SmallCloud, tmp_path: Path) -> None:
    """An interface that is not published is told beside those that are."""
    access = Access(cloud="small", clouds_yaml=clouds_yaml(tmp_path, f"{small.url}/v3"), interface="admin")

    with pytest.raises(CloudError, match=r"no admin endpoint of network, only public"):
        connect(access).api(("network",))


@pytest.mark.parametrize(
    ("status", "kind"), [(401, RefusedError), (403, RefusedError), (404, MissingError), (503, BrokenError)]
)
def test_answers_become_errors_of_their_kind(
    small: SmallCloud, cloud: Cloud, status: int, kind: type[CloudError]
) -> None:
    """What a status means is told by the class, what was asked and what came by the sentence."""
    small.statuses["GET /things"] = status

    with pytest.raises(kind, match=rf"GET {small.url}/things \(network\) got HTTP {status}: planted by the test."):
        cloud.api(("network",)).get("/things")


def test_a_failed_request_is_not_repeated(small: SmallCloud, cloud: Cloud) -> None:
    """One request is one request: a retry would hide what is looked for."""
    small.statuses["GET /things"] = 503

    with pytest.raises(BrokenError):
        cloud.api(("network",)).get("/things")

    assert small.requests.count("GET /things") == 1


def test_a_connection_closed_under_a_request_is_no_failure(small: SmallCloud, cloud: Cloud) -> None:
    """An idle connection may be closed at any time: what may be repeated is asked once more, over a new one."""
    small.cuts["GET /things"] = 1

    assert cloud.api(("network",)).get("/things") == {"things": []}
    assert small.requests.count("GET /things") == 2


def test_a_connection_closed_again_is_a_failure(small: SmallCloud, cloud: Cloud) -> None:
    """Who never answers is not asked for ever."""
    small.cuts["GET /things"] = 3

    with pytest.raises(UnreachableError, match="got no answer"):
        cloud.api(("network",)).get("/things")

    assert small.requests.count("GET /things") == 2


def test_what_may_not_be_repeated_is_asked_once(small: SmallCloud, cloud: Cloud) -> None:
    """A creation without an answer may have been made."""
    small.cuts["POST /things"] = 1

    with pytest.raises(UnreachableError, match="got no answer"):
        cloud.api(("network",)).post("/things", {"thing": {"name": "x"}})

    assert small.requests.count("POST /things") == 1


def test_no_answer_is_unreachable(small: SmallCloud, cloud: Cloud) -> None:
    """A connection that is cut instead of an answer is not an HTTP error."""
    small.swallow.add("POST /things")

    with pytest.raises(UnreachableError, match="got no answer"):
        cloud.api(("network",)).post("/things", {"thing": {"name": "x"}})


def test_deleting_what_is_gone_is_no_error(small: SmallCloud, cloud: Cloud) -> None:
    """Deleting tells whether it was there."""
    things = cloud.api(("network",))
    made = things.post("/things", {"thing": {"name": "x"}})["thing"]["id"]

    assert [things.delete(f"/things/{made}"), things.delete(f"/things/{made}")] == [True, False]
