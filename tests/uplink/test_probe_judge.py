"""What figures of a line mean: the sentence, its state and the next thing to do."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.uplink import probe_judge as judge
from edge_agent.uplink.probe import Segments, parse_segments
from edge_agent.uplink.probe_judge import Goodput, Idle, State, Streams

SITE_STREAMS = Streams(main_kbps=4000, sub_kbps=300, measured=True)


@pytest.mark.parametrize(
    ("kbps", "max_kbps", "state", "words"),
    [
        (900, None, State.GOOD, "2 live sub streams (300 kbit/s each), no main stream (4.0 Mbit/s)"),
        (400, None, State.GOOD, "1 live sub stream (300 kbit/s each), no main stream"),
        (
            11_000,
            None,
            State.GOOD,
            "29 live sub streams (300 kbit/s each) or 2 main streams (4.0 Mbit/s each)",
        ),
        (11_000, 700, State.GOOD, "2 live sub streams (300 kbit/s each), no main stream"),
        (300, None, State.BAD, "no live stream: one sub stream needs 300 kbit/s; 240 kbit/s for video"),
    ],
)
def test_the_verdict_counts_streams(kbps: float, max_kbps: int | None, state: State, words: str) -> None:
    step = judge.verdict(judge.carries(kbps, SITE_STREAMS, max_kbps), SITE_STREAMS, max_kbps)

    assert step.state is state
    assert step.sentence.startswith(words)
    assert bool(step.next) is (state is State.BAD)


def test_the_verdict_names_what_limits_and_what_was_assumed() -> None:
    agreed = judge.verdict(judge.carries(9000, SITE_STREAMS, 1000), SITE_STREAMS, 1000)
    usual = judge.verdict(judge.carries(9000, Streams(), None), Streams(), None)

    assert "uplink.max_kbps" in agreed.sentence
    assert "80 % of the goodput" in usual.sentence
    assert "usual ones" in usual.sentence


@pytest.mark.parametrize(
    ("resent", "segments", "state"),
    [(0, 1000, "good"), (9, 1000, "good"), (30, 1000, "note"), (80, 1000, "bad"), (3, 40, "note")],
)
def test_loss_is_noted_before_it_is_bad(resent: int, segments: int, state: str) -> None:
    step = judge.loss(Goodput(1000, 10**6, segments, resent))

    assert step.state == state
    assert bool(step.next) is (state != "good")


@pytest.mark.parametrize(
    ("found", "state", "words"),
    [
        (Idle(300, None), "good", "survives at least 300 s; the agent is silent for 60 s at most"),
        (Idle(120, 300), "good", "forgets a connection that was idle for 120 to 300 s"),
        (Idle(30, 60), "bad", "forgets a connection that was idle for 30 to 60 s"),
        (Idle(30, None), "note", "survives at least 30 s"),
    ],
)
def test_a_forgetful_line_is_judged_by_how_long_the_agent_is_silent(
    found: Idle, state: str, words: str
) -> None:
    step = judge.idle(found, keepalive_s=90, heartbeat_s=60)

    assert step.state == state
    assert words in step.sentence
    assert ("uplink.heartbeat_s to 24" in step.next) is (state == "bad")


@pytest.mark.parametrize(
    ("name", "days", "state", "words"),
    [
        ("site-1", 80, "good", "good for 80 more days"),
        ("site-1", 3, "note", "good for 3 more days"),
        ("site-1", -2, "bad", "expired 2 days ago"),
        ("site-2", 80, "bad", "is for 'site-2', this box needs 'site-1'"),
    ],
)
def test_our_own_certificates_are_judged_first(name: str, days: int, state: str, words: str) -> None:
    step = judge.certificate("control", name, "site-1", days)

    assert step.state == state
    assert words in step.sentence


@given(st.floats(1, 1e6), st.integers(1, 20_000), st.integers(1, 20_000), st.none() | st.integers(64, 10**6))
def test_what_is_promised_fits(kbps: float, main: int, sub: int, max_kbps: int | None) -> None:
    found = judge.carries(kbps, Streams(main, sub), max_kbps)

    assert max(found.subs * sub, found.mains * main) <= 0.8 * kbps
    assert max_kbps is None or found.usable_kbps <= max_kbps
    assert (found.subs + 1) * sub > found.usable_kbps


def test_the_kernels_counters_are_read_where_linux_writes_them() -> None:
    info = bytearray(232)
    struct.pack_into("=I", info, 100, 7)  # tcpi_total_retrans
    struct.pack_into("=Q", info, 120, 5_000_000_000)  # tcpi_bytes_acked
    struct.pack_into("=I", info, 156, 900)  # tcpi_data_segs_out

    assert parse_segments(bytes(info)) == Segments(5_000_000_000, 900, 7)
    assert parse_segments(bytes(info[:100])) == Segments(0, 0, 0)
