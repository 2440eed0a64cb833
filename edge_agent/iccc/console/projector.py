"""Plays recorded footage for one page: a thread that reads, and takes orders to play, seek and pause."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Event, Thread

from edge_agent.errors import EdgeAgentError
from edge_agent.iccc.client import CommandRefused
from edge_agent.iccc.gateway import Notice
from edge_agent.iccc.live import LiveFragment, LiveInit
from edge_agent.iccc.playback import PlaybackEnd, PlaybackGap
from edge_agent.iccc.screening import PlaybackStream

PAGE_ITEMS = 1024
ORDERS = 64
DAY_US = 86_400_000_000
BEHIND_US = 15_000_000  # nearer to now than this there is live view
_POLL_S = 0.05
_IDLE_S = 0.5


@dataclass(frozen=True, slots=True)
class Play:
    """From a moment on (wall time of the box, microseconds). `take` is the page's number for it."""

    take: int
    at_us: int
    speed: float


@dataclass(frozen=True, slots=True)
class Begun:
    """What follows belongs to this take."""

    take: int


Shown = LiveInit | LiveFragment | PlaybackGap | PlaybackEnd | Notice | Begun
Begin = Callable[[int, int, float], PlaybackStream]


class Projector:
    """Made, ordered and read in the event loop; `begin` starts a playback and may wait, in our thread."""

    def __init__(self, begin: Begin, loop: asyncio.AbstractEventLoop) -> None:
        self.items: asyncio.Queue[Shown] = asyncio.Queue(PAGE_ITEMS)
        self._begin = begin
        self._loop = loop
        self._orders: queue.Queue[Play | None] = queue.Queue(ORDERS)
        self._stop = Event()
        Thread(target=self._run, name="iccc-projector", daemon=True).start()

    def play(self, order: Play) -> None:
        self._order(order)

    def pause(self) -> None:
        """The box stops sending; `play` goes on."""
        self._order(None)

    def close(self) -> None:
        """The thread stops the playback and ends by itself."""
        self._stop.set()

    def _order(self, order: Play | None) -> None:
        if self._orders.full():  # only the newest matters
            self._orders.get_nowait()
        self._orders.put_nowait(order)

    # --- our thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        order: Play | None = None
        while not self._stop.is_set():
            if order is None:
                order = self._next_order(_IDLE_S)
                continue
            self._hand(Begun(order.take))
            order = self._play(order)

    def _next_order(self, timeout_s: float) -> Play | None:
        """The newest that waits."""
        try:
            order = self._orders.get(timeout=timeout_s)
        except queue.Empty:
            return None
        while not self._orders.empty():
            order = self._orders.get_nowait()
        return order

    def _play(self, order: Play) -> Play | None:
        """Play until the end or another order; returns what to play then in a session of its own."""
        try:
            while True:
                with self._begin(order.at_us, order.at_us + DAY_US, order.speed) as stream:
                    ordered = self._show(stream, order)
                if ordered is not None or self._stop.is_set() or not _more(stream, order):
                    return ordered
                order = replace(order, at_us=stream.reach_us)
        except CommandRefused as refusal:
            self._hand(Notice(str(refusal), final=True))
        except EdgeAgentError as error:
            self._hand(Notice(str(error), final=True))
        return None

    def _show(self, stream: PlaybackStream, order: Play) -> Play | None:
        while not self._stop.is_set():
            if not self._orders.empty():
                ordered = self._next_order(0.0)
                if ordered is None or not self._sought(stream, ordered):
                    return ordered
                order = ordered
            item = stream.next_item(_POLL_S)
            if isinstance(item, PlaybackEnd):
                if not (item.complete and _more(stream, order)):
                    self._hand(item)
                return None
            if item is not None:
                self._hand(item)
        return None

    def _sought(self, stream: PlaybackStream, order: Play) -> bool:
        """False when the playback has ended meanwhile: begin another."""
        try:
            stream.seek(order.at_us, order.speed)
        except CommandRefused:
            return False
        self._hand(Begun(order.take))
        return True

    def _hand(self, item: Shown) -> None:
        try:
            self._loop.call_soon_threadsafe(self._take, item)
        except RuntimeError:  # the loop has ended: so do we
            self._stop.set()

    def _take(self, item: Shown) -> None:
        """Event loop. A page that takes nothing for minutes is left: it can ask again from where it was."""
        if self.items.full():
            self._stop.set()
            self.items.get_nowait()
            item = Notice("The page does not keep up", final=True)
        self.items.put_nowait(item)


def _more(stream: PlaybackStream, order: Play) -> bool:
    """Has more been recorded while this was played?"""
    reached_us = stream.reach_us
    return reached_us > order.at_us and reached_us < time.time_ns() // 1000 - BEHIND_US
