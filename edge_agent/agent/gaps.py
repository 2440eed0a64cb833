"""Pauses in recording, told once a minute: one leaf a stream however often a camera flaps. Pure.

The sealed gap records in the ring say the same to the millisecond; this is what the command centre has even
when the footage is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_agent.events import StreamLost, StreamStarted
from edge_agent.model import Instant, StreamKey


@dataclass(frozen=True, slots=True)
class Gap:
    """What one stream missed since the last telling: `count` pauses in [since, until], `lost_s` in all."""

    key: StreamKey
    count: int
    since: Instant
    until: Instant
    lost_s: float
    reason: str


@dataclass(slots=True)
class Gaps:
    """Feed it the streams' facts; `tell` returns what ended since it was last asked. Main thread only."""

    _open: dict[StreamKey, StreamLost] = field(default_factory=dict)
    _ended: dict[StreamKey, Gap] = field(default_factory=dict)

    def lost(self, fact: StreamLost) -> None:
        """Failed attempts repeat the fact: the first one of a pause counts."""
        self._open.setdefault(fact.key, fact)

    def started(self, fact: StreamStarted) -> None:
        lost = self._open.pop(fact.key, None)
        if lost is None:
            return
        seconds = max(0.0, (fact.at.boot_ns - lost.since.boot_ns) / 1e9)
        before = self._ended.get(fact.key)
        self._ended[fact.key] = Gap(
            fact.key,
            before.count + 1 if before else 1,
            before.since if before else lost.since,
            fact.at,
            (before.lost_s if before else 0.0) + seconds,
            lost.reason,
        )

    def tell(self) -> list[Gap]:
        ended, self._ended = self._ended, {}
        return [ended[key] for key in sorted(ended)]
