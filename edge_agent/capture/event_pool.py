"""Listens to the recorders' events, one thread and one pull point a device, and forwards what changed.

A help for the health rules: streams never wait for it, and it never asks more often than a device bears.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from edge_agent.capture.device_events import DeviceEvent, EventsLost, EventSource
from edge_agent.capture.ports import CredentialGate
from edge_agent.clock import Clock
from edge_agent.errors import EdgeAgentError
from edge_agent.events import Inbox
from edge_agent.supervisor import Beat, contain

if TYPE_CHECKING:  # lxml, only once a recorder is listened to
    from edge_agent.capture.pullpoint import PullPoint
    from edge_agent.capture.topics import Notice

log = logging.getLogger(__name__)

MAX_LANES = 16
FAREWELL_S = 3.0
MAX_STATES = 1024  # of one device: topics times inputs


@dataclass(frozen=True, slots=True)
class Pace:
    """Pauses in seconds before a pull point is made again.

    A recorder that served us, or was gone, within `mending_s` is restarting: its web server answers while its
    event service still faults. So it is asked every `first_s`, and events are back in less than 90 s. A
    fault that stays is asked about less and less often.
    """

    first_s: float = 30.0
    longest_s: float = 300.0
    mending_s: float = 300.0
    pull_s: float = 10.0  # how long the recorder may wait for news

    def after(self, pause_s: float, well_since_s: float = float("inf")) -> float:
        """The pause after `pause_s`; `well_since_s` ago it served us, or did not answer at all."""
        return self.first_s if well_since_s < self.mending_s else min(pause_s * 2, self.longest_s)


class EventPool:
    """Worker. Gives its pull points back when it ends."""

    name = "events"

    def __init__(self, clock: Clock, inbox: Inbox, gate: CredentialGate, pace: Pace | None = None) -> None:
        self._clock = clock
        self._inbox = inbox
        self._gate = gate
        self._pace = pace or Pace()
        self._lock = Lock()
        self._wanted: dict[str, EventSource] = {}
        self._lanes: dict[str, EventLane] = {}
        self.dropped = 0

    def watch(self, source: EventSource) -> None:
        """Listen to a recorder from now on; its source may have moved since. Any thread; never blocks."""
        with self._lock:
            if source.recorder not in self._wanted and len(self._wanted) >= MAX_LANES:
                self.dropped += 1
                return
            self._wanted[source.recorder] = source

    def run(self, stop: Event, beat: Beat) -> None:
        try:
            while not stop.is_set():
                beat()
                self._tend()
                stop.wait(0.5)
        finally:
            self._leave(list(self._lanes.values()))
            self._lanes.clear()

    def _tend(self) -> None:
        with self._lock:
            wanted = dict(self._wanted)
        moved = [lane for name, lane in self._lanes.items() if lane.source != wanted[name]]
        self._leave(moved)
        for name, source in wanted.items():
            lane = self._lanes.get(name)
            if lane is None or lane in moved or not lane.running:
                self._lanes[name] = EventLane(source, self._clock, self._inbox, self._gate, self._pace)
                self._lanes[name].start()

    def _leave(self, lanes: list[EventLane]) -> None:
        """All at once: a device that hangs must not keep the others' pull points."""
        farewells = [Thread(target=lane.leave, name="events-farewell", daemon=True) for lane in lanes]
        for farewell in farewells:
            farewell.start()
        until = self._clock.monotonic() + FAREWELL_S
        for farewell in farewells:
            farewell.join(max(until - self._clock.monotonic(), 0.05))


class EventLane:
    """One recorder: subscribes, pulls, renews; begins again after a pause when anything goes wrong."""

    def __init__(
        self, source: EventSource, clock: Clock, inbox: Inbox, gate: CredentialGate, pace: Pace
    ) -> None:
        self.source = source
        self._clock = clock
        self._inbox = inbox
        self._gate = gate
        self._pace = pace
        self._pause_s = pace.first_s
        self._stop = Event()
        self._point: PullPoint | None = None
        self._left: PullPoint | None = None  # the device may still hold it: its answer never came
        self._well_at = clock.monotonic()  # when it last served us, or was gone; at our start both are likely
        self._states: dict[tuple[str, str], tuple[bool, str]] = {}
        self._sentence = ""
        body: Callable[[], None] = partial(contain, self._run, _ignore)
        self._thread = Thread(target=body, name=f"events-{source.recorder}", daemon=True)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def leave(self) -> None:
        """Give the pull point back. The thread ends with its pull, which the device then cuts short."""
        self._stop.set()
        until = self._clock.monotonic() + FAREWELL_S
        while self.running and self._point is None and self._clock.monotonic() < until:
            self._thread.join(0.05)  # it is being made: the device may hold it before we know
        if self._point is not None:
            self._point.unsubscribe()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except EdgeAgentError as error:
                self._left, self._point = self._point or self._left, None
                self._lose(error)

    def _listen(self) -> None:
        """Until something goes wrong. Raises EdgeAgentError."""
        from edge_agent.capture.pullpoint import PullPoint
        from edge_agent.capture.session import Session

        source = self.source
        session = Session(source.address, source.port, source.credentials, self._clock, self._gate)
        session.prove()
        if self._left is not None:  # some serve one listener only, and for two minutes that would be it
            self._left.unsubscribe(session)
            self._left = None
        self._point = point = PullPoint.create(session, source.path, source.port, self._clock.monotonic())
        while not self._stop.is_set():
            for notice in point.pull(self._pace.pull_s):
                self._tell(notice)
            self._pause_s, self._sentence = self._pace.first_s, ""
            self._well_at = self._clock.monotonic()
            if self._clock.monotonic() >= point.renew_at:
                point.renew(self._clock.monotonic())

    def _lose(self, error: EdgeAgentError) -> None:
        if self._stop.is_set():
            return
        self._states.clear()  # the next pull point tells them all anew
        pause_s, sentence = self._judge(error)
        if sentence != self._sentence:
            self._sentence = sentence
            self._inbox.put(EventsLost(self._clock.now(), self.source.recorder, sentence))
        self._stop.wait(pause_s)

    def _judge(self, error: EdgeAgentError) -> tuple[float, str]:
        """How long to leave the device alone, and what to tell."""
        from edge_agent.capture.session import AuthRefused
        from edge_agent.capture.soap import SoapFault
        from edge_agent.capture.web import WebError

        where, now = f"{self.source.recorder}: no events", self._clock.monotonic()
        if isinstance(error, AuthRefused):
            return self._pace.longest_s, f"{where}: {error}"
        if isinstance(error, SoapFault) and error.fault.not_authorized:
            return self._pace.longest_s, (
                f"{where}: this user may stream, but not subscribe to events; create an ONVIF user with that "
                "right in the recorder's ONVIF menu. Recording is not concerned"
            )
        if isinstance(error, WebError):  # gone or restarting: asking costs it nothing
            self._well_at = now
            return self._pace.first_s, f"{where}: {error}"
        blocked = "BlockedThreadUpperLimit" in str(error)
        since_s = float("inf") if blocked else now - self._well_at
        pause_s, self._pause_s = self._pause_s, self._pace.after(self._pause_s, since_s)
        if blocked:
            return pause_s, f"{where}: other clients hold all of its pull points"
        return pause_s, f"{where}: {error}"

    def _tell(self, notice: Notice) -> None:
        """Forward a change; a state that we knew already is no news."""
        key, state = (notice.topic, notice.source), (notice.active, notice.moment)
        if self._states.get(key) == state or (key not in self._states and len(self._states) >= MAX_STATES):
            return
        self._states[key] = state
        self._inbox.put(
            DeviceEvent(
                at=self._clock.now(),
                recorder=self.source.recorder,
                channel=self.source.channel_of(notice.source, notice.kind),
                kind=notice.kind,
                active=notice.active,
                initial=notice.initial,
                topic=notice.topic,
                moment=notice.moment,
            )
        )


def _ignore(error: Exception) -> None:
    """`contain` has logged it; the pool starts the lane again."""
