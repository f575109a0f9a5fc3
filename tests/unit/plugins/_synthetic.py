# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A made-up run: a run directory written through RunDirectory, and what a sampler would have read from its logs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory

T0 = 1_795_168_380.0  # 2026-11-20 09:53:00 UTC
BEFORE, UPGRADE, AFTER, END = T0, T0 + 120, T0 + 720, T0 + 840
RUN_ID = "20261120T095300Z-7f3a"
SERVICES = ("keystone", "glance", "placement", "nova", "neutron")
OLD, NEW = "2025.1", "2026.1"
COMPONENTS = {
    "keystone": ("keystone-api",),
    "glance": ("glance-api",),
    "placement": ("placement-api",),
    "nova": ("nova-api", "nova-conductor", "nova-scheduler"),
    "neutron": ("neutron-api",),
}


@dataclass(frozen=True)
class Target:
    name: str
    service: str
    via: str
    mode: str
    address: str
    auth: bool = False


@dataclass(frozen=True)
class Outage:
    begin: float
    end: float
    lower: float
    upper: float
    failures: int
    kinds: dict[str, int]
    detail: str = ""
    cause: str = "undetermined"
    why: str = ""

    @property
    def begin_low(self) -> float:
        """The bounds of its begin and end, as wide as those of its length."""
        return self.begin - (self.upper - self.lower) / 4

    @property
    def begin_high(self) -> float:
        return self.begin + (self.upper - self.lower) / 4

    @property
    def end_low(self) -> float:
        return self.end - (self.upper - self.lower) / 4

    @property
    def end_high(self) -> float:
        return self.end + (self.upper - self.lower) / 4


@dataclass(frozen=True)
class Observation:
    target: Target
    begin: float = T0 + 5
    end: float = END - 5
    interval: float = 0.1
    counts: dict[str, int] = field(default_factory=lambda: {"up": 8300, "down": 0, "slow": 3, "void": 0})
    coverage: float = 1.0
    longest_gap: float = 0.163
    gaps: tuple[tuple[float, float], ...] = ((T0 + 40, T0 + 40.163),)
    outages: tuple[Outage, ...] = ()
    latency_ms: dict[str, float] = field(default_factory=lambda: {"p50": 4.1, "p95": 9.8, "p99": 21.0, "max": 63.0})
    ended: bool = True


def outage(
    begin: float, seconds: float, kind: str = "refused", failures: int | None = None, detail: str = ""
) -> Outage:
    """An outage with the bounds that ten probes a second would give."""
    count = failures if failures is not None else max(2, round(seconds * 10))
    lower, upper = max(0.0, seconds - 0.1), seconds + 0.1
    return Outage(begin, begin + seconds, lower, upper, count, {kind: count}, detail)


def down(observation: Observation, *outages: Outage) -> Observation:
    """The same observation with these outages."""
    counts = {**observation.counts, "down": sum(one.failures for one in outages)}
    gaps = tuple((one.begin_low, one.end_high) for one in outages)
    longest = max(observation.longest_gap, *(one.upper for one in outages))
    return replace(observation, outages=outages, counts=counts, longest_gap=longest, gaps=(*observation.gaps, *gaps))


def clean_lanes(services: tuple[str, ...] = SERVICES) -> list[Observation]:
    """Every service through the load balancer and at both instances; the instances take turns to be away."""
    lanes = []
    for number, service in enumerate(services):
        for mode in ("new", "kept"):
            lanes.append(Observation(Target(f"{service} public", service, "public", mode, "10.81.0.10:80")))
        for turn, host in enumerate(("control1", "control2")):
            away = outage(UPGRADE + 60 + 95 * number + 40 * turn, 6.2, "refused")
            lanes.append(
                down(Observation(Target(f"{service} {host}", service, host, "new", f"10.81.0.{turn + 11}:80")), away)
            )
    return lanes


def clean_guest() -> list[Observation]:
    """One server, reached by ping and by HTTP."""
    modes = ("icmp", "http")
    return [Observation(Target("server", "nova", "10.82.0.7", one, "10.82.0.7"), interval=0.2) for one in modes]


@dataclass
class Synthetic:
    """A run directory, and the observations that its reader gives back, by ``observer`` or by ``observer/host``."""

    run: RunDirectory
    samples: dict[str, list[Observation]]

    def reader(self, path: Path) -> list[Observation]:
        """Stand for the sampler's reader; an observer named ``broken`` cannot be read."""
        if path.name == "broken":
            raise ValueError("not a log")
        observer = path.parent.name
        return self.samples.get(f"{observer}/{path.name}", self.samples.get(observer, []))

    def lose(self, service: str, *outages: Outage, via: str = "public", mode: str | None = None) -> None:
        """Put outages into a service's lanes."""
        self.samples["api_uptime"] = [
            down(one, *outages)
            if (one.target.service, one.target.via) == (service, via) and mode in (None, one.target.mode)
            else one
            for one in self.samples["api_uptime"]
        ]

    def change(self, observer: str, **changes: Any) -> None:
        """Change every observation of an observer."""
        self.samples[observer] = [replace(one, **changes) for one in self.samples[observer]]


def make(runs_dir: Path, *, close: bool = True, completed: bool = True, phases: bool = True) -> Synthetic:
    """A run in which everything that is measured today went well."""
    run = RunDirectory.create(
        runs_dir,
        RUN_ID,
        now=T0 - 30,
        cloud="lab",
        driver="lab",
        from_release=OLD,
        to_release=NEW,
        services=list(SERVICES),
        collection_version="0.1.0",
        labels={},
    )
    if phases:
        for name, begin in (("before", BEFORE), ("upgrade", UPGRADE), ("after", AFTER)):
            run.begin_phase(name, now=begin)
    _tasks(run)
    _outcomes(run)
    _journal(run)
    for observer in ("api_uptime", "data_plane"):
        heartbeat(run, observer, "localhost")
    for host in ("control1", "control2"):
        processes(run, host, UPGRADE + (62 if host == "control1" else 102))
    if close:
        run.close(completed=completed, now=END)
    return Synthetic(run, {"api_uptime": clean_lanes(), "data_plane": clean_guest()})


def heartbeat(run: RunDirectory, observer: str, host: str, state: str = "ended", seen: float = END - 5) -> Path:
    """An observer's last word."""
    folder = run.samples_directory(observer, host)
    (folder / "status.json").write_text(json.dumps({"state": state, "time": seen, "pid": 4711, "down": []}))
    return folder


def processes(run: RunDirectory, host: str, begins: float, *, finish: bool = True) -> None:
    """The log of one control host: each service stops for some seconds and comes back on the new release."""
    folder = heartbeat(run, "release_version", host)
    running = {(service, one): OLD for service, names in COMPONENTS.items() for one in names}
    records = [_record(host, T0 + 6, running)]
    for number, service in enumerate(SERVICES if finish else SERVICES[:-1]):
        begin = begins + 95 * number
        without = {key: release for key, release in running.items() if key[0] != service}
        records.append(_record(host, begin, without))
        running.update({(service, one): NEW for one in COMPONENTS[service]})
        records.append(_record(host, begin + 6, running))
    (folder / "processes.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))


def _record(host: str, moment: float, running: dict[tuple[str, str], str]) -> dict[str, Any]:
    listed = [
        {
            "service": service,
            "component": one,
            "instance": host,
            "pid": 1,
            "started": moment,
            "version": f"{release}.0",
            "release": release,
        }
        for (service, one), release in running.items()
    ]
    return {"schema": 1, "time": moment, "host": host, "processes": listed}


def _tasks(run: RunDirectory) -> None:
    play = "Upgrade the cloud"
    run.append_event("play", play, time=UPGRADE + 1, status="started")
    for number, service in enumerate(SERVICES):
        for turn, host in enumerate(("control1", "control2")):
            begin = UPGRADE + 55 + 95 * number + 40 * turn
            for step, (what, seconds) in enumerate(
                (("Drain", 2.0), ("Stop", 1.5), ("Start the new", 5.0), ("Put back", 1.0))
            ):
                named = {"play": play, "host": host, "action": "ansible.builtin.command", "status": "ok"}
                run.append_event(
                    "task", f"{what} {service}", time=begin + 3 * step, end=begin + 3 * step + seconds, **named
                )
    run.append_event("mark", "database of nova migrated", time=UPGRADE + 330)


def _outcomes(run: RunDirectory) -> None:
    for phase, moment, release in (("before", T0 + 60, OLD), ("after", AFTER + 30, NEW)):
        for service in SERVICES:
            base = {"service": service, "phase": phase, "time": moment, "status": "pass"}
            for host in ("control1", "control2"):
                told = {
                    "expected": release,
                    "found": release,
                    "host": host,
                    "message": f"{service} on {host} runs {release}.",
                }
                run.append_outcome(
                    Outcome(validator="release_version", check="release", subject=service, **base, **told)
                )
            told = {"message": f"{service} answers and its parts are well."}
            run.append_outcome(Outcome(validator="system_health", check="api_answers", subject=service, **base, **told))
            if service != "placement":
                named = {"check": "resource_kept", "subject": f"{service} resource"}
                told = {"message": f"The resource of {service} is as it was."}
                run.append_outcome(Outcome(validator="persistent_resource", **named, **base, **told))
        told = {"check": "guest_boot_id", "subject": "server", "message": "The guest has the same boot id."}
        named = {"service": "nova", "phase": phase, "time": moment, "status": "pass"}
        run.append_outcome(Outcome(validator="persistent_resource", **told, **named))
    told = {"check": "upgrade_completed", "subject": "lab", "message": "The deployment command 'lab' ended well."}
    named = {"service": "", "phase": "upgrade", "time": AFTER - 1, "status": "pass"}
    run.append_outcome(Outcome(validator="driver", **told, **named))


def _journal(run: RunDirectory) -> None:
    for kind, service in (("network", "neutron"), ("server", "nova"), ("image", "glance")):
        named = {"service": service, "type": kind, "name": f"upgrade-test-{RUN_ID}-{kind}"}
        for number, event in enumerate(("intent", "created", "deleted")):
            known = {} if event == "intent" else {"id": f"id-of-{kind}"}
            run.append_resource(event, **named, **known, time=T0 + 20 + number)
