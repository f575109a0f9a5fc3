# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._configuration import (
    choose_namespaces,
    compare,
    judge_configuration,
    judge_old_configuration,
    look_at_configurations,
    namespaces_in,
    own_sections,
    together,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.tests.unit.plugins.module_utils._health.conftest import Installed

ENTRY_POINTS = """\
[console_scripts]
nova-manage = nova.cmd.manage:main

[oslo.config.opts]
nova.conf = nova.conf.opts:list_opts
nova.more = nova.conf.more:list_opts

[oslo.policy.policies]
nova = nova.policies:list_rules
"""
SAMPLE: dict[str, Any] = {
    "options": {
        "DEFAULT": {
            "opts": [
                {"name": "debug", "dest": "debug", "deprecated_for_removal": False},
                {"name": "old-way", "dest": "old_way", "deprecated_for_removal": True},
            ]
        },
        "database": {"opts": [{"name": "connection", "dest": "connection"}]},
    },
    "deprecated_options": {"DEFAULT": [{"name": "sql_connection", "replacement_name": "connection"}]},
}


def test_the_namespaces_of_packages_are_read() -> None:
    """Those of options, and of nothing else."""
    assert namespaces_in(ENTRY_POINTS) == ["nova.conf", "nova.more"]
    assert namespaces_in("[console_scripts]\na = b:c\n") == []


def test_options_of_other_services_do_not_count() -> None:
    """Where all services share an environment, an option of neutron in nova.conf is still a mistake."""
    there = [
        "nova.conf",
        "neutron",
        "neutron.ml2",
        "glance.store",
        "oslo.log",
        "keystonemiddleware.auth_token",
        "os_vif",
    ]

    assert choose_namespaces("nova", there, ["nova", "neutron", "glance", "keystone"]) == [
        "keystonemiddleware.auth_token",
        "nova.conf",
        "os_vif",
        "oslo.log",
    ]


def test_options_of_tests_do_not_count() -> None:
    """They need what is not installed, or parse a command line that the service still has to add to."""
    there = ["heat_integrationtests.common.config", "castellan.tests.functional.config", "manilaclient.config"]
    mine = ["castellan.config", "heat.engine.clients.os.keystone.heat_keystoneclient"]

    assert choose_namespaces("heat", [*there, *mine], ["heat", "nova"]) == mine


def test_unknown_and_deprecated_options_are_told_apart() -> None:
    """What the code does not know, what it knows under another name only, and what it will lose."""
    options = [
        ("DEFAULT", "debug"),
        ("DEFAULT", "bogus"),
        ("DEFAULT", "old_way"),
        ("DEFAULT", "sql_connection"),
        ("gone", "option"),
        ("service_user", "auth_url"),
        ("ceph1", "rbd_pool"),
    ]

    assert compare(options, SAMPLE, ["ceph1"]) == {
        "unknown": ["DEFAULT/bogus", "gone/option"],
        "deprecated": ["DEFAULT/old_way", "DEFAULT/sql_connection"],
    }


def test_sections_of_backends_are_made_up() -> None:
    """A configuration names its backends itself, with or without a type."""
    named = own_sections({("DEFAULT", "enabled_backends"): "fs:file, ceph1", ("DEFAULT", "debug"): "x"})

    assert {"fs", "ceph1", "os_glance_tasks_store"} <= set(named)
    assert "x" not in named


def test_sections_are_known_however_they_are_written() -> None:
    """The code itself does not care whether a section is in capitals."""
    sample = {"options": {"AGENT": {"opts": [{"name": "root_helper", "dest": "root_helper"}]}}}

    assert compare([("agent", "root_helper"), ("agent", "bogus")], sample, [])["unknown"] == ["agent/bogus"]


def test_two_lists_of_options_become_one() -> None:
    """Where a service and a library both define options of one section, all of them count."""
    other = {"options": {"DEFAULT": {"opts": [{"name": "more", "dest": "more"}]}}, "deprecated_options": {}}
    both = together([SAMPLE, other])

    assert compare([("DEFAULT", "debug"), ("DEFAULT", "more")], both, [])["unknown"] == []


def judged(before: dict[str, Any] | None = None, **facts: Any) -> tuple[Status, str]:
    found = judge_configuration({"file": "/etc/nova/nova.conf", "unknown": [], "deprecated": [], **facts}, before)
    return found.status, found.message


def test_an_unknown_option_fails_and_is_named() -> None:
    """Nobody would tell the operator that his option is passed over; what went away is told as such."""
    before = {"unknown": [], "deprecated": ["DEFAULT/removed"]}
    fresh, gone = judged(unknown=["DEFAULT/bogus"]), judged(before, unknown=["DEFAULT/removed"])

    assert fresh == (Status.FAIL, "The code does not know DEFAULT/bogus, which /etc/nova/nova.conf sets.")
    assert gone[0] is Status.FAIL
    assert "DEFAULT/removed went away with the upgrade" in gone[1]


def test_a_deprecated_option_passes_and_is_named() -> None:
    """It works still; whether it is deprecated since the upgrade is told."""
    status, message = judged({"unknown": [], "deprecated": []}, deprecated=["a/b"])

    assert status is Status.PASS
    assert "Deprecated are a/b, a/b since the upgrade." in message


def test_only_an_unchanged_file_proves_the_old_configuration() -> None:
    """The file of the old release, byte for byte, with the new code: anything else proves nothing of it."""
    facts = {"file": "f", "sha256": "1", "unknown": [], "deprecated": []}
    known = [{"sha256": "1"}, {"sha256": "2"}, None]
    same, changed, nothing = (judge_old_configuration(facts, before) for before in known)
    bad = judge_old_configuration({**facts, "unknown": ["a/b"]}, known[0])

    found = [one.status if one else None for one in (same, bad, changed, nothing)]
    assert found == [Status.PASS, Status.FAIL, None, None]


def test_the_generator_of_the_service_is_asked(nova: Installed) -> None:
    """All files are compared with what it tells; when it breaks, nothing is known."""
    nova.conf.write_text("[DEFAULT]\ndebug = true\nbogus = 1\n[keystone_authtoken]\nusername = nova\n")
    metadata = next(nova.packages.glob("*.dist-info"))
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    nova.start("nova-conductor", "--config-file", str(nova.conf))
    (missing,) = look_at_configurations([nova.place()], ["nova"])
    nova.command(
        "oslo-config-generator",
        f"import sys\nassert sys.argv.count('--namespace') == 2, sys.argv\nprint({json.dumps(SAMPLE)!r})\n",
    )
    (found,) = look_at_configurations([nova.place()], ["nova"])
    nova.command("oslo-config-generator", "raise KeyError('something')\n")
    (broken,) = look_at_configurations([nova.place()], ["nova"])

    assert found["unknown"] == ["DEFAULT/bogus"]
    assert judge_configuration(found).status is Status.FAIL
    assert "there is no oslo-config-generator" in judge_configuration(missing).message
    assert (judge_configuration(broken).status, "KeyError" in broken["problem"]) == (Status.UNKNOWN, True)


def test_a_driver_whose_library_is_missing_hides_no_options(nova: Installed) -> None:
    """A service imports all its drivers to list their options; what is missing of its own code is a fault."""
    metadata = next(nova.packages.glob("*.dist-info"))
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    nova.start("nova-conductor", "--config-file", str(nova.conf))
    driver = "from absent import http\nfrom absent.tools import wraps\n@wraps(1)\nclass Driver(http.Base): pass\n"
    nova.command("oslo-config-generator", f"{driver}print({json.dumps(SAMPLE)!r})\n")
    (found,) = look_at_configurations([nova.place()], ["nova"])
    nova.command("oslo-config-generator", "import nova.lost\n")
    (lost,) = look_at_configurations([nova.place()], ["nova"])

    assert judge_configuration(found).status is Status.PASS
    assert "No module named 'nova'" in lost["problem"]


def test_a_file_that_cannot_be_read_is_unknown(nova: Installed) -> None:
    """A file without one option that is understood says nothing; what it holds may be a secret."""
    nova.conf.write_text("[AGENT]\nroot_helper: sudo\n")
    nova.start("nova-conductor", "--config-file", str(nova.conf))
    nova.command("oslo-config-generator", f"print({json.dumps(SAMPLE)!r})\n")
    (read,) = look_at_configurations([nova.place()], ["nova"])
    nova.conf.write_text("password = a-secret-word\n")
    (found,) = look_at_configurations([nova.place()], ["nova"])

    assert read["unknown"] == ["agent/root_helper"]
    assert (judge_configuration(found).status, found["problem"]) == (
        Status.UNKNOWN,
        "line 1 sets an option outside of any section",
    )
    assert "a-secret-word" not in str(found)


def test_an_unknown_option_in_a_drop_in_is_found(nova: Installed) -> None:
    """A drop-in of a usual folder is read before the file that the command names, and is told of by itself."""
    drop_in = nova.folder / ".nova/nova.conf.d/50-x.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[DEFAULT]\ndebug = false\nbogus = 1\n")
    variables = {"HOME": str(nova.folder), "OS_DATABASE__CONNECTION": "sqlite://"}
    nova.start("nova-conductor", "--config-file", str(nova.conf), environment=variables)
    nova.command("oslo-config-generator", f"print({json.dumps(SAMPLE)!r})\n")
    nova.command("nova-status", "import os, sys\nprint(sys.argv[1:], os.environ.get('OS_DATABASE__CONNECTION'))\n")
    place = nova.place()

    assert [(facts["file"], facts["unknown"]) for facts in look_at_configurations([place], ["nova"])] == [
        (str(drop_in), ["DEFAULT/bogus"]),
        (str(nova.conf), []),
    ]
    assert (place.setting("DEFAULT", "debug"), place.setting("database", "connection")) == ("true", "sqlite://")
    assert place.run("nova-status").out.strip().endswith(f"'{drop_in}', '--config-file', '{nova.conf}'] sqlite://")


def test_the_same_packages_are_asked_once_and_the_same_file_is_told_of_once(nova: Installed) -> None:
    """Several processes share their main file, and each has one of its own."""
    more = nova.folder / "more.conf"
    nova.conf.write_text("[DEFAULT]\nbogus = 1\n")
    more.write_text("[DEFAULT]\ndebug = true\n")
    nova.start("nova-conductor", "--config-file", str(nova.conf))
    nova.command(
        "oslo-config-generator",
        f"open({str(nova.folder / 'asked')!r}, 'a').write('x')\nprint({json.dumps(SAMPLE)!r})\n",
    )
    one = nova.place()
    found = look_at_configurations([one, replace(one, files=(*one.files, str(more)))], ["nova"])

    assert [(facts["file"], facts["unknown"]) for facts in found] == [
        (str(nova.conf), ["DEFAULT/bogus"]),
        (str(more), []),
    ]
    assert (nova.folder / "asked").read_text() == "x"
