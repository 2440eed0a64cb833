"""Decoding times from display times: RTP stamps say when a picture is shown, in the order of decoding."""

from __future__ import annotations

from collections import deque
from heapq import heappushpop

MOST_REORDER = 4  # B pyramids of encoders need two
BACKWARD_TICKS = 90_000  # stamps that go back further are a jump, not B pictures


class DecodeOrder:
    """Gives each picture a decoding time not later than its display time.

    With a reorder depth of n the decoding time is the smallest of the last n + 1 display times. The depth
    is the SPS's, or learnt when stamps go back a little.
    """

    def __init__(self, depth: int, frame_ticks: int) -> None:
        self.depth = min(depth, MOST_REORDER)
        self._frame_ticks = frame_ticks
        self._waiting: list[int] = []
        self._recent: deque[int] = deque(maxlen=4 * MOST_REORDER)
        self._newest = 0
        self._last = 0

    def start(self, stamp: int) -> int:
        """Begin, or begin anew after a jump; returns the first decoding time."""
        self._waiting = [stamp - n * self._frame_ticks for n in range(self.depth, 0, -1)]
        self._recent.clear()
        self._newest = stamp
        self._last = self._waiting[0] - 1 if self._waiting else stamp - 1
        return self._emit(stamp)

    def place(self, stamp: int) -> int | None:
        """The decoding time of the next picture; None when its stamp jumped back."""
        if stamp < self._newest:
            later = sum(1 for other in self._recent if other > stamp)
            if self._newest - stamp > BACKWARD_TICKS or later > MOST_REORDER:
                return None
            while self.depth < later:
                self.depth += 1
                self._waiting.append(self._last + 1)
        return self._emit(stamp)

    def _emit(self, stamp: int) -> int:
        self._recent.append(stamp)
        self._newest = max(self._newest, stamp)
        earliest = heappushpop(self._waiting, stamp)
        self._last = max(self._last, earliest)
        return earliest
