"""What is said over the pipes between the daemon and a compatibility process (pure).

    frame  = u32 length of what follows || u8 kind || body
    order  = JSON, to the process: what to open, as what, and with whose password
    ready  = nothing: the process has started and given up what it does not need
    opened = u8 codec, u32 pictures a second in hundredths, u8 length, name of the camera's own codec when it
             is converted (else empty), then parameter sets, each behind a u16 length
    unit   = u64 arrival (CLOCK_BOOTTIME, ns), i64 display time (90 kHz), u8 flags (1: pictures before it are
             missing), u16 count, that many u32 lengths, the NAL units
    failed = u8 cause, a sentence in UTF-8

The process has met a hostile camera: every number is checked here, and nothing is allocated by its word.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum, StrEnum

from edge_agent.errors import FormatError
from edge_agent.model import Codec

MAX_FRAME = 4 * 1024 * 1024 + 8192
MAX_ORDER = 64 * 1024
MOST_NALS = 1024
LENGTH = struct.Struct(">I")

_OPENED = struct.Struct(">BIB")
_UNIT = struct.Struct(">QqBH")
_CODECS = (Codec.H264, Codec.H265)
_MOST_SETS = 64
_LARGEST_TIME = 1 << 60
_NAME_BYTES, _SENTENCE_BYTES = 40, 300


class Way(StrEnum):
    """How the process gets at the stream."""

    RTSP = "rtsp"  # TCP, and UDP if the device refuses that
    TUNNEL = "tunnel"  # RTSP inside HTTP


class Cause(IntEnum):
    """Why a process ended its stream."""

    LOST = 1  # to be tried again
    REFUSED = 2  # the device said no
    UNAUTHORIZED = 3  # to our password
    UNPLAYABLE = 4  # it sends what is not converted either


class _Kind(IntEnum):
    READY = 0
    OPENED = 1
    UNIT = 2
    FAILED = 3


@dataclass(frozen=True, slots=True)
class Order:
    """What the process shall open. `repr` never shows the password."""

    url: str  # without credentials
    host: str
    port: int
    way: Way
    username: str = ""
    password: str = ""
    max_fps: int = 10
    max_width: int = 1280

    def __repr__(self) -> str:
        return f"Order({self.host}:{self.port}, {self.way.value})"


@dataclass(frozen=True, slots=True)
class Ready:
    """The process waits for its order."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The stream plays. `source` is the camera's own codec if the pictures are converted, else empty."""

    codec: Codec
    source: str
    fps: float
    sets: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Unit:
    """One picture, NAL units without start codes."""

    arrival_ns: int
    rtp_time: int
    nals: tuple[bytes, ...]
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    cause: Cause
    sentence: str


Message = Ready | Opened | Unit | Failed


def encode_order(order: Order) -> bytes:
    """Raises FormatError when it does not fit into the pipe at once."""
    body = json.dumps(asdict(order)).encode()
    if len(body) > MAX_ORDER - LENGTH.size:
        raise FormatError("the stream's URL is too long for the compatibility process")
    return LENGTH.pack(len(body)) + body


def decode_order(body: bytes) -> Order:
    told = json.loads(body)
    return Order(**{**told, "way": Way(told["way"])})


def encode(message: Message) -> bytes:
    """A whole frame. Raises FormatError for a picture that the other side would refuse."""
    body = _body(message)
    if len(body) > MAX_FRAME:
        raise FormatError(f"a picture of {len(body)} bytes")
    return LENGTH.pack(len(body)) + body


class Inflow:
    """Cuts what comes out of the pipe into messages; holds at most one unfinished frame."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, received: bytes | memoryview) -> list[Message]:
        """Raises FormatError; the process that sent it is not to be listened to any more."""
        self._rest += received
        messages, at = [], 0
        while len(self._rest) - at >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._rest, at)
            if not 0 < length <= MAX_FRAME:
                raise FormatError(f"a frame of {length} bytes on the compatibility pipe")
            if len(self._rest) - at < LENGTH.size + length:
                break
            at += LENGTH.size
            messages.append(decode(bytes(self._rest[at : at + length])))
            at += length
        del self._rest[:at]
        return messages


def decode(body: bytes) -> Message:
    """One frame's content. Raises FormatError."""
    try:
        match body[0]:
            case _Kind.READY if len(body) == 1:
                return Ready()
            case _Kind.OPENED:
                return _opened(body)
            case _Kind.UNIT:
                return _unit(body)
            case _Kind.FAILED:
                return Failed(Cause(body[1]), _text(body[2:], _SENTENCE_BYTES))
    except (struct.error, IndexError, ValueError) as error:
        raise FormatError(f"a damaged message on the compatibility pipe: {error}") from error
    raise FormatError(f"a message of unknown kind {body[0]} on the compatibility pipe")


def _opened(body: bytes) -> Opened:
    codec, hundredths, named = _OPENED.unpack_from(body, 1)
    at = 1 + _OPENED.size
    source = _text(body[at : at + named], _NAME_BYTES)
    at += named
    sets: list[bytes] = []
    while at < len(body):
        (size,) = struct.unpack_from(">H", body, at)
        at += 2 + size
        if not size or at > len(body) or len(sets) == _MOST_SETS:
            raise FormatError("parameter sets that do not fit their message")
        sets.append(body[at - size : at])
    return Opened(_CODECS[codec], source, hundredths / 100, tuple(sets))


def _unit(body: bytes) -> Unit:
    arrival_ns, rtp_time, flags, count = _UNIT.unpack_from(body, 1)
    if not 0 < count <= MOST_NALS or abs(rtp_time) > _LARGEST_TIME or flags > 1:
        raise FormatError("an impossible picture on the compatibility pipe")
    lengths: Sequence[int] = struct.unpack_from(f">{count}I", body, 1 + _UNIT.size)
    at = 1 + _UNIT.size + 4 * count
    if at + sum(lengths) != len(body) or min(lengths) < 2:
        raise FormatError("a picture that does not fit its message")
    nals = []
    for length in lengths:
        nals.append(body[at : at + length])
        at += length
    return Unit(arrival_ns, rtp_time, tuple(nals), bool(flags))


def _body(message: Message) -> bytes:
    match message:
        case Ready():
            return bytes([_Kind.READY])
        case Opened():
            name = message.source.encode()[:_NAME_BYTES]
            head = _OPENED.pack(_CODECS.index(message.codec), round(message.fps * 100), len(name))
            sets = (struct.pack(">H", len(nal)) + nal for nal in message.sets[:_MOST_SETS])
            return bytes([_Kind.OPENED]) + head + name + b"".join(sets)
        case Unit():
            nals = message.nals
            head = _UNIT.pack(message.arrival_ns, message.rtp_time, message.lost, len(nals))
            lengths = struct.pack(f">{len(nals)}I", *map(len, nals))
            return bytes([_Kind.UNIT]) + head + lengths + b"".join(nals)
        case Failed():
            return bytes([_Kind.FAILED, message.cause]) + message.sentence.encode()[:_SENTENCE_BYTES]


def _text(raw: bytes, most: int) -> str:
    """For people and their terminals: printable, and no longer than said."""
    text = raw[:most].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in text)
