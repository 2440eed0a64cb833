"""The playable files: every byte is either sealed again and compared, or computed anew and compared."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from edge_agent.verify.archive import Archive, Entry
from edge_agent.verify.manifest import ClipPart
from edge_agent.verify.records import FRAGMENT, INIT, Row, Sealer
from edge_agent.verify.report import Findings

MAX_HEAD = 4 << 20
_ORIGINAL = {b"avc1": b"avc3", b"hvc1": b"hev1"}
_STSD = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")


class NotMp4(Exception):
    """Boxes that do not fit each other."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A fragment in its clip: row, position in ticks, place and size in bytes."""

    row: int
    position: int
    size: int


def check_clips(
    archive: Archive, clips: Sequence[ClipPart], rows: Sequence[Row], sealer: Sealer, camera: str,
    findings: Findings,
) -> list[list[Placed]]:  # fmt: skip
    """Every fragment plays in exactly one clip, where it belongs, with the pictures that were sealed."""
    due = iter([i for i, row in enumerate(rows) if row.kind == FRAGMENT])
    laid: list[list[Placed]] = []
    for clip in clips:
        mine = [i for _, i in zip(range(clip.count), due, strict=False)]
        entry = archive.entries.get(clip.name)
        known = 0 <= clip.init < len(rows) and rows[clip.init].kind == INIT
        if entry is None or not known or not mine or (mine[0], len(mine)) != (clip.first, clip.count):
            findings.add(clip.name, "it does not hold the fragments that the manifest says")
            laid.append([])
            continue
        placed, ticks = _lay_out(clip, mine, rows, findings)
        findings.check(ticks == clip.ticks, "manifest.json", f"{clip.name} does not last as long as it says")
        _check_clip(_Reading(archive, entry, clip, rows, sealer, camera), placed, findings)
        laid.append(placed)
    rest = next(due, None)
    findings.check(rest is None, "manifest.json", "fragments that play in no clip")
    return laid


@dataclass(frozen=True, slots=True)
class _Reading:
    archive: Archive
    entry: Entry
    clip: ClipPart
    rows: Sequence[Row]
    sealer: Sealer
    camera: str


def _lay_out(
    clip: ClipPart, mine: Sequence[int], rows: Sequence[Row], findings: Findings
) -> tuple[list[Placed], int]:
    """The rules of docs/evidence.md, "clip.mp4", once more; the manifest's shifts must say the same."""
    placed: list[Placed] = []
    shifts: list[tuple[int, int]] = []
    end = 0
    for i in mine:
        row, position = rows[i], end
        if placed:
            before = rows[placed[-1].row]
            moved = placed[-1].position + row.tfdt - before.tfdt
            near = moved - placed[-1].position > 0 and abs(moved - end) <= clip.timescale
            position = moved if before.epoch == row.epoch and near else end
        delta = position - row.tfdt
        if not shifts or shifts[-1][1] != delta:
            shifts.append((i, delta))
        placed.append(Placed(i, position, row.plain_length))
        end = position + (row.duration_us * clip.timescale + 500_000) // 1_000_000
    findings.check(tuple(shifts) == clip.shifts, "manifest.json", f"{clip.name}: the time shifts are wrong")
    return placed, end


def _check_clip(reading: _Reading, placed: Sequence[Placed], findings: Findings) -> None:
    clip, entry, rows = reading.clip, reading.entry, reading.rows
    size = entry.size - sum(p.size for p in placed)
    head = reading.archive.read(entry, 0, size) if 0 < size <= MAX_HEAD else b""
    init = _check_head(head, clip, placed, rows, findings)
    for i in _inits(rows, placed, clip.init):
        same = init is not None and reading.sealer.digest(rows[i], init) == rows[i].digest
        findings.check(
            same, clip.name, "its head is not what was recorded", rows[i].place(reading.camera, clip.name)
        )
    at = max(0, size)
    for piece in placed:
        found = reading.archive.read(entry, at, piece.size)
        row = rows[piece.row]
        if not _holds(found, piece, row, reading.sealer):
            place = row.place(reading.camera, clip.name)
            findings.add(clip.name, "a fragment that is not the one which was recorded", place)
        at += piece.size


def _holds(found: bytes, piece: Placed, row: Row, sealer: Sealer) -> bool:
    """Put the fragment's own time back, seal it again, compare."""
    try:
        start, end = _find(found, b"moof", b"traf", b"tfdt")
    except NotMp4:
        return False
    if end - start != 12 or found[start + 4 : end] != piece.position.to_bytes(8, "big"):
        return False
    original = found[: start + 4] + row.tfdt.to_bytes(8, "big") + found[end:]
    return sealer.digest(row, original) == row.digest


def _check_head(
    head: bytes, clip: ClipPart, placed: Sequence[Placed], rows: Sequence[Row], findings: Findings
) -> bytes | None:
    """The init as it was sealed, from the clip's head; what was added to it must be what is computed."""
    try:
        init = _original(head)
        expected = _expected(init, clip, placed, rows)
    except (NotMp4, struct.error, KeyError):
        findings.add(clip.name, "its head cannot be read")
        return None
    findings.check(head == expected, clip.name, "its head, with length and index, was altered")
    return init


def _original(head: bytes) -> bytes:
    """Take away `sidx` and `mehd`, and give the sample entry its first name back."""
    (moov_start, moov_end), (mvex_start, _) = _find(head, b"moov"), _find(head, b"moov", b"mvex")
    length_start, length_end = _find(head, b"moov", b"mvex", b"mehd")
    entry, _ = _find(head, *_STSD)
    init = bytearray(head[:moov_end])
    init[entry + 12 : entry + 16] = _ORIGINAL[head[entry + 12 : entry + 16]]
    for start in (moov_start, mvex_start):
        (size,) = struct.unpack_from(">I", init, start - 8)
        struct.pack_into(">I", init, start - 8, size - (length_end - length_start + 8))
    del init[length_start - 8 : length_end]
    return bytes(init)


def _expected(init: bytes, clip: ClipPart, placed: Sequence[Placed], rows: Sequence[Row]) -> bytes:
    (moov, _), (mvex, _) = _find(init, b"moov"), _find(init, b"moov", b"mvex")
    media, _ = _find(init, b"moov", b"trak", b"mdia", b"mdhd")
    entry, _ = _find(init, *_STSD)
    names = {v: k for k, v in _ORIGINAL.items()}
    kind = names[init[entry + 12 : entry + 16]]
    described = (kind.decode(), *struct.unpack_from(">HH", init, entry + 40))
    if described != (clip.codec, clip.width, clip.height):
        raise NotMp4("another picture than the manifest says")
    if struct.unpack_from(">I", init, media + 12) != (clip.timescale,):
        raise NotMp4("another timescale than the manifest says")
    grown = bytearray(init)
    grown[entry + 12 : entry + 16] = kind
    length = _full_box(b"mehd", struct.pack(">Q", clip.ticks))
    for start in (moov, mvex):
        (size,) = struct.unpack_from(">I", grown, start - 8)
        struct.pack_into(">I", grown, start - 8, size + len(length))
    references = list(_references(clip, placed, rows))
    index = struct.pack(">IIQQHH", 1, clip.timescale, 0, 0, 0, len(references)) + b"".join(references)
    return bytes(grown[:mvex]) + length + bytes(grown[mvex:]) + _full_box(b"sidx", index)


def _references(clip: ClipPart, placed: Sequence[Placed], rows: Sequence[Row]) -> Iterator[bytes]:
    starts = [i for i, p in enumerate(placed) if i == 0 or rows[p.row].keyframe]
    for start, end in pairwise([*starts, len(placed)]):
        after = placed[end].position if end < len(placed) else clip.ticks
        size = sum(p.size for p in placed[start:end])
        yield struct.pack(">III", size, after - placed[start].position, 0x9000_0000)


def _inits(rows: Sequence[Row], placed: Sequence[Placed], named: int) -> list[int]:
    """The init records of every epoch that plays in the clip, and the one the manifest names."""
    epochs = {rows[p.row].epoch for p in placed}
    return sorted({named, *(i for i, row in enumerate(rows) if row.kind == INIT and row.epoch in epochs)})


def _full_box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4sI", 12 + len(body), kind, 1 << 24) + body


def _find(data: bytes, *path: bytes) -> tuple[int, int]:
    start, end = 0, len(data)
    for wanted in path:
        found = next(((s, e) for kind, s, e in _boxes(data, start, end) if kind == wanted), None)
        if found is None:
            raise NotMp4(f"no {wanted.decode('ascii')} box")
        start, end = found
        if wanted == b"stsd" and end - start < 8 + 86:
            raise NotMp4("no sample entry")
    return start, end


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        if size < 8 or start + size > end:
            raise NotMp4("a box with an impossible size")
        yield kind, start + 8, start + size
        start += size
