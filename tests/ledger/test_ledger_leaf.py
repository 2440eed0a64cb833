"""Leaves, the minute mark, the wire forms: sizes, byte-exactness, hostile input."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import FormatError, LedgerError
from edge_agent.ledger import leaf as leaves_
from edge_agent.ledger import merkle
from edge_agent.ledger.leaf import CameraMark, RateLimitedLeaf, Tip
from edge_agent.ledger.wire import Batch, HeartbeatLedger, Want, WitnessNote, heartbeat_ledger
from edge_agent.model import ClockTrust, Instant

AT = Instant(1_790_000_000_123_456, 399 * 86_400 * 1_000_000_000, ClockTrust.NTP)
BOOT = bytes.fromhex("0123456789abcdef0123456789abcdef")
LEAVES = st.lists(
    st.dictionaries(st.text(max_size=9), st.text(max_size=30) | st.integers() | st.none(), max_size=4).map(
        lambda data: leaves_.encode("fact", data, AT, BOOT)
    ),
    max_size=8,
).map(tuple)


def test_a_leaf_is_compact_json_that_reads_back() -> None:
    leaf = leaves_.encode("camera", {"id": "cam-01", "state": "खोया"}, AT, BOOT)
    assert (
        leaf
        == (
            '{"v":1,"type":"camera","ts":1790000000123456,"up":34473600000,"clk":2,"boot":"01234567",'
            '"data":{"id":"cam-01","state":"खोया"}}'
        ).encode()
    )
    read = leaves_.decode(leaf)
    assert (read.kind, read.at, read.boot) == ("camera", AT, "01234567")
    assert read.data == {"id": "cam-01", "state": "खोया"}


@pytest.mark.parametrize("data", [{"x": "y" * 4096}, {"x": float("nan")}, {"x": b"bytes"}])
def test_what_is_too_large_or_no_json_is_refused(data: dict[str, leaves_.Json]) -> None:
    with pytest.raises(LedgerError):
        leaves_.encode("fact", data, AT, BOOT)


@pytest.mark.parametrize(
    "leaf",
    [
        b"",
        b"{",
        b"[]",
        b'{"v":2,"data":{}}',
        b'{"v":1}',
        b"{\n}",
        b'{"a":' * 900,
        b"\xff\xfe",
        b"#",
        b"#AAAA",
    ],
)
def test_what_is_no_leaf_is_a_format_error(leaf: bytes) -> None:
    with pytest.raises(FormatError):
        leaves_.decode(leaf)


def test_a_minute_mark_of_eight_cameras_fits_250_bytes() -> None:
    data = leaves_.mark(
        99_999, [104_100, 37_700], hashlib.sha256(b"c").digest(), [CameraMark.UP] * 8, bytes(32)
    )
    leaf = leaves_.encode("mark", data, AT, BOOT)
    assert len(leaf) <= 250
    assert leaves_.decode(leaf).data["cam"] == "uuuuuuuu"


def test_the_tips_root_does_not_depend_on_order_but_on_every_field() -> None:
    tips = [Tip(bytes([n]) * 16, b"e" * 16, n, b"d" * 32) for n in range(5)]
    root = leaves_.tips_root(tips)
    assert leaves_.tips_root(tips[::-1]) == root
    assert len(tips[0].encoded) == 72
    for other in (
        Tip(b"x" * 16, b"e" * 16, 4, b"d" * 32),
        Tip(tips[4].stream, b"x" * 16, 4, b"d" * 32),
        Tip(tips[4].stream, b"e" * 16, 5, b"d" * 32),
        Tip(tips[4].stream, b"e" * 16, 4, b"x" * 32),
    ):
        assert leaves_.tips_root([*tips[:4], other]) != root


def test_strangers_cause_one_leaf_a_minute() -> None:
    limited = RateLimitedLeaf()
    written = [limited.note(f"bad {n}", n / 10) for n in range(1000)]  # 100 s, ten a second
    assert [w for w in written if w] == [{"count": 1, "last": "bad 0"}, {"count": 600, "last": "bad 600"}]
    assert limited.due(119) is None
    assert limited.due(120) == {"count": 399, "last": "bad 999"}
    assert limited.due(500) is None


@given(st.integers(0, 2**40), LEAVES, st.none() | st.just("a note\n\n— x AAAA\n"))
def test_a_batch_arrives_byte_for_byte(first: int, leaves: tuple[bytes, ...], note: str | None) -> None:
    batch = Batch(first, leaves, note)
    assert Batch.decode(batch.encode()) == batch
    beat = HeartbeatLedger(batch, Want(first, 3))
    message = json.dumps({"v": 1, "data": {"ledger": beat.as_json()}}).encode()
    assert heartbeat_ledger(message) == beat


def test_a_pruned_leaf_travels_as_its_hash() -> None:
    hash_ = merkle.leaf_hash(b"{}")
    entry = Batch.decode(Batch(0, (leaves_.pruned(hash_),)).encode()).leaves[0]
    assert leaves_.is_pruned(entry)
    assert leaves_.entry_hash(entry) == hash_ == leaves_.entry_hash(b"{}")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    for decode in (Batch.decode, Want.decode, WitnessNote.decode, heartbeat_ledger):
        with pytest.raises(FormatError):
            decode(payload)


@pytest.mark.parametrize(
    "part",
    [None, [], {"first": 0}, {"first": True}, {"first": 0, "leaves": "x"}, {"first": 0, "leaves": [1]},
     {"first": 0, "leaves": ["x"]}, {"first": 0, "leaves": ["{\n}"]}, {"first": 0, "leaves": ["{\ud800}"]},
     {"first": 0, "checkpoint": 7}, {"first": 0, "fetch": {"first": 0, "count": 0}}, {"first": 2**60}],
)  # fmt: skip
def test_a_heartbeat_with_a_bad_ledger_part_is_refused(part: object) -> None:
    if part == {"first": 0}:
        assert HeartbeatLedger.from_json(part).batch == Batch(0, ())
        return
    with pytest.raises(FormatError):
        HeartbeatLedger.from_json(part)


def test_a_witness_note_says_one_text_once() -> None:
    both = WitnessNote("one", "one", 5)
    assert both.encode() == b'{"v":1,"ts":5,"witness":"one"}'
    assert WitnessNote.decode(both.encode()) == both
    apart = WitnessNote("one", "two", 5)
    assert WitnessNote.decode(apart.encode()) == apart
