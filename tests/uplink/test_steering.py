"""A line that does not carry a stream gets the small one, and the large one again when it does."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice

from uplink_world import records

from edge_agent.clock import ManualClock
from edge_agent.model import Role
from edge_agent.seal.record import Record, iter_records
from edge_agent.tap import Tap
from edge_agent.uplink import ulid
from edge_agent.uplink.live import LiveSession
from edge_agent.uplink.parts import Reassembler
from edge_agent.uplink.steering import STRAIN_S, TRY_AGAIN_S, Steering

LEASE = "01M8276RDT881440J209104GG2"


def test_a_quarter_dropped_for_some_seconds_is_strain_and_a_single_drop_is_not() -> None:
    calm, strained = Steering(), Steering()
    for second in range(20):
        assert not calm.strained(5 * second, min(second, 4), float(second))
    assert [strained.strained(5 * s, 2 * s, float(s)) for s in range(6)] == [False] * 4 + [True] * 2


def test_a_camera_that_sends_nothing_is_no_strain() -> None:
    steering = Steering()
    assert not any(steering.strained(7, 7, float(second)) for second in range(20))


def test_trials_that_fail_at_once_come_less_often() -> None:
    steering, now, pauses = Steering(), 0.0, list[float]()
    steering.stepped_down(now)
    for _ in range(6):
        left = now
        while not steering.may_try(now):
            now += 1
        pauses.append(now - left)
        steering.stepped_up(now)
        now += STRAIN_S
        steering.stepped_down(now)
    assert pauses == [30, 60, 120, 240, 300, 300]
    assert pauses[-1] == TRY_AGAIN_S[1]

    while not steering.may_try(now):
        now += 1
    steering.stepped_up(now)
    steering.stepped_down(now + 600)
    assert steering.may_try(now + 600 + TRY_AGAIN_S[0])


def test_a_strained_session_serves_the_small_stream_and_returns() -> None:
    clock = ManualClock()
    main, sub = Tap[Record](), Tap[Record]()
    session = LiveSession("pump-17", "cam-01", Role.MAIN, main, clock, lambda: None, smaller=sub)
    large, small = Feed(main, b"large"), Feed(sub, b"small")
    session.join(LEASE, 3600)

    whole, served = Reassembler(ulid.to_bytes(session.session)), list[bytes]()
    for turn in range(60):
        step(session, clock, large, small)
        if turn % 3 == 0:  # the line carries a third of it
            served += taken(session, clock, whole, at_most=1)
    assert served[-1] == small.name

    for _ in range(int(TRY_AGAIN_S[0] / 0.2)):
        step(session, clock, large, small)
        served += taken(session, clock, whole)
    assert served[-1] == large.name


class Feed:
    """A stream that goes on for ever, epoch after epoch."""

    def __init__(self, tap: Tap[Record], name: bytes) -> None:
        self._tap, self.name = tap, name
        self._records = self._endless()

    def next(self) -> None:
        record = next(self._records)
        self._tap.publish(record, len(record.raw), keyframe=record.header.keyframe)

    def _endless(self) -> Iterator[Record]:
        for number in count():
            key, init, *fragments = records(50, gop=5, epoch=self.name + bytes([number]) * 11)
            self._tap.begin_epoch(key, init)
            yield from fragments


def step(session: LiveSession, clock: ManualClock, *feeds: Feed) -> None:
    clock.advance(0.2)
    for feed in feeds:
        feed.next()
    session.steer(clock.monotonic())


def taken(session: LiveSession, clock: ManualClock, whole: Reassembler, at_most: int = 99) -> list[bytes]:
    """The names of the streams whose records left."""
    parts = iter(lambda: session.next_part(clock.monotonic()), None)
    raw = b"".join(done for part in islice(parts, at_most) if (done := whole.receive(part)) is not None)
    return [record.header.epoch[:5] for record in iter_records(raw)]
