"""The decode process: keyframes in, JPEGs out. `python -m edge_agent.capture.decode`, started by `pictures`.

Beside it only the compatibility process and the virtual DVR import PyAV or OpenCV. It has no keys, no
network and no files; whatever a picture does to it, the daemon loses one snapshot. Ends at the end of its
standard input.
"""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

import av
import cv2
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from edge_agent.capture import picture_wire as wire
from edge_agent.capture import sandbox
from edge_agent.errors import FormatError
from edge_agent.model import Codec

MEMORY_BYTES = 1024**3  # address space, most of it mapped libraries; resident is below 120 MB
MAX_PIXELS = 8192 * 4608
CPU_S_PER_PICTURE = 20
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
        return wire.Answer(jpeg=jpeg(keyframe(request.codec, request.annexb), request))
    except (FormatError, av.error.FFmpegError, cv2.error, ValueError, MemoryError) as error:
        return wire.Answer(reason=f"{type(error).__name__}: {error}"[:200])


def keyframe(codec: Codec, annexb: bytes) -> VideoFrame:
    """The first picture in one access unit. Raises FormatError when it holds none."""
    context = CodecContext.create(_DECODERS[codec], "r")
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1  # frame threads would hold the picture back and cost memory
    context.options = {"max_pixels": str(MAX_PIXELS)}
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
