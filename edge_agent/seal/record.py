"""The record: header, body, digest prefix. Pure bytes in, values out; docs/format.md section 2."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from hashlib import sha256
from typing import ClassVar

from edge_agent.errors import FormatError
from edge_agent.model import ClockTrust, Instant

MAGIC = b"EAR1"
HEADER_BYTES = 136
DIGEST_PREFIX_BYTES = 8
AEAD_TAG_BYTES = 16
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_RECORD_BYTES = HEADER_BYTES + MAX_BODY_BYTES + DIGEST_PREFIX_BYTES
NO_DIGEST = bytes(32)
START_MARK = MAGIC + HEADER_BYTES.to_bytes(2, "big")  # what a resynchronising reader looks for

_HEADER = struct.Struct(">4sHBBBBHI16s16sQqQ16sIIQ32s")


class Kind(IntEnum):
    KEY = 1
    INIT = 2
    FRAGMENT = 3
    GAP = 4
    STILL = 5
    TIPS = 6


class Flag(IntFlag):
    NONE = 0
    KEYFRAME = 1
    DISCONTINUITY = 2


class Aead(IntEnum):
    """What encrypts the body. Key and tips records are in clear."""

    NONE = 0
    AES_256_GCM = 1
    CHACHA20_POLY1305 = 2


@dataclass(frozen=True, slots=True)
class Header:
    """The 136 bytes in front of every body, and the AEAD's associated data.

    `wall_us` and `boot_ns` are the moment of the first sample; `plain_length` is the body before sealing;
    `prev` is the digest of record n-1 of the epoch, at n = 0 that of the stream's last known record.
    """

    kind: Kind
    stream: bytes
    epoch: bytes
    n: int
    body_length: int
    plain_length: int
    wall_us: int
    boot_ns: int
    boot_id: bytes
    prev: bytes
    flags: Flag = Flag.NONE
    aead: Aead = Aead.NONE
    trust: ClockTrust = ClockTrust.NONE
    duration_us: int = 0
    tfdt: int = 0

    SIZE: ClassVar[int] = HEADER_BYTES

    @property
    def instant(self) -> Instant:
        return Instant(self.wall_us, self.boot_ns, self.trust)

    @property
    def end_us(self) -> int:
        """Wall time just after the last sample."""
        return self.wall_us + self.duration_us

    @property
    def keyframe(self) -> bool:
        return bool(self.flags & Flag.KEYFRAME)

    @property
    def record_length(self) -> int:
        return HEADER_BYTES + self.body_length + DIGEST_PREFIX_BYTES

    def encode(self) -> bytes:
        """The 136 bytes. Raises FormatError when a field does not fit its place."""
        try:
            return _HEADER.pack(
                MAGIC, HEADER_BYTES, self.kind, self.flags, self.aead, self.trust, 0, self.body_length,
                self.stream, self.epoch, self.n, self.wall_us, self.boot_ns, self.boot_id,
                self.duration_us, self.plain_length, self.tfdt, self.prev,
            )  # fmt: skip
        except struct.error as error:
            raise FormatError(f"record header: {error}") from error

    @staticmethod
    def parse(data: bytes | bytearray | memoryview, offset: int = 0) -> Header:
        """Read a header at `offset`. Raises FormatError for anything a writer of v1 would not write."""
        if len(data) - offset < HEADER_BYTES:
            raise FormatError("record header: cut short")
        (
            magic, length, kind, flags, aead, trust, reserved, body_length,
            stream, epoch, n, wall_us, boot_ns, boot_id,
            duration_us, plain_length, tfdt, prev,
        ) = _HEADER.unpack_from(data, offset)  # fmt: skip
        if magic != MAGIC or length != HEADER_BYTES or reserved != 0:
            raise FormatError("record header: not a v1 record")
        if body_length > MAX_BODY_BYTES:
            raise FormatError(f"record header: body of {body_length} bytes is over the limit")
        try:
            header = Header(
                Kind(kind), stream, epoch, n, body_length, plain_length, wall_us, boot_ns, boot_id, prev,
                _flags(flags), Aead(aead), ClockTrust(trust), duration_us, tfdt,
            )  # fmt: skip
        except ValueError as error:
            raise FormatError(f"record header: {error}") from error
        if body_length != plain_length + (AEAD_TAG_BYTES if header.aead else 0):
            raise FormatError("record header: body and plain length disagree")
        return header


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it lies on disk and travels: `raw` is header, body and the first 8 bytes of `digest`."""

    header: Header
    raw: bytes
    digest: bytes

    @property
    def body(self) -> memoryview:
        return memoryview(self.raw)[HEADER_BYTES:-DIGEST_PREFIX_BYTES]


@dataclass(frozen=True, slots=True, order=True)
class Tip:
    """The last record of a stream: what a mark in the ledger pins down."""

    stream: bytes
    epoch: bytes
    n: int
    digest: bytes

    @staticmethod
    def of(record: Record) -> Tip:
        header = record.header
        return Tip(header.stream, header.epoch, header.n, record.digest)


def sealed_size(plain_length: int) -> int:
    """Bytes that a sealed record of `plain_length` takes on disk: what to reserve before sealing."""
    return HEADER_BYTES + plain_length + AEAD_TAG_BYTES + DIGEST_PREFIX_BYTES


def build_record(header: Header, body: bytes) -> Record:
    """Join and digest. One pass over the body for the hash, one copy for the join."""
    head = header.encode()
    state = sha256(head)
    state.update(body)
    digest = state.digest()
    return Record(header, b"".join((head, body, digest[:DIGEST_PREFIX_BYTES])), digest)


def parse_record(data: bytes | bytearray | memoryview, offset: int = 0) -> Record:
    """Read and check one record at `offset`. Raises FormatError; trailing bytes are not looked at."""
    header = Header.parse(data, offset)
    end = offset + header.record_length
    if len(data) < end:
        raise FormatError("record: cut short")
    raw = bytes(memoryview(data)[offset:end])
    digest = sha256(memoryview(raw)[:-DIGEST_PREFIX_BYTES]).digest()
    if raw[-DIGEST_PREFIX_BYTES:] != digest[:DIGEST_PREFIX_BYTES]:
        raise FormatError("record: digest does not match")
    return Record(header, raw, digest)


def iter_records(data: bytes | bytearray | memoryview) -> Iterator[Record]:
    """Records laid end to end. Raises FormatError at the first that does not hold."""
    offset = 0
    while offset < len(data):
        record = parse_record(data, offset)
        yield record
        offset += len(record.raw)


def _flags(value: int) -> Flag:
    if value & ~int(Flag.KEYFRAME | Flag.DISCONTINUITY):
        raise ValueError(f"unknown flags {value:#x}")
    return Flag(value)
