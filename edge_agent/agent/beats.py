"""What the owner does by the monotonic clock: heartbeat, minute mark, watchdog, sign of life, clock watch."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edge_agent.agent.journal import MARKS
from edge_agent.model import Instant

if TYPE_CHECKING:
    from edge_agent.agent.owner import Owner

log = logging.getLogger(__name__)

MARK_EVERY_S = 60.0
LOOK_EVERY_S = 30.0
STEP_S = 2.0  # NTP slews less; a larger jump of the wall clock is a fact
DECLARE_S = 30.0  # no footage after so long: say that we are ready all the same, and why


class Beats:
    """Main thread only."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        now = owner.parts.clock.monotonic()
        self._started = now
        self._next_heartbeat = now
        self._next_mark = now + MARK_EVERY_S
        self._next_pet = self._next_look = now
        self._offset_us: int | None = None
        self._ready = False

    def tick(self) -> None:
        now = self._owner.parts.clock.now()
        seconds = now.boot_ns / 1e9
        self._watch_clock(now)
        self._pet(seconds)
        self._owner.footage.tick()
        self._owner.parts.alive.beat(now)
        if seconds >= self._next_mark:
            self._next_mark = seconds + MARK_EVERY_S
            self._mark(now)
            for gap in self._owner.gaps.tell():
                self._owner.journal.gap(gap)
        if seconds >= self._next_look:
            self._next_look = seconds + LOOK_EVERY_S
            self._owner.footage.look()
        if seconds >= self._next_heartbeat:
            self._next_heartbeat = seconds + self._owner.parts.config.uplink.heartbeat_s
            self._owner.link.heartbeat()

    def soon(self) -> None:
        """A heartbeat at the next tick: the link came up."""
        self._next_heartbeat = 0.0

    def _mark(self, now: Instant) -> None:
        """One small leaf a minute that binds every stream's records and every camera's state."""
        owner = self._owner
        segments = [ring.segment_number for ring in owner.parts.rings.values()]
        cameras = [MARKS[w.health.state] for w in owner.cameras]
        owner.journal.mark(segments, owner.parts.ledger.acknowledged.beacon, cameras, owner.footage.mark(now))

    def _watch_clock(self, now: Instant) -> None:
        offset = now.wall_us - now.boot_ns // 1000
        if self._offset_us is not None and abs(offset - self._offset_us) > STEP_S * 1e6:
            step_s = (offset - self._offset_us) / 1e6
            log.warning("the wall clock was stepped by %.1f s", step_s)
            self._owner.journal.clock_step(step_s, int(now.trust))
            self._owner.night.clock_stepped(now, step_s)
        self._offset_us = offset

    def _pet(self, seconds: float) -> None:
        """READY once footage is durable or the site is known to be dark; then alive while all workers are."""
        parts = self._owner.parts
        if not self._ready and (self._owner.footage.durable or seconds - self._started > DECLARE_S):
            self._ready = True
            parts.notifier.ready(self._summary())
        if (every_s := parts.notifier.pet_every_s) is None or seconds < self._next_pet:
            return
        self._next_pet = seconds + every_s
        stuck = parts.supervisor.stuck()
        if stuck:
            log.error("not beating: %s; the watchdog is left to act", ", ".join(stuck))
        else:
            parts.notifier.alive()
            parts.notifier.status(self._summary())

    def _summary(self) -> str:
        states = [w.health.state.value for w in self._owner.cameras]
        seeing = states.count("up")
        return f"{seeing} of {len(states)} cameras seeing; {self._owner.link.summary()}"
