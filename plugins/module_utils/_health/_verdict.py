# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the evidence of the hosts means for the health of the services: pure, and honest about what nobody saw.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._configuration import (
    judge_configuration,
    judge_old_configuration,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._infrastructure import (
    DATABASE,
    HAPROXY,
    RABBITMQ,
    ClockLook,
    judge_balancer,
    judge_clock,
    judge_database,
    judge_queues,
    service_of_proxy,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._logs import judge_logs, usual_of
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._schema import (
    judge_migrations,
    judge_schema,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._upgrade_check import judge_upgrade_check
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import Finding, finding, unseen
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import (
    VALIDATOR,
    Beat,
    short_name,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import NAMES
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Service

NO_ACCESS = "no host access"
AFTER = "after"
LOGS, BALANCER, QUEUES, CLUSTER, CLOCK = "log_errors", "load_balancer", "message_queue", "database_cluster", "clock"
CHECK, SCHEMA, MIGRATIONS, CONFIGURATION = "upgrade_check", "database_schema", "online_migrations", "configuration"
OLD_CONFIGURATION = "config_of_old_release"
KNOWN = "process_known"
REPORTING = frozenset(
    [
        *("nova-compute", "nova-conductor", "nova-scheduler", "cinder-scheduler", "heat-engine"),
        *("neutron-openvswitch-agent", "neutron-l3-agent", "neutron-dhcp-agent", "neutron-metadata-agent"),
    ]
)
"""Processes of which their service keeps a record, by the name under which it does."""
_WHAT = {
    LOGS: "the log of {}",
    CHECK: "the upgrade check of {}",
    SCHEMA: "the schema of the database of {}",
    MIGRATIONS: "whether data of {} wait for their migration",
    CONFIGURATION: "the configuration of {}",
    BALANCER: "the load balancer",
    QUEUES: "the message queue",
    CLUSTER: "the database's cluster",
    CLOCK: "the clocks of the hosts",
}


@dataclass(frozen=True, kw_only=True)
class Court:
    """What is judged, and by what rules.

    ``hosts`` are all that could have told something, ``since`` is when errors begin to be new, ``before`` is what was
    remembered before the upgrade, ``ignored`` are options that may be unknown to the code.
    """

    services: Sequence[Service]
    evidence: Sequence[Mapping[str, Any]]
    hosts: Sequence[str] = ()
    quick: bool = False
    phase: str = ""
    since: float | None = None
    before: Mapping[str, Any] = field(default_factory=dict)
    clock_limit: float = 5
    ignored: Sequence[str] = ()

    def judge(self) -> list[Outcome]:
        """Return the outcomes of all that needs a host."""
        found = [outcome for service in self.services for outcome in self._of_service(service)]
        return [*found, *self._of_infrastructure(), *self._of_hosts()]

    def registered(self, service: str, beats: Sequence[Beat]) -> list[Outcome]:
        """Say whether a service knows of each of its processes that the hosts show, and that reports to it.

        One that it does not know may go by another name there, as an operator can choose one; so that is no failure.
        """
        shown, known = self._reporting(service), {(beat.binary, short_name(beat.host)) for beat in beats}
        strangers = [one for one in shown if not any((one[0], name) in known for name in one[2])]
        word = "it did not begin its work, or goes by another name"
        found = [
            unseen(binary, f"{binary} runs on {host}, and {service} has no record of it there: {word}.")
            for binary, host, _names in strangers
        ]
        if shown and not strangers:
            found = [
                finding("processes", True, f"{service} knows each of its {len(shown)} processes that report to it.")
            ]
        hosts = [host for _binary, host, _names in strangers] or [""]
        return [self._outcome(service, KNOWN, host, one) for host, one in zip(hosts, found, strict=False)]

    def _reporting(self, service: str) -> list[tuple[str, str, set[str]]]:
        """Return the processes of a service that report to it: what, where, and by which names the host may go."""
        found: dict[tuple[str, str], set[str]] = {}
        for one in self.evidence:
            for component in one.get("components", ()):
                whose, _sign, binary = str(component).partition("/")
                if whose == service and binary in REPORTING:
                    found.setdefault((binary, str(one["host"])), set()).update(_names_of(one))
        return [(binary, host, names) for (binary, host), names in sorted(found.items())]

    def memory(self) -> dict[str, Any]:
        """Return what to remember before an upgrade: the usual errors, and what was said of configuration files."""
        errors = [
            [one["host"], *kind] for one in self.evidence for log in one.get("logs", ()) for kind in usual_of(log)
        ]
        return {"errors": errors, "configuration": self._configurations()}

    def _outcome(self, service: str, check: str, host: str, found: Finding) -> Outcome:
        return found.as_outcome(validator=VALIDATOR, check=check, service=service, host=host, phase=self.phase)

    def _of_service(self, service: Service) -> list[Outcome]:
        shown = {
            LOGS: self._logs(service),
            **({} if self.quick else self._commands(service)),
        }
        found = [outcome for outcomes in shown.values() for outcome in outcomes]
        missing = [check for check in self._wanted(service) if not shown.get(check)]
        return [*found, *(self._missing(check, service.name) for check in missing)]

    def _wanted(self, service: Service) -> list[str]:
        """Return which checks a service has to have shown."""
        upkeep = service.upkeep
        deeper = {
            CHECK: bool(upkeep.status),
            SCHEMA: bool(upkeep.schemas),
            MIGRATIONS: bool(upkeep.pending or upkeep.migrate),
            CONFIGURATION: upkeep.configuration is not None,
        }
        return [LOGS, *(check for check, has in deeper.items() if has and not self.quick)]

    def _missing(self, check: str, service: str) -> Outcome:
        what = _WHAT[check].format(service)
        why = f"no host of the inventory shows {what}" if self.evidence else f"{NO_ACCESS}, which {what} needs"
        return self._outcome(service, check, "", unseen(service or check, f"{why[:1].upper()}{why[1:]}."))

    def _logs(self, service: Service) -> list[Outcome]:
        usual: dict[str, list[tuple[str, str, str]]] = {}
        for host, *kind in self.before.get("errors", ()):
            usual.setdefault(host, []).append((kind[0], kind[1], kind[2]))
        return [
            self._outcome(service.name, LOGS, one["host"], judge_logs(log, self.since, usual.get(one["host"], ())))
            for one in self.evidence
            for log in one.get("logs", ())
            if log["service"] == service.name
        ]

    def _commands(self, service: Service) -> dict[str, list[Outcome]]:
        """Return what the service's own commands mean, by check."""
        shown: dict[str, list[Outcome]] = {CHECK: [], SCHEMA: [], MIGRATIONS: [], CONFIGURATION: []}
        name = service.name
        for one in self.evidence:
            host, facts = str(one["host"]), one.get("services", {}).get(name, {})
            if facts.get("upgrade_check"):
                shown[CHECK].append(self._outcome(name, CHECK, host, judge_upgrade_check(name, facts["upgrade_check"])))
            for database, schema in sorted(facts.get("schemas", {}).items()):
                shown[SCHEMA].append(self._outcome(name, SCHEMA, host, judge_schema(database, schema)))
            if facts.get("migrations"):
                found = judge_migrations(service, facts["migrations"])
                shown[MIGRATIONS].append(self._outcome(name, MIGRATIONS, host, found))
            for file in facts.get("configuration", ()):
                shown[CONFIGURATION] += self._configuration(name, host, file)
        return shown

    def _configuration(self, service: str, host: str, facts: Mapping[str, Any]) -> list[Outcome]:
        kept = {**facts, "unknown": [one for one in facts.get("unknown", ()) if one not in self.ignored]}
        before = self.before.get("configuration", {}).get(f"{service} {host} {facts['file']}")
        found = [self._outcome(service, CONFIGURATION, host, judge_configuration(kept, before))]
        old = judge_old_configuration(kept, before) if self.phase == AFTER else None
        return [*found, self._outcome(service, OLD_CONFIGURATION, host, old)] if old else found

    def _configurations(self) -> dict[str, Any]:
        return {
            f"{service} {one['host']} {file['file']}": file
            for one in self.evidence
            for service, facts in one.get("services", {}).items()
            for file in facts.get("configuration", ())
        }

    def _infrastructure(self, kind: str) -> dict[str, Mapping[str, Any]]:
        """Return what each host tells of a part of the infrastructure, by host; the last look counts."""
        found = ((str(one["host"]), one.get("infrastructure", {}).get(kind)) for one in self.evidence)
        return {host: facts for host, facts in found if facts}

    def _of_infrastructure(self) -> list[Outcome]:
        balancers, databases = self._infrastructure(HAPROXY), self._infrastructure(DATABASE)
        # Each member of a cluster tells of all queues, so one is enough.
        queues = dict(list(self._infrastructure(RABBITMQ).items())[:1])
        clocks = self._clocks()
        seen = {BALANCER: balancers, CLUSTER: databases, CLOCK: clocks, **({} if self.quick else {QUEUES: queues})}
        found = [
            *(
                self._outcome(service_of_proxy(found.subject, NAMES), BALANCER, host, found)
                for host, facts in balancers.items()
                for found in judge_balancer(facts)
                if self._concerns(service_of_proxy(found.subject, NAMES))
            ),
            *(
                self._outcome("", CLUSTER, host, judge_database(host, facts, len(databases)))
                for host, facts in databases.items()
            ),
            *(
                self._outcome(service, QUEUES, host, found)
                for host, facts in queues.items()
                for service, found in judge_queues(facts)
                if self._concerns(service)
            ),
        ]
        return [*found, *clocks, *(self._missing(check, "") for check, facts in seen.items() if not facts)]

    def _concerns(self, service: str) -> bool:
        """Whether it is of one of the services in question, or of none that is known."""
        return not service or any(service == one.name for one in self.services)

    def _clocks(self) -> list[Outcome]:
        """Compare the clocks once for each host, by all looks at it."""
        looks: dict[str, list[ClockLook]] = {}
        for one in self.evidence:
            looks.setdefault(str(one["host"]), []).extend(one.get("clock", ()))
        return [
            self._outcome("", CLOCK, host, judge_clock(host, seen, self.clock_limit)) for host, seen in looks.items()
        ]

    def _of_hosts(self) -> list[Outcome]:
        """Say which hosts told nothing, and what could not be seen on the others."""
        told = {str(one["host"]) for one in self.evidence}
        silent = [self._silent(host) for host in self.hosts if host not in told]
        problems = dict.fromkeys((str(one["host"]), text) for one in self.evidence for text in one.get("problems", ()))
        return [*silent, *(self._problem(host, text) for host, text in problems)]

    def _silent(self, host: str) -> Outcome:
        return self._outcome("", "host_seen", host, unseen(host, f"{host} could not be looked at: {NO_ACCESS}."))

    def _problem(self, host: str, text: str) -> Outcome:
        return self._outcome("", "host_seen", host, unseen(host, f"On {host} not all could be seen: {text}."))


def running_on(evidence: Iterable[Mapping[str, Any]]) -> frozenset[tuple[str, str]]:
    """Return the processes that hosts show, each with a name of its host without the domain."""
    return frozenset(
        (str(component).partition("/")[2], name)
        for one in evidence
        for component in one.get("components", ())
        for name in _names_of(one)
    )


def _names_of(one: Mapping[str, Any]) -> set[str]:
    """Return by which names a host may go: that of the inventory, and the one it gives itself."""
    return {short_name(str(one.get("host", ""))), short_name(str(one.get("hostname", "")))} - {""}


def phase_begin(events: Iterable[Mapping[str, Any]], phase: str) -> float | None:
    """Return when a phase began last; None when it never did."""
    begun = [float(one["time"]) for one in events if one.get("kind") == "phase" and one.get("name") == phase]
    return begun[-1] if begun else None
