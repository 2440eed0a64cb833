"""The bar: whatever is changed in a package is found, and named by its place."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
from evidence_world import Box
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.export import manifest as manifests
from edge_agent.export.bundle import Bundle
from edge_agent.seal.epoch import cipher_of, nonce_of
from edge_agent.seal.record import HEADER_BYTES, Aead, Header, Kind
from edge_agent.verify.check import verify
from edge_agent.verify.report import Report, Unusable, Verdict
from edge_agent.verify.trust import Trust

FRAGMENTS = 10
Files = dict[str, bytes]


@cache
def world() -> tuple[Box, bytes]:
    """Two seconds in two marked epochs, and their package."""
    import tempfile

    box = Box()
    box.record(1.0)
    box.mark()
    box.record(1.0)
    box.mark()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.zip"
        box.export(path)
        return box, path.read_bytes()


def judged(raw: bytes, path: Path, trust: Trust | None = None) -> Report | Unusable:
    path.write_bytes(raw)
    try:
        return verify(path, trust)
    except Unusable as error:
        return error


def found(result: Report | Unusable) -> bool:
    return isinstance(result, Unusable) or result.verdict is Verdict.NOT_AUTHENTIC


def files_of(raw: bytes, path: Path) -> Files:
    path.write_bytes(raw)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def repacked(files: Files, path: Path) -> bytes:
    """What a dishonest exporter does: every hash is right again, and the exporter's own key signs."""
    box, _ = world()
    manifest = json.loads(files["manifest.json"])
    with path.open("w+b") as file:
        bundle = Bundle(file)
        for name, content in files.items():
            if name not in ("manifest.json", "manifest.sig"):
                bundle.add_bytes(name, content)
        content = manifests.canonical(manifests.with_files(manifest, bundle.files))
        bundle.add_bytes("manifest.json", content)
        bundle.add_bytes("manifest.sig", manifests.signed(content, box.origin, box.box.sign))
        bundle.finish()
    return path.read_bytes()


def rows_of(content: bytes) -> list[bytes]:
    rows, at = [], 0
    while at < len(content):
        header = Header.parse(content, at)
        inline = header.body_length if header.kind in (Kind.KEY, Kind.GAP) else 0
        end = at + HEADER_BYTES + inline + 32
        rows.append(content[at:end])
        at = end
    return rows


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    return tmp_path / "mutant.zip"


def test_the_package_that_the_mutants_come_from_is_authentic(shelf: Path) -> None:
    report = judged(world()[1], shelf)
    assert isinstance(report, Report)
    assert report.verdict is Verdict.AUTHENTIC
    assert (report.fragments, report.anchored) == (FRAGMENTS, FRAGMENTS)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_single_changed_byte_is_found(shelf: Path, data: st.DataObject) -> None:
    raw = bytearray(world()[1])
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    assert found(judged(raw, shelf))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_byte_of_the_package_is_covered(shelf: Path) -> None:
    raw = world()[1]
    for at in range(len(raw)):
        mutant = bytearray(raw)
        mutant[at] ^= 1 << at % 8
        assert found(judged(mutant, shelf)), at


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_byte_of_a_picture_is_located_to_its_fragment(shelf: Path, data: st.DataObject) -> None:
    raw = world()[1]
    with zipfile.ZipFile(_written(raw, shelf)) as archive:
        start = archive.getinfo("clip.mp4").header_offset + 30 + len("clip.mp4")
        clip = archive.read("clip.mp4")
        rows = [Header.parse(r) for r in rows_of(archive.read("records.bin"))]
    fragments = [h for h in rows if h.kind is Kind.FRAGMENT]
    wanted = data.draw(st.integers(0, FRAGMENTS - 1))
    first = len(clip) - sum(h.plain_length for h in fragments[wanted:])
    at = start + first + data.draw(st.integers(0, fragments[wanted].plain_length - 1))
    mutant = bytearray(raw)
    mutant[at] ^= data.draw(st.integers(1, 255))
    report = judged(mutant, shelf)
    assert isinstance(report, Report)
    places = {(p.place.epoch, p.place.n, p.place.wall_us) for p in report.problems if p.place}
    assert places == {(fragments[wanted].epoch.hex(), fragments[wanted].n, fragments[wanted].wall_us)}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, 4000))
def test_a_package_that_is_cut_short_is_found(shelf: Path, cut: int) -> None:
    raw = world()[1]
    assert found(judged(raw[: -min(cut, len(raw))], shelf))


def _drop(rows: list[bytes], at: int) -> list[bytes]:
    return [*rows[:at], *rows[at + 1 :]]


def _twice(rows: list[bytes], at: int) -> list[bytes]:
    return [*rows[:at], rows[at], *rows[at:]]


def _swap(rows: list[bytes], at: int) -> list[bytes]:
    return [*rows[:at], rows[at + 1], rows[at], *rows[at + 2 :]]


def _backdate(rows: list[bytes], at: int) -> list[bytes]:
    header = Header.parse(rows[at])
    older = dataclasses.replace(header, wall_us=header.wall_us - 3_600_000_000).encode()
    return [*rows[:at], older + rows[at][HEADER_BYTES:], *rows[at + 1 :]]


@pytest.mark.parametrize("change", [_drop, _twice, _swap, _backdate])
@pytest.mark.parametrize("at", range(13))
def test_records_changed_by_an_exporter_who_signs_for_it_are_found(
    shelf: Path, change: Callable[[list[bytes], int], list[bytes]], at: int
) -> None:
    files = files_of(world()[1], shelf)
    rows = rows_of(files["records.bin"])
    assert len(rows) == FRAGMENTS + 4
    files["records.bin"] = b"".join(change(rows, at))
    report = judged(repacked(files, shelf), shelf)
    assert isinstance(report, Report)
    assert report.verdict is Verdict.NOT_AUTHENTIC
    assert any(p.place for p in report.problems)


@pytest.mark.parametrize("kind", ["drop", "reorder", "backdate", "twice", "edit"])
def test_leaves_changed_by_an_exporter_who_signs_for_it_are_found_or_leave_a_tail(
    shelf: Path, kind: str
) -> None:
    files = files_of(world()[1], shelf)
    ledger = json.loads(files["ledger.json"])
    leaves = ledger["leaves"]
    at = next(i for i, leaf in enumerate(leaves) if '"mark"' in leaf["leaf"])
    if kind == "drop":
        del leaves[at]
    elif kind == "reorder":
        leaves[at], leaves[at + 1] = leaves[at + 1], leaves[at]
    elif kind == "twice":
        leaves.insert(at, leaves[at])
    elif kind == "backdate":
        leaves[at]["leaf"] = leaves[at]["leaf"].replace('"ts":179', '"ts":178')
    else:
        leaves[at]["leaf"] = leaves[at]["leaf"].replace('"run":7', '"run":8')
    files["ledger.json"] = manifests.canonical(ledger)
    report = judged(repacked(files, shelf), shelf)
    assert isinstance(report, Report)
    assert report.verdict in (Verdict.NOT_AUTHENTIC, Verdict.UNANCHORED_TAIL)
    assert "leaf" in report.reason or "mark" in report.reason


def test_a_whole_chain_forged_with_the_disclosed_key_contradicts_the_mark(shelf: Path) -> None:
    """Whoever holds the package holds the epoch's key and can seal other pictures; the ledger stops it."""
    files = files_of(world()[1], shelf)
    rows = rows_of(files["records.bin"])
    deks = {e["epoch"]: e["dek"] for e in json.loads(files["manifest.json"])["epochs"]}
    files["records.bin"] = b"".join(_reforged(rows, files["clip.mp4"], deks))
    report = judged(repacked(files, shelf), shelf)
    assert isinstance(report, Report)
    assert report.verdict is Verdict.NOT_AUTHENTIC
    assert any("a minute mark names another record" in p.text for p in report.problems)


def _reforged(rows: list[bytes], clip: bytes, deks: dict[str, str]) -> list[bytes]:
    """The last epoch's fragments an hour earlier, sealed and chained as the box would have."""
    from base64 import b64decode

    headers = [Header.parse(row) for row in rows]
    last = headers[-1].epoch
    ends = len(clip)
    plains: dict[int, bytes] = {}
    for i in range(len(rows) - 1, -1, -1):
        if headers[i].kind is Kind.FRAGMENT and headers[i].epoch == last:
            piece = clip[ends - headers[i].plain_length : ends]
            plains[i] = piece[:60] + headers[i].tfdt.to_bytes(8, "big") + piece[68:]
            ends -= headers[i].plain_length
    cipher = cipher_of(Aead.AES_256_GCM, b64decode(deks[last.hex()]), headers[-1].stream, last)
    digest = rows[min(plains) - 1][-32:]
    forged = list(rows)
    for i, plain in sorted(plains.items()):
        head = dataclasses.replace(
            headers[i], wall_us=headers[i].wall_us - 3_600_000_000, prev=digest
        ).encode()
        digest = sha256(head + cipher.encrypt(nonce_of(headers[i].n), plain, head)).digest()
        forged[i] = head + digest
    return forged


def _written(raw: bytes, path: Path) -> Path:
    path.write_bytes(raw)
    return path
