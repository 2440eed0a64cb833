"""A heartbeat leaves out what is known, and never what is news."""

from __future__ import annotations

from edge_agent.uplink.brief import TELL_AGAIN_S, Brief
from edge_agent.uplink.messages import (
    CameraState,
    ClockState,
    HeartbeatData,
    HostState,
    LedgerPart,
    RingState,
)

UP = CameraState(id="cam-01", state="up")
DARK = CameraState(id="cam-01", state="dark", cause="main: no packets for 5 s")


def test_what_is_known_is_left_out_after_three_tellings_and_told_once_again_every_quarter_hour() -> None:
    brief = Brief()
    told = [brief.shorten(_full(), 60.0 * n).cameras for n in range(31)]

    assert [n for n, cameras in enumerate(told) if cameras] == [0, 1, 2, 15, 30]
    assert TELL_AGAIN_S == 60.0 * 15


def test_a_camera_that_changes_is_told_at_once_and_alone() -> None:
    brief = Brief()
    for n in range(5):
        brief.shorten(_full(), 60.0 * n)
    told = brief.shorten(_full(camera=DARK), 300.0)

    assert told.cameras == (DARK,)
    assert told.host is None
    assert told.ring is None
    assert told.clock is None


def test_what_changed_just_before_everything_is_told_again_is_told_three_times_too() -> None:
    brief = Brief()
    told = [brief.shorten(_full(camera=DARK if n >= 14 else UP), 60.0 * n).cameras for n in range(20)]

    assert [n for n, cameras in enumerate(told) if DARK in cameras] == [14, 15, 16]


def test_figures_that_always_move_are_no_news_but_faults_and_heat_are() -> None:
    brief = Brief()
    for n in range(5):
        brief.shorten(_full(used=n, uptime=60 * n), 60.0 * n)

    assert brief.shorten(_full(used=9, uptime=540), 300.0).ring is None
    faulty = brief.shorten(_full(faults=1), 310.0)
    assert faulty.ring is not None
    assert faulty.ring.faults == 1
    hot = brief.shorten(_full(warmth=70.0), 320.0)
    assert hot.host is not None
    assert hot.host.temperature_c == 70.0


def test_a_ring_that_was_empty_is_told_anew_when_there_is_footage() -> None:
    brief = Brief()
    for n in range(5):
        brief.shorten(_full(used=0), 60.0 * n)
    grown = [brief.shorten(_full(used=500_000_000 + n), 300.0 + n).ring for n in range(4)]
    assert [ring is not None for ring in grown] == [True, True, True, False]


def test_the_ledger_is_never_left_out_and_a_new_session_hears_everything() -> None:
    brief = Brief()
    for n in range(5):
        assert brief.shorten(_full(), 60.0 * n).ledger is not None
    brief.forget()

    assert brief.shorten(_full(), 301.0) == _full()


def _full(
    camera: CameraState = UP, used: int = 1, uptime: int = 1, faults: int = 0, warmth: float = 40.0
) -> HeartbeatData:
    return HeartbeatData(
        cameras=(camera,),
        ring=RingState(used_bytes=used, budget_bytes=100, faults=faults),
        host=HostState(uptime_s=uptime, temperature_c=warmth, disk_free_bytes=80 * 10**9),
        clock=ClockState(trust=2),
        ledger=LedgerPart(first=7),
    )
