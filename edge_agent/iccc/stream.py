"""A live stream as its reader sees it: an iterator with a lease, fed by the link's thread."""

from __future__ import annotations

import queue
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from threading import Lock
from types import TracebackType
from typing import Protocol

from pydantic import JsonValue

from edge_agent.errors import UplinkError
from edge_agent.iccc.live import LiveFragment, LiveItem, LiveReceiver
from edge_agent.uplink.messages import LiveStarted

QUEUE_ITEMS = 1024
EARLY_SESSIONS = 16
EARLY_BYTES = 4 * 1024**2
EARLY_S = 10.0
_POLL_S = 0.25

Order = Callable[[str, dict[str, JsonValue]], None]


class LiveStream:
    """Iterate it, or call `next_item`; close it when done. One reader; the link's thread feeds it.

    `first_record_s` and `asked_s` are on the monotonic clock: when the first fragment came, and when the
    command was about to be sent.
    """

    def __init__(
        self,
        receiver: LiveReceiver,
        started: LiveStarted,
        order: Order,
        lease_s: int,
        asked_s: float,
        box_remembers: Callable[[], bool] = lambda: True,
    ) -> None:
        self.started = started
        self.asked_s = asked_s
        self.first_record_s: float | None = None
        self.dropped = 0
        self.receiver = receiver
        self.box_remembers = box_remembers  # False once the box has a new session: it may have restarted
        self._order = order
        self._lease_s = lease_s
        self._renewed_s = time.monotonic()
        self._items: queue.Queue[LiveItem] = queue.Queue(QUEUE_ITEMS)
        self._waiting_for_keyframe = False
        self._closed = False
        self._closers: list[Callable[[], None]] = []

    def __enter__(self) -> LiveStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[LiveItem]:
        """Items until the stream is closed; a silent camera ends nothing."""
        while not self._closed:
            item = self.next_item(_POLL_S)
            if item is not None:
                yield item

    def next_item(self, timeout_s: float) -> LiveItem | None:
        """The next init segment or fragment, None when none comes in time. Renews the lease when due."""
        self.renew_if_due()
        try:
            return self._items.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def renew_if_due(self) -> None:
        """At a third of the lease. A renewal that cannot be sent is tried again at the next call."""
        now_s = time.monotonic()
        if self._closed or now_s - self._renewed_s < self._lease_s / 3:
            return
        try:
            self._order("live.renew", {"lease_s": self._lease_s})
        except UplinkError:
            return
        self._renewed_s = now_s

    def feed(self, payload: bytes) -> None:
        """One media part. Link's thread only; never blocks."""
        now_s = time.monotonic()
        item = self.receiver.receive(payload, now_s)
        if item is None:
            return
        if isinstance(item, LiveFragment):
            if self.first_record_s is None:
                self.first_record_s = now_s
            if self._waiting_for_keyframe and not item.header.keyframe:
                self.dropped += 1
                return
        try:
            self._items.put_nowait(item)
            self._waiting_for_keyframe = False
        except queue.Full:  # a reader that is too slow goes on at the next keyframe
            self.dropped += 1
            self._waiting_for_keyframe = True

    def on_close(self, closer: Callable[[], None]) -> None:
        self._closers.append(closer)

    def close(self) -> None:
        """Give the lease back; the box stops sending when it was the last one."""
        if self._closed:
            return
        self._closed = True
        for closer in self._closers:
            closer()
        try:
            self._order("live.stop", {})
        except UplinkError:
            return  # the lease ends by itself


class Fed(Protocol):
    """Whoever reads the parts of one session."""

    def feed(self, payload: bytes) -> None: ...


class MediaRouter:
    """Gives each media part to the stream of its session; parts that overtake the reply wait a little."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._streams: dict[str, tuple[Fed, ...]] = {}
        self._early: OrderedDict[str, _Early] = OrderedDict()
        self.dropped = 0

    def attach(self, session: str, stream: Fed) -> None:
        with self._lock:
            early = self._early.pop(session, None)
            for payload in early.payloads if early else ():
                stream.feed(payload)
            self._streams[session] = (*self._streams.get(session, ()), stream)

    def detach(self, session: str, stream: Fed) -> None:
        with self._lock:
            left = tuple(s for s in self._streams.get(session, ()) if s is not stream)
            if left:
                self._streams[session] = left
            else:
                self._streams.pop(session, None)

    def take(self, session: str, payload: bytes) -> None:
        """Link's thread only."""
        with self._lock:
            streams = self._streams.get(session)
            if streams is None:
                self._wait(session, payload)
                return
            for stream in streams:
                stream.feed(payload)

    def close(self) -> None:
        with self._lock:
            self._streams.clear()
            self._early.clear()

    def _wait(self, session: str, payload: bytes) -> None:
        now_s = time.monotonic()
        while self._early and next(iter(self._early.values())).began_s < now_s - EARLY_S:
            self._early.popitem(last=False)
        early = self._early.setdefault(session, _Early(now_s))
        if len(self._early) > EARLY_SESSIONS:
            self.dropped += len(self._early.popitem(last=False)[1].payloads)
        if early.size + len(payload) > EARLY_BYTES:
            self.dropped += 1
            return
        early.payloads.append(payload)
        early.size += len(payload)


class _Early:
    """Parts of a session that no reply has named yet."""

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.size = 0
        self.payloads: deque[bytes] = deque()
