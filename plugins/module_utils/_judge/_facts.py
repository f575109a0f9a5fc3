# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything a run directory says, read once into plain values; nothing is decided here.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._performance import (
    Measured,
    measured_of,
    windows_of,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._releases import (
    Span,
    Timeline,
    spans_of,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._performance import compare
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import read_observations
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._seconds import LaneSecond, read_seconds
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import (
    EVENTS,
    LAST_PHASE,
    OPEN,
    OUTCOMES,
    RESOURCES,
    RunDirectory,
    read_records,
)

PERFORMANCE = "service_performance"
API = "api_uptime"
SAMPLED = (API, "data_plane", PERFORMANCE)  # observers whose logs the sampler reads
RELEASES = "release_version"
BEFORE, UPGRADE, AFTER = "before", "upgrade", "after"
STOPPED = "stopped"  # the part of a cold upgrade in which no service runs
COLD = "cold"
WORK = frozenset(
    f"openstack.upgrade_test.{name}"
    for name in ("persistent_resource", "system_health", "cloud_fingerprint", "extension_phase", "grenade_plugin")
)
"""What the test itself has services do; how they answer others meanwhile is not the work of the upgrade."""
SLOW = 1.0  # seconds: in how many seconds answers took longer is told


class Target(Protocol):
    """What was asked: ``via`` is ``public`` or an instance's host; ``mode`` is new, kept, icmp, http or tcp.

    ``auth``, which may be missing, says whether each request carried a token.
    """

    name: str
    service: str
    via: str
    mode: str
    address: str


class Outage(Protocol):
    """A time without an answer: point estimate in wall seconds, bounds of its length in seconds.

    It began and ended within bounds, too; ``cause`` and ``why`` are as the sampler's attribution has them.
    """

    begin: float
    end: float
    lower: float
    upper: float
    failures: int
    kinds: dict[str, int]
    detail: str
    begin_low: float
    begin_high: float
    end_low: float
    end_high: float
    cause: str
    why: str


class Observation(Protocol):
    """What one observer saw of one target in one mode."""

    target: Any
    begin: float
    end: float
    interval: float
    counts: dict[str, int]
    coverage: float
    longest_gap: float
    gaps: Sequence[tuple[float, float]]
    outages: Sequence[Any]
    latency_ms: dict[str, float]
    ended: bool


Reader = Callable[[Path], Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One observation and who made it."""

    observer: str
    host: str
    seen: Observation

    @property
    def authenticated(self) -> bool:
        """Whether it was asked with a token, so that more than the service itself had to work."""
        return bool(getattr(self.seen.target, "auth", False))

    @property
    def published(self) -> bool:
        """Whether this is the endpoint that users have, asked without a token, and not one instance behind it."""
        return self.seen.target.via == "public" and not self.authenticated

    @property
    def label(self) -> str:
        """How a sentence names this lane."""
        connection = "ping" if self.seen.target.mode == "icmp" else f"{self.seen.target.mode} connection"
        connection += " with a token" if self.authenticated else ""
        if self.observer == PERFORMANCE:
            return f"{self.seen.target.name}, {connection}"
        return f"{self.seen.target.via}, {connection}" if self.seen.target.via else connection


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """One observer on one host: its last word, and why its log could not be read (empty when it could)."""

    observer: str
    host: str
    state: str
    last_seen: float | None
    trouble: str = ""
    status: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase; ``end`` is None when the run stopped in it."""

    name: str
    begin: float
    end: float | None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that one run recorded, in the order in which it was recorded."""

    run: dict[str, Any]
    phases: tuple[Phase, ...] = ()
    events: tuple[dict[str, Any], ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    resources: tuple[dict[str, Any], ...] = ()
    lanes: tuple[Lane, ...] = ()
    watchers: tuple[Watcher, ...] = ()
    spans: tuple[Span, ...] = ()
    unreadable: Mapping[str, int] = field(default_factory=dict)
    performance: tuple[Measured, ...] = ()

    @property
    def still_open(self) -> bool:
        """Whether the run had not ended when it was read."""
        return self.run.get("state") == OPEN

    @property
    def cold(self) -> bool:
        """Whether all services were stopped for the upgrade, as planned."""
        return self.run.get("strategy") == COLD

    def phase(self, name: str) -> Phase | None:
        """Return the phase of this name, from its first begin to its last end, or None.

        The upgrade is everything that is neither before nor after, whatever an operator calls its parts.
        """
        others = (BEFORE, AFTER)
        parts = [one for one in self.phases if (one.name == name if name in others else one.name not in others)]
        return Phase(name=name, begin=parts[0].begin, end=parts[-1].end) if parts else None

    def phase_at(self, moment: float) -> str:
        """Return the name of the phase in which a moment lies, or an empty text."""
        names = [phase.name for phase in self.phases if phase.begin <= moment]
        return names[-1] if names else ""

    def spans_of_phases(self, now: float = 0.0) -> list[tuple[str, float, float]]:
        """Return name, begin, end of the phases before, upgrade and after; an open one ends when last seen, or now."""
        last = max((lane.seen.end for lane in self.lanes), default=now)
        found = [(name, self.phase(name)) for name in (BEFORE, UPGRADE, AFTER)]
        return [(name, one.begin, last if one.end is None else one.end) for name, one in found if one]

    @property
    def timeline(self) -> Timeline:
        """Which release ran where and when."""
        return Timeline(self.spans, self.run.get("from_release") or "", self.run.get("to_release") or "")

    @property
    def services(self) -> tuple[str, ...]:
        """The services under test: those the run names, else all that anything was recorded of."""
        named = self.run.get("services") or []
        seen = {lane.seen.target.service for lane in self.lanes if lane.observer == "api_uptime"}
        seen |= {outcome.service for outcome in self.outcomes} | {span.service for span in self.spans}
        return tuple(dict.fromkeys(named)) or tuple(sorted(seen - {""}))

    def lanes_of(self, service: str, observer: str = API) -> list[Lane]:
        """Return what one observer saw of a service."""
        return [lane for lane in self.lanes if lane.observer == observer and lane.seen.target.service == service]

    def published_of(self, service: str) -> list[Lane]:
        """Return the lanes of the endpoint that users of a service have."""
        return [lane for lane in self.lanes_of(service) if lane.published]


def load(run: RunDirectory, reader: Reader | None = None) -> Facts:
    """Read a run directory; ``reader`` replaces the sampler's own reading of one observer's directory."""
    events = tuple(sorted(run.read(EVENTS), key=_moment))
    lanes, watchers = _samples(run.path / "samples", reader or read_observations)
    spans, releases = _processes(run.path / "samples" / RELEASES)
    names = (EVENTS, OUTCOMES, RESOURCES)
    facts = Facts(
        run=run.document,
        phases=phases_of(events),
        events=events,
        outcomes=tuple(Outcome.from_record(record) for record in run.read(OUTCOMES)),
        resources=tuple(run.read(RESOURCES)),
        lanes=tuple(lanes),
        watchers=tuple(watchers + releases),
        spans=tuple(spans),
        unreadable={name: count for name in names if (count := run.unreadable(name))},
    )
    return replace(facts, performance=tuple(_performance(run.path / "samples" / PERFORMANCE, facts)))


def phases_of(events: Iterable[Mapping[str, Any]]) -> tuple[Phase, ...]:
    """Return the phases; each lasts until the next begins, and ``end`` only closes the last one."""
    begins = [(str(event.get("name", "")), _moment(event)) for event in events if event.get("kind") == "phase"]
    ends: list[float | None] = [moment for _name, moment in begins[1:]]
    paired = zip(begins, [*ends, None], strict=True) if begins else []
    return tuple(Phase(name=name, begin=begin, end=end) for (name, begin), end in paired if name != LAST_PHASE)


def _moment(record: Mapping[str, Any]) -> float:
    value = record.get("time")
    return float(value) if isinstance(value, (int, float)) else 0.0


def _samples(folder: Path, reader: Reader) -> tuple[list[Lane], list[Watcher]]:
    lanes: list[Lane] = []
    watchers: list[Watcher] = []
    for observer in SAMPLED:
        for path in _folders(folder / observer):
            seen, trouble = _read_one(path, reader)
            lanes += [Lane(observer=observer, host=path.name, seen=one) for one in seen]
            watchers.append(_watcher(observer, path, trouble))
    lanes.sort(key=lambda lane: (lane.seen.target.service, not lane.published, lane.seen.target.via, *_order(lane)))
    return lanes, watchers


def _order(lane: Lane) -> tuple[str, str, str]:
    return lane.seen.target.name, lane.seen.target.mode, lane.host


def _read_one(path: Path, reader: Reader) -> tuple[Sequence[Any], str]:
    try:
        return reader(path), ""
    except Exception as error:  # one broken log must not hide what all others saw; it is told as trouble
        return (), f"its log could not be read: {error}"


def _performance(folder: Path, facts: Facts) -> list[Measured]:
    windows = windows_of(facts.spans_of_phases())
    found: list[Measured] = []
    for path in _folders(folder):
        with suppress(Exception):  # that its log cannot be read is told with its observations
            seconds = without(read_seconds(path), own_work(facts.events))
            found += measured_of(path.name, compare(seconds, windows, SLOW))
    return found


def own_work(events: Iterable[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Return begin and end of each task in which the test itself kept the services busy."""
    mine = (one for one in events if one.get("kind") == "task" and one.get("action") in WORK)
    return [(_moment(one), float(one["end"])) for one in mine if isinstance(one.get("end"), (int, float))]


def without(seconds: Iterable[LaneSecond], spans: Sequence[tuple[float, float]]) -> Iterator[LaneSecond]:
    """Leave out the seconds of which any part lies in one of these spans."""
    return (one for one in seconds if not any(begin < one.second + 1 and one.second < end for begin, end in spans))


def _watcher(observer: str, path: Path, trouble: str = "") -> Watcher:
    try:
        status = json.loads((path / "status.json").read_bytes())
    except (OSError, ValueError):
        status = {}
    status = status if isinstance(status, dict) else {}
    seen = status.get("time")
    return Watcher(
        observer=observer,
        host=path.name,
        state=str(status.get("state", "unknown")),
        last_seen=float(seen) if isinstance(seen, (int, float)) else None,
        trouble=trouble,
        status=status,
    )


def _processes(folder: Path) -> tuple[list[Span], list[Watcher]]:
    spans: list[Span] = []
    watchers: list[Watcher] = []
    for path in _folders(folder):
        watcher = _watcher(RELEASES, path)
        records, torn = read_records(path / "processes.jsonl")
        # It may have lived on without looking, as on a host that was frozen.
        looked = watcher.status.get("last_reading")
        spans += spans_of(records, path.name, float(looked) if isinstance(looked, (int, float)) else watcher.last_seen)
        lost = f"{torn} of its lines could not be read" if torn else ""
        watchers.append(_watcher(RELEASES, path, lost))
    return sorted(spans, key=Span.order), watchers


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
