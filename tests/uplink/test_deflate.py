"""Small JSON made smaller on the wire, and nothing believed of what comes back."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent import deflate
from edge_agent.errors import FormatError
from edge_agent.model import Instant
from edge_agent.uplink import messages, ulid
from edge_agent.uplink.messages import CameraState, HeartbeatData, LedgerPart
from edge_agent.uplink.stamper import Stamper

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=5)
)


@given(st.dictionaries(st.text(), JSON))
def test_what_is_squeezed_expands_to_the_same_bytes(document: dict[str, object]) -> None:
    payload = json.dumps(document).encode()

    squeezed = deflate.squeeze(payload)
    assert len(squeezed) <= len(payload)
    assert deflate.expand(squeezed) == payload


@given(st.binary(max_size=300))
def test_any_bytes_expand_to_something_bounded_or_are_refused(payload: bytes) -> None:
    for hostile in (payload, deflate.MARK + payload):
        try:
            assert len(deflate.expand(hostile)) <= max(deflate.MAX_EXPANDED, len(hostile))
        except FormatError:
            continue


def test_a_bomb_is_refused_without_being_unpacked() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, deflate.WINDOW_BITS, zdict=deflate.DICTIONARY)
    bomb = packer.compress(b"{" + b" " * 50_000_000) + packer.flush()

    with pytest.raises(FormatError, match="too long"):
        deflate.expand(bomb)


def test_bytes_after_the_stream_are_refused() -> None:
    squeezed = deflate.squeeze(b'{"v":1,"type":"heartbeat","session":"01M8","data":{"ledger":{}}}')

    with pytest.raises(FormatError):
        deflate.expand(squeezed + b"x")
    with pytest.raises(FormatError):
        deflate.expand(squeezed[:-1])


def test_a_heartbeat_is_read_in_both_forms_and_the_short_one_is_half_as_long() -> None:
    now = Instant(1_795_385_496_391_111, 12_779_089_000_000)
    stamper = Stamper(ulid.new(now.wall_us))
    mark = '{"v":1,"type":"mark","ts":1795385496391111,"up":12779089,"clk":1,"boot":"455cac2a","data":{}}'
    told = HeartbeatData(
        cameras=tuple(CameraState(id=f"cam-{n:02}", state="up") for n in range(1, 9)),
        ledger=LedgerPart(first=7, leaves=(mark,)),
    )
    heartbeat = stamper.heartbeat(told, now)
    payload = messages.encode(heartbeat)
    squeezed = deflate.squeeze(payload)

    assert messages.decode(squeezed) == messages.decode(payload) == heartbeat
    assert len(squeezed) < len(payload) / 2
