"""Reading the ring: what is covered, where the gaps are, and a stream's records from a moment on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from edge_agent.model import Role
from edge_agent.ring import passage
from edge_agent.ring.index import JOIN_US, SegmentIndex
from edge_agent.ring.passage import Passage
from edge_agent.ring.shelf import LiveIndex, Shelf, Volume
from edge_agent.seal.record import Kind, Record

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
                    found += passage.stated(
                        volume.path, list(shelf.full(volume).entries(stream_id)), from_us, to_us
                    )
        return sorted(found, key=lambda pair: pair[1].header.wall_us)

    def records(self, stream_id: bytes, from_us: int, to_us: int) -> Iterator[Record]:
        """Footage that plays from `from_us` on: the same bytes that were sealed.

        For every epoch touched: key, init, then from the last keyframe at or before `from_us`, across
        segments, up to what is written now; gap records where they lie. After a damaged range it goes on at
        the next keyframe, which the jump in n shows. Raises RingError when the disk cannot be read.
        """
        passages: dict[bytes, Passage] = {}
        for shelf, volume in self._volumes_for(stream_id, from_us, to_us):
            entries = list(shelf.full(volume).entries(stream_id))
            early = not any(_stretched(shelf.head(volume), stream_id, from_us, to_us))
            for epoch, start_n in passage.starts(entries, from_us, early=early).items():
                passages.setdefault(epoch, Passage(start_n))
            yield from passage.read(volume.path, entries, passages, to_us)

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
                yield from passage.each(volume.path, entries)

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
                first = passage.keyframe_volume(shelf, volumes, touched[0], stream_id, from_us)
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
