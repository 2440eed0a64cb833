"""Retention decided, not done: which segments go, and why. Pure; docs/design/ring.md, "Eviction".

Everything works on the order of segment numbers, oldest first, and never touches the newest (open) one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from edge_agent.model import ClockTrust, Instant

US = 1_000_000
DAY_US = 86_400 * US
STEP_US = 3600 * US
ABSENCE_US = 2 * DAY_US  # a leap up to this is a night or a closed Sunday, if the command centre confirms it
SUSPEND_NS = 24 * 3600 * 1_000_000_000
MINUTE_NS = 60 * 1_000_000_000
AGE_EVICTIONS_A_MINUTE = 2
SEGMENTS_IN_A_RING = 16  # a small ring gets small segments, so that eviction takes little at a time


class Reason(StrEnum):
    BYTES = "bytes"
    FREE_SPACE = "free_space"
    AGE = "age"

    @property
    def by_age(self) -> bool:
        return self is Reason.AGE


@dataclass(frozen=True, slots=True)
class RingPolicy:
    """One retention class's bounds. A ring without a byte bound does not exist."""

    max_bytes: int
    min_free_bytes: int = 1 << 30
    max_age_days: int | None = None
    segment_bytes: int = 1 << 30
    segment_s: float = 600.0
    sync_s: float = 0.6
    credit_bytes: int = 32 << 20
    leaf_wait_s: float = 10.0  # how long an eviction waits for its ledger leaf
    await_leaf: bool = False  # True once somebody answers EvictionDue

    @property
    def segment_limit(self) -> int:
        """Bytes at which a segment closes."""
        return max(1 << 20, min(self.segment_bytes, 1 << 30, self.max_bytes // SEGMENTS_IN_A_RING))


@dataclass(frozen=True, slots=True)
class Segment:
    """What retention knows of one: when its records begin and end; `trusted` says all by NTP or better."""

    number: int
    size: int
    to_us: int | None = None
    trusted: bool = False
    from_us: int | None = None


@dataclass(frozen=True, slots=True)
class AgeGuard:
    """Whether the wall clock may delete anything: a clock step must never erase a ring (I7).

    `offset_us` is wall minus boottime as last seen; it moves only when the clock is stepped. `checked` says
    that the clock was compared with what earlier runs left: a box may wake up in another year, or be
    restarted while it lives in one. `leap_us` is the widest leap that suspends us now.
    """

    offset_us: int | None = None
    checked: bool = False
    suspended_until_ns: int = 0
    leap_us: int = 0
    recent_ns: tuple[int, ...] = ()

    def observe(self, now: Instant, inherited: Sequence[Segment] = (), *, known: bool = True) -> AgeGuard:
        """Look at the clocks. `inherited`, of earlier runs, is looked at once, when all of it is `known`."""
        offset_us = now.wall_us - now.boot_ns // 1000
        leap_us = 0 if self.offset_us is None else abs(offset_us - self.offset_us)
        if known and not self.checked:
            leap_us = max(leap_us, _widest_leap(inherited, now))
        until_ns, widest_us = self.suspended_until_ns, self.leap_us
        if now.boot_ns >= until_ns:
            widest_us = 0
        if leap_us > STEP_US:
            until_ns, widest_us = now.boot_ns + SUSPEND_NS, max(widest_us, leap_us)
        recent = tuple(t for t in self.recent_ns if now.boot_ns - t < MINUTE_NS)
        return AgeGuard(offset_us, self.checked or known, until_ns, widest_us, recent)

    def allowance(self, now: Instant) -> int:
        """How many segments may be evicted by age at this moment."""
        if not self.checked or now.trust < ClockTrust.NTP or self._suspended(now):
            return 0
        return max(0, AGE_EVICTIONS_A_MINUTE - len(self.recent_ns))

    def _suspended(self, now: Instant) -> bool:
        """A box that is switched off every night would never run for a day: the command centre's signed time
        tells its nights from steps. It too may be wrong, so years are never believed at once."""
        absent = now.trust is ClockTrust.WITNESS and self.leap_us <= ABSENCE_US
        return now.boot_ns < self.suspended_until_ns and not absent

    def spend(self, now: Instant) -> AgeGuard:
        return replace(self, recent_ns=(*self.recent_ns, now.boot_ns))


@dataclass(frozen=True, slots=True)
class Condemned:
    """A segment whose eviction was announced at `since_ns` (boottime) and perhaps allowed."""

    since_ns: int
    reason: Reason
    allowed: bool = False


@dataclass(frozen=True, slots=True)
class Announce:
    """Step 1 of an eviction: tell the owner, so that the ledger's leaf is durable before the unlink."""

    segment: Segment
    reason: Reason


@dataclass(frozen=True, slots=True)
class Unlink:
    """Step 2: remove the index, then the segment, then sync the directory."""

    segment: Segment
    acknowledged: bool


Step = Announce | Unlink


@dataclass(frozen=True, slots=True)
class Disk:
    free_bytes: int
    condemned: Mapping[int, Condemned] = field(default_factory=dict)


def evict(
    segments: Sequence[Segment], disk: Disk, policy: RingPolicy, guard: AgeGuard, now: Instant
) -> list[Step]:
    """The steps that bring the ring within `policy` with room for one more segment.

    `segments` oldest first, the open one last. Announced segments count as gone, so none is announced
    twice; an announced one is unlinked when allowed, or when its leaf has kept us waiting too long (I6).
    """
    closed = segments[:-1]
    steps: list[Step] = []
    for segment in closed:
        mark = disk.condemned.get(segment.number)
        if mark is not None and (mark.allowed or _overdue(mark, policy, now)):
            steps.append(Unlink(segment, mark.allowed))
    standing = [s for s in closed if s.number not in disk.condemned]
    gone = sum(s.size for s in closed if s.number in disk.condemned)
    held = sum(s.size for s in segments) - gone
    free = disk.free_bytes + gone
    expired = _expired(standing, policy, now, guard.allowance(now))
    for segment in standing:
        reason = _reason(segment, held, free, policy, expired)
        if reason is None:
            break
        steps.append(Announce(segment, reason))
        held -= segment.size
        free += segment.size
    return steps


def _widest_leap(inherited: Sequence[Segment], now: Instant) -> int:
    """The widest leap in microseconds, in either direction, of the last recorded day's footage up to now.

    An outage looks the same. So does a segment that spans over an hour, which none does by itself.
    """
    later_us, steady_us, widest_us = now.wall_us, 0, 0
    for segment in reversed(inherited):
        if segment.from_us is None or segment.to_us is None:
            continue
        length_us = segment.to_us - segment.from_us
        within_us = length_us if length_us > STEP_US else 0
        widest_us = max(widest_us, abs(later_us - segment.to_us), within_us)
        later_us, steady_us = segment.from_us, steady_us + length_us
        if steady_us >= DAY_US:
            break
    return widest_us


def _overdue(mark: Condemned, policy: RingPolicy, now: Instant) -> bool:
    return not policy.await_leaf or now.boot_ns - mark.since_ns >= policy.leaf_wait_s * 1e9


def _reason(
    segment: Segment, held: int, free: int, policy: RingPolicy, expired: frozenset[int]
) -> Reason | None:
    if held + policy.segment_limit > policy.max_bytes:
        return Reason.BYTES
    if free < policy.min_free_bytes:
        return Reason.FREE_SPACE
    if segment.number in expired:
        return Reason.AGE
    return None


def _expired(standing: Sequence[Segment], policy: RingPolicy, now: Instant, allowance: int) -> frozenset[int]:
    """The oldest segments that are provably too old: an untrusted one only before a trusted one that is."""
    if policy.max_age_days is None or allowance == 0:
        return frozenset()
    cutoff = now.wall_us - policy.max_age_days * DAY_US
    proven = 0
    for index, segment in enumerate(standing):
        if not segment.trusted or segment.to_us is None:
            continue
        if segment.to_us >= cutoff:
            break
        proven = index + 1
    return frozenset(s.number for s in standing[: min(proven, allowance)])
