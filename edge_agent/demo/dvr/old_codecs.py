"""The same scenes as old cameras send them: MJPEG (RFC 2435) and MPEG-4 Part 2 (RFC 6416), ready to send.

Encoded from the H.264 loop when a stream is first asked for in that codec, and kept in memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import StrEnum
from fractions import Fraction

import av

from edge_agent.demo.dvr import rtp
from edge_agent.demo.dvr.loops import EncodedLoop
from edge_agent.errors import FormatError
from edge_agent.model import Codec

JPEG_PAYLOAD_TYPE = 26  # static, needs no rtpmap (RFC 3551)
MPEG4_PAYLOAD_TYPE = 97
NO_STAMP = -1
_MAX_PAYLOAD = 1400
_QUALITY = 5  # FFmpeg's quantiser scale
_IN_BAND_TABLES = 255  # the Q of RFC 2435 section 3.1.8
_420 = 1  # its type for 4:2:0 without restart markers
_SOI, _DQT, _SOF0, _SOS = 0xD8, 0xDB, 0xC0, 0xDA
_VOP = b"\x00\x00\x01\xb6"


class Coding(StrEnum):
    """How a stream's pictures are sent."""

    OWN = "own"  # H.264 or H.265, as the loop is
    MJPEG = "mjpeg"
    MPEG4 = "mpeg4"


def pack_as(loop: EncodedLoop, coding: Coding, payload_type: int = rtp.PAYLOAD_TYPE) -> rtp.WireLoop:
    """The loop in that codec. Blocks for seconds when the pictures are large."""
    if coding is Coding.OWN:
        return rtp.pack_loop(loop, payload_type)
    encoded = list(_recoded(loop, coding))
    if coding is Coding.MJPEG:
        units = tuple(_unit(jpeg_payloads(jpeg), JPEG_PAYLOAD_TYPE, True) for jpeg, _ in encoded)
        return rtp.WireLoop(loop, units)
    units = tuple(_unit(_pieces(vop), MPEG4_PAYLOAD_TYPE, keyframe) for vop, keyframe in encoded)
    return rtp.WireLoop(loop, units, encoded[0][0].partition(_VOP)[0])


def jpeg_payloads(jpeg: bytes) -> list[bytes]:
    """One baseline 4:2:0 JPEG with the usual Huffman tables as RTP payloads; quantisation tables in band."""
    tables, width, height, scan = _parse(jpeg)
    payloads, at = [], 0
    while at < len(scan):
        size = bytes((_420, _IN_BAND_TABLES, (width + 7) // 8, (height + 7) // 8))
        head = struct.pack("!I", at) + size
        if not at:
            head += struct.pack("!BBH", 0, 0, len(tables)) + tables
        piece = scan[at : at + _MAX_PAYLOAD - len(head)]
        payloads.append(head + piece)
        at += len(piece)
    return payloads


def _parse(jpeg: bytes) -> tuple[bytes, int, int, bytes]:
    """Quantisation tables (luma, chroma), width, height, entropy-coded data."""
    tables: dict[int, bytes] = {}
    width = height = 0
    at = 2
    while at + 4 <= len(jpeg):
        marker, size = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")
        body = jpeg[at + 4 : at + 2 + size]
        at += 2 + size
        if marker == _DQT:
            for start in range(0, len(body), 65):
                tables[body[start]] = body[start + 1 : start + 65]
        elif marker == _SOF0:
            height, width = struct.unpack_from("!HH", body, 1)
        elif marker == _SOS:
            luma = tables[0]
            return luma + tables.get(1, luma), width, height, jpeg[at:].removesuffix(b"\xff\xd9")
    raise FormatError("a JPEG without a scan")


def _recoded(loop: EncodedLoop, coding: Coding) -> Iterator[tuple[bytes, bool]]:
    decoder = av.CodecContext.create("hevc" if loop.codec is Codec.H265 else "h264", "r")
    encoder = av.CodecContext.create(coding.value, "w")
    if not isinstance(encoder, av.VideoCodecContext):
        raise TypeError(f"{coding.value} is not a video encoder")
    encoder.width, encoder.height = loop.width, loop.height
    encoder.pix_fmt = "yuvj420p" if coding is Coding.MJPEG else "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1) / loop.fps, loop.fps
    encoder.gop_size = round(loop.fps)
    encoder.thread_count = 1
    encoder.options = {"qmin": str(_QUALITY), "qmax": str(_QUALITY), "bf": "0"}
    if coding is Coding.MJPEG:
        encoder.options |= {"huffman": "default"}
    count = 0
    for packet in (*(_annexb(unit.nals) for unit in loop.units), None):
        for frame in decoder.decode(packet):
            frame.pts, frame.time_base, count = count, encoder.time_base, count + 1
            for coded in encoder.encode(frame.reformat(format=encoder.pix_fmt)):
                yield bytes(coded), coded.is_keyframe


def _annexb(nals: tuple[bytes, ...]) -> av.Packet[av.stream.Stream]:
    return av.Packet(b"".join(b"\x00\x00\x00\x01" + nal for nal in nals))


def _unit(payloads: list[bytes], kind: int, keyframe: bool) -> rtp.WireUnit:
    template, offsets = bytearray(), []
    for index, payload in enumerate(payloads):
        offsets.append(len(template))
        template += rtp.packet(kind | (0x80 if index == len(payloads) - 1 else 0), payload)
    return rtp.WireUnit(template, tuple(offsets), NO_STAMP, sum(map(len, payloads)), keyframe)


def _pieces(vop: bytes) -> list[bytes]:
    return [vop[at : at + _MAX_PAYLOAD] for at in range(0, len(vop), _MAX_PAYLOAD)]
