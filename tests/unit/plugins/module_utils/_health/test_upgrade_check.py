# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._upgrade_check import (
    judge_upgrade_check,
    look_at_upgrade_check,
    parse_table,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.keystone import SERVICE as KEYSTONE
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.nova import SERVICE as NOVA
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.swift import SERVICE as SWIFT
from ansible_collections.openstack.upgrade_test.tests.unit.plugins.module_utils._health.conftest import Installed

TABLE = """\
+--------------------------------------------------------------------+
| Upgrade Check Results                                              |
+--------------------------------------------------------------------+
| Check: Cells v2                                                    |
| Result: Success                                                    |
| Details: None                                                      |
+--------------------------------------------------------------------+
| Check: Older than N-1 computes                                     |
| Result: Failure                                                    |
| Details: Current Nova version does not support computes older than |
|   Epoxy but the minimum compute service level in your system is 61 |
|   and the oldest supported service level is 68.                    |
+--------------------------------------------------------------------+
| Check: hw_machine_type unset                                       |
| Result: Warning                                                    |
| Details: Instances found without hw_machine_type set.              |
+--------------------------------------------------------------------+
"""
CRASH = """\
Traceback (most recent call last):
  File "/opt/nova/bin/nova-status", line 10, in <module>
oslo_config.cfg.RequiredOptError: value required for option connection in group [placement_database]
"""


def said(rc: int, table: str = TABLE, last: str = "") -> tuple[Status, str]:
    found = judge_upgrade_check("nova", {"command": "c", "rc": rc, "checks": parse_table(table), "last": last})
    return found.status, found.message


def test_a_table_is_read_with_its_wrapped_lines() -> None:
    """Each check has its result and the whole of its details."""
    checks = parse_table("some warning of an interpreter\n" + TABLE)

    assert [(one["Check"], one["Result"]) for one in checks] == [
        ("Cells v2", "Success"),
        ("Older than N-1 computes", "Failure"),
        ("hw_machine_type unset", "Warning"),
    ]
    assert checks[1]["Details"].endswith(
        "older than Epoxy but the minimum compute service level in your system is 61 and"
        " the oldest supported service level is 68."
    )


def test_a_failure_fails_and_says_why() -> None:
    """Exit code 2 is a failure, with the check that failed and its details."""
    status, message = said(2)

    assert status is Status.FAIL
    assert "Older than N-1 computes (Current Nova version does not support" in message


def test_a_warning_passes_and_is_told() -> None:
    """Exit code 1 lets pass, as the services' own procedures do; what it warns of is in the message."""
    status, message = said(1, TABLE.replace("Failure", "Success"))

    assert status is Status.PASS
    assert "with a warning: hw_machine_type unset (Instances found without hw_machine_type set.)" in message


@pytest.mark.parametrize(("rc", "table"), [(255, ""), (1, ""), (0, ""), (7, TABLE), (-9, TABLE)])
def test_a_command_that_broke_says_nothing_of_the_cloud(rc: int, table: str) -> None:
    """An interpreter that died ends with 1, like a warning, and shows no table: that is unknown, whatever the code."""
    assert said(rc, table)[0] is Status.UNKNOWN


def test_a_real_command_is_run_and_read(nova: Installed) -> None:
    """Its table goes to stdout, its exit code counts, and a crash is told by its last line."""
    nova.start("nova-conductor", "--config-file", str(nova.conf))
    nova.command("nova-status", f"import sys\nprint({TABLE!r})\nsys.exit(2)\n")
    failed = look_at_upgrade_check(nova.place(), NOVA)
    nova.command("nova-status", f"import sys\nsys.stderr.write({CRASH!r})\nsys.exit(1)\n")
    crashed = look_at_upgrade_check(nova.place(), NOVA)

    assert failed is not None
    assert judge_upgrade_check("nova", failed).status is Status.FAIL
    assert crashed is not None
    found = judge_upgrade_check("nova", crashed)
    assert (found.status, "RequiredOptError" in found.message) == (Status.UNKNOWN, True)


EARLY_CONF = """\
class CONF:
    set_default = lambda name, value, group: told.append((group, name, value))
told = []
configure = lambda: told.append("configured")
"""


def test_what_a_command_needs_before_it_reads_its_configuration(nova: Installed) -> None:
    """Keystone's ends where there are no keys at their usual place, although its configuration names another one."""
    nova.conf.write_text("[token]\nprovider = fernet\n[fernet_tokens]\nkey_repository = /k\n")
    (nova.packages / "nova").mkdir()
    (nova.packages / "nova/__init__.py").write_text("")
    (nova.packages / "nova/conf.py").write_text(EARLY_CONF)
    nova.start("nova-conductor", "--config-file", str(nova.conf))
    names = '[word.rpartition("/")[2] for word in sys.argv]'
    nova.command(
        "nova-status", f"import sys\nfrom nova.conf import told\nprint({TABLE!r})\nsys.exit(f'{{told}} {{{names}}}')\n"
    )
    service = replace(NOVA, upkeep=replace(NOVA.upkeep, early=KEYSTONE.upkeep.early))
    found = look_at_upgrade_check(nova.place(), service)

    assert found is not None
    told = "['configured', ('token', 'provider', 'fernet'), ('fernet_tokens', 'key_repository', '/k')]"
    assert found["last"] == f"{told} {['nova-status', '--config-file', nova.conf.name, 'upgrade', 'check']}"


def test_a_command_that_is_not_there_is_unknown(nova: Installed) -> None:
    """A missing command is no failure of the cloud; a service without one has nothing to tell."""
    nova.start("nova-conductor")
    facts = look_at_upgrade_check(nova.place(), NOVA)

    assert facts is not None
    assert judge_upgrade_check("nova", facts).status is Status.UNKNOWN
    assert look_at_upgrade_check(nova.place(), SWIFT) is None
