"""What the ring reports: facts for the owner's inbox, and the values they carry."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.events import Fact
from edge_agent.model import Role
from edge_agent.seal.record import Tip


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """What is known of a segment without reading it; the times once its index is at hand."""

    number: int
    size: int
    from_us: int | None = None
    to_us: int | None = None
    streams: int = 0


@dataclass(frozen=True, slots=True)
class RingCounters:
    """What an operator can see of the queue discipline. Bytes and counts since start."""

    waiting_bytes: int
    refused: int
    written_bytes: int
    syncs: int
    faults: int
    longest_sync_ms: float


@dataclass(frozen=True, slots=True)
class RingOpened(Fact):
    """The ring is listed and records into `next_segment`. Nothing was read of older segments."""

    role: Role
    segments: int
    held_bytes: int
    clean: bool  # the run before ended by a clean stop
    next_segment: int


@dataclass(frozen=True, slots=True)
class RingScanned(Fact):
    """The background scan is through: what older segments hold, and what of them is damaged."""

    role: Role
    segments: int
    damaged_ranges: int
    damaged_bytes: int


@dataclass(frozen=True, slots=True)
class RingSynced(Fact):
    """Everything up to these tips survives a power cut. Only these may be named in a signed mark."""

    role: Role
    tips: tuple[Tip, ...]
    synced_bytes: int
    took_ms: float


@dataclass(frozen=True, slots=True)
class RingFaulted(Fact):
    """Writing or syncing failed. Its file is never touched again; the unsynced records wait in RAM."""

    role: Role
    reason: str
    segment: int
    waiting_bytes: int
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class RingRecovered(Fact):
    """Writing works again, in a new segment that begins with the records that had waited."""

    role: Role
    segment: int
    down_s: float


@dataclass(frozen=True, slots=True)
class EvictionDue(Fact):
    """A segment is to be unlinked. Make its ledger leaf durable, then call `allow_eviction(number)`."""

    role: Role
    segment: SegmentInfo
    reason: str


@dataclass(frozen=True, slots=True)
class SegmentEvicted(Fact):
    """The segment is gone. `acknowledged` is False when the leaf did not become durable in time."""

    role: Role
    segment: SegmentInfo
    acknowledged: bool
