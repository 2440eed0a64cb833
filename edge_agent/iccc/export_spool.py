"""Sealed records on their way into a package: a file that says by itself what has come. One thread.

The file is records laid end to end, as they arrived. Each carries its digest, so a file cut short by a
crash is taken up where it still holds: that is the whole of "resumable".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import FormatError
from edge_agent.seal.record import MAX_RECORD_BYTES, Header, Kind, Record, parse_record

JOIN_US = 1_000_000  # epochs that follow each other are no further apart


@dataclass(frozen=True, slots=True)
class _Place:
    header: Header
    offset: int


class Spool:
    """Keeps the records of one stream, and the box's tips; anything else is not taken. Close it."""

    def __init__(self, path: Path, stream: bytes, tips_stream: bytes) -> None:
        self._stream, self._tips_stream = stream, tips_stream
        self._places: dict[tuple[bytes, int], _Place] = {}
        self._tips: dict[bytes, int] = {}
        self._file = path.open("a+b")
        self._end = 0
        self._take_up()

    def close(self) -> None:
        self._file.close()

    @property
    def records(self) -> int:
        return len(self._places)

    def add(self, record: Record) -> None:
        """Keep a record, once. Raises OSError when the disk cannot take it."""
        if not self._note(record, self._end):
            return
        self._file.write(record.raw)
        self._end += len(record.raw)

    def footage(self) -> Iterator[Record]:
        """The stream's records, epochs in order of time, each by number; any number of times."""
        self._file.flush()
        yield from (self._read(place.offset) for place in self._in_order())

    def tips(self) -> list[Record]:
        self._file.flush()
        return [self._read(offset) for offset in self._tips.values()]

    def holes(self, from_us: int, to_us: int) -> list[tuple[int, int]]:
        """Wall times between which records may be missing, and from the last record to the end.

        Within an epoch the numbers tell; from one to the next a leap in time, which may be an outage, or a
        beginning that is not here.
        """
        found: list[tuple[int, int]] = []
        before: Header | None = None
        reach = from_us
        for place in self._in_order():
            header = place.header
            if before is not None and _apart(before, header):
                found.append((before.wall_us, header.end_us))
            before = header
            reach = max(reach, header.wall_us)
        return [*found, (reach, to_us)]

    def _in_order(self) -> list[_Place]:
        began: dict[bytes, int] = {}
        for place in self._places.values():
            epoch, wall_us = place.header.epoch, place.header.wall_us
            began[epoch] = min(wall_us, began.get(epoch, wall_us))
        return sorted(
            self._places.values(), key=lambda p: (began[p.header.epoch], p.header.epoch, p.header.n)
        )

    def _take_up(self) -> None:
        size = os.fstat(self._file.fileno()).st_size
        while self._end < size:
            try:
                record = self._read(self._end)
            except FormatError:
                break
            self._note(record, self._end)
            self._end += len(record.raw)
        self._file.truncate(self._end)

    def _note(self, record: Record, offset: int) -> bool:
        header = record.header
        if header.kind is Kind.TIPS and header.stream == self._tips_stream:
            return self._tips.setdefault(record.digest, offset) == offset
        if header.stream != self._stream or header.kind not in (Kind.KEY, Kind.INIT, Kind.FRAGMENT, Kind.GAP):
            return False
        identity = header.epoch, header.n
        if identity in self._places:
            return False
        self._places[identity] = _Place(header, offset)
        return True

    def _read(self, offset: int) -> Record:
        head = os.pread(self._file.fileno(), Header.SIZE, offset)
        length = Header.parse(head).record_length
        return parse_record(os.pread(self._file.fileno(), min(length, MAX_RECORD_BYTES), offset))


def _apart(before: Header, header: Header) -> bool:
    if before.epoch == header.epoch:
        return header.n > before.n + 1 and before.n > 1
    return header.n > 0 or header.wall_us - before.end_us > JOIN_US
