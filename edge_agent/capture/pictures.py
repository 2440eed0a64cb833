"""Snapshots and measures from keyframes: bounded queues before the decode process, and mercy with neither.

Snapshots go first: somebody waits for them. A measure that finds its queue full is dropped and counted.

A stream whose pictures kill or hang the decode process twice within an hour is quarantined: no longer
decoded, still recorded. One thread, under the supervisor.
"""

from __future__ import annotations

import contextlib
import logging
import queue
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event

from edge_agent.capture import decode_child, picture_wire
from edge_agent.capture.decode_child import ChildLost, DecodeChild
from edge_agent.capture.likeness import Likeness
from edge_agent.clock import Clock
from edge_agent.errors import FormatError
from edge_agent.events import Fact, Inbox
from edge_agent.model import Instant, Keyframe, StreamKey
from edge_agent.supervisor import Beat

log = logging.getLogger(__name__)

QUEUE_SIZE = 64
DEADLINE_S = 8.0
DEATHS_ALLOWED = 1
DEATHS_WITHIN_S = 3600.0
THUMBNAIL_QUALITY = 70
FIRST_RESTART_S, LONGEST_RESTART_S = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class PictureReady(Fact):
    """The JPEG of the keyframe that was taken at `taken`."""

    ticket: str
    key: StreamKey
    jpeg: bytes
    taken: Instant


@dataclass(frozen=True, slots=True)
class PictureFailed(Fact):
    """No picture; `reason` is for people."""

    ticket: str
    key: StreamKey
    reason: str


@dataclass(frozen=True, slots=True)
class KeyframeMeasured(Fact):
    """A keyframe's measures (docs/design/night-watch.md), and a small JPEG of it if one was wanted.

    `change` and `print` compare it with the measured one before, the recorder's clock left out.
    """

    key: StreamKey
    taken: Instant
    mean: float
    deviation: float
    detail: float
    colour: float
    flat: float
    change: float | None
    print: str
    thumbnail: bytes


@dataclass(frozen=True, slots=True)
class DecodingQuarantined(Fact):
    """The stream's pictures killed the decode process twice: it is no longer decoded, still recorded."""

    key: StreamKey
    reason: str


@dataclass(frozen=True, slots=True)
class _Wanted:
    keyframe: Keyframe
    quality: int
    max_width: int
    ticket: str
    kind: picture_wire.Kind = picture_wire.Kind.JPEG


class Pictures:
    """Worker. Every `snapshot` is answered by exactly one PictureReady or PictureFailed, a `measure` by a
    KeyframeMeasured or by nothing."""

    name = "pictures"

    def __init__(
        self,
        clock: Clock,
        inbox: Inbox,
        *,
        deadline_s: float = DEADLINE_S,
        queue_size: int = QUEUE_SIZE,
        command: Sequence[str] = decode_child.COMMAND,
    ) -> None:
        self._clock = clock
        self._inbox = inbox
        self._deadline_s = deadline_s
        self._command = command
        self._wanted: queue.Queue[_Wanted] = queue.Queue(queue_size)
        self._measures: queue.Queue[_Wanted] = queue.Queue(queue_size)
        self._likeness: dict[StreamKey, Likeness] = {}
        self._child: DecodeChild | None = None
        self._restart_at = 0.0
        self._restart_pause_s = FIRST_RESTART_S
        self._deaths: dict[StreamKey, tuple[float, ...]] = {}
        self._quarantined: frozenset[StreamKey] = frozenset()
        self.dropped = 0
        self.restarts = 0

    @property
    def quarantined(self) -> frozenset[StreamKey]:
        return self._quarantined

    @property
    def child_pid(self) -> int | None:
        """The decode process, for those who measure it."""
        child = self._child
        return child.pid if child is not None else None

    def snapshot(self, keyframe: Keyframe, quality: int, max_width: int | None, ticket: str) -> None:
        """Ask for a JPEG (quality 1-100, at most `max_width` wide). Any thread; never blocks.

        A full queue or a quarantined stream is answered with PictureFailed at once.
        """
        wanted = _Wanted(keyframe, quality, max_width or 0, ticket)
        if keyframe.key in self._quarantined:
            self._failed(wanted, "its pictures killed the decode process twice; it is recorded, not decoded")
            return
        try:
            self._wanted.put_nowait(wanted)
        except queue.Full:
            self.dropped += 1
            self._failed(wanted, "too many pictures are waiting")

    def measure(self, keyframe: Keyframe, thumbnail_width: int = 0) -> None:
        """Ask for a picture's measures, and for a JPEG so wide if not 0. Any thread; never blocks."""
        if keyframe.key in self._quarantined:
            return
        kind = picture_wire.Kind.MEASURE
        try:
            self._measures.put_nowait(_Wanted(keyframe, THUMBNAIL_QUALITY, thumbnail_width, "", kind))
        except queue.Full:
            self.dropped += 1

    def release(self, key: StreamKey) -> None:
        """Decode a quarantined stream again, for instance after its camera was replaced. Any thread."""
        self._quarantined = self._quarantined - {key}
        self._deaths.pop(key, None)

    def run(self, stop: Event, beat: Beat) -> None:
        try:
            while not stop.is_set():
                beat()
                wanted = self._next()
                if wanted is not None:
                    self._serve(wanted)
        finally:
            self._end_child()

    def _next(self) -> _Wanted | None:
        """Snapshots first; measures wait up to half a second for the next look."""
        for waiting in (self._wanted, self._measures):
            with contextlib.suppress(queue.Empty):
                return waiting.get_nowait()
        with contextlib.suppress(queue.Empty):
            return self._wanted.get(timeout=0.5)
        return None

    def _serve(self, wanted: _Wanted) -> None:
        key = wanted.keyframe.key
        if key in self._quarantined:
            self._failed(wanted, "its pictures killed the decode process twice; it is recorded, not decoded")
            return
        child = self._running_child(wanted)
        if child is None:
            return
        picture = wanted.keyframe
        request = picture_wire.Request(
            picture.codec, picture.annexb, wanted.quality, wanted.max_width, wanted.kind
        )
        try:
            answer = child.ask(request, self._deadline_s)
        except FormatError as error:
            self._failed(wanted, str(error))
        except ChildLost as lost:
            self._child = None
            self._failed(wanted, f"the decode process was lost over this picture: {lost}")
            self._blame(key, str(lost))
        else:
            self._answered(wanted, answer)

    def _running_child(self, wanted: _Wanted) -> DecodeChild | None:
        """The decode process, started if need be; None (and the request failed) while it does not start."""
        if self._child is not None and not self._child.running:
            log.warning("the decode process ended while it had nothing to do; starting another")
            self._end_child()  # no picture is to blame
        if self._child is not None:
            return self._child
        if self._clock.monotonic() < self._restart_at:
            self._failed(wanted, "the decode process does not start; trying again soon")
            return None
        try:
            self._child = DecodeChild(self._command)
        except ChildLost as lost:
            log.error("%s; next attempt in %.0f s", lost, self._restart_pause_s)
            self._restart_at = self._clock.monotonic() + self._restart_pause_s
            self._restart_pause_s = min(self._restart_pause_s * 2, LONGEST_RESTART_S)
            self._failed(wanted, str(lost))
            return None
        self._restart_pause_s = FIRST_RESTART_S
        return self._child

    def _blame(self, key: StreamKey, reason: str) -> None:
        now = self._clock.monotonic()
        recent = (*(t for t in self._deaths.get(key, ()) if now - t < DEATHS_WITHIN_S), now)
        self._deaths[key] = recent
        self.restarts += 1
        log.warning("%s: its picture ended the decode process: %s; restarting it", key, reason)
        if len(recent) > DEATHS_ALLOWED:
            self._quarantined = self._quarantined | {key}
            log.error("%s: no longer decoded: its pictures ended the decode process twice", key)
            self._inbox.put(DecodingQuarantined(self._clock.now(), key, reason))

    def _answered(self, wanted: _Wanted, answer: picture_wire.Answer) -> None:
        if answer.reason:
            self._failed(wanted, answer.reason)
            return
        taken, key = wanted.keyframe.at, wanted.keyframe.key
        if wanted.kind is picture_wire.Kind.MEASURE:
            if answer.measures is not None:
                self._tell_measures(key, taken, answer.measures, answer.jpeg)
            return
        self._inbox.put(PictureReady(self._clock.now(), wanted.ticket, key, answer.jpeg, taken))

    def _tell_measures(self, key: StreamKey, taken: Instant, m: picture_wire.Measures, jpeg: bytes) -> None:
        change, digest = self._likeness.setdefault(key, Likeness()).compare(m.blocks)
        self._inbox.put(
            KeyframeMeasured(
                self._clock.now(),
                key,
                taken,
                m.mean,
                m.deviation,
                m.detail,
                m.colour,
                m.flat,
                change,
                digest,
                jpeg,
            )
        )

    def _failed(self, wanted: _Wanted, reason: str) -> None:
        if wanted.kind is picture_wire.Kind.MEASURE:
            log.debug("%s: not measured: %s", wanted.keyframe.key, reason)
            return
        self._inbox.put(PictureFailed(self._clock.now(), wanted.ticket, wanted.keyframe.key, reason))

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None
