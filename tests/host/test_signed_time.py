"""The command centre's signed time: what it confirms, what it contradicts, and what it never does."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge_agent.clock import CONFIRMED_WITHIN_S, CONTRADICTED_BEYOND_S, SIGNED_TIME_HOLDS_S, SignedTime
from edge_agent.host.timesync import ClockWatch
from edge_agent.model import ClockTrust, Instant
from edge_agent.ring.plan import DAY_US, AgeGuard, Announce, Disk, RingPolicy, Segment, evict

TRUE_S = 1_790_000_000.0  # when the box was started, by a clock that is right
YEAR_S = 365.25 * 86_400
IN_1970 = -TRUE_S
IN_2040 = 13.3 * YEAR_S
POLICY = RingPolicy(max_bytes=1 << 40, min_free_bytes=0, max_age_days=7)


class Machine:
    """A box's clocks; `ahead_s` is what is wrong with its wall clock."""

    def __init__(self, *, ntp: bool = False) -> None:
        self.boot_s, self.ahead_s, self.ntp = 0.0, 0.0, ntp
        self.watch = ClockWatch(lambda: self.ntp, lambda: self.boot_s, self.wall)

    def wall(self) -> float:
        return TRUE_S + self.boot_s + self.ahead_s

    def note(self, took_s: float = 3.0) -> None:
        """A leaf is signed, sent, cosigned and heard of."""
        after_s, self.boot_s = self.boot_s, self.boot_s + took_s
        self.watch.told(SignedTime(int(TRUE_S + self.boot_s - took_s / 2), after_s, self.boot_s))

    def now(self) -> Instant:
        return Instant(round(self.wall() * 1e6), round(self.boot_s * 1e9), self.watch())


@given(
    true_s=st.floats(1e9, 3e9), wall_error_s=st.floats(-1e5, 1e5), after_s=st.floats(0, 1e6),
    sign_s=st.floats(0, 500), return_s=st.floats(0, 500), later_s=st.floats(0, 1e6),
)  # fmt: skip
def test_a_confirmed_clock_is_right_and_a_contradicted_one_is_wrong(
    true_s: float, wall_error_s: float, after_s: float, sign_s: float, return_s: float, later_s: float
) -> None:
    """`true_s` is the time at boot. Whenever the signature was made, neither opinion is ever false."""
    time_s, before_s = int(true_s + after_s + sign_s), after_s + sign_s + return_s
    boot_s = before_s + later_s
    wall_s = true_s + boot_s + wall_error_s
    assume(abs(abs(wall_error_s) - CONFIRMED_WITHIN_S) > 1e-3)
    signed = SignedTime(time_s, after_s, before_s)
    if signed.confirms(wall_s, boot_s):
        assert abs(wall_error_s) <= CONFIRMED_WITHIN_S
    if signed.contradicts(wall_s, boot_s):
        assert abs(wall_error_s) > CONTRADICTED_BEYOND_S
    assert not SignedTime(time_s, None, before_s).confirms(wall_s, boot_s)


def test_a_box_without_ntp_is_confirmed_by_the_command_centre() -> None:
    machine = Machine()
    assert machine.watch() is ClockTrust.SAVED
    machine.note()
    assert machine.watch() is ClockTrust.WITNESS


@pytest.mark.parametrize("ahead_s", [-3 * 3600, -150, 150, 3 * 3600])
def test_a_clock_that_is_off_is_not_confirmed(ahead_s: float) -> None:
    machine = Machine()
    machine.ahead_s = ahead_s
    machine.note()
    assert machine.watch() is ClockTrust.SAVED


def test_a_step_takes_the_trust_along_at_once_and_its_way_back_returns_it() -> None:
    machine = Machine()
    machine.note()
    machine.ahead_s = 600
    assert machine.watch() is ClockTrust.SAVED
    machine.ahead_s = 1
    assert machine.watch() is ClockTrust.WITNESS


def test_a_time_server_in_the_shop_does_not_outvote_the_command_centre() -> None:
    machine = Machine(ntp=True)
    machine.note()
    machine.ahead_s = IN_2040
    assert machine.watch() is ClockTrust.SAVED
    machine.ahead_s = 600  # minutes apart: who knows who is right; the kernel says so
    assert machine.watch() is ClockTrust.NTP


def test_an_old_note_shown_again_confirms_nothing_but_tells_the_earliest_time() -> None:
    machine = Machine(ntp=True)
    machine.watch.told(SignedTime(int(TRUE_S) - 86_400, None, machine.boot_s))
    assert machine.watch() is ClockTrust.NTP
    machine.ahead_s = -2 * 86_400
    assert machine.watch() is ClockTrust.SAVED


def test_a_vague_note_does_not_replace_a_precise_one() -> None:
    machine = Machine()
    machine.note()
    machine.note(took_s=400)
    assert machine.watch() is ClockTrust.WITNESS


def test_a_week_without_a_note_ends_the_confirmation() -> None:
    machine = Machine()
    machine.note()
    machine.boot_s += SIGNED_TIME_HOLDS_S
    assert machine.watch() is ClockTrust.SAVED


@pytest.mark.parametrize("ntp", [False, True])
@pytest.mark.parametrize("ahead_s", [IN_1970, IN_2040])
def test_an_hour_in_a_wrong_year_costs_not_one_segment(ahead_s: float, ntp: bool) -> None:
    """A ring of six days under a limit of seven: before, in and for a day after the hour, nothing goes."""
    machine = Machine(ntp=ntp)
    machine.note()
    segments = [_segment(number, machine.wall(), 6 - number / 200) for number in range(1, 1000)]
    guard = AgeGuard().observe(machine.now(), segments[:-1])
    machine.ahead_s = ahead_s
    for _ in range(720):
        machine.boot_s += 5
        if machine.boot_s % 300 < 5:
            machine.note()
        guard = guard.observe(machine.now())
        assert _aged(segments, machine, guard) == []
    machine.ahead_s = 0.0
    for _ in range(60):
        machine.boot_s += 60
        guard = guard.observe(machine.now())
        assert _aged(segments, machine, guard) == []


def test_a_box_that_is_off_every_night_obeys_its_age_limit_once_confirmed() -> None:
    """It never runs for a day. Without the command centre its nights look like steps of the clock."""
    machine = Machine(ntp=True)
    footage = [_segment(number, machine.wall() - 10 * 3600, 9 - number / 144) for number in range(1, 1290)]
    guard = AgeGuard().observe(machine.now(), footage[:-1])
    assert _aged(footage, machine, guard) == []
    machine.note()
    assert _aged(footage, machine, guard.observe(machine.now())) == [1, 2]


def test_a_leap_of_years_waits_its_day_whoever_confirms_it() -> None:
    """The whole city may have followed one wrong time server, the command centre included."""
    machine = Machine(ntp=True)
    footage = [_segment(number, machine.wall() - IN_2040, 0.5 - number / 144) for number in range(1, 70)]
    machine.note()
    guard = AgeGuard().observe(machine.now(), footage[:-1])
    assert machine.watch() is ClockTrust.WITNESS
    assert _aged(footage, machine, guard) == []
    machine.boot_s += 86_500
    assert _aged(footage, machine, guard.observe(machine.now())) == [1, 2]


def _segment(number: int, wall_s: float, days_ago: float) -> Segment:
    """Ten minutes, or what fits between it and the next."""
    from_us = round(wall_s * 1e6 - days_ago * DAY_US)
    return Segment(number, 1 << 20, from_us + 430_000_000, trusted=True, from_us=from_us)


def _aged(segments: list[Segment], machine: Machine, guard: AgeGuard) -> list[int]:
    steps = evict(segments, Disk(1 << 50), POLICY, guard, machine.now())
    return [step.segment.number for step in steps if isinstance(step, Announce)]
