"""What is said over the pipe between the daemon and its decode process: length-prefixed frames (pure).

    frame   = u32 length || body                      at most 8 MiB + header
    request = u8 codec, u8 quality, u16 width, Annex B access unit       (width 0: as it is)
    answer  = u8 status, then the JPEG (status 0) or a reason in UTF-8 (status 1)

The process greets with one answer when it is ready, so that a broken installation is not blamed on a picture.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edge_agent.errors import FormatError
from edge_agent.model import Codec

MAX_FRAME = 8 * 1024 * 1024 + 64
LENGTH = struct.Struct(">I")

_REQUEST = struct.Struct(">BBH")
_CODECS = (Codec.H264, Codec.H265)


@dataclass(frozen=True, slots=True)
class Request:
    codec: Codec
    annexb: bytes
    quality: int
    max_width: int  # 0: as it is


@dataclass(frozen=True, slots=True)
class Answer:
    """Either a JPEG or the reason why there is none."""

    jpeg: bytes = b""
    reason: str = ""


def frame(body: bytes) -> bytes:
    """Raises FormatError when the body is larger than the other side would read."""
    if len(body) > MAX_FRAME:
        raise FormatError(f"a picture of {len(body)} bytes; at most {MAX_FRAME} are decoded")
    return LENGTH.pack(len(body)) + body


def frame_length(prefix: bytes) -> int:
    """The body's length. Raises FormatError: a process gone wrong must not make us allocate gigabytes."""
    (length,) = LENGTH.unpack(prefix)
    if not 0 < length <= MAX_FRAME:
        raise FormatError(f"a frame of {length} bytes on the picture pipe")
    return int(length)


def encode_request(request: Request) -> bytes:
    width = min(max(request.max_width, 0), 0xFFFF)
    return _REQUEST.pack(_CODECS.index(request.codec), request.quality, width) + request.annexb


def decode_request(body: bytes) -> Request:
    if len(body) <= _REQUEST.size:
        raise FormatError("a request without a picture")
    codec, quality, width = _REQUEST.unpack_from(body)
    if codec >= len(_CODECS):
        raise FormatError(f"codec {codec}")
    return Request(_CODECS[codec], body[_REQUEST.size :], min(max(quality, 1), 100), width)


def encode_answer(answer: Answer) -> bytes:
    return b"\x01" + answer.reason.encode()[:500] if answer.reason else b"\x00" + answer.jpeg


def decode_answer(body: bytes) -> Answer:
    if body[:1] == b"\x00":
        return Answer(jpeg=body[1:])
    if body[:1] == b"\x01":
        return Answer(reason=body[1:].decode("utf-8", "replace") or "no reason given")
    raise FormatError("an answer of unknown kind on the picture pipe")
