from __future__ import annotations

from edge_agent.agent.gaps import Gaps
from edge_agent.clock import ManualClock
from edge_agent.events import StreamLost, StreamStarted
from edge_agent.model import Codec, Role, StreamKey

KEY = StreamKey("cam-01", Role.MAIN)


def lose(gaps: Gaps, clock: ManualClock, reason: str = "no packets") -> None:
    gaps.lost(StreamLost(clock.now(), KEY, clock.now(), reason, 1.0))


def start(gaps: Gaps, clock: ManualClock) -> None:
    gaps.started(StreamStarted(clock.now(), KEY, Codec.H264, 640, 360))


def test_a_pause_is_told_when_it_has_ended_from_its_first_failure_on() -> None:
    gaps, clock = Gaps(), ManualClock()
    start(gaps, clock)
    began = clock.now()
    lose(gaps, clock, "the device closed the connection")
    for _ in range(3):
        clock.advance(5)
        lose(gaps, clock, "refused")
    assert gaps.tell() == []
    start(gaps, clock)
    (gap,) = gaps.tell()
    assert (gap.count, gap.since, gap.until, gap.lost_s) == (1, began, clock.now(), 15.0)
    assert gap.reason == "the device closed the connection"
    assert gaps.tell() == []


def test_a_flapping_camera_is_one_gap_a_telling() -> None:
    gaps, clock = Gaps(), ManualClock()
    for _ in range(10):
        lose(gaps, clock)
        clock.advance(2)
        start(gaps, clock)
        clock.advance(4)
    (gap,) = gaps.tell()
    assert (gap.count, gap.lost_s) == (10, 20.0)


def test_a_clock_step_does_not_change_how_long_a_gap_was() -> None:
    gaps, clock = Gaps(), ManualClock()
    lose(gaps, clock)
    clock.step_wall(-7 * 3600)
    clock.advance(3)
    start(gaps, clock)
    assert gaps.tell()[0].lost_s == 3.0
