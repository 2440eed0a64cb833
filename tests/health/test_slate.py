"""Does a stream that delivers packets show the place? Two of three senses must agree."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.health.decisions import Verdict
from edge_agent.health.signals import DeviceSaid, PictureMeasured, StreamPulse
from edge_agent.health.slate import Opinion, PictureSense
from edge_agent.model import Instant, Role

PIXELS = 1920 * 1080
SLATE = PictureMeasured(Instant(0, 0), "cam-01", 55.8, 16.6, 0.0195, 16.7, 0.984, 0.0, "slate")
BLACK = PictureMeasured(Instant(0, 0), "cam-01", 21.9, 11.4, 0.0094, 1.0, 0.993, 0.0, "black")
SCENE = PictureMeasured(Instant(0, 0), "cam-01", 138.4, 38.9, 0.0677, 9.1, 0.556, 0.4, "scene")
HINT = DeviceSaid(Instant(100_000_000, 100_000_000_000), "dvr", 1, "video_loss", True)


def at(second: float) -> Instant:
    return Instant(int(second * 1e6), int(second * 1e9))


class Seen:
    """A camera's packets and pictures, one after the other."""

    def __init__(self) -> None:
        self.sense = PictureSense()

    def bytes(self, second: float, size: int, role: Role = Role.MAIN) -> Seen:
        self.sense.pulse(StreamPulse(at(second), "cam-01", role, 10.0, 250, 5, 60_000, size), PIXELS)
        return self

    def picture(self, second: float, picture: PictureMeasured, **changes: object) -> Seen:
        self.sense.picture(replace(picture, at=at(second), **changes))  # type: ignore[arg-type]
        return self

    def opinion(self, hint: DeviceSaid | None = None) -> Opinion | None:
        return self.sense.opinion(hint)


def verdict(opinion: Opinion | None) -> tuple[Verdict, int] | None:
    return None if opinion is None else (opinion.cause.verdict, opinion.cause.confidence)


def test_collapsed_packets_alone_are_no_slate() -> None:
    seen = Seen().bytes(10, 9000).bytes(20, 90).bytes(30, 80)
    assert seen.opinion() is None
    assert seen.picture(31, SCENE).bytes(40, 60).opinion() is None


def test_a_stuck_hint_alone_is_no_slate() -> None:
    assert Seen().bytes(110, 9000).picture(111, SCENE).opinion(HINT) is None


def test_a_flat_picture_alone_is_no_slate_until_it_has_repeated_for_long() -> None:
    seen = Seen().bytes(10, 9000).picture(11, SLATE).picture(13, SLATE).picture(15, SLATE)
    assert seen.opinion() is None
    assert verdict(seen.picture(27, SLATE).opinion()) == (Verdict.NO_SIGNAL_SLATE, 70)


def test_two_equal_flat_pictures_and_collapsed_packets_are_a_slate() -> None:
    seen = Seen().bytes(10, 9000).picture(11, SCENE).bytes(20, 200).picture(21, SLATE, change=1.0)
    assert seen.opinion() is None
    opinion = seen.picture(31, SLATE).opinion()
    assert verdict(opinion) == (Verdict.NO_SIGNAL_SLATE, 85)
    assert opinion is not None
    assert opinion.since == at(20)


def test_a_slate_from_the_beginning_needs_no_habit() -> None:
    seen = Seen().picture(1, SLATE, change=None).bytes(10, 200).picture(11, SLATE)
    assert verdict(seen.opinion()) == (Verdict.NO_SIGNAL_SLATE, 85)


def test_a_hint_makes_one_flat_picture_enough() -> None:
    assert verdict(Seen().picture(103, SLATE, change=1.0).opinion(HINT)) == (Verdict.NO_SIGNAL_SLATE, 90)


def test_a_hint_and_collapsed_packets_are_enough_where_keyframes_are_minutes_apart() -> None:
    seen = Seen().bytes(80, 9000).picture(90, SCENE).bytes(105, 200)
    assert seen.opinion(HINT) is None
    assert verdict(seen.bytes(125, 180).opinion(HINT)) == (Verdict.NO_SIGNAL_SLATE, 75)
    assert seen.picture(126, SCENE).opinion(HINT) is None


def test_a_coloured_slate_may_be_encoded_anew_each_time() -> None:
    seen = Seen().bytes(10, 200).picture(11, SLATE).picture(21, SLATE, mean=56.0, change=0.6, print="other")
    assert verdict(seen.opinion()) == (Verdict.NO_SIGNAL_SLATE, 75)


@pytest.mark.parametrize(
    ("change", "value"),
    [("flat", 0.6), ("detail", 0.1), ("mean", 240.0)],
)
def test_what_is_not_flat_and_empty_and_of_middle_brightness_is_no_slate(change: str, value: float) -> None:
    seen = Seen().bytes(10, 200)
    for second in range(11, 100, 10):
        seen.picture(second, SLATE, **{change: value})
    assert seen.opinion() is None


def test_a_grey_wall_whose_noise_never_repeats_is_no_slate() -> None:
    seen = Seen().bytes(10, 200)
    for second in range(11, 300, 10):
        seen.picture(second, SLATE, colour=0.8, change=0.9, print=f"{second}", mean=90 + second % 2 * 0.2)
    assert seen.opinion() is None


def test_a_normal_picture_ends_it_at_once() -> None:
    seen = Seen().bytes(10, 200).picture(11, SLATE).picture(21, SLATE)
    assert seen.opinion() is not None
    assert seen.picture(31, SCENE).opinion() is None


def test_blackness_must_last_a_minute_and_stays_doubtful() -> None:
    seen = Seen().bytes(10, 3000)
    for second in range(11, 70, 10):
        assert seen.picture(second, BLACK).opinion() is None
    assert verdict(seen.picture(72, BLACK).opinion()) == (Verdict.BLACK, 40)
    assert verdict(seen.bytes(73, 100).opinion()) == (Verdict.BLACK, 50)


def test_black_with_a_hint_is_a_slate() -> None:
    seen = Seen().picture(103, BLACK).picture(113, BLACK)
    assert verdict(seen.opinion(HINT)) == (Verdict.NO_SIGNAL_SLATE, 90)


def test_habits_of_day_and_infrared_do_not_mix() -> None:
    """A tenth of the day's bytes is usual at night."""
    seen = Seen()
    for second in range(0, 3600, 600):
        seen.picture(second, SCENE).bytes(second + 1, 20_000)
    seen.picture(4000, SCENE, colour=0.5).bytes(4001, 3000)
    assert verdict(seen.picture(4010, SLATE).picture(4020, SLATE).opinion()) is None


def test_keyframes_alone_have_no_sizes_between() -> None:
    seen = Seen()
    seen.sense.pulse(StreamPulse(at(1), "cam-01", Role.MAIN, 10.0, 5, 5, 60_000, 0), PIXELS)
    assert seen.picture(2, SLATE).picture(12, SLATE).opinion() is None
