"""Snapshots on their way: who asked for the picture, and what happens with it when it comes.

Main thread only. The newest keyframe in RAM goes to the decode process; the JPEG comes back as a fact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from edge_agent.capture.loop import CaptureLoop
from edge_agent.capture.pictures import PictureFailed, PictureReady, Pictures
from edge_agent.clock import Clock
from edge_agent.model import Keyframe, Role, StreamKey

STALE_S = 15.0  # older than this, a keyframe says nothing about now; longer for cameras with long GOPs
MAX_WAITING = 64

Taken = Callable[[PictureReady], object]
Failed = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Ticket:
    taken: Taken
    failed: Failed


class SnapshotDesk:
    def __init__(self, capture: CaptureLoop, pictures: Pictures, clock: Clock, quality: int) -> None:
        self._capture = capture
        self._pictures = pictures
        self._clock = clock
        self._quality = quality
        self._waiting: dict[str, _Ticket] = {}
        self._numbers = count(1)

    def ask(self, camera: str, taken: Taken, failed: Failed, *, max_width: int | None = None) -> None:
        """Exactly one of `taken` and `failed` is called, perhaps at once, always in the main thread."""
        keyframe = self._newest(camera)
        if keyframe is None:
            failed(f"{camera}: no picture has arrived yet")
        elif (age_s := self._age_s(keyframe)) > self._patience_s(keyframe.key):
            failed(f"{camera}: the last picture is {age_s:.0f} s old; the camera sends nothing")
        elif len(self._waiting) >= MAX_WAITING:
            failed(f"{camera}: too many pictures are waiting already")
        else:
            ticket = f"snapshot-{next(self._numbers)}"
            self._waiting[ticket] = _Ticket(taken, failed)
            self._pictures.snapshot(keyframe, self._quality, max_width, ticket)

    def came(self, fact: PictureReady) -> None:
        ticket = self._waiting.pop(fact.ticket, None)
        if ticket is not None:
            ticket.taken(fact)

    def failed(self, fact: PictureFailed) -> None:
        ticket = self._waiting.pop(fact.ticket, None)
        if ticket is not None:
            ticket.failed(f"{fact.key.camera}: {fact.reason}")

    def _newest(self, camera: str) -> Keyframe | None:
        """The full picture if there is one, else the small one."""
        frames = [self._capture.keyframe(StreamKey(camera, role)) for role in (Role.MAIN, Role.SUB)]
        known = [f for f in frames if f is not None]
        fresh = [f for f in known if self._age_s(f) <= self._patience_s(f.key)]
        return next(iter(fresh or known), None)

    def _age_s(self, keyframe: Keyframe) -> float:
        return (self._clock.now().boot_ns - keyframe.at.boot_ns) / 1e9

    def _patience_s(self, key: StreamKey) -> float:
        """A stream with a keyframe a minute is not silent between two of them."""
        stats = self._capture.stats().get(key)
        return max(STALE_S, 1.5 * stats.gop_s if stats else 0.0)
