"""What time do the recorders have, and since when do they run? Asked every few minutes and after each return.

GetSystemDateAndTime (ONVIF Core, section 8.3.5) needs no password. Since when a device runs is told by its
event LastReboot alone, by its own clock, which may be years off: both together give a moment of ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Event, Lock

from edge_agent.capture.moments import parse_moment
from edge_agent.capture.ports import CredentialGate
from edge_agent.clock import Clock
from edge_agent.errors import EdgeAgentError
from edge_agent.events import Fact, Inbox
from edge_agent.supervisor import Beat

log = logging.getLogger(__name__)

EVERY_S = 300.0
RETRY_S = 10.0
TIMEOUT_S = 4.0
MAX_RECORDERS = 32

Ask = Callable[[str, int], float | None]


@dataclass(frozen=True, slots=True)
class DeviceClockRead(Fact):
    """`ahead_s`: seconds ahead of ours. `started_us`: since when it runs, in our wall time, if it says so."""

    recorder: str
    ahead_s: float
    started_us: int | None


@dataclass(frozen=True, slots=True)
class _Watched:
    address: str
    port: int
    due: float
    started: str = ""  # as the device wrote it


class DeviceClocks:
    """Worker. `ask(address, port)` returns how far a device's clock is ahead, or None; it may raise
    EdgeAgentError."""

    name = "device-clocks"

    def __init__(
        self,
        clock: Clock,
        inbox: Inbox,
        gate: CredentialGate,
        *,
        every_s: float = EVERY_S,
        ask: Ask | None = None,
    ) -> None:
        self._clock = clock
        self._inbox = inbox
        self._gate = gate
        self._every_s = every_s
        self._ask = ask or self._ask_device
        self._lock = Lock()
        self._watched: dict[str, _Watched] = {}

    # Any thread; none of these blocks.

    def watch(self, recorder: str, address: str, port: int) -> None:
        """Ask this recorder from now on; at once if it is new or has moved."""
        with self._lock:
            known = self._watched.get(recorder)
            if known is None and len(self._watched) >= MAX_RECORDERS:
                return
            if known is None or (known.address, known.port) != (address, port):
                self._watched[recorder] = _Watched(address, port, self._clock.monotonic())

    def ask_now(self, recorder: str) -> None:
        """It has just come back."""
        self._change(recorder, due=self._clock.monotonic())

    def started(self, recorder: str, moment: str) -> None:
        """It told since when it runs."""
        self._change(recorder, due=self._clock.monotonic(), started=moment)

    def doubt(self, recorder: str) -> None:
        """It is silent: what it said of its start may not hold any more when it is back."""
        self._change(recorder, started="")

    def run(self, stop: Event, beat: Beat) -> None:
        while not stop.is_set():
            beat()
            now = self._clock.monotonic()
            with self._lock:
                due = next(((n, w) for n, w in self._watched.items() if w.due <= now), None)
            if due is None:
                stop.wait(0.5)
                continue
            self._read(*due)

    def _change(self, recorder: str, **changes: float | str) -> None:
        with self._lock:
            known = self._watched.get(recorder)
            if known is not None:
                self._watched[recorder] = replace(known, **changes)  # type: ignore[arg-type]

    def _read(self, recorder: str, watched: _Watched) -> None:
        self._change(recorder, due=self._clock.monotonic() + self._every_s)
        try:
            ahead_s = self._ask(watched.address, watched.port)
        except EdgeAgentError as error:
            log.debug("%s does not tell its time: %s", recorder, error)
            self._change(recorder, due=self._clock.monotonic() + RETRY_S)
            return
        if ahead_s is not None:
            with self._lock:
                moment = self._watched[recorder].started
            self._inbox.put(
                DeviceClockRead(self._clock.now(), recorder, ahead_s, in_our_time(moment, ahead_s))
            )

    def _ask_device(self, address: str, port: int) -> float | None:
        from edge_agent.capture.session import Session  # lxml, only once a recorder is known

        session = Session(address, port, None, self._clock, self._gate, timeout_s=TIMEOUT_S)
        session.ask_clock()
        return session.clock_offset_s


def in_our_time(moment: str, ahead_s: float) -> int | None:
    """A device's own time in microseconds of ours; None when it is no possible moment."""
    told = parse_moment(moment) if moment else None
    if told is None:
        return None
    try:
        return round((told.timestamp() - ahead_s) * 1e6)
    except (OverflowError, ValueError):
        return None
