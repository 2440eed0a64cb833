"""The playable file: an epoch's init made ready for players, fragments on one timeline. Pure.

Only these bytes differ from what the box sealed, and each can be undone (docs/evidence.md, "clip.mp4"):
the sample entry's name, one `mehd`, one `sidx`, and the eight bytes of `tfdt` in every fragment.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edge_agent.errors import FormatError

# Players of one large maker refuse the in-band names; parameter sets stand in the init as well.
SAMPLE_ENTRIES = {b"avc3": b"avc1", b"hev1": b"hvc1"}
MAX_REFERENCES = 60_000

_STSD = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")


@dataclass(frozen=True, slots=True)
class Picture:
    """What the manifest says of a clip's pictures. `codec` is the sample entry, e.g. `avc1`."""

    codec: str
    width: int
    height: int
    timescale: int


@dataclass(frozen=True, slots=True)
class Reference:
    """One entry of the index: from a keyframe up to the next. `ticks` is how long it plays."""

    size: int
    ticks: int


def describe(init: bytes) -> Picture:
    """Read `ftyp` + `moov` of one track. Raises FormatError for what the box would not write."""
    try:
        movie, _ = _find(init, b"moov", b"mvhd")
        media, _ = _find(init, b"moov", b"trak", b"mdia", b"mdhd")
        entry, _ = _find(init, *_STSD)
        (movie_scale,), (timescale,) = (
            struct.unpack_from(">I", init, movie + 12),
            struct.unpack_from(">I", init, media + 12),
        )
        width, height = struct.unpack_from(">HH", init, entry + 8 + 32)
    except struct.error as error:
        raise FormatError("init segment ends early") from error
    kind = init[entry + 12 : entry + 16]
    if kind not in SAMPLE_ENTRIES or not timescale or movie_scale != timescale:
        raise FormatError("init segment is none of this format")
    return Picture(SAMPLE_ENTRIES[kind].decode(), width, height, timescale)


def head(init: bytes, timescale: int, references: Iterable[Reference]) -> bytes:
    """What stands before the first fragment: length and index come first, so that players can seek."""
    listed = list(references)
    if len(listed) > MAX_REFERENCES:
        raise FormatError("too many keyframes for one clip")
    entry, _ = _find(init, *_STSD)
    kind = init[entry + 12 : entry + 16]
    named = init[: entry + 12] + SAMPLE_ENTRIES[kind] + init[entry + 16 :]
    return _with_length(named, sum(r.ticks for r in listed)) + _index(timescale, listed)


def rebased(fragment: bytes, tfdt: int, position: int) -> tuple[bytes, bytes, bytes]:
    """The fragment in three pieces, with `position` where `tfdt` stood. Raises FormatError if it did not."""
    start, _ = _find(fragment, b"moof", b"traf", b"tfdt")
    if fragment[start] != 1 or int.from_bytes(fragment[start + 4 : start + 12], "big") != tfdt:
        raise FormatError("a fragment's own time is not the one in its header")
    return fragment[: start + 4], position.to_bytes(8, "big"), fragment[start + 12 :]


def _with_length(init: bytes, ticks: int) -> bytes:
    """`mehd` into `mvex`, and the sizes of the boxes around it."""
    moov_start, _ = _find(init, b"moov")
    mvex_start, _ = _find(init, b"moov", b"mvex")
    length = _full_box(b"mehd", 1, struct.pack(">Q", ticks))
    grown = bytearray(init)
    for start in (moov_start, mvex_start):
        (size,) = struct.unpack_from(">I", grown, start - 8)
        struct.pack_into(">I", grown, start - 8, size + len(length))
    return bytes(grown[:mvex_start]) + length + bytes(grown[mvex_start:])


def _index(timescale: int, references: list[Reference]) -> bytes:
    """`sidx` (ISO/IEC 14496-12 section 8.16.3): every reference begins with a keyframe."""
    rows = b"".join(struct.pack(">III", r.size, r.ticks, 0x9000_0000) for r in references)
    return _full_box(b"sidx", 1, struct.pack(">IIQQHH", 1, timescale, 0, 0, 0, len(references)), rows)


def _full_box(kind: bytes, version: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4sI", 12 + len(body), kind, version << 24) + body


def _find(data: bytes, *path: bytes) -> tuple[int, int]:
    start, end = 0, len(data)
    for wanted in path:
        inside = next(((s, e) for kind, s, e in _boxes(data, start, end) if kind == wanted), None)
        if inside is None:
            raise FormatError(f"no {wanted.decode('ascii')} box")
        start, end = inside
    return start, end


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while start < end:
        if end - start < 8:
            raise FormatError("box ends early")
        size, kind = struct.unpack_from(">I4s", data, start)
        if size < 8 or start + size > end:
            raise FormatError("box has an impossible size")
        yield kind, start + 8, start + size
        start += size
