"""How far the wall clock may be believed: asked from the kernel, as often as anybody wants."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path

from edge_agent.model import ClockTrust

CACHE_S = 5.0
STA_UNSYNC = 0x0040  # linux/timex.h
TIME_ERROR = 5
TIMESYNCD_MARK = Path("/run/systemd/timesync/synchronized")
EARLIEST_PLAUSIBLE_S = 1_767_225_600  # 2026-01-01: before this software existed no clock is right


class _Timex(ctypes.Structure):
    """struct timex of linux/timex.h: only `status` is read, the rest is room for the kernel to write."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_byte * 512),
    )


class ClockWatch:
    """Callable for `SystemClock(trust=...)`: NTP when the kernel says so, SAVED when plausible, else NONE.

    The answer is kept for five seconds of boottime; any thread may call.
    """

    def __init__(
        self,
        synchronized: Callable[[], bool] | None = None,
        boottime: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._synchronized = synchronized or kernel_synchronized
        self._boottime = boottime
        self._wall = wall
        self._known: tuple[float, ClockTrust] | None = None

    def __call__(self) -> ClockTrust:
        now = self._boottime()
        known = self._known
        if known is not None and 0 <= now - known[0] < CACHE_S:
            return known[1]
        trust = self._ask()
        self._known = (now, trust)
        return trust

    def _ask(self) -> ClockTrust:
        if self._wall() < EARLIEST_PLAUSIBLE_S:
            return ClockTrust.NONE
        return ClockTrust.NTP if self._synchronized() else ClockTrust.SAVED


def kernel_synchronized() -> bool:
    """True when an NTP client disciplines the clock: adjtimex(2) says so, or timesyncd left its mark."""
    return _adjtimex_synchronized() or TIMESYNCD_MARK.exists()


def _adjtimex_synchronized() -> bool:
    timex = _Timex()  # modes 0: read only, needs no privilege
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):  # a libc without the call, or a sandbox that forbids it
        return False
    return state not in (-1, TIME_ERROR) and not timex.status & STA_UNSYNC
