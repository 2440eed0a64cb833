"""Part files: frames on disk, how parts overlay each other, how one is scanned. Reading only.

Frame = u32 length || leaf || u32 CRC-32 of the leaf, big-endian. A part is named
`leaves-{sequence}-{first index}.log`. Sequence numbers rise and are never reused; a later part replaces
every earlier one from its first index on. So nothing is ever cut: after a torn tail, a failed sync or a
rollback the ledger goes on in a new part, and the bytes that it replaces stay where they are.
"""

from __future__ import annotations

import re
import struct
import zlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edge_agent.ledger.leaf import MAX_LEAF_BYTES

_NAME = re.compile(r"leaves-(\d{6,12})-(\d{12})\.log")
_LENGTH = struct.Struct(">I")
OVERHEAD = 8


@dataclass(frozen=True, slots=True)
class Part:
    """A part file: `first` is the index of its first leaf."""

    path: Path
    sequence: int
    first: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """The leaves [first, end) come from `part`."""

    part: Part
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Scan:
    """The frames from the start of a part: where each begins, and where the last one ends."""

    offsets: array[int]
    end: int
    torn: bool  # something follows that is not a whole frame


def part_name(sequence: int, first: int) -> str:
    return f"leaves-{sequence:06d}-{first:012d}.log"


def frame(leaf: bytes) -> bytes:
    return _LENGTH.pack(len(leaf)) + leaf + _LENGTH.pack(zlib.crc32(leaf))


def list_parts(directory: Path) -> list[Part]:
    """All parts in the order in which they were begun."""
    found = ((path, _NAME.fullmatch(path.name)) for path in directory.iterdir())
    parts = [Part(path, int(name[1]), int(name[2])) for path, name in found if name]
    return sorted(parts, key=lambda part: part.sequence)


def overlay(parts: Iterable[Part], size: int) -> list[Stretch]:
    """Which part holds which of the first `size` leaves: a later part replaces from its first index on."""
    current: list[Part] = []
    for part in parts:
        while current and current[-1].first >= part.first:
            current.pop()
        current.append(part)
    ends = [*(part.first for part in current[1:]), size]
    stretches = (Stretch(part, part.first, min(end, size)) for part, end in zip(current, ends, strict=False))
    return [stretch for stretch in stretches if stretch.first < stretch.end]


def scan(content: bytes, start: int = 0) -> Scan:
    """Find the frames from `start` on.

    A damaged frame keeps its place if a whole one follows where its length says: bit rot in one leaf does
    not hide the next. Anything else ends the scan: a torn tail.
    """
    offsets: array[int] = array("Q")
    while True:
        following = _following(content, start)
        readable = leaf_at(content, start) is not None
        if not readable and leaf_at(content, following) is None:
            return Scan(offsets, start, torn=start != len(content))
        offsets.append(start)
        start = following


def leaf_at(content: bytes, offset: int) -> bytes | None:
    """The leaf whose frame begins at `offset`, None if no whole frame with a good CRC does."""
    if offset + OVERHEAD > len(content):
        return None
    (length,) = _LENGTH.unpack_from(content, offset)
    end = offset + 4 + length
    if not 0 < length <= MAX_LEAF_BYTES or end + 4 > len(content):
        return None
    leaf = content[offset + 4 : end]
    return leaf if zlib.crc32(leaf) == _LENGTH.unpack_from(content, end)[0] else None


def _following(content: bytes, offset: int) -> int:
    """Where the next frame begins, by this frame's length alone."""
    if offset + 4 > len(content):
        return len(content)
    length: int = _LENGTH.unpack_from(content, offset)[0]
    return offset + length + OVERHEAD
