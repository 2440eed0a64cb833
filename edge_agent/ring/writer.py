"""The ring thread: the only one that writes, syncs and unlinks footage of its retention class.

docs/design/ring.md names the invariants (I1-I8) and the ordered steps that the comments here cite.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from threading import Event

from edge_agent.clock import Clock
from edge_agent.events import Inbox
from edge_agent.model import Role, StreamKey
from edge_agent.ring.catalogue import Catalogue
from edge_agent.ring.eviction import Evictor
from edge_agent.ring.facts import RingFaulted, RingOpened, RingRecovered, RingSynced
from edge_agent.ring.index import SegmentIndex
from edge_agent.ring.intake import Intake, Item, StreamEnd
from edge_agent.ring.layout import TIPS_NAME, SegmentHeader, index_name, segment_name
from edge_agent.ring.live import LiveStreams
from edge_agent.ring.plan import RingPolicy
from edge_agent.ring.store import Store, write_new
from edge_agent.ring.tips import encode_tips, load_tips
from edge_agent.seal.record import NO_DIGEST, Record, Tip
from edge_agent.supervisor import Beat

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 30.0
EVICT_EVERY_S = 5.0
POLL_S = 0.25  # how soon a stop or a pressed intake is seen


@dataclass(frozen=True, slots=True)
class RingCounters:
    """What an operator can see of the queue discipline. Bytes and counts since start."""

    waiting_bytes: int
    refused: int
    written_bytes: int
    syncs: int
    faults: int
    longest_sync_ms: float


@dataclass(slots=True)
class _OpenSegment:
    number: int
    file: int
    size: int
    opened: float
    index: SegmentIndex


class RingWriter:
    """One ring: intake for the capture side, one log of segments on disk. A supervised worker.

    Sealed records wait in RAM until `fdatasync` has returned; after an error they go verbatim into a new
    segment, and the file that failed is never touched again (I4). Memory is bounded by the byte credit.
    """

    def __init__(
        self,
        *,
        role: Role,
        directory: Path,
        policy: RingPolicy,
        box_id: bytes,
        run: bytes,
        clock: Clock,
        inbox: Inbox,
        store: Store | None = None,
    ) -> None:
        self.name = f"ring-{role.value}"
        self.role = role
        self.catalogue = Catalogue()
        self._policy = policy
        self._box = box_id[:16]
        self._run = run
        self._clock = clock
        self._inbox = inbox
        self._store = store or Store(directory)
        self._intake = Intake(policy.credit_bytes)
        self._evictor = Evictor(role, self._store, self.catalogue, policy, clock, inbox)
        self._live = LiveStreams()
        self._tips: dict[bytes, Tip] = {}
        self._batch: list[Item] = []
        self._open: _OpenSegment | None = None
        self._next_number: int | None = None
        self._next_eviction = 0.0
        self._down_since: float | None = None
        self._retry_at = 0.0
        self._retry_s = FIRST_RETRY_S
        self._written = self._syncs = self._faults = 0
        self._longest_sync_s = 0.0
        self._previous: dict[bytes, Tip] | None = None

    # For the capture thread and the owner; none of these blocks.

    def reserve(self, role: Role, size: int) -> bool:
        """Take byte credit before sealing `size` bytes (`seal.record.sealed_size`). Refusals are counted."""
        return self._intake.reserve(size)

    def put(self, key: StreamKey, record: Record) -> None:
        """Hand over a sealed record. Never dropped, durable at the next RingSynced that names its tip."""
        self._intake.put(record)

    def end_stream(self, stream_id: bytes) -> None:
        """The stream is lost: later segments need no copy of its key and init."""
        self._intake.put(StreamEnd(stream_id))

    def allow_eviction(self, number: int) -> None:
        """The answer to EvictionDue: the ledger's leaf is durable. Any thread."""
        self._evictor.allow(number)

    def previous(self, stream_id: bytes) -> bytes:
        """The stream's last durable digest by the run before, zeros unless that one stopped cleanly.

        Reads one small file on the first call; main thread, before capture starts.
        """
        if self._previous is None:
            try:
                newest = self._store.segments()[-1:]
            except OSError:
                newest = []
            self._previous = load_tips(self._store.directory, newest[0][0]) if newest else {}
        tip = self._previous.get(stream_id)
        return tip.digest if tip else NO_DIGEST

    def counters(self) -> RingCounters:
        return RingCounters(
            self._intake.held,
            self._intake.refused,
            self._written,
            self._syncs,
            self._faults,
            self._longest_sync_s * 1000,
        )

    # The ring thread.

    def run(self, stop: Event, beat: Beat) -> None:
        """Write and sync once a period until stopped; then flush, index and leave the tips behind."""
        self._abandon()  # a segment left open by a crash of this thread
        while not stop.is_set():
            beat()
            began = self._clock.monotonic()
            self.cycle()
            self._pause(stop, began)
        self.finish()

    def cycle(self) -> None:
        """One period's work: make room, write what waits, sync it once, tell the owner. Ring thread."""
        self._batch.extend(self._intake.take())
        if self._clock.monotonic() < self._retry_at:
            return
        try:
            self._prepare()
            self._make_room()
            self._commit_batch()
        except OSError as error:
            self._fault(error)

    def finish(self) -> None:
        """Clean stop: the last records durable, the segment indexed, the tips where the next run looks."""
        self._retry_at = 0.0
        self.cycle()
        if self._open is None or self._batch:
            return
        number = self._open.number
        self._close()
        try:
            write_new(self._store, TIPS_NAME, encode_tips(number, self._tips.values()), durable=True)
        except OSError as error:
            log.warning("%s: tips not kept (%s); the next run starts new chains", self.name, error)

    def _prepare(self) -> None:
        """Once: list what is there, names and sizes only. No closed segment is read before recording (I2)."""
        if self._next_number is not None:
            return
        self._store.prepare()
        found = self._store.segments()
        newest = found[-1][0] if found else 0
        clean = not found or bool(load_tips(self._store.directory, newest))
        self.catalogue.found(found)
        self._next_number = newest + 1
        held = sum(size for _, size in found)
        now = self._clock.now()
        self._inbox.put(RingOpened(now, self.role, len(found), held, clean, newest + 1))
        log.info("%s: %d segments, %d MiB; recording into segment %d", self.name, len(found), held >> 20,
                 newest + 1)  # fmt: skip

    def _make_room(self) -> None:
        """Retention before each segment and every few seconds; its failure must not stop the recording."""
        if self._clock.monotonic() < self._next_eviction:
            return
        self._next_eviction = self._clock.monotonic() + EVICT_EVERY_S
        try:
            self._evictor.make_room()
        except OSError as error:
            log.warning("%s: cannot evict (%s); trying again in %.0f s", self.name, error, EVICT_EVERY_S)

    def _commit_batch(self) -> None:
        self._batch = _grouped(self._batch)
        while self._batch:
            segment = self._segment()
            part = self._fitting(segment)
            self._write(segment, part)
            took_s = self._sync(segment)
            self._settle(segment, part, took_s)

    def _segment(self) -> _OpenSegment:
        """The open segment, or a new one when it is full or old enough."""
        segment = self._open
        if segment is not None:
            first = next((len(i.raw) for i in self._batch if isinstance(i, Record)), 0)
            full = segment.size + first > self._policy.segment_limit
            aged = first > 0 and self._clock.monotonic() - segment.opened >= self._policy.segment_s
            if not full and not aged:
                return segment
            self._close()
            self._next_eviction = 0.0
            self._make_room()
        return self._create()

    def _create(self) -> _OpenSegment:
        """Steps S1-S4 of a new segment: file, header and live copies, file sync, directory sync."""
        assert self._next_number is not None
        number, self._next_number = self._next_number, self._next_number + 1
        header = SegmentHeader(self.role, number, self._box, self._run, self._clock.now().wall_us)
        copies = self._live.copies()
        index = SegmentIndex(number, 64)
        size = _note(index, copies)
        file = self._store.create(segment_name(number))
        segment = _OpenSegment(number, file, size, self._clock.monotonic(), index)
        self._open = segment
        self._store.write(file, [header.encode(), *(r.raw for r in copies)])
        self._store.sync(file)
        self._store.sync_directory()
        self.catalogue.grown(number, size)
        return segment

    def _fitting(self, segment: _OpenSegment) -> list[Item]:
        """As much of the batch as the segment may still take, at least one record."""
        size, part = segment.size, list[Item]()
        for item in self._batch:
            length = len(item.raw) if isinstance(item, Record) else 0
            if part and size + length > self._policy.segment_limit:
                break
            size += length
            part.append(item)
        return part

    def _write(self, segment: _OpenSegment, part: Sequence[Item]) -> None:
        records = [i for i in part if isinstance(i, Record)]
        self._store.write(segment.file, [r.raw for r in records])

    def _sync(self, segment: _OpenSegment) -> float:
        began = self._clock.monotonic()
        self._store.sync(segment.file)
        took_s = self._clock.monotonic() - began
        self._syncs += 1
        self._longest_sync_s = max(self._longest_sync_s, took_s)
        return took_s

    def _settle(self, segment: _OpenSegment, part: Sequence[Item], took_s: float) -> None:
        """Only now the part is durable: account for it, give the credit back, say so (I1)."""
        del self._batch[: len(part)]
        records = [i for i in part if isinstance(i, Record)]
        for item in part:
            self._live.follow(item)
        before = segment.size
        segment.size = _note(segment.index, records)
        tips = {r.header.stream: Tip.of(r) for r in records}
        self._tips.update(tips)
        self.catalogue.grown(segment.number, segment.size)
        written = segment.size - before
        self._written += written
        self._intake.release(written)
        self._recovered(segment)
        if records:
            now = self._clock.now()
            self._inbox.put(RingSynced(now, self.role, tuple(sorted(tips.values())), written, took_s * 1000))

    def _close(self) -> None:
        """The segment is whole and synced already; only its index is missing, and that may fail."""
        segment, self._open = self._open, None
        if segment is None:
            return
        self._store.close(segment.file)
        try:
            write_new(self._store, index_name(segment.number), segment.index.encode(), durable=False)
            self.catalogue.learned(segment.index)
        except OSError as error:
            log.warning(
                "%s: no index for segment %d (%s); it will be scanned", self.name, segment.number, error
            )
            self.catalogue.abandoned(segment.number)

    def _fault(self, error: OSError) -> None:
        """An I/O error is final for its file (I4): leave it, keep the records, try a new segment later."""
        number = self._abandon()
        self._faults += 1
        now = self._clock.monotonic()
        if self._down_since is None:
            self._down_since = now
            self._retry_s = FIRST_RETRY_S
        reason = error.strerror or str(error)
        log.error("%s: segment %d: %s; %d KiB wait in memory, new segment in %.1f s",
                  self.name, number, reason, self._intake.held >> 10, self._retry_s)  # fmt: skip
        self._inbox.put(
            RingFaulted(self._clock.now(), self.role, reason, number, self._intake.held, self._retry_s)
        )
        self._retry_at = now + self._retry_s
        self._retry_s = min(self._retry_s * 2, LONGEST_RETRY_S)
        self._next_eviction = 0.0  # a full disk may be cured by making room

    def _abandon(self) -> int:
        """Close the open segment for good. Its number is spent; what it holds is found by scanning."""
        segment, self._open = self._open, None
        if segment is None:
            return self._next_number or 0
        try:
            self._store.close(segment.file)
            if segment.index.size == segment.size and not self._is_announced(segment.number):
                self._store.unlink(segment_name(segment.number))  # never held a record of its own
        except OSError as error:
            log.warning("%s: leaving segment %d: %s", self.name, segment.number, error)
        self.catalogue.abandoned(segment.number)
        return segment.number

    def _is_announced(self, number: int) -> bool:
        return any(s.number == number for s in self.catalogue.segments())

    def _recovered(self, segment: _OpenSegment) -> None:
        if self._down_since is None:
            return
        down_s = self._clock.monotonic() - self._down_since
        self._down_since = None
        self._retry_s = FIRST_RETRY_S
        log.info("%s: writing again, segment %d, after %.1f s", self.name, segment.number, down_s)
        self._inbox.put(RingRecovered(self._clock.now(), self.role, segment.number, down_s))

    def _pause(self, stop: Event, began: float) -> None:
        """Until the period is over, the intake presses, or the stop. Retries keep their own time."""
        while not stop.is_set():
            left_s = began + self._policy.sync_s - self._clock.monotonic()
            if left_s <= 0 or (self._intake.pressed.is_set() and self._down_since is None):
                return
            stop.wait(min(left_s, POLL_S))


def _grouped(batch: Sequence[Item]) -> list[Item]:
    """By stream, each stream's own order kept: playback of one camera then reads long runs."""
    streams: dict[bytes, list[Item]] = {}
    for item in batch:
        stream = item.stream if isinstance(item, StreamEnd) else item.header.stream
        streams.setdefault(stream, []).append(item)
    return list(chain.from_iterable(streams.values()))


def _note(index: SegmentIndex, records: Sequence[Record]) -> int:
    """Add records that were appended; returns the segment's size after them."""
    for record in records:
        index.add(record.header, index.size, record.digest)
    return index.size
