"""The month's data: counted, remembered, and warned of once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.agent.data_use import DataUse, add, decode, encode, month_of, warning


def test_each_threshold_is_told_once_a_month() -> None:
    use, told = DataUse("2026-11"), list[int]()
    for _ in range(30):
        use = add(use, "2026-11", 50)
        percent = warning(use, 1000)
        if percent is not None:
            told.append(percent)
            use = DataUse(use.month, use.used, percent)
    assert told == [80, 100]
    assert use.used == 1500


def test_a_jump_over_both_thresholds_is_one_word() -> None:
    assert warning(DataUse("2026-11", 5000), 1000) == 100
    assert warning(DataUse("2026-11", 5000, 100), 1000) is None


def test_a_new_month_begins_at_nothing_and_a_clock_set_back_begins_none() -> None:
    use = DataUse("2026-11", 900, 80)

    assert add(use, "2026-12", 7) == DataUse("2026-12", 7)
    assert add(use, "1970-01", 7) == DataUse("2026-11", 907, 80)


def test_the_month_is_the_sites() -> None:
    half_to_midnight = 1_796_061_600_000_000  # 2026-11-30 18:00 UTC is 23:30 in India
    assert month_of(half_to_midnight, "Asia/Kolkata") == "2026-11"
    assert month_of(half_to_midnight + 3600 * 1_000_000, "Asia/Kolkata") == "2026-12"


@given(st.text(max_size=10), st.integers(0, 2**60), st.integers(0, 100))
def test_what_was_saved_is_read_back(month: str, used: int, told: int) -> None:
    assert decode(encode(DataUse(month, used, told))) == DataUse(month, used, told)


@given(st.binary(max_size=100))
def test_any_file_is_read_or_counts_anew(content: bytes) -> None:
    read = decode(content)
    assert read is None or read.used >= 0
