# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which release ran where and when, from what was seen of running processes.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

UNKNOWN = "unknown"
SKEW = 2.0
"""Seconds by which the clocks of hosts may differ: a shorter mixture of several hosts may be one of their clocks."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """One process kind of one instance, at one release, from ``begin`` to ``end`` (wall seconds)."""

    service: str
    component: str
    instance: str
    host: str
    release: str
    version: str
    begin: float
    end: float

    def order(self) -> tuple[str, str, str, str, float]:
        """Return the key by which spans are sorted."""
        return self.service, self.component, self.host, self.instance, self.begin


@dataclass(frozen=True, kw_only=True)
class Window:
    """A time in which instances of both releases of a service ran; ``sides`` are they, by release, when it began."""

    begin: float
    end: float
    instances: int
    sides: dict[str, list[str]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.end - self.begin


Key = tuple[str, str, str, str, str]


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What was seen of one key: since when, its version, and which processes (number and start) it is made of."""

    begin: float
    version: str
    who: frozenset[tuple[Any, Any]]

    def goes_on_as(self, other: _Seen) -> bool:
        """Whether at least one process was there all the time; records that do not tell are believed."""
        return not self.who or not other.who or bool(self.who & other.who)


def spans_of(records: Sequence[Mapping[str, Any]], host: str, last_seen: float | None) -> list[Span]:
    """Turn one host's log of changes into spans; the last record holds until the observer last looked.

    A span lasts from when a process was first seen to when it was last seen, so nothing in it is guessed: neither
    between two looks, nor between two sessions of an observer.
    """
    spans: list[Span] = []
    running: dict[Key, _Seen] = {}
    moment = 0.0
    for record in records:
        before, moment = moment, float(record.get("time", moment))
        until = record.get("until", moment)
        now = _running(record, host, moment)
        for key, seen in list(running.items()):
            if key in now and ("until" not in record or seen.goes_on_as(now[key])):
                now[key] = replace(now[key], begin=seen.begin, version=seen.version)
            else:
                # A new session does not know until when the last one looked, but its last word was true.
                spans.append(_span(key, seen, max(seen.begin, before if until is None else float(until))))
        running = now
    final = max(moment, last_seen or moment)
    return spans + [_span(key, seen, final) for key, seen in running.items()]


def _running(record: Mapping[str, Any], host: str, moment: float) -> dict[Key, _Seen]:
    name = str(record.get("host") or host)
    found: dict[Key, _Seen] = {}
    for process in record.get("processes") or []:
        if isinstance(process, Mapping):
            key, version = _key(process, name), str(process.get("version") or "")
            who = {(process["pid"], process["started"])} if {"pid", "started"} <= process.keys() else set()
            others = found[key].who if key in found else frozenset()
            found[key] = _Seen(begin=moment, version=version, who=others | who)
    return found


def _key(process: Mapping[str, Any], host: str) -> Key:
    instance = str(process.get("instance") or host)
    release = str(process.get("release") or UNKNOWN)
    return str(process.get("service") or ""), str(process.get("component") or ""), instance, host, release


def _span(key: Key, seen: _Seen, end: float) -> Span:
    service, component, instance, host, release = key
    return Span(
        service=service,
        component=component,
        instance=instance,
        host=host,
        release=release,
        version=seen.version,
        begin=seen.begin,
        end=end,
    )


class Timeline:
    """The spans of all services, and what they show."""

    def __init__(self, spans: Sequence[Span], old: str = "", new: str = "") -> None:
        """Read spans of an upgrade from ``old`` to ``new``; empty names mean: whatever was seen."""
        self.spans = spans
        self.old, self.new = old, new

    def of(self, service: str) -> list[Span]:
        """Return the spans of one service."""
        return [span for span in self.spans if span.service == service]

    def instances(self, service: str) -> int:
        """Return how many process kinds on how many hosts were seen of a service."""
        return len({(span.component, span.instance, span.host) for span in self.of(service)})

    def releases_at(self, service: str, moment: float) -> set[str]:
        """Return which known releases of a service ran at a moment."""
        running = (span for span in self.of(service) if span.begin <= moment < span.end)
        return {span.release for span in running if span.release != UNKNOWN}

    def sides_at(self, service: str, moment: float) -> dict[str, list[str]]:
        """Return which instances of a service ran at a moment, by release."""
        sides: dict[str, set[str]] = {}
        for span in self.of(service):
            if span.begin <= moment < span.end and span.release != UNKNOWN:
                sides.setdefault(span.release, set()).add(f"{span.component} on {span.host}")
        return {release: sorted(names) for release, names in sorted(sides.items())}

    def mixed(self, service: str) -> list[Window]:
        """Return the times in which both releases of a service ran, oldest first."""
        spans = self.of(service)
        edges = sorted({span.begin for span in spans} | {span.end for span in spans})
        pieces = [(a, b) for a, b in pairwise(edges) if self._is_mixed(self.releases_at(service, a))]
        return [
            Window(begin=begin, end=end, instances=self.instances(service), sides=self.sides_at(service, begin))
            for begin, end in _joined(pieces)
            if end - begin >= SKEW or self._is_on_one_host(service, begin)
        ]

    def _is_on_one_host(self, service: str, moment: float) -> bool:
        """Whether both releases ran on the same host at a moment, whose clock agrees with itself."""
        running = [span for span in self.of(service) if span.begin <= moment < span.end]
        hosts = {span.host for span in running}
        return any(
            self._is_mixed({span.release for span in running if span.host == host} - {UNKNOWN}) for host in hosts
        )

    def _is_mixed(self, releases: set[str]) -> bool:
        if self.old and self.new:
            return {self.old, self.new} <= releases
        return len(releases) > 1


def _joined(pieces: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Join pieces that touch."""
    joined: list[tuple[float, float]] = []
    for begin, end in pieces:
        if joined and joined[-1][1] == begin:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return joined
