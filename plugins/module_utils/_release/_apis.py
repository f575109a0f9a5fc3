# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the APIs of a cloud tell of its release, and what that says beside the processes that were seen.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

An API can refute a release, and seldom more: most offer the same for several releases, some tell nothing at all. Behind
a load balancer answers may come from instances of both releases, so each endpoint is asked several times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Cloud, CloudError, UnreachableError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._verdict import (
    NO_HOST,
    VALIDATOR,
    Target,
    Verdict,
    either,
    target_of,
    weigh,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._releases import possible, possible_api
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import Service, current_version

OPTIONS: dict[str, Any] = {
    "release": {"type": "list", "elements": "str", "default": []},
    "builds": {"type": "dict", "default": {}},
    "instances": {"type": "list", "elements": "dict", "default": []},
    "processes": {"type": "list", "elements": "dict", "default": []},
    "samples": {"type": "int", "default": 4},
}
"""How to look at the APIs, as a module's options."""
SILENT = ("heat", "neutron")  # whose version documents have been the same for all releases


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What one endpoint or instance offered as its newest ``versions``, or why that is not known.

    It is ``elsewhere`` when it does not answer from here, but need not.
    """

    service: str
    via: str
    url: str
    versions: tuple[str, ...] = ()
    problem: str = ""
    elsewhere: bool = False

    @property
    def label(self) -> str:
        """How to name it in a sentence."""
        return f"The {self.via} of {self.service}"


def look(cloud: Cloud, services: Sequence[Service], options: Mapping[str, Any], phase: str) -> list[Outcome]:
    """Return what the APIs tell; raises ValueError for a release that is not known."""
    target = target_of(options["release"], options["builds"])
    offers = ask(cloud, services, options["instances"], max(1, options["samples"]))
    return judge_apis(offers, target, options["processes"], phase)


def ask(cloud: Cloud, services: Sequence[Service], instances: Sequence[Mapping[str, Any]], times: int) -> list[Offer]:
    """Ask every published endpoint, and every instance that is named, for its versions; side by side."""
    places = [place for service in services for place in _places(cloud, service, instances)]
    with ThreadPoolExecutor(max_workers=min(len(places), 16) or 1) as pool:
        return list(pool.map(lambda place: _ask_one(cloud, *place, times=times), places))


Place = tuple[Service, str, str, bool]


def _places(cloud: Cloud, service: Service, instances: Sequence[Mapping[str, Any]]) -> Iterable[Place]:
    for interface, url in sorted(cloud.endpoints(service.types).items()):
        yield service, f"{interface} endpoint", service.probe_url(url), interface != cloud.interface
    for one in instances:
        if one.get("service") == service.name:
            yield service, f"instance on {one.get('host')}", service.probe_url(str(one.get("url"))), True


def _ask_one(cloud: Cloud, service: Service, via: str, url: str, elsewhere: bool, *, times: int) -> Offer:
    seen: dict[str, None] = {}
    facts: dict[str, Any] = {"service": service.name, "via": via, "url": url}
    try:
        for _time in range(times):
            # Each on a connection of its own, so that a load balancer chooses anew.
            headers = {"Connection": "close"}
            answer = cloud.request("GET", url, service.name, authenticated=False, headers=headers)
            seen[newest(service.name, answer.body)] = None
    except CloudError as problem:
        may_be_elsewhere = elsewhere and isinstance(problem, UnreachableError)
        return Offer(**facts, versions=tuple(filter(None, seen)), problem=str(problem), elsewhere=may_be_elsewhere)
    return Offer(**facts, versions=tuple(filter(None, seen)))


def newest(service: str, document: Any) -> str:
    """Return the newest version that a version document offers, in the form in which the table of releases has it."""
    current = current_version(document)
    return current["version"] if service in ("glance", "keystone") else current["max_version"]


def releases_offering(service: str, version: str) -> tuple[str, ...]:
    """Return the releases whose API offers just this; Swift tells its own version instead."""
    return possible(service, version) if service == "swift" else possible_api(service, version)


def judge_apis(
    offers: Sequence[Offer], target: Target, processes: Sequence[Mapping[str, Any]], phase: str
) -> list[Outcome]:
    """Return an outcome for each place that was asked, and one for each service of which no process was seen.

    Where nothing is expected, an API at least has to fit the processes that were seen.
    """
    outcomes = []
    for service in dict.fromkeys(offer.service for offer in offers):
        mine = [offer for offer in offers if offer.service == service]
        seen = {str(one.get("release")) for one in processes if one.get("service") == service and one.get("release")}
        if not any(one.get("service") == service for one in processes):
            outcomes.append(_blind(service, mine, target, phase))
        outcomes += [_judge_offer(offer, target, sorted(seen), phase) for offer in mine]
    return outcomes


def _blind(service: str, offers: Sequence[Offer], target: Target, phase: str) -> Outcome:
    """Return the outcome of a service of which nothing but its API was seen: never more than unknown."""
    told = sorted({either(found) for one in offers for v in one.versions if (found := releases_offering(service, v))})
    hint = f" Its API fits {' and '.join(told)}." if told else ""
    return Outcome(
        validator=VALIDATOR,
        check="release",
        service=service,
        subject=service,
        phase=phase,
        status=Status.UNKNOWN,
        message=f"Which release the processes of {service} run is unknown: {NO_HOST}.{hint}",
        expected=" or ".join(target.releases) or None,
        evidence={"verdict": str(Verdict.UNKNOWN), "reason": NO_HOST},
    )


def _judge_offer(offer: Offer, target: Target, seen: Sequence[str], phase: str) -> Outcome:
    verdict, status, message = verdict_on(offer, target.releases or seen)
    return Outcome(
        validator=VALIDATOR,
        check="release_api",
        service=offer.service,
        subject=offer.via,
        phase=phase,
        status=status,
        message=message,
        expected=" or ".join(target.releases or seen) or None,
        found=" and ".join(either(releases_offering(offer.service, one)) for one in offer.versions) or None,
        evidence={"verdict": str(verdict), "url": offer.url, "versions": list(offer.versions)},
    )


def verdict_on(offer: Offer, wanted: Sequence[str]) -> tuple[Verdict, Status, str]:
    """Return what an offer says of the releases that are wanted."""
    if offer.problem and not offer.versions:
        status = Status.SKIP if offer.elsewhere else Status.UNKNOWN
        note = " It may be reachable from other networks only." if offer.elsewhere else ""
        return Verdict.UNKNOWN, status, f"{offer.label} did not tell its versions: {offer.problem}{note}"
    if offer.service in SILENT:
        return Verdict.UNKNOWN, Status.SKIP, f"The API of {offer.service} offers the same in all releases."
    if not offer.versions:
        return Verdict.UNKNOWN, Status.UNKNOWN, f"{offer.label} answers, but names no version that could be read."
    found = {version: releases_offering(offer.service, version) for version in offer.versions}
    verdicts = {version: weigh(fits, wanted, direct=False) for version, fits in found.items()}
    parts = [f"{version} ({either(fits) or 'not in the table of releases'})" for version, fits in found.items()]
    text = f"{offer.label} offers {' and '.join(parts)}"
    if len(parts) > 1:
        text += ", so instances of different releases answer"
    if Verdict.REFUTED in verdicts.values():
        return Verdict.REFUTED, Status.FAIL, f"{text}, which is not {either(wanted)}."
    if Verdict.UNKNOWN in verdicts.values():
        return Verdict.UNKNOWN, Status.UNKNOWN, f"{text}."
    return Verdict.CONSISTENT, Status.PASS, f"{text}."


def summary_of(
    outcomes: Sequence[Outcome], processes: Sequence[Mapping[str, Any]], target: Target
) -> dict[str, dict[str, Any]]:
    """Return for each service the releases that its processes run, where, and what all evidence together says."""
    services = sorted({one.service for one in outcomes} | {str(one.get("service")) for one in processes})
    return {service: _summary(service, outcomes, processes, target) for service in services if service}


def _summary(
    service: str, outcomes: Sequence[Outcome], processes: Sequence[Mapping[str, Any]], target: Target
) -> dict[str, Any]:
    releases: dict[str, set[str]] = {}
    for one in processes:
        if one.get("service") == service:
            releases.setdefault(str(one.get("release") or "unknown"), set()).add(str(one.get("instance")))
    known = sorted(set(releases) - {"unknown"})
    verdicts = {str(one.evidence.get("verdict")) for one in outcomes if one.service == service}
    verdicts |= {str(weigh([release], target.releases, direct=True)) for release in known}
    return {
        "verdict": str(_combined(verdicts, whole=bool(releases) and "unknown" not in releases)),
        "mixed": len(known) > 1,
        "releases": {release: sorted(names) for release, names in sorted(releases.items())},
    }


def _combined(verdicts: Iterable[str], *, whole: bool) -> Verdict:
    """Return what everything together says: one thing that refutes is enough; all processes confirm, nothing less."""
    if Verdict.REFUTED in verdicts:
        return Verdict.REFUTED
    if whole:
        return Verdict.CONFIRMED
    return Verdict.CONSISTENT if {Verdict.CONSISTENT, Verdict.CONFIRMED} & set(verdicts) else Verdict.UNKNOWN
