"""Names and the 64-byte segment header. Pure; docs/format.md section 4."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from hashlib import sha256

from edge_agent.errors import FormatError
from edge_agent.model import Role

SEGMENT_MAGIC = b"EAS1"
SEGMENT_HEADER_BYTES = 64
MAX_SEGMENT_BYTES = 1 << 30
TIPS_NAME = "tips"

_HEADER = struct.Struct(">4sHBBQ16s16sq")  # magic, length, ring, reserved, number, box, run, created
_ROLES = {1: Role.MAIN, 2: Role.SUB}
_CODES = {role: code for code, role in _ROLES.items()}
_NAME = re.compile(r"^seg-(\d{12})\.ear$")


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """Which ring, which number, whose box (first 16 bytes of its id), which run of the agent."""

    role: Role
    number: int
    box: bytes
    run: bytes
    created_us: int

    def encode(self) -> bytes:
        head = _HEADER.pack(
            SEGMENT_MAGIC, SEGMENT_HEADER_BYTES, _CODES[self.role], 0,
            self.number, self.box, self.run, self.created_us,
        )  # fmt: skip
        return head + sha256(head).digest()[:8]

    @staticmethod
    def parse(data: bytes) -> SegmentHeader:
        """Raises FormatError; the records behind a damaged header are still found by resynchronising."""
        head = data[: _HEADER.size]
        if len(data) < SEGMENT_HEADER_BYTES or sha256(head).digest()[:8] != data[_HEADER.size : 64]:
            raise FormatError("segment header: damaged")
        magic, length, code, reserved, number, box, run, created_us = _HEADER.unpack(head)
        if magic != SEGMENT_MAGIC or length != SEGMENT_HEADER_BYTES or reserved or code not in _ROLES:
            raise FormatError("segment header: not a v1 segment")
        return SegmentHeader(_ROLES[code], number, box, run, created_us)


def segment_name(number: int) -> str:
    return f"seg-{number:012d}.ear"


def index_name(number: int) -> str:
    return f"seg-{number:012d}.idx"


def number_of(name: str) -> int | None:
    """The number in a segment's file name, None for any other file."""
    match = _NAME.match(name)
    return int(match.group(1)) if match else None
