"""Where each fragment stands in the playable clips, and where nothing does. Pure.

The rules are the verifier's too (docs/evidence.md): a clip begins at 0; a fragment follows the one before
where the muxer placed it if that is no more than a second off, else at its end: the gap is closed up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from edge_agent.errors import FormatError
from edge_agent.export.clip import MAX_REFERENCES, Picture, Reference, describe
from edge_agent.export.rows import Row
from edge_agent.seal.record import Kind

JOIN_US = 1_000_000
CLIP_BYTES = 2 << 30  # a clip ends at the next keyframe after it
CLIP_BYTES_HARD = 3 << 30


@dataclass(frozen=True, slots=True)
class Placed:
    """A fragment: the index of its row, where it stands in its clip, in ticks."""

    row: int
    position: int


@dataclass(slots=True)
class Clip:
    """One playable file. `init` is the row whose plaintext begins it, `ticks` how long it plays."""

    name: str
    init: int
    picture: Picture
    placed: list[Placed] = field(default_factory=list)
    size: int = 0
    ticks: int = 0

    def deltas(self, rows: Sequence[Row]) -> list[tuple[int, int]]:
        """(row, delta) where position - tfdt changes."""
        found: list[tuple[int, int]] = []
        for piece in self.placed:
            delta = piece.position - rows[piece.row].header.tfdt
            if not found or found[-1][1] != delta:
                found.append((piece.row, delta))
        return found

    def references(self, rows: Sequence[Row]) -> Iterator[Reference]:
        starts = [i for i, p in enumerate(self.placed) if i == 0 or rows[p.row].header.keyframe]
        for start, end in pairwise([*starts, len(self.placed)]):
            after = self.placed[end].position if end < len(self.placed) else self.ticks
            size = sum(rows[p.row].header.plain_length for p in self.placed[start:end])
            yield Reference(size, after - self.placed[start].position)


@dataclass(frozen=True, slots=True)
class Hole:
    """No footage from `from_us` to `to_us` (the box's wall time). `row`: what follows, -1 the end."""

    from_us: int
    to_us: int
    row: int
    missing: bool  # the numbers show that records were there


def clips_of(rows: Sequence[Row]) -> list[Clip]:
    """Lay all fragments out. Raises FormatError for an init that is none of this format."""
    clips: list[Clip] = []
    inits = {row.header.epoch: i for i, row in enumerate(rows) if row.header.kind is Kind.INIT}
    last: Placed | None = None
    for i, row in enumerate(rows):
        if row.header.kind is not Kind.FRAGMENT:
            continue
        init = inits.get(row.header.epoch)
        if init is None:
            raise FormatError("a fragment without its init record")
        if not clips or _ends(clips[-1], rows, init, row):
            clips.append(Clip("", init, describe(rows[init].body)))
            last = None
        last = _place(clips[-1], rows, i, last)
    for number, clip in enumerate(clips, 1):
        clip.name = "clip.mp4" if len(clips) == 1 else f"clip-{number}.mp4"
    return clips


def holes_of(rows: Sequence[Row], from_us: int, to_us: int) -> list[Hole]:
    """What is missing between two moments: pauses of over a second, and records that are not there."""
    found: list[Hole] = []
    reach, missing, first = from_us, False, True
    before: Row | None = None
    for i, row in enumerate(rows):
        header = row.header
        joining = header.epoch == rows[0].header.epoch
        missing |= before is not None and not _may_follow(before, row, joining=joining)
        before = row
        if header.kind is not Kind.FRAGMENT:
            continue
        if header.wall_us - reach > JOIN_US or missing:
            found.append(Hole(reach, max(reach, header.wall_us), i, missing))
        reach = max(reach, header.end_us) if first else header.end_us
        missing = first = False
    if to_us - reach > JOIN_US:
        found.append(Hole(reach, to_us, -1, missing=False))
    return found


def _may_follow(before: Row, row: Row, *, joining: bool) -> bool:
    """By number within an epoch; by digest between epochs, unless the box did not know its last one.

    `joining`: in the first epoch footage may begin after any number of records.
    """
    a, b = before.header, row.header
    if a.epoch == b.epoch:
        return b.n == a.n + 1 or (joining and a.n == 1)
    return b.n == 0 and b.prev in (before.digest, bytes(32))


def _ends(clip: Clip, rows: Sequence[Row], init: int, row: Row) -> bool:
    if rows[init].body != rows[clip.init].body:
        return True
    grown = clip.size + row.header.plain_length
    full = grown > CLIP_BYTES or len(clip.placed) >= MAX_REFERENCES
    return grown > CLIP_BYTES_HARD or (full and row.header.keyframe)


def _place(clip: Clip, rows: Sequence[Row], i: int, last: Placed | None) -> Placed:
    header, scale = rows[i].header, clip.picture.timescale
    position = clip.ticks
    if last is not None:
        before = rows[last.row].header
        moved = last.position + header.tfdt - before.tfdt
        if before.epoch == header.epoch and moved - last.position > 0 and abs(moved - clip.ticks) <= scale:
            position = moved
    piece = Placed(i, position)
    clip.placed.append(piece)
    clip.size += header.plain_length
    clip.ticks = position + ticks_of(header.duration_us, scale)
    return piece


def ticks_of(duration_us: int, timescale: int) -> int:
    return (duration_us * timescale + 500_000) // 1_000_000
