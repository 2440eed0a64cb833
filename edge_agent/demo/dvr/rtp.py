"""RTP packets of a loop, packed once (RFC 3550, 6184, 7798, framing of RFC 2326 section 10.12). No I/O.

A picture becomes one template: all its interleaved packets in a row. Only channel, sequence number,
timestamp, SSRC and the send-time stamp are written at sending, which makes 16 channels cheap to serve.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

from edge_agent.demo.dvr.loops import EncodedLoop, EncodedUnit, nal_type
from edge_agent.demo.dvr.sei import DIGITS, SEND_TIME_UUID, Stamp, stamp_nal
from edge_agent.model import Codec

CLOCK_RATE = 90_000
PAYLOAD_TYPE = 96
AUDIO_PAYLOAD_TYPE = 8  # PCMA, RFC 3551
_MAX_PAYLOAD = 1400
_NTP_EPOCH_S = 2_208_988_800
_START_CODE = b"\x00\x00\x00\x01"
_FIXED = struct.Struct("!cBHBB")  # '$', channel, length, V/P/X/CC, marker and payload type
_CHANGING = struct.Struct("!HII")  # sequence number, timestamp, SSRC
_HEADER = _FIXED.size + _CHANGING.size
BEHIND_HEADERS = _HEADER + 8  # and behind the payload header of any codec that is sent


@dataclass(frozen=True, slots=True)
class WireUnit:
    """One access unit on the wire. `packets` are the offsets of each `$`; `octets` counts RTP payload."""

    template: bytearray
    packets: tuple[int, ...]
    stamp_at: int
    octets: int
    keyframe: bool


@dataclass(frozen=True, slots=True)
class WireLoop:
    source: EncodedLoop
    units: tuple[WireUnit, ...]
    config: bytes = b""  # what the SDP tells of an MPEG-4 stream
    payload_type: int = PAYLOAD_TYPE

    @property
    def fps(self) -> Fraction:
        return self.source.fps


def pack_loop(loop: EncodedLoop, payload_type: int = PAYLOAD_TYPE) -> WireLoop:
    units = tuple(pack_unit(loop.codec, unit, payload_type=payload_type) for unit in loop.units)
    return WireLoop(loop, units, payload_type=payload_type)


def pack_unit(
    codec: Codec, unit: EncodedUnit, *, annexb: bool = False, payload_type: int = PAYLOAD_TYPE
) -> WireUnit:
    """The stamp's SEI goes before the first slice, after any parameter sets.

    `annexb` packs the whole picture as if it were one NAL unit, start codes inside: a quirk of old cameras.
    """
    nals = _with_stamp(codec, unit)
    if annexb:
        nals = (_START_CODE.join(nals),)
    payloads = [piece for nal in nals for piece in _payloads(codec, nal)]
    template = bytearray()
    offsets = []
    for index, payload in enumerate(payloads):
        marker = 0x80 if index == len(payloads) - 1 else 0
        offsets.append(len(template))
        template += packet(payload_type | marker, payload)
    stamp_at = template.index(SEND_TIME_UUID) + len(SEND_TIME_UUID)
    return WireUnit(template, tuple(offsets), stamp_at, sum(map(len, payloads)), unit.keyframe)


def packet(kind: int, payload: bytes) -> bytes:
    """One interleaved packet, its changing fields zero."""
    return _FIXED.pack(b"$", 0, 12 + len(payload), 0x80, kind) + bytes(_CHANGING.size) + payload


def fill(unit: WireUnit, channel: int, sequence: int, rtp_time: int, ssrc: int, digits: bytes) -> bytes:
    """The template with everything that changes written in. Not reentrant: one thread sends."""
    template = unit.template
    put = _CHANGING.pack_into
    for at in unit.packets:
        template[at + 1] = channel
        put(template, at + _FIXED.size, sequence & 0xFFFF, rtp_time & 0xFFFFFFFF, ssrc)
        sequence += 1
    if unit.stamp_at >= 0:  # old codecs have no place for it
        template[unit.stamp_at : unit.stamp_at + DIGITS] = digits
    return bytes(template)


def fill_packet(template: bytes, channel: int, sequence: int, rtp_time: int, ssrc: int) -> bytes:
    head = template[:1] + bytes((channel,)) + template[2 : _FIXED.size]
    return head + _CHANGING.pack(sequence & 0xFFFF, rtp_time & 0xFFFFFFFF, ssrc) + template[_HEADER:]


def sender_report(channel: int, ssrc: int, wall_us: int, rtp_time: int, packets: int, octets: int) -> bytes:
    """RTCP SR with an SDES CNAME (RFC 3550 sections 6.4.1 and 6.5), interleaved on `channel`."""
    seconds, micros = divmod(wall_us, 1_000_000)
    ntp = (seconds + _NTP_EPOCH_S) & 0xFFFFFFFF, (micros << 32) // 1_000_000
    counted = packets & 0xFFFFFFFF, octets & 0xFFFFFFFF
    report = struct.pack("!BBHI5I", 0x80, 200, 6, ssrc, *ntp, rtp_time & 0xFFFFFFFF, *counted)
    name = b"dvr"
    chunk = struct.pack("!IBB", ssrc, 1, len(name)) + name + b"\x00"
    chunk += bytes(-len(chunk) % 4)
    both = report + struct.pack("!BBH", 0x81, 202, len(chunk) // 4) + chunk
    return struct.pack("!cBH", b"$", channel, len(both)) + both


def _with_stamp(codec: Codec, unit: EncodedUnit) -> tuple[bytes, ...]:
    first_slice = next(at for at, nal in enumerate(unit.nals) if _is_slice(codec, nal))
    stamp = stamp_nal(codec, Stamp(0, 0))
    return (*unit.nals[:first_slice], stamp, *unit.nals[first_slice:])


def _is_slice(codec: Codec, nal: bytes) -> bool:
    kind = nal_type(codec, nal)
    return 1 <= kind <= 5 if codec is Codec.H264 else kind < 32


def _payloads(codec: Codec, nal: bytes) -> list[bytes]:
    if len(nal) <= _MAX_PAYLOAD:
        return [nal]
    return _fragment_h264(nal) if codec is Codec.H264 else _fragment_h265(nal)


def _fragment_h264(nal: bytes) -> list[bytes]:
    indicator, kind = nal[0] & 0xE0 | 28, nal[0] & 0x1F  # FU-A, RFC 6184 section 5.8
    return [bytes((indicator, kind | edge)) + piece for edge, piece in _pieces(nal[1:], _MAX_PAYLOAD - 2)]


def _fragment_h265(nal: bytes) -> list[bytes]:
    kind = (nal[0] >> 1) & 0x3F  # FU, RFC 7798 section 4.4.3
    header = bytes((nal[0] & 0x81 | 49 << 1, nal[1]))
    return [header + bytes((kind | edge,)) + piece for edge, piece in _pieces(nal[2:], _MAX_PAYLOAD - 3)]


def _pieces(body: bytes, size: int) -> list[tuple[int, bytes]]:
    """Each piece with its start (0x80) or end (0x40) bit."""
    cuts = range(0, len(body), size)
    return [(0x80 if at == 0 else 0x40 if at + size >= len(body) else 0, body[at : at + size]) for at in cuts]
