"""Old codecs to H.264 as our files want it. Runs in the compatibility process only; imports PyAV.

No B pictures, a keyframe every two seconds, no more pictures and no larger ones than ordered. After each
picture the converter rests half as long as it worked: a slow box gets fewer pictures, never a backlog.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from edge_agent.capture.compat_wire import MOST_NALS, Unit

CONVERTED = {"mjpeg": "MJPEG", "mpeg4": "MPEG-4 Part 2"}  # FFmpeg's names and the people's
KEYFRAME_S = 2.0
MAX_PIXELS = 4096 * 2304
QUALITY, MOST_KBPS = 25, 2500  # x264's constant rate factor, and what a shop's line must not exceed

STRANGE_PICTURES = 25  # in a row, from the first one on: it is the camera, not the line

_TICKS_PER_S = 90_000
_STRANGE_S = 2.0  # a step of the stamps that is not believed: arrivals count instead
_START_CODE = re.compile(b"\x00\x00\x01")


@dataclass(frozen=True, slots=True)
class Arrived:
    """One packet as it came: `ticks` is its display time (90 kHz)."""

    packet: av.Packet[VideoStream]
    ticks: int
    arrival_ns: int


class Converter:
    """Decodes and encodes one stream. Raises av.error.FFmpegError when the encoder fails."""

    def __init__(self, stream: VideoStream, max_fps: int, max_width: int) -> None:
        self._decoder = stream.codec_context
        self._all_key = self._decoder.name == "mjpeg"
        # a JPEG with noise in it is else shown as if it were one
        strict = {"err_detect": "explode"} if self._all_key else {}
        self._decoder.options = {"max_pixels": str(MAX_PIXELS), **strict}
        self._decoder.thread_count = 1  # frame threads would hold pictures back
        self._pace = Pace(max_fps)
        self._max_fps, self._max_width = max_fps, max_width
        self._encoder: VideoCodecContext | None = None
        self._size = (0, 0)
        self._count = 0
        self._keyed_ns = 0
        self._damaged = False
        self._whole_seen = self._lenient = False
        self._strange = 0  # pictures with damage

    def feed(self, arrived: Arrived) -> Iterator[Unit]:
        """The pictures that one packet completed; none while the pace says so."""
        if self._all_key and not self._pace.due(arrived.ticks, arrived.arrival_ns):
            return
        began_ns = time.monotonic_ns()
        for frame in self._decoded(arrived.packet):
            ticks = arrived.ticks if self._all_key or frame.pts is None else frame.pts
            if self._all_key or self._pace.due(ticks, arrived.arrival_ns):
                yield self._encoded(frame, ticks, arrived.arrival_ns)
        self._pace.worked(arrived.arrival_ns, time.monotonic_ns() - began_ns)

    def _decoded(self, packet: av.Packet[VideoStream]) -> list[VideoFrame]:
        """Whole pictures. What cannot be decoded is missing in what is recorded, and said to be."""
        try:
            frames = self._decoder.decode(packet)
        except (av.error.InvalidDataError, av.error.PatchWelcomeError, ValueError):
            frames, damaged = [], 1
        else:
            damaged = 0 if self._lenient else sum(1 for frame in frames if frame.is_corrupt)
        whole = [frame for frame in frames if self._lenient or not frame.is_corrupt]
        self._damaged |= damaged > 0
        self._whole_seen |= bool(whole)
        self._strange += damaged
        if not self._whole_seen and self._strange >= STRANGE_PICTURES:
            self._be_lenient()
        return whole

    def _be_lenient(self) -> None:
        """A camera not one of whose pictures is quite right writes them so: they are taken as they are."""
        self._lenient = True
        if self._all_key:
            self._decoder = _jpeg_decoder()

    def _encoded(self, frame: VideoFrame, ticks: int, arrival_ns: int) -> Unit:
        lost, self._damaged = self._damaged, False
        size = _fitting(frame.width, frame.height, self._max_width)
        if self._encoder is None or size != self._size:
            self._encoder, self._size, self._count = _encoder(size, self._max_fps), size, 0
        picture = frame.reformat(*size, format="yuv420p", dst_color_range="MPEG")
        keyed = not self._count or lost or arrival_ns - self._keyed_ns >= KEYFRAME_S * 1e9
        picture.pict_type = PictureType.I if keyed else PictureType.NONE
        picture.pts, picture.time_base = self._count, Fraction(1, self._max_fps)
        self._keyed_ns = arrival_ns if keyed else self._keyed_ns
        self._count += 1
        coded = b"".join(bytes(packet) for packet in self._encoder.encode(picture))
        return Unit(arrival_ns, ticks, nals_of(coded), lost)


class Pace:
    """Lets so many pictures a second pass, evenly by their stamps, or by arrival if those make no sense."""

    def __init__(self, max_fps: int) -> None:
        self._max_fps = max_fps
        self._credit = 1.0
        self._ticks = 0
        self._arrival_ns = 0
        self._rest_until_ns = 0

    def due(self, ticks: int, arrival_ns: int) -> bool:
        stamped_s = (ticks - self._ticks) / _TICKS_PER_S
        passed_s = stamped_s if 0 < stamped_s <= _STRANGE_S else (arrival_ns - self._arrival_ns) / 1e9
        self._ticks, self._arrival_ns = ticks, arrival_ns
        self._credit = min(self._credit + passed_s * self._max_fps, 2.0)
        if self._credit < 0.999 or arrival_ns < self._rest_until_ns:
            return False
        self._credit -= 1
        return True

    def worked(self, arrival_ns: int, cost_ns: int) -> None:
        """Rest half as long as the last picture cost, counted from its end."""
        self._rest_until_ns = arrival_ns + cost_ns + cost_ns // 2


def nals_of(annexb: bytes) -> tuple[bytes, ...]:
    """Annex B to NAL units. The zero that makes a start code longer belongs to no unit."""
    pieces = (piece.rstrip(b"\x00") for piece in _START_CODE.split(annexb))
    return tuple(nal for nal in pieces if len(nal) > 1)[:MOST_NALS]


def _fitting(width: int, height: int, max_width: int) -> tuple[int, int]:
    """At most so wide, the same shape, even in both directions."""
    scale = min(1.0, max_width / width)
    return max(round(width * scale) // 2 * 2, 16), max(round(height * scale) // 2 * 2, 16)


def _jpeg_decoder() -> VideoCodecContext:
    context = av.CodecContext.create("mjpeg", "r")
    assert isinstance(context, VideoCodecContext)
    context.options, context.thread_count = {"max_pixels": str(MAX_PIXELS)}, 1
    return context


def _encoder(size: tuple[int, int], max_fps: int) -> VideoCodecContext:
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = size
    context.pix_fmt = "yuv420p"
    context.framerate, context.time_base = Fraction(max_fps), Fraction(1, max_fps)
    context.max_b_frames, context.thread_count = 0, 1
    rate = f"vbv-maxrate={MOST_KBPS}:vbv-bufsize={MOST_KBPS}"
    context.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "crf": str(QUALITY),
        "forced-idr": "1",
        "x264-params": f"threads=1:scenecut=0:keyint=infinite:repeat-headers=1:annexb=1:{rate}",
    }
    return context
