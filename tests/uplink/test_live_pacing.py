"""Which fragment is sent next, and which is too late."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from uplink_world import ONE, THREE, TWO, feed, records

from edge_agent.clock import ManualClock
from edge_agent.model import Role
from edge_agent.seal.record import Kind, Record
from edge_agent.tap import Tap
from edge_agent.uplink.live import LivePacer, LiveSession


def numbers(pacer: LivePacer, now: float) -> list[int]:
    found = []
    while (record := pacer.next(now)) is not None:
        found.append(record.header.n)
    return found


def test_in_time_everything_leaves_in_order() -> None:
    pacer = LivePacer()
    for record in records(25):
        pacer.offer(record, 0.0)
    assert numbers(pacer, 0.5) == list(range(27))
    assert pacer.dropped == 0


def test_a_late_fragment_takes_its_group_with_it_up_to_the_next_keyframe() -> None:
    pacer = LivePacer(deadline_s=2)
    for index, record in enumerate(records(25)):
        pacer.offer(record, index * 0.2)
    assert numbers(pacer, 2.7) == [0, 1, *range(12, 27)]
    assert pacer.dropped == 10


def test_without_a_keyframe_in_sight_nothing_is_sent_until_one_comes() -> None:
    pacer = LivePacer(deadline_s=2)
    some = records(13)
    for record in some[:6]:
        pacer.offer(record, 0.0)
    assert numbers(pacer, 5.0) == [0, 1]
    for record in some[6:]:
        pacer.offer(record, 5.0)
    assert numbers(pacer, 5.1) == [12, 13, 14]


def test_too_much_waiting_is_dropped_up_to_a_keyframe_and_memory_stays_bounded() -> None:
    pacer = LivePacer(max_bytes=100_000)
    for record in records(500):
        pacer.offer(record, 0.0)
    kept = numbers(pacer, 0.1)
    assert kept[:2] == [0, 1]
    assert sum(3160 for _ in kept) <= 103_160
    assert pacer.dropped == 502 - len(kept)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), max_size=120), st.integers(1, 12))
def test_a_decoder_can_follow_whatever_is_dropped(steps: list[tuple[bool, float]], gop: int) -> None:
    pacer, some, now = LivePacer(deadline_s=1, max_bytes=40_000), iter(records(200, gop=gop)), 0.0
    sent: list[Record] = []
    for offers, pause in steps:
        now += pause
        if offers:
            pacer.offer(next(some), now)
        elif (record := pacer.next(now)) is not None:
            sent.append(record)
    for before, after in pairwise(sent):
        follows = after.header.n == before.header.n + 1
        assert follows or (after.header.keyframe and after.header.n > before.header.n)
    assert [r.header.kind for r in sent[:2]] == [Kind.KEY, Kind.INIT][: len(sent)]


def test_a_second_viewer_gets_key_init_and_the_running_group() -> None:
    clock, tap = ManualClock(), Tap[Record]()
    session = LiveSession("pump-17", "cam-01", Role.SUB, tap, clock, lambda: None)
    some = records(14)
    feed(tap, some)
    first = session.join(ONE, 30)
    assert first is not None
    assert first.first == 12
    while session.next_part(0.0):
        pass
    second = session.join(TWO, 30)
    assert second is not None
    assert second.session == first.session
    assert sum(1 for _ in iter(lambda: session.next_part(clock.monotonic()), None)) == 6


def test_a_session_ends_with_its_last_lease_and_cannot_be_joined_any_more() -> None:
    clock, tap = ManualClock(), Tap[Record]()
    session = LiveSession("pump-17", "cam-01", Role.SUB, tap, clock, lambda: None)
    session.join(ONE, 10)
    session.join(TWO, 30)
    clock.advance(20)
    assert session.ended(clock.monotonic()) == ""
    assert not session.renew(ONE, 10)
    assert session.leave(TWO)
    assert session.ended(clock.monotonic())
    assert session.join(THREE, 10) is None
