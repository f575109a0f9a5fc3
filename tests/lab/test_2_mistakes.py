# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An operator's mistakes: each is one line that says what to do, and leaves nothing anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.openstack.upgrade_test.tests.lab._lab import Lab, Played


@pytest.fixture(scope="module")
def clouds(lab: Lab) -> Path:
    """A clouds.yaml with the lab's cloud, and the same with mistakes."""
    cloud = yaml.safe_load(lab.clouds_yaml.read_text(encoding="utf-8"))["clouds"]["lab"]
    wrong = {"wrong-password": {"password": "Wrong-Passw0rd"}, "nobody-there": {"auth_url": "http://127.0.0.1:9/v3"}}
    made = {name: {**cloud, "auth": {**cloud["auth"], **mistake}} for name, mistake in wrong.items()}
    file = lab.workplace / "mistakes.yaml"
    file.write_text(yaml.safe_dump({"clouds": {"lab": cloud, **made}}), encoding="utf-8")
    return file


@pytest.fixture(autouse=True)
def nothing_left(lab: Lab) -> Iterator[None]:
    """Whatever the mistake, cloud and runs stay as they were."""
    runs, found = lab.run_dirs(), lab.admin().of_tests()
    yield
    assert lab.run_dirs() == runs
    assert lab.admin().of_tests() <= found


def run(lab: Lab, clouds: Path, **variables: Any) -> Played:
    """The playbook ``run``, which would change the cloud if it went on."""
    given = {
        "upgrade_test_clouds_yaml": str(clouds),
        "upgrade_test_driver": "command",
        "upgrade_test_driver_command": ["true"],
        "upgrade_test_to_release": "2026.1",
    }
    return lab.play("run", given | variables)


def refused(played: Played, *words: str) -> None:
    """The playbook failed with one message of one line that has these words."""
    assert played.rc != 0
    assert "Traceback" not in played.text
    assert "Traceback" not in played.log.read_text(encoding="utf-8")
    assert len(played.messages) == 1, played.messages
    # The line that Ansible puts before what it says of a role's argument.
    message = played.messages[0].removeprefix("Validation of arguments failed:\n")
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message


def test_wrong_cloud(lab: Lab, clouds: Path) -> None:
    """A cloud that is not in clouds.yaml: the file and the clouds there are named."""
    refused(run(lab, clouds, upgrade_test_cloud="labb"), "'labb'", str(clouds), "'lab'")


def test_unreachable(lab: Lab, clouds: Path) -> None:
    """An auth_url where nobody listens: the address is named."""
    refused(run(lab, clouds, upgrade_test_cloud="nobody-there"), "'nobody-there'", "http://127.0.0.1:9/v3", "auth_url")


def test_wrong_password(lab: Lab, clouds: Path) -> None:
    """A wrong password: Keystone's refusal, and no password in the output."""
    played = run(lab, clouds, upgrade_test_cloud="wrong-password")

    refused(played, "'wrong-password'", "refused the credentials", "password", "clouds.yaml")
    assert "Wrong-Passw0rd" not in played.text


def test_unknown_variable(lab: Lab, clouds: Path) -> None:
    """A misspelt variable: the near name is shown."""
    refused(run(lab, clouds, upgrade_test_basline=3), "upgrade_test_basline", "did you mean upgrade_test_baseline")


def test_unknown_driver(lab: Lab, clouds: Path) -> None:
    """A driver that does not exist is found before anything is made, although it is used much later."""
    played = run(lab, clouds, upgrade_test_driver="handwork")

    refused(played, "upgrade_test_driver", "handwork", "command")


def test_service_not_in_the_catalogue(lab: Lab, clouds: Path) -> None:
    """A service that is asked for and that the catalogue has not: it is named, and what there is."""
    with lab.admin().service_hidden("placement"):
        played = run(lab, clouds, upgrade_test_services=["keystone", "placement"])

    refused(played, "catalogue", "placement", "image")


def test_service_unknown(lab: Lab, clouds: Path) -> None:
    """A service that the collection does not know: those that it knows are named."""
    refused(run(lab, clouds, upgrade_test_services=["keystone", "novva"]), "novva", "nova")
