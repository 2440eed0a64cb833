"""Time as an argument: the one place that asks the machine what time it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from edge_agent.model import ClockTrust, Instant


class Clock(Protocol):
    def now(self) -> Instant: ...

    def monotonic(self) -> float:
        """Seconds since boot, suspend included; for intervals and deadlines."""
        ...


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
