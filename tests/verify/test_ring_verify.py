"""The ring's examiner and the second reader of docs/reader say the same of any ring, whole or mutilated."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
from evidence_site import Site
from evidence_world import PRIVATE, Box, minutes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from edge_agent.cli.main import app
from edge_agent.ring.verification import Examined, Examiner
from edge_agent.seal.record import HEADER_BYTES, Header, Record, iter_records

READER = Path(__file__).resolve().parents[2] / "docs" / "reader" / "read_ring.py"
BOX = bytes(range(32))
HEAD = 64


@cache
def reader() -> object:
    spec = importlib.util.spec_from_file_location("read_ring_again", READER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def segment() -> tuple[Box, bytes]:
    """One segment of two epochs with marks."""
    import tempfile

    box = Box(uid="url:cam-01")
    box.record(1.0)
    box.mark()
    box.record(1.0)
    box.mark()
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder) / "box", box).write()
        (path,) = (site.root / "ring" / "main").glob("*.ear")
        return box, path.read_bytes()


def ours(path: Path) -> Examined:
    examiner = Examiner(segment()[0].box.public, {})
    for _ in examiner.examine(path.parent, growing=False):
        pass
    return examiner.result()


def theirs(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    box = segment()[0].box.public.hex()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["read_ring", box, "site", PRIVATE.hex(), str(path)])
        capsys.readouterr()
        code = reader().main()
    return code, capsys.readouterr().out


def damage(examined: Examined) -> set[tuple[int, int]]:
    texts = [f.text for f in examined.findings if f.sort == "damage" and f.offset >= HEAD]
    return {tuple(map(int, re.findall(r"\d+", text))) for text in texts}


def missing(examined: Examined) -> set[tuple[str, int]]:
    return {(f.epoch.hex(), f.n) for f in examined.findings if f.sort == "missing"}


def twice(examined: Examined) -> set[tuple[str, int]]:
    return {(f.epoch.hex(), f.n) for f in examined.findings if f.sort == "twice"}


def _records(data: st.DataObject) -> bytes:
    """The segment with some of its records dropped, doubled, swapped, or back-dated."""
    raw = segment()[1]
    records = [r.raw for r in iter_records(raw[HEAD:])]
    at = data.draw(st.integers(0, len(records) - 2))
    how = data.draw(st.sampled_from(["drop", "double", "swap", "backdate", "truncate"]))
    if how == "drop":
        del records[at]
    elif how == "double":
        records.insert(at, records[at])
    elif how == "swap":
        records[at], records[at + 1] = records[at + 1], records[at]
    elif how == "backdate":
        header = Header.parse(records[at])
        older = replace(header, wall_us=header.wall_us - 3_600_000_000).encode()
        body = records[at][HEADER_BYTES:-8]
        records[at] = older + body + sha256(older + body).digest()[:8]
    else:
        records[at] = records[at][: data.draw(st.integers(1, len(records[at]) - 1))]
    return raw[:HEAD] + b"".join(records)


def _bytes(data: st.DataObject) -> bytes:
    raw = bytearray(segment()[1])
    raw[data.draw(st.integers(HEAD, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    return bytes(raw)


@pytest.mark.parametrize("mutate", [_bytes, _records])
@settings(
    max_examples=80, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)  # fmt: skip
@given(data=st.data())
def test_the_two_readers_agree(tmp_path, monkeypatch, capsys, mutate, data: st.DataObject) -> None:
    path = tmp_path / "seg-000000000001.ear"
    path.write_bytes(mutate(data))
    examined = ours(path)
    code, told = theirs(path, monkeypatch, capsys)
    assert damage(examined) == {
        (int(a), int(b)) for a, b in re.findall(r"bytes (\d+) to (\d+) are damaged", told)
    }
    assert twice(examined) == {
        (e, int(n)) for e, n in re.findall(r"-(\w{32}): record (\d+) stands twice", told)
    }
    wrong = any(f.sort == "wrong" for f in examined.findings)
    if not wrong and code < 2:  # after a forgery each counts on from where it believes
        lost = re.findall(r"-(\w{32}): \d+ records are missing before (\d+)", told)
        assert missing(examined) == {(epoch, int(n)) for epoch, n in lost}
    assert not wrong or code == 2
    assert code < 2 or wrong or "does not open" in told


def test_a_record_that_stands_twice_in_a_segment_is_named(tmp_path: Path) -> None:
    raw = segment()[1]
    records = [r.raw for r in iter_records(raw[HEAD:])]
    path = tmp_path / "seg-000000000001.ear"
    at = next(i for i, r in enumerate(records) if Header.parse(r).n == 3)
    path.write_bytes(raw[:HEAD] + b"".join([*records[: at + 1], records[at], *records[at + 1 :]]))
    (finding,) = ours(path).findings
    assert (finding.sort, finding.offset) == ("twice", HEAD + sum(map(len, records[: at + 1])))
    older = replace(Header.parse(records[at]), wall_us=1).encode() + records[at][HEADER_BYTES:-8]
    path.write_bytes(path.read_bytes() + older + sha256(older).digest()[:8])
    assert {f.sort for f in ours(path).findings} == {"twice", "wrong"}


def test_a_back_dated_last_record_contradicts_its_mark(tmp_path: Path) -> None:
    """Nothing follows it whose chain would show it: only the mark does."""
    site = Site(tmp_path / "box", minutes(Box(uid="url:cam-01"))).write()
    (path,) = (site.root / "ring" / "main").glob("*.ear")
    last: Record = site.box.records[-1]
    older = replace(last.header, wall_us=last.header.wall_us - 3_600_000_000).encode()
    forged = older + last.raw[HEADER_BYTES:-8]
    path.write_bytes(path.read_bytes().replace(last.raw, forged + sha256(forged).digest()[:8]))
    result = CliRunner().invoke(app, ["-c", str(site.config), "ring", "verify", "--json"])
    assert result.exit_code == 1
    (finding,) = json.loads(result.stdout)["main"]["findings"]
    assert (finding["n"], finding["text"]) == (21, "a mark in the ledger names another record in its place")


def test_a_whole_ring_holds_and_the_command_says_against_what(tmp_path: Path) -> None:
    site = Site(tmp_path / "box", minutes(Box(uid="url:cam-01"), 2)).write()
    result = CliRunner().invoke(app, ["-c", str(site.config), "ring", "verify"])
    assert result.exit_code == 0, result.output
    assert "the minute marks name 2 of them" in result.stdout
    assert "held against 2 marks in the ledger" in result.stdout
    assert "everything holds" in result.stdout


def test_damage_is_located_by_camera_time_and_record(tmp_path: Path) -> None:
    site = Site(tmp_path / "box", minutes(Box(uid="url:cam-01"))).write()
    (path,) = (site.root / "ring" / "main").glob("*.ear")
    raw = bytearray(path.read_bytes())
    raw[raw.index(site.box.records[7].raw) + 200] ^= 1
    path.write_bytes(raw)
    result = CliRunner().invoke(app, ["-c", str(site.config), "ring", "verify"])
    assert result.exit_code == 1
    assert "DAMAGE segment 1 at" in result.stdout
    assert re.search(
        r"MISSING segment 1 at \d+, cam-01/main 2026-.* record 8: 1 record is missing", result.stdout
    )
