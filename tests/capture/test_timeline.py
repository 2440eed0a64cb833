from __future__ import annotations

import itertools
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.capture.order import DecodeOrder
from edge_agent.capture.timeline import Placed, Timeline, WallClock
from edge_agent.model import AccessUnit, ClockTrust, Instant

S = 1_000_000_000
FRAME_NS = 40_000_000
START_NS = 50 * S


def place(stamps_and_arrivals: Iterable[tuple[int, int]], **options: int) -> tuple[Timeline, list[Placed]]:
    timeline = Timeline(**options)
    return timeline, [
        timeline.place(AccessUnit((b"x",), stamp, START_NS + at, False)) for stamp, at in stamps_and_arrivals
    ]


def steady(count: int, *, stamp_step: int = 3600, arrival_step: int = FRAME_NS) -> list[tuple[int, int]]:
    return [(1_000_000 + i * stamp_step, i * arrival_step) for i in range(count)]


def spans_s(placed: list[Placed]) -> tuple[float, float]:
    """Media time and box time from first to last."""
    return (placed[-1].dts - placed[0].dts) / 90_000, (placed[-1].boot_ns - placed[0].boot_ns) / S


def test_a_good_camera_keeps_its_own_rhythm() -> None:
    timeline, placed = place(steady(100))
    assert [p.dts for p in placed] == [3600 * i for i in range(100)]
    assert [p.boot_ns - START_NS for p in placed] == [FRAME_NS * i for i in range(100)]
    assert (timeline.paced, timeline.discontinuities) == (False, 0)


def test_the_least_delayed_packet_wins_over_a_late_start() -> None:
    units = [(3600 * i, FRAME_NS * i + (60_000_000 if i < 10 else 50_000_000)) for i in range(3000)]
    _, placed = place(units)
    late = [p.boot_ns - p.unit.arrival_ns for p in placed]
    assert max(late) <= 0
    assert late[5] == 0  # the first ones are all we know
    assert late[-1] > -15_000_000  # slewed towards those that came 10 ms sooner


def test_a_buffered_group_of_pictures_at_the_start_is_not_the_future() -> None:
    units = [(3600 * i, max(0, FRAME_NS * (i - 75))) for i in range(300)]
    timeline, placed = place(units)
    assert [p.dts for p in placed] == [3600 * i for i in range(300)]
    assert (timeline.paced, timeline.discontinuities) == (False, 0)
    assert abs(placed[-1].boot_ns - placed[-1].unit.arrival_ns) < FRAME_NS


def test_a_stall_of_the_network_is_no_gap_in_the_video() -> None:
    units = [(3600 * i, max(FRAME_NS * i, 8 * S) if 100 <= i < 200 else FRAME_NS * i) for i in range(400)]
    timeline, placed = place(units)
    assert timeline.discontinuities == 0
    assert [p.dts for p in placed] == [3600 * i for i in range(400)]


def test_a_reset_to_zero_is_placed_by_its_arrival() -> None:
    units = steady(100) + [(i * 3600, (100 + i) * FRAME_NS) for i in range(100)]
    timeline, placed = place(units)
    assert [i for i, p in enumerate(placed) if p.discontinuity] == [100]
    media_s, box_s = spans_s(placed)
    assert abs(media_s - 199 * 0.04) < 0.1
    assert abs(box_s - 199 * 0.04) < 0.1
    assert not timeline.paced


def test_jumps_forward_and_back_keep_the_length() -> None:
    units = [
        (3600 * i + (5 * 3600 * 90_000 if 100 <= i < 200 else 0) - (180_000 if i >= 200 else 0), FRAME_NS * i)
        for i in range(400)
    ]
    timeline, placed = place(units)
    assert timeline.discontinuities == 2
    media_s, box_s = spans_s(placed)
    assert abs(media_s - 399 * 0.04) < 0.2
    assert abs(box_s - 399 * 0.04) < 0.2


def test_constant_stamps_are_paced_by_arrival() -> None:
    timeline, placed = place([(77, FRAME_NS * i) for i in range(500)])
    assert timeline.paced
    media_s, box_s = spans_s(placed)
    assert abs(media_s - 499 * 0.04) < 0.5
    assert abs(box_s - 499 * 0.04) < 0.1


def test_25_stamped_and_21_sent_plays_at_true_speed() -> None:
    timeline, placed = place(steady(21 * 60, arrival_step=S // 21))
    assert timeline.paced
    media_s, box_s = spans_s(placed)
    assert abs(media_s - 60) < 1
    assert abs(box_s - 60) < 0.2


def test_25_stamped_and_30_sent_plays_at_true_speed() -> None:
    timeline, placed = place(steady(30 * 60, arrival_step=S // 30))
    assert timeline.paced
    assert abs(spans_s(placed)[0] - 60) < 3
    assert abs(spans_s(placed)[1] - 60) < 0.2


def test_a_camera_clock_50_ppm_off_is_followed_by_slewing() -> None:
    units = [(i * 3600, i * FRAME_NS * 100_005 // 100_000) for i in range(25 * 600)]
    timeline, placed = place(units)
    assert (timeline.paced, timeline.discontinuities) == (False, 0)
    assert abs(placed[-1].boot_ns - placed[-1].unit.arrival_ns) < 20_000_000


def test_b_pictures_are_decoded_before_they_are_shown() -> None:
    order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8]
    units = [(3600 * shown, FRAME_NS * i) for i, shown in enumerate(order)]
    _, placed = place(units, reorder=1)
    assert [p.dts for p in placed] == [3600 * i for i in range(10)]
    shown_at = [p.dts + p.offset for p in placed]
    assert [t - shown_at[0] for t in shown_at] == [3600 * n for n in order]
    assert all(p.offset >= 0 for p in placed)


def test_reordering_that_no_sps_announced_is_learnt() -> None:
    order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11, 15, 13, 14]
    _, placed = place([(3600 * shown, FRAME_NS * i) for i, shown in enumerate(order)])
    dts = [p.dts for p in placed]
    assert dts == sorted(set(dts))
    assert all(p.offset >= 0 for p in placed[7:])
    assert [p.dts + p.offset for p in placed] == [3600 * n for n in order]


def test_nothing_is_placed_before_what_was_recorded_before() -> None:
    _, placed = place(steady(10), floor_ns=START_NS + 10 * FRAME_NS)
    assert placed[0].boot_ns > START_NS + 10 * FRAME_NS


def test_a_clock_step_moves_no_record_of_the_epoch() -> None:
    before = Instant(1_000_000, 5 * S, ClockTrust.NONE)
    wall = WallClock(before)
    after = Instant(1_790_000_000_000_000, 6 * S, ClockTrust.NTP)
    assert wall.at(6 * S) == Instant(2_000_000, 6 * S, ClockTrust.NONE)
    assert wall.stepped(after)
    assert not wall.stepped(Instant(2_000_100, 6 * S, ClockTrust.NONE))


STEPS = st.lists(
    st.tuples(
        st.one_of(st.integers(-4000, 8000), st.integers(-(1 << 31), 1 << 31), st.just(0), st.just(3600)),
        st.one_of(st.integers(0, 80_000_000), st.integers(0, 20 * S)),
    ),
    max_size=200,
)


@settings(max_examples=300)
@given(STEPS, st.integers(0, 4))
def test_whatever_the_stamps_places_only_grow_and_are_never_the_future(
    steps: list[tuple[int, int]], reorder: int
) -> None:
    stamp, at, units = 0, 0, []
    for step, pause in steps:
        stamp, at = stamp + step, at + pause
        units.append((stamp, at))
    _, placed = place(units, reorder=reorder)
    for earlier, later in itertools.pairwise(placed):
        assert later.dts > earlier.dts
        assert later.boot_ns > earlier.boot_ns
        assert abs(later.offset) < 1 << 31
        assert later.boot_ns <= max(later.unit.arrival_ns, earlier.boot_ns + 1)


@settings(max_examples=100)
@given(STEPS)
def test_media_time_follows_the_box_after_any_start(steps: list[tuple[int, int]]) -> None:
    """However wild the first stamps are, a minute of good ones lasts a minute."""
    stamp, at, units = 0, 0, []
    for step, pause in steps:
        stamp, at = stamp + step, at + pause
        units.append((stamp, at))
    units += [(stamp + 3600 * i, at + FRAME_NS * i) for i in range(1, 2000)]
    _, placed = place(units)
    tail = placed[-1500:]
    media_s, box_s = spans_s(tail)
    assert abs(media_s - 1499 * 0.04) < 1
    assert abs(box_s - 1499 * 0.04) < 1


@given(st.permutations(range(5)), st.integers(0, 4))
def test_decode_times_never_pass_the_display_time_once_learnt(order: list[int], depth: int) -> None:
    decoding = DecodeOrder(4, 3600)
    decoding.start(0)
    for turn in range(4):
        for shown in order:
            stamp = (1 + turn * 5 + shown) * 3600
            placed = decoding.place(stamp)
            assert placed is not None
            assert placed <= stamp
