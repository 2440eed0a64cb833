from __future__ import annotations

from edge_agent.cli.ring_coverage import Day, picture
from edge_agent.ring.reader import Span

HOUR_US = 3_600_000_000


def day(*spans: tuple[float, float]) -> Day:
    found = tuple(Span(int(a * HOUR_US), int(b * HOUR_US), bytes(16)) for a, b in spans)
    return Day("cam-01", "2026-11-22", 0, 24 * HOUR_US, found)


def test_a_whole_day_is_all_full_blocks_and_an_empty_one_a_bare_line() -> None:
    assert picture(day((0, 24)), 48) == "█" * 48
    assert picture(day(), 48) == "_" * 48


def test_a_night_switched_off_is_a_hole_where_the_night_is() -> None:
    drawn = picture(day((0, 1), (6, 24)), 24)
    assert drawn == "█" + "_" * 5 + "█" * 18


def test_a_second_shows_and_a_missing_second_shows_too() -> None:
    assert picture(day((3, 3 + 1 / 3600)), 24)[3] == "▁"
    assert picture(day((3, 4 - 10 / 3600)), 24)[3] == "▇"
    assert day((3, 3.5)).seconds == 1800
