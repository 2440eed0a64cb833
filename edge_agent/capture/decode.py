"""The decode process: keyframes in, JPEGs and measures out. `pictures` starts it:
`python -m edge_agent.capture.decode`.

Beside it only the compatibility process and the virtual DVR import PyAV or OpenCV. It has no keys, no
network and no files; whatever a picture does to it, the daemon loses one snapshot. Ends at the end of its
standard input.
"""

from __future__ import annotations

import os
import sys
import zlib
from typing import BinaryIO

import av
import cv2
import numpy as np
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from edge_agent.capture import picture_wire as wire
from edge_agent.capture import sandbox
from edge_agent.errors import FormatError
from edge_agent.model import Codec

MEMORY_BYTES = 1024**3  # address space, most of it mapped libraries; resident is below 120 MB
MAX_PIXELS = 8192 * 4608
CPU_S_PER_PICTURE = 20
EDGE = 24
GREY = 128
_DECODERS = {Codec.H264: "h264", Codec.H265: "hevc"}


def main() -> None:
    """Serve requests until the daemon closes the pipe or dies."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    cv2.setNumThreads(1)
    sandbox.enter(MEMORY_BYTES)
    send(answers, wire.Answer(jpeg=b"ready"))
    while (body := receive(requests)) is not None:
        sandbox.limit_cpu(CPU_S_PER_PICTURE)
        send(answers, answer(body))


def answer(body: bytes) -> wire.Answer:
    """The JPEG, or why there is none; a picture that cannot be decoded is an answer, not an end."""
    try:
        request = wire.decode_request(body)
        if request.kind is wire.Kind.JPEG:
            return wire.Answer(jpeg=jpeg(keyframe(request.codec, request.annexb), request))
        frame = keyframe(request.codec, request.annexb, skip="all")
        small = jpeg(frame, request) if request.max_width else b""
        return wire.Answer(small, measures=measures(frame))
    except (FormatError, av.error.FFmpegError, cv2.error, ValueError, MemoryError) as error:
        return wire.Answer(reason=f"{type(error).__name__}: {error}"[:200])


def keyframe(codec: Codec, annexb: bytes, *, skip: str = "default") -> VideoFrame:
    """The first picture in one access unit; `skip` is FFmpeg's word for which pictures are not deblocked.

    Raises FormatError when it holds none.
    """
    context = CodecContext.create(_DECODERS[codec], "r")
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1  # frame threads would hold the picture back and cost memory
    context.options = {"max_pixels": str(MAX_PIXELS), "skip_loop_filter": skip}
    for packet in (av.Packet(annexb), None):
        for frame in context.decode(packet):
            return frame
    raise FormatError("no picture in the keyframe")


def jpeg(frame: VideoFrame, request: wire.Request) -> bytes:
    """Scaled down to the wanted width, never up, and encoded."""
    width, height = frame.width, frame.height
    if 0 < request.max_width < width:
        height = max(2, round(height * request.max_width / width / 2) * 2)
        width = request.max_width
    picture = frame.to_ndarray(format="bgr24", width=width, height=height)
    done, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, request.quality])
    if not done:
        raise FormatError("the picture cannot be written as JPEG")
    return bytes(encoded.tobytes())


def measures(frame: VideoFrame) -> wire.Measures:
    """Of the luma scaled down to 320 x 180; chroma is taken as it is.

    An edge is a step of over EDGE levels to the next pixel; flat is what the three commonest of 64 levels
    cover.
    """
    luma, chroma = _planes(frame)
    size = wire.MEASURED_WIDTH, wire.MEASURED_HEIGHT
    small = np.ascontiguousarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)
    signed = small.astype(np.int16)
    steps = np.abs(np.diff(signed, axis=1))[:-1] + np.abs(np.diff(signed, axis=0))[:, :-1]
    levels = np.bincount((small >> 2).ravel(), minlength=64)
    return wire.Measures(
        mean=float(small.mean()),
        deviation=float(small.std()),
        detail=float((steps > EDGE).mean()),
        colour=float(np.mean([np.abs(c.astype(np.int16) - GREY).mean() for c in chroma])) if chroma else 0.0,
        flat=float(np.sort(levels)[-3:].sum() / small.size),
        blocks=_blocks(small),
    )


def _planes(frame: VideoFrame) -> tuple[NDArray[np.uint8], list[NDArray[np.uint8]]]:
    """Luma and chroma; other formats are brought to 4:2:0 first."""
    if frame.format.name not in ("yuv420p", "yuvj420p", "gray"):
        frame = frame.reformat(format="yuv420p")
    planes = []
    for plane in frame.planes:
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        planes.append(lines[: plane.height, : plane.width])
    return planes[0], planes[1:]


def _blocks(small: NDArray[np.uint8]) -> tuple[int, ...]:
    height, width = wire.MEASURED_HEIGHT // wire.ROWS, wire.MEASURED_WIDTH // wire.COLUMNS
    tiles = small.reshape(wire.ROWS, height, wire.COLUMNS, width).swapaxes(1, 2)
    return tuple(zlib.crc32(tile.data) for tile in np.ascontiguousarray(tiles).reshape(wire.BLOCKS, -1))


def receive(stream: BinaryIO) -> bytes | None:
    prefix = stream.read(wire.LENGTH.size)
    if len(prefix) < wire.LENGTH.size:
        return None
    body = stream.read(wire.frame_length(prefix))
    return body or None


def send(stream: BinaryIO, reply: wire.Answer) -> None:
    stream.write(wire.frame(wire.encode_answer(reply)))
    stream.flush()


if __name__ == "__main__":
    main()
    os._exit(0)  # nothing to tidy; skips the libraries' slow teardown
