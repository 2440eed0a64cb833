"""Two readers, no code in common: on every hurt, shuffled or forged segment they find and refuse the same."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.errors import FormatError, SealError
from edge_agent.ring.segment import SegmentScan, read_record
from edge_agent.seal.opener import Opener
from edge_agent.seal.record import Aead, Flag, Kind, Record, build_record, parse_record

DOCS = Path(__file__).resolve().parents[2] / "docs"
VECTORS = json.loads((DOCS / "vectors" / "segment.json").read_text(encoding="utf-8"))
HEAD = 64
RELAXED = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def second() -> ModuleType:
    spec = importlib.util.spec_from_file_location("read_ring", DOCS / "reader" / "read_ring.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Found = tuple[list[tuple[int, int]], list[bytes]]  # damaged ranges, digests in order


def ours(path: Path) -> Found:
    scan = SegmentScan(path, 1)
    while not scan.advance(1 << 20, final=True):
        pass
    index = scan.index
    entries = sorted((e for s in index.streams() for e in index.entries(s)), key=lambda e: e.offset)
    return index.damage, [e.digest for e in entries]


def theirs(second: ModuleType, content: bytes) -> Found:
    found = list(second.walk(content))
    damage = [piece for piece in found if len(piece) == 2]
    return damage, [piece[3] for piece in found if len(piece) != 2]


@pytest.mark.parametrize("case", sorted(VECTORS["cases"]))
def test_both_find_in_the_published_segments_what_is_published(
    second: ModuleType, tmp_path: Path, case: str
) -> None:
    vector = VECTORS["cases"][case]
    path = tmp_path / "seg-000000000007.ear"
    path.write_bytes(bytes.fromhex(vector["bytes"]))
    assert ours(path) == theirs(second, path.read_bytes())
    assert [list(pair) for pair in ours(path)[0]] == vector["damaged"]
    assert [
        header["n"] for header, *_ in (p for p in second.walk(path.read_bytes()) if len(p) != 2)
    ] == vector["n"]


@pytest.fixture
def segment(bench) -> tuple[Path, list[bytes]]:
    """A file to overwrite, and the raw records of a true segment of two cameras."""
    writer, cameras = bench.writer(), [bench.channel("a", size=60), bench.channel("b", size=60)]
    bench.record(writer, cameras, 2)
    (path,) = bench.directory.glob("*.ear")
    return path, [record.raw for record in _walk(path)]


def _walk(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        at = HEAD
        while (record := read_record(file.fileno(), at)) is not None:
            yield record
            at += len(record.raw)


Wound = tuple[str, int, int, int]
WOUNDS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "zero", "cut", "drop", "twice", "swap", "junk", "mark"]),
        st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 255),
    ),
    min_size=1, max_size=4,
)  # fmt: skip


def _hurt(raws: list[bytes], wounds: list[Wound]) -> bytes:
    raws = list(raws)
    for kind, where, size, value in wounds:
        if not raws:
            break
        at = where % len(raws)
        raw = bytearray(raws[at])
        if not raw:  # junk of no length, from a wound before
            continue
        if kind == "flip":
            raw[size % len(raw)] ^= value or 1
        elif kind == "zero":
            start = size % len(raw)
            raw[start : start + value] = bytes(len(raw[start : start + value]))
        elif kind == "cut":
            del raw[size % len(raw) :]
        raws[at] = bytes(raw)
        if kind == "drop":
            del raws[at]
        elif kind == "twice":
            raws.insert(at, raws[at])
        elif kind == "swap":
            raws[at], raws[size % len(raws)] = raws[size % len(raws)], raws[at]
        elif kind == "junk":
            raws.insert(at, bytes([value]) * (size % 3000))
        elif kind == "mark":
            raws.insert(at, b"EAR1\x00\x88" * (size % 40 + 1))
    return bytes(HEAD) + b"".join(raws)


@RELAXED
@given(wounds=WOUNDS)
def test_both_find_the_same_records_and_the_same_damage(segment, second, wounds) -> None:
    path, raws = segment
    content = _hurt(raws, wounds)
    path.write_bytes(content)
    damage, digests = ours(path)
    assert (damage, digests) == theirs(second, content)
    records = [piece for piece in second.walk(content) if len(piece) == 5]
    covered = sum(end - start for start, end in damage) + sum(len(p[1]) + len(p[2]) + 8 for p in records)
    assert covered == len(content) - HEAD, "every byte is a record's or named as damaged"


FORGERIES = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from([Kind.INIT, Kind.FRAGMENT, Kind.GAP]),
        "flags": st.sampled_from(Flag),
        "aead": st.sampled_from(Aead),
        "epoch": st.binary(min_size=16, max_size=16),
        "n": st.integers(0, 40),
        "wall_us": st.integers(-(1 << 63), (1 << 63) - 1),
        "boot_ns": st.integers(0, (1 << 64) - 1),
        "duration_us": st.integers(0, 1 << 31),
        "tfdt": st.integers(0, 1 << 40),
        "prev": st.binary(min_size=32, max_size=32),
    },
)


@RELAXED
@given(which=st.integers(2, 10), forgery=FORGERIES)
def test_both_refuse_the_same_forgeries_however_well_their_digest_is_made(
    segment, second, bench, capsys, monkeypatch, which, forgery
) -> None:
    """The forger knows the format and has no key: he can make every digest right again."""
    path, raws = segment
    true = parse_record(raws[which])
    header = dataclasses.replace(true.header, **forgery)
    if header.aead is Aead.NONE:
        header = dataclasses.replace(header, plain_length=header.body_length)
    forged = build_record(header, bytes(true.body))
    path.write_bytes(bytes(HEAD) + b"".join([*raws[:which], forged.raw, *raws[which + 1 :]]))

    monkeypatch.setattr(
        sys, "argv", ["read_ring", bench.box.public.hex(), "iccc", bench.private.hex(), str(path)]
    )
    code = second.main()
    said = capsys.readouterr().out
    refused = forged.raw != true.raw and _refuses(bench.opener(), raws[:which], forged)
    # A number that was passed already counts as a copy for the second reader, whose chain then stands still.
    copied = header.n <= 1 or (header.epoch == true.header.epoch and header.n < true.header.n)
    assert (code == 2) == refused or copied, (code, refused, said, forgery)


def _refuses(opener: Opener, before: list[bytes], forged: Record) -> bool:
    for raw in before:
        opener.open(parse_record(raw))
    try:
        opener.open(forged)
    except (SealError, FormatError):
        return True
    return False
