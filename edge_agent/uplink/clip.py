"""A clip: the records of a range laid end to end, cut into numbered parts (docs/protocol.md, Clips). Pure.

Nothing is kept of a clip at the box. The same range gives the same bytes and the same name as long as the
ring holds the same records: so a transfer goes on after either side was restarted.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

from pydantic import Field

from edge_agent.errors import EdgeAgentError, FormatError
from edge_agent.seal.record import Record
from edge_agent.uplink.messages import Count, Hex16, Model, Name
from edge_agent.uplink.operations import Ulid

MAGIC = b"EAC1"
HEADER = struct.Struct(">4s16sII")
PART_BYTES = 64 * 1024
MAX_PARTS = 1 << 17  # 8 GiB
WINDOW = 4  # parts of one clip that may be unacknowledged

_NAME = b"edge-agent clip 1\0"
_RANGE = struct.Struct(">16sqq")
_RECORD = struct.Struct(">16sQ32s")

Span = tuple[int, int]  # part numbers, first and last


class ClipChanged(EdgeAgentError):
    """The ring no longer holds the records that the clip was made of."""

    def __init__(self) -> None:
        super().__init__("the recorded footage of this range has changed; fetch it anew")


class ClipTooLarge(EdgeAgentError):
    def __init__(self) -> None:
        super().__init__(f"more than {MAX_PARTS * PART_BYTES >> 30} GiB; ask for a shorter time")


class ClipStarted(Model):
    """Result of `clip.fetch`. `to_us` is what a later request must name to get the same clip."""

    transfer: Hex16
    session: Ulid
    lease: Ulid
    lease_s: Count
    topic: Name
    from_us: Count
    to_us: Count
    size: Annotated[int, Field(gt=0, le=MAX_PARTS * PART_BYTES)]
    parts: Annotated[int, Field(gt=0, le=MAX_PARTS)]
    records: Count
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class Clip:
    """What a survey found. `marks`: eight bytes of each record's digest, to know the records again."""

    transfer: bytes
    size: int
    sha256: bytes
    marks: array[int]

    @property
    def parts(self) -> int:
        return parts_of(self.size)


@dataclass(frozen=True, slots=True)
class Part:
    transfer: bytes
    number: int
    parts: int
    body: bytes


def survey(stream: bytes, from_us: int, to_us: int, records: Iterable[Record]) -> Clip:
    """Walk through a range once, keeping 8 bytes a record. Raises ClipTooLarge, RingError of `records`."""
    name = sha256(_NAME + _RANGE.pack(stream, from_us, to_us))
    whole, size, marks = sha256(), 0, array("Q")
    for record in records:
        name.update(_RECORD.pack(record.header.epoch, record.header.n, record.digest))
        whole.update(record.raw)
        marks.append(_mark(record))
        size += len(record.raw)
        if size > MAX_PARTS * PART_BYTES:
            raise ClipTooLarge
    return Clip(name.digest()[:16], size, whole.digest(), marks)


def payloads(clip: Clip, records: Iterable[Record], wanted: Sequence[Span] = ()) -> Iterator[bytes]:
    """The wanted parts in order, or all; reads no further than the last one. Raises ClipChanged."""
    spans = list(wanted) or [(0, clip.parts - 1)]
    for number, body in _cut(_same(clip, records)):
        while spans and spans[0][1] < number:
            spans.pop(0)
        if not spans:
            return
        if number >= spans[0][0]:
            yield HEADER.pack(MAGIC, clip.transfer, number, clip.parts) + body


def parse(payload: bytes) -> Part:
    """Read one part. Raises FormatError on anything that `payloads` cannot have made."""
    if not HEADER.size < len(payload) <= HEADER.size + PART_BYTES:
        raise FormatError(f"a clip's part of {len(payload)} bytes")
    magic, transfer, number, parts = HEADER.unpack_from(payload)
    if magic != MAGIC or not 0 < parts <= MAX_PARTS or number >= parts:
        raise FormatError("not a part of a clip")
    return Part(transfer, number, parts, payload[HEADER.size :])


def parts_of(size: int) -> int:
    return -(-size // PART_BYTES)


def _mark(record: Record) -> int:
    return int.from_bytes(record.digest[:8], "big")


def _same(clip: Clip, records: Iterable[Record]) -> Iterator[bytes]:
    """The records' bytes, as long as they are those of the survey; what was recorded since is left out."""
    reading = iter(records)
    for mark in clip.marks:
        record = next(reading, None)
        if record is None or _mark(record) != mark:
            raise ClipChanged
        yield record.raw


def _cut(raws: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    waiting, number = bytearray(), 0
    for raw in raws:
        waiting += raw
        while len(waiting) >= PART_BYTES:
            yield number, bytes(waiting[:PART_BYTES])
            del waiting[:PART_BYTES]
            number += 1
    if waiting:
        yield number, bytes(waiting)
