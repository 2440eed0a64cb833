"""Has one keyframe a camera and ten seconds measured, and keeps the last good pictures. Main thread only.

The small stream is measured where it flows: it costs a sixth of the full picture's decoding. The measuring
itself is done in the decode process; here is only decided whose turn it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edge_agent.capture.pictures import KeyframeMeasured
from edge_agent.health.camera import CameraWatch
from edge_agent.model import Instant, Keyframe, Role, StreamKey

HURRY_S, HURRY_FOR_S, HURRY_AGAIN_S = 2.5, 40.0, 900.0
THUMBNAIL_WIDTH, THUMBNAIL_EVERY_S = 320, 60.0
KEPT = 6  # thumbnails a camera: some minutes, each about 10 KB
RETRY_S = 1.0  # no newer keyframe has come yet


@dataclass(frozen=True, slots=True)
class Thumbnail:
    jpeg: bytes
    taken: Instant


@dataclass(slots=True)
class _Eye:
    due: float
    measured: Instant | None = None
    thumbnail_due: float = 0.0
    hurried: float = float("-inf")
    thumbnails: deque[Thumbnail] = field(default_factory=lambda: deque(maxlen=KEPT))


class Eyes:
    """`keyframe(key)` gives the newest, `measure(keyframe, width)` asks for its measures."""

    def __init__(
        self,
        keyframe: Callable[[StreamKey], Keyframe | None],
        measure: Callable[[Keyframe, int], None],
        every_s: float,
    ) -> None:
        self._keyframe = keyframe
        self._measure = measure
        self._every_s = every_s
        self._eyes: dict[str, _Eye] = {}

    def tick(self, cameras: Iterable[CameraWatch], now: float) -> None:
        """Ask for the measures of whose turn has come; `now` is monotonic seconds."""
        for number, camera in enumerate(cameras):
            eye = self._eyes.get(camera.id)
            if eye is None:  # spread over the period, so that the decode process has an even load
                eye = self._eyes[camera.id] = _Eye(now + self._every_s * (number % 16) / 16)
            if now >= eye.due and camera.flowing:
                eye.due = now + self._look(camera, eye, now)

    def hurry(self, camera: str, now: float) -> None:
        """Something points to a picture that is none: look closer for a while, but not again and again."""
        eye = self._eyes.get(camera)
        if eye is not None and now - eye.hurried > HURRY_AGAIN_S:
            eye.hurried, eye.due = now, now

    def took(self, fact: KeyframeMeasured) -> None:
        eye = self._eyes.get(fact.key.camera)
        if eye is not None and fact.thumbnail:
            eye.thumbnails.append(Thumbnail(fact.thumbnail, fact.taken))

    def last_before(self, camera: str, since: Instant) -> Thumbnail | None:
        """The newest picture kept from before that moment."""
        kept = self._eyes[camera].thumbnails if camera in self._eyes else ()
        return next((t for t in reversed(kept) if t.taken.boot_ns < since.boot_ns), None)

    def first_after(self, camera: str, since: Instant) -> Thumbnail | None:
        kept = self._eyes[camera].thumbnails if camera in self._eyes else ()
        return next((t for t in kept if t.taken.boot_ns >= since.boot_ns), None)

    def _look(self, camera: CameraWatch, eye: _Eye, now: float) -> float:
        """Seconds until its next turn."""
        role = Role.SUB if Role.SUB in camera.flowing else Role.MAIN
        keyframe = self._keyframe(StreamKey(camera.id, role))
        if keyframe is None or (eye.measured is not None and keyframe.at.boot_ns <= eye.measured.boot_ns):
            return RETRY_S
        eye.measured = keyframe.at
        hurried = now - eye.hurried < HURRY_FOR_S
        wanted = hurried or now >= eye.thumbnail_due
        if wanted:
            eye.thumbnail_due = now + THUMBNAIL_EVERY_S
        self._measure(keyframe, THUMBNAIL_WIDTH if wanted else 0)
        return min(HURRY_S, self._every_s) if hurried else self._every_s
