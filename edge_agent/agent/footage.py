"""The owner's side of the rings: the sink that capture fills, what was synced, what is to be evicted.

`RingSink` is used in the capture thread; everything else here belongs to the main thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING, Any

from edge_agent.events import Fact
from edge_agent.ledger.leaf import Tip, tips_root
from edge_agent.model import Role, StreamKey
from edge_agent.ring.facts import (
    EvictionDue,
    RingFaulted,
    RingOpened,
    RingRecovered,
    RingScanned,
    RingSynced,
)
from edge_agent.ring.writer import RingWriter
from edge_agent.seal.record import Record

if TYPE_CHECKING:
    from edge_agent.agent.journal import Journal
    from edge_agent.agent.parts import Parts

log = logging.getLogger(__name__)


class RingSink:
    """Routes a record to the ring of its stream's role. Without a ring for a role, nothing is recorded."""

    def __init__(self, rings: dict[Role, RingWriter]) -> None:
        self._rings = rings

    def reserve(self, role: Role, size: int) -> bool:
        return self._rings[role].reserve(role, size)

    def put(self, key: StreamKey, record: Record) -> None:
        self._rings[key.role].put(key, record)


class Footage:
    def __init__(self, parts: Parts, journal: Journal) -> None:
        self._parts = parts
        self._journal = journal
        self._tips: dict[Role, tuple[Tip, ...]] = {}
        self._faults: dict[Role, str] = {}
        self._leaving: list[tuple[EvictionDue, Event]] = []
        self.opened: set[Role] = set()
        self.reactions: dict[type[Fact], Callable[..., None]] = {
            RingOpened: self._opened,
            RingScanned: self._journal.ring_scanned,
            RingSynced: self._synced,
            RingFaulted: self._faulted,
            RingRecovered: self._recovered,
            EvictionDue: self._eviction_due,
        }

    def records(self, role: Role) -> bool:
        """Is this role's stream kept on disk, or only in RAM for live view?"""
        if self._parts.still_sealer is None:
            return False
        capture = self._parts.config.capture
        return capture.main == "record" if role is Role.MAIN else capture.sub == "record"

    def stream_lost(self, stream: bytes | None, role: Role) -> None:
        if stream is not None and role in self._parts.rings:
            self._parts.rings[role].end_stream(stream)

    def tips(self) -> bytes:
        """One hash over every stream's newest synced record, for the minute mark."""
        return tips_root(tip for tips in self._tips.values() for tip in tips)

    @property
    def durable(self) -> bool:
        """Has any footage reached the disk?"""
        return any(self._tips.values())

    def tick(self) -> None:
        """Let go of the segments whose eviction is noted durably."""
        for due, noted in self._leaving:
            if noted.is_set():
                self._parts.rings[due.role].allow_eviction(due.segment.number)
        self._leaving = [(due, noted) for due, noted in self._leaving if not noted.is_set()]

    def status(self) -> dict[str, dict[str, Any]]:
        stats = self._parts.reader.stat()
        return {
            role.value: {
                "bytes": stats[role].bytes,
                "max_bytes": self.budget(role),
                "segments": stats[role].segments,
                "days": stats[role].days_held,
                "damaged": stats[role].damaged_ranges,
                "fault": self._faults.get(role, ""),
                "refused": ring.counters().refused,
            }
            for role, ring in self._parts.rings.items()
        }

    def budget(self, role: Role) -> int:
        ring = self._parts.config.ring
        return ring.main.max_bytes if role is Role.MAIN else ring.sub.max_bytes

    def _opened(self, fact: RingOpened) -> None:
        self.opened.add(fact.role)
        self._journal.ring_opened(fact)

    def _synced(self, fact: RingSynced) -> None:
        self._tips[fact.role] = tuple(Tip(t.stream, t.epoch, t.n, t.digest) for t in fact.tips)

    def _faulted(self, fact: RingFaulted) -> None:
        if fact.role not in self._faults:
            log.error("ring %s: %s; live view and watching go on", fact.role.value, fact.reason)
            self._journal.ring_faulted(fact)
        self._faults[fact.role] = fact.reason

    def _recovered(self, fact: RingRecovered) -> None:
        self._faults.pop(fact.role, None)
        log.warning("ring %s: records again after %.1f s", fact.role.value, fact.down_s)
        self._journal.ring_recovered(fact.role.value, fact.down_s)

    def _eviction_due(self, fact: EvictionDue) -> None:
        self._leaving.append((fact, self._journal.eviction(fact)))
