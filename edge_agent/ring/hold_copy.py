"""Copies a stretch of footage into a hold's directory, verbatim, with the lists that tie it to the ledger.

Nothing written is written again: a copy that a crash or a full disk cut off goes on in a new segment with
the records that are not there yet. Steps H2-H4 of docs/evidence.md, "Holds".
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from edge_agent.ring.appender import OpenSegment
from edge_agent.ring.hold import Stretch
from edge_agent.ring.layout import MAX_SEGMENT_BYTES, SegmentHeader
from edge_agent.ring.reader import RingReader
from edge_agent.ring.shelf import Shelf
from edge_agent.ring.store import Store
from edge_agent.seal.record import Kind, Record
from edge_agent.seal.tips import parse_tips, tips_stream

BATCH_BYTES = 8 << 20
AFTER_US = 75_000_000  # a minute mark names a record of the stream no later than this after any moment
TIPS_AFTER_US = 150_000_000

Identity = tuple[bytes, bytes, int]  # stream, epoch, n


class HoldCopy:
    """One pass over the ring. The evidence thread only."""

    def __init__(self, store: Store, source: RingReader, stretch: Stretch, box: bytes, run: bytes) -> None:
        self._store = store
        self._source = source
        self._stretch = stretch
        self._tips = tips_stream(box)
        self._box, self._run = box, run
        self._open: OpenSegment | None = None
        self._heads: list[Record] = []  # key and init of the epoch that is being copied
        self._have: set[Identity] = set()

    def steps(self, now_us: int) -> Iterator[int]:
        """Bytes that are durable so far, after each batch. Raises OSError, RingError; what is there stays."""
        self._have = held_records(self._store.directory, (self._stretch.stream, self._tips))
        done = 0
        try:
            for batch in self._batches():
                done += self._append(batch, now_us)
                yield done
        finally:
            if self._open is not None:
                self._open.close()

    def _batches(self) -> Iterator[list[Record]]:
        batch: list[Record] = []
        size = 0
        for record in chain(self._lists(), self._footage()):
            if _identity(record) in self._have:
                continue
            batch.append(record)
            size += len(record.raw)
            if size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _lists(self) -> Iterator[Record]:
        stretch = self._stretch
        return self._source.loose(self._tips, stretch.from_us, stretch.to_us + TIPS_AFTER_US)

    def _footage(self) -> Iterator[Record]:
        """From the keyframe before, up to the first record behind the end that a mark names."""
        stretch = self._stretch
        named = {(t.epoch, t.n) for r in self._lists() for t in parse_tips(r) if t.stream == stretch.stream}
        for record in self._source.records(stretch.stream, stretch.from_us, stretch.to_us + AFTER_US):
            header = record.header
            if header.kind is Kind.KEY:
                self._heads = [record]
            elif header.kind is Kind.INIT:
                self._heads.append(record)
            yield record
            if header.wall_us >= stretch.to_us and header.n > 1 and (header.epoch, header.n) in named:
                return

    def _append(self, batch: list[Record], now_us: int) -> int:
        if self._open is not None and self._open.size + BATCH_BYTES * 2 > MAX_SEGMENT_BYTES:
            self._open.close()
            self._open = None
        if self._open is None:
            self._open = self._new_segment(now_us)
        self._open.append(batch)
        self._open.sync()
        return self._open.settle(batch)

    def _new_segment(self, now_us: int) -> OpenSegment:
        """As every segment, it begins with copies of key and init: it can be read by itself (I2)."""
        taken = self._store.segments()
        number = taken[-1][0] + 1 if taken else 1
        header = SegmentHeader(self._stretch.role, number, self._box[:16], self._run, now_us)
        return OpenSegment.create(self._store, header, self._heads, 0.0)


def held_records(directory: Path, streams: tuple[bytes, ...]) -> set[Identity]:
    """What the segments of a directory hold already. Raises RingError."""
    shelf = Shelf(directory, lambda: None)
    return {
        (stream, entry.epoch, entry.n)
        for volume in shelf.volumes()
        for stream in streams
        for entry in shelf.full(volume).entries(stream)
    }


def _identity(record: Record) -> Identity:
    return record.header.stream, record.header.epoch, record.header.n
