# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attribution against worlds whose faults are known: the probes are made up, the bounds come from the real sweep."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._attribution import (
    Attribution,
    Cause,
    attribute,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._canary import start_canary
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._evidence import Sweep
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import UNANSWERED, Kind
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._options import api_lanes
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import (
    Observation,
    Outage,
    Target,
)
from hypothesis import given, settings
from hypothesis import strategies as st

T0 = 1_795_168_380.0
LENGTH = 20.0
FAULT = 8.0
"""Seconds after the beginning at which a fault sets in."""
MS = 1_000_000
SETTLE = 50 * MS

HERE, THERE = "here", "there"
A, B = "control1", "control2"


@dataclass(frozen=True)
class Place:
    """One lane: who asks, and what."""

    service: str
    via: str
    mode: str
    auth: bool = False
    host: str = HERE

    @property
    def guest(self) -> bool:
        return self.service == "guest"


Fault = Callable[[Place, float, int], "Kind | None"]
"""(who asks, seconds since the beginning, number of the probe) -> how it fails, or None."""


def api(service: str, host: str = HERE) -> list[Place]:
    """The published endpoint with new and kept connections, with and without a token, and two instances."""
    return [
        Place(service, "public", "new", host=host),
        Place(service, "public", "kept", host=host),
        Place(service, "public", "new", auth=True, host=host),
        Place(service, A, "new", host=host),
        Place(service, B, "new", host=host),
    ]


def guest(host: str = HERE) -> list[Place]:
    """One server."""
    return [Place("guest", "", mode, host=host) for mode in ("icmp", "tcp", "http", "stream")]


CLOUD = [*api("keystone"), *api("nova"), *guest()]
TWO_HOSTS = [*CLOUD, *(replace(place, host=THERE) for place in CLOUD)]


def observe(
    place: Place, fault: Fault, source: random.Random, period: int = 100 * MS, alarm: int | None = None
) -> Observation:
    """What a lane sees: probes on a jittered grid, a denser look after a failure or an alarm, the real sweep."""
    sweep = Sweep(0, 10_000 * MS)
    evidence: list[tuple[int, int, Kind]] = []
    slot, burst, number = source.randrange(period), 0, 0
    end = int(LENGTH * 1000) * MS
    moment = slot
    while moment < end:
        if alarm is not None and moment > alarm:
            moment, burst, alarm = alarm, 20, None
        answer = moment + source.randrange(MS // 2, 4 * MS)
        kind = fault(place, source.uniform(moment, answer) / 1e9, number) or Kind.UP
        evidence.append((answer + SETTLE if kind in UNANSWERED else answer, moment, kind))
        number += 1
        burst = 20 if kind not in UNANSWERED and kind is not Kind.UP else max(0, burst - 1)
        planned = slot + period + source.randrange(period // 5)
        if burst and moment + 2 * MS < planned:
            moment += 2 * MS
        else:
            slot, moment = slot + period, planned
    for stop, start, kind in sorted(evidence):
        if kind is Kind.UP:
            sweep.up(start, stop)
        else:
            sweep.down(start, stop, kind)
    spans = sweep.finish(end + SETTLE)
    name = f"{place.service} {place.via}".strip()
    return Observation(
        target=Target(name=name, service=place.service, via=place.via, mode=place.mode, address="", auth=place.auth),
        begin=T0,
        end=T0 + LENGTH + SETTLE / 1e9,
        interval=period / 1e9,
        counts={},
        coverage=1.0,
        longest_gap=sweep.longest_gap / 1e9,
        outages=tuple(
            Outage(
                begin=T0 + span.point[0] / 1e9,
                end=T0 + span.point[1] / 1e9,
                lower=span.lower / 1e9,
                upper=span.upper / 1e9,
                failures=span.failures,
                kinds={Kind(kind).name.lower(): count for kind, count in span.kinds.items()},
                detail="",
                begin_low=T0 + span.begin_low / 1e9,
                begin_high=T0 + span.begin_high / 1e9,
                end_low=T0 + span.end_low / 1e9,
                end_high=T0 + span.end_high / 1e9,
            )
            for span in spans
        ),
        latency_ms={},
        ended=True,
        gaps=tuple((T0 + low / 1e9, T0 + high / 1e9) for low, high in sweep.gaps()),
    )


def alarm_of(place: Place, fault: Fault, places: Sequence[Place]) -> int | None:
    """When a kept connection to the same address is cut: the sampler feels that, and looks closer at the address."""
    cut = (Kind.RESET, Kind.FLOW_BROKEN)
    near = [one for one in places if (one.host, one.service, one.via) == (place.host, place.service, place.via)]
    felt = any(fault(one, FAULT + 0.001, -1) in cut for one in near if one.mode in ("kept", "stream"))
    return int(FAULT * 1000 + 1) * MS + MS // 2 if felt else None


Told = list[tuple[Place, Attribution]]


def told(places: Sequence[Place], fault: Fault, seed: int = 1, **more: object) -> Told:
    """What is said of every outage that the lanes saw."""
    source = random.Random(seed)
    seen = [(place.host, observe(place, fault, source, alarm=alarm_of(place, fault, places))) for place in places]
    causes = attribute(seen, **more)  # type: ignore[arg-type]
    return [(place, one) for place, found in zip(places, causes, strict=True) for one in found]


def during(seconds: float, kind: Kind, hit: Callable[[Place], bool]) -> Fault:
    """A fault of some lanes for a while."""
    return lambda place, moment, _number: kind if hit(place) and FAULT <= moment < FAULT + seconds else None


def silent_from(hit: Callable[[Place], bool], seconds: float = 2.0) -> Fault:
    """Packets of some lanes are lost for a while: each kind of lane calls that by its own name."""

    def fault(place: Place, moment: float, _number: int) -> Kind | None:
        if not hit(place) or not FAULT <= moment < FAULT + seconds:
            return None
        return {"icmp": Kind.NO_REPLY, "stream": Kind.TIMEOUT}.get(place.mode, Kind.CONNECT_TIMEOUT)

    return fault


def one_in_two(place: Place, moment: float, number: int) -> Kind | None:
    """An instance is away, and the load balancer still gives it every other request."""
    if not FAULT <= moment < FAULT + 3 or place.service != "nova":
        return None
    if place.via == A:
        return Kind.REFUSED
    return Kind.HTTP_5XX_HAPROXY if place.via == "public" and not place.auth and number % 2 else None


def nova(place: Place) -> bool:
    return place.service == "nova"


def nova_public(place: Place) -> bool:
    return nova(place) and place.via == "public"


def restart(seconds: float) -> Fault:
    """All instances are away: connections that are open are cut, new ones are refused."""

    def fault(place: Place, moment: float, _number: int) -> Kind | None:
        if not nova(place) or not FAULT <= moment < FAULT + seconds:
            return None
        return Kind.RESET if place.mode == "kept" else Kind.REFUSED

    return fault


ROWS: dict[str, tuple[Sequence[Place], Callable[[float], Fault], Cause]] = {
    "load balancer": (CLOUD, lambda long: during(long, Kind.HTTP_5XX_HAPROXY, nova_public), Cause.LOAD_BALANCER),
    "one instance": (CLOUD, lambda long: during(long, Kind.REFUSED, lambda one: one.via == A), Cause.INSTANCE),
    "all instances": (CLOUD, lambda long: during(long, Kind.HTTP_5XX_SERVICE, nova), Cause.SERVICE),
    "restart": (CLOUD, restart, Cause.SERVICE),
    "draining": (
        CLOUD,
        lambda long: during(long, Kind.RESET, lambda one: nova(one) and one.mode == "kept"),
        Cause.DRAINING,
    ),
    "token": (CLOUD, lambda long: during(long, Kind.UNAUTHORIZED, lambda one: one.auth), Cause.TOKEN),
    "no first byte": (
        CLOUD,
        lambda long: during(long, Kind.TIMEOUT, lambda one: nova(one) and one.mode == "new"),
        Cause.WORKERS,
    ),
    "syn lost": (CLOUD, lambda long: silent_from(nova, long), Cause.SYN_LOST),
    "observer": (CLOUD, lambda long: silent_from(lambda _one: True, long), Cause.OBSERVER),
    "path": (
        TWO_HOSTS,
        lambda long: silent_from(lambda one: nova_public(one) and one.mode == "new" and one.host == HERE, long),
        Cause.PATH,
    ),
    "flow": (
        CLOUD,
        lambda long: during(long, Kind.FLOW_BROKEN, lambda one: one.mode == "stream"),
        Cause.FLOW,
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_table(row: str) -> None:
    """A fault that lasts is put down to its cause in every lane that sees it, with a sentence about the evidence."""
    places, fault, cause = ROWS[row]
    found = told(places, fault(2.0))

    assert found
    assert {(place, one.cause) for place, one in found} == {(place, cause) for place, _one in found}
    assert all(one.why.endswith(".") and len(one.why) > 20 for _place, one in found)


def guessed(found: Told, right: set[Cause], seconds: float) -> list[Attribution]:
    """What is said and is not so. That nobody was without an answer for longer is true of a fault that was shorter."""

    def bounded(one: Attribution) -> bool:
        bound = re.search(r"for more than (\d+\.\d+) s", one.why)
        return one.cause is Cause.INSTANCE and bound is not None and float(bound[1]) >= seconds

    return [one for _place, one in found if one.cause not in right and not bounded(one)]


@pytest.mark.no_cover
@settings(max_examples=150, deadline=None)
@given(row=st.sampled_from(sorted(ROWS)), seconds=st.floats(0.002, 4.0), seed=st.integers(0, 1 << 32))
def test_no_cause_is_guessed(row: str, seconds: float, seed: int) -> None:
    """However short a fault is, no lane is told a wrong cause: the right one, that it cannot be told, or a bound."""
    places, fault, cause = ROWS[row]
    if row == "restart":
        # Who cuts connections and serves again in less time has not drained them: then both are true.
        seconds = max(seconds, 0.01)

    assert guessed(told(places, fault(seconds), seed), {cause, Cause.UNDETERMINED}, seconds) == []


@pytest.mark.no_cover
@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.sampled_from(sorted(set(ROWS) - {"path"})), min_size=2, max_size=2, unique=True),
    seconds=st.floats(0.1, 3.0),
    seed=st.integers(0, 1 << 32),
)
def test_faults_at_once_are_not_mistaken_for_others(rows: list[str], seconds: float, seed: int) -> None:
    """Of two faults at once each outage is put down to one of them, or to none."""
    first, second = (ROWS[row][1](seconds) for row in rows)
    found = told(CLOUD, lambda *asked: first(*asked) or second(*asked), seed)
    right = {ROWS[row][2] for row in rows} | {Cause.UNDETERMINED}
    if right & {Cause.WORKERS, Cause.SYN_LOST, Cause.OBSERVER}:
        # They take all instances down, which is what can still be said when another fault blurs how.
        right.add(Cause.SERVICE)

    assert guessed(found, right, seconds) == []


def test_load_balancer_does_not_evict() -> None:
    """Some requests fail again and again, with answers in between, while one instance is down and another one good."""
    found = told(CLOUD, one_in_two)

    published = [one.cause for place, one in found if place.via == "public"]
    # At the edges it is not proved that the instance was down already, or still.
    assert set(published) <= {Cause.EVICTION, Cause.UNDETERMINED}
    assert published.count(Cause.EVICTION) > len(published) / 2
    # The instance's absence was no survived failover: users felt it.
    assert {one.cause for place, one in found if place.via == A} == {Cause.UNDETERMINED}


def test_a_short_failover_is_survived_as_far_as_was_asked() -> None:
    """An instance is away for less than the time between two requests of users: none failed, and that bound is told."""
    found = told(CLOUD, during(0.15, Kind.REFUSED, lambda one: one.via == A))

    away = [one for place, one in found if place.via == A]
    assert {one.cause for one in away} == {Cause.INSTANCE}
    assert any(re.search(r"for more than 0\.[1-4]\d s", one.why) for one in away), [one.why for one in away]


def test_one_failed_request_is_not_enough_for_eviction() -> None:
    """A single failure while an instance is away may be anything."""
    counted: list[int] = []

    def fault(place: Place, moment: float, number: int) -> Kind | None:
        if place == Place("nova", "public", "new") and moment > FAULT + 1 and not counted:
            counted.append(number)
            return Kind.HTTP_5XX_HAPROXY
        return Kind.REFUSED if nova(place) and place.via == A and FAULT <= moment < FAULT + 3 else None

    (blip,) = (one for place, one in told(CLOUD, fault) if place.via == "public")
    assert blip.cause is Cause.UNDETERMINED


def test_canary_that_was_silent_excuses_silence_only() -> None:
    """Silence is the observer's own while its host does not answer itself; a refusal is not."""
    unfit = {HERE: [(T0 + FAULT - 0.5, T0 + FAULT + 3)]}
    part = {HERE: [(T0 + FAULT + 0.5, T0 + FAULT + 3)]}
    silence = told(CLOUD, silent_from(nova_public), unfit=unfit)
    refusal = told(CLOUD, during(2, Kind.REFUSED, nova_public), unfit=unfit)
    elsewhere = told(CLOUD, silent_from(nova_public), unfit={THERE: unfit[HERE]})
    partly = told(CLOUD, silent_from(nova_public), unfit=part)

    assert {one.cause for _place, one in silence} == {Cause.OBSERVER}
    assert {one.cause for _place, one in refusal} == {Cause.LOAD_BALANCER}
    assert {one.cause for _place, one in [*elsewhere, *partly]} == {Cause.LOAD_BALANCER}


@pytest.mark.parametrize(("stopped", "cause"), [(True, "observer"), (False, "no_first_byte")])
def test_reader_knows_of_the_canary(stopped: bool, cause: str, server: Any, sample: Any) -> None:
    """Silence for which the sampler's own excuse came too late is put down to the observer by its log."""
    canary = start_canary()

    def story() -> None:
        time.sleep(0.5)
        if stopped:
            os.kill(canary[1], signal.SIGSTOP)
        time.sleep(0.15)
        server.answer = server.silent
        # The patience with the target is shorter here than that with the canary.
        time.sleep(0.2)
        server.answer = server.fine
        time.sleep(0.5)
        os.kill(canary[1], signal.SIGCONT)
        time.sleep(0.5)

    specs = api_lanes([{"name": "t", "url": server.url}], ["new"], 50)
    (seen,) = sample(specs, story, timeout=0.1, canary=canary)

    assert {outage.cause for outage in seen.outages} == {cause}


def test_what_the_canary_proved_stays() -> None:
    """A later look that knows nothing of the canary keeps what an earlier one has found by it."""
    seen = observe(CLOUD[0], during(2, Kind.CONNECT_TIMEOUT, lambda _one: True), random.Random(1))
    (outage,) = seen.outages
    marked = replace(seen, outages=(replace(outage, cause=Cause.OBSERVER, why="The canary."),))

    assert attribute([(HERE, marked)]) == [[Attribution(Cause.OBSERVER, "The canary.")]]


def test_silence_of_all_apis_without_another_view_is_undetermined() -> None:
    """Without the data plane and without a second host nobody knows whether it was the cloud or the way to it."""
    found = told([*api("keystone"), *api("nova")], silent_from(lambda _one: True))

    assert {one.cause for _place, one in found} == {Cause.UNDETERMINED}
    assert "nothing tells" in found[0][1].why


def test_silence_of_all_apis_while_another_host_was_answered_is_the_observers() -> None:
    """A second host that was answered proves that the cloud was there."""
    places = [*api("nova"), *api("keystone"), *api("nova", THERE), *api("keystone", THERE)]
    found = told(places, silent_from(lambda one: one.host == HERE))

    assert {one.cause for _place, one in found} == {Cause.OBSERVER}
    assert THERE in found[0][1].why


def test_silence_seen_from_two_hosts_is_not_the_observers() -> None:
    """What two hosts miss at the same time lies with neither of them."""
    found = told(TWO_HOSTS, silent_from(lambda _one: True))

    assert {one.cause for _place, one in found} == {Cause.UNDETERMINED}


def test_refusals_of_everything_are_not_the_observers() -> None:
    """Who is refused has a network that works."""
    found = told([*api("keystone"), *api("nova")], during(2, Kind.REFUSED, lambda _one: True))

    assert {one.cause for _place, one in found} == {Cause.SERVICE}


def test_refusal_at_one_host_only_is_not_its_path() -> None:
    """Another host that is answered does not make a refusal a matter of packets: it may be another instance's turn."""
    fault = during(2, Kind.REFUSED, lambda one: one.service == "guest" and one.mode == "http" and one.host == HERE)

    assert {one.cause for _place, one in told(TWO_HOSTS, fault)} == {Cause.UNDETERMINED}


def test_hanging_at_one_host_only_is_not_its_path() -> None:
    """Who got a connection has a path: that another host is answered may be another instance's doing."""
    fault = during(2, Kind.TIMEOUT, lambda one: one.service == "guest" and one.mode == "http" and one.host == HERE)

    assert {one.cause for _place, one in told(TWO_HOSTS, fault)} == {Cause.WORKERS}


def test_silent_load_balancer_with_a_good_instance_is_not_the_workers() -> None:
    """Connections that are accepted in vain say nothing of the workers while an instance answers."""
    fault = during(2, Kind.TIMEOUT, lambda one: nova_public(one) or (nova(one) and one.via == A))
    found = {place: one.cause for place, one in told(CLOUD, fault)}

    assert found[Place("nova", "public", "new")] is Cause.UNDETERMINED


def test_error_on_a_kept_connection_is_not_yet_a_lack_of_draining() -> None:
    """One error over a kept connection, with nothing asked over a new one meanwhile, may be the service's."""
    failed: list[float] = []

    def fault(place: Place, moment: float, number: int) -> Kind | None:
        if place == Place("nova", "public", "kept") and moment > FAULT and number >= 0 and not failed:
            failed.append(moment)
            return Kind.HTTP_5XX_SERVICE
        return None

    assert [one.cause for _place, one in told(CLOUD, fault)] == [Cause.UNDETERMINED]


def test_single_target_that_is_silent_is_undetermined() -> None:
    """Of one URL alone nobody can say whether it, or the way to it, was silent."""
    found = told([Place("", "", "new")], silent_from(lambda _one: True))

    assert [one.cause for _place, one in found] == [Cause.UNDETERMINED]
    assert "nothing else was watched" in found[0][1].why


def test_instance_whose_published_endpoint_was_not_watched() -> None:
    """Nobody knows whether users felt it."""
    places = [place for place in CLOUD if not nova_public(place)]
    fault = during(2, Kind.REFUSED, lambda one: nova(one) and one.via == A)

    assert {one.cause for _place, one in told(places, fault)} == {Cause.UNDETERMINED}


def test_endpoint_that_was_not_sampled_meanwhile_is_not_good() -> None:
    """A published endpoint without an answer in that time was not up: nobody looked."""
    source = random.Random(1)
    fault = during(2, Kind.REFUSED, lambda one: nova(one) and one.via == A)
    seen = [(place.host, observe(place, fault, source)) for place in CLOUD]
    hole = (T0 + FAULT - 0.5, T0 + FAULT + 3)
    blind = [(host, replace(one, gaps=(*one.gaps, hole)) if one.target.via == "public" else one) for host, one in seen]

    assert {one.cause for found in attribute(seen) for one in found} == {Cause.INSTANCE}
    assert {one.cause for found in attribute(blind) for one in found} == {Cause.UNDETERMINED}


def test_endpoint_watched_later_is_not_good() -> None:
    """What began to be watched after an outage says nothing about it."""
    source = random.Random(1)
    fault = during(2, Kind.REFUSED, lambda one: nova(one) and one.via == A)
    seen = [(place.host, observe(place, fault, source)) for place in CLOUD]
    late = [(host, replace(one, begin=T0 + FAULT + 5) if one.target.via == "public" else one) for host, one in seen]

    assert {one.cause for found in attribute(late) for one in found} == {Cause.UNDETERMINED}


def test_token_lanes_that_fail_with_keystone() -> None:
    """A service that answers without a token and fails with one, while keystone is down, lacks keystone."""

    def fault(place: Place, moment: float, _number: int) -> Kind | None:
        hit = place.service == "keystone" or (nova(place) and place.auth)
        return Kind.HTTP_5XX_SERVICE if hit and FAULT <= moment < FAULT + 2 else None

    found = {place: one.cause for place, one in told(CLOUD, fault)}
    assert found[Place("nova", "public", "new", auth=True)] is Cause.TOKEN
    assert found[Place("keystone", "public", "new")] is Cause.SERVICE


def test_one_request_with_a_token_that_fails_with_keystone() -> None:
    """A single failed request of a lane that is asked seldom is put down to keystone, if that was down all through."""
    source = random.Random(3)
    seldom = Place("nova", "public", "new", auth=True)

    failed: list[int] = []

    def fault(place: Place, moment: float, number: int) -> Kind | None:
        if place == seldom and FAULT + 0.3 <= moment < FAULT + 2.7 and failed in ([], [number]):
            failed[:] = [number]
            return Kind.HTTP_5XX_SERVICE
        down = place.service == "keystone" and FAULT <= moment < FAULT + 3
        return Kind.HTTP_5XX_SERVICE if down else None

    seen = [(one.host, observe(one, fault, source, (1000 if one == seldom else 100) * MS)) for one in CLOUD]
    (alone,) = (one for _host, one in seen if one.target.service == "nova" and one.outages)
    (outage,) = alone.outages
    assert outage.begin_high > outage.end_low, "there was to be one failure only"

    assert [one.cause for one in attribute(seen)[CLOUD.index(seldom)]] == [Cause.TOKEN]


def test_token_lanes_that_fail_with_what_keystone_does_for_tokens() -> None:
    """Keystone may show its versions and still be unable to validate a token: its own lane with one tells."""
    found = told(CLOUD, during(2, Kind.HTTP_5XX_SERVICE, lambda one: one.auth and one.service in ("keystone", "nova")))

    assert dict(found)[Place("nova", "public", "new", auth=True)].cause is Cause.TOKEN
    assert dict(found)[Place("keystone", "public", "new", auth=True)].cause is Cause.UNDETERMINED


def test_token_lanes_that_fail_by_themselves() -> None:
    """An error of the service to what needs a token and its database may come from either."""
    found = told(CLOUD, during(2, Kind.HTTP_5XX_SERVICE, lambda one: nova(one) and one.auth))

    assert {one.cause for _place, one in found} == {Cause.UNDETERMINED}


def test_targets_of_an_older_log_have_no_token() -> None:
    """An observation whose target does not know of tokens is a plain one."""

    @dataclass
    class Old:
        name: str = "nova public"
        service: str = "nova"
        via: str = "public"
        mode: str = "new"

    seen = observe(Place("nova", "public", "new"), during(2, Kind.REFUSED, lambda _one: True), random.Random(1))

    ((one,),) = attribute([(HERE, replace(seen, target=Old()))])
    assert one.cause is Cause.UNDETERMINED


def test_nothing_seen_nothing_said() -> None:
    """Without outages there are no causes."""
    assert told(CLOUD, lambda *_asked: None) == []
    assert attribute([]) == []
