# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the observers saw go wrong, grouped by cause, and whether they saw enough to say that nothing did.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._facts import (
    BEFORE,
    UPGRADE,
    Facts,
    Lane,
    Outage,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._policy import Policy
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._attribution import (
    KEYSTONE,
    NOT_THE_CLOUD,
    Cause,
    with_causes,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._attribution import PUBLISHED as PUBLIC

PUBLISHED, TOKEN, INSTANCE, GUEST, OBSERVER = "published", "token", "instance", "guest", "observer"
FELT = (PUBLISHED, TOKEN)

Place = tuple[str, str, str]
"""Whose trouble, where it was felt, in which part."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One outage in one lane."""

    lane: Lane
    outage: Outage

    @property
    def blip(self) -> bool:
        """Whether a single request failed: a failure, but no proof of time without service."""
        return self.outage.failures <= 1 and self.outage.lower <= 0


def length_of(outage: Outage) -> str:
    """Say how long an outage lasted. Without a proof that it lasted any time, the middle of its bounds says nothing."""
    if outage.lower <= 0:
        return f"at most {outage.upper:.2f} s (no proof of a least time)"
    return f"{outage.end - outage.begin:.2f} s (at least {outage.lower:.2f}, at most {outage.upper:.2f} s)"


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Outages of one service that lie so near to each other that they have one cause, longest first.

    ``where``: ``published`` (users felt it), ``token`` (users felt it in requests that carried one), ``instance``
    (behind the load balancer), ``guest`` (a server's network), ``observer`` (the way to the cloud, not the cloud).
    """

    service: str
    where: str
    phase: str
    hits: tuple[Hit, ...]

    @property
    def begin(self) -> float:
        """When the first of them began."""
        return min(hit.outage.begin for hit in self.hits)

    @property
    def end(self) -> float:
        """When the last of them ended."""
        return max(hit.outage.end for hit in self.hits)

    @property
    def worst(self) -> Hit:
        """The longest of them."""
        return self.hits[0]

    @property
    def cause(self) -> Cause:
        """What the longest comes from; if it cannot tell by itself, then by all that were at the same time."""
        if self.worst.outage.cause != Cause.UNDETERMINED:
            return Cause(self.worst.outage.cause)
        causes = {hit.outage.cause for hit in self._at_the_same_time()} - {Cause.UNDETERMINED}
        return Cause(causes.pop()) if len(causes) == 1 else Cause.UNDETERMINED

    @property
    def why(self) -> str:
        """The sentence that names the evidence for the cause."""
        return next(hit.outage.why for hit in self._at_the_same_time() if hit.outage.cause == self.cause)

    def _at_the_same_time(self) -> list[Hit]:
        """The longest, and those that may have been at the same time."""
        begin, end = self.worst.outage.begin_low, self.worst.outage.end_high
        return [hit for hit in self.hits if hit.outage.begin_low <= end and begin <= hit.outage.end_high]

    @property
    def blip(self) -> bool:
        """Whether it was single failed requests only."""
        return all(hit.blip for hit in self.hits)

    @property
    def failures(self) -> int:
        """How many probes failed."""
        return sum(hit.outage.failures for hit in self.hits)

    @property
    def kinds(self) -> Counter[str]:
        """How they failed, and how often."""
        total: Counter[str] = Counter()
        for hit in self.hits:
            total.update(hit.outage.kinds)
        return total

    @property
    def kind(self) -> str:
        """How most of them failed."""
        return min(self.kinds, key=lambda kind: (-self.kinds[kind], kind)) if self.kinds else "unknown"


def attributed(facts: Facts) -> Facts:
    """Give every outage its cause, by what all observers saw on all hosts."""
    seen = with_causes([(lane.host, lane.seen) for lane in facts.lanes])
    return replace(facts, lanes=tuple(replace(lane, seen=one) for lane, one in zip(facts.lanes, seen, strict=True)))


def troubles(facts: Facts, policy: Policy) -> list[Trouble]:
    """Return every trouble, in the order in which they began."""
    groups: dict[Place, list[Hit]] = {}
    for lane in facts.lanes:
        for outage in lane.seen.outages:
            groups.setdefault(_place(lane, outage, facts), []).append(Hit(lane=lane, outage=outage))
    found = [
        Trouble(
            service=service,
            where=where,
            phase=facts.phase_at(min(hit.outage.begin for hit in hits)),
            hits=tuple(sorted(hits, key=_longest_first)),
        )
        for (service, where, _part), all_hits in _folded(groups, policy.same_cause).items()
        for hits in _clusters(all_hits, policy.same_cause)
    ]
    return sorted(found, key=lambda trouble: (trouble.begin, trouble.service, trouble.where, trouble.worst.lane.label))


def _place(lane: Lane, outage: Outage, facts: Facts) -> Place:
    """Return whose trouble an outage is, where it was felt, and in which part."""
    target = lane.seen.target
    if outage.cause in NOT_THE_CLOUD:
        return "", OBSERVER, lane.host
    if lane.observer == "data_plane":
        return target.service, GUEST, target.name
    if target.via != PUBLIC:
        return target.service, INSTANCE, target.via
    if not lane.authenticated:
        return target.service, PUBLISHED, ""
    return KEYSTONE if outage.cause == Cause.TOKEN and KEYSTONE in facts.services else target.service, TOKEN, ""


def _folded(groups: Mapping[Place, list[Hit]], near: float) -> dict[Place, list[Hit]]:
    """Tell one event once: what failed with a token while the endpoint was out without one belongs to that."""
    folded: dict[Place, list[Hit]] = {}
    for place, hits in groups.items():
        service, where, part = place
        plain = groups.get((service, PUBLISHED, ""), []) if where == TOKEN else []
        for hit in hits:
            same = any(_meet(hit.outage, one.outage, near) for one in plain)
            folded.setdefault((service, PUBLISHED, "") if same else (service, where, part), []).append(hit)
    return folded


def _meet(one: Outage, other: Outage, near: float) -> bool:
    return one.begin <= other.end + near and other.begin <= one.end + near


def _longest_first(hit: Hit) -> tuple[bool, float, float, str]:
    # Those without a token come first: more of them are asked, so their bounds are closer.
    return hit.lane.authenticated, hit.outage.begin - hit.outage.end, hit.outage.begin, hit.lane.label


def _clusters(hits: Iterable[Hit], near: float) -> list[list[Hit]]:
    """Split hits where nothing went wrong for longer than ``near`` seconds."""
    clusters: list[list[Hit]] = []
    end = 0.0
    for hit in sorted(hits, key=lambda hit: (hit.outage.begin, hit.outage.end, hit.lane.label)):
        if clusters and hit.outage.begin <= end + near:
            clusters[-1].append(hit)
            end = max(end, hit.outage.end)
        else:
            clusters.append([hit])
            end = hit.outage.end
    return clusters


def counts_against(trouble: Trouble, facts: Facts) -> bool:
    """Whether a trouble lasted into the upgrade or came later; a run without an upgrade phase is judged as a whole."""
    upgrade = facts.phase(UPGRADE)
    return upgrade is None or trouble.end > upgrade.begin


def is_planned(trouble: Trouble, facts: Facts) -> bool:
    """Whether users felt it because a cold upgrade stops all services: it began and ended while that went on."""
    upgrade = facts.phase(UPGRADE)
    if not facts.cold or trouble.where not in FELT or upgrade is None or upgrade.end is None:
        return False
    return trouble.begin >= upgrade.begin and trouble.end <= upgrade.end


def answers_in(counts: Mapping[str, int]) -> int:
    """Return how many probes were answered as expected, soon or slowly."""
    return counts.get("up", 0) + counts.get("slow", 0)


def logs_of(lanes: Iterable[Lane]) -> tuple[str, ...]:
    """Return where in the run directory these lanes were recorded."""
    return tuple(dict.fromkeys(f"samples/{lane.observer}/{lane.host}" for lane in lanes))


def blind_spots(lanes: Sequence[Lane], facts: Facts, policy: Policy) -> list[str]:
    """Return why these lanes cannot show that nothing happened; nothing means that they can."""
    if not lanes:
        return ["nobody watched it"]
    return list(dict.fromkeys(reason for lane in lanes for reason in _blind(lane, facts, policy)))


def _blind(lane: Lane, facts: Facts, policy: Policy) -> list[str]:
    seen, name = lane.seen, f"{lane.observer} on {lane.host} ({lane.label})"
    allowed = policy.hole_intervals * seen.interval + seen.latency_ms.get("max", 0.0) / 1000
    outage = max((one.upper for one in seen.outages if one.cause != Cause.OBSERVER), default=0.0)
    checks = (
        (not seen.ended, f"{name} did not end by itself, so its last moments are missing"),
        (not answers_in(seen.counts), f"{name} never got an answer, so it may have asked the wrong thing"),
        (
            seen.coverage < policy.least_coverage,
            f"{name} covered {seen.coverage:.2%} of its time, {policy.least_coverage:.1%} are needed",
        ),
        (
            seen.longest_gap > max(allowed, outage),
            f"{name} has a hole of {seen.longest_gap:.2f} s, {allowed:.2f} s are allowed",
        ),
    )
    return [text for wrong, text in checks if wrong] + _unwatched(lane, name, facts, policy)


def _unwatched(lane: Lane, name: str, facts: Facts, policy: Policy) -> list[str]:
    """Return which part of the upgrade lies outside of what a lane watched."""
    upgrade = facts.phase(UPGRADE)
    if upgrade is None:
        return ["no upgrade phase was marked, so it is not known what had to be watched"]
    reasons = []
    if lane.seen.begin > upgrade.begin + policy.late_start:
        reasons.append(f"{name} began {lane.seen.begin - upgrade.begin:.1f} s after the upgrade began")
    if upgrade.end is None:
        reasons.append("the upgrade did not end within the run")
    elif lane.seen.end < upgrade.end:
        reasons.append(f"{name} ended {upgrade.end - lane.seen.end:.1f} s before the upgrade ended")
    return reasons


def too_slow(lanes: Sequence[Lane], policy: Policy) -> list[str]:
    """Return which lanes asked too seldom to find a short outage."""
    slow = [lane for lane in lanes if lane.seen.interval > policy.slowest_interval + 1e-9]
    return [f"{lane.label} was asked every {lane.seen.interval:g} s only" for lane in slow]


def baseline_failures(service: str, found: Iterable[Trouble]) -> int:
    """Return how many probes of a service's published endpoint failed before the upgrade began."""
    mine = (one for one in found if one.service == service and one.where in FELT)
    return sum(one.failures for one in mine if one.phase == BEFORE)


def unplaced_failures(lanes: Sequence[Lane]) -> int:
    """Return how many failures the lanes counted beyond those that belong to their outages."""
    return sum(
        max(0, lane.seen.counts.get("down", 0) - sum(outage.failures for outage in lane.seen.outages)) for lane in lanes
    )
