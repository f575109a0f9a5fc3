# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.openstack.upgrade_test.plugins.filter.instance_targets import instance_targets

NOVA = {
    "name": "nova public",
    "service": "nova",
    "via": "public",
    "url": "http://10.0.0.10:8774/v2.1?x=1",
    "expect": {"status": [200], "body": "versions"},
    "auth_url": "http://10.0.0.10:8774/v2.1/servers",
    "auth_expect": {"status": [200]},
}


def instance(**changes: str) -> dict[str, str]:
    return {"service": "nova", "host": "control1", "url": "http://10.0.0.11:8774", **changes}


def test_an_instance_is_asked_the_same_question() -> None:
    """An instance is asked what the published endpoint is asked without a token, and the same answer counts as up."""
    (target,) = instance_targets([NOVA], [instance()])

    assert target == {
        "name": "nova control1",
        "service": "nova",
        "via": "control1",
        "url": "http://10.0.0.11:8774/v2.1?x=1",
        "expect": {"status": [200], "body": "versions"},
        "connections": ["new"],
    }


def test_an_address_with_a_path_keeps_it() -> None:
    """An operator who gives a whole URL is taken at his word, and not judged by the answer to another question."""
    (target,) = instance_targets([NOVA], [instance(url="http://10.0.0.11/healthcheck")])

    assert target["url"] == "http://10.0.0.11/healthcheck"
    assert "expect" not in target


def test_an_address_with_the_same_path_expects_the_same() -> None:
    """A whole URL that asks the same is judged by the same answer."""
    (target,) = instance_targets([NOVA], [instance(url="http://10.0.0.11:8774/v2.1/")])

    assert target["expect"] == NOVA["expect"]


def test_a_service_that_nobody_publishes_is_refused() -> None:
    """An instance of an unknown service is an error that names the services there are."""
    with pytest.raises(AnsibleFilterError, match="no service 'nvoa' is published by the cloud; there are: nova"):
        instance_targets([NOVA], [instance(service="nvoa")])


def test_what_is_missing_is_named() -> None:
    """An incomplete instance is an error that names the keys."""
    with pytest.raises(AnsibleFilterError, match="lacks host, url"):
        instance_targets([NOVA], [{"service": "nova"}])


def test_an_address_must_be_a_url() -> None:
    """A bare address is an error that shows what one looks like."""
    with pytest.raises(AnsibleFilterError, match=r"'10\.0\.0\.11:8774' is no URL such as"):
        instance_targets([NOVA], [instance(url="10.0.0.11:8774")])
