"""Encodes the loops with PyAV, once, and keeps them on disk. Thread-safe; processes may share a cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from edge_agent.demo.dvr import scenes
from edge_agent.demo.dvr.loops import EncodedLoop, EncodedUnit, read_loop, split_annexb, write_loop
from edge_agent.errors import SourceLost
from edge_agent.model import Codec

Noise = NDArray[np.int8]
VERSION = 2  # of everything below that changes the encoded bytes; part of each cache key
_STILLS_VERSION = 3  # the same for the still pictures alone
GOP_S = 2
# Prime lengths: sampled every so many whole seconds, a loop shows each of its pictures before it repeats.
_MAIN_LENGTHS = (251, 257, 263, 269, 271, 277, 281, 283)
_SUB_LENGTHS = (127, 131, 137, 139, 149, 151, 157, 163)
_LONG_GOP_LENGTH = (
    257  # 1 + 256: frame_num and POC counters of the encoders wrap after 256 pictures or a divisor
)
_DISTINCT_NOISY = 4  # the bench's loops cost seconds and megabytes each: every fourth channel shows the same


class Variant(StrEnum):
    """Which recording of the same scene a stream shows."""

    NORMAL = "normal"
    SLATE = "slate"  # the still pictures have a running clock drawn into them
    BLACK = "black"
    FROZEN = "frozen"
    SMALLER = "smaller"  # other resolution: a new SPS
    OTHER_PPS = "other-pps"
    LONG_GOP = "long-gop"  # one keyframe at the start of a session, never another


_STILLS: dict[Variant, Callable[[int, int, int], scenes.Picture]] = {
    Variant.SLATE: scenes.slate,
    Variant.BLACK: scenes.black,
    Variant.FROZEN: scenes.frozen,
}
_STILL_S = 17  # their loops: sampled every 10 s, the clock never shows the same second twice running


@dataclass(frozen=True, slots=True)
class Shape:
    """`kbps` 0 lets the picture decide; otherwise sensor noise is added until the encoder needs that rate."""

    width: int
    height: int
    fps: int
    codec: Codec = Codec.H264
    kbps: int = 0


@dataclass(frozen=True, slots=True)
class LoopKey:
    """Everything the encoded bytes depend on."""

    channel: int
    sub: bool
    shape: Shape
    variant: Variant = Variant.NORMAL

    def file_name(self) -> str:
        version = _STILLS_VERSION if self.variant in _STILLS else VERSION
        named = repr((version, GOP_S, av.__version__, sorted(asdict(self).items(), key=str)))
        return f"{hashlib.sha256(named.encode()).hexdigest()[:32]}.loop"


def loop_key(channel: int, sub: bool, shape: Shape, variant: Variant) -> LoopKey:
    """Which loop a stream shows; those of the bench are few and shared."""
    return LoopKey((channel - 1) % _DISTINCT_NOISY + 1 if shape.kbps else channel, sub, shape, variant)


def default_cache() -> Path:
    return Path(tempfile.gettempdir()) / f"edge-agent-dvr-cache-{os.getuid()}"


def load(cache: Path, key: LoopKey) -> EncodedLoop:
    """The loop from the cache, or encoded now and kept there. Blocks for up to seconds."""
    return cached(cache, key.file_name(), lambda: _encode_scene(key))


def cached(cache: Path, name: str, make: Callable[[], EncodedLoop]) -> EncodedLoop:
    """One process makes a missing file, the others wait for it at a lock beside it."""
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    if cache.stat().st_uid != os.getuid():
        raise PermissionError(f"{cache} belongs to another user: name a cache directory of your own")
    path = cache / name
    if (loop := read_loop(path)) is not None:
        return loop
    with _locked(path.with_suffix(".lock")):
        if (loop := read_loop(path)) is None:
            loop = make()
            write_loop(path, loop)
    return loop


def jpeg_of(loop: EncodedLoop, index: int = 0) -> bytes:
    """The keyframe at `index` as a JPEG."""
    decoder = av.CodecContext.create("hevc" if loop.codec is Codec.H265 else "h264", "r")
    annexb = b"".join(b"\x00\x00\x00\x01" + nal for nal in loop.units[index].nals)
    frames = [*decoder.decode(av.Packet(annexb)), *decoder.decode(None)]
    if not frames:
        raise SourceLost("the loop's keyframe does not decode")
    done, buffer = cv2.imencode(".jpg", frames[0].to_ndarray(format="bgr24"))
    if not done:
        raise SourceLost("the picture does not encode as JPEG")
    return buffer.tobytes()


class Encoder:
    """One PyAV encoder, set as cameras are: no B-frames, one slice, a fixed GOP, parameter sets in band."""

    def __init__(self, shape: Shape, gop: int, variant: Variant = Variant.NORMAL) -> None:
        self._codec = shape.codec
        library = "libx265" if shape.codec is Codec.H265 else "libx264"
        context = av.CodecContext.create(library, "w")
        if not isinstance(context, av.VideoCodecContext):
            raise TypeError(f"{library} is not a video encoder")
        context.width, context.height = shape.width, shape.height
        context.pix_fmt = "yuv420p"
        context.framerate = Fraction(shape.fps)
        context.time_base = Fraction(1, shape.fps)
        context.gop_size = gop
        context.max_b_frames = 0
        context.thread_count = 1
        if shape.kbps:
            context.bit_rate = shape.kbps * 1000
        context.options = _options(shape, gop, variant)
        self._context = context
        self._count = 0

    def encode(self, picture: scenes.Picture, noise: Noise | None = None) -> list[EncodedUnit]:
        planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
        if noise is not None:
            planes = cv2.add(planes, noise, dtype=cv2.CV_8U)
        frame = av.VideoFrame.from_ndarray(np.asarray(planes, np.uint8), format="yuv420p")
        frame.pts = self._count
        self._count += 1
        return self._units(frame)

    def finish(self) -> list[EncodedUnit]:
        return self._units(None)

    def _units(self, frame: av.VideoFrame | None) -> list[EncodedUnit]:
        packets = self._context.encode(frame)
        return [split_annexb(self._codec, bytes(packet), packet.is_keyframe) for packet in packets]


def _options(shape: Shape, gop: int, variant: Variant) -> dict[str, str]:
    if shape.codec is Codec.H265:
        fixed = "pools=1:frame-threads=1:repeat-headers=1:info=0:log-level=none:scenecut=0"
        fixed += f":keyint={gop}:min-keyint={gop}"
        return {"preset": "ultrafast", "tune": "zerolatency", "x265-params": fixed}
    fixed = f"threads=1:sliced-threads=0:scenecut=0:keyint={gop}:min-keyint={gop}"
    if shape.kbps:
        fixed += f":vbv-maxrate={shape.kbps}:vbv-bufsize={shape.kbps}"
    if variant is Variant.OTHER_PPS:
        fixed += ":chroma-qp-offset=2"
    return {"preset": "ultrafast" if shape.kbps else "superfast", "tune": "zerolatency", "x264-params": fixed}


def _encode_scene(key: LoopKey) -> EncodedLoop:
    shape = _variant_shape(key)
    length = _length(key)
    seamless = key.variant is Variant.LONG_GOP
    encoder = Encoder(shape, 1 << 20 if seamless else GOP_S * shape.fps, key.variant)
    noise = _noise(shape) if shape.kbps else ()
    units: list[EncodedUnit] = []
    for index, picture in enumerate(_pictures(key, shape, length)):
        units += encoder.encode(picture, noise[index % len(noise)] if noise else None)
    units += encoder.finish()
    return EncodedLoop(shape.codec, shape.width, shape.height, Fraction(shape.fps), tuple(units), seamless)


def _pictures(key: LoopKey, shape: Shape, length: int) -> Iterator[scenes.Picture]:
    if key.variant in _STILLS:
        still = _STILLS[key.variant](key.channel, shape.width, shape.height)
        for second in range(_STILL_S):
            picture = scenes.clocked(still, second)
            yield from (picture for _ in range(shape.fps))
        return
    view = scenes.scene(key.channel, shape.width, shape.height)
    period = length - 1 if key.variant is Variant.LONG_GOP else length
    for index in range(length):
        yield view.picture(index % period, period)


def _variant_shape(key: LoopKey) -> Shape:
    shape = key.shape
    kbps = 0 if key.variant in _STILLS else shape.kbps
    if key.variant is Variant.SMALLER:
        return Shape(shape.width // 32 * 16, shape.height // 32 * 16, shape.fps, shape.codec, kbps)
    return Shape(shape.width, shape.height, shape.fps, shape.codec, kbps)


def _length(key: LoopKey) -> int:
    if key.variant is Variant.LONG_GOP:
        return _LONG_GOP_LENGTH
    if key.variant in _STILLS:
        return _STILL_S * key.shape.fps
    lengths = _SUB_LENGTHS if key.sub else _MAIN_LENGTHS
    return lengths[(key.channel - 1) % len(lengths)]


def _noise(shape: Shape) -> tuple[Noise, ...]:
    """A few fields of sensor noise (signed, around zero), enough that the rate control has to work."""
    source = np.random.default_rng(7)
    size = shape.height * 3 // 2, shape.width
    return tuple((6 * source.standard_normal(size, np.float32)).astype(np.int8) for _ in range(5))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
