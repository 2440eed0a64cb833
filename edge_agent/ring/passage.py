"""One stream's way through the segments: where playing begins, and which records are handed out.

A reader follows each epoch by its record numbers. Copies, records already read and damaged ranges are passed
over; after damage it goes on at the next keyframe.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.errors import RingError
from edge_agent.ring.index import Entry
from edge_agent.ring.segment import read_record
from edge_agent.ring.shelf import Shelf, Volume
from edge_agent.seal.record import Kind, Record

LONGEST_GOP_SEGMENTS = 8  # how far back a keyframe is looked for


@dataclass(slots=True)
class Passage:
    """Where reading an epoch has got to."""

    start_n: int
    head: list[Record] = field(default_factory=list)  # key, init
    last_n: int = 0
    over: bool = False


def keyframe_volume(
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


def starts(entries: Sequence[Entry], from_us: int, *, early: bool) -> dict[bytes, int]:
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


def read(
    path: Path, entries: Sequence[Entry], passages: Mapping[bytes, Passage], to_us: int
) -> Iterator[Record]:
    """The records of one segment that the passages lead to; moves the passages on. Raises RingError."""
    with _opened(path) as file:
        if file is None:
            return
        for entry in entries:
            passage = passages.get(entry.epoch)
            if passage is not None and not passage.over:
                yield from _take(file, entry, passage, to_us)


def stated(path: Path, entries: Sequence[Entry], from_us: int, to_us: int) -> list[tuple[Record, Record]]:
    """(key, gap) records of one segment's gaps between two moments. Raises RingError."""
    gaps = [e for e in entries if e.kind == Kind.GAP and e.wall_us < to_us and e.end_us > from_us]
    keys = {e.epoch: e.offset for e in entries if e.n == 0}
    with _opened(path) as file:
        if file is None:
            return []
        read = [
            (read_record(file, keys[e.epoch]), read_record(file, e.offset)) for e in gaps if e.epoch in keys
        ]
        return [(key, gap) for key, gap in read if key is not None and gap is not None]


def each(path: Path, entries: Sequence[Entry]) -> Iterator[Record]:
    """The records of these entries, damaged ones left out. Raises RingError."""
    with _opened(path) as file:
        if file is not None:
            yield from filter(None, (read_record(file, entry.offset) for entry in entries))


def _take(file: int, entry: Entry, passage: Passage, to_us: int) -> Iterator[Record]:
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


@contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    """The segment's file; None when it was evicted meanwhile. Raises RingError when it cannot be read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise RingError(f"{path}: {error.strerror}") from error
    try:
        yield file
    except OSError as error:
        raise RingError(f"{path}: {error.strerror}") from error
    finally:
        os.close(file)
