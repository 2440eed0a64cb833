"""Reading the ring: what is covered, where the gaps are, and a stream's records from a moment on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from edge_agent.errors import RingError
from edge_agent.model import Role
from edge_agent.ring.index import JOIN_US, Entry, SegmentIndex
from edge_agent.ring.segment import read_record
from edge_agent.ring.shelf import LiveIndex, Shelf, Volume
from edge_agent.seal.record import Kind, Record

LONGEST_GOP_SEGMENTS = 8  # how far back a keyframe is looked for
DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Recorded without a pause of more than a second, within one epoch. Wall time, microseconds."""

    from_us: int
    to_us: int
    epoch: bytes


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """Nothing was recorded. `stated`: a sealed gap record says why; otherwise the agent did not run."""

    from_us: int
    to_us: int
    stated: bool


@dataclass(frozen=True, slots=True)
class RingStat:
    """One ring in figures. `days` is how far back its footage reaches, from its newest."""

    role: Role
    segments: int
    held_bytes: int
    oldest_us: int | None
    newest_us: int | None
    damaged_ranges: int
    damaged_bytes: int
    days: float


@dataclass(slots=True)
class _Passage:
    """Where reading an epoch has got to."""

    start_n: int
    head: list[Record] = field(default_factory=list)  # key, init
    last_n: int = 0
    over: bool = False


class Stretched(NamedTuple):
    from_us: int
    to_us: int
    epoch: bytes
    kind: int


class RingReader:
    """Reads rings from their files alone: any thread, any process, while the writer runs or not.

    `live` (a writer's `open_index`) spares the daemon a first walk through the open segment.
    """

    def __init__(
        self,
        directories: Mapping[Role, Path] | Sequence[Path],
        live: Mapping[Role, LiveIndex] | None = None,
    ) -> None:
        if not isinstance(directories, Mapping):
            directories = {Role(d.name): d for d in directories}
        indexes = live or {}
        self._shelves = {role: Shelf(d, indexes.get(role, _no_index)) for role, d in directories.items()}

    def coverage(self, stream_id: bytes, from_us: int, to_us: int) -> list[Span]:
        """What is recorded of the stream between two moments, clipped to them, in order of time."""
        spans = [
            Span(max(s.from_us, from_us), min(s.to_us, to_us), s.epoch)
            for s in self._stretches(stream_id, from_us, to_us)
            if s.kind == Kind.FRAGMENT
        ]
        return _joined(sorted(spans))

    def gaps(self, stream_id: bytes, from_us: int, to_us: int) -> list[Gap]:
        """The complement of `coverage`, pauses of over a second only."""
        covered = self.coverage(stream_id, from_us, to_us)
        told = [s for s in self._stretches(stream_id, from_us, to_us) if s.kind == Kind.GAP]
        edges = [(from_us, from_us), *((s.from_us, s.to_us) for s in covered), (to_us, to_us)]
        reach, found = from_us, list[Gap]()
        for (_, end), (start, _) in pairwise(edges):
            reach = max(reach, end)
            if start - reach > JOIN_US:
                found.append(Gap(reach, start, any(t.from_us < start and t.to_us > reach for t in told)))
        return found

    def stated(self, stream_id: bytes, from_us: int, to_us: int) -> list[tuple[Record, Record]]:
        """(key, gap) records of the gaps that are stated, in order of time: only a recipient reads why.

        Raises RingError when the disk cannot be read.
        """
        found: list[tuple[Record, Record]] = []
        for shelf in self._shelves.values():
            for volume in shelf.volumes():
                if not shelf.may_hold(volume, from_us, to_us):
                    continue
                told = _stretched(shelf.head(volume), stream_id, from_us, to_us)
                if any(s.kind == Kind.GAP for s in told):
                    found += _stated(volume, list(shelf.full(volume).entries(stream_id)), from_us, to_us)
        return sorted(found, key=lambda pair: pair[1].header.wall_us)

    def records(self, stream_id: bytes, from_us: int, to_us: int) -> Iterator[Record]:
        """Footage that plays from `from_us` on: the same bytes that were sealed.

        For every epoch touched: key, init, then from the last keyframe at or before `from_us`, across
        segments, up to what is written now; gap records where they lie. After a damaged range it goes on at
        the next keyframe, which the jump in n shows. Raises RingError when the disk cannot be read.
        """
        passages: dict[bytes, _Passage] = {}
        for shelf, volume in self._volumes_for(stream_id, from_us, to_us):
            entries = list(shelf.full(volume).entries(stream_id))
            early = not any(_stretched(shelf.head(volume), stream_id, from_us, to_us))
            for epoch, start_n in _starts(entries, from_us, early=early).items():
                passages.setdefault(epoch, _Passage(start_n))
            try:
                yield from _read(volume.path, entries, passages, to_us)
            except FileNotFoundError:
                continue  # evicted while we read on
            except OSError as error:
                raise RingError(f"{volume.path}: {error.strerror}") from error

    def weigh(self, stream_id: bytes, from_us: int, to_us: int) -> int:
        """Bytes of the stream's records that begin between two moments. Raises RingError."""
        return sum(
            entry.length
            for shelf, volume in self._volumes_for(stream_id, from_us, to_us)
            for entry in shelf.full(volume).entries(stream_id)
            if from_us <= entry.wall_us < to_us
        )

    def loose(self, stream_id: bytes, from_us: int, to_us: int) -> Iterator[Record]:
        """Records of a stream without epochs, as the box's `tips`, written between two moments.

        Raises RingError when the disk cannot be read.
        """
        for shelf in self._shelves.values():
            for volume in shelf.volumes():
                if not shelf.may_hold(volume, from_us, to_us):
                    continue
                entries = [e for e in shelf.full(volume).entries(stream_id) if from_us <= e.wall_us < to_us]
                yield from _each(volume.path, entries)

    def stat(self) -> tuple[RingStat, ...]:
        return tuple(self._stat(role, shelf) for role, shelf in self._shelves.items())

    def _stat(self, role: Role, shelf: Shelf) -> RingStat:
        volumes = shelf.volumes()
        heads = [shelf.head(v) for v in volumes]
        starts = [h.from_us for h in heads if h.from_us is not None]
        ends = [h.to_us for h in heads if h.to_us is not None]
        damage = [d for h in heads for d in h.damage]
        oldest, newest = min(starts, default=None), max(ends, default=None)
        days = (newest - oldest) / DAY_US if oldest is not None and newest is not None else 0.0
        lost = sum(end - start for start, end in damage)
        held = sum(v.size for v in volumes)
        return RingStat(role, len(volumes), held, oldest, newest, len(damage), lost, days)

    def _stretches(self, stream_id: bytes, from_us: int, to_us: int) -> Iterator[Stretched]:
        for shelf in self._shelves.values():
            for volume in shelf.volumes():
                if shelf.may_hold(volume, from_us, to_us):
                    yield from _stretched(shelf.head(volume), stream_id, from_us, to_us)

    def _volumes_for(self, stream_id: bytes, from_us: int, to_us: int) -> list[tuple[Shelf, Volume]]:
        """The segments to read, oldest first, with those before them that hold the keyframe."""
        chosen = []
        for shelf in self._shelves.values():
            volumes = shelf.volumes()
            touched = [
                i
                for i, volume in enumerate(volumes)
                if shelf.may_hold(volume, from_us, to_us)
                and any(_stretched(shelf.head(volume), stream_id, from_us, to_us))
            ]
            if touched:
                first = _keyframe_volume(shelf, volumes, touched[0], stream_id, from_us)
                earlier = range(first, touched[0])
                chosen += [(shelf, volumes[i]) for i in (*earlier, *touched)]
        return chosen


def _no_index() -> None:
    return None


def _stretched(index: SegmentIndex, stream_id: bytes, from_us: int, to_us: int) -> Iterator[Stretched]:
    for stretch in list(index.stretches):
        stream, epoch = index.epochs[stretch.epoch]
        if stream == stream_id and stretch.from_us < to_us and stretch.to_us > from_us:
            yield Stretched(stretch.from_us, stretch.to_us, epoch, stretch.kind)


def _stated(
    volume: Volume, entries: Sequence[Entry], from_us: int, to_us: int
) -> list[tuple[Record, Record]]:
    gaps = [e for e in entries if e.kind == Kind.GAP and e.wall_us < to_us and e.end_us > from_us]
    keys = {e.epoch: e.offset for e in entries if e.n == 0}
    try:
        file = os.open(volume.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []  # evicted meanwhile
    except OSError as error:
        raise RingError(f"{volume.path}: {error.strerror}") from error
    try:
        read = [
            (read_record(file, keys[e.epoch]), read_record(file, e.offset)) for e in gaps if e.epoch in keys
        ]
        return [(key, gap) for key, gap in read if key is not None and gap is not None]
    except OSError as error:
        raise RingError(f"{volume.path}: {error.strerror}") from error
    finally:
        os.close(file)


def _each(path: Path, entries: Sequence[Entry]) -> Iterator[Record]:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # evicted meanwhile
    except OSError as error:
        raise RingError(f"{path}: {error.strerror}") from error
    try:
        yield from filter(None, (read_record(file, entry.offset) for entry in entries))
    except OSError as error:
        raise RingError(f"{path}: {error.strerror}") from error
    finally:
        os.close(file)


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Spans of one epoch that meet at a segment's boundary are one."""
    joined: list[Span] = []
    for span in spans:
        last = joined[-1] if joined else None
        if last is not None and last.epoch == span.epoch and span.from_us <= last.to_us + JOIN_US:
            joined[-1] = Span(last.from_us, max(last.to_us, span.to_us), span.epoch)
        else:
            joined.append(span)
    return joined


def _keyframe_volume(
    shelf: Shelf, volumes: Sequence[Volume], first: int, stream_id: bytes, from_us: int
) -> int:
    """The segment, at or before `first`, with the keyframe that playing from `from_us` needs."""
    epoch: bytes | None = None
    for at in range(first, max(-1, first - LONGEST_GOP_SEGMENTS), -1):
        fragments = [e for e in shelf.full(volumes[at]).entries(stream_id) if e.kind == Kind.FRAGMENT]
        if epoch is None:
            epoch = next((e.epoch for e in fragments if e.end_us > from_us), None)
        mine = [e for e in fragments if e.epoch == epoch]
        if not mine:
            return first  # the epoch's earlier part is gone: its next keyframe must do
        if mine[0].keyframe or any(e.keyframe and e.wall_us <= from_us for e in mine):
            return at
    return first


def _starts(entries: Sequence[Entry], from_us: int, *, early: bool) -> dict[bytes, int]:
    """Where to begin in each epoch of one segment: at the last keyframe up to `from_us`, else the first.

    A later one begins with the gap record before it, which says what happened in between. `early` marks
    a segment read only for the keyframe of an epoch that goes on in the next one.
    """
    starts: dict[bytes, int] = {}
    ends: dict[bytes, int] = {}
    gaps: dict[bytes, int] = {}
    for entry in entries:
        if entry.kind not in (Kind.FRAGMENT, Kind.GAP):
            continue
        ends[entry.epoch] = max(entry.end_us, ends.get(entry.epoch, entry.end_us))
        if entry.kind == Kind.GAP:
            gaps[entry.epoch] = entry.n
        elif entry.keyframe and entry.wall_us <= from_us:
            starts[entry.epoch] = entry.n
        elif entry.keyframe and entry.epoch not in starts:
            gap_n = gaps.get(entry.epoch)
            starts[entry.epoch] = entry.n - 1 if gap_n == entry.n - 1 else entry.n
    if early:
        newest = entries[-1].epoch if entries else b""
        return {epoch: n for epoch, n in starts.items() if epoch == newest}
    return {epoch: n for epoch, n in starts.items() if ends[epoch] > from_us}


def _read(
    path: Path, entries: Sequence[Entry], passages: Mapping[bytes, _Passage], to_us: int
) -> Iterator[Record]:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for entry in entries:
            passage = passages.get(entry.epoch)
            if passage is not None and not passage.over:
                yield from _take(file, entry, passage, to_us)
    finally:
        os.close(file)


def _take(file: int, entry: Entry, passage: _Passage, to_us: int) -> Iterator[Record]:
    """What to hand out at this entry. Copies and records already read are passed over by their n."""
    if entry.n < 2:
        if len(passage.head) == entry.n and (record := read_record(file, entry.offset)) is not None:
            passage.head.append(record)
        return
    if entry.n < passage.start_n or entry.n <= passage.last_n:
        return
    if entry.wall_us >= to_us:
        passage.over = True
        return
    follows = entry.n == passage.last_n + 1
    begins = entry.keyframe or (entry.kind == Kind.GAP and passage.last_n == 0)
    if len(passage.head) < 2 or not (follows or begins):
        return
    record = read_record(file, entry.offset)
    if record is None or record.digest != entry.digest:
        return  # a good copy may follow in the next segment (I4)
    if passage.last_n == 0:
        yield from passage.head
    passage.last_n = entry.n
    yield record
