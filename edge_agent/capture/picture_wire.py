"""What is said over the pipe between the daemon and its decode process: length-prefixed frames (pure).

    frame   = u32 length || body                      at most 8 MiB + header
    request = u8 kind, u8 codec, u8 quality, u16 width, Annex B access unit
    answer  = u8 status, then the JPEG (0), a reason in UTF-8 (1), or measures and perhaps a JPEG (2)

A `jpeg` request of width 0 wants the picture as it is, a `measure` request of width 0 wants none beside the
measures: five f32 and BLOCKS u32, as in `Measures`.

The process greets with one answer when it is ready, so that a broken installation is not blamed on a picture.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum

from edge_agent.errors import FormatError
from edge_agent.model import Codec

MAX_FRAME = 8 * 1024 * 1024 + 64
LENGTH = struct.Struct(">I")

MEASURED_WIDTH, MEASURED_HEIGHT = 320, 180  # of the luma picture that is measured
COLUMNS, ROWS = 20, 12
BLOCKS = COLUMNS * ROWS

_REQUEST = struct.Struct(">BBBH")
_MEASURES = struct.Struct(f">5f{BLOCKS}I")
_CODECS = (Codec.H264, Codec.H265)


class Kind(Enum):
    JPEG = 0
    MEASURE = 1


@dataclass(frozen=True, slots=True)
class Request:
    codec: Codec
    annexb: bytes
    quality: int
    max_width: int  # 0: as it is, or no picture beside the measures
    kind: Kind = Kind.JPEG


@dataclass(frozen=True, slots=True)
class Measures:
    """Of one picture: the measures of `health.signals.PictureMeasured`, and a digest of each block.

    Blocks are 16 x 15 pixels of the small luma picture, row by row; equal digests, equal pixels.
    """

    mean: float
    deviation: float
    detail: float
    colour: float
    flat: float
    blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A JPEG, measures, both, or the reason why there is neither."""

    jpeg: bytes = b""
    reason: str = ""
    measures: Measures | None = None


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
    codec = _CODECS.index(request.codec)
    return _REQUEST.pack(request.kind.value, codec, request.quality, width) + request.annexb


def decode_request(body: bytes) -> Request:
    if len(body) <= _REQUEST.size:
        raise FormatError("a request without a picture")
    kind, codec, quality, width = _REQUEST.unpack_from(body)
    if codec >= len(_CODECS) or kind >= len(Kind):
        raise FormatError(f"kind {kind}, codec {codec}")
    return Request(_CODECS[codec], body[_REQUEST.size :], min(max(quality, 1), 100), width, Kind(kind))


def encode_answer(answer: Answer) -> bytes:
    if answer.reason:
        return b"\x01" + answer.reason.encode()[:500]
    if answer.measures is None:
        return b"\x00" + answer.jpeg
    m = answer.measures
    return b"\x02" + _MEASURES.pack(m.mean, m.deviation, m.detail, m.colour, m.flat, *m.blocks) + answer.jpeg


def decode_answer(body: bytes) -> Answer:
    if body[:1] == b"\x00":
        return Answer(jpeg=body[1:])
    if body[:1] == b"\x01":
        return Answer(reason=body[1:].decode("utf-8", "replace") or "no reason given")
    if body[:1] == b"\x02" and len(body) > _MEASURES.size:
        mean, deviation, detail, colour, flat, *blocks = _MEASURES.unpack_from(body, 1)
        measures = Measures(mean, deviation, detail, colour, flat, tuple(blocks))
        return Answer(body[1 + _MEASURES.size :], measures=measures)
    raise FormatError("an answer of unknown kind on the picture pipe")
