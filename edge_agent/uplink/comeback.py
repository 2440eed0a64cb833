"""Does the broker that we would rather have answer again? Asked seldom, in a thread of its own."""

from __future__ import annotations

import random
import socket
from threading import Event, Thread

from edge_agent.clock import Clock
from edge_agent.uplink.brokers import Broker

KNOCK_S = 5.0


class Comeback:
    """For one connection to a broker that is only second choice. Not for several threads."""

    def __init__(self, broker: Broker, clock: Clock, every_s: float) -> None:
        self._broker = broker
        self._clock = clock
        self._every_s = every_s
        self._due = self._next()
        self._back = Event()
        self._asking: Thread | None = None

    def answered(self) -> bool:
        """True once it took a TCP connection. Never blocks: name service and network may."""
        idle = self._asking is None or not self._asking.is_alive()
        if idle and not self._back.is_set() and self._clock.monotonic() >= self._due:
            self._due = self._next()
            self._asking = Thread(target=self._knock, name="comeback", daemon=True)
            self._asking.start()
        return self._back.is_set()

    def _next(self) -> float:
        """A city that fell back together does not return together."""
        return self._clock.monotonic() + random.uniform(self._every_s, 2 * self._every_s)

    def _knock(self) -> None:
        try:
            socket.create_connection((self._broker.host, self._broker.port), KNOCK_S).close()
        except OSError:
            return
        self._back.set()
