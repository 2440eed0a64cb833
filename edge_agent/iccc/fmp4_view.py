"""Reads what a viewer needs from an opened fragment: its samples' times, and when they were truly sent.

Pure, and for hostile input: every size is checked against what is there. Boxes as in ISO/IEC 14496-12;
only what the box's own writer makes is understood (one track, one `trun`, default-base-is-moof).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from edge_agent.errors import FormatError
from edge_agent.model import Codec

# The virtual DVR puts this UUID and 16 ASCII digits (microseconds since 1970) into each picture it sends.
SEND_TIME_UUID = bytes.fromhex("ed9ea9e27f5d4c6b9a3c51d7e84bb26e")
SEND_TIME_DIGITS = 16

MAX_SAMPLES = 4096
_AVC_ENTRIES = (b"avc1", b"avc3")
_HEVC_ENTRIES = (b"hvc1", b"hev1")
_H264_SEI = 6
_H265_PREFIX_SEI = 39
_USER_DATA_UNREGISTERED = 5
_TRUN_OFFSET, _TRUN_FIRST_FLAGS = 0x1, 0x4
_TRUN_DURATION, _TRUN_SIZE, _TRUN_FLAGS, _TRUN_CTS = 0x100, 0x200, 0x400, 0x800


@dataclass(frozen=True, slots=True)
class InitView:
    """What the page must know before it can play: `codec` is the RFC 6381 string, e.g. `avc3.64001f`."""

    codec: str
    family: Codec
    width: int
    height: int
    timescale: int

    @property
    def mime(self) -> str:
        return f'video/mp4; codecs="{self.codec}"'


@dataclass(frozen=True, slots=True)
class SampleView:
    """One picture: presentation time and duration in the track's ticks, NAL units length-prefixed."""

    pts: int
    duration: int
    data: memoryview


def view_init(init: bytes) -> InitView:
    """Read `ftyp` + `moov`. Raises FormatError for anything but one AVC or HEVC video track."""
    moov = _require(memoryview(init), b"moov")
    mdia = _require(_require(moov, b"trak"), b"mdia")
    mdhd = _require(mdia, b"mdhd")
    timescale = _u32(mdhd, 20 if _version(mdhd) == 1 else 12)
    stsd = _require(_require(_require(mdia, b"minf"), b"stbl"), b"stsd")
    for kind, entry in _boxes(stsd[8:]):
        if kind in _AVC_ENTRIES or kind in _HEVC_ENTRIES:
            if len(entry) < 78 or timescale == 0:
                break
            width, height = struct.unpack_from(">HH", entry, 24)
            family = Codec.H264 if kind in _AVC_ENTRIES else Codec.H265
            return InitView(_codec_string(kind, entry[78:]), family, width, height, timescale)
    raise FormatError("init segment holds no usable AVC or HEVC track")


def view_samples(fragment: bytes) -> tuple[SampleView, ...]:
    """The samples of one `moof` + `mdat`, in decoding order. Raises FormatError when sizes do not add up."""
    whole = memoryview(fragment)
    moof_at = _offset(whole, b"moof")
    traf = _require(_require(whole, b"moof"), b"traf")
    tfdt = _require(traf, b"tfdt")
    dts = _u64(tfdt, 4) if _version(tfdt) == 1 else _u32(tfdt, 4)
    defaults = _tfhd_defaults(_require(traf, b"tfhd"))
    return tuple(_samples(_require(traf, b"trun"), whole[moof_at:], dts, defaults))


def send_times(fragment: bytes, family: Codec) -> tuple[tuple[int, int], ...]:
    """(pts, send time in us since 1970) of every picture that carries the virtual DVR's SEI."""
    found = []
    for sample in view_samples(fragment):
        sent_us = _send_time(sample.data, family)
        if sent_us is not None:
            found.append((sample.pts, sent_us))
    return tuple(found)


def nal_units(sample: memoryview) -> Iterator[memoryview]:
    """The NAL units of one sample, without their length prefixes."""
    at = 0
    while at + 4 < len(sample):
        size = _u32(sample, at)
        if size == 0 or at + 4 + size > len(sample):
            return
        yield sample[at + 4 : at + 4 + size]
        at += 4 + size


def _codec_string(kind: bytes, children: memoryview) -> str:
    name = kind.decode("ascii")
    for box, body in _boxes(children):
        if box == b"avcC" and len(body) >= 4:
            return f"{name}.{bytes(body[1:4]).hex()}"
        if box == b"hvcC" and len(body) >= 13:
            return f"{name}.{_hevc_profile(body)}"
    raise FormatError(f"sample entry {name} has no decoder configuration")


def _hevc_profile(hvcc: memoryview) -> str:
    """ISO/IEC 14496-15 annex E: profile, compatibility bits reversed, tier and level, constraint bytes."""
    space = ("", "A", "B", "C")[hvcc[1] >> 6]
    tier = "H" if hvcc[1] & 0x20 else "L"
    reversed_bits = int(f"{_u32(hvcc, 2):032b}"[::-1], 2)
    constraints = bytes(hvcc[6:12]).rstrip(b"\0")
    parts = [f"{space}{hvcc[1] & 0x1F}", f"{reversed_bits:X}", f"{tier}{hvcc[12]}"]
    return ".".join(parts + [f"{b:X}" for b in constraints])


def _tfhd_defaults(tfhd: memoryview) -> tuple[int, int]:
    """(duration, size) a sample has when `trun` does not say."""
    flags, at, duration, size = _u32(tfhd, 0) & 0xFFFFFF, 8, 0, 0
    for bit, width in ((0x1, 8), (0x2, 4), (0x8, 4), (0x10, 4)):
        if flags & bit:
            if bit == 0x8:
                duration = _u32(tfhd, at)
            if bit == 0x10:
                size = _u32(tfhd, at)
            at += width
    return duration, size


def _samples(
    trun: memoryview, moof_on: memoryview, dts: int, defaults: tuple[int, int]
) -> Iterator[SampleView]:
    flags, count, at = _u32(trun, 0) & 0xFFFFFF, _u32(trun, 4), 8
    if count > MAX_SAMPLES or not flags & _TRUN_OFFSET:
        raise FormatError("trun without data offset, or with too many samples")
    data_at = _u32(trun, at)
    at += 8 if flags & _TRUN_FIRST_FLAGS else 4
    for _ in range(count):
        duration, size, offset = defaults[0], defaults[1], 0
        for bit in (_TRUN_DURATION, _TRUN_SIZE, _TRUN_FLAGS, _TRUN_CTS):
            if flags & bit:
                value = _u32(trun, at)
                at += 4
                if bit == _TRUN_DURATION:
                    duration = value
                elif bit == _TRUN_SIZE:
                    size = value
                elif bit == _TRUN_CTS:
                    offset = value - (1 << 32) if _version(trun) == 1 and value >> 31 else value
        if data_at + size > len(moof_on):
            raise FormatError("sample reaches beyond its fragment")
        yield SampleView(dts + offset, duration, moof_on[data_at : data_at + size])
        data_at += size
        dts += duration


def _send_time(sample: memoryview, family: Codec) -> int | None:
    for nal in nal_units(sample):
        if family is Codec.H264 and nal[0] & 0x1F == _H264_SEI:
            body = nal[1:]
        elif family is Codec.H265 and nal[0] >> 1 & 0x3F == _H265_PREFIX_SEI:
            body = nal[2:]
        else:
            continue
        sent_us = _find_send_time(bytes(body).replace(b"\0\0\3", b"\0\0"))
        if sent_us is not None:
            return sent_us
    return None


def _find_send_time(rbsp: bytes) -> int | None:
    at = 0
    while at + 2 <= len(rbsp):
        kind, at = _sei_number(rbsp, at)
        size, at = _sei_number(rbsp, at)
        payload = rbsp[at : at + size]
        digits = payload[16 : 16 + SEND_TIME_DIGITS]
        if kind == _USER_DATA_UNREGISTERED and payload.startswith(SEND_TIME_UUID) and digits.isdigit():
            return int(digits)
        at += size
    return None


def _sei_number(rbsp: bytes, at: int) -> tuple[int, int]:
    """ITU-T H.264 7.3.2.3.1: bytes of 0xFF add up until a smaller one ends the number."""
    total = 0
    while at < len(rbsp) and rbsp[at] == 0xFF:
        total += 255
        at += 1
    return (total + rbsp[at], at + 1) if at < len(rbsp) else (total, at)


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    at = 0
    while at + 8 <= len(data):
        size = _u32(data, at)
        if size < 8 or at + size > len(data):
            raise FormatError("box size does not fit its parent")
        yield bytes(data[at + 4 : at + 8]), data[at + 8 : at + size]
        at += size


def _require(parent: memoryview, kind: bytes) -> memoryview:
    for found, body in _boxes(parent):
        if found == kind:
            return body
    raise FormatError(f"box {kind.decode()} is missing")


def _offset(data: memoryview, kind: bytes) -> int:
    at = 0
    for found, body in _boxes(data):
        if found == kind:
            return at
        at += 8 + len(body)
    raise FormatError(f"box {kind.decode()} is missing")


def _version(full_box: memoryview) -> int:
    return _u32(full_box, 0) >> 24


def _u32(data: memoryview, at: int) -> int:
    if at + 4 > len(data):
        raise FormatError("box is too short")
    return int.from_bytes(data[at : at + 4], "big")


def _u64(data: memoryview, at: int) -> int:
    return _u32(data, at) << 32 | _u32(data, at + 4)
