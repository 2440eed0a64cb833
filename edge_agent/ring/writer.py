"""The ring thread: the only one that writes, syncs and unlinks footage of its retention class.

docs/design/ring.md names the invariants (I1-I9) and the ordered steps that the comments here cite.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from threading import Event

from edge_agent.clock import Clock
from edge_agent.events import Inbox
from edge_agent.model import Role, StreamKey
from edge_agent.ring.appender import OpenSegment
from edge_agent.ring.catalogue import Catalogue
from edge_agent.ring.eviction import Evictor
from edge_agent.ring.facts import RingCounters, RingFaulted, RingOpened, RingRecovered, RingSynced
from edge_agent.ring.index import SegmentIndex
from edge_agent.ring.intake import Intake, Item, StreamEnd
from edge_agent.ring.layout import TIPS_NAME, SegmentHeader
from edge_agent.ring.live import LiveStreams
from edge_agent.ring.plan import RingPolicy
from edge_agent.ring.store import Store, write_new
from edge_agent.ring.tips import encode_tips, left_behind
from edge_agent.seal.record import NO_DIGEST, Kind, Record, Tip
from edge_agent.supervisor import Beat

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 30.0
EVICT_EVERY_S = 5.0
POLL_S = 0.25  # how soon a stop or a pressed intake is seen
FOOTAGE = (Kind.INIT, Kind.FRAGMENT, Kind.GAP)


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
        self._tips: dict[bytes, Tip] = {}  # of footage, by stream; read by other threads
        self._batch: list[Item] = []
        self._open: OpenSegment | None = None
        self._next_number: int | None = None
        self._next_eviction = 0.0
        self._down_since: float | None = None
        self._retry_at = 0.0
        self._retry_s = FIRST_RETRY_S
        self._written = self._syncs = self._faults = 0
        self._longest_sync_s = 0.0
        self._previous = left_behind(self._store)

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
        """The stream's last durable digest: of this run, else of the run before if that stopped cleanly.

        Zeros when neither is known (I8). Any thread.
        """
        tip = self._tips.get(stream_id) or (self._previous or {}).get(stream_id)
        return tip.digest if tip else NO_DIGEST

    @property
    def segment_number(self) -> int:
        """The open segment, 0 before the first. Any thread."""
        opened = self._open
        return opened.number if opened else 0

    def open_index(self) -> SegmentIndex | None:
        """What the open segment durably holds, for readers in this process. Any thread; read only."""
        segment = self._open
        return segment.index if segment is not None else None

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
        self._leave()  # a segment left open by a crash of this thread
        while not stop.is_set():
            beat()
            began = self._clock.monotonic()
            self.cycle()
            self._pause(stop, began)
        self.finish()

    def cycle(self) -> None:
        """One period's work: make room, write what waits, sync it once, tell the owner."""
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
        """Clean stop: the last records durable, the segment indexed, the tips where the next run looks.

        An error on the way costs its segment; there is no later, so a second one is tried at once.
        """
        for _ in range(2):
            self._retry_at = 0.0
            self.cycle()
        if self._open is None or self._batch:
            return
        number = self._open.number
        self._close()
        tips = {**(self._previous or {}), **self._tips}
        try:
            write_new(self._store, TIPS_NAME, encode_tips(number, tips.values()), durable=True)
        except OSError as error:
            log.warning("%s: tips not kept (%s); the next run starts new chains", self.name, error)

    def _prepare(self) -> None:
        """Once: list what is there, names and sizes only. No closed segment is read before recording (I2)."""
        if self._next_number is not None:
            return
        self._store.prepare()
        self._tidy()
        found = self._store.segments()
        number = self._next_number = found[-1][0] + 1 if found else 1
        self.catalogue.found(found)
        self._evictor.inherit([n for n, _ in found])
        held = sum(size for _, size in found)
        clean = not found or self._previous is not None
        self._inbox.put(RingOpened(self._clock.now(), self.role, len(found), held, clean, number))
        log.info("%s: %d segments, %d MiB; next is %d", self.name, len(found), held >> 20, number)

    def _tidy(self) -> None:
        """A file that will not go must not keep the recording from beginning."""
        for name in self._store.litter():
            try:
                self._store.unlink(name)
            except OSError as error:
                log.warning("%s: %s stays (%s)", self.name, name, error)

    def _make_room(self) -> None:
        """Retention before each segment and every few seconds; its failure must not stop the recording."""
        if self._clock.monotonic() < self._next_eviction:
            return
        self._next_eviction = self._clock.monotonic() + EVICT_EVERY_S
        try:
            if self._evictor.make_room():
                self._next_eviction = 0.0
        except OSError as error:
            log.warning("%s: cannot evict (%s); trying again in %.0f s", self.name, error, EVICT_EVERY_S)

    def _commit_batch(self) -> None:
        """Steps B1-B3, once a period: a second time only where a segment ends within the batch."""
        self._batch = _grouped(self._batch)
        while self._batch:
            first = next((i for i in self._batch if isinstance(i, Record)), None)
            if first is None:  # streams ended, nothing to write
                self._follow(self._batch)
                return
            segment = self._segment_for(first)
            part = self._fitting(segment)
            records = [i for i in part if isinstance(i, Record)]
            segment.append(records)
            took_s = self._timed_sync(segment)
            self._follow(part)
            self._settle(segment, records, took_s)

    def _segment_for(self, record: Record) -> OpenSegment:
        """The open segment, or a new one when it is full or old enough."""
        segment = self._open
        now = self._clock.monotonic()
        if segment is not None:
            full = segment.size + len(record.raw) > self._policy.segment_limit
            if not full and now - segment.opened < self._policy.segment_s:
                return segment
            self._close()
            self._next_eviction = 0.0
            self._make_room()
        assert self._next_number is not None
        number, self._next_number = self._next_number, self._next_number + 1
        header = SegmentHeader(self.role, number, self._box, self._run, self._clock.now().wall_us)
        self._open = segment = OpenSegment.create(self._store, header, self._live.copies(), now)
        self.catalogue.grown(number, segment.size)
        return segment

    def _fitting(self, segment: OpenSegment) -> list[Item]:
        """As much of the batch as the segment may still take, at least one record."""
        size, taken = segment.size, 0
        for count, item in enumerate(self._batch, 1):
            if isinstance(item, Record):
                size += len(item.raw)
                if taken and size > self._policy.segment_limit:
                    return self._batch[:taken]
            taken = count
        return list(self._batch)

    def _timed_sync(self, segment: OpenSegment) -> float:
        began = self._clock.monotonic()
        segment.sync()
        took_s = self._clock.monotonic() - began
        self._syncs += 1
        self._longest_sync_s = max(self._longest_sync_s, took_s)
        return took_s

    def _follow(self, part: Sequence[Item]) -> None:
        """These items are done with: off the batch, into the picture of what runs."""
        for item in part:
            self._live.follow(item)
        self._batch = self._batch[len(part) :]

    def _settle(self, segment: OpenSegment, records: Sequence[Record], took_s: float) -> None:
        """Step B3: only now are they durable. Account for them, give the credit back, say so (I1)."""
        written = segment.settle(records)
        self.catalogue.grown(segment.number, segment.size)
        self._written += written
        self._intake.release(written)
        tips = {(r.header.stream, r.header.epoch): Tip.of(r) for r in records}
        self._tips.update({r.header.stream: Tip.of(r) for r in records if r.header.kind in FOOTAGE})
        self._recovered(segment)
        now = self._clock.now()
        self._inbox.put(RingSynced(now, self.role, tuple(sorted(tips.values())), written, took_s * 1000))

    def _close(self) -> None:
        """The segment is whole and synced already; only its index is missing, and making that may fail."""
        segment, self._open = self._open, None
        if segment is None:
            return
        if segment.close():
            self.catalogue.learned(segment.index)
        else:
            self.catalogue.left(segment.number)

    def _leave(self) -> int:
        """Done with the open segment for ever (I4). Returns its number, or the next where none is open."""
        segment, self._open = self._open, None
        if segment is None:
            return self._next_number or 0
        segment.leave()
        self.catalogue.left(segment.number)
        return segment.number

    def _fault(self, error: OSError) -> None:
        """An I/O error is final for its file (I4): leave it, keep the records, try a new segment later."""
        number = self._leave()
        self._faults += 1
        now = self._clock.monotonic()
        if self._down_since is None:
            self._down_since = now
            self._retry_s = FIRST_RETRY_S
        reason, held, retry_s = error.strerror or str(error), self._intake.held, self._retry_s
        log.error(
            "%s: segment %d: %s; %d KiB wait in memory, new segment in %.1f s",
            self.name, number, reason, held >> 10, retry_s,
        )  # fmt: skip
        self._inbox.put(RingFaulted(self._clock.now(), self.role, reason, number, held, retry_s))
        self._retry_at = now + retry_s
        self._retry_s = min(retry_s * 2, LONGEST_RETRY_S)
        self._next_eviction = 0.0  # a full disk may be cured by making room

    def _recovered(self, segment: OpenSegment) -> None:
        if self._down_since is None:
            return
        down_s = self._clock.monotonic() - self._down_since
        self._down_since = None
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
