"""How much may be on its way: the window follows the line, the cap is kept over any ten seconds."""

from __future__ import annotations

import socket

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.uplink.flow import (
    BURST_S,
    LEAST_BYTES,
    MEMORY_S,
    UNMEASURED_BYTES,
    Cap,
    Flow,
    TcpState,
    on_the_line,
)
from edge_agent.uplink.sockets import tcp_state


def _state(rate: float, *, app_limited: bool = False, round_trip: float = 0.04) -> TcpState:
    return TcpState(0, rate, app_limited, round_trip, round_trip, 0, 0)


def test_an_unmeasured_line_gets_a_modest_window() -> None:
    assert Flow().window(_state(0)) == UNMEASURED_BYTES


def test_the_window_is_what_the_line_holds_and_a_short_queue() -> None:
    flow = Flow()
    flow.observe(_state(250_000), 0.0)

    assert flow.window(_state(250_000)) == 250_000 * 0.09
    flow.observe(_state(1_000), 10.0)
    flow.observe(_state(1_000), 10.0 + MEMORY_S + 0.1)
    assert flow.window(_state(1_000)) == LEAST_BYTES


def test_a_window_that_holds_the_line_back_grows_by_itself() -> None:
    """On a free line the samples say window over round trip: more than was estimated."""
    flow, now = Flow(), 0.0
    flow.observe(_state(400_000), now)
    for _ in range(20):
        now += 0.04
        flow.observe(_state(flow.window(_state(0)) / 0.04), now)

    assert (flow.rate or 0) > 4_000_000


def test_a_sample_with_too_little_to_send_does_not_slow_the_line_down() -> None:
    flow = Flow()
    flow.observe(_state(250_000), 0.0)
    flow.observe(_state(2_000, app_limited=True), 60.0)

    assert flow.rate == 250_000


@given(st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 16_384)), max_size=400), st.integers(64, 5000))
def test_what_waits_for_room_keeps_the_cap_over_any_ten_seconds(
    offers: list[tuple[float, int]], kbps: int
) -> None:
    cap, now = Cap(kbps, 0.0), 0.0
    sent: list[tuple[float, int]] = []
    for pause, size in offers:
        now += pause
        if cap.room(now):
            cap.spend(size, now)
            sent.append((now, on_the_line(size)))
    rate = kbps * 125
    for began, _ in sent:
        carried = [size for at, size in sent if began <= at < began + 10]
        assert sum(carried) - max(carried) <= rate * (10 + BURST_S) + 1


def test_urgent_words_overdraw_and_the_rest_pays_back() -> None:
    cap = Cap(80, 0.0)  # 10 KB a second
    cap.spend(20_000, 1.0)

    assert not cap.room(2.0)
    assert 0 < cap.wait_s(2.0) < 1.5
    assert cap.room(2.0 + cap.wait_s(2.0) + 0.01)


def test_without_a_limit_there_is_always_room() -> None:
    cap = Cap(None, 0.0)
    cap.spend(10**9, 0.0)

    assert cap.room(0.0)
    assert cap.wait_s(0.0) == 0


def test_the_kernel_tells_what_is_outstanding_and_how_far_the_peer_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as ours:
            peer, _ = server.accept()
            with peer:
                ours.sendall(bytes(50_000))
                received = 0
                while received < 50_000:
                    received += len(peer.recv(65_536))
                ours.sendall(b"x")
                peer.recv(1)
                state = tcp_state(ours)
            assert state is not None
            assert state.acknowledged >= 50_000
            assert 0 < state.least_round_trip_s <= state.round_trip_s < 1
        assert tcp_state(ours) is None
