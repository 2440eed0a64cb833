"""H.264 as cameras send it: NAL types and the sequence parameter set (ITU-T H.264 section 7.3.2.1)."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.capture.bits import BitReader, unescape
from edge_agent.capture.parameters import PictureFormat, Rules, checked_size
from edge_agent.errors import FormatError
from edge_agent.model import Codec

SLICE, IDR, SEI, SPS, PPS, DELIMITER = 1, 5, 6, 7, 8, 9

_RECOVERY_POINT = bytes([SEI, 6])
_CHROMA_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
_EXTENDED_ASPECT = 255


def nal_type(nal: bytes) -> int:
    return nal[0] & 0x1F


def is_picture(kind: int) -> bool:
    """Slices and data partitions: the NAL units that carry the picture itself."""
    return 1 <= kind <= 5


def keyframe(nals: Sequence[bytes]) -> bool:
    """An IDR picture; or, from encoders that never send one, SPS and an exact recovery point (D.2.8)."""
    kinds = [nal_type(nal) for nal in nals]
    return IDR in kinds or (SPS in kinds and any(nal[:2] == _RECOVERY_POINT for nal in nals))


def first_slice(nal: bytes) -> bool:
    """True for the slice that opens a picture: first_mb_in_slice is 0, coded as a single 1 bit."""
    return len(nal) > 1 and nal[1] & 0x80 != 0


def parse_sps(nal: bytes) -> PictureFormat:
    """Read an SPS NAL unit. Raises FormatError for anything that cannot be one."""
    if len(nal) < 5 or nal_type(nal) != SPS:
        raise FormatError("not an H.264 SPS")
    bits = BitReader(unescape(nal)[1:])
    profile, constraints, level = bits.u(8), bits.u(8), bits.u(8)
    if bits.ue() > 31:
        raise FormatError("SPS id is out of range")
    chroma, luma_bits, chroma_bits = _colour(bits) if profile in _CHROMA_PROFILES else (1, 8, 8)
    _skip_order_count(bits)
    width, height = _size(bits, chroma)
    frame_ticks, reorder = _usability(bits) if bits.flag() else (None, None)
    if profile == 66:
        reorder = 0  # baseline has no B pictures, whatever the VUI says
    return PictureFormat(
        codec_string=f"avc3.{profile:02x}{constraints:02x}{level:02x}",
        width=width,
        height=height,
        chroma=chroma,
        luma_bits=luma_bits,
        chroma_bits=chroma_bits,
        reorder=reorder,
        frame_ticks=frame_ticks,
    )


def _colour(bits: BitReader) -> tuple[int, int, int]:
    chroma = bits.ue()
    if chroma > 3:
        raise FormatError("chroma format is out of range")
    if chroma == 3:
        bits.skip(1)
    luma_bits, chroma_bits = 8 + bits.ue(), 8 + bits.ue()
    if luma_bits > 14 or chroma_bits > 14:
        raise FormatError("bit depth is out of range")
    bits.skip(1)
    if bits.flag():
        for index in range(12 if chroma == 3 else 8):
            if bits.flag():
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return chroma, luma_bits, chroma_bits


def _skip_scaling_list(bits: BitReader, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) & 0xFF
        last = following or last


def _skip_order_count(bits: BitReader) -> None:
    bits.ue()  # log2_max_frame_num_minus4
    kind = bits.ue()
    if kind == 0:
        bits.ue()
    elif kind == 1:
        bits.skip(1)
        bits.se()
        bits.se()
        for _ in range(min(bits.ue(), 255)):
            bits.se()
    bits.ue()  # max_num_ref_frames
    bits.skip(1)


def _size(bits: BitReader, chroma: int) -> tuple[int, int]:
    wide, high = bits.ue() + 1, bits.ue() + 1
    fields = 1 if bits.flag() else 2
    if fields == 2:
        bits.skip(1)
    bits.skip(1)
    width, height = wide * 16, high * 16 * fields
    if bits.flag():
        unit_x = 1 if chroma in (0, 3) else 2
        unit_y = fields * (2 if chroma == 1 else 1)
        left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
        width -= unit_x * (left + right)
        height -= unit_y * (top + bottom)
    return checked_size(width, height)


def _usability(bits: BitReader) -> tuple[int | None, int | None]:
    """VUI (annex E): ticks a frame and the depth of reordering. An SPS cut short there still counts."""
    try:
        _skip_video_signal(bits)
        frame_ticks = _timing(bits) if bits.flag() else None
    except FormatError:
        return None, None
    try:
        return frame_ticks, _reorder(bits)
    except FormatError:
        return frame_ticks, None


def _skip_video_signal(bits: BitReader) -> None:
    if bits.flag() and bits.u(8) == _EXTENDED_ASPECT:
        bits.skip(32)
    if bits.flag():
        bits.skip(1)  # overscan_appropriate_flag
    if bits.flag():
        bits.skip(4)
        if bits.flag():
            bits.skip(24)
    if bits.flag():
        bits.ue()
        bits.ue()


def _timing(bits: BitReader) -> int | None:
    units, scale = bits.u(32), bits.u(32)
    bits.skip(1)
    if not units or not scale:
        return None
    ticks = 2 * 90_000 * units // scale  # a frame is two field units (E.2.1)
    return ticks if 90 <= ticks <= 900_000 else None


def _reorder(bits: BitReader) -> int | None:
    if _skip_hrd(bits) | _skip_hrd(bits):
        bits.skip(1)
    bits.skip(1)
    if not bits.flag():
        return None
    bits.skip(1)
    for _ in range(4):
        bits.ue()
    depth = bits.ue()
    return depth if depth <= 16 else None


def _skip_hrd(bits: BitReader) -> bool:
    if not bits.flag():
        return False
    count = bits.ue() + 1
    bits.skip(8)
    for _ in range(min(count, 32)):
        bits.ue()
        bits.ue()
        bits.skip(1)
    bits.skip(20)
    return True


RULES = Rules(
    codec=Codec.H264,
    header_size=1,
    set_types=(SPS, PPS),
    sps_type=SPS,
    nal_type=nal_type,
    is_picture=is_picture,
    first_slice=first_slice,
    keyframe=keyframe,
    parse_sps=parse_sps,
)
