# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._evidence import Wish, gather
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._verdict import (
    NO_ACCESS,
    Court,
    phase_begin,
    running_on,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import Beat
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import chosen
from ansible_collections.openstack.upgrade_test.tests.unit.plugins.module_utils._health.conftest import Installed

GLANCE = {"host": "control1", "clock": [{"sent": 1.0, "told": 1.5, "received": 2.0}], "components": []}


def log(*errors: dict[str, Any]) -> dict[str, Any]:
    return {"service": "nova", "component": "nova-api", "log": "l", "errors": list(errors), "since": 0}


def error(kind: str, last: float) -> dict[str, Any]:
    facts = {"logger": "nova", "kind": kind, "sample": kind, "level": "ERROR", "harmless": ""}
    return {**facts, "count": 1, "first": last, "last": last}


def closely(**facts: Any) -> dict[str, Any]:
    usual = {
        "upgrade_check": {
            "command": "nova-status upgrade check",
            "rc": 0,
            "checks": [{"Check": "a", "Result": "Success"}],
        },
        "schemas": {"nova": {"current": ["a"], "heads": ["a"], "newer": []}},
        "migrations": {"asked": True, "command": "c", "rc": 0},
        "configuration": [{"file": "f", "sha256": "1", "unknown": [], "deprecated": []}],
    }
    return {"host": "control1", "components": [], "services": {"nova": {**usual, **facts}}}


def judged(evidence: Sequence[Any], services: Sequence[str] = ("nova",), **more: Any) -> list[Outcome]:
    return Court(services=chosen(services), evidence=evidence, **more).judge()


def by_check(outcomes: Sequence[Outcome]) -> dict[str, Status]:
    return {one.check: one.status for one in outcomes}


def test_without_any_host_everything_that_needs_one_is_unknown() -> None:
    """Not one failure, not one pass: each check says that there is no host access, for each service."""
    outcomes = judged([], ["keystone", "nova", "swift"])

    assert {one.status for one in outcomes} == {Status.UNKNOWN}
    assert all(NO_ACCESS in one.message.lower() for one in outcomes)
    assert {one.check for one in outcomes if one.service == "nova"} == {
        "log_errors",
        "upgrade_check",
        "database_schema",
        "online_migrations",
        "configuration",
    }
    assert {one.check for one in outcomes if one.service == "swift"} == {"log_errors"}
    assert {one.check for one in outcomes if not one.service} == {
        "load_balancer",
        "database_cluster",
        "clock",
        "message_queue",
    }


def test_a_glance_asks_for_less() -> None:
    """What only commands tell is not missed by who did not want to run them."""
    assert {one.check for one in judged([], quick=True)} == {"log_errors", "load_balancer", "database_cluster", "clock"}


def test_a_host_that_told_nothing_is_named() -> None:
    """One of the hosts that was not reached is unknown, and so is what nobody showed."""
    outcomes = judged([GLANCE], hosts=["control1", "control2"])
    unseen = [one.subject for one in outcomes if one.check == "host_seen"]

    assert unseen == ["control2"]
    assert by_check(outcomes)["upgrade_check"] is Status.UNKNOWN
    assert by_check(outcomes)["clock"] is Status.PASS


def test_what_the_commands_say_is_judged() -> None:
    """All in order passes; each fault fails the check that it is a fault of, on its host."""
    behind = {"nova": {"current": ["a"], "heads": ["b"], "newer": []}}
    unknown = [{"file": "f", "sha256": "1", "unknown": ["a/b", "c/d"], "deprecated": []}]
    good = by_check(judged([GLANCE, closely()]))
    bad = judged([GLANCE, closely(schemas=behind, configuration=unknown)], ignored=["a/b"])

    checks = ("upgrade_check", "database_schema", "online_migrations", "configuration")
    assert {good[check] for check in checks} == {Status.PASS}
    failed = {one.check: (one.host, one.found) for one in bad if one.status is Status.FAIL}
    assert failed == {"database_schema": ("control1", ["a"]), "configuration": ("control1", ["c/d"])}


def test_after_the_upgrade_old_and_new_are_compared() -> None:
    """Errors are new that were not there before; the old file, if it is the same, has served the new code."""
    before = Court(
        services=chosen(["nova"]), evidence=[{**GLANCE, "logs": [log(error("usual", 5))]}, closely()], phase="before"
    )
    logs = {**GLANCE, "logs": [log(error("usual", 99), error("new", 99), error("old", 5))]}
    outcomes = judged([logs, closely()], phase="after", since=50.0, before=before.memory())

    assert by_check(outcomes)["config_of_old_release"] is Status.PASS
    (errors,) = [one for one in outcomes if one.check == "log_errors"]
    assert (errors.status, [one["kind"] for one in errors.evidence["new"]]) == (Status.UNKNOWN, ["new"])
    assert "config_of_old_release" not in by_check(before.judge())


def test_infrastructure_is_judged_once() -> None:
    """A load balancer's proxies belong to their services; each member of a queue's cluster tells the same."""
    server = {"proxy": "nova_api", "server": "control1", "status": "DOWN", "check": ""}
    orphan = {"vhost": "/", "name": "conductor", "messages": 1, "consumers": 0}
    queues = {"rabbitmq": {"first": [orphan], "last": [orphan], "seconds": 1}}
    balancer = {**GLANCE, "infrastructure": {"haproxy": {"servers": [server]}, "database": {"status": {}}}}
    outcomes = judged(
        [balancer, {**closely(), "infrastructure": queues}, {**GLANCE, "host": "b", "infrastructure": queues}]
    )

    failed = [(one.check, one.service, one.host) for one in outcomes if one.status is Status.FAIL]
    assert failed == [("load_balancer", "nova", "control1"), ("message_queue", "nova", "control1")]
    assert by_check(outcomes)["database_cluster"] is Status.SKIP
    others = judged([balancer], ["glance"])
    assert [one for one in others if one.check == "load_balancer"] == []


def registered(beats: Sequence[tuple[str, str]], *evidence: dict[str, Any]) -> list[tuple[Status, str, str]]:
    court = Court(services=chosen(["nova"]), evidence=evidence)
    known = [Beat(type=binary, binary=binary, host=host, alive=True, stamp="") for binary, host in beats]
    return [(one.status, one.subject, one.host) for one in court.registered("nova", known)]


def test_a_process_that_its_service_does_not_know_is_told() -> None:
    """It runs and never said so: it failed to begin its work, or goes by another name, so it is unknown which."""
    compute = {"host": "10.0.0.7", "hostname": "compute1", "components": ["nova/nova-compute", "nova/nova-api"]}
    other = {"host": "compute2", "components": ["nova/nova-compute"]}
    beats = [("nova-compute", "compute1.example"), ("nova-conductor", "control1")]

    assert registered(beats, compute) == [(Status.PASS, "processes", "")]
    assert registered(beats, compute, other) == [(Status.UNKNOWN, "nova-compute", "compute2")]
    assert registered(beats, {"host": "control1", "components": ["nova/nova-api", "glance/glance-api"]}) == []


def test_the_last_beginning_of_a_phase_counts() -> None:
    """A phase that never began has no beginning."""
    events = [
        {"kind": "phase", "name": "after", "time": 1},
        {"kind": "mark", "name": "after", "time": 2},
        {"kind": "phase", "name": "after", "time": 3},
    ]

    assert phase_begin(events, "after") == 3
    assert phase_begin(events, "before") is None


def test_a_real_host_tells_without_its_secrets(nova: Installed) -> None:
    """A glance tells the components, commands tell of the service, and no secret of its configuration is in either."""
    secret = "a-very-secret-word"
    nova.conf.write_text(f"[database]\nconnection = mysql+pymysql://nova:{secret}@127.0.0.1:9/nova\n")
    nova.start("nova-conductor", "--config-file", str(nova.conf))
    (nova.folder / "nova-conductor.log").write_text(f"2026-11-21 20:06:43.272 1 ERROR nova.db password is {secret}\n")
    nova.command("nova-status", f"print('{secret}')\nraise SystemExit(255)\n")
    services = chosen(["nova"])
    glance = gather(Wish(services=services, log_hours=1e6, proc=nova.proc()))
    told = gather(Wish(services=services, components=["nova/nova-conductor"], proc=nova.proc()))

    assert glance["components"] == ["nova/nova-conductor"]
    assert [one["count"] for log in glance["logs"] for one in log["errors"]] == [1]
    assert told["services"]["nova"]["upgrade_check"]["rc"] == 255
    assert secret not in str(glance)
    assert secret not in str(told)


def test_a_process_is_found_by_each_name_of_its_host() -> None:
    """Agents go by the name that the host gives itself, the inventory by another."""
    seen = [{"host": "one", "hostname": "node1.example.org", "components": ["nova/nova-compute"]}, {"host": "two"}]

    assert running_on(seen) == {("nova-compute", "one"), ("nova-compute", "node1")}
