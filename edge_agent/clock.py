"""Time as an argument: the one place that asks the machine what time it is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from edge_agent.model import ClockTrust, Instant

CONFIRMED_WITHIN_S = 120.0  # ClockTrust.WITNESS: the wall clock is certainly not further off
CONTRADICTED_BEYOND_S = 3600.0  # further off than this, not even NTP is believed
SIGNED_TIME_HOLDS_S = 7 * 86_400.0  # a crystal of 50 ppm drifts 30 s in it


class Clock(Protocol):
    def now(self) -> Instant: ...

    def monotonic(self) -> float:
        """Seconds since boot, suspend included; for intervals and deadlines."""
        ...


@dataclass(frozen=True, slots=True)
class SignedTime:
    """What a signer elsewhere told of the time, held against our own boottime (seconds).

    It signed at `time_s` (POSIX, whole seconds): not before `after_s`, because it signed what we made then,
    and not after `before_s`, when its signature was here. Without `after_s` (we made it in an earlier run)
    an old signature shown again would look the same, so it only tells what time it is at least.
    """

    time_s: int
    after_s: float | None
    before_s: float

    @property
    def precise(self) -> bool:
        """Told closely enough to confirm a clock that is right."""
        return self.after_s is not None and self.before_s - self.after_s < CONFIRMED_WITHIN_S

    def confirms(self, wall_s: float, boot_s: float) -> bool:
        """True when the wall clock is within CONFIRMED_WITHIN_S whatever of the possible is true."""
        ahead_least, ahead_most = self._ahead(wall_s - boot_s)
        fresh = boot_s - self.before_s < SIGNED_TIME_HOLDS_S
        return fresh and ahead_least >= -CONFIRMED_WITHIN_S and ahead_most <= CONFIRMED_WITHIN_S

    def contradicts(self, wall_s: float, boot_s: float) -> bool:
        """True when the wall clock is off by more than CONTRADICTED_BEYOND_S in any case."""
        ahead_least, ahead_most = self._ahead(wall_s - boot_s)
        return ahead_least > CONTRADICTED_BEYOND_S or ahead_most < -CONTRADICTED_BEYOND_S

    def _ahead(self, offset_s: float) -> tuple[float, float]:
        """By how many seconds the wall clock is ahead of the signer's, at least and at most."""
        most = offset_s - (self.time_s - self.before_s)
        least = -math.inf if self.after_s is None else offset_s - (self.time_s + 1 - self.after_s)
        return least, most


class SystemClock:
    """CLOCK_REALTIME and CLOCK_BOOTTIME. `trust` is asked on every call, it changes while we run."""

    def __init__(self, trust: Callable[[], ClockTrust] | None = None) -> None:
        self._trust = trust or (lambda: ClockTrust.NONE)

    def now(self) -> Instant:
        return Instant(time.time_ns() // 1000, time.clock_gettime_ns(time.CLOCK_BOOTTIME), self._trust())

    def monotonic(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class ManualClock:
    """A clock for tests: stands still until told, wall and boot time apart."""

    def __init__(self, wall_us: int = 1_790_000_000_000_000, boot_ns: int = 1_000_000_000_000) -> None:
        self.wall_us = wall_us
        self.boot_ns = boot_ns
        self.trust = ClockTrust.NTP

    def now(self) -> Instant:
        return Instant(self.wall_us, self.boot_ns, self.trust)

    def monotonic(self) -> float:
        return self.boot_ns / 1e9

    def advance(self, seconds: float) -> None:
        self.wall_us += int(seconds * 1_000_000)
        self.boot_ns += int(seconds * 1_000_000_000)

    def step_wall(self, seconds: float) -> None:
        """Move the wall clock alone, as NTP does to a box without an RTC."""
        self.wall_us += int(seconds * 1_000_000)


def boot_id() -> bytes:
    """The kernel's 16-byte boot id: a new one tells a power cut from a cable pulled."""
    text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return bytes.fromhex(text.replace("-", ""))


def timestamp(wall_us: int) -> str:
    """`2026-11-22T18:30:00.250Z`. Times outside 1970-9999 are clamped: a bad clock must not stop us."""
    milliseconds = min(max(wall_us // 1000, 0), 253_402_300_799_999)
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"
