"""Trust in the wall clock: rules, cache, and the real kernel's answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.host import timesync
from edge_agent.host.timesync import ClockWatch, kernel_synchronized
from edge_agent.model import ClockTrust

IN_2026 = 1_790_000_000.0


class Kernel:
    def __init__(self, synchronized: bool) -> None:
        self.synchronized = synchronized
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.synchronized


def test_trust_follows_the_kernel() -> None:
    for synchronized, expected in ((True, ClockTrust.NTP), (False, ClockTrust.SAVED)):
        assert ClockWatch(Kernel(synchronized), lambda: 1.0, lambda: IN_2026)() is expected


def test_a_clock_from_before_the_software_is_never_trusted() -> None:
    assert ClockWatch(Kernel(True), lambda: 1.0, lambda: 86_400.0)() is ClockTrust.NONE


def test_the_kernel_is_asked_once_in_five_seconds() -> None:
    now = [100.0]
    kernel = Kernel(False)
    watch = ClockWatch(kernel, lambda: now[0], lambda: IN_2026)
    for _ in range(100):
        watch()
        now[0] += 0.1
    assert kernel.asked == 2
    kernel.synchronized = True
    now[0] += timesync.CACHE_S
    assert watch() is ClockTrust.NTP


def test_the_kernels_own_answer_is_a_plain_truth_value() -> None:
    assert kernel_synchronized() in (True, False)


def test_timesyncds_mark_is_enough_where_the_call_is_forbidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timesync, "_adjtimex_synchronized", lambda: False)
    monkeypatch.setattr(timesync, "TIMESYNCD_MARK", tmp_path / "synchronized")
    assert not kernel_synchronized()
    (tmp_path / "synchronized").touch()
    assert kernel_synchronized()
