"""The shape of a stream's packets: when they came, how large, of which kind. Never a picture (pure).

Kept are header fields, sizes, NAL unit types and parameter sets (SPS, PPS, VPS describe a format and hold
no picture). The payload of a slice is dropped where it is read.
"""

from __future__ import annotations

import base64
import struct
from contextlib import suppress
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from edge_agent.errors import FormatError
from edge_agent.model import Codec

MAX_PACKETS = 20_000
MAX_REPORTS = 200
MAX_SETS = 16
MAX_SET = 512
_NTP_EPOCH_S = 2_208_988_800
_SETS = {Codec.H264: (7, 8), Codec.H265: (32, 33, 34)}
_AGGREGATION = {Codec.H264: 24, Codec.H265: 48}  # STAP-A, AP
_FRAGMENT = {Codec.H264: 28, Codec.H265: 49}  # FU-A, FU
_NO_TYPE = -1
_START_CODE = b"\x00\x00\x01"


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet of the video track. Deltas are to the packet before it; the first one's are 0.

    `kinds` are the NAL unit types inside; a fragment tells the type of the unit it belongs to, and only
    `start` marks its first piece.
    """

    at_us: int  # since the first packet
    sequence: int  # delta, normally 1
    ticks: int  # delta of the RTP timestamp, signed
    marker: bool
    payload_type: int
    size: int  # payload bytes
    kinds: tuple[int, ...] = ()
    start: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """One RTCP sender report: the device's wall clock minus ours, and how far RTP time had come."""

    at_us: int
    wall_offset_ms: int
    ticks: int  # since the first packet's timestamp


@dataclass(frozen=True, slots=True)
class Shape:
    codec: str = ""
    seconds: float = 0.0
    packets: tuple[Packet, ...] = ()
    reports: tuple[Report, ...] = ()
    sets: tuple[str, ...] = ()  # base64, as they came in band
    left_out: int = 0  # packets beyond the cap, or too short to be RTP


@dataclass(slots=True)
class Shaper:
    """Takes packets as they arrive; `wall_us` and `now` are the box's clocks at that moment."""

    codec: Codec | None
    _packets: list[Packet] = field(default_factory=list)
    _reports: list[Report] = field(default_factory=list)
    _sets: dict[bytes, None] = field(default_factory=dict)
    _left_out: int = 0
    _began: float | None = None
    _last: tuple[int, int] | None = None
    _first_ticks: int = 0
    _now: float = 0.0

    def packet(self, rtp: bytes, now: float) -> None:
        payload = _payload(rtp)
        if payload is None or len(self._packets) >= MAX_PACKETS:
            self._left_out += 1
            return
        sequence, ticks = struct.unpack_from("!HI", rtp, 2)
        if self._began is None or self._last is None:
            self._began, self._last, self._first_ticks = now, (sequence, ticks), ticks
        before = self._last
        kinds, start = self._kinds(payload)
        self._packets.append(
            Packet(
                at_us=self._at(now),
                sequence=(sequence - before[0]) & 0xFFFF,
                ticks=_signed(ticks - before[1]),
                marker=bool(rtp[1] & 0x80),
                payload_type=rtp[1] & 0x7F,
                size=len(payload),
                kinds=kinds,
                start=start,
            )
        )
        self._last, self._now = (sequence, ticks), now

    def report(self, rtcp: bytes, now: float, wall_us: int) -> None:
        """A compound RTCP packet; anything but a sender report in front is passed over (RFC 3550, 6.4.1)."""
        if len(rtcp) < 28 or rtcp[1] != 200 or self._began is None or len(self._reports) >= MAX_REPORTS:
            return
        seconds, fraction, ticks = struct.unpack_from("!III", rtcp, 8)
        theirs_us = (seconds - _NTP_EPOCH_S) * 1_000_000 + (fraction * 1_000_000 >> 32)
        offset_ms = round((theirs_us - wall_us) / 1000)
        self._reports.append(Report(self._at(now), offset_ms, _signed(ticks - self._first_ticks)))

    def shape(self) -> Shape:
        return Shape(
            self.codec.value if self.codec else "",
            round(self._now - (self._began or self._now), 3),
            tuple(self._packets),
            tuple(self._reports),
            tuple(base64.b64encode(nal).decode() for nal in self._sets),
            self._left_out,
        )

    def _at(self, now: float) -> int:
        return round((now - (self._began or now)) * 1_000_000)

    def _kinds(self, payload: bytes) -> tuple[tuple[int, ...], bool]:
        codec = self.codec
        if codec is None or not payload:
            return (), True
        kind = nal_type(codec, payload)
        head = 1 if codec is Codec.H264 else 2
        if kind == _FRAGMENT[codec]:
            return _fragment(payload, head)
        if kind != _AGGREGATION[codec]:
            self._keep(codec, kind, payload)
            return (kind,), True
        kinds = []
        for nal in _aggregated(payload[head:]):
            kinds.append(nal_type(codec, nal))
            self._keep(codec, kinds[-1], nal)
        return tuple(kinds[:32]), True

    def _keep(self, codec: Codec, kind: int, nal: bytes) -> None:
        """Old cameras put a whole picture behind the SPS, start codes inside: only what is before them."""
        alone = nal.partition(_START_CODE)[0].rstrip(b"\x00")
        if kind in _SETS[codec] and len(alone) <= MAX_SET and len(self._sets) < MAX_SETS:
            self._sets[alone] = None


_SHAPE = TypeAdapter(Shape)


def dump(shape: Shape) -> bytes:
    return _SHAPE.dump_json(shape)


def load(text: bytes) -> Shape:
    """Raises FormatError."""
    try:
        return _SHAPE.validate_json(text)
    except ValidationError as error:
        raise FormatError(f"not the shape of a stream: {error.errors()[0]['msg']}") from error


def sets_of(shape: Shape) -> list[bytes]:
    """The parameter sets that came in band; what is not base64 is passed over."""
    found = []
    for text in shape.sets[:MAX_SETS]:
        with suppress(ValueError):
            found.append(base64.b64decode(text, validate=True))
    return [nal for nal in found if nal]


def nal_type(codec: Codec, nal: bytes) -> int:
    if not nal:
        return _NO_TYPE
    return nal[0] & 0x1F if codec is Codec.H264 else (nal[0] >> 1) & 0x3F


def _payload(rtp: bytes) -> bytes | None:
    """Behind the fixed header, contributing sources and extension, without padding (RFC 3550, 5.1)."""
    if len(rtp) < 12 or rtp[0] >> 6 != 2:
        return None
    at = 12 + 4 * (rtp[0] & 0x0F)
    if rtp[0] & 0x10 and len(rtp) >= at + 4:
        at += 4 + 4 * int.from_bytes(rtp[at + 2 : at + 4], "big")
    end = len(rtp) - (rtp[-1] if rtp[0] & 0x20 else 0)
    return rtp[at:end] if at <= end else None


def _fragment(payload: bytes, head: int) -> tuple[tuple[int, ...], bool]:
    if len(payload) <= head:
        return (), True
    mask = 0x1F if head == 1 else 0x3F
    return (payload[head] & mask,), bool(payload[head] & 0x80)


def _aggregated(rest: bytes) -> list[bytes]:
    nals = []
    while len(rest) > 2:
        size = int.from_bytes(rest[:2], "big")
        nals.append(rest[2 : 2 + size])
        rest = rest[2 + size :]
    return nals


def _signed(ticks: int) -> int:
    ticks &= 0xFFFFFFFF
    return ticks - (1 << 32) if ticks >= 1 << 31 else ticks
