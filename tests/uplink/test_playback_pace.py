"""When a recorded fragment is due, and how a playback ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from uplink_world import ONE, records, until

from edge_agent.clock import SystemClock
from edge_agent.errors import RingError
from edge_agent.model import Role
from edge_agent.seal.record import Record
from edge_agent.uplink.playback import FASTEST, LEAD_S, Pace, PlaybackSession


def test_real_time_keeps_a_small_lead() -> None:
    pace, now = Pace(1.0), 100.0
    due = [pace.due(r.header, now) for r in records(50)]
    assert due[:12] == [now] * 12
    assert due[51] == pytest.approx(now + 49 * 0.2 - LEAD_S)


def test_double_speed_takes_half_the_time() -> None:
    pace = Pace(2.0)
    due = [pace.due(r.header, 0.0) for r in records(100)]
    assert due[-1] == pytest.approx(99 * 0.1 - LEAD_S)


def test_a_gap_in_the_footage_is_jumped() -> None:
    some = records(60)
    pace = Pace(1.0)
    due = [pace.due(r.header, 0.0) for r in (*some[:12], *some[50:])]
    assert due[-1] < 20 * 0.2


def test_a_slow_link_is_not_followed_by_a_burst() -> None:
    pace, some = Pace(1.0), records(100)
    for record in some[:12]:
        pace.due(record.header, 0.0)
    late = [pace.due(r.header, 60.0) for r in some[12:]]
    assert late[0] == 60.0
    assert late[-1] > 60.0 + 80 * 0.2 - LEAD_S


def test_as_fast_as_the_link_gives_still_leaves_a_subscriber_time() -> None:
    pace, some = Pace(None), records(100, size=FASTEST // 50)
    due = [pace.due(r.header, 7.0) for r in some]
    assert due[2] == 7.0
    assert due[-1] == pytest.approx(7.0 + 99 / 50, rel=0.01)


def session_of(some: Iterator[Record], speed: float | None) -> PlaybackSession:
    session = PlaybackSession("pump-17", "cam-01", Role.MAIN, ONE, SystemClock(), lambda: None)
    session.start(some, speed, 30)
    return session


def test_reading_ahead_is_bounded() -> None:
    read = []

    def source() -> Iterator[Record]:
        for record in records(400, size=20_000):
            read.append(record)
            yield record

    session = session_of(source(), None)
    until(lambda: len(read) > 50)
    assert len(read) < 120
    session.close()


def test_the_end_says_whether_the_footage_or_the_disk_ended() -> None:
    def broken() -> Iterator[Record]:
        yield from records(2)
        raise RingError("segment 7: Input/output error")

    for source, words in ((iter(records(2)), "end of footage"), (broken(), "segment 7: Input/output error")):
        session = session_of(source, None)
        taken: list[bytes] = []
        now = iter(range(1_000_000))
        until(lambda s=session, t=taken, n=now: t.append(p) if (p := s.next_part(next(n))) else s.ended(0.0))
        assert session.ended(0.0) == words
        assert len(taken) == 4
