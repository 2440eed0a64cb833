"""The parameter sets in force for one stream, from the SDP and in band; the NAL rules of both codecs.

H.264 and H.265 differ in NAL headers and parameter sets, not in how we treat them. `Rules` names the
differences once; `h264.RULES` and `h265.RULES` are its two values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_agent.capture.bits import BitReader
from edge_agent.errors import FormatError
from edge_agent.model import Codec

LARGEST_SIDE = 16384
LARGEST_SET = 4096  # bytes
_SETS_KEPT = 16  # of each kind; SPS ids end at 31 and PPS ids at 255, real cameras use one or two


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """What an SPS says about the pictures."""

    codec_string: str  # RFC 6381, with the in-band entry names avc3 and hev1
    width: int
    height: int
    chroma: int = 1
    luma_bits: int = 8
    chroma_bits: int = 8
    reorder: int | None = None  # pictures that may precede one in decoding and follow it in output
    frame_ticks: int | None = None  # 90 kHz ticks a frame, by the VUI's opinion


@dataclass(frozen=True, slots=True)
class Rules:
    """How one codec writes its NAL units."""

    codec: Codec
    header_size: int
    set_types: tuple[int, ...]  # in the order in which they are sent
    sps_type: int
    nal_type: Callable[[bytes], int]
    is_picture: Callable[[int], bool]
    first_slice: Callable[[bytes], bool]
    keyframe: Callable[[Sequence[bytes]], bool]
    parse_sps: Callable[[bytes], PictureFormat]


class ParameterSets:
    """Keeps the newest of each parameter set, and the format of the newest SPS that parses.

    A camera's sprop may be missing, cut short or garbage (retina #42): what does not parse is not
    believed, and in-band sets win as soon as they come.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.format: PictureFormat | None = None
        self._sets: dict[int, list[bytes]] = {kind: [] for kind in rules.set_types}

    def take(self, nal: bytes) -> bool:
        """Remember `nal` if it is a parameter set; True when it is one that was not in force."""
        if not self.rules.header_size < len(nal) <= LARGEST_SET:
            return False
        kind = self.rules.nal_type(nal)
        known = self._sets.get(kind)
        if known is None or nal in known:
            return False
        if kind == self.rules.sps_type:
            return self._take_sps(nal)
        known[:] = [other for other in known if self._set_id(other) != self._set_id(nal)]
        known.append(nal)
        del known[:-_SETS_KEPT]
        return True

    def complete(self) -> bool:
        return self.format is not None and all(self._sets.values())

    def of(self, kind: int) -> list[bytes]:
        return self._sets[kind]

    def all(self) -> list[bytes]:
        """Every set in force, in the order in which a decoder wants them."""
        return [nal for kind in self.rules.set_types for nal in self._sets[kind]]

    def _take_sps(self, nal: bytes) -> bool:
        try:
            self.format = self.rules.parse_sps(nal)
        except FormatError:
            return False
        self._sets[self.rules.sps_type][:] = [nal]  # one active format: an older SPS is out of force
        return True

    def _set_id(self, nal: bytes) -> int:
        """A PPS begins with its id; a stream has one VPS, whose first bits read alike."""
        try:
            return BitReader(nal[self.rules.header_size :][:5]).ue()
        except FormatError:
            return -1


def checked_size(width: int, height: int) -> tuple[int, int]:
    """Refuse a picture that no camera sends: hostile bits must not become a huge allocation."""
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise FormatError(f"picture size {width} x {height} is impossible")
    return width, height
