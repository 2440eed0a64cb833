"""Duty over days: weekdays, holidays, midnight, and the nights on which clocks are moved."""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.health import duty
from edge_agent.health.duty import ALWAYS, MINUTE_US, Hours, is_due, stretches

IST, LONDON = "Asia/Kolkata", "Europe/London"
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)  # Europe/London: 01:00 -> 02:00, 02:00 -> 01:00


def us(text: str, zone: str = IST, fold: int = 0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()) * 1_000_000


def day(zone: str, when: date) -> tuple[int, int]:
    return us(f"{when} 00:00", zone), us(f"{when + timedelta(days=1)} 00:00", zone)


def minutes(hours: Hours, zone: str, when: date) -> int:
    return duty.length_us(stretches(hours, zone, *day(zone, when))) // MINUTE_US


def test_a_day_without_clock_change_has_1440_minutes_and_the_others_what_they_have() -> None:
    assert minutes(Hours(), IST, SPRING) == 1440
    assert minutes(Hours(), LONDON, SPRING) == 1380
    assert minutes(Hours(), LONDON, AUTUMN) == 1500


def test_an_hour_that_comes_twice_is_due_twice_and_one_that_is_skipped_is_not() -> None:
    early = Hours(("00:30-01:30",))
    assert minutes(early, LONDON, AUTUMN) == 120
    assert minutes(early, LONDON, SPRING) == 30
    assert minutes(Hours(("01:10-01:50",)), LONDON, SPRING) == 0
    assert is_due(Hours(("01:00-02:00",)), LONDON, us("2026-10-25 01:40", LONDON, fold=1))


def test_a_span_past_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    friday = Hours((), weekdays={4: ("22:00-02:00",)})
    assert minutes(friday, IST, date(2026, 11, 20)) == 120
    assert minutes(friday, IST, date(2026, 11, 21)) == 120
    assert minutes(friday, IST, date(2026, 11, 22)) == 0


def test_a_holiday_wins_over_the_weekday_and_closed_means_no_minute() -> None:
    hours = Hours(("08:00-20:00",), {4: ("08:00-12:00",)}, {date(2026, 10, 2): (), date(2026, 10, 9): ALWAYS})
    assert minutes(hours, IST, date(2026, 10, 1)) == 720
    assert minutes(hours, IST, date(2026, 10, 2)) == 0
    assert minutes(hours, IST, date(2026, 10, 9)) == 1440
    assert minutes(hours, IST, date(2026, 10, 16)) == 240


def test_the_window_is_the_day_that_ends_with_the_night() -> None:
    evening = date(2026, 11, 21)
    assert duty.night(IST, evening) == (us("2026-11-21 20:00"), us("2026-11-22 06:00"))
    assert duty.window(IST, evening) == (us("2026-11-21 06:00"), us("2026-11-22 06:00"))
    start, end = duty.window(LONDON, AUTUMN - timedelta(days=1))
    assert (end - start) // MINUTE_US == 1500


clocks = st.tuples(st.integers(0, 23), st.sampled_from([0, 15, 30, 59])).map(lambda t: f"{t[0]:02}:{t[1]:02}")
spans = st.builds(lambda a, b: f"{a}-{b}", clocks, clocks | st.just("24:00"))
hours = st.builds(
    Hours,
    st.lists(spans, max_size=3).map(tuple),
    st.dictionaries(st.integers(0, 6), st.lists(spans, max_size=2).map(tuple), max_size=3),
    st.dictionaries(
        st.dates(date(2026, 3, 25), date(2026, 4, 2)), st.lists(spans, max_size=2).map(tuple), max_size=2
    ),
)
zones = st.sampled_from([IST, LONDON, "America/New_York", "Australia/Lord_Howe"])  # the last moves by 30 min
edges = st.lists(st.integers(0, 12 * 1440), min_size=2, max_size=5, unique=True).map(sorted)


@given(hours, zones, edges)
def test_what_is_due_is_apart_ordered_whole_minutes_and_sums_up(
    hours: Hours, zone: str, at: list[int]
) -> None:
    base = us("2026-03-24 00:00", "UTC")
    moments = [base + minute * MINUTE_US for minute in at]
    whole = stretches(hours, zone, moments[0], moments[-1])
    assert all(start < end for start, end in whole)
    assert all(one[1] < two[0] for one, two in itertools.pairwise(whole))
    assert all(edge % MINUTE_US == 0 for stretch in whole for edge in stretch)
    pieces = [stretches(hours, zone, a, b) for a, b in itertools.pairwise(moments)]
    assert sum(duty.length_us(p) for p in pieces) == duty.length_us(whole)
    for start, end in whole:
        assert is_due(hours, zone, start)
        assert is_due(hours, zone, end - 1)
