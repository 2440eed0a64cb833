"""The format alone is enough: a reader that shares no code with the agent agrees with it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from edge_agent.model import Role
from edge_agent.ring.reader import RingReader
from edge_agent.ring.segment import SegmentScan
from edge_agent.seal.record import Kind

READER = Path(__file__).resolve().parents[2] / "docs" / "reader" / "read_ring.py"
FOREVER = 1 << 62


@pytest.fixture
def second(monkeypatch, bench, capsys, tmp_path):
    """Runs the second reader on the bench's ring: (exit code, its lines, files it wrote)."""
    spec = importlib.util.spec_from_file_location("read_ring", READER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out = tmp_path / "out"
    out.mkdir()

    def run(private: bytes, box: bytes) -> tuple[int, list[str], dict[str, bytes]]:
        segments = [str(p) for p in bench.directory.glob("*.ear")]
        arguments = ["read_ring", box.hex(), "iccc", private.hex(), *segments, "--out", str(out)]
        monkeypatch.setattr(sys, "argv", arguments)
        code = module.main()
        return code, capsys.readouterr().out.splitlines(), {p.stem: p.read_bytes() for p in out.iterdir()}

    return run


def _plain(bench, camera) -> dict[str, bytes]:
    """What our own reader and opener make of the stream, by stream and epoch."""
    opener, found = bench.opener(), dict[str, bytes]()
    for record in RingReader({Role.MAIN: bench.directory}).records(camera.stream, 0, FOREVER):
        header, plain = record.header, opener.open(record)
        name = f"{header.stream.hex()}-{header.epoch.hex()}"
        if header.kind in (Kind.INIT, Kind.FRAGMENT):
            found[name] = found.get(name, b"") + plain
    return found


def test_it_has_at_most_150_lines_and_no_code_of_ours():
    text = READER.read_text()
    assert len(text.splitlines()) <= 150
    assert "import edge_agent" not in text
    assert "from edge_agent" not in text


def test_both_readers_agree(bench, second):
    writer, cameras = bench.writer(segment_s=2), [bench.channel("a"), bench.channel("b")]
    bench.record(writer, cameras, 5)
    for record in cameras[0].begin():
        writer.put(cameras[0].key, record)
    bench.record(writer, cameras, 2)
    code, _, files = second(bench.private, bench.box.public)
    assert code == 0
    assert files == {**_plain(bench, cameras[0]), **_plain(bench, cameras[1])}
    assert len(files) == 3


def test_both_readers_locate_the_same_damage(bench, second):
    writer, camera = bench.writer(), bench.channel()
    written = bench.record(writer, [camera], 4)
    (path,) = bench.directory.glob("*.ear")
    data = bytearray(path.read_bytes())
    data[data.index(written[7].raw) + 150] ^= 4
    path.write_bytes(data)
    scan = SegmentScan(path, 1)
    while not scan.advance(1 << 20, final=True):
        pass
    ((start, end),) = scan.index.damage
    code, lines, _ = second(bench.private, bench.box.public)
    assert code == 1
    assert f"{path.name}: bytes {start} to {end} are damaged" in lines
    assert any("1 records are missing before 8" in line for line in lines)


def test_it_refuses_another_boxs_footage(bench, second):
    writer, camera = bench.writer(), bench.channel()
    bench.record(writer, [camera], 1)
    code, lines, files = second(bench.private, bytes(32))
    assert code == 2
    assert "FORGED" in lines[0]
    assert files == {}
