from __future__ import annotations

import pytest

from edge_agent.agent.live_choice import Choice, choose
from edge_agent.capture.ports import StreamStats
from edge_agent.model import Instant, Role
from edge_agent.tap import Tap

NOW = Instant(1_790_000_000_000_000, 600_000_000_000)


def playing(*, gop_s: float = 0.0, keyframe_age_s: float = 1.0) -> StreamStats:
    at = Instant(NOW.wall_us, NOW.boot_ns - int(keyframe_age_s * 1e9))
    return StreamStats("playing", gop_s=gop_s, last_keyframe=at)


@pytest.mark.parametrize(
    "stats",
    [None, StreamStats("waiting"), playing(gop_s=2), playing(gop_s=4.9, keyframe_age_s=4.9)],
    ids=["not opened", "no keyframe yet", "short groups", "just short enough"],
)
def test_a_keyframe_that_comes_soon_is_waited_for(stats: StreamStats | None) -> None:
    assert choose(Role.MAIN, held=False, stats=stats, has_sub=True, now=NOW) == Choice(Role.MAIN)


@pytest.mark.parametrize(
    "stats", [playing(gop_s=240), playing(keyframe_age_s=30)], ids=["known", "first group"]
)
def test_a_group_of_minutes_that_is_not_kept_leads_to_the_sub_stream(stats: StreamStats) -> None:
    choice = choose(Role.MAIN, held=False, stats=stats, has_sub=True, now=NOW)

    assert choice.role is Role.SUB
    assert "no keyframe for" in choice.note


def test_a_group_of_minutes_that_is_kept_is_shown() -> None:
    stats = playing(gop_s=240, keyframe_age_s=100)

    assert choose(Role.MAIN, held=True, stats=stats, has_sub=True, now=NOW) == Choice(Role.MAIN)


def test_without_a_sub_stream_the_viewer_is_told_to_wait() -> None:
    choice = choose(Role.MAIN, held=False, stats=playing(gop_s=240), has_sub=False, now=NOW)

    assert choice.role is Role.MAIN
    assert "snapshots" in choice.note


def test_who_asks_for_the_sub_stream_gets_it() -> None:
    assert choose(Role.SUB, held=False, stats=playing(gop_s=240), has_sub=True, now=NOW) == Choice(Role.SUB)


def test_a_tap_tells_whether_it_holds_the_running_group() -> None:
    tap: Tap[str] = Tap(limit=10)
    assert not tap.holds_group

    tap.begin_epoch("key", "init")
    tap.publish("first", 6, keyframe=True)
    assert tap.holds_group

    tap.publish("second", 6, keyframe=False)
    assert not tap.holds_group
