"""Archives that were built to do harm end in one clear error."""

from __future__ import annotations

import io
import struct
import zipfile
from functools import cache
from pathlib import Path

import pytest
from evidence_world import Box, minutes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.export.bundle import Bundle, end_records
from edge_agent.verify import archive as archives
from edge_agent.verify.check import verify
from edge_agent.verify.manifest import Malformed, canonical, parse
from edge_agent.verify.report import Unusable, Verdict
from edge_agent.verify.trust import read_trust


@cache
def package() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.zip"
        minutes(Box()).export(path)
        return path.read_bytes()


def zipped(names: list[str], compression: int = zipfile.ZIP_STORED, content: bytes = b"x") -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", compression) as made:
        for name in names:
            with_warning = zipfile.ZipInfo(name)
            made.writestr(with_warning, content, compression)
    return held.getvalue()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"PK",
        b"\0" * 100_000,
        zipped(["../../etc/passwd"]),
        zipped(["manifest.json"], zipfile.ZIP_DEFLATED, bytes(50_000_000)),
        zipped([f"f{i}" for i in range(3000)]),
        zipped(["a" * 300]),
    ],
    ids=["empty", "stub", "zeros", "traversal", "bomb", "many", "long name"],
)
def test_what_was_never_a_package_is_unusable(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(raw)
    with pytest.raises(Unusable):
        verify(path)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with path.open("w+b") as file:
        bundle = Bundle(file)
        bundle.add_bytes("clip.mp4", b"one")
        bundle._files.append(bundle.files[0])
        bundle.finish()
    with pytest.raises(Unusable, match="its place or size cannot be"):
        verify(path)


def test_a_size_beyond_the_file_is_refused(tmp_path: Path) -> None:
    raw = bytearray(package())
    at = raw.rindex(b"PK\1\2")
    raw[at + 20 : at + 28] = struct.pack("<II", 0xFFFF_FFF0, 0xFFFF_FFF0)
    path = tmp_path / "x.zip"
    path.write_bytes(raw)
    with pytest.raises(Unusable):
        verify(path)


def test_bytes_hidden_between_files_are_found(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with path.open("w+b") as file:
        bundle = Bundle(file)
        bundle.add_bytes("clip.mp4", b"one")
        file.write(b"a picture that nobody lists")
        bundle.finish()
    assert verify(path).verdict is Verdict.NOT_AUTHENTIC


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_splice_of_a_package_ends_in_anything_but_a_verdict(tmp_path: Path, data: st.DataObject) -> None:
    raw = package()
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 64)))
    mutant = raw[:start] + data.draw(st.binary(max_size=64)) + raw[end:]
    path = tmp_path / "x.zip"
    path.write_bytes(mutant)
    try:
        report = verify(path)
    except Unusable:
        return
    assert mutant == raw or report.verdict is Verdict.NOT_AUTHENTIC


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"1" * 10_000,
        b'{"a":1,"a":2}',
        b'{ "a":1}',
        b'{"b":1,"a":2}',
        b"\xff",
        b'"\\ud800"',
    ],
)
def test_json_that_is_deep_long_doubled_or_in_another_form_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        canonical(raw, 1 << 20)


def test_a_huge_manifest_is_refused_unread() -> None:
    with pytest.raises(Malformed, match="too large"):
        parse(b" " * (17 << 20))


def test_beyond_four_gigabytes_writer_and_verifier_mean_the_same_end() -> None:
    for start in (0, 0xFFFF_FFFE, 0xFFFF_FFFF, 1 << 40):
        assert end_records(7, 400, start) == archives._end(7, 400, start)


@pytest.mark.parametrize("line", ["mirror", "judge x+1+2", "box nonsense", "box iccc/mirror+00000000+BDtq"])
def test_a_trust_file_that_cannot_be_read_names_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# the city's keys\n{line}\n")
    with pytest.raises(Unusable, match="line 2"):
        read_trust(path)
