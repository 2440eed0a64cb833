"""An encoded loop and its file: what one stream shows, over and over."""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from edge_agent.model import Codec

_START_CODE = re.compile(b"\x00\x00\x01")
_MAGIC = "edge-agent dvr loop 1"
_PARAMETER_SETS = {Codec.H264: (7, 8), Codec.H265: (32, 33, 34)}
_DROPPED = {
    Codec.H264: (6, 9, 12),
    Codec.H265: (35, 38, 39, 40),
}  # SEI, delimiters and filler: the server adds its own


@dataclass(frozen=True, slots=True)
class EncodedUnit:
    """One picture in decoding order: NAL units without start codes, parameter sets first in a keyframe."""

    nals: tuple[bytes, ...]
    keyframe: bool


@dataclass(frozen=True, slots=True)
class EncodedLoop:
    """Begins with a keyframe. With `seamless` its first keyframe is sent once and only the rest repeats."""

    codec: Codec
    width: int
    height: int
    fps: Fraction
    units: tuple[EncodedUnit, ...]
    seamless: bool = False

    @property
    def parameter_sets(self) -> tuple[bytes, ...]:
        """VPS (H.265), SPS, PPS, as the SDP and every keyframe carry them."""
        kinds = _PARAMETER_SETS[self.codec]
        return tuple(nal for nal in self.units[0].nals if nal_type(self.codec, nal) in kinds)

    @property
    def kbps(self) -> float:
        octets = sum(len(nal) for unit in self.units for nal in unit.nals)
        return octets * 8 * float(self.fps) / len(self.units) / 1000


def nal_type(codec: Codec, nal: bytes) -> int:
    return nal[0] & 0x1F if codec is Codec.H264 else (nal[0] >> 1) & 0x3F


def split_annexb(codec: Codec, stream: bytes, keyframe: bool) -> EncodedUnit:
    """One access unit in Annex B form to NAL units; foreign SEI, delimiters and filler are left out."""
    nals = (piece.rstrip(b"\x00") for piece in _START_CODE.split(stream))
    kept = tuple(nal for nal in nals if nal and nal_type(codec, nal) not in _DROPPED[codec])
    return EncodedUnit(kept, keyframe)


def write_loop(path: Path, loop: EncodedLoop) -> None:
    """Atomic: a reader sees the whole file or none, also when two processes write at once."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "wb") as out:
        out.write(json.dumps(_header(loop)).encode() + b"\n")
        for unit in loop.units:
            out.write(b"".join(unit.nals))
    Path(temporary).replace(path)


def read_loop(path: Path) -> EncodedLoop | None:
    """None when the file is absent, of another version or damaged: the caller encodes again."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        header = json.loads(head)
        if header["magic"] != _MAGIC or header["octets"] != len(body):
            return None
        return _from_header(header, body)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _header(loop: EncodedLoop) -> dict[str, object]:
    return {
        "magic": _MAGIC,
        "codec": loop.codec.value,
        "size": [loop.width, loop.height],
        "fps": str(loop.fps),
        "seamless": loop.seamless,
        "units": [[unit.keyframe, [len(nal) for nal in unit.nals]] for unit in loop.units],
        "octets": sum(len(nal) for unit in loop.units for nal in unit.nals),
    }


def _from_header(header: dict[str, object], body: bytes) -> EncodedLoop:
    units, at = [], 0
    listed = header["units"]
    size = header["size"]
    if not isinstance(listed, list) or not isinstance(size, list):
        raise TypeError("a loop's header lists its units and its size")
    for keyframe, lengths in listed:
        nals = []
        for length in lengths:
            nals.append(body[at : at + length])
            at += length
        units.append(EncodedUnit(tuple(nals), bool(keyframe)))
    return EncodedLoop(
        Codec(str(header["codec"])),
        int(size[0]),
        int(size[1]),
        Fraction(str(header["fps"])),
        tuple(units),
        bool(header["seamless"]),
    )
