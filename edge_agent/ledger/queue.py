"""Leaves on their way to the disk: bounded, ordered, and some of them in a hurry."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Condition, Event


@dataclass(slots=True)
class Waiting:
    """One leaf; `durable` is set and `index` known once it is synced. `urgent`: to be told at once."""

    leaf: bytes
    urgent: bool
    index: int = -1
    durable: Event | None = None

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for the disk, or the command centre for the news."""
        return self.urgent or self.durable is not None


class LeafQueue:
    """Many threads put, the ledger thread takes all. `changed` is notified for those that are awaited."""

    def __init__(self, limit: int, changed: Condition) -> None:
        self._limit = limit
        self._changed = changed
        self._waiting: list[Waiting] = []
        self._lost = 0
        self.hurry = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, waiting: Waiting) -> bool:
        """Add a leaf, or count it as lost when the queue is full."""
        with self._changed:
            if len(self._waiting) >= self._limit:
                self._lost += 1
                return False
            self._waiting.append(waiting)
            if waiting.awaited:
                self.hurry = True
                self._changed.notify()
            return True

    def take_all(self) -> list[Waiting]:
        with self._changed:
            taken, self._waiting = self._waiting, []
            self.hurry = False
            return taken

    def put_back(self, taken: list[Waiting]) -> int:
        """Return leaves that could not be written, in front; the limit does not apply to them."""
        with self._changed:
            self._waiting = taken + self._waiting
            return len(self._waiting)

    def take_lost(self) -> int:
        """How many leaves were refused since the last call."""
        with self._changed:
            lost, self._lost = self._lost, 0
            return lost
