"""The pure plan under a state machine: steps cut anywhere, invariants checked after each."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edge_agent.model import ClockTrust, Instant
from edge_agent.ring.plan import (
    DAY_US,
    AgeGuard,
    Announce,
    Condemned,
    Disk,
    RingPolicy,
    Segment,
    Unlink,
    evict,
)

MIB = 1 << 20
POLICY = RingPolicy(
    max_bytes=32 * MIB, min_free_bytes=8 * MIB, max_age_days=7, await_leaf=True, leaf_wait_s=10
)
NOW_US = 1_790_000_000_000_000
NS = 1_000_000_000


def at(days: float = 0, trust: ClockTrust = ClockTrust.NTP, boot_s: float = 1e6) -> Instant:
    return Instant(NOW_US + round(days * DAY_US), round(boot_s * NS), trust)


class RingMachine(RuleBasedStateMachine):
    """A ring that grows, whose owner answers late, not at all, or after a crash; whose clock jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.disk_bytes = 64 * MIB
        self.foreign = 0
        self.segments = [Segment(1, 64)]
        self.condemned: dict[int, Condemned] = {}
        self.announced: set[int] = set()
        self.guard = AgeGuard()
        self.boot_ns = 10**15
        self.wall_us = NOW_US
        self.by_age = 0
        self.aged_allowed = True

    def now(self) -> Instant:
        return Instant(self.wall_us, self.boot_ns, ClockTrust.NTP)

    @rule(size=st.integers(1, 2 * MIB))
    def grow(self, size: int) -> None:
        last = self.segments.pop()
        if last.size + size > POLICY.segment_limit:
            self.segments.append(Segment(last.number, last.size, self.wall_us, trusted=True))
            last = Segment(last.number + 1, 64)
        self.segments.append(Segment(last.number, last.size + size))

    @rule(seconds=st.integers(1, 200_000))
    def wait(self, seconds: int) -> None:
        self.boot_ns += seconds * NS
        self.wall_us += seconds * 1_000_000

    @rule(days=st.integers(-20_000, 20_000).filter(bool))
    def step_clock(self, days: int) -> None:
        self.wall_us += days * DAY_US
        self.guard = self.guard.observe(self.now())

    @rule(size=st.integers(0, 60 * MIB))
    def somebody_else_fills_the_disk(self, size: int) -> None:
        self.foreign = size

    @rule(data=st.data())
    def leaf_is_durable(self, data: st.DataObject) -> None:
        if self.condemned:
            number = data.draw(st.sampled_from(sorted(self.condemned)))
            mark = self.condemned[number]
            self.condemned[number] = Condemned(mark.since_ns, mark.reason, allowed=True)

    @rule(cut=st.integers(0, 100))
    def evict_and_perhaps_be_cut(self, cut: int) -> None:
        self.guard = self.guard.observe(self.now())
        for step in self.steps()[:cut]:
            if isinstance(step, Announce):
                assert step.segment.number not in self.announced
                self.announced.add(step.segment.number)
                self.condemned[step.segment.number] = Condemned(self.boot_ns, step.reason)
                if step.reason.by_age:
                    assert self.boot_ns >= self.guard.suspended_until_ns
                    self.guard = self.guard.spend(self.now())
            else:
                mark = self.condemned.pop(step.segment.number)
                assert mark.allowed or self.boot_ns - mark.since_ns >= POLICY.leaf_wait_s * NS
                assert step.acknowledged == mark.allowed
                self.segments.remove(step.segment)

    @rule()
    def crash(self) -> None:
        """The owner's memory is gone: what was announced may be announced again."""
        self.condemned.clear()
        self.announced.clear()

    def steps(self) -> list:
        free = max(0, self.disk_bytes - self.foreign - sum(s.size for s in self.segments))
        return evict(self.segments, Disk(free, self.condemned), POLICY, self.guard, self.now())

    @invariant()
    def the_open_segment_stands(self) -> None:
        assert self.segments
        assert all(s.segment != self.segments[-1] for s in self.steps())

    @invariant()
    def victims_are_the_oldest_that_stand(self) -> None:
        standing = [s.number for s in self.segments[:-1] if s.number not in self.condemned]
        fresh = [s.segment.number for s in self.steps() if isinstance(s, Announce)]
        assert fresh == standing[: len(fresh)]

    @invariant()
    def after_all_steps_the_ring_is_within_its_policy(self) -> None:
        gone = set(self.condemned) | {s.segment.number for s in self.steps()}
        held = sum(s.size for s in self.segments if s.number not in gone)
        assert held + POLICY.segment_limit <= POLICY.max_bytes or len(self.segments) - len(gone) <= 1


TestRing = RingMachine.TestCase
TestRing.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def _aged(*days: float | None, trusted: bool = True) -> list[Segment]:
    closed = [
        Segment(i, MIB, None if d is None else NOW_US - round(d * DAY_US), trusted and d is not None)
        for i, d in enumerate(days, 1)
    ]
    return [*closed, Segment(len(days) + 1, 64)]


def _announced(segments: list[Segment], now: Instant, guard: AgeGuard | None = None) -> list[int]:
    guard = guard or AgeGuard().observe(now)
    steps = evict(segments, Disk(1 << 40), POLICY, guard, now)
    return [s.segment.number for s in steps if isinstance(s, Announce)]


def test_age_takes_the_provably_old_and_spares_the_young():
    assert _announced(_aged(9, 8, 6, 1), at()) == [1, 2]


def test_an_untrusted_segment_is_old_only_before_one_that_is_provably_old():
    assert _announced(_aged(None, 8, 1), at()) == [1, 2]
    assert _announced(_aged(8, None, 1), at()) == [1]
    assert _announced(_aged(None, None), at()) == []


def test_a_segment_dated_1970_between_young_ones_condemns_nobody():
    assert _announced(_aged(3, 20_000, 1), at()) == []


@given(trust=st.sampled_from([ClockTrust.NONE, ClockTrust.SAVED]))
def test_an_untrusted_clock_deletes_nothing(trust):
    assert _announced(_aged(900, 800), at(trust=trust)) == []


def test_a_step_suspends_age_eviction_for_a_day():
    before, after = at(), at(days=4000, boot_s=1e6 + 5)
    guard = AgeGuard().observe(before).observe(after)
    assert _announced(_aged(0, 0), after, guard) == []
    day_later = at(days=4001, boot_s=1e6 + 5 + 86_401)
    assert _announced(_aged(0, 0), day_later, guard.observe(day_later)) == [1, 2]


def test_a_box_that_wakes_up_in_another_year_waits_a_day_too():
    guard = AgeGuard().observe(at(days=4000), [_span(1, 0.1)])
    assert _announced(_aged(0, 0), at(days=4000), guard) == []


def _span(number: int, from_h: float, hours: float = 0.1) -> Segment:
    """A segment that begins so many hours before `NOW_US`."""
    from_us = NOW_US - round(from_h * 3600e6)
    return Segment(number, MIB, from_us + round(hours * 3600e6), trusted=True, from_us=from_us)


def test_a_restart_in_a_wrong_year_does_not_make_it_the_right_one():
    """Stepped to 2040, recorded ten minutes there, restarted: the newest footage agrees with the clock."""
    years_h = 14 * 365 * 24
    stepped = [_span(1, 0.5), _span(2, 0.3), _span(3, -years_h), _span(4, -years_h - 0.2)]
    now = at(days=14 * 365 + 0.3 / 24)
    assert AgeGuard().observe(now, stepped).suspended_until_ns > now.boot_ns
    inside = [_span(1, 0.5), _span(2, 0.3, hours=years_h)]
    assert AgeGuard().observe(at(days=14 * 365), inside).suspended_until_ns > now.boot_ns


def test_a_day_of_steady_footage_says_that_the_clock_is_right():
    steady = [_span(1, 2000), *(_span(n, 30 - n / 10) for n in range(2, 300))]
    assert AgeGuard().observe(at(), steady).suspended_until_ns == 0


def test_nothing_goes_by_age_before_the_inherited_footage_is_known():
    guard = AgeGuard().observe(at(), known=False)
    assert _announced(_aged(9, 8), at(), guard) == []


def test_a_daylight_sized_correction_is_no_step():
    guard = AgeGuard().observe(at()).observe(Instant(NOW_US + 59 * 60 * 1_000_000, 10**15))
    assert guard.suspended_until_ns == 0


def test_a_small_ring_has_small_segments():
    assert RingPolicy(max_bytes=64 * MIB).segment_limit == 4 * MIB
    assert RingPolicy(max_bytes=1 << 40).segment_limit == 1 << 30


def test_an_unlink_follows_its_announcement_when_nobody_answers():
    mark = Condemned(0, "bytes")
    steps = evict(_aged(1), Disk(1 << 40, {1: mark}), POLICY, AgeGuard(), at())
    assert steps == [Unlink(_aged(1)[0], acknowledged=False)]
