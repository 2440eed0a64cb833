"""A playback as its reader sees it: items with the gaps between them, a lease, and an end that is told."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock
from types import TracebackType

from pydantic import JsonValue

from edge_agent.errors import UplinkError
from edge_agent.iccc.coverage import LIVE_EDGE_US
from edge_agent.iccc.live import LiveFragment
from edge_agent.iccc.orders import FINAL, CommandRefused, Ordered
from edge_agent.iccc.playback import (
    TOO_SLOW,
    Journey,
    Numbered,
    PlaybackEnd,
    PlaybackItem,
    PlaybackReceiver,
)
from edge_agent.uplink.messages import LiveStarted, Reply
from edge_agent.uplink.playback import END_OF_FOOTAGE

QUEUE_ITEMS = 4096
QUEUE_BYTES = 64 * 1024**2
STRAGGLERS_S = 3.0  # records that the box has counted and that do not come are lost
SILENT_S = 20.0  # a box that goes on sends a record every few seconds, at any speed
_POLL_S = 0.25

Command = Callable[[str, dict[str, JsonValue]], Reply]
Send = Callable[[str, dict[str, JsonValue]], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, and when: our monotonic clock just before, the box's wall clock as it began."""

    from_us: int
    to_us: int
    asked_s: float
    box_us: int


class PlaybackStream:
    """Iterate it, or call `next_item`; close it when done. One reader, which also seeks; the link feeds it.

    A reader that is too slow loses fragments up to a keyframe, and sees that as a gap.
    """

    def __init__(
        self,
        receiver: PlaybackReceiver,
        started: LiveStarted,
        asked: Asked,
        ordered: Ordered,
        command: Command,
        send: Send,
    ) -> None:
        self.started = started
        self.asked_s = asked.asked_s
        self.receiver = receiver
        self.dropped = 0
        self._rest_us = min(asked.to_us, asked.box_us - LIVE_EDGE_US)
        self._ordered = ordered
        self._command, self._send = command, send
        self._journey = Journey(asked.from_us)
        self._items: queue.Queue[Numbered] = queue.Queue(QUEUE_ITEMS)
        self._lock = Lock()
        self._held = 0  # bytes in the queue
        self._cut = ""
        self._ready: list[PlaybackItem] = []
        self._from_number = 0
        self._renewed_s = self._fed_s = time.monotonic()
        self._ended: PlaybackEnd | None = None
        self._closers: list[Callable[[], None]] = []
        self._closed = False

    def __enter__(self) -> PlaybackStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[PlaybackItem]:
        """Items up to the `PlaybackEnd`, which comes last, or until the stream is closed."""
        while not self._closed and (self._ready or self._ended is None):
            item = self.next_item(_POLL_S)
            if item is not None:
                yield item

    def next_item(self, timeout_s: float) -> PlaybackItem | None:
        """The next item, None when none comes in time. Renews the lease when due."""
        self._renew_if_due()
        until_s = time.monotonic() + timeout_s
        while not self._ready and self._take_one(max(0.0, until_s - time.monotonic())):
            pass  # what a seek has left behind, and gap records, are no items
        return self._ready.pop(0) if self._ready else None

    def seek(self, from_us: int, speed: float | None = None) -> None:
        """Go on from another moment, and at another speed if one is given. What waits here is forgotten.

        Raises CommandRefused when the playback has ended (then begin another), UplinkError without answer.
        """
        self.receiver.widen(from_us)
        args: dict[str, JsonValue] = {"session": self.started.session, "from_us": from_us}
        reply = self._command("playback.seek", args if speed is None else args | {"speed": speed})
        first = reply.data.result.get("record")
        if not isinstance(first, int):
            raise UplinkError("the reply to playback.seek names no record")
        self._from_number = first
        self._ready.clear()
        self._journey.seek(from_us)
        self._fed_s = self._renewed_s = time.monotonic()

    def feed(self, payload: bytes) -> None:
        """One media part. Link's thread only; never blocks."""
        self._fed_s = time.monotonic()
        numbered = self.receiver.receive(payload)
        if numbered is None:
            return
        fragment = numbered.item if isinstance(numbered.item, LiveFragment) else None
        if self._cut and fragment is not None:
            if not fragment.header.keyframe:
                self.dropped += 1
                return
            numbered = Numbered(numbered.number, fragment, self._cut)
        if self._put(numbered):
            self._cut = "" if fragment is not None else self._cut
        else:
            self.dropped += 1
            self._cut = TOO_SLOW

    @property
    def reach_us(self) -> int:
        """Shown, or told to be missing, up to here."""
        return self._journey.reach_us

    def on_close(self, closer: Callable[[], None]) -> None:
        self._closers.append(closer)

    def close(self) -> None:
        """Stop the box's sending, unless it has ended by itself."""
        if self._closed:
            return
        self._closed = True
        for closer in self._closers:
            closer()
        if self._ordered.answered(FINAL) is None:
            with contextlib.suppress(UplinkError):  # the lease ends by itself
                self._send("playback.stop", {"session": self.started.session})
        self._ordered.forget()

    def _put(self, numbered: Numbered) -> bool:
        with self._lock:
            if self._held + _size(numbered) > QUEUE_BYTES or self._items.full():
                return False
            self._held += _size(numbered)
        self._items.put_nowait(numbered)  # the link's thread is the only one that puts
        return True

    def _take_one(self, timeout_s: float) -> bool:
        """False when nothing came in time."""
        try:
            numbered = self._items.get(timeout=timeout_s)
        except queue.Empty:
            self._look_for_end()
            return False
        with self._lock:
            self._held -= _size(numbered)
        if numbered.number >= self._from_number:
            self._ready += self._journey.take(numbered.item, numbered.lost)
        return True

    def _look_for_end(self) -> None:
        if self._ended is not None:
            return
        now_s = time.monotonic()
        answer = self._ordered.answered(FINAL)
        if answer is not None:
            self._end_if_all_here(*answer, now_s)
        elif now_s - self._fed_s > SILENT_S:
            self._end(PlaybackEnd(f"nothing came for {SILENT_S:.0f} s", complete=False))

    def _end_if_all_here(self, reply: Reply, heard_s: float, now_s: float) -> None:
        """Of what was recorded after the start, the box may have read only a part."""
        sent = reply.data.result.get("records")
        reason = str(reply.data.result.get("ended") or CommandRefused(reply))
        if sent == self.receiver.next_number:
            rest = self._journey.rest(self._rest_us) if reason == END_OF_FOOTAGE else None
            self._ready += [] if rest is None else [rest]
            self._end(PlaybackEnd(reason, complete=True))
        elif not isinstance(sent, int) or now_s - max(heard_s, self._fed_s) > STRAGGLERS_S:
            self._end(PlaybackEnd(reason, complete=False))

    def _end(self, end: PlaybackEnd) -> None:
        self._ended = end
        self._ready.append(end)

    def _renew_if_due(self) -> None:
        """At a third of the lease. A renewal that cannot be sent is tried again at the next call."""
        now_s = time.monotonic()
        if self._closed or self._ended or now_s - self._renewed_s < self.started.lease_s / 3:
            return
        lease = {"session": self.started.session, "lease": self.started.lease}
        try:
            self._send("live.renew", {**lease, "lease_s": self.started.lease_s})
        except UplinkError:
            return
        self._renewed_s = now_s


def _size(numbered: Numbered) -> int:
    return len(numbered.item.data) if isinstance(numbered.item, LiveFragment) else 0
