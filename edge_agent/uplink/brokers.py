"""Which broker next: in the configured order, back to the first, elsewhere only where it is allowed. Pure.

A broker may send a client elsewhere (MQTT 5, 4.13: reason codes 0x9C and 0x9D with a Server Reference). It
decides for us only among hosts that the configuration names: whoever holds one broker must not be able to
hand the boxes to a stranger. The stranger would lack the certificate as well; this asks nobody.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

DEFAULT_PORT = 8883
USE_ANOTHER_SERVER, SERVER_MOVED = 0x9C, 0x9D
MAX_REDIRECTS = 3  # without a connection that settled: two brokers may point at each other

_REFERENCE = re.compile(r"(?:mqtts://)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?/?")


@dataclass(frozen=True, slots=True)
class Broker:
    host: str
    port: int = DEFAULT_PORT

    @classmethod
    def parse(cls, url: str) -> Broker:
        """`mqtts://host[:port]`, already checked by the configuration."""
        host, _, port = url.removeprefix("mqtts://").partition(":")
        return cls(host, int(port or DEFAULT_PORT))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class BrokerOrder:
    """One link's choice. Not for several threads.

    `allowed` are further hosts that a redirect may name; the hosts of `brokers` are always allowed.
    """

    def __init__(self, brokers: Sequence[Broker], allowed: Sequence[str] = ()) -> None:
        self._brokers = tuple(brokers)
        self._hosts = {broker.host.lower() for broker in brokers} | {host.lower() for host in allowed}
        self._failures = 0
        self._elsewhere: Broker | None = None
        self._redirects = 0

    @property
    def next(self) -> Broker:
        return self._elsewhere or self._brokers[self._failures % len(self._brokers)]

    @property
    def preferred(self) -> Broker:
        return self._brokers[0]

    @property
    def second_choice(self) -> bool:
        """Not the first broker, and not where that one sent us."""
        return self._elsewhere is None and self.next != self.preferred

    @property
    def rounds(self) -> int:
        """How often every broker has failed since one lasted."""
        return max(0, self._failures - 1) // len(self._brokers)

    def lost(self, *, steady: bool, settled: bool = False) -> None:
        """The connection to `next` ended or never began. One that lasted forgets the failures before it:
        the first broker, not the second, is tried after it. Only one that settled forgets the redirects."""
        if settled:
            self._redirects = 0
        if steady:
            self._failures, self._elsewhere = 0, None
        elif self._elsewhere is not None:
            self._elsewhere = None
        else:
            self._failures += 1

    def begin_again(self) -> None:
        """The first broker is next."""
        self._failures, self._elsewhere, self._redirects = 0, None, 0

    def redirected(self, reference: str, sender: Broker) -> Broker | None:
        """Follow the Server Reference of the broker that was just `lost`: names divided by spaces, the first
        that is allowed. None: the configured order goes on, and behind the sender, which wants us gone."""
        if self._redirects < MAX_REDIRECTS:
            for word in reference.split():
                broker = _parse_reference(word)
                if broker is not None and broker.host.lower() in self._hosts and broker != sender:
                    self._elsewhere = broker
                    self._redirects += 1
                    return broker
        self._redirects = 0
        place = self._brokers.index(sender) if sender in self._brokers else 0
        self._failures = max(self._failures, place + 1)
        return None


def _parse_reference(word: str) -> Broker | None:
    """`host[:port]`; MQTT 5, 4.11 leaves the form to the broker, and this is the one of its examples."""
    match = _REFERENCE.fullmatch(word)
    if match is None or not 0 < int(match[2] or DEFAULT_PORT) < 65536:
        return None
    return Broker(match[1].strip("[]"), int(match[2] or DEFAULT_PORT))
