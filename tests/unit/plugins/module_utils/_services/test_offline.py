# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._journal import Item, Journal
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._look import Look, look_around
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._offline import (
    judge_content,
    judge_equal,
    judge_place,
    sought,
    verify_offline,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.glance import SERVICE as GLANCE
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.glance import SIZE
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.keystone import SERVICE as KEYSTONE
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.nova import SERVICE as NOVA
from ansible_collections.openstack.upgrade_test.plugins.modules import persistent_resource, resource_evidence

HERE = {"pid": 7, "state": "running"}
CONTENT = b"x" * SIZE
IMAGE = "5d1c9ab2-5f6e-4a7b-9c21-000000000001"
SERVER = "9e107d9d-372b-4826-8bd3-000000000002"


@pytest.mark.parametrize(
    ("before", "now", "looked", "expected"),
    [
        ({}, {}, {"a"}, Status.UNKNOWN),
        ({}, {"a": HERE}, {"a"}, Status.PASS),
        ({"a": HERE}, {"a": HERE}, {"a"}, Status.PASS),
        ({"a": HERE}, {"a": {**HERE, "other": 1}}, {"a"}, Status.PASS),
        ({"a": HERE}, {"a": {**HERE, "pid": 8}}, {"a"}, Status.FAIL),
        ({"a": HERE}, {}, {"a"}, Status.FAIL),
        ({"a": HERE}, {}, {"b"}, Status.UNKNOWN),
        ({"a": HERE, "b": HERE}, {"a": HERE}, {"a", "b"}, Status.FAIL),
        ({"a": HERE, "b": HERE}, {"a": HERE}, {"a"}, Status.UNKNOWN),
    ],
)
def test_a_thing_stays_where_it_was(
    before: Mapping[str, Any], now: Mapping[str, Any], looked: set[str], expected: Status
) -> None:
    """Gone or replaced fails; what no host showed, or a host that was not looked at, is unknown and never good."""
    assert judge_place("it", before, now, looked, ["pid", "state"]).status is expected


def test_a_change_names_host_and_both_values() -> None:
    """The sentence says where it is and what it was."""
    message = judge_place("it", {"a": HERE}, {"a": {**HERE, "pid": 8}}, {"a"}, ["pid"]).message

    assert "on a pid was 7 and is 8" in message


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ({}, Status.UNKNOWN),
        ({"a": {"size": 5}}, Status.PASS),
        ({"a": {"size": 5}, "b": {"size": 4}}, Status.FAIL),
        ({"a": {}}, Status.FAIL),
    ],
)
def test_every_host_holds_what_was_stored(held: Mapping[str, Any], expected: Status) -> None:
    """One host with other content is enough to fail; none with it proves nothing."""
    assert judge_content("it", held, {"size": 5}).status is expected


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ({}, Status.UNKNOWN),
        ({"a": {"0": "x"}}, Status.PASS),
        ({"a": {"0": "x"}, "b": {"0": "x"}}, Status.PASS),
        ({"a": {"0": "x"}, "b": {"0": "y"}}, Status.FAIL),
        ({"a": {"0": "x"}, "b": {"0": "x", "1": "z"}}, Status.FAIL),
        ({"a": {"0": "x", "1": "z"}, "b": {"0": "x"}}, Status.FAIL),
    ],
)
def test_hosts_hold_the_same(held: Mapping[str, Any], expected: Status) -> None:
    """A key that one host lacks, has more, or has otherwise, fails."""
    assert judge_equal("it", held).status is expected


class Hosts:
    """A run with an image and a server in its journal, and two hosts that hold them."""

    def __init__(self, folder: Path) -> None:
        self.run = RunDirectory.create(folder / "runs")
        self.journal = Journal(self.run)
        self.folders = {name: folder / name for name in ("one", "two")}
        prefix = f"upgrade-test-{self.run.run_id}-"
        facts = {"sha256": hashlib.sha256(CONTENT).hexdigest()}
        self.journal.write(
            "created", Item(service="glance", type="image", name=f"{prefix}image", id=IMAGE, facts=facts)
        )
        server = {"floating_ip": "127.0.0.1", "ping": None}
        self.journal.write(
            "created", Item(service="nova", type="server", name=f"{prefix}server", id=SERVER, facts=server)
        )
        self.journal.write(
            "created", Item(service="keystone", type="grant", name=f"{prefix}grant", id="u", facts=server)
        )
        for path in self.folders.values():
            (path / "store").mkdir(parents=True)
            (path / "store" / IMAGE).write_bytes(CONTENT)
            (path / "fernet-keys").mkdir()
            for key in ("0", "1"):
                (path / "fernet-keys" / key).write_text(f"key {key}")

    def evidence(self) -> dict[str, Any]:
        return {name: self._look(path) for name, path in self.folders.items()}

    def _look(self, path: Path) -> dict[str, Any]:
        paths = {"glance_stores": [f"{path}/stor*"], "keystone_keys": [f"{path}/*-keys"]}
        items = [Item(**entry) for entry in sought(self.journal)]
        return look_around([KEYSTONE, GLANCE, NOVA], Look(sought=items, paths=paths))

    def verify(self, evidence: Mapping[str, Any] | None = None) -> dict[str, Outcome]:
        seen = self.evidence() if evidence is None else evidence
        outcomes = verify_offline([KEYSTONE, GLANCE, NOVA], self.journal, seen, "after", None)
        return {outcome.check: outcome for outcome in outcomes}


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)


@pytest.fixture
def domain() -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like a server's."""
    argv = [sys.executable, "-c", "import time; time.sleep(60)", "-uuid", SERVER]
    process = subprocess.Popen(argv)
    yield process
    process.kill()
    process.wait()


def test_what_nobody_touched_is_as_it_was(hosts: Hosts, domain: subprocess.Popen[bytes]) -> None:
    """Contents, places, keys and processes pass, at the first look and at the second."""
    hosts.verify()
    found = {check: outcome.status for check, outcome in hosts.verify().items() if "ping" not in check}

    assert {name for name, status in found.items() if status is Status.PASS} == {
        "noapi_image_content",
        "noapi_image_place",
        "noapi_fernet_keys_equal",
        "noapi_fernet_keys_kept",
        "noapi_server_process",
    }


def test_a_truncated_image_is_found_and_named(hosts: Hosts) -> None:
    """A blob that lost its end fails, with the host that has it."""
    hosts.verify()
    (hosts.folders["two"] / "store" / IMAGE).write_bytes(CONTENT[:-1])
    found = hosts.verify()["noapi_image_content"]

    assert found.status is Status.FAIL
    assert "on two" in found.message
    assert "on one" not in found.message


def test_keys_that_differ_on_one_host_are_found(hosts: Hosts) -> None:
    """A key repository that was rotated on one host alone fails, and names the host and the key."""
    (hosts.folders["two"] / "fernet-keys" / "1").write_text("another key")
    found = hosts.verify()["noapi_fernet_keys_equal"]

    assert found.status is Status.FAIL
    assert "two differs in 1" in found.message
    assert "another key" not in json.dumps(found.as_record())


def test_new_keys_alone_are_a_loss(hosts: Hosts) -> None:
    """Keys that are the same everywhere, but none of those before, cannot read what was written before."""
    hosts.verify()
    for path in hosts.folders.values():
        for key in ("0", "1"):
            (path / "fernet-keys" / key).write_text(f"new key {key}")
    found = hosts.verify()

    assert found["noapi_fernet_keys_equal"].status is Status.PASS
    assert found["noapi_fernet_keys_kept"].status is Status.FAIL


def test_a_server_that_was_started_anew_is_found(hosts: Hosts, domain: subprocess.Popen[bytes]) -> None:
    """Another process for the same server is an interruption."""
    hosts.verify()
    domain.kill()
    domain.wait()
    gone = hosts.verify()["noapi_server_process"]
    argv = [sys.executable, "-c", "import time; time.sleep(60)", "-uuid", SERVER]
    with subprocess.Popen(argv) as again:
        anew = hosts.verify()["noapi_server_process"]
        again.kill()

    assert (gone.status, anew.status) == (Status.FAIL, Status.FAIL)
    assert "pid was" in anew.message


def test_without_hosts_nothing_is_concluded(hosts: Hosts) -> None:
    """An inventory without hosts proves nothing and accuses nobody."""
    found = hosts.verify({})

    assert {found[check].status for check in ("noapi_image_content", "noapi_server_process")} == {Status.SKIP}


def test_the_modules_agree_on_what_to_look_for(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    """What one module says is to be looked for, the other finds, and the first one understands."""

    def result(module: Any, **options: Any) -> dict[str, Any]:
        with patch_module_args(options), pytest.raises(SystemExit):
            module.main()
        return dict(json.loads(capsys.readouterr().out))

    common = {"run_dir": str(hosts.run.path), "cloud": "none"}
    wanted = result(persistent_resource, state="located", **common)["sought"]
    store = {"glance_stores": str(hosts.folders["one"] / "store")}
    seen = result(resource_evidence, sought=wanted, services=["glance"], paths=store)["evidence"]
    told = result(persistent_resource, state="verified_noapi", services=["glance"], evidence={"one": seen}, **common)

    assert [one["status"] for one in told["outcomes"]] == ["pass", "pass"]
    assert "is not known" in result(resource_evidence, sought=[], paths={"glance_store": []})["msg"]
    assert "sought: has to be" in result(resource_evidence, sought=[{"colour": "red"}])["msg"]
