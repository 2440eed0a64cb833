"""Envelopes: what is written is read back, and hostile bytes are only refused."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import FormatError
from edge_agent.ledger.wire import Batch, HeartbeatLedger, Want, heartbeat_ledger
from edge_agent.model import Instant
from edge_agent.uplink import messages
from edge_agent.uplink.messages import (
    CameraState,
    EventData,
    HeartbeatData,
    LedgerPart,
    Lifecycle,
    ReplyData,
    WantPart,
    decode,
    encode,
    sign_message,
    timestamp,
    verify_message,
    wall_us,
)
from edge_agent.uplink.stamper import Stamper

SESSION = "01M8274XTT880M40A205102GG1"
NOW = Instant(1_790_000_000_123_000, 5_000_000_000)


def heartbeat(**data: object) -> messages.Heartbeat:
    return Stamper(SESSION).heartbeat(HeartbeatData.model_validate(data), NOW)


def test_a_message_reads_back_and_leaves_defaults_out() -> None:
    told = heartbeat(cameras=(CameraState(id="cam-01", state="up"),))
    payload = encode(told)
    assert decode(payload) == told
    assert json.loads(payload)["data"] == {"cameras": [{"id": "cam-01", "state": "up"}]}
    assert len(payload) < 250


def test_the_sequence_counts_within_a_session() -> None:
    stamper = Stamper(SESSION)
    told = [stamper.event(EventData(kind="x"), NOW) for _ in range(3)]
    assert [t.seq for t in told] == [0, 1, 2]
    assert len({t.id for t in told}) == 3


def test_the_ledger_reads_its_part_of_our_heartbeat() -> None:
    part = LedgerPart(first=4, leaves=('{"v":1}',), checkpoint="note", fetch=WantPart(first=1, count=2))
    read = heartbeat_ledger(encode(heartbeat(ledger=part)))
    assert read == HeartbeatLedger(Batch(4, (b'{"v":1}',), "note"), Want(1, 2))


def test_unknown_fields_of_a_newer_box_are_ignored() -> None:
    told = heartbeat()
    document = json.loads(encode(told))
    document["data"]["novelty"] = document["novelty"] = 1
    assert decode(json.dumps(document).encode()) == told


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"type": "unknown"},
        {"id": "short"},
        {"seq": -1},
        {"seq": "1"},
        {"seq": 2**53},
        {"ts": "yesterday"},
        {"data": None},
        {"data": {"cameras": [{"id": "../x", "state": "up"}]}},
        {"data": {"cameras": [{"id": "cam-01", "state": "x" * 1000}]}},
        {"data": {"clock": {"trust": 9}}},
    ],
)
def test_a_wrong_field_is_refused(change: dict[str, object]) -> None:
    document = {**json.loads(encode(heartbeat())), **change}
    with pytest.raises(FormatError):
        decode(json.dumps(document).encode())


@given(st.one_of(st.binary(max_size=300), st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
).map(lambda v: json.dumps(v).encode())))  # fmt: skip
def test_bytes_that_are_no_message_are_only_refused(payload: bytes) -> None:
    with pytest.raises(FormatError):
        decode(payload)


@pytest.mark.parametrize("payload", [b"[" * 60_000, b"{" * 200_000, b'{"data":' * 8000])
def test_deep_and_long_input_is_refused(payload: bytes) -> None:
    with pytest.raises(FormatError):
        decode(payload)


def test_too_long_a_message_is_not_sent() -> None:
    told = Stamper(SESSION).event(EventData(kind="x", detail={"much": "x" * messages.MAX_MESSAGE}), NOW)
    with pytest.raises(FormatError, match="at most"):
        encode(told)


def test_a_reply_is_believed_under_the_boxs_key_only() -> None:
    key = Ed25519PrivateKey.generate()
    told = Stamper(SESSION).reply(ReplyData(command=SESSION, status=Lifecycle.DONE), NOW)
    payload = sign_message(key, "box", told)
    assert verify_message(payload, key.public_key()) == told
    with pytest.raises(FormatError):
        verify_message(payload, Ed25519PrivateKey.generate().public_key())
    with pytest.raises(FormatError):
        verify_message(encode(told), key.public_key())


@given(st.integers(0, 253_402_300_799_999_999))
def test_timestamps_read_back_to_the_millisecond(at_us: int) -> None:
    assert wall_us(timestamp(at_us)) == at_us // 1000 * 1000


def test_a_clock_out_of_range_still_gives_a_timestamp() -> None:
    assert timestamp(-1) == "1970-01-01T00:00:00.000Z"
    assert timestamp(2**63) == "9999-12-31T23:59:59.999Z"
