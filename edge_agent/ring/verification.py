"""Examines a ring's segments byte by byte, without any key but the box's public one. Reads only.

Finds damage, records that are missing or out of place, key records that the box did not sign, and, with the
marks of the ledger at hand, every record that is not the one a mark has named.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import EdgeAgentError, FormatError
from edge_agent.ring.layout import SEGMENT_HEADER_BYTES, SegmentHeader, segment_name
from edge_agent.ring.segment import SegmentScan, read_record
from edge_agent.ring.store import Store
from edge_agent.seal.epoch import parse_key_body
from edge_agent.seal.keys import box_id
from edge_agent.seal.record import Header, Kind, Record, Tip

SCAN_BYTES = 64 << 20
FIRST_ALONE = 2  # records 0 and 1, key and init, are copied to each segment's start


@dataclass(frozen=True, slots=True)
class Finding:
    """`sort`: damage (bytes that are no record), missing (records, by their numbers), twice (a record again
    in the same segment, where no writer puts it), wrong (a record that cannot stand there). `epoch` is empty
    where it is not known; times are wall time, microseconds."""

    sort: str
    segment: int
    offset: int
    text: str
    stream: bytes = b""
    epoch: bytes = b""
    n: int = 0
    wall_us: int = 0


@dataclass(frozen=True, slots=True)
class Examined:
    """`named` records of `records` are ones that a tips record in the ring names."""

    segments: int
    records: int
    bytes: int
    named: int
    findings: tuple[Finding, ...]


@dataclass(slots=True)
class _Epoch:
    n: int
    digest: bytes
    key_digest: bytes


class Examiner:
    """One ring, front to back. `tips`: what marks of the ledger have named, by epoch and number."""

    def __init__(self, box_public: bytes, tips: Mapping[tuple[bytes, int], Tip]) -> None:
        self._box_public = box_public
        self._tips = tips
        self._epochs: dict[tuple[bytes, bytes], _Epoch] = {}
        self._segments = self._records = self._bytes = self._named = 0
        self._findings: list[Finding] = []
        self._here: dict[tuple[bytes, bytes, int], bytes] = {}  # digests of the segment's records

    def examine(self, directory: Path, *, growing: bool) -> Iterator[int]:
        """Yields the bytes of each segment as it is done. Raises OSError.

        `growing`: the newest segment is being written, its end is no damage. A segment that is evicted
        meanwhile is passed over.
        """
        found = Store(directory).segments()
        for number, size in found:
            try:
                final = not growing or number != found[-1][0]
                self._segment(number, directory / segment_name(number), final=final)
            except FileNotFoundError:
                continue
            self._segments += 1
            self._bytes += size
            yield size

    def result(self) -> Examined:
        return Examined(self._segments, self._records, self._bytes, self._named, tuple(self._findings))

    def _segment(self, number: int, path: Path, *, final: bool) -> None:
        scan = SegmentScan(path, number)
        while not scan.advance(SCAN_BYTES, final=final):
            pass
        for start, end in scan.index.damage:
            self._findings.append(Finding("damage", number, start, f"bytes {start} to {end} are no record"))
        self._here.clear()
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._head(number, os.pread(file, SEGMENT_HEADER_BYTES, 0))
            for offset, record in _records(file, scan):
                self._records += 1
                self._judge(number, offset, record)
        finally:
            os.close(file)

    def _head(self, number: int, head: bytes) -> None:
        try:
            header = SegmentHeader.parse(head)
            if header.number == number and header.box == box_id(self._box_public)[:16]:
                return
            text = "it is another box's segment, or under another's name"
        except FormatError as error:
            text = str(error)
        self._findings.append(Finding("damage", number, 0, text))

    def _judge(self, segment: int, offset: int, record: Record) -> None:
        header = record.header
        due = self._tips.get((header.epoch, header.n))
        if due is not None and due.stream == header.stream:
            self._named += 1
            if due.digest != record.digest:
                self._wrong(segment, offset, header, "a mark in the ledger names another record in its place")
        if header.kind is Kind.TIPS:
            return
        if header.kind is Kind.KEY:
            self._key(segment, offset, record)
            return
        identity = (header.stream, header.epoch, header.n)
        before = self._here.get(identity)
        if before is not None and header.n >= FIRST_ALONE:
            self._again(segment, offset, record, before)
            return
        self._here[identity] = record.digest
        epoch = self._epochs.get((header.stream, header.epoch))
        if epoch is None:
            self._wrong(segment, offset, header, "a record whose key record is not here")
        elif header.n == epoch.n + 1:
            if header.prev != epoch.digest:
                self._wrong(segment, offset, header, "it does not follow the record before it")
            epoch.n, epoch.digest = header.n, record.digest
        elif header.n > epoch.n:
            lost = header.n - epoch.n - 1
            text = f"{lost} record{'s are' if lost != 1 else ' is'} missing before record {header.n}"
            self._findings.append(_at("missing", segment, offset, header, text))
            epoch.n, epoch.digest = header.n, record.digest

    def _again(self, segment: int, offset: int, record: Record, before: bytes) -> None:
        if before != record.digest:
            self._wrong(segment, offset, record.header, "another record stands in its place before it")
            return
        text = f"record {record.header.n} stands twice in this segment; readers take the first"
        self._findings.append(_at("twice", segment, offset, record.header, text))

    def _key(self, segment: int, offset: int, record: Record) -> None:
        header = record.header
        known = self._epochs.get((header.stream, header.epoch))
        if known is not None:
            if known.key_digest != record.digest:
                self._wrong(segment, offset, header, "a second, different key record for one epoch")
            return
        try:
            parse_key_body(record, self._box_public)
        except EdgeAgentError as error:
            self._wrong(segment, offset, header, str(error))
            return
        self._epochs[header.stream, header.epoch] = _Epoch(0, record.digest, record.digest)

    def _wrong(self, segment: int, offset: int, header: Header, text: str) -> None:
        self._findings.append(_at("wrong", segment, offset, header, text))


def tips_by_identity(tips: Iterable[Tip]) -> dict[tuple[bytes, int], Tip]:
    return {(tip.epoch, tip.n): tip for tip in tips}


def _at(sort: str, segment: int, offset: int, header: Header, text: str) -> Finding:
    return Finding(sort, segment, offset, text, header.stream, header.epoch, header.n, header.wall_us)


def _records(file: int, scan: SegmentScan) -> Iterator[tuple[int, Record]]:
    damaged = dict(scan.index.damage)
    offset = SEGMENT_HEADER_BYTES
    while offset < scan.index.size:
        if offset in damaged:
            offset = damaged[offset]
            continue
        record = read_record(file, offset)
        if record is None:
            raise FormatError(f"{scan.path}: it changes while it is read")
        yield offset, record
        offset += len(record.raw)
