"""Sealed records cut into MQTT payloads and put together again (docs/protocol.md, Media parts). Pure.

A part is a fixed 28-byte header and a slice of one record, unchanged. Big-endian:

    magic `EAP1` | session 16 | record u32 | part u16 | parts u16

`record` counts the records of one session from 0, so a receiver sees which were dropped on the way.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from edge_agent.errors import FormatError

MAGIC = b"EAP1"
HEADER = struct.Struct(">4s16sIHH")
MAX_PART = 120 * 1024  # the largest payload that common brokers take, header included
MAX_PARTS = 1024
MAX_RECORD = 8 * 1024**2 + 4096
REMEMBERED = 256  # finished records whose repeated parts are still recognised


@dataclass(frozen=True, slots=True)
class Part:
    session: bytes
    record: int
    part: int
    parts: int
    body: bytes


def split(raw: bytes, session: bytes, record: int, max_part: int) -> Iterator[bytes]:
    """Payloads of at most `max_part` bytes, header included, in order.

    Raises ValueError for a record or part size that a receiver would refuse: a bug of ours.
    """
    room = max_part - HEADER.size
    if not 0 < room <= MAX_PART - HEADER.size or not 0 < len(raw) <= MAX_RECORD:
        raise ValueError(f"cannot cut {len(raw)} bytes into parts of {max_part}")
    parts = -(-len(raw) // room)
    if parts > MAX_PARTS:
        raise ValueError(f"{parts} parts are more than {MAX_PARTS}")
    for part in range(parts):
        header = HEADER.pack(MAGIC, session, record & 0xFFFFFFFF, part, parts)
        yield header + raw[part * room : (part + 1) * room]


def parse(payload: bytes) -> Part:
    """Read one part. Raises FormatError on anything that `split` cannot have made."""
    if not HEADER.size < len(payload) <= MAX_PART:
        raise FormatError(f"a part of {len(payload)} bytes")
    magic, session, record, part, parts = HEADER.unpack_from(payload)
    if magic != MAGIC or not 0 < parts <= MAX_PARTS or part >= parts:
        raise FormatError("not a media part")
    return Part(session, record, part, parts, payload[HEADER.size :])


@dataclass(slots=True)
class _Open:
    parts: int
    bodies: dict[int, bytes] = field(default_factory=dict)
    size: int = 0


class Reassembler:
    """Puts the records of one session together; memory stays below `max_bytes` whatever is sent.

    Repeated parts (QoS 1) are ignored. When too many records are open, the oldest is given up and counted
    in `abandoned`. Not for several threads.
    """

    def __init__(self, session: bytes, *, max_bytes: int = 2 * MAX_RECORD, max_open: int = 8) -> None:
        self._session = session
        self._max_bytes = max_bytes
        self._max_open = max_open
        self._open: OrderedDict[int, _Open] = OrderedDict()
        self._finished: OrderedDict[int, None] = OrderedDict()
        self._held = 0
        self.abandoned = 0

    def receive(self, payload: bytes) -> bytes | None:
        """The whole record once its last part has come, else None. Raises FormatError on a foreign part."""
        part = parse(payload)
        if part.session != self._session:
            raise FormatError("a part of another session")
        if part.record in self._finished:
            return None
        record = self._open.setdefault(part.record, _Open(part.parts))
        if record.parts != part.parts:
            self._abandon(part.record)
            raise FormatError("parts disagree about their number")
        if part.part in record.bodies:
            return None
        record.bodies[part.part] = part.body
        record.size += len(part.body)
        self._held += len(part.body)
        if record.size > MAX_RECORD:
            self._abandon(part.record)
            raise FormatError("a record larger than any")
        if len(record.bodies) == record.parts:
            return self._finish(part.record)
        self._make_room()
        return None

    def _finish(self, number: int) -> bytes:
        record = self._open.pop(number)
        self._held -= record.size
        self._finished[number] = None
        if len(self._finished) > REMEMBERED:
            self._finished.popitem(last=False)
        return b"".join(record.bodies[i] for i in range(record.parts))

    def _make_room(self) -> None:
        while len(self._open) > self._max_open or self._held > self._max_bytes:
            self._abandon(next(iter(self._open)))

    def _abandon(self, number: int) -> None:
        self._held -= self._open.pop(number).size
        self.abandoned += 1
