"""The owner's side of the rings: what was synced, what is evicted, what is covered. Main thread only."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING, Any

from edge_agent.agent.outages import outages
from edge_agent.agent.reports import base64_text
from edge_agent.events import Fact
from edge_agent.ledger import leaf
from edge_agent.ledger.leaf import tips_root
from edge_agent.model import Instant, Role, StreamKey
from edge_agent.ring.facts import (
    EvictionDue,
    RingFaulted,
    RingOpened,
    RingRecovered,
    RingScanned,
    RingSynced,
)
from edge_agent.ring.reader import RingStat
from edge_agent.seal.record import Record, Tip
from edge_agent.seal.tips import TipsSealer, tips_size

if TYPE_CHECKING:
    from edge_agent.agent.journal import Journal
    from edge_agent.agent.parts import Parts

log = logging.getLogger(__name__)

# A camera that flaps all day must not make a reply too long to send: 64 KB, and a reason takes 1 KB of it.
MAX_SPANS = 250
MAX_REASONS = 20
MAX_OUTAGES = 40
MAX_TEXT = 160


class Footage:
    def __init__(self, parts: Parts, journal: Journal) -> None:
        self._parts = parts
        self._journal = journal
        self._tips: dict[tuple[bytes, bytes], Tip] = {}  # by stream and epoch, since the last mark
        self._newest: dict[bytes, bytes] = {}  # stream -> the epoch that runs
        self._tips_sealer = TipsSealer(parts.box.box_id, parts.boot_id)
        self._faults: dict[Role, str] = {}
        self._stats: dict[Role, RingStat] = {}
        self.free_bytes = 0  # of the footage disk, as of the last `look`
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

    @property
    def figures(self) -> dict[Role, RingStat]:
        """As of the last `look`."""
        return self._stats

    def records(self, role: Role) -> bool:
        """Is this role's stream kept on disk, or only in RAM for live view?"""
        if self._parts.still_sealer is None:
            return False
        capture = self._parts.config.capture
        return capture.main == "record" if role is Role.MAIN else capture.sub == "record"

    def stream_lost(self, stream: bytes | None, role: Role) -> None:
        if stream is not None and role in self._parts.rings:
            self._parts.rings[role].end_stream(stream)

    def mark(self, now: Instant) -> bytes:
        """One hash over what every stream and epoch has synced, for the minute mark.

        The list behind it goes into the main ring, so that the mark can be checked against footage later.
        Epochs that have ended are named once more and then forgotten.
        """
        tips = sorted(self._tips.values())
        self._keep_list(tips, now)
        self._tips = {key: tip for key, tip in self._tips.items() if self._newest[key[0]] == key[1]}
        return tips_root(leaf.Tip(t.stream, t.epoch, t.n, t.digest) for t in tips)

    def _keep_list(self, tips: list[Tip], now: Instant) -> None:
        ring = self._parts.rings.get(Role.MAIN)
        if ring is not None and tips and ring.reserve(Role.MAIN, tips_size(len(tips))):
            ring.put(StreamKey("tips", Role.MAIN), self._tips_sealer.seal(tips, now))  # sealed is not dropped

    @property
    def durable(self) -> bool:
        """Has any footage reached the disk?"""
        return bool(self._tips)

    def coverage(
        self,
        stream: bytes,
        camera: str,
        from_us: int,
        to_us: int,
        then: Callable[[dict[str, Any]], None],
        failed: Callable[[str], None],
    ) -> None:
        """Ask the disk what is recorded, and disk and ledger why the rest is not (docs/protocol.md)."""
        reader, ledger = self._parts.reader, self._parts.ledger.log

        def read() -> dict[str, Any]:
            spans = reader.coverage(stream, from_us, to_us)
            until_us = to_us if len(spans) <= MAX_SPANS else spans[MAX_SPANS].from_us
            gaps = reader.gaps(stream, from_us, until_us)
            told = reader.stated(stream, from_us, until_us) if any(g.stated for g in gaps) else []
            known = outages(ledger.entries, ledger.size, camera, from_us, until_us)
            return {
                "until": until_us,
                "spans": [[s.from_us, s.to_us] for s in spans[:MAX_SPANS]],
                "gaps": [[g.from_us, g.to_us] for g in gaps],
                "reasons": [[_text(key), _text(gap)] for key, gap in told[-MAX_REASONS:]],
                "outages": [
                    [o.from_us, o.to_us, o.kind.value, o.text[:MAX_TEXT]] for o in known[-MAX_OUTAGES:]
                ],
            }

        self._parts.chores.ask(read, then, failed)

    def look(self) -> None:
        """Read the rings' figures again, off the main thread."""
        directory = self._parts.config.ring.directory
        self._parts.chores.ask(
            lambda: (self._parts.reader.stat(), shutil.disk_usage(directory).free),
            self._looked,
            lambda why: log.warning("ring: %s", why),
        )

    def _looked(self, found: tuple[tuple[RingStat, ...], int]) -> None:
        stats, self.free_bytes = found
        self._stats = {stat.role: stat for stat in stats}

    def tick(self) -> None:
        """Let go of the segments whose eviction is noted durably."""
        for due, noted in self._leaving:
            if noted.is_set():
                self._parts.rings[due.role].allow_eviction(due.segment.number)
        self._leaving = [(due, noted) for due, noted in self._leaving if not noted.is_set()]

    def status(self) -> dict[str, dict[str, Any]]:
        return {role.value: self._ring_status(role) for role in self._parts.rings}

    def _ring_status(self, role: Role) -> dict[str, Any]:
        stat = self._stats.get(role)
        counters = self._parts.rings[role].counters()
        return {
            "bytes": stat.held_bytes if stat else 0,
            "max_bytes": self.budget(role),
            "segments": stat.segments if stat else 0,
            "oldest_us": stat.oldest_us if stat else None,
            "days": round(stat.days, 3) if stat else 0.0,
            "damaged_ranges": stat.damaged_ranges if stat else 0,
            "fault": self._faults.get(role, ""),
            "refused": counters.refused,
            "faults": counters.faults,
        }

    def budget(self, role: Role) -> int:
        ring = self._parts.config.ring
        return ring.main.max_bytes if role is Role.MAIN else ring.sub.max_bytes

    def _opened(self, fact: RingOpened) -> None:
        self.opened.add(fact.role)
        self._journal.ring_opened(fact)

    def _synced(self, fact: RingSynced) -> None:
        for tip in fact.tips:
            self._tips[tip.stream, tip.epoch] = tip
            self._newest[tip.stream] = tip.epoch

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


def _text(record: Record) -> str:
    return base64_text(record.raw)
