"""Fan-out of one stream's sealed records: the newest group of pictures, then whatever follows.

The capture thread publishes; any thread may subscribe. One short lock makes "the backlog, then every
later record, none twice" hold; nothing is done under it but moving references.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

R = TypeVar("R")

GOP_CACHE_BYTES = 2 * 1024 * 1024

Subscriber = Callable[[R], None]


class Tap(Generic[R]):
    """Key and init of the current epoch plus the records since its last keyframe, at most 2 MiB.

    When a group of pictures outgrows the cache (smart codecs send one keyframe in minutes), the cache is
    dropped until the next keyframe and a new viewer is told so by `backlog()` holding no fragment.
    """

    def __init__(self, limit: int = GOP_CACHE_BYTES) -> None:
        self._limit = limit
        self._lock = Lock()
        self._head: tuple[R, ...] = ()
        self._gop: deque[R] = deque()
        self._size = 0
        self._overflowed = True
        self._subscribers: tuple[Subscriber[R], ...] = ()

    @property
    def holds_group(self) -> bool:
        """A subscriber would get pictures at once. Any thread; true for a moment."""
        return not self._overflowed

    def begin_epoch(self, key: R, init: R) -> None:
        """A new muxer starts: viewers get its key and init at once. Capture thread only."""
        with self._lock:
            self._head = (key, init)
            self._clear(overflowed=True)
            subscribers = self._subscribers
        for subscriber in subscribers:
            subscriber(key)
            subscriber(init)

    def publish(self, record: R, size: int, *, keyframe: bool) -> None:
        """Hand one fragment to the cache and to every subscriber. Capture thread only."""
        with self._lock:
            if keyframe:
                self._clear(overflowed=False)
            if not self._overflowed:
                self._gop.append(record)
                self._size += size
                if self._size > self._limit:
                    self._clear(overflowed=True)
            subscribers = self._subscribers
        for subscriber in subscribers:
            subscriber(record)

    def subscribe(self, subscriber: Subscriber[R]) -> tuple[R, ...]:
        """Return key, init and the records since the last keyframe; later ones go to `subscriber`.

        `subscriber` is called in the capture thread and must not block.
        """
        with self._lock:
            self._subscribers = (*self._subscribers, subscriber)
            return (*self._head, *self._gop)

    def unsubscribe(self, subscriber: Subscriber[R]) -> None:
        """Stop the calls; one that is under way in the capture thread may still arrive."""
        with self._lock:
            self._subscribers = tuple(s for s in self._subscribers if s != subscriber)

    def end(self) -> None:
        """The stream is lost: nothing to replay until the next epoch. Capture thread only."""
        with self._lock:
            self._head = ()
            self._clear(overflowed=True)

    def _clear(self, *, overflowed: bool) -> None:
        self._gop.clear()
        self._size = 0
        self._overflowed = overflowed
