"""Does a host answer at all? Asked when a camera falls silent, so that its event says what was checked."""

from __future__ import annotations

import queue
import socket
import time
from dataclasses import dataclass
from threading import Event

from edge_agent.clock import Clock
from edge_agent.events import Fact, Inbox
from edge_agent.supervisor import Beat

CONNECT_TIMEOUT_S = 2.0
REUSE_S = 3.0  # sixteen channels of one recorder fall silent together: one knock answers for all


@dataclass(frozen=True, slots=True)
class HostChecked(Fact):
    """The result of one TCP knock; `detail` is for people, `ms` the time the answer took."""

    host: str
    port: int
    reachable: bool
    detail: str
    ms: int


class Reach:
    """Worker. Knocks on request, one host at a time; a full queue drops the request and counts it."""

    name = "reach"

    def __init__(self, clock: Clock, inbox: Inbox, size: int = 64) -> None:
        self._clock = clock
        self._inbox = inbox
        self._wanted: queue.Queue[tuple[str, int]] = queue.Queue(size)
        self._recent: dict[tuple[str, int], tuple[float, HostChecked]] = {}
        self.dropped = 0

    def check(self, host: str, port: int) -> None:
        """Ask for a `HostChecked`. Any thread; never blocks."""
        try:
            self._wanted.put_nowait((host, port))
        except queue.Full:
            self.dropped += 1

    def run(self, stop: Event, beat: Beat) -> None:
        while not stop.is_set():
            beat()
            try:
                host, port = self._wanted.get(timeout=1.0)
            except queue.Empty:
                continue
            self._inbox.put(self._answer(host, port))

    def _answer(self, host: str, port: int) -> HostChecked:
        known = self._recent.get((host, port))
        if known and self._clock.monotonic() - known[0] < REUSE_S:
            return known[1]
        fact = self._knock(host, port)
        self._recent = {(host, port): (self._clock.monotonic(), fact)}
        return fact

    def _knock(self, host: str, port: int) -> HostChecked:
        began = time.monotonic()
        try:
            socket.create_connection((host, port), CONNECT_TIMEOUT_S).close()
            reachable, detail = True, "accepts connections"
        except ConnectionRefusedError:
            # a refusal is an answer: the machine is on, its service is not
            reachable, detail = True, "is on, but refuses connections"
        except OSError as error:
            reachable, detail = False, f"does not answer ({error.strerror or 'timed out'})"
        ms = int((time.monotonic() - began) * 1000)
        return HostChecked(self._clock.now(), host, port, reachable, detail, ms)
