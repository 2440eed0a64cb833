"""The reply to `ring.coverage`: sealed reasons are opened, and nothing is concluded that is not known."""

from __future__ import annotations

import base64
import contextlib
import secrets
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import ManualClock
from edge_agent.errors import UplinkError
from edge_agent.iccc.coverage import NOT_RUNNING, NOTHING_RECORDED, Coverage, Gap, Span, read_coverage
from edge_agent.model import InitSegment
from edge_agent.seal.keys import BoxKey, Recipient, generate_recipient
from edge_agent.seal.opener import Opener
from edge_agent.seal.record import Aead, Record
from edge_agent.seal.sealer import StreamSealer

PRIVATE, PUBLIC = generate_recipient()
BOX = BoxKey(secrets.token_bytes(32))
STREAM = b"s" * 16
S = 1_000_000
NOW = 1_790_000_000 * S


def read(**result: Any) -> Coverage:
    opener = Opener("iccc", PRIVATE, BOX.public)
    return read_coverage({"until": NOW, **result}, NOW - 1000 * S, NOW + 60 * S, STREAM, opener)


def sealed(reason: str, since_us: int, at_us: int, box: BoxKey = BOX) -> list[str]:
    clock = ManualClock(wall_us=since_us)
    sealer = StreamSealer(
        box=box, recipients=(Recipient("iccc", PUBLIC),), stream_id=STREAM, boot_id=bytes(16),
        aead=Aead.AES_256_GCM,
    )  # fmt: skip
    key, _ = sealer.begin_epoch(InitSegment(b"moov", "avc3.64001f", 640, 360, 90_000), clock.now())
    since = clock.now()
    clock.advance((at_us - since_us) / S)
    return [text(key), text(sealer.seal_gap(reason, since, clock.now()))]


def text(record: Record) -> str:
    return base64.b64encode(record.raw).decode()


SPANS = [[NOW - 900 * S, NOW - 800 * S], [NOW - 700 * S, NOW]]
BETWEEN = [NOW - 800 * S, NOW - 700 * S]


def test_a_sealed_reason_is_opened_and_the_ledger_adds_to_it() -> None:
    outage = [BETWEEN[0] + S, BETWEEN[1], "dark", "recorder refuses connections"]
    found = read(
        spans=SPANS, gaps=[BETWEEN], reasons=[sealed("no packets for 5 s", *BETWEEN)], outages=[outage]
    )
    assert found.spans == (Span(*SPANS[0]), Span(*SPANS[1]))
    assert found.gaps == (Gap(*BETWEEN, "dark", "no packets for 5 s; recorder refuses connections"),)


def test_a_reason_of_another_box_is_left_out() -> None:
    forged = sealed("all is well", *BETWEEN, box=BoxKey(secrets.token_bytes(32)))
    found = read(spans=SPANS, gaps=[BETWEEN], reasons=[forged, ["AAAA", "%"]])
    assert found.gaps == (Gap(*BETWEEN, "off", NOT_RUNNING),)


def test_the_ledger_says_how_the_agent_ended() -> None:
    off = [BETWEEN[0] - S, BETWEEN[0] + 5 * S, "off", "the box lost power or was reset"]
    assert read(spans=SPANS, gaps=[BETWEEN], outages=[off]).gaps[0].cause == "the box lost power or was reset"


def test_before_the_first_footage_nothing_is_concluded() -> None:
    before = [NOW - 1000 * S, NOW - 900 * S]
    short = [NOW - 905 * S, NOW - 901 * S, "off", "the agent was stopped"]
    assert read(spans=SPANS, gaps=[before], outages=[short]).gaps == (Gap(*before, "off", NOTHING_RECORDED),)


def test_a_camera_that_is_dark_now_is_dark_to_the_end() -> None:
    spans, tail = [[NOW - 900 * S, NOW - 100 * S]], [NOW - 100 * S, NOW]
    found = read(spans=spans, gaps=[tail], outages=[[NOW - 100 * S, None, "dark", "no packets"]])
    assert found.gaps == (Gap(*tail, "dark", "no packets"),)


def test_the_last_moment_is_not_a_gap_and_the_future_is_none() -> None:
    opener = Opener("iccc", PRIVATE, BOX.public)
    told: dict[str, Any] = {"until": NOW + 3600 * S, "spans": SPANS, "gaps": [[NOW, NOW + 3600 * S]]}
    assert not read_coverage(told, NOW - 1000 * S, NOW + 2 * S, STREAM, opener).gaps


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("spans", "gaps", "reasons", "outages"), json_values))
)
def test_nonsense_is_refused_in_one_way(result: dict[str, Any]) -> None:
    with contextlib.suppress(UplinkError):
        found = read(**result)
        assert all(gap.cause and gap.from_us < gap.to_us for gap in found.gaps)


def test_without_an_end_it_is_no_answer() -> None:
    with pytest.raises(UplinkError):
        read(until=-1)
