"""The tips record: sorted, chained, in clear, refused when it is not."""

from __future__ import annotations

import dataclasses

import pytest

from edge_agent.errors import FormatError
from edge_agent.model import Instant
from edge_agent.seal.record import Tip, build_record, parse_record
from edge_agent.seal.tips import TipsSealer, parse_tips, tips_size, tips_stream

AT = Instant(1_790_000_000_000_000, 10**12)
TIPS = [Tip(bytes([i]) * 16, bytes(16), i, bytes([i]) * 32) for i in (3, 1, 2)]


def test_tips_come_back_sorted_and_records_chain():
    sealer = TipsSealer(b"b" * 32, bytes(16))
    first, second = sealer.seal(TIPS, AT), sealer.seal(TIPS[:1], AT)
    assert parse_tips(parse_record(first.raw)) == tuple(sorted(TIPS))
    assert (first.header.n, second.header.n, second.header.prev) == (0, 1, first.digest)
    assert first.header.stream == tips_stream(b"b" * 32)
    assert [len(first.raw), len(second.raw)] == [tips_size(3), tips_size(1)]


@pytest.mark.parametrize("spoil", ["cut", "swap", "twice"])
def test_a_list_that_is_not_whole_and_sorted_is_refused(spoil):
    record = TipsSealer(b"b" * 32, bytes(16)).seal(TIPS, AT)
    body = bytes(record.body)
    wrong = {"cut": body[:-1], "swap": body[72:] + body[:72], "twice": body[:72] + body}[spoil]
    header = dataclasses.replace(record.header, body_length=len(wrong), plain_length=len(wrong))
    with pytest.raises(FormatError):
        parse_tips(build_record(header, wrong))
