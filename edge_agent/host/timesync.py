"""How far the wall clock may be believed: asked from the kernel, as often as anybody wants."""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Callable
from pathlib import Path

from edge_agent.clock import SignedTime
from edge_agent.model import ClockTrust

log = logging.getLogger(__name__)

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
    """Callable for `SystemClock(trust=...)`; any thread may call.

    WITNESS while the newest signed time confirms the wall clock, else NTP when the kernel says so, SAVED when
    plausible, else NONE. A clock that the signed time contradicts is SAVED whatever the kernel says: a time
    server can be set up by anybody in the shop. The kernel's answer is kept for five seconds of boottime;
    the clock is compared at every call, so that a step takes its trust along.
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
        self._asked: tuple[float, bool] | None = None
        self._signed: SignedTime | None = None

    def __call__(self) -> ClockTrust:
        now, wall, signed = self._boottime(), self._wall(), self._signed
        if wall < EARLIEST_PLAUSIBLE_S:
            return ClockTrust.NONE
        if signed is not None and signed.confirms(wall, now):
            return ClockTrust.WITNESS
        if signed is not None and signed.contradicts(wall, now):
            return ClockTrust.SAVED
        return ClockTrust.NTP if self._kernel(now) else ClockTrust.SAVED

    def told(self, signed: SignedTime) -> None:
        """Take a signed time. One that could confirm nothing replaces none that can."""
        known = self._signed
        if known is not None and known.precise and not signed.precise:
            return
        wall, now = self._wall(), self._boottime()
        if signed.contradicts(wall, now) and not (known and known.contradicts(wall, now)):
            log.warning("the wall clock is over an hour off the command centre's; see `timedatectl`")
        self._signed = signed

    def _kernel(self, now: float) -> bool:
        asked = self._asked
        if asked is not None and 0 <= now - asked[0] < CACHE_S:
            return asked[1]
        self._asked = (now, self._synchronized())
        return self._asked[1]


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
