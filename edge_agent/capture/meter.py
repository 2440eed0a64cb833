"""Counts one stream's packets, pictures and rates over all its visits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge_agent.capture.compat import CompatVisit
from edge_agent.capture.ports import StreamStats
from edge_agent.capture.recorder import Recorder
from edge_agent.capture.stream import PictureSizes, Stream
from edge_agent.capture.visit import Visit
from edge_agent.events import Fact
from edge_agent.model import Instant, StreamKey

_SPAN_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class StreamPulsed(Fact):
    """What came in the last `seconds` of one session: counts and sums of bytes of coded pictures."""

    key: StreamKey
    seconds: float
    keyframes: int
    key_bytes: int
    deltas: int
    delta_bytes: int


class Pulse:
    """The size pattern of a stream, every `every_s` while it plays. Capture thread only."""

    def __init__(self, key: StreamKey, every_s: float) -> None:
        self._key = key
        self._every_ns = int(every_s * 1e9)
        self._stream: Stream | None = None
        self._since_ns = 0
        self._before = PictureSizes()

    def take(self, stream: Stream | None, now: Instant) -> StreamPulsed | None:
        """The pulse when it is due. What was counted does not reach over two sessions."""
        if stream is None:
            return None
        if stream is not self._stream:
            self._begin(stream, now, PictureSizes())
        if now.boot_ns - self._since_ns < self._every_ns:
            return None
        sizes, before = replace(stream.sizes), self._before
        seconds = (now.boot_ns - self._since_ns) / 1e9
        self._begin(stream, now, sizes)
        return StreamPulsed(
            now,
            self._key,
            seconds,
            sizes.keyframes - before.keyframes,
            sizes.key_bytes - before.key_bytes,
            sizes.deltas - before.deltas,
            sizes.delta_bytes - before.delta_bytes,
        )

    def _begin(self, stream: Stream, now: Instant, sizes: PictureSizes) -> None:
        self._stream, self._since_ns, self._before = stream, now.boot_ns, sizes


class Meter:
    """Adds up finished visits; rates are of the last two seconds. Written by the capture thread only."""

    def __init__(self) -> None:
        self.visits = 0
        self._packets = 0
        self._bytes = 0
        self._lost = 0
        self._pictures = 0
        self._discontinuities = 0
        self._fps = 0.0
        self._kbps = 0.0
        self._marked = (0, 0, 0)  # box time, pictures, bytes
        self._last_packet: Instant | None = None
        self._last_keyframe: Instant | None = None

    def tick(self, visit: Visit | CompatVisit, recorder: Recorder, now: Instant) -> None:
        """Take the rates anew every two seconds."""
        since_ns, pictures, size = self._marked
        if now.boot_ns - since_ns < _SPAN_NS or visit.stream is None:
            return
        span_s = (now.boot_ns - since_ns) / 1e9
        self._fps = (visit.stream.pictures - pictures) / span_s if since_ns else 0.0
        self._kbps = (visit.bytes - size) * 0.008 / span_s if since_ns else 0.0
        self._marked = (now.boot_ns, visit.stream.pictures, visit.bytes)
        if visit.stream.keyframe is not None:
            self._last_keyframe = recorder.instant(visit.stream.keyframe_boot_ns)

    def close(self, visit: Visit | CompatVisit) -> None:
        """A visit has ended: keep its counts."""
        self._bytes += visit.bytes
        self._marked = (0, 0, 0)
        self._fps = self._kbps = 0.0
        self._last_packet = visit.last_packet or self._last_packet
        stream = visit.stream
        if stream is not None:
            self._packets += stream.access.packets
            self._lost += stream.access.lost
            self._pictures += stream.pictures
            self._discontinuities += stream.timeline.discontinuities if stream.timeline else 0

    def stats(self, visit: Visit | CompatVisit | None, recorder: Recorder) -> StreamStats:
        """Any thread."""
        stream = visit.stream if visit else None
        timeline = stream.timeline if stream else None
        picture = stream.sets.format if stream else None
        clock = visit.camera_clock if visit else None
        return StreamStats(
            state="",
            codec=stream.codec if stream else None,
            width=picture.width if picture else 0,
            height=picture.height if picture else 0,
            packets=self._packets + (stream.access.packets if stream else 0),
            bytes=self._bytes + (visit.bytes if visit else 0),
            lost_packets=self._lost + (stream.access.lost if stream else 0),
            pictures=self._pictures + (stream.pictures if stream else 0),
            fragments=recorder.fragments,
            dropped_fragments=recorder.dropped,
            reconnects=max(self.visits - 1, 0),
            discontinuities=self._discontinuities + (timeline.discontinuities if timeline else 0),
            fps=round(self._fps, 2),
            kbps=round(self._kbps, 1),
            gop_s=stream.gop_ns / 1e9 if stream else 0.0,
            paced=timeline.paced if timeline else False,
            last_packet=(visit.last_packet if visit else None) or self._last_packet,
            last_keyframe=self._last_keyframe,
            camera_clock_us=clock[0] if clock else None,
            camera_clock_at=clock[1] if clock else None,
            converted=visit.converted if visit else "",
        )
