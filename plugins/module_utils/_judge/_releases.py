# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which release ran where and when, from what was seen of running processes.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

UNKNOWN = "unknown"


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
    """A time in which instances of both releases of a service ran."""

    begin: float
    end: float
    instances: int

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.end - self.begin


Key = tuple[str, str, str, str, str]


def spans_of(records: Sequence[Mapping[str, Any]], host: str, last_seen: float | None) -> list[Span]:
    """Turn one host's log of changes into spans; the last record holds until the observer was last alive."""
    spans: list[Span] = []
    running: dict[Key, tuple[float, str]] = {}
    moment = 0.0
    for record in records:
        moment = float(record.get("time", moment))
        now = _running(record, host)
        for key in [key for key in running if key not in now]:
            spans.append(_span(key, running.pop(key), moment))
        for key, version in now.items():
            running.setdefault(key, (moment, version))
    final = max(moment, last_seen or moment)
    return spans + [_span(key, value, final) for key, value in running.items()]


def _running(record: Mapping[str, Any], host: str) -> dict[Key, str]:
    name = str(record.get("host") or host)
    processes = [process for process in record.get("processes") or [] if isinstance(process, Mapping)]
    return {_key(process, name): str(process.get("version") or "") for process in processes}


def _key(process: Mapping[str, Any], host: str) -> Key:
    instance = str(process.get("instance") or host)
    release = str(process.get("release") or UNKNOWN)
    return str(process.get("service") or ""), str(process.get("component") or ""), instance, host, release


def _span(key: Key, begun: tuple[float, str], end: float) -> Span:
    service, component, instance, host, release = key
    return Span(
        service=service,
        component=component,
        instance=instance,
        host=host,
        release=release,
        version=begun[1],
        begin=begun[0],
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

    def mixed(self, service: str) -> list[Window]:
        """Return the times in which both releases of a service ran, oldest first."""
        spans = self.of(service)
        edges = sorted({span.begin for span in spans} | {span.end for span in spans})
        pieces = [(a, b) for a, b in pairwise(edges) if self._is_mixed(self.releases_at(service, a))]
        return [Window(begin=begin, end=end, instances=self.instances(service)) for begin, end in _joined(pieces)]

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
