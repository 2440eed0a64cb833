"""Between the capture thread and the ring thread: byte credit, and the records not yet on disk."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event, Lock

from edge_agent.seal.record import Record


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """No live viewer of the disk needs this stream's key and init copied any more."""

    stream: bytes


Item = Record | StreamEnd


class Intake:
    """Bounded by bytes, not by items: `reserve` refuses, `put` never does.

    A reservation is settled by the put that follows it. One that is never used (its stream died while
    sealing) is void after the next sync, so credit cannot leak.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = Lock()
        self._items: list[Item] = []
        self._reserved = 0
        self._held = 0
        self.refused = 0
        self.pressed = Event()  # half the credit is used: write before the period ends

    @property
    def held(self) -> int:
        """Bytes sealed and not yet durable."""
        return self._held

    def reserve(self, size: int) -> bool:
        """Take credit for a record of `size` bytes. Any thread; never blocks; counts what it refuses."""
        with self._lock:
            if self._held + self._reserved + size > self._limit:
                self.refused += 1
                self.pressed.set()
                return False
            self._reserved += size
            return True

    def put(self, item: Item) -> None:
        with self._lock:
            self._items.append(item)
            if isinstance(item, Record):
                size = len(item.raw)
                self._reserved = max(0, self._reserved - size)
                self._held += size
                if self._held * 2 > self._limit:
                    self.pressed.set()

    def take(self) -> list[Item]:
        """All that waits. Ring thread only; the bytes stay on the account until `release`."""
        with self._lock:
            items, self._items = self._items, []
            self.pressed.clear()
            return items

    def release(self, size: int) -> None:
        """So many bytes are durable. Ring thread only."""
        with self._lock:
            self._held -= size
            self._reserved = 0
