"""One outgoing MQTT connection kept alive: which broker, when to try again, what to hand down next.

Knows no MQTT library: a `Transport` is one connection from CONNECT to its end (mqtt.py). The owner of the
link is pulled, not pushed: a message leaves its queue only when the transport has room for it, so priorities
hold to the last moment and nothing is buffered where it cannot be counted.
"""

from __future__ import annotations

import contextlib
import logging
import random
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Protocol

from edge_agent.clock import Clock
from edge_agent.errors import UplinkError
from edge_agent.supervisor import Beat
from edge_agent.uplink.brokers import Broker as Broker
from edge_agent.uplink.brokers import BrokerOrder
from edge_agent.uplink.comeback import Comeback
from edge_agent.uplink.flow import Cap

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 0.01  # while the line is crowded: no event tells when it is not
TICK_S = 0.5  # how soon a link notices `stop`, and how often it beats
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
SILENT_PAUSE_S = (
    4.0  # where nothing answers, nobody is burdened by being asked; a line comes back unannounced
)
STEADY_S = 10.0  # a connection that lasts so long forgets the failures before it
SETTLED_S = 600.0  # and this one the redirects: brokers that hand a box round soon run out of them
FAREWELL_S = 1.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One PUBLISH. `token` names it in `acknowledged` and `refused`; QoS 0 is never acknowledged."""

    topic: str
    payload: bytes
    token: int = 0
    qos: int = 1
    retain: bool = False
    expiry_s: int | None = None


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Who we are to the brokers. `will_delay_s` lets a short cut pass without an alarm."""

    brokers: tuple[Broker, ...]
    client_id: str
    ca: Path
    certificate: Path
    key: Path
    keepalive_s: int = 60
    session_expiry_s: int = 0  # 0: clean start, the broker keeps nothing
    will_delay_s: int = 30
    connect_timeout_s: float = 10.0
    ack_timeout_s: float = 30.0
    redirects: tuple[str, ...] = ()  # hosts beside the brokers' own that a broker may send us to
    fail_back_s: float = 600.0  # on another than the first broker: how often to see whether that is back
    gentle: bool = False  # keep what is on its way short: for video, which would fill every queue


@dataclass(frozen=True, slots=True)
class Limits:
    """What this broker said it takes (CONNACK)."""

    max_packet: int
    receive_maximum: int
    aliases: int = 0  # topics that may be named by a number


class LinkLost(UplinkError):
    """The connection ended or never began. `code` is the MQTT reason code if the broker gave one.

    `elsewhere` is the Server Reference that came with it. `answered` is False when nobody was reached at all.
    """

    def __init__(
        self, reason: str, code: int | None = None, *, elsewhere: str = "", answered: bool = True
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.elsewhere = elsewhere
        self.answered = answered


class Owner(Protocol):
    """Whose link it is. Every call comes from the link's thread and must not block."""

    def connecting(self) -> Outgoing | None:
        """A connection is about to be tried; the answer is its last will."""
        ...

    def subscriptions(self) -> Sequence[tuple[str, int]]:
        """Topic filters, each with the QoS in which the broker should send."""
        ...

    def link_up(self, broker: Broker, limits: Limits) -> None:
        """Subscriptions are in place; whatever was unacknowledged before must be sent again."""
        ...

    def link_down(self, reason: str, code: int | None) -> None: ...

    def arrived(self, topic: str, payload: bytes, retained: bool) -> None: ...

    def acknowledged(self, token: int) -> None: ...

    def refused(self, token: int, reason: str) -> None:
        """The broker will never take this message: do not send it again."""
        ...

    def next_message(self, *, window_open: bool, room: bool) -> Outgoing | None:
        """What to send now; without an open window only QoS 0, without room only what is urgent."""
        ...

    def next_due(self) -> float | None:
        """When to ask again although nothing wakes the link: seconds of the clock's monotonic time."""
        ...

    def farewell(self) -> Outgoing | None:
        """The last word before an orderly end."""
        ...


class Transport(Protocol):
    """One connection. Used by one thread; every method may raise LinkLost."""

    def open(self) -> Limits: ...
    def ready_for(self, qos: int) -> bool: ...
    def crowded(self) -> bool:
        """As much is on its way as the line should hold: only what is urgent may follow."""
        ...

    def publish(self, message: Outgoing) -> None: ...
    def pump(self, timeout_s: float) -> None: ...
    def unacknowledged(self) -> int: ...
    def carried(self) -> int:
        """IP bytes in both directions since the connection began."""
        ...

    def close(self) -> None: ...


class Waker:
    """Ends a `select` from any thread. A full pipe is fine: it is readable already."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def wake(self) -> None:
        with contextlib.suppress(OSError):  # full, or closed a moment ago: nobody needs waking
            self._writer.send(b"\0")

    def drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while len(self._reader.recv(4096)) == 4096:
                pass

    def fileno(self) -> int:
        return self._reader.fileno()

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


TransportFactory = Callable[[LinkSettings, Broker, Owner, Clock, Waker], Transport]


class Link:
    """Reconnects for ever with full jitter. `serve` belongs to one thread, `wake` and `kick` to any."""

    def __init__(
        self, settings: LinkSettings, clock: Clock, transport: TransportFactory, cap: Cap | None = None
    ) -> None:
        self._settings = settings
        self._cap = cap or Cap(None, 0.0)
        self._clock = clock
        self._transport = transport
        self._waker: Waker | None = None
        self._kicked = Event()
        self._connected = False
        self._order = BrokerOrder(settings.brokers, settings.redirects)
        self._said = ""
        self.connects = 0
        self._carried_before = 0
        self.carried = 0  # IP bytes of all connections so far, as of the last turn of the loop

    def wake(self) -> None:
        """There is something to send."""
        waker = self._waker
        if waker is not None:
            waker.wake()

    def kick(self) -> None:
        """The network came up, or somebody waits: end the pause before the next attempt.

        One that comes while we are connected is forgotten: a broker's restart must not find a city whose
        boxes all saved up their hurry.
        """
        if not self._connected:
            self._kicked.set()

    def serve(self, owner: Owner, stop: Event, beat: Beat, wanted: Callable[[], bool] = lambda: True) -> None:
        """Stay connected until `stop` is set or the link is no longer `wanted`."""
        waker = self._waker = Waker()
        self._kicked.clear()
        try:
            self._keep_serving(owner, waker, stop, beat, wanted)
        finally:
            self._waker = None
            waker.close()

    def _keep_serving(
        self, owner: Owner, waker: Waker, stop: Event, beat: Beat, wanted: Callable[[], bool]
    ) -> None:
        while not stop.is_set() and wanted():
            beat()
            broker = self._order.next
            began = self._clock.monotonic()
            try:
                self._serve_until_lost(owner, broker, waker, stop, beat, wanted)
            except LinkLost as lost:
                lasted_s = self._clock.monotonic() - began
                steady = lasted_s > STEADY_S + self._settings.connect_timeout_s
                self._order.lost(steady=steady, settled=lasted_s > SETTLED_S)
                self._pause_after(lost, broker, owner, stop, beat)

    def _serve_until_lost(
        self, owner: Owner, broker: Broker, waker: Waker, stop: Event, beat: Beat, wanted: Callable[[], bool]
    ) -> None:
        transport = self._transport(self._settings, broker, owner, self._clock, waker)
        try:
            limits = transport.open()
            self._connected = True
            self._kicked.clear()
            self.connects += 1
            self._said = ""
            log.info("%s: connected to %s", self._settings.client_id, broker)
            owner.link_up(broker, limits)
            comeback = self._comeback()
            while not stop.is_set() and wanted() and not self._better_is_back(comeback):
                beat()
                throttled = self._fill(transport, owner)
                transport.pump(min(self._patience(owner), throttled or TICK_S))
                self.carried = self._carried_before + transport.carried()
            self._part(transport, owner)
            if not stop.is_set() and wanted():
                owner.link_down(f"{broker}: {self._order.preferred} answers again", None)
        finally:
            self._connected = False
            self._carried_before = self.carried
            transport.close()

    def _comeback(self) -> Comeback | None:
        if not self._order.second_choice:
            return None
        return Comeback(self._order.preferred, self._clock, self._settings.fail_back_s)

    def _better_is_back(self, comeback: Comeback | None) -> bool:
        if comeback is None or not comeback.answered():
            return False
        log.info("%s: %s answers again", self._settings.client_id, self._order.preferred)
        self._order.begin_again()
        return True

    def _fill(self, transport: Transport, owner: Owner) -> float | None:
        """Hand messages down while the transport takes them at once.

        Returns how soon to look again when only the want of room holds things back.
        """
        while transport.ready_for(0):
            now = self._clock.monotonic()
            room = self._cap.room(now) and not transport.crowded()
            message = owner.next_message(window_open=transport.ready_for(1), room=room)
            if message is None:
                return None if room else max(LOOK_AGAIN_S, self._cap.wait_s(now))
            self._cap.spend(len(message.payload) + len(message.topic), now)
            transport.publish(message)
        return None

    def _patience(self, owner: Owner) -> float:
        due = owner.next_due()
        return TICK_S if due is None else min(max(due - self._clock.monotonic(), 0.0), TICK_S)

    def _part(self, transport: Transport, owner: Owner) -> None:
        """Say goodbye and wait briefly until the broker has it."""
        last = owner.farewell()
        if last is None:
            return
        transport.publish(last)
        deadline = self._clock.monotonic() + FAREWELL_S
        while transport.unacknowledged() and self._clock.monotonic() < deadline:
            transport.pump(0.05)

    def _pause_after(self, lost: LinkLost, broker: Broker, owner: Owner, stop: Event, beat: Beat) -> None:
        """Full jitter (AWS Architecture Blog, 2015), so that a city does not return in one second."""
        pause_s = random.uniform(0, self._longest_pause(lost, broker))
        if str(lost) != self._said:
            log.warning("%s: %s: %s; trying again in %.1f s", self._settings.client_id, broker, lost, pause_s)
            self._said = str(lost)
            owner.link_down(f"{broker}: {lost}", lost.code)
        deadline = self._clock.monotonic() + pause_s
        while not stop.is_set() and not self._kicked.is_set():
            left = deadline - self._clock.monotonic()
            if left <= 0:
                break
            beat()
            self._kicked.wait(min(left, TICK_S))
        self._kicked.clear()

    def _longest_pause(self, lost: LinkLost, sender: Broker) -> float:
        if lost.elsewhere and self._follow(lost.elsewhere, sender):
            return FIRST_PAUSE_S
        most = LONGEST_PAUSE_S if lost.answered else SILENT_PAUSE_S
        return min(FIRST_PAUSE_S * 2.0 ** min(self._order.rounds, 10), most)

    def _follow(self, reference: str, sender: Broker) -> bool:
        broker = self._order.redirected(reference, sender)
        if broker is None:
            log.warning("%s: sent to %.200r, and does not go there", self._settings.client_id, reference)
        else:
            log.info("%s: sent to %s", self._settings.client_id, broker)
        return broker is not None
