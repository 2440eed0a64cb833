"""Reading a segment without trust: walk the records, resynchronise after damage. docs/design/ring.md, I3.

Never writes. Damage is what lies between the end of a good record and the start of the next one.
"""

from __future__ import annotations

import os
from pathlib import Path

from edge_agent.errors import FormatError
from edge_agent.ring.index import SegmentIndex
from edge_agent.ring.layout import SEGMENT_HEADER_BYTES
from edge_agent.seal.record import (
    DIGEST_PREFIX_BYTES,
    HEADER_BYTES,
    START_MARK,
    Header,
    Record,
    parse_record,
)

SEARCH_BYTES = 1 << 20


class SegmentScan:
    """Walks one segment from wherever it stopped; the open segment is walked on as it grows.

    One thread at a time. `advance` does a bounded amount of work, so that a scan can share a disk.
    """

    def __init__(self, path: Path, number: int) -> None:
        self.path = path
        self.index = SegmentIndex(number, SEGMENT_HEADER_BYTES)
        self.size = 0  # of the file, when last looked at

    def advance(self, budget: int, *, final: bool) -> bool:
        """Walk about `budget` bytes; True when the end is reached. Raises OSError.

        `final` says that nobody writes the segment any more: what does not parse at its end is damage.
        Without it, an incomplete tail is left for the next call.
        """
        file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = self.size = os.fstat(file).st_size
            stop_at = self.index.size + budget
            while self.index.size < min(size, stop_at):
                if not self._step(file, size, final=final):
                    return True
            if final:
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)  # the cache belongs to the recording
            return self.index.size >= size
        finally:
            os.close(file)

    def _step(self, file: int, size: int, *, final: bool) -> bool:
        """Take one record or one damaged range; False when more bytes must come first."""
        offset = self.index.size
        record = read_record(file, offset)
        if record is not None:
            self.index.add(record.header, offset, record.digest)
            return True
        if not final and _incomplete(file, offset, size):
            return False
        found = _resynchronise(file, offset + 1, size)
        if found is None and not final:
            return False
        self.index.add_damage(offset, size if found is None else found)
        return True


def read_record(file: int, offset: int) -> Record | None:
    """The record at `offset`, whole and with a right digest, else None. Raises OSError."""
    head = os.pread(file, HEADER_BYTES, offset)
    try:
        header = Header.parse(head)
        rest = os.pread(file, header.body_length + DIGEST_PREFIX_BYTES, offset + HEADER_BYTES)
        return parse_record(head + rest)
    except FormatError:
        return None


def _incomplete(file: int, offset: int, size: int) -> bool:
    """Whether a record has begun at `offset` whose end is not written yet."""
    try:
        return offset + Header.parse(os.pread(file, HEADER_BYTES, offset)).record_length > size
    except FormatError:
        return size - offset < HEADER_BYTES


def _resynchronise(file: int, offset: int, size: int) -> int | None:
    """Where the next good record starts, at or after `offset`.

    A mark inside ciphertext is a chance of 2^-48 a byte, and then the digest refuses it.
    """
    while offset < size:
        window = os.pread(file, SEARCH_BYTES, offset)
        at = window.find(START_MARK)
        while at >= 0:
            if read_record(file, offset + at) is not None:
                return offset + at
            at = window.find(START_MARK, at + 1)
        if len(window) < len(START_MARK):
            return None
        offset += max(1, len(window) - len(START_MARK) + 1)
    return None
