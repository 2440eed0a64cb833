"""Fragmented MP4 (ISO/IEC 14496-12 and -15): one init per epoch, one `moof` + `mdat` per fragment.

Sample entries are `avc3` and `hev1`: parameter sets may also come in band, so that a changed PPS never
spoils a file. NAL units are stored as they came, each behind its length.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

from edge_agent.capture import h264, h265
from edge_agent.capture.mp4boxes import UNITY_MATRIX, box, find, full_box
from edge_agent.capture.parameters import ParameterSets, PictureFormat
from edge_agent.capture.timeline import Placed
from edge_agent.errors import FormatError
from edge_agent.model import Codec, InitSegment

TIMESCALE = 90_000
TRACK = 1
CAMERA = "camera"  # the pictures are the camera's own bits

_SYNC_SAMPLE, _OTHER_SAMPLE = 0x0200_0000, 0x0101_0000
_MOVIE_FRAGMENT = ">I4sI4sIII4sI4sIII4sIQI4sIIi"
_TFHD_BASE_IS_MOOF = 0x02_0000
_TRUN_V1_ALL = 0x0100_0F01  # data offset; duration, size, flags and signed composition offset per sample
_HIGH_PROFILES = (100, 110, 122, 144)


def init_segment(sets: ParameterSets, origin: str = CAMERA) -> InitSegment:
    """`ftyp` + `moov` for the parameter sets in force. Raises FormatError while they are incomplete.

    `origin` is the handler's name (ISO/IEC 14496-12 section 8.4.3): players show it, and it is sealed.
    """
    picture = sets.format
    if picture is None or not sets.complete():
        raise FormatError("parameter sets are incomplete")
    data = box(b"ftyp", b"iso6", bytes(4), b"iso6mp41") + _movie(
        picture, _sample_entry(sets, picture), origin
    )
    return InitSegment(data, picture.codec_string, picture.width, picture.height, TIMESCALE)


def fragment(number: int, tfdt: int, units: Sequence[Placed], end_dts: int) -> bytes:
    """`moof` + `mdat` of consecutive units; `end_dts` is where the last one ends."""
    count = len(units)
    run: list[int] = []
    parts: list[bytes] = [b"", b""]
    total = 8
    ends = [placed.dts for placed in units[1:]]
    ends.append(end_dts)
    for placed, end in zip(units, ends, strict=True):
        unit = placed.unit
        size = 4 * len(unit.nals)
        for nal in unit.nals:
            length = len(nal)
            size += length
            parts += (length.to_bytes(4, "big"), nal)
        total += size
        run += (end - placed.dts, size, _SYNC_SAMPLE if unit.keyframe else _OTHER_SAMPLE, placed.offset)
    moof = 88 + 16 * count
    parts[0] = _movie_fragment(count).pack(
        moof, b"moof", 16, b"mfhd", 0, number, moof - 24, b"traf",
        16, b"tfhd", _TFHD_BASE_IS_MOOF, TRACK, 20, b"tfdt", 0x0100_0000, tfdt,
        20 + 16 * count, b"trun", _TRUN_V1_ALL, count, moof + 8, *run,
    )  # fmt: skip
    parts[1] = total.to_bytes(4, "big") + b"mdat"
    return b"".join(parts)


def describe(init: bytes) -> InitSegment:
    """Read an init segment that `init_segment` wrote. Raises FormatError for anything else."""
    try:
        return _describe(init)
    except (struct.error, IndexError) as error:
        raise FormatError("init segment ends early") from error


@lru_cache(maxsize=256)
def _movie_fragment(samples: int) -> struct.Struct:
    return struct.Struct(_MOVIE_FRAGMENT + "IIIi" * samples)


def _movie(picture: PictureFormat, entry: bytes, origin: str) -> bytes:
    size = struct.pack(">II", picture.width << 16, picture.height << 16)
    header = struct.pack(">IIII", 0, 0, TIMESCALE, 0) + struct.pack(">IHH8x", 0x10000, 0x0100, 0)
    track_header = struct.pack(">IIIII8xHHHH", 0, 0, TRACK, 0, 0, 0, 0, 0, 0) + UNITY_MATRIX + size
    return box(
        b"moov",
        full_box(b"mvhd", 0, 0, header, UNITY_MATRIX, bytes(24), (TRACK + 1).to_bytes(4, "big")),
        box(b"trak", full_box(b"tkhd", 0, 3, track_header), _media(entry, origin)),
        box(b"mvex", full_box(b"trex", 0, 0, struct.pack(">IIIII", TRACK, 1, 0, 0, 0))),
    )


def _media(entry: bytes, origin: str) -> bytes:
    empty = bytes(4)
    table = box(
        b"stbl",
        full_box(b"stsd", 0, 0, b"\x00\x00\x00\x01", entry),
        full_box(b"stts", 0, 0, empty),
        full_box(b"stsc", 0, 0, empty),
        full_box(b"stsz", 0, 0, empty, empty),
        full_box(b"stco", 0, 0, empty),
    )
    reference = full_box(b"dref", 0, 0, b"\x00\x00\x00\x01", full_box(b"url ", 0, 1))
    return box(
        b"mdia",
        full_box(b"mdhd", 0, 0, struct.pack(">IIIIHH", 0, 0, TIMESCALE, 0, 0x55C4, 0)),  # language `und`
        full_box(b"hdlr", 0, 0, bytes(4), b"vide", bytes(12), origin.encode() + b"\x00"),
        box(b"minf", full_box(b"vmhd", 0, 1, bytes(8)), box(b"dinf", reference), table),
    )


def _sample_entry(sets: ParameterSets, picture: PictureFormat) -> bytes:
    kind, configuration = (
        (b"avc3", box(b"avcC", _avc_configuration(sets, picture)))
        if sets.rules.codec is Codec.H264
        else (b"hev1", box(b"hvcC", _hevc_configuration(sets, picture)))
    )
    visual = struct.pack(">16xHHIIIH", picture.width, picture.height, 0x48_0000, 0x48_0000, 0, 1)
    return box(kind, bytes(6), b"\x00\x01", visual, bytes(32), struct.pack(">Hh", 24, -1), configuration)


def _avc_configuration(sets: ParameterSets, picture: PictureFormat) -> bytes:
    """ISO/IEC 14496-15 section 5.3.3.1."""
    sps, pps = sets.of(h264.SPS), sets.of(h264.PPS)
    record = b"\x01" + sps[-1][1:4] + b"\xff" + bytes([0xE0 | len(sps)]) + b"".join(map(_counted, sps))
    record += bytes([len(pps)]) + b"".join(map(_counted, pps))
    if sps[-1][1] in _HIGH_PROFILES:
        depths = [0xFC | picture.chroma, 0xF8 | picture.luma_bits - 8, 0xF8 | picture.chroma_bits - 8, 0]
        record += bytes(depths)
    return record


def _hevc_configuration(sets: ParameterSets, picture: PictureFormat) -> bytes:
    """ISO/IEC 14496-15 section 8.3.3.1."""
    head = b"\x01" + h265.profile_tier_level(sets.of(h265.SPS)[-1]) + b"\xf0\x00\xfc"
    head += bytes([0xFC | picture.chroma, 0xF8 | picture.luma_bits - 8, 0xF8 | picture.chroma_bits - 8])
    head += b"\x00\x00" + bytes([0b0000_1011, len(sets.rules.set_types)])
    for kind in sets.rules.set_types:
        nals = sets.of(kind)
        head += struct.pack(">BH", kind, len(nals)) + b"".join(map(_counted, nals))
    return head


def _counted(nal: bytes) -> bytes:
    return len(nal).to_bytes(2, "big") + nal


def _describe(init: bytes) -> InitSegment:
    media_header, _ = find(init, b"moov", b"trak", b"mdia", b"mdhd")
    (timescale,) = struct.unpack_from(">I", init, media_header + 12)
    start, end = find(init, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
    kind = init[start + 12 : start + 16]
    width, height = struct.unpack_from(">HH", init, start + 8 + 32)
    entry = init[start + 8 + 86 : end]
    if kind == b"avc3":
        record = entry[find(entry, b"avcC")[0] :]
        codec = f"avc3.{record[1:4].hex()}"
    elif kind == b"hev1":
        record = entry[find(entry, b"hvcC")[0] :]
        codec = h265.codec_string(record[1:13])
    else:
        raise FormatError(f"sample entry {kind!r} is none of ours")
    return InitSegment(init, codec, width, height, timescale)
