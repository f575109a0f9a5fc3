# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The timeline as rows of shapes: all geometry is decided here, in percent of the time shown.

Note that this plugin util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._findings import is_deed
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._attribution import NOT_THE_CLOUD
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._words import clock, duration, number

LEAST_WIDTH = 0.02  # percent; with its border, a mark is then seen at any scale
MOST_SHAPES = 400  # of one row; more are merged into one that says how many
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800)
MODES = {"icmp": "ping", "stream": "held connection"}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One mark in a row: ``left`` and ``width`` in percent, ``a`` and ``b`` in seconds since the beginning."""

    kind: str
    left: float
    width: float
    a: float
    b: float
    title: str
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the timeline; ``tone`` colours its total."""

    label: str
    shapes: tuple[Shape, ...]
    total: str = ""
    tone: str = ""
    kind: str = "api"
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Group:
    """The rows of one service."""

    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """The whole timeline; ``begin`` and ``end`` in wall seconds."""

    begin: float
    end: float
    phases: tuple[Shape, ...] = ()
    ticks: tuple[Shape, ...] = ()
    groups: tuple[Group, ...] = field(default=())

    @property
    def seconds(self) -> float:
        """How long it shows."""
        return self.end - self.begin


class Scale:
    """From wall seconds to percent."""

    def __init__(self, begin: float, end: float) -> None:
        """Show the time from ``begin`` to ``end``, at least one second."""
        self.begin, self.end = begin, max(end, begin + 1)

    def shape(self, kind: str, begin: float, end: float, title: str, text: str = "") -> Shape:
        """Return a shape from a span of time, cut to what is shown."""
        a, b = (min(max(moment, self.begin), self.end) - self.begin for moment in (begin, max(begin, end)))
        whole = self.end - self.begin
        # A shape without any width is not drawn at all, not even its border.
        left, width = round(100 * a / whole, 3), max(LEAST_WIDTH, round(100 * (b - a) / whole, 3))
        return Shape(kind=kind, left=left, width=width, a=round(a, 3), b=round(b, 3), title=title, text=text)


def chart(results: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Chart | None:
    """Return the timeline of a run, or None when nothing has a time."""
    begin, end = _range(results, events)
    if end <= begin:
        return None
    scale = Scale(begin, end)
    services = [one["name"] for one in results["services"]]
    services += sorted({lane["service"] for lane in results["lanes"]} - set(services))
    groups = [
        Group(name="deployment", rows=tuple(_deployment(scale, events))),
        *(Group(name=service, rows=tuple(_service(scale, service, results))) for service in services),
        Group(name="server network", rows=tuple(_guests(scale, results))),
        Group(name="observers", rows=tuple(_observers(scale, results))),
    ]
    return Chart(
        begin=scale.begin,
        end=scale.end,
        phases=tuple(_phases(scale, results)),
        ticks=tuple(_ticks(scale)),
        groups=tuple(group for group in groups if group.rows),
    )


def _range(results: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Return from when to when the timeline goes: what was watched or marked, not the preparation long before."""
    moments = [lane[key] for lane in results["lanes"] for key in ("begin", "end")]
    moments += [phase[key] for phase in results["phases"] for key in ("begin", "end") if phase[key] is not None]
    moments += [span[key] for span in results["releases"] for key in ("begin", "end")]
    moments = moments or [float(event["time"]) for event in events if event.get("time")]
    return (min(moments), max(moments)) if moments else (0.0, 0.0)


def _phases(scale: Scale, results: Mapping[str, Any]) -> Iterable[Shape]:
    for phase in results["phases"]:
        end = phase["end"] if phase["end"] is not None else scale.end
        text = f"{phase['name']}, {clock(phase['begin'])} to {clock(end)}, {duration(end - phase['begin'])}"
        open_end = "" if phase["end"] is not None else " (did not end)"
        name = phase["name"] if phase["name"] in ("before", "after") else "upgrade"
        yield scale.shape(f"phase {name}", phase["begin"], end, text + open_end, phase["name"])


def _ticks(scale: Scale) -> Iterable[Shape]:
    step = next((one for one in STEPS if (scale.end - scale.begin) / one <= 10), STEPS[-1])
    moment = (scale.begin // step + 1) * step
    while moment < scale.end:
        text = clock(moment)[:5] if step >= 60 else clock(moment)
        yield scale.shape("tick", moment, moment, clock(moment), text)
        moment += step


def _deployment(scale: Scale, events: Sequence[Mapping[str, Any]]) -> Iterable[Row]:
    """Return the row of tasks, and a row of marks when there are any."""
    tasks = [one for one in events if one.get("kind") == "task" and one.get("end") and is_deed(one)]
    shown = [_task(scale, one) for one in tasks if scale.begin <= one["time"] <= scale.end]
    failed = sum(1 for one in shown if one.kind == "task failed")
    if shown:
        total = f"{number(len(shown))} tasks" + (f", {failed} failed" if failed else "")
        shapes = sorted(shown, key=lambda one: (one.kind != "task", one.a))
        yield Row(label="tasks", shapes=_capped(shapes), total=total, tone="bad" if failed else "", kind="tasks")
    marks = [one for one in events if one.get("kind") == "mark"]
    if marks:
        shapes = [scale.shape("mark", one["time"], one["time"], f"{clock(one['time'])} {one['name']}") for one in marks]
        yield Row(label="marks", shapes=tuple(shapes), total=f"{len(marks)}", kind="tasks")


def _task(scale: Scale, event: Mapping[str, Any]) -> Shape:
    bad = event.get("status") in ("failed", "unreachable")
    length = duration(max(0.0, event["end"] - event["time"]))
    title = f"{clock(event['time'])} {event.get('host', '')}: {event['name']} ({event.get('status')}, {length})"
    return scale.shape("task failed" if bad else "task", event["time"], event["end"], title)


def _capped(shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    """Keep a page small: of too many plain shapes every n-th is drawn, of the others all."""
    special = [one for one in shapes if one.kind not in ("task", "down", "blip", "away")]
    plain = [one for one in shapes if one.kind in ("task", "down", "blip", "away")]
    if len(plain) <= MOST_SHAPES:
        return tuple(shapes)
    widest = sorted(plain, key=lambda one: (-one.width, one.a))[: MOST_SHAPES // 2]
    nth = plain[:: -(-len(plain) // (MOST_SHAPES // 2))]
    kept = {id(one): one for one in [*nth, *widest]}
    return (*special, *sorted(kept.values(), key=lambda one: one.a))


def _service(scale: Scale, service: str, results: Mapping[str, Any]) -> Iterable[Row]:
    mine = [one for one in results["lanes"] if one["service"] == service]
    lanes = [one for one in mine if one["observer"] == "api_uptime"]
    many = len({one["host"] for one in mine}) > 1
    for lane in sorted(lanes, key=lambda one: (one["via"] != "public", one["auth"])):
        name = "published" if lane["via"] == "public" else lane["via"]
        yield _lane(scale, lane, f"{name} (token)" if lane["auth"] else name, many)
    # Their rows are in the table of response times; here only what failed among them is seen.
    for lane in mine:
        if lane["observer"] == "service_performance" and lane["outages"]:
            yield _lane(scale, lane, lane["name"], many)
    yield from _releases(scale, service, results)


def _lane(scale: Scale, lane: Mapping[str, Any], name: str, many: bool) -> Row:
    felt = lane["via"] == "public" or lane["observer"] == "data_plane"
    label = f"{name}, {MODES.get(lane['mode'], lane['mode'])}" + (f", from {lane['host']}" if many else "")
    watched = f"watched from {clock(lane['begin'])} to {clock(lane['end'])}, {lane['coverage']:.2%} of it sampled"
    shapes = [scale.shape("up", lane["begin"], lane["end"], watched)]
    if not lane["ended"]:
        shapes.append(scale.shape("lost", lane["end"], scale.end, "observer trouble: nothing is known of this time"))
    shapes += [_outage(scale, one, felt) for one in lane["outages"]]
    total, tone = _total(lane, felt)
    kind = "api" if felt else "instance"
    return Row(label=label, shapes=_capped(shapes), total=total, tone=tone, kind=kind, note=lane["address"])


def _outage(scale: Scale, outage: Mapping[str, Any], felt: bool) -> Shape:
    blip = outage["failures"] <= 1 and outage["lower"] <= 0
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(outage["kinds"].items()))
    text = f"{clock(outage['begin'])} {'one request failed' if blip else f'down {_length(outage)}'}: {kinds}"
    detail = "".join(f" - {outage[key]}" for key in ("detail", "why") if outage[key])
    kind = "lost" if outage["cause"] in NOT_THE_CLOUD else ("blip" if blip else "down") if felt else "away"
    return scale.shape(kind, outage["begin"], outage["end"], text + detail)


def _length(outage: Mapping[str, Any]) -> str:
    if outage["lower"] <= 0:
        return f"at most {outage['upper']:.2f} s"
    return f"{outage['end'] - outage['begin']:.2f} s ({outage['lower']:.2f} to {outage['upper']:.2f} s)"


def _total(lane: Mapping[str, Any], felt: bool) -> tuple[str, str]:
    """Return what a lane's end says: its outages, or how long an outage could have hidden."""
    outages = [one for one in lane["outages"] if one["cause"] not in NOT_THE_CLOUD]
    down = [one for one in outages if one["failures"] > 1 or one["lower"] > 0]
    blips = len(outages) - len(down)
    words = []
    if down:
        proven = all(one["lower"] > 0 for one in down)
        length = sum(one["end"] - one["begin"] if proven else one["upper"] for one in down)
        bound = "" if proven else "\u2264 "
        words.append(f"{len(down)}\u00d7 {bound}{duration(length)}")
    if blips:
        words.append(f"{blips} failed")
    if words:
        return " + ".join(words), "bad" if felt else "quiet"
    if lane["probes"] == lane["counts"].get("down", 0):
        return "no answer seen", "unsure"
    return f"none over {duration(lane['longest_gap'])}", "good" if lane["ended"] else "unsure"


def _releases(scale: Scale, service: str, results: Mapping[str, Any]) -> Iterable[Row]:
    """Return one row for each kind of process on each host, coloured by release."""
    spans = [one for one in results["releases"] if one["service"] == service]
    rows: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for span in spans:
        rows.setdefault((span["component"], span["instance"], span["host"]), []).append(span)
    old = results["run"].get("from_release") or (spans[0]["release"] if spans else "")
    for (component, instance, host), mine in rows.items():
        shapes = tuple(_span(scale, span, old) for span in mine)
        releases = " \u2192 ".join(dict.fromkeys(span["release"] for span in mine))
        place = host if instance in ("", host, component, f"{host}/{component}") else f"{instance} {host}"
        yield Row(label=f"{component} {place}", shapes=shapes, total=releases, kind="release")


def _span(scale: Scale, span: Mapping[str, Any], old: str) -> Shape:
    kind = "unknown" if span["release"] == "unknown" else "old" if span["release"] == old else "new"
    when = f"{clock(span['begin'])} to {clock(span['end'])}"
    title = f"{span['component']} on {span['host']}: release {span['release']} ({span['version']}), seen {when}"
    return scale.shape(f"release {kind}", span["begin"], span["end"], title)


def _guests(scale: Scale, results: Mapping[str, Any]) -> Iterable[Row]:
    lanes = [one for one in results["lanes"] if one["observer"] == "data_plane"]
    several = len({one["name"] for one in lanes}) > 1
    many = len({one["host"] for one in lanes}) > 1
    for lane in lanes:
        yield _lane(scale, lane, lane["name"] if several else "server", many)


def _observers(scale: Scale, results: Mapping[str, Any]) -> Iterable[Row]:
    """Return a row for each observer in trouble: that is not the cloud's, and is drawn apart from it."""
    for one in results["observers"]:
        if one["trouble"]:
            seen = one["last_seen"] or scale.begin
            shape = scale.shape("lost", seen, scale.end, f"{one['observer']} on {one['host']}: {one['trouble']}")
            yield Row(label=f"{one['observer']}, {one['host']}", shapes=(shape,), total="trouble", tone="lost")
