"""A segment's index: what lies where, which spans it covers, what is damaged. docs/format.md section 5.

A sidecar that can always be rebuilt from the segment. Its head (epochs, spans, damage) can be read without
the entries: coverage of a month reads heads only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from edge_agent.errors import FormatError
from edge_agent.model import ClockTrust
from edge_agent.seal.record import Flag, Header, Kind

INDEX_MAGIC = b"EAX1"
JOIN_US = 1_000_000  # fragments no farther apart than this are one span
MAX_HEAD_BYTES = 16 << 20

_HEAD = struct.Struct(">4sHHQQqqBxxxIIII")
_EPOCH = struct.Struct(">16s16s")
_SPAN = struct.Struct(">IBxxxqq")
_DAMAGE = struct.Struct(">QQ")
_ENTRY = struct.Struct(">IIQqIIBBBx32s")
_VERSION = 1
_NONE_US = -(1 << 63)


@dataclass(frozen=True, slots=True)
class Entry:
    """One record's place in its segment, and what a reader must know to choose it."""

    offset: int
    length: int
    n: int
    wall_us: int
    duration_us: int
    epoch: bytes
    kind: int
    flags: int
    trust: int
    digest: bytes

    @property
    def end_us(self) -> int:
        return self.wall_us + self.duration_us

    @property
    def keyframe(self) -> bool:
        return bool(self.flags & Flag.KEYFRAME)


@dataclass(slots=True)
class Stretch:
    """Fragments of one epoch without a pause, or one gap record."""

    epoch: int
    kind: int
    from_us: int
    to_us: int


@dataclass(slots=True)
class SegmentIndex:
    """Grows while its segment is written or scanned; `size` says up to which byte."""

    number: int
    size: int = 0
    from_us: int | None = None
    to_us: int | None = None
    trusted: bool = True
    epochs: list[tuple[bytes, bytes]] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    damage: list[tuple[int, int]] = field(default_factory=list)
    packed: bytearray = field(default_factory=bytearray)
    _numbers: dict[tuple[bytes, bytes], int] = field(default_factory=dict)
    _open: dict[int, Stretch] = field(default_factory=dict)

    def add(self, header: Header, offset: int, digest: bytes) -> None:
        """Note a record at `offset`; records come in the order of the file."""
        epoch = self._epoch_number(header.stream, header.epoch)
        self.packed += _ENTRY.pack(
            offset, header.record_length, header.n, header.wall_us, header.duration_us,
            epoch, header.kind, header.flags, header.trust, digest,
        )  # fmt: skip
        self.size = offset + header.record_length
        if header.kind in (Kind.FRAGMENT, Kind.GAP):
            self._cover(epoch, header)

    def add_damage(self, start: int, end: int) -> None:
        self.damage.append((start, end))
        self.size = end

    @property
    def records(self) -> int:
        return len(self.packed) // _ENTRY.size

    def streams(self) -> set[bytes]:
        return {stream for stream, _ in self.epochs}

    def entries(self, stream: bytes) -> Iterator[Entry]:
        """The stream's records in the order of the file."""
        packed = bytes(self.packed)  # the open segment's index grows while a reader walks it
        mine = {i: epoch for i, (s, epoch) in enumerate(self.epochs) if s == stream}
        for offset, length, n, wall_us, duration_us, number, *rest in _ENTRY.iter_unpack(packed):
            epoch = mine.get(number)
            if epoch is not None:
                kind, flags, trust, digest = rest
                yield Entry(offset, length, n, wall_us, duration_us, epoch, kind, flags, trust, digest)

    def encode(self) -> bytes:
        counts = (len(self.epochs), len(self.stretches), len(self.damage), self.records)
        span = (_stored(self.from_us), _stored(self.to_us), self.trusted)
        parts = [_HEAD.pack(INDEX_MAGIC, _HEAD.size, _VERSION, self.number, self.size, *span, *counts)]
        parts += (_EPOCH.pack(*e) for e in self.epochs)
        parts += (_SPAN.pack(s.epoch, s.kind, s.from_us, s.to_us) for s in self.stretches)
        parts += (_DAMAGE.pack(*d) for d in self.damage)
        head = b"".join(parts)
        entries = bytes(self.packed)
        return b"".join((head, sha256(head).digest(), entries, sha256(entries).digest()))

    def _epoch_number(self, stream: bytes, epoch: bytes) -> int:
        identity = (stream, epoch)
        number = self._numbers.get(identity)
        if number is None:
            number = self._numbers[identity] = len(self.epochs)
            self.epochs.append(identity)
        return number

    def _cover(self, epoch: int, header: Header) -> None:
        end_us = header.end_us
        self.from_us = header.wall_us if self.from_us is None else min(self.from_us, header.wall_us)
        self.to_us = end_us if self.to_us is None else max(self.to_us, end_us)
        self.trusted = self.trusted and header.trust >= ClockTrust.NTP
        last = self._open.get(epoch) if header.kind is Kind.FRAGMENT else None
        if last is not None and last.from_us <= header.wall_us <= last.to_us + JOIN_US:
            last.to_us = max(last.to_us, end_us)
            return
        stretch = Stretch(epoch, header.kind, header.wall_us, end_us)
        self.stretches.append(stretch)
        if header.kind is Kind.FRAGMENT:
            self._open[epoch] = stretch
        else:
            self._open.pop(epoch, None)


def head_length(data: bytes) -> int:
    """How many bytes the head takes with its digest, from the index's first 64. Raises FormatError."""
    if len(data) < _HEAD.size:
        raise FormatError("segment index: cut short")
    magic, length, version, *_, epochs, stretches, damage, _ = _HEAD.unpack_from(data)
    if magic != INDEX_MAGIC or length != _HEAD.size or version != _VERSION:
        raise FormatError("segment index: not v1")
    total = _HEAD.size + epochs * _EPOCH.size + stretches * _SPAN.size + damage * _DAMAGE.size + 32
    if total > MAX_HEAD_BYTES:
        raise FormatError("segment index: head is over the limit")
    return int(total)


def decode_head(data: bytes) -> SegmentIndex:
    """The index without its entries. Raises FormatError: then the segment is scanned again."""
    end = head_length(data) - 32
    if sha256(data[:end]).digest() != data[end : end + 32]:
        raise FormatError("segment index: damaged")
    _, _, _, number, size, from_us, to_us, trusted, epochs, stretches, _, _ = _HEAD.unpack_from(data)
    at_stretches = _HEAD.size + epochs * _EPOCH.size
    at_damage = at_stretches + stretches * _SPAN.size
    index = SegmentIndex(number, size, _time(from_us), _time(to_us), bool(trusted))
    index.epochs.extend(_EPOCH.iter_unpack(data[_HEAD.size : at_stretches]))
    index.stretches.extend(Stretch(*f) for f in _SPAN.iter_unpack(data[at_stretches:at_damage]))
    index.damage.extend(_DAMAGE.iter_unpack(data[at_damage:end]))
    if any(s.epoch >= epochs for s in index.stretches):
        raise FormatError("segment index: span of an unknown epoch")
    return index


def decode(data: bytes) -> SegmentIndex:
    """The whole index. Raises FormatError."""
    index = decode_head(data)
    entries = data[head_length(data) :]
    count = _HEAD.unpack_from(data)[-1]
    if len(entries) != count * _ENTRY.size + 32 or sha256(entries[:-32]).digest() != entries[-32:]:
        raise FormatError("segment index: entries are damaged")
    index.packed += entries[:-32]
    return index


def _stored(value: int | None) -> int:
    return _NONE_US if value is None else value


def _time(value: int) -> int | None:
    return None if value == _NONE_US else value
