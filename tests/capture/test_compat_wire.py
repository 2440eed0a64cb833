"""The pipe from the compatibility process: what it says is checked, whatever it says."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.compat_wire import (
    LENGTH,
    MAX_FRAME,
    Cause,
    Failed,
    Inflow,
    Message,
    Opened,
    Order,
    Ready,
    Unit,
    Way,
    decode_order,
    encode,
    encode_order,
)
from edge_agent.errors import FormatError
from edge_agent.model import Codec

NALS = st.lists(st.binary(min_size=2, max_size=60), min_size=1, max_size=6).map(tuple)
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
UNITS = st.builds(Unit, st.integers(0, 2**63), st.integers(-(2**59), 2**59), NALS, st.booleans())
SETS = st.lists(st.binary(min_size=1, max_size=30), max_size=3).map(tuple)
OPENED = st.builds(
    Opened, st.sampled_from(Codec), PRINTABLE, st.integers(0, 24_000).map(lambda n: n / 100), SETS
)
FAILED = st.builds(Failed, st.sampled_from(Cause), PRINTABLE)
MESSAGES = st.lists(st.one_of(st.just(Ready()), OPENED, UNITS, FAILED), max_size=5)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [*pieces, data[at:]]


@given(MESSAGES, st.lists(st.integers(0, 50), max_size=20))
def test_messages_come_out_as_they_went_in_however_the_pipe_cuts_them(
    messages: list[Message], sizes: list[int]
) -> None:
    sent, inflow = b"".join(map(encode, messages)), Inflow()
    came = [message for piece in cut(sent, sizes) for message in inflow.feed(piece)]
    assert came == messages


@given(st.lists(st.one_of(st.binary(max_size=200), UNITS.map(encode)), max_size=5))
def test_whatever_comes_is_understood_or_refused_and_the_rest_stays_small(pieces: list[bytes]) -> None:
    inflow = Inflow()
    try:
        for piece in pieces:
            inflow.feed(piece)
    except FormatError:
        return
    assert len(inflow._rest) < LENGTH.size + MAX_FRAME


@given(UNITS, st.integers(4, 40), st.integers(0, 255))
def test_a_picture_with_one_wrong_byte_never_raises_anything_else(unit: Unit, at: int, byte: int) -> None:
    frame = bytearray(encode(unit))
    frame[min(at, len(frame) - 1)] = byte
    try:
        Inflow().feed(bytes(frame))
    except FormatError:
        return


@pytest.mark.parametrize("length", [0, MAX_FRAME + 1, 0xFFFF_FFFF])
def test_an_impossible_length_is_refused_before_anything_is_kept(length: int) -> None:
    inflow = Inflow()
    with pytest.raises(FormatError):
        inflow.feed(LENGTH.pack(length) + bytes(100))


def test_a_picture_of_more_units_than_a_camera_sends_is_refused() -> None:
    body = b"\x02" + struct.pack(">QqBH", 1, 1, 0, 1025) + struct.pack(">1025I", *[2] * 1025) + bytes(2050)
    with pytest.raises(FormatError):
        Inflow().feed(LENGTH.pack(len(body)) + body)


def test_what_is_told_to_people_has_no_control_characters() -> None:
    (told,) = Inflow().feed(encode(Failed(Cause.LOST, "gone\x1b[2J\n")))
    assert told == Failed(Cause.LOST, "gone?[2J?")


def test_an_order_arrives_whole_and_its_repr_hides_the_password() -> None:
    order = Order("rtsp://h/x?a=1", "10.0.0.9", 554, Way.TUNNEL, "admin", "p@ss:/#?")
    assert decode_order(encode_order(order)[LENGTH.size :]) == order
    assert "p@ss" not in repr(order)


def test_an_order_that_would_not_fit_into_the_pipe_is_refused() -> None:
    with pytest.raises(FormatError):
        encode_order(Order("rtsp://h/" + "x" * 70_000, "10.0.0.9", 554, Way.RTSP))
