"""What the running ring knows of its segments without asking the disk. Shared by its two threads."""

from __future__ import annotations

from threading import Lock

from edge_agent.ring.facts import SegmentInfo
from edge_agent.ring.index import SegmentIndex
from edge_agent.ring.plan import Segment


class Catalogue:
    """Numbers, sizes and, once an index was read, times. A few values a segment, however big the ring."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._segments: dict[int, Segment] = {}  # in the order of the numbers
        self._streams: dict[int, int] = {}
        self._unread: set[int] = set()
        self.listed = False  # the directory was listed: `unread` is complete

    def found(self, segments: list[tuple[int, int]]) -> None:
        """What a listing of the directory gave, at start. Their contents are not known yet."""
        with self._lock:
            for number, size in segments:
                self._segments[number] = Segment(number, size)
                self._unread.add(number)
            self.listed = True

    def grown(self, number: int, size: int) -> None:
        """The open segment has `size` bytes. New numbers only ever come last."""
        with self._lock:
            self._segments[number] = Segment(number, size)

    def left(self, number: int) -> None:
        """Its file had an error: what it holds is found by scanning, not taken from memory."""
        with self._lock:
            if number in self._segments:
                self._unread.add(number)

    def learned(self, index: SegmentIndex) -> None:
        """The segment's index is at hand."""
        with self._lock:
            known = self._segments.get(index.number)
            if known is not None:
                self._segments[index.number] = Segment(
                    known.number, known.size, index.to_us, index.trusted, index.from_us
                )
                self._streams[index.number] = len(index.streams())
            self._unread.discard(index.number)

    def forget(self, number: int) -> None:
        with self._lock:
            self._segments.pop(number, None)
            self._streams.pop(number, None)
            self._unread.discard(number)

    def segments(self) -> list[Segment]:
        """Oldest first."""
        with self._lock:
            return list(self._segments.values())

    def unread(self) -> list[int]:
        """Segments whose index was not read yet, newest first: they are asked for soonest."""
        with self._lock:
            return sorted(self._unread, reverse=True)

    def info(self, number: int) -> SegmentInfo:
        with self._lock:
            segment = self._segments[number]
            return SegmentInfo(
                number, segment.size, segment.from_us, segment.to_us, self._streams.get(number, 0)
            )

    def held_bytes(self) -> int:
        with self._lock:
            return sum(s.size for s in self._segments.values())
