"""Performs the plan's evictions: announce, wait for the leaf, unlink. Ring thread but `allow`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from edge_agent.clock import Clock
from edge_agent.events import Inbox
from edge_agent.model import Instant, Role
from edge_agent.ring.catalogue import Catalogue
from edge_agent.ring.facts import EvictionDue, SegmentEvicted
from edge_agent.ring.layout import index_name, segment_name
from edge_agent.ring.plan import AgeGuard, Announce, Condemned, Disk, RingPolicy, Segment, Unlink, evict
from edge_agent.ring.store import Store

log = logging.getLogger(__name__)

STEPS_A_CALL = 16  # a budget cut to a tenth condemns thousands: recording must not wait for all of them


class Evictor:
    """Two steps with a pause between them: the ledger's leaf must be durable before the footage goes (I6)."""

    def __init__(
        self, role: Role, store: Store, catalogue: Catalogue, policy: RingPolicy, clock: Clock, inbox: Inbox
    ) -> None:
        self._role = role
        self._store = store
        self._catalogue = catalogue
        self._policy = policy
        self._clock = clock
        self._inbox = inbox
        self._guard = AgeGuard()
        self._condemned: dict[int, Condemned] = {}
        self._allowed: set[int] = set()  # added to by the owner, taken from by the ring thread
        self._inherited: frozenset[int] = frozenset()

    def inherit(self, numbers: Iterable[int]) -> None:
        """Segments of runs before this one: their times are what the clock is first judged by (I7)."""
        self._inherited = frozenset(numbers)

    def allow(self, number: int) -> None:
        """The leaf that says this segment goes is durable. Any thread; unknown numbers are ignored."""
        self._allowed.add(number)

    def make_room(self) -> bool:
        """Bring the ring within its policy, a bounded number of steps a call; True when more are left.

        Raises OSError when unlinking or its sync fails.
        """
        now = self._clock.now()
        segments = self._catalogue.segments()
        self._guard = self._judge_clock(segments, now)
        marks = {n: replace(c, allowed=n in self._allowed) for n, c in self._condemned.items()}
        disk = Disk(self._store.free_bytes(), marks)
        steps = evict(segments, disk, self._policy, self._guard, now)
        for step in steps[:STEPS_A_CALL]:
            if isinstance(step, Announce):
                self._announce(step, now)
                if not self._policy.await_leaf:
                    self._unlink(Unlink(step.segment, False), now)
            else:
                self._unlink(step, now)
        return len(steps) > STEPS_A_CALL

    def _judge_clock(self, segments: Sequence[Segment], now: Instant) -> AgeGuard:
        """Against itself, and once against the footage of earlier runs, when all of it is indexed."""
        known = self._guard.checked or self._inherited.isdisjoint(self._catalogue.unread())
        inherited = [s for s in segments if s.number in self._inherited]
        return self._guard.observe(now, inherited, known=known)

    def _announce(self, step: Announce, now: Instant) -> None:
        """Step E1; E2 is the wait until `allow`, or the plan's patience."""
        number = step.segment.number
        self._condemned[number] = Condemned(now.boot_ns, step.reason)
        if step.reason.by_age:
            self._guard = self._guard.spend(now)
        self._inbox.put(EvictionDue(now, self._role, self._catalogue.info(number), step.reason.value))

    def _unlink(self, step: Unlink, now: Instant) -> None:
        """Steps E3, E4. Index first: one without its segment is litter, the other way round is only slow."""
        number = step.segment.number
        info = self._catalogue.info(number)
        self._store.unlink(index_name(number))
        self._store.unlink(segment_name(number))  # E3
        self._store.sync_directory()  # E4
        self._condemned.pop(number, None)
        self._allowed.discard(number)
        self._catalogue.forget(number)
        if self._policy.await_leaf and not step.acknowledged:
            log.warning("%s ring: segment %d evicted before its ledger leaf was durable", self._role, number)
        self._inbox.put(SegmentEvicted(now, self._role, info, step.acknowledged))
