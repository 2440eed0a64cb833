"""When a live session steps to the camera's small stream, and when it tries the large one again. Pure."""

from __future__ import annotations

from collections import deque

STRAIN_S, STRAIN_SHARE = 4.0, 0.25  # so large a share of records dropped for so long
TRY_AGAIN_S = (30.0, 300.0)
GOOD_S = 60.0  # a stream that held so long did not fail at once


class Steering:
    """Whether a stream is more than the line carries, and when to try it again. Pure.

    Strained: in the last seconds a good part of the pictures was dropped. What replaced the stream tells
    nothing of how much more would fit, so going back is a trial, each after a longer pause if it fails.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, int]] = deque()
        self._pause_s = TRY_AGAIN_S[0]
        self._turned_s = float("-inf")

    def strained(self, offered: int, dropped: int, now: float) -> bool:
        """`offered` and `dropped` count records since the session began. Call about once a second."""
        self._samples.append((now, offered, dropped))
        while now - self._samples[0][0] > STRAIN_S + 1.0:
            self._samples.popleft()
        first_s, first_offered, first_dropped = self._samples[0]
        if now - first_s < STRAIN_S or offered == first_offered:
            return False
        return (dropped - first_dropped) / (offered - first_offered) > STRAIN_SHARE

    def stepped_down(self, now: float) -> None:
        failed_soon = now - self._turned_s < GOOD_S
        self._pause_s = min(2 * self._pause_s, TRY_AGAIN_S[1]) if failed_soon else TRY_AGAIN_S[0]
        self._turn(now)

    def stepped_up(self, now: float) -> None:
        self._turn(now)

    def may_try(self, now: float) -> bool:
        return now - self._turned_s >= self._pause_s

    def _turn(self, now: float) -> None:
        self._turned_s = now
        self._samples.clear()
