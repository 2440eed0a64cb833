"""The record's bytes: every field at its place, hostile bytes refused."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import FormatError
from edge_agent.model import ClockTrust
from edge_agent.seal.record import (
    Aead,
    Flag,
    Header,
    Kind,
    Tip,
    build_record,
    iter_records,
    parse_record,
)

IDS = st.binary(min_size=16, max_size=16)
U64 = st.integers(0, 2**64 - 1)


@st.composite
def records(draw):
    aead = draw(st.sampled_from(Aead))
    body = draw(st.binary(min_size=16, max_size=300))
    header = Header(
        kind=draw(st.sampled_from(Kind)),
        stream=draw(IDS),
        epoch=draw(IDS),
        n=draw(U64),
        body_length=len(body),
        plain_length=len(body) - (16 if aead else 0),
        wall_us=draw(st.integers(-(2**63), 2**63 - 1)),
        boot_ns=draw(U64),
        boot_id=draw(IDS),
        prev=draw(st.binary(min_size=32, max_size=32)),
        flags=Flag(draw(st.integers(0, 3))),
        aead=aead,
        trust=draw(st.sampled_from(ClockTrust)),
        duration_us=draw(st.integers(0, 2**32 - 1)),
        tfdt=draw(U64),
    )
    return build_record(header, body)


@given(st.lists(records(), max_size=4))
def test_what_is_built_is_read_back(written):
    assert list(iter_records(b"".join(r.raw for r in written))) == written


@given(records())
def test_fields_lie_where_the_format_says(record):
    raw, header = record.raw, record.header
    assert raw[:6] == b"EAR1\x00\x88"
    assert (raw[6], raw[7], raw[8], raw[9]) == (header.kind, header.flags, header.aead, header.trust)
    assert struct.unpack(">HI", raw[10:16]) == (0, header.body_length)
    assert (raw[16:32], raw[32:48]) == (header.stream, header.epoch)
    assert struct.unpack(">QqQ", raw[48:72]) == (header.n, header.wall_us, header.boot_ns)
    assert raw[72:88] == header.boot_id
    assert struct.unpack(">IIQ", raw[88:104]) == (header.duration_us, header.plain_length, header.tfdt)
    assert raw[104:136] == header.prev
    assert record.digest == hashlib.sha256(raw[:-8]).digest()
    assert raw[-8:] == record.digest[:8]
    assert Tip.of(record) == Tip(header.stream, header.epoch, header.n, record.digest)


@given(records(), st.data())
def test_a_record_cut_anywhere_is_refused(record, data):
    with pytest.raises(FormatError):
        parse_record(record.raw[: data.draw(st.integers(0, len(record.raw) - 1))])


@given(st.binary(max_size=400))
def test_noise_is_refused_as_a_format_error(noise):
    with pytest.raises(FormatError):
        parse_record(noise)


@given(records(), st.binary(max_size=50))
def test_a_record_is_found_at_an_offset(record, before):
    assert parse_record(memoryview(before + record.raw + b"rest"), len(before)) == record


def test_a_huge_body_is_refused_before_it_is_read():
    raw = bytearray(136)
    struct.pack_into(">4sHBBBBHI", raw, 0, b"EAR1", 136, 3, 0, 1, 0, 0, (8 << 20) + 1)
    with pytest.raises(FormatError, match="limit"):
        parse_record(raw)


def test_a_field_that_does_not_fit_is_an_error_not_a_wrap():
    header = Header(Kind.GAP, bytes(16), bytes(16), 2**64, 0, 0, 0, 0, bytes(16), bytes(32))
    with pytest.raises(FormatError):
        header.encode()
