"""Recorders' clocks: asked over real ONVIF, and made into moments of our own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Event, Thread

import pytest

from edge_agent.agent.device_clocks import DeviceClockRead, DeviceClocks, in_our_time
from edge_agent.capture.lockout import Lockouts
from edge_agent.clock import SystemClock
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.errors import DeviceError
from edge_agent.events import BoundedInbox


class Desk:
    def __init__(self, ask: Callable[[str, int], float | None] | None = None, every_s: float = 60.0) -> None:
        self.inbox, self._stop = BoundedInbox(), Event()
        self.clocks = DeviceClocks(SystemClock(), self.inbox, Lockouts(), every_s=every_s, ask=ask)
        self._thread = Thread(target=self.clocks.run, args=(self._stop, lambda: None), daemon=True)
        self._thread.start()

    def next(self) -> DeviceClockRead:
        fact = self.inbox.take(10)
        assert isinstance(fact, DeviceClockRead)
        return fact

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)


@pytest.fixture
def desk() -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def build(ask: Callable[[str, int], float | None] | None = None, every_s: float = 60.0) -> Desk:
        desks.append(Desk(ask, every_s))
        return desks[-1]

    yield build
    for each in desks:
        each.stop()


def test_a_real_recorder_whose_clock_is_off_tells_by_how_much(desk: Callable[..., Desk]) -> None:
    shape = {"main": "160x96@12", "sub": "160x96@12", "h265": "none"}
    with VirtualDvr(channels=1, interface="none", serial="CLOCKED", **shape) as dvr:
        dvr.control.set_device(clock_skew_s=-7200.0)
        room = desk()
        room.clocks.watch("dvr", dvr.host, dvr.http_port)
        assert room.next().ahead_s == pytest.approx(-7200, abs=3)


def test_its_start_is_told_in_our_time_until_it_is_doubted(desk: Callable[..., Desk]) -> None:
    room = desk(lambda _address, _port: 3600.0)
    room.clocks.watch("dvr", "192.0.2.1", 80)
    assert room.next().started_us is None
    room.clocks.started("dvr", "2026-11-22T10:00:00Z")
    assert room.next().started_us == in_our_time("2026-11-22T09:00:00Z", 0)
    room.clocks.doubt("dvr")
    room.clocks.ask_now("dvr")
    assert room.next().started_us is None


def test_a_recorder_that_does_not_answer_is_asked_again_and_others_are_not_held_up(
    desk: Callable[..., Desk],
) -> None:
    def ask(address: str, _port: int) -> float | None:
        if address == "192.0.2.1":
            raise DeviceError("reachable", "gone")
        return 1.0

    room = desk(ask, every_s=0.2)
    room.clocks.watch("gone", "192.0.2.1", 80)
    room.clocks.watch("here", "192.0.2.2", 80)
    assert [room.next().recorder for _ in range(3)] == ["here"] * 3


@pytest.mark.parametrize("moment", ["", "yesterday", "9999-99-99T00:00:00Z", "0001-01-01T00:00:00Z"])
def test_an_impossible_start_is_none_or_harmless(moment: str) -> None:
    told = in_our_time(moment, 1e12)
    assert told is None or isinstance(told, int)
    assert in_our_time("2026-11-22T10:00:00Z", time.time()) is not None
