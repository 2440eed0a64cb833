"""How much may be on its way: little enough that a newer, more urgent word never waits long. Pure.

A modem's queue takes whatever TCP gives it, and then everything on the line is late by that queue. `Flow`
keeps one connection's unacknowledged bytes near what the line itself holds (as BBR does: Cardwell et al., ACM
Queue 2016), with the kernel's own estimates. `Cap` is the box's agreed share, for both connections.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass
from threading import Lock

QUEUE_S = 0.05  # what may stand in queues beyond the round trip: also how the estimate grows
MEMORY_S = 2.5  # a line that got slower is believed after so long
LEAST_BYTES = 16 * 1024  # one part
MOST_BYTES = 1024 * 1024
UNMEASURED_BYTES = 32 * 1024  # about the first window that any line takes (RFC 6928) and one part

PACKET_BYTES = 1400  # of payload in an IP packet, cautiously
PACKET_COST = 52 + 12  # IP and TCP headers with time stamps; a share of the acknowledgements that come back
RECORD_COST = 64  # TLS record, MQTT header and properties of one message
BURST_S = 0.25
HEADER_BYTES = 52  # IPv4, TCP and its time stamps


@dataclass(frozen=True, slots=True)
class TcpState:
    """What the kernel tells of a connection, in bytes and seconds; `rate` is its newest sample."""

    outstanding: int  # written by us and not acknowledged yet
    rate: float
    app_limited: bool  # the sample was taken while we had too little to send: the line may carry more
    least_round_trip_s: float
    round_trip_s: float
    acknowledged: int
    received: int
    packets: int = 0

    @property
    def carried(self) -> int:
        """IP bytes in both directions since the connection began."""
        return self.acknowledged + self.received + self.packets * HEADER_BYTES


def parse_tcp_info(info: bytes, outstanding: int) -> TcpState | None:
    """Linux `struct tcp_info` (linux/tcp.h, since 4.9) of at least 168 bytes; None where it is shorter."""
    if len(info) < 168:
        return None
    acknowledged, received = struct.unpack_from("=QQ", info, 120)
    packets = sum(struct.unpack_from("=II", info, 136))
    (rate,) = struct.unpack_from("=Q", info, 160)
    (round_trip_us,) = struct.unpack_from("=I", info, 68)
    (least_us,) = struct.unpack_from("=I", info, 148)
    return TcpState(
        outstanding=outstanding,
        rate=float(rate),
        app_limited=bool(info[7] & 1),
        least_round_trip_s=least_us / 1e6,
        round_trip_s=round_trip_us / 1e6,
        acknowledged=acknowledged,
        received=received,
        packets=packets,
    )


class Flow:
    """One connection's window. Not for several threads."""

    def __init__(self) -> None:
        self._rates: deque[tuple[float, float]] = deque()  # falling rates, each the best since its time

    @property
    def rate(self) -> float | None:
        """Bytes a second that the line carried lately; None before the first sample."""
        return self._rates[0][1] if self._rates else None

    def observe(self, state: TcpState, now: float) -> None:
        """Take a sample; one taken with too little to send counts only if it is the best."""
        if state.rate <= 0 or (state.app_limited and self._rates and state.rate < self._rates[0][1]):
            return
        while self._rates and self._rates[-1][1] <= state.rate:
            self._rates.pop()
        self._rates.append((now, state.rate))
        while len(self._rates) > 1 and now - self._rates[0][0] > MEMORY_S:
            self._rates.popleft()

    def window(self, state: TcpState) -> int:
        """How many bytes may be outstanding."""
        if self.rate is None:
            return UNMEASURED_BYTES
        return round(min(max(self.rate * (state.least_round_trip_s + QUEUE_S), LEAST_BYTES), MOST_BYTES))


class Cap:
    """The agreed limit, a token bucket shared by all connections. Any thread.

    Urgent words may overdraw it; what is less urgent pays that back by waiting. Over any ten seconds the line
    carries at most the limit and a quarter of a second's burst. Without a limit there is always room.
    """

    def __init__(self, kbps: int | None, now: float) -> None:
        self._rate = None if kbps is None else kbps * 1000 / 8
        self._tokens = 0.0
        self._at = now
        self._lock = Lock()

    def room(self, now: float) -> bool:
        """May something of no urgency be sent now?"""
        if self._rate is None:
            return True
        with self._lock:
            self._refill(now)
            return self._tokens > 0

    def wait_s(self, now: float) -> float:
        """Until there is room again."""
        if self._rate is None:
            return 0.0
        with self._lock:
            self._refill(now)
            return max(0.0, -self._tokens / self._rate)

    def spend(self, payload: int, now: float) -> None:
        """So many bytes of one message leave; what carries them is added."""
        if self._rate is not None:
            with self._lock:
                self._refill(now)
                self._tokens -= on_the_line(payload)

    def _refill(self, now: float) -> None:
        assert self._rate is not None
        self._tokens = min(self._tokens + (now - self._at) * self._rate, self._rate * BURST_S)
        self._at = now


def on_the_line(payload: int) -> int:
    """Bytes of IP packets for one message of `payload` bytes, topic included."""
    size = payload + RECORD_COST
    return size + -(-size // PACKET_BYTES) * PACKET_COST
