"""Writes one evidence package: two passes over the sealed records, memory for their headers only.

The first pass chooses: what a minute mark anchors, where each fragment stands, what is missing and why. The
second streams pictures into the archive. The caller gives a draft file; nothing here renames or syncs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from edge_agent.errors import EdgeAgentError, FormatError
from edge_agent.export import clip as mp4
from edge_agent.export import manifest as manifests
from edge_agent.export import proofs, rows, timeline
from edge_agent.export.bundle import Bundle
from edge_agent.export.causes import cause_of
from edge_agent.export.manifest import Facts, Json
from edge_agent.export.proofs import Chosen, Heads, LedgerView
from edge_agent.export.rows import Keyring, Row
from edge_agent.export.timeline import Clip
from edge_agent.ledger.checkpoint import Signer, Verifier
from edge_agent.seal.record import Kind, Record, Tip

POST_ROLL_US = 75_000_000  # how much after the end must be read to find the next minute mark
CLIP_NAME = "clip"
RECORDS, TIPS, LEDGER, MANIFEST, SIGNATURE = (
    "records.bin", "tips.bin", "ledger.json", "manifest.json", "manifest.sig",
)  # fmt: skip

Reread = Callable[[], Iterable[Record]]
Extras = Callable[[Mapping[str, Json]], Mapping[str, bytes]]  # further files, from the manifest so far


@dataclass(frozen=True, slots=True)
class Request:
    """One camera's stream between two moments, microseconds of the box's wall time.

    `footage()` gives, each time anew, the same sealed records: key, init and fragments from the keyframe at
    or before `from_us` up to `POST_ROLL_US` after `to_us`. `tips` are the box's tips records of that time.
    `exporter` and `sign` are the key that vouches for the manifest.
    """

    facts: Facts
    stream: bytes
    from_us: int
    to_us: int
    footage: Reread
    tips: Sequence[Record]
    ledger: LedgerView
    keyring: Keyring
    exporter: Verifier
    sign: Signer
    keys: Mapping[str, str]  # vkeys by part: box, exporter, and witness and mirror where known


@dataclass(frozen=True, slots=True)
class Written:
    """What was exported. `anchored` of `fragments` are under a mark; `manifest_sha256` names the package."""

    clips: int
    fragments: int
    gaps: int
    anchored: int
    cosigned: int
    manifest_sha256: str


@dataclass(frozen=True, slots=True)
class _Chosen:
    rows: list[Row]
    clips: list[Clip]
    leaves: list[Chosen]
    tips: list[Record]
    gaps: list[Json]
    anchored: int
    cosigned: int


class NothingRecorded(EdgeAgentError):
    """There is no footage in the window."""


def write(file: BinaryIO, request: Request, extras: Extras | None = None) -> Written:
    """Write the package into an empty, seekable file.

    Raises NothingRecorded, SealError (not our recipient, a forgery), LedgerError, FormatError, RingError or
    OSError; the file is then rubbish.
    """
    heads = Heads(request.ledger)
    chosen = _choose(request, heads)
    bundle = Bundle(file)
    _add_clips(bundle, request, chosen)
    bundle.add_bytes(RECORDS, b"".join(_kept(row) for row in chosen.rows))
    bundle.add_bytes(TIPS, b"".join(record.raw for record in chosen.tips))
    bundle.add_bytes(LEDGER, proofs.encode(request.ledger, heads, chosen.leaves))
    document = _manifest(request, chosen)
    so_far = manifests.with_files(document, bundle.files)
    for name, content in (extras(so_far) if extras else {}).items():
        bundle.add_bytes(name, content)
    content = manifests.canonical(manifests.with_files(document, bundle.files))
    packed = bundle.add_bytes(MANIFEST, content)
    bundle.add_bytes(SIGNATURE, manifests.signed(content, request.exporter, request.sign))
    bundle.finish()
    fragments = sum(len(clip.placed) for clip in chosen.clips)
    return Written(
        len(chosen.clips), fragments, len(chosen.gaps), chosen.anchored, chosen.cosigned, packed.sha256
    )


def _choose(request: Request, heads: Heads) -> _Chosen:
    surveyed = rows.survey(request.footage(), request.keyring)
    walked = proofs.walk_back(request.ledger, heads.size, request.from_us)
    marked = proofs.marked_tips(walked, request.tips)
    named = {tip for _, tips in marked.values() for tip in tips if tip.stream == request.stream}
    kept = rows.trimmed(surveyed, request.to_us, named)
    if not any(row.header.kind is Kind.FRAGMENT for row in kept):
        raise NothingRecorded("nothing is recorded of this camera in that time")
    clips = timeline.clips_of(kept)
    held = {row.tip for row in kept}
    useful = {index: record for index, (record, tips) in marked.items() if held.intersection(tips)}
    camera = request.facts.camera
    leaves = proofs.relevant(walked, camera.id, camera.role, request.from_us, request.to_us)
    known = {chosen.index for chosen in leaves}
    leaves = sorted(
        [*leaves, *(c for c in walked if c.index in useful and c.index not in known)], key=lambda c: c.index
    )
    holes = timeline.holes_of(kept, request.from_us, request.to_us)
    gaps = [
        manifests.gap_part(hole, cause_of(hole, kept, leaves, request.keyring, camera.id), clips)
        for hole in holes
    ]
    cosigned = heads.cosigned.size if heads.cosigned else 0
    tips_of = {index: marked[index][1] for index in useful}
    return _Chosen(
        kept, clips, leaves, [useful[i] for i in sorted(useful)], list(gaps),
        _anchored(kept, {t for tips in tips_of.values() for t in tips}),
        _anchored(kept, {t for i, tips in tips_of.items() if i < cosigned for t in tips}),
    )  # fmt: skip


def _anchored(kept: Sequence[Row], tips: set[Tip]) -> int:
    """How many fragments lead, by their digests, to a record that a mark names."""
    count, following, leads = 0, b"", False
    for row in reversed(kept):
        leads = row.tip in tips or (leads and following == row.digest)
        following = row.header.prev
        count += leads and row.header.kind is Kind.FRAGMENT
    return count


def _add_clips(bundle: Bundle, request: Request, chosen: _Chosen) -> None:
    """The second pass. Every clip's head is known before its first fragment is read again."""
    again = _Again(iter(request.footage()), request.keyring, chosen.rows)
    for clip in chosen.clips:
        head = mp4.head(chosen.rows[clip.init].body, clip.picture.timescale, clip.references(chosen.rows))
        bundle.add(clip.name, len(head) + clip.size, _clip_bytes(head, clip, again))


def _clip_bytes(head: bytes, clip: Clip, again: _Again) -> Iterator[bytes]:
    yield head
    for piece in clip.placed:
        plain, tfdt = again.fragment(piece.row)
        yield from mp4.rebased(plain, tfdt, piece.position)


class _Again:
    """The same records a second time; what changed in between is an error, not a picture."""

    def __init__(self, records: Iterator[Record], keyring: Keyring, expected: Sequence[Row]) -> None:
        self._records = records
        self._keyring = keyring
        self._expected = expected
        self._at = -1

    def fragment(self, wanted: int) -> tuple[bytes, int]:
        record = None
        while self._at < wanted:
            record = next(self._records, None)
            self._at += 1
            if record is None or record.digest != self._expected[self._at].digest:
                raise FormatError("the footage changed while it was exported (evicted?); export it again")
        assert record is not None
        return self._keyring.open(record), record.header.tfdt


def _kept(row: Row) -> bytes:
    """A record in `records.bin`: its header, the sealed body of key and gap records, the whole digest."""
    body = row.body if row.header.kind in (Kind.KEY, Kind.GAP) else b""
    return row.header.encode() + body + row.digest


def _manifest(request: Request, chosen: _Chosen) -> dict[str, Json]:
    fragments = [row.header for row in chosen.rows if row.header.kind is Kind.FRAGMENT]
    epochs = {row.header.epoch for row in chosen.rows}
    return manifests.document(
        request.facts,
        stream=request.stream,
        keys=request.keys,
        window=(request.from_us, request.to_us),
        held=(fragments[0].wall_us, fragments[-1].end_us),
        deks={epoch: dek for epoch, dek in request.keyring.deks.items() if epoch in epochs},
        clips=[manifests.clip_part(clip, chosen.rows) for clip in chosen.clips],
        gaps=chosen.gaps,
    )
