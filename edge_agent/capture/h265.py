"""H.265 as cameras send it: NAL types and the sequence parameter set (ITU-T H.265 section 7.3.2.2)."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.capture.bits import BitReader, unescape
from edge_agent.capture.parameters import PictureFormat, Rules, checked_size
from edge_agent.errors import FormatError
from edge_agent.model import Codec

BLA_FIRST, IRAP_LAST = 16, 23  # BLA, IDR and CRA pictures, with two reserved types
VPS, SPS, PPS, DELIMITER, SEI = 32, 33, 34, 35, 39


def nal_type(nal: bytes) -> int:
    return (nal[0] >> 1) & 0x3F


def is_picture(kind: int) -> bool:
    return kind < 32


def keyframe(nals: Sequence[bytes]) -> bool:
    """Any IRAP picture: decoding may start there, leading pictures of a CRA are skipped by decoders."""
    return any(BLA_FIRST <= nal_type(nal) <= IRAP_LAST for nal in nals)


def first_slice(nal: bytes) -> bool:
    """first_slice_segment_in_pic_flag is the first bit after the header."""
    return len(nal) > 2 and nal[2] & 0x80 != 0


def parse_sps(nal: bytes) -> PictureFormat:
    """Read an SPS NAL unit. Raises FormatError for anything that cannot be one."""
    if len(nal) < 16 or nal_type(nal) != SPS:
        raise FormatError("not an H.265 SPS")
    rbsp = unescape(nal)[2:]
    bits = BitReader(rbsp)
    bits.skip(4)
    sub_layers = bits.u(3) + 1
    bits.skip(1)
    if sub_layers > 7:
        raise FormatError("too many sub-layers")
    _skip_profile(bits, sub_layers)
    if bits.ue() > 15:
        raise FormatError("SPS id is out of range")
    chroma, width, height = _size(bits)
    luma_bits, chroma_bits = 8 + bits.ue(), 8 + bits.ue()
    if luma_bits > 16 or chroma_bits > 16:
        raise FormatError("bit depth is out of range")
    return PictureFormat(
        codec_string=codec_string(rbsp[1:13]),
        width=width,
        height=height,
        chroma=chroma,
        luma_bits=luma_bits,
        chroma_bits=chroma_bits,
        reorder=_reorder(bits, sub_layers),
    )


def profile_tier_level(sps: bytes) -> bytes:
    """The 12 bytes of general profile, tier and level that the `hvcC` box repeats."""
    return unescape(sps)[3:15]


def codec_string(profile: bytes) -> str:
    """RFC 6381 as ISO/IEC 14496-15 annex E writes it, e.g. `hev1.1.6.L93.b0`."""
    space = ("", "A", "B", "C")[profile[0] >> 6]
    tier = "H" if profile[0] & 0x20 else "L"
    compatible = int.from_bytes(profile[1:5], "big")
    reversed_bits = int(f"{compatible:032b}"[::-1], 2)
    constraints = profile[5:11].rstrip(b"\x00")
    tail = "".join(f".{byte:x}" for byte in constraints)
    return f"hev1.{space}{profile[0] & 0x1F}.{reversed_bits:x}.{tier}{profile[11]}{tail}"


def _skip_profile(bits: BitReader, sub_layers: int) -> None:
    bits.skip(96)
    if sub_layers == 1:
        return
    present = [(bits.flag(), bits.flag()) for _ in range(sub_layers - 1)]
    bits.skip(2 * (9 - sub_layers))
    for has_profile, has_level in present:
        bits.skip(88 * has_profile + 8 * has_level)


def _size(bits: BitReader) -> tuple[int, int, int]:
    chroma = bits.ue()
    if chroma > 3:
        raise FormatError("chroma format is out of range")
    if chroma == 3:
        bits.skip(1)
    width, height = bits.ue(), bits.ue()
    if bits.flag():
        unit_x = 2 if chroma in (1, 2) else 1
        unit_y = 2 if chroma == 1 else 1
        left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
        width -= unit_x * (left + right)
        height -= unit_y * (top + bottom)
    return chroma, *checked_size(width, height)


def _reorder(bits: BitReader, sub_layers: int) -> int | None:
    """sps_max_num_reorder_pics of the highest sub-layer sent."""
    try:
        bits.ue()  # log2_max_pic_order_cnt_lsb_minus4
        depth = 0
        for _ in range(sub_layers if bits.flag() else 1):
            bits.ue()
            depth = bits.ue()
            bits.ue()
    except FormatError:
        return None
    return depth if depth <= 16 else None


RULES = Rules(
    codec=Codec.H265,
    header_size=2,
    set_types=(VPS, SPS, PPS),
    sps_type=SPS,
    nal_type=nal_type,
    is_picture=is_picture,
    first_slice=first_slice,
    keyframe=keyframe,
    parse_sps=parse_sps,
)
