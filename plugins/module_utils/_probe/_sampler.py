# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The loop: sends every probe at its planned moment whatever the earlier ones do, and records what came of each.

One thread, one epoll. Nothing in it may block: names are resolved before, the log is written once a turn, and what
needs the disk's patience (sync, status file) is handed to another thread by the caller.
"""

from __future__ import annotations

import heapq
import itertools
import random
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._canary import CanaryLane
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._echo import EchoLane, EchoSocket
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._flow import FlowLane
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._lane import (
    IN_FLIGHT_CAP,
    Handler,
    Lane,
    Looker,
    Probe,
    keep_stamping,
    monotonic_ns,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._log import SAMPLE, LogWriter, pack_nearest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import (
    FLAG_BURST,
    UNANSWERED,
    Kind,
    LaneSpec,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._stream import StreamLane
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._timing import (
    SECOND,
    Waiter,
    read_clocks,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._tokens import TokenFeed, TokenLane

STALL = 100_000_000
"""Nanoseconds by which a turn may be late before failures in flight are put down to the observer itself."""
TICK = SECOND // 5
HOLD = 10_000_000
"""Nanoseconds for which samples may wait to be written together with those of the next turns."""

NAP = 2_000_000
"""Nanoseconds for which answers may wait to be read together with what is sent next: the kernel has stamped them."""
CALM = SECOND
"""Nanoseconds after an alarm from which on that is done again."""

NEVER = 1 << 62
"""A moment that no clock reaches."""

_UP = Kind.UP


class Sampler:
    """Runs lanes. ``turn`` is one turn of the loop; counters are for the status file."""

    def __init__(
        self,
        specs: Sequence[LaneSpec],
        log: LogWriter,
        *,
        timeout: float,
        tls: ssl.SSLContext | None = None,
        canary: tuple[Any, int] | None = None,
        tokens: socket.socket | None = None,
        source: random.Random | None = None,
    ) -> None:
        self._log = log
        self._timeout = int(timeout * SECOND)
        self._waiter = Waiter()
        self._stamping = keep_stamping()
        self._ready: dict[int, Callable[[int], None]] = {}
        self.looks: list[Looker] = []
        self._pending: deque[Probe] = deque()
        self._heap: list[tuple[int, int, Lane, int]] = []
        self._order = itertools.count()
        self._samples: list[bytes] = []
        self._base = self._now = monotonic_ns()
        self._stall_end = 0
        self._calm = 0
        self.hurried = 0
        self.napped_from = NEVER
        self.lateness = 0
        self.stall = 0
        self.local_error = 0
        self._echoes: dict[int, EchoSocket] = {}
        self.lanes = [self._lane(number, spec, tls) for number, spec in enumerate(specs)]
        self._canary = CanaryLane(len(specs), self, *canary) if canary else None
        bearers = [lane for lane in self.lanes if isinstance(lane, TokenLane)]
        self.tokens = TokenFeed(tokens, self, bearers) if tokens else None
        self._join_siblings()
        self._start(source or random.Random())  # noqa: S311 - jitter is no secret

    def _lane(self, number: int, spec: LaneSpec, tls: ssl.SSLContext | None) -> Lane:
        if spec.auth:
            return TokenLane(number, spec, self, tls)
        if spec.mode == "stream":
            return FlowLane(number, spec, self)
        if spec.mode != "icmp":
            return StreamLane(number, spec, self, tls)
        if spec.family not in self._echoes:
            self._echoes[spec.family] = EchoSocket(spec.family, self)
        return EchoLane(number, spec, self, self._echoes[spec.family])

    def _join_siblings(self) -> None:
        """What happens on one connection mode of an endpoint is a reason to look at all of them."""
        groups: dict[tuple[str, str], list[Lane]] = {}
        for lane in self.lanes:
            groups.setdefault((lane.spec.address, lane.spec.path), []).append(lane)
        for group in groups.values():
            for lane in group:
                lane.siblings = tuple(one for one in group if one.spec.bursts)

    def _start(self, source: random.Random) -> None:
        now = monotonic_ns()
        everyone = [*self.lanes, *([self._canary] if self._canary else [])]
        for place, lane in enumerate(everyone):
            lane.start(now, source, place / len(everyone))
            self._plan(lane.grid.next(), lane, 0)

    @property
    def in_flight(self) -> int:
        """Probes that are not answered yet."""
        return sum(lane.in_flight for lane in self.lanes)

    # What lanes ask for

    def watch(self, descriptor: int, mask: int, handler: Handler) -> None:
        """Call the handler at events of the descriptor."""
        self._ready[descriptor] = handler.ready
        self._waiter.register(descriptor, mask)

    def forget(self, descriptor: int) -> None:
        """The descriptor is about to be closed, which takes it out of epoll."""
        self._ready.pop(descriptor, None)

    def note_sign(self, lane: Lane, moment: int) -> None:
        """Record for all lanes of the target that it closed a connection. A burst's flag: none was planned."""
        for sibling in lane.siblings:
            probe = Probe(sibling, 0, moment, moment, FLAG_BURST)
            probe.sent = moment
            self._record(probe, Kind.CLOSED, moment, 0)

    def alarm(self, lane: Lane) -> None:
        """Something happened to the lane's target: begin bursts on all its lanes."""
        now = monotonic_ns()
        self._calm = now + CALM
        for sibling in lane.siblings:
            if sibling.burst.trigger(now) and self._heap:
                self._plan(now + sibling.burst.step(now), sibling, sibling.burst.number)

    def finish(self, probe: Probe, kind: Kind, end: int, status: int = 0) -> None:
        """The probe is over: count it, record it, look closer if it failed."""
        if probe.done:
            return
        probe.done = True
        probe.carrier = None
        lane = probe.lane
        lane.in_flight -= 1
        if probe.number > lane.latest:  # noqa: PLR1730 - max() costs as much as ten of these
            lane.latest = probe.number
        if kind is not _UP or probe.sent <= self._stall_end:
            kind = self._excuse(probe, kind, end)
        if kind is not _UP:
            self._failed(lane, probe, kind)
            if kind is Kind.VOID_LOCAL:
                self.local_error = status
        else:
            if not probe.flags & FLAG_BURST:
                lane.up += 1
            if lane.burst.active:
                lane.burst.saw(up=True)
            if lane.down_since and probe.sent > lane.down_since:
                lane.down_since = 0
        self._record(probe, kind, end, status)

    def _failed(self, lane: Lane, probe: Probe, kind: Kind) -> None:
        """Count, and look closer unless it is the observer that failed."""
        counted = not probe.flags & FLAG_BURST
        if kind.is_void:
            lane.void += counted
            return
        lane.down += counted
        lane.down_since = lane.down_since or probe.sent
        lane.last_kind = kind
        lane.burst.saw(up=False)
        lane.failed()
        self.alarm(lane)

    def _excuse(self, probe: Probe, kind: Kind, end: int) -> Kind:
        """A failure or a late answer that the observer's own trouble can have made is void."""
        late = kind is _UP and end - probe.sent > STALL
        if probe.sent <= self._stall_end and (kind.is_down or late):
            return Kind.VOID_STALL
        if kind in UNANSWERED and self._canary is not None and not self._canary.fit(probe.sent, end):
            return Kind.VOID_CANARY
        return kind

    def _record(self, probe: Probe, kind: Kind, end: int, status: int) -> None:
        if not self._samples:
            self._base = self._now
        sent, connected, secured, first = probe.sent, probe.connected, probe.secured, probe.first
        fields = (
            probe.lane.number,
            kind,
            probe.flags,
            status,
            (sent - probe.plan) >> 14,
            (sent - self._base) // 1000,
            (end - sent) // 1000 + 1,
            (connected - sent) // 1000 if connected else 0,
            (secured - sent) // 1000 if secured else 0,
            (first - sent) // 1000 if first else 0,
        )
        try:
            sample = SAMPLE.pack(*fields)
        except struct.error:
            sample = pack_nearest(fields)
        self._samples.append(sample)

    def _record_missed(self, lane: Lane, plan: int, kind: Kind, count: int) -> None:
        """Planned probes that were not sent; their number takes the place of the first-byte time."""
        lane.void += count
        if not self._samples:
            self._base = self._now
        self._samples.append(pack_nearest((lane.number, kind, 0, 0, 0, (plan - self._base) // 1000, 0, 0, 0, count)))

    # The loop

    def turn(self, until: int) -> int:  # noqa: C901 - every probe pays for each call in here
        """Wait for events, answers or the next planned moment, at most until then; returns the time it is."""
        heap, pending, ready = self._heap, self._pending, self._ready
        until = heap[0][0] if heap and heap[0][0] < until else until
        if pending and pending[0].deadline < until:
            until = pending[0].deadline
        if until - self._now < NAP and not self.hurried and self._now > self._calm:
            events = self._waiter.nap(until)
            self.napped_from = self._now
        else:
            self.napped_from = NEVER
            if self.looks:
                self._look()
            events = self._waiter.wait(until)
        self._now = now = monotonic_ns()
        if now - until > STALL:
            self._stall_end = now
            self.stall = max(self.stall, now - until)
        if self.looks:
            self._look()
        for descriptor, mask in events:
            handle = ready.get(descriptor)
            if handle is not None:
                handle(mask)
        while pending and (pending[0].done or pending[0].deadline <= now):
            probe = pending.popleft()
            if not probe.done:
                probe.lane.expire(probe)
        while heap and heap[0][0] <= now:
            self._send_next(now)
        # What the next turn brings may share a frame with the samples that wait, when it is near.
        if self._samples and not (heap and heap[0][0] - self._base < HOLD):
            self._write()
        return now

    def _look(self) -> None:
        looks, self.looks = self.looks, []
        for looker in looks:
            looker.look()

    def _write(self) -> None:
        samples, self._samples = self._samples, []
        if samples:
            self._log.write_samples(self._base, samples)

    def _plan(self, moment: int, lane: Lane, burst: int) -> None:
        """Wake up for the lane at that moment: for its grid (0), or for the burst of that number."""
        heapq.heappush(self._heap, (moment, next(self._order), lane, burst))

    def _send_next(self, now: int) -> None:
        """Send what is due, unless it is too late for that, and wake up for the lane's next moment."""
        plan, _order, lane, burst = self._heap[0]
        if burst:
            heapq.heappop(self._heap)
            if burst == lane.burst.number and lane.burst.active:
                self._send_burst(lane, plan, now)
            return
        late, grid = now - plan, lane.grid
        if late > self.lateness:  # noqa: PLR1730
            self.lateness = late
        in_time = late <= grid.grace
        if not in_time:
            self._record_missed(lane, plan, Kind.VOID_LATE, 1 + grid.skip(now))
        heapq.heapreplace(self._heap, (grid.next(), next(self._order), lane, 0))
        if in_time:
            self._launch(lane, plan, 0)

    def _send_burst(self, lane: Lane, plan: int, now: int) -> None:
        if lane.burst.may_send(now, lane.launched - lane.latest, lane.in_flight):
            self._launch(lane, plan, FLAG_BURST)
        self._plan(now + lane.burst.step(now), lane, lane.burst.number)

    def _launch(self, lane: Lane, plan: int, flags: int) -> None:
        if lane.in_flight >= IN_FLIGHT_CAP:
            if not flags:
                self._record_missed(lane, plan, Kind.VOID_CROWDED, 1)
            return
        lane.in_flight += 1
        lane.launched = number = lane.launched + 1
        probe = Probe(lane, number, plan, self._now + self._timeout, flags)
        self._pending.append(probe)
        lane.send(probe)

    def run(self, should_stop: Callable[[int], bool], each_second: Callable[[int], None]) -> int:
        """Sample until should_stop(now) says so, which is asked five times a second; returns when sending ended."""
        tick = monotonic_ns()
        second = tick + SECOND
        while True:
            now = self.turn(tick)
            if now >= tick:
                tick = now + TICK
                if should_stop(now):
                    return now
            if now >= second:
                second += SECOND * max(1, (now - second) // SECOND + 1)
                each_second(now)

    def drain(self) -> None:
        """Send nothing more and wait for what is under way."""
        self._heap = []
        while any(not probe.done for probe in self._pending):
            self.turn(self._pending[-1].deadline)
        self._write()

    def note_health(self) -> None:
        """Record the clocks and the loop's own health since the last time, and forget it."""
        self._log.write_clock(read_clocks(), self.lateness, self.stall, _run_delay(), self.in_flight)
        self.lateness = 0
        self.stall = 0

    def close(self) -> None:
        """Give every descriptor back."""
        for lane in self.lanes:
            lane.close()
        if self._canary is not None:
            self._canary.close()
        if self.tokens is not None:
            self.tokens.close()
        self._waiter.close()
        self._stamping.close()


def _run_delay() -> int:
    """Nanoseconds that this process has waited for a processor so far; 0 where the kernel does not tell."""
    try:
        with open("/proc/self/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
