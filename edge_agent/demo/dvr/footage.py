"""Real clips as loops: H.264 without B-frames is served as it is, anything else is transcoded once."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from edge_agent.demo.dvr.loops import EncodedLoop, EncodedUnit, split_annexb
from edge_agent.demo.dvr.media import GOP_S, VERSION, Encoder, Shape, cached
from edge_agent.errors import ConfigError, FormatError
from edge_agent.model import Codec

_SUFFIXES = (".mp4", ".mov", ".mkv")
_LONGEST_S = 180
_LONGEST_GOP_S = 12


def clips(directory: Path) -> tuple[Path, ...]:
    found = tuple(sorted(path for path in directory.glob("*") if path.suffix.lower() in _SUFFIXES))
    if not found:
        raise ConfigError([f"--footage {directory}: no {', '.join(_SUFFIXES)} file in it"])
    return found


def load(cache: Path, clip: Path, shape: Shape | None) -> EncodedLoop:
    """The clip at its own size, or transcoded to `shape`; cached by path, size and time of the file."""
    status = clip.stat()
    named = repr((VERSION, str(clip.resolve()), status.st_size, status.st_mtime_ns, shape))
    name = f"{hashlib.sha256(named.encode()).hexdigest()[:32]}.loop"
    return cached(cache, name, lambda: _make(clip, shape))


def _make(clip: Path, shape: Shape | None) -> EncodedLoop:
    try:
        if shape is None and (loop := _remuxed(clip)) is not None:
            return loop
        return _transcoded(clip, shape)
    except av.error.FFmpegError as error:
        raise FormatError(f"{clip.name}: cannot be read as video: {error}") from error


def _remuxed(clip: Path) -> EncodedLoop | None:
    """None unless the clip is what a camera sends: H.264, pictures in order, a keyframe now and then."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        if stream.codec_context.name != "h264":
            return None
        fps = Fraction(stream.average_rate or 25)
        context = stream.codec_context
        annexb = av.BitStreamFilterContext("h264_mp4toannexb", stream)
        units: list[EncodedUnit] = []
        newest = None
        for packet in container.demux(stream):
            if packet.pts is not None and newest is not None and packet.pts <= newest:
                return None
            newest = packet.pts if packet.pts is not None else newest
            for plain in annexb.filter(packet):
                units.append(split_annexb(Codec.H264, bytes(plain), plain.is_keyframe))
        loop = EncodedLoop(
            Codec.H264, context.width, context.height, fps, tuple(unit for unit in units if unit.nals)
        )
    return loop if _camera_like(loop) else None


def _camera_like(loop: EncodedLoop) -> bool:
    keyframes = [index for index, unit in enumerate(loop.units) if unit.keyframe]
    if not keyframes or keyframes[0] != 0 or len(loop.parameter_sets) < 2:
        return False
    gops = [
        after - before for before, after in zip(keyframes, [*keyframes[1:], len(loop.units)], strict=True)
    ]
    return max(gops) <= _LONGEST_GOP_S * loop.fps and len(loop.units) <= _LONGEST_S * loop.fps


def _transcoded(clip: Path, shape: Shape | None) -> EncodedLoop:
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 25)
        context = stream.codec_context
        target = shape or Shape(context.width // 2 * 2, context.height // 2 * 2, max(1, round(rate)))
        encoder = Encoder(target, GOP_S * target.fps)
        units: list[EncodedUnit] = []
        sent = 0
        for count, frame in enumerate(container.decode(stream)):
            if count >= _LONGEST_S * rate:
                break
            while sent / target.fps <= count / rate:
                picture = cv2.resize(frame.to_ndarray(format="bgr24"), (target.width, target.height))
                units += encoder.encode(np.asarray(picture, np.uint8))
                sent += 1
        units += encoder.finish()
    return EncodedLoop(target.codec, target.width, target.height, Fraction(target.fps), tuple(units))
