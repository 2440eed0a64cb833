"""`verify(path, trust) -> Report`: the whole examination, in the order in which a doubt would arise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from edge_agent.verify import clips as clips_
from edge_agent.verify import ledger as ledgers
from edge_agent.verify import manifest as manifests
from edge_agent.verify import records
from edge_agent.verify import trust as trusts
from edge_agent.verify.archive import Archive
from edge_agent.verify.clips import Placed
from edge_agent.verify.manifest import Malformed, Manifest
from edge_agent.verify.notes import Key, signed_text
from edge_agent.verify.records import FRAGMENT, Hole, Row
from edge_agent.verify.report import OTHER_FILE, Findings, Missing, Report, Tail, Verdict, verdict_of
from edge_agent.verify.trust import Keys, Trust

MAX_RECORDS, MAX_TIPS = 256 << 20, 256 << 20
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
_PARTS = ("records.bin", "tips.bin", "ledger.json")


def verify(path: Path, trust: Trust | None = None) -> Report:
    """Examine a package. Raises Unusable for what is no package; every doubt about one is in the report."""
    trust = trust or Trust()
    findings = Findings()
    archive = Archive(path)
    try:
        archive.open(findings)
        if MANIFEST not in archive.entries:
            findings.add("archive", "it has no readable manifest")
            return _failed(findings, trust)
        raw = archive.whole(MANIFEST, manifests.MAX_BYTES)
        try:
            manifest = manifests.parse(raw)
        except Malformed as error:
            findings.add(MANIFEST, str(error))
            return _failed(findings, trust)
        return _examine(archive, manifest, raw, trust, findings)
    finally:
        archive.close()


def _examine(archive: Archive, manifest: Manifest, raw: bytes, trust: Trust, findings: Findings) -> Report:
    ledger_raw = _part(archive, "ledger.json", manifests.MAX_JSON_BYTES, findings)
    keys = trusts.keys_of(manifest.keys, trust, _note(ledger_raw), findings)
    _check_files(archive, manifest, findings)
    if keys is None:
        return _failed(findings, trust, manifest)
    _check_signature(archive, raw, keys.exporter, findings)
    rows = records.read_rows(_part(archive, "records.bin", MAX_RECORDS, findings), findings)
    sealer = records.Sealer(manifest.deks)
    camera = manifest.camera
    stream = records.stream_id(keys.box, manifest.uid, manifest.role)
    # the command centre knows the camera's stream, not its uid: then the box's own birth named the stream
    findings.check(
        stream == manifest.stream or not manifest.uid,
        MANIFEST,
        "the stream is not that of the camera and box named",
    )
    records.check_keys(rows, manifest.deks, keys.box, camera, findings)
    records.check_order(rows, manifest.stream, camera, findings)
    laid = clips_.check_clips(archive, manifest.clips, rows, sealer, camera, findings)
    ledger = ledgers.read_ledger(ledger_raw, keys.box, keys.mirror, keys.witness, findings)
    tips = records.read_tips(_part(archive, "tips.bin", MAX_TIPS, findings), findings)
    anchors = ledgers.anchors_of(rows, tips, ledger, camera, findings)
    _check_gaps(manifest, rows, laid, records.gap_reasons(rows, sealer, camera, findings), ledger, findings)
    tails = ledgers.tails_of(rows, anchors, camera)
    fragments = [i for i, row in enumerate(rows) if row.kind == FRAGMENT]
    anchored = sum(i in anchors.cosigned for i in fragments)
    return _report(findings, trust, keys, manifest, tails, len(fragments), anchored, ledger.cosigned_s)


def _check_files(archive: Archive, manifest: Manifest, findings: Findings) -> None:
    """The manifest lists every file but itself and its signature, in the archive's order."""
    listed = [f.name for f in manifest.files]
    findings.check(
        [*listed, MANIFEST, SIGNATURE] == list(archive.entries),
        "archive",
        "it does not hold the files listed",
    )
    findings.check(
        set(listed) >= {*_PARTS, *(c.name for c in manifest.clips)},
        MANIFEST,
        "files are missing from its list",
    )
    hashes = {f.name: f for f in manifest.files}
    for entry in archive.entries.values():
        found, due = archive.hashed(entry), hashes.get(entry.name)
        findings.check(found.crc == entry.crc, entry.name, "its checksum in the archive does not hold")
        if due is not None:
            same = (found.sha256, entry.size) == (due.sha256, due.size)
            findings.check(same, entry.name, OTHER_FILE)


def _check_signature(archive: Archive, raw: bytes, exporter: Key, findings: Findings) -> None:
    note = _part(archive, SIGNATURE, 1 << 16, findings).decode("utf-8", "replace")
    expected = f"edge-agent-export/v1\n{hashlib.sha256(raw).hexdigest()}\n{len(raw)}\n"
    if findings.check(signed_text(note, exporter) == expected, SIGNATURE, "the manifest is not signed by it"):
        whole = note.startswith(expected + "\n— ") and note.count("\n") == 5 and note.endswith("\n")
        findings.check(whole, SIGNATURE, "it holds more than one signature")


def _check_gaps(
    manifest: Manifest, rows: Sequence[Row], laid: Sequence[Sequence[Placed]],
    told: Sequence[tuple[int, int, str]], ledger: ledgers.Ledger, findings: Findings,
) -> None:  # fmt: skip
    """The list of gaps is what the records show, and each cause is somebody's own word."""
    holes = records.holes_of(rows, manifest.from_us, manifest.to_us)
    listed = [(g.from_us, g.to_us, g.missing, g.clip, g.at_us) for g in manifest.gaps]
    due = [(h.from_us, h.to_us, h.missing, *_passed(h, manifest, laid)) for h in holes]
    findings.check(listed == due, MANIFEST, "its list of gaps is not what the records show")
    for hole, told_so in zip(holes, due, strict=True):
        if told_so not in listed and hole.row >= 0:
            place = rows[hole.row].place(manifest.camera)
            findings.add("records.bin", "records before this one are not here, and no gap says so", place)
    held = [row for row in rows if row.kind == FRAGMENT]
    spans = (held[0].wall_us, held[-1].end_us) if held else (0, 0)
    first = held[0].place(manifest.camera) if held else None
    findings.check(manifest.held == spans, MANIFEST, "it names another time than the records", first)
    for gap in manifest.gaps:
        if gap.source == "record":
            said = any(t[2] == gap.cause and t[0] < gap.to_us and t[1] > gap.from_us for t in told)
            findings.check(said, MANIFEST, f"no gap record says {gap.cause[:60]!r}")
        elif gap.source == "ledger":
            findings.check(
                gap.leaf in ledger.leaves, MANIFEST, f"leaf {gap.leaf}, a gap's cause, is not here"
            )


def _passed(hole: Hole, manifest: Manifest, laid: Sequence[Sequence[Placed]]) -> tuple[str, int]:
    for clip, placed in zip(manifest.clips, laid, strict=False):
        for piece in placed:
            if piece.row == hole.row:
                return clip.name, piece.position * 1_000_000 // clip.timescale
    last = manifest.clips[-1]
    return last.name, last.ticks * 1_000_000 // last.timescale


def _report(
    findings: Findings, trust: Trust, keys: Keys, manifest: Manifest, tails: list[Tail], fragments: int,
    anchored: int, cosigned_s: int | None,
) -> Report:  # fmt: skip
    gaps = tuple(Missing(g.from_us, g.to_us, g.cause, g.clip, g.at_us) for g in manifest.gaps)
    verdict, reason = verdict_of(findings, tails, gaps)
    return Report(
        verdict, reason, tuple(findings.problems), findings.more, tuple(tails), gaps, fragments, anchored,
        cosigned_s, _trust_words(trust), keys.words, _facts(manifest),
    )  # fmt: skip


def _failed(findings: Findings, trust: Trust, manifest: Manifest | None = None) -> Report:
    verdict, reason = verdict_of(findings, (), ())
    assert verdict is Verdict.NOT_AUTHENTIC
    facts = _facts(manifest) if manifest else {}
    return Report(
        verdict,
        reason,
        tuple(findings.problems),
        findings.more,
        (),
        (),
        0,
        0,
        None,
        _trust_words(trust),
        {},
        facts,
    )


def _facts(manifest: Manifest) -> dict[str, object]:
    return manifest.facts | {"from_us": manifest.from_us, "to_us": manifest.to_us}


def _trust_words(trust: Trust) -> str:
    return trusts.FROM_PACKAGE if trust.pinned is None else trusts.PINNED


def _part(archive: Archive, name: str, limit: int, findings: Findings) -> bytes:
    if name not in archive.entries:
        findings.add("archive", f"it has no readable {name}")
        return b""
    return archive.whole(name, limit)


def _note(ledger: bytes) -> str:
    """The cosigned note alone, before the rest is read."""
    try:
        return str(json.loads(ledger)["cosigned"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
