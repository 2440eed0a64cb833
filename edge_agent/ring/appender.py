"""One segment while it is written: created, appended to, synced, closed or left. Ring thread only."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from edge_agent.ring.index import SegmentIndex
from edge_agent.ring.layout import SEGMENT_HEADER_BYTES, SegmentHeader, index_name, segment_name
from edge_agent.ring.store import Store, write_new
from edge_agent.seal.record import Record

log = logging.getLogger(__name__)


class OpenSegment:
    """Append only. `index` and `size` know of durable records alone: they follow in `settle`."""

    def __init__(self, store: Store, file: int, number: int, opened: float) -> None:
        self._store = store
        self._file = file
        self.number = number
        self.opened = opened
        self.index = SegmentIndex(number, SEGMENT_HEADER_BYTES)

    @property
    def size(self) -> int:
        return self.index.size

    @staticmethod
    def create(store: Store, header: SegmentHeader, copies: Sequence[Record], opened: float) -> OpenSegment:
        """Steps S1-S4. Raises OSError, and then leaves no file behind if it can help it."""
        number = header.number
        file = store.create(segment_name(number))  # S1
        segment = OpenSegment(store, file, number, opened)
        try:
            store.write(file, [header.encode(), *(r.raw for r in copies)])  # S2
            store.sync(file)  # S3
            store.sync_directory()  # S4
        except OSError:
            segment._discard()
            raise
        segment.settle(copies)
        return segment

    def append(self, records: Sequence[Record]) -> None:
        """Step B1. Raises OSError: the segment must be left, not written again."""
        self._store.write(self._file, [r.raw for r in records])

    def sync(self) -> None:
        """Step B2, the period's only sync. Raises OSError: pages may be gone, so never try again (I4)."""
        self._store.sync(self._file)

    def settle(self, records: Sequence[Record]) -> int:
        """The records are durable: index them. Returns their bytes."""
        before = self.size
        for record in records:
            self.index.add(record.header, self.size, record.digest)
        return self.size - before

    def close(self) -> bool:
        """Leave the index beside the segment. False when that failed: the scanner will make it.

        All it holds was synced before, so not even an error from `close` can take that back.
        """
        self.leave()
        try:
            write_new(self._store, index_name(self.number), self.index.encode(), durable=False)
        except OSError as error:
            log.warning("segment %d: no index (%s); it will be scanned", self.number, error)
            return False
        return True

    def leave(self) -> None:
        """After an error: close the file for good. What it holds is found by scanning (I3, I4)."""
        try:
            self._store.close(self._file)
        except OSError as error:  # close may report a late write error; the file is done with either way
            log.debug("segment %d: %s on close", self.number, error)

    def _discard(self) -> None:
        """It never held a record of its own, so a full disk need not collect such files at every retry."""
        self.leave()
        try:
            self._store.unlink(segment_name(self.number))
        except OSError as error:
            log.debug("segment %d: %s on unlink", self.number, error)
