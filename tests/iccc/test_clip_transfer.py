"""A clip is the same bytes at both ends, however its parts travel and whoever is restarted."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_agent.errors import EdgeAgentError, FormatError
from edge_agent.iccc.clip_file import ClipFile, ClipHead
from edge_agent.model import Role
from edge_agent.seal.record import Flag, Header, Kind, Record, build_record
from edge_agent.uplink.clip import (
    HEADER,
    MAGIC,
    MAX_PARTS,
    PART_BYTES,
    Clip,
    ClipChanged,
    parse,
    payloads,
    survey,
)
from edge_agent.uplink.operations import ClipArgs

STREAM = b"s" * 16


def records(*sizes: int) -> list[Record]:
    return [
        build_record(
            Header(
                Kind.FRAGMENT, STREAM, b"e" * 16, n, size, size, 1_790_000_000_000_000 + n * 200_000, n,
                b"b" * 16, bytes(32), Flag.KEYFRAME, duration_us=200_000,
            ),
            bytes([n % 256]) * size,
        )
        for n, size in enumerate(sizes)
    ]  # fmt: skip


SOME = records(10_000, 300_000, 1, 70_000, 65_536, 200_000)  # ten parts, the last one short
CLIP = survey(STREAM, 1, 2, SOME)
PARTS = list(payloads(CLIP, SOME))
WHOLE = b"".join(record.raw for record in SOME)


def head(clip: Clip = CLIP) -> ClipHead:
    return ClipHead(
        site="pump-17", camera="cam-01", role=Role.MAIN, from_us=1, asked_to_us=3, to_us=2,
        transfer=clip.transfer.hex(), size=clip.size, sha256=clip.sha256.hex(),
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clip.records"


@pytest.fixture
def file(path: Path) -> Iterator[ClipFile]:
    file = ClipFile.create(path, head())
    yield file
    file.close()


def test_the_parts_are_the_records_end_to_end() -> None:
    assert b"".join(parse(part).body for part in PARTS) == WHOLE
    assert (CLIP.size, CLIP.sha256) == (len(WHOLE), sha256(WHOLE).digest())
    assert {len(part) for part in PARTS[:-1]} == {HEADER.size + PART_BYTES}


def test_the_same_records_are_the_same_transfer_and_any_other_is_another() -> None:
    names = [
        survey(STREAM, 1, 2, SOME), survey(STREAM, 1, 3, SOME), survey(b"t" * 16, 1, 2, SOME),
        survey(STREAM, 1, 2, SOME[1:]), survey(STREAM, 1, 2, SOME[::-1]),
    ]  # fmt: skip
    assert names[0].transfer == CLIP.transfer
    assert len({clip.transfer for clip in names}) == 5


@settings(max_examples=25)
@given(st.sets(st.integers(0, len(PARTS) - 1), min_size=1))
def test_only_the_wanted_parts_are_sent(wanted: set[int]) -> None:
    spans = [(number, number) for number in sorted(wanted)]
    assert list(payloads(CLIP, SOME, spans)) == [PARTS[number] for number in sorted(wanted)]


def test_nothing_is_read_beyond_the_last_wanted_part() -> None:
    def read() -> Iterator[Record]:
        yield from SOME[:3]
        raise AssertionError("read on")

    assert list(payloads(CLIP, read(), [(0, 2)])) == PARTS[:3]


def test_footage_that_left_the_ring_or_was_replaced_is_not_sent_under_the_old_name() -> None:
    other = records(10_000, 300_000, 1, 70_000, 65_537, 200_000)
    for changed in (SOME[1:], SOME[:-1], [*SOME[:4], *other[4:]]):
        with pytest.raises(ClipChanged):
            list(payloads(CLIP, changed))


def test_what_was_recorded_since_is_left_out() -> None:
    assert list(payloads(CLIP, [*SOME, *records(5)])) == PARTS


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_any_loss_order_repetition_and_restart_ends_in_the_same_bytes(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip"
        file = ClipFile.create(path, head())
        for _ in range(3):  # a round: what is missing is asked for, some of it comes, in any order
            asked = list(payloads(CLIP, SOME, file.missing(data.draw(st.integers(1, 5)))))
            for payload in data.draw(st.lists(st.sampled_from(asked), max_size=12)) if asked else ():
                file.add(payload)
            if data.draw(st.booleans()):
                if data.draw(st.booleans()):
                    file.save()
                file.close()  # without `save`: as a kill
                resumed = ClipFile.resume(path)
                assert resumed is not None
                file = resumed
        while not file.complete:
            for payload in payloads(CLIP, SOME, file.missing(2)):
                file.add(payload)
        assert file.finish()
        file.close()
        assert path.read_bytes() == WHOLE
        assert [found.name for found in Path(folder).iterdir()] == ["clip"]


def test_only_parts_that_reached_the_disk_are_vouched_for(path: Path) -> None:
    file = ClipFile.create(path, head())
    file.add(PARTS[0])
    file.save()
    file.add(PARTS[1])
    file.close()
    killed = ClipFile.resume(path)
    assert killed is not None
    assert killed.missing(9) == [(1, len(PARTS) - 1)]
    killed.close()


def test_a_part_that_comes_twice_is_kept_once(file: ClipFile) -> None:
    assert file.add(PARTS[3])
    assert not file.add(PARTS[3])
    assert (file.here, file.missing(1)) == (1, [(0, 2)])


def altered(**changes: object) -> bytes:
    part = parse(PARTS[2])
    told = {"magic": MAGIC, "transfer": part.transfer, "number": 2, "parts": part.parts, "body": part.body}
    told |= changes
    header = HEADER.pack(*(told[name] for name in ("magic", "transfer", "number", "parts")))
    return header + bytes(told["body"])  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "payload",
    [
        b"", PARTS[0][: HEADER.size], PARTS[0] + b"x", PARTS[0][:-1], PARTS[-1] + b"x",
        altered(magic=b"EAP1"),
        altered(transfer=b"x" * 16), altered(number=10), altered(number=CLIP.parts), altered(parts=0),
        altered(parts=CLIP.parts + 1), altered(parts=MAX_PARTS + 1),
    ],
)  # fmt: skip
def test_parts_that_do_not_belong_are_refused_and_change_nothing(file: ClipFile, payload: bytes) -> None:
    with pytest.raises(FormatError):
        file.add(payload)
    assert file.here == 0


@settings(max_examples=25)
@given(st.binary(max_size=200))
def test_noise_is_never_a_part(noise: bytes) -> None:
    with pytest.raises(FormatError):
        parse(noise if noise[:4] != MAGIC else b"")


def test_a_clip_that_is_not_what_was_promised_is_fetched_again(path: Path, file: ClipFile) -> None:
    forged = altered(body=bytes(PART_BYTES))
    for payload in (*PARTS[:2], forged, *PARTS[3:]):
        file.add(payload)
    assert not file.finish()
    assert not path.exists()
    assert file.missing(9) == [(0, len(PARTS) - 1)]
    for payload in PARTS:
        file.add(payload)
    assert file.finish()
    assert path.read_bytes() == WHOLE


@pytest.mark.parametrize("damage", [b"", b"{}\n", b"not json\n\0\0"])
def test_a_damaged_state_is_named_with_what_to_do(path: Path, file: ClipFile, damage: bytes) -> None:
    path.with_name("clip.records.state").write_bytes(damage)
    with pytest.raises(EdgeAgentError, match=r"clip\.records\.state.*remove it"):
        ClipFile.resume(path)


def test_bits_that_do_not_fit_are_not_believed(path: Path, file: ClipFile) -> None:
    state = path.with_name("clip.records.state")
    whole = state.read_bytes()
    for bits in (whole[:-1], whole + b"\0", whole[:-1] + b"\xff"):
        state.write_bytes(bits)
        with pytest.raises(EdgeAgentError, match="does not fit"):
            ClipFile.resume(path)


def test_two_processes_do_not_write_one_file(path: Path, file: ClipFile) -> None:
    for begin in (lambda: ClipFile.resume(path), lambda: ClipFile.create(path, head())):
        with pytest.raises(EdgeAgentError, match="another process"):
            begin()
    for payload in PARTS:
        file.add(payload)
    assert file.finish()


def test_nothing_begun_is_nothing(path: Path) -> None:
    assert ClipFile.resume(path) is None


@pytest.mark.parametrize(
    "want",
    [[[3, 2]], [[0, 5], [5, 6]], [[4, 5], [0, 1]], [[0, MAX_PARTS]], [[n * 2, n * 2] for n in range(513)]],
)
def test_wanted_parts_out_of_order_or_bounds_are_refused(want: list[list[int]]) -> None:
    base = {"camera": "cam-01", "from_us": 1, "to_us": 2, "transfer": "0" * 32}
    assert ClipArgs.model_validate({**base, "want": ((0, 3), (4, 4), (9, 20))}, strict=False).want[1] == (
        4,
        4,
    )
    with pytest.raises(ValidationError):
        ClipArgs.model_validate({**base, "want": want}, strict=False)


def test_wanted_parts_need_their_transfers_name() -> None:
    with pytest.raises(ValidationError, match="which transfer"):
        ClipArgs.model_validate({"camera": "cam-01", "from_us": 1, "to_us": 2, "want": ((0, 3),)})
