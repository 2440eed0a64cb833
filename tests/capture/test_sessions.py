"""The session budget: what a recorder's refusals teach."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.sessions import (
    HOLD_S,
    LOGIN_S,
    RETRY_S,
    MaybeSessionLimit,
    NeverPlayed,
    SessionBudget,
    SessionLimitReached,
)
from edge_agent.errors import SourceLost
from edge_agent.model import Role, StreamKey

HOST = "10.0.0.2"


def main(number: int) -> StreamKey:
    return StreamKey(f"cam-{number}", Role.MAIN)


def sub(number: int) -> StreamKey:
    return StreamKey(f"cam-{number}", Role.SUB)


def playing(*keys: StreamKey) -> SessionBudget:
    budget = SessionBudget()
    for key in keys:
        budget.begun(HOST, key, 0)
        budget.played(HOST, key, 0)
    return budget


def test_a_refused_main_stream_takes_the_session_of_a_sub() -> None:
    budget = playing(main(1), sub(1), main(2))

    assert budget.refused(HOST, main(3), SessionLimitReached("453"), 10) == sub(1)
    budget.ended(HOST, sub(1))

    assert budget.limit(HOST) == 3
    assert budget.may_begin(HOST, main(3), 10)
    assert not budget.may_begin(HOST, sub(1), 10)


def test_a_refused_sub_waits_ten_minutes_and_a_main_stream_ten_seconds() -> None:
    budget = playing(main(1), main(2))
    assert budget.refused(HOST, sub(1), SessionLimitReached("453"), 10) is None

    assert not budget.may_begin(HOST, sub(1), 10 + RETRY_S[Role.SUB] - 1)
    assert budget.may_begin(HOST, sub(1), 10 + RETRY_S[Role.SUB])
    assert not budget.may_begin(HOST, main(3), 10 + RETRY_S[Role.MAIN] - 1)
    assert budget.may_begin(HOST, main(3), 10 + RETRY_S[Role.MAIN])


def test_subs_log_in_after_the_main_streams() -> None:
    budget = SessionBudget()
    for key in (main(1), main(2)):
        budget.begun(HOST, key, 0)
    assert not budget.may_begin(HOST, sub(1), 0)

    budget.played(HOST, main(1), 1)
    assert not budget.may_begin(HOST, sub(1), 1)
    budget.ended(HOST, main(2))

    assert budget.may_begin(HOST, sub(1), 2)


def test_a_sub_waits_ten_seconds_for_main_streams_that_never_play() -> None:
    budget = SessionBudget()
    for now_s in range(0, 10):
        budget.begun(HOST, main(now_s), now_s)
        assert not budget.may_begin(HOST, sub(1), now_s)

    assert budget.may_begin(HOST, sub(1), LOGIN_S)


def test_recorders_do_not_share_their_limits() -> None:
    budget = playing(main(1))
    budget.refused(HOST, main(2), SessionLimitReached("453"), 10)

    assert budget.may_begin("10.0.0.3", main(9), 10)


def test_a_dead_input_costs_a_sub_one_pause_and_teaches_nothing() -> None:
    budget = playing(main(1), sub(1))

    given_up = [budget.refused(HOST, main(2), NeverPlayed("silence"), 10.0 * n) for n in range(1, 30)]

    assert [each for each in given_up if each] == [sub(1)]
    assert budget.limit(HOST) is None


def test_an_input_that_went_off_costs_its_neighbours_no_sub() -> None:
    """Four sessions played at once: the fourth cannot be one too many when it comes back as silence."""
    budget = playing(main(1), sub(1), main(2), sub(2))
    for key in (main(2), sub(2)):
        budget.ended(HOST, key)

    given_up = [budget.refused(HOST, main(2), NeverPlayed("silence"), 10.0 * n) for n in range(1, 30)]

    assert not any(given_up)
    assert budget.may_begin(HOST, sub(1), 300.0)
    assert budget.limit(HOST) is None


def test_a_main_stream_that_plays_in_a_subs_place_teaches_the_limit() -> None:
    budget = playing(main(1), sub(1))
    error = MaybeSessionLimit("403")
    assert budget.refused(HOST, main(2), error, 1) is None
    assert budget.refused(HOST, main(2), error, 2) == sub(1)
    budget.ended(HOST, sub(1))

    budget.begun(HOST, main(2), 2)
    budget.played(HOST, main(2), 3)

    assert budget.limit(HOST) == 2
    assert not budget.may_begin(HOST, sub(1), 2 + HOLD_S + 1)


def test_a_recorder_that_is_off_teaches_nothing() -> None:
    budget = playing(main(1), sub(1))
    for key in (main(1), sub(1)):
        budget.ended(HOST, key)
        assert budget.refused(HOST, key, SourceLost("connection lost"), 5) is None
        assert budget.refused(HOST, key, NeverPlayed("silence"), 6) is None

    assert all(budget.may_begin(HOST, key, 7) for key in (main(1), sub(1)))


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(Role), st.integers(0, 3)), max_size=60))
def test_whatever_happens_no_stream_is_barred_for_ever(steps: list[tuple[int, Role, int]]) -> None:
    budget, now = SessionBudget(), 0.0
    errors = [
        SessionLimitReached("453"),
        MaybeSessionLimit("403"),
        NeverPlayed("silence"),
        SourceLost("lost"),
    ]
    for number, role, what in steps:
        now += 1
        key = StreamKey(f"cam-{number}", role)
        if budget.may_begin(HOST, key, now):
            budget.begun(HOST, key, now)
            if what == 0:
                budget.played(HOST, key, now)
            else:
                budget.ended(HOST, key)
                budget.refused(HOST, key, errors[what], now)

    later = now + RETRY_S[Role.SUB]
    assert all(budget.may_begin(HOST, StreamKey(f"cam-{n}", role), later) for n in range(4) for role in Role)
