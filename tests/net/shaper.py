"""One direction of a bad line: rate, queue, delay, loss, silence; and a forgetful NAT. Pure."""

from __future__ import annotations

import random
import struct
from collections import deque
from dataclasses import dataclass, field

ETHERNET, IPV4, IPV6, TCP, UDP = 14, 0x0800, 0x86DD, 6, 17
SYN = 0x02
Flow = tuple[int, bytes, int, bytes, int]  # protocol, and both ends, the smaller one first


@dataclass(frozen=True, slots=True)
class Shape:
    """`rate_bps` None: as fast as it comes. What exceeds `queue_bytes` is dropped, as a modem does.

    `delay_s` is one way. `loss` is a share of frames. `silent`: everything vanishes, nobody is told.
    """

    rate_bps: float | None = None
    queue_bytes: int = 64 * 1024
    delay_s: float = 0.0
    loss: float = 0.0
    silent: bool = False


@dataclass(slots=True)
class Counters:
    """What came out at the far end; `bytes` of IP packets, as a mobile operator counts them. Not ARP."""

    frames: int = 0
    bytes: int = 0
    dropped: int = 0


class Shaper:
    """Frames in with `offer`, out with `due` once their time has come, in order."""

    def __init__(self, shape: Shape, seed: int = 1) -> None:
        self.shape = shape
        self.counters = Counters()
        self._random = random.Random(seed)
        self._line_free_at = 0.0
        self._under_way: deque[tuple[float, bytes]] = deque()

    def offer(self, frame: bytes, now: float) -> None:
        shape = self.shape
        if shape.silent or self._random.random() < shape.loss:
            self.counters.dropped += 1
            return
        begins = max(now, self._line_free_at)
        if shape.rate_bps is not None:
            if (begins - now) * shape.rate_bps / 8 > shape.queue_bytes:
                self.counters.dropped += 1
                return
            begins += len(frame) * 8 / shape.rate_bps
            self._line_free_at = begins
        self._under_way.append((begins + shape.delay_s, frame))

    def due(self, now: float) -> list[bytes]:
        out = []
        while self._under_way and self._under_way[0][0] <= now:
            out.append(self._under_way.popleft()[1])
        self.counters.frames += len(out)
        self.counters.bytes += sum(len(frame) - ETHERNET for frame in out if _is_ip(frame))
        return out

    def next_due(self) -> float | None:
        return self._under_way[0][0] if self._under_way else None

    def cut(self) -> None:
        """What is on the line is lost with it."""
        self.counters.dropped += len(self._under_way)
        self._under_way.clear()
        self._line_free_at = 0.0


def _is_ip(frame: bytes) -> bool:
    return int.from_bytes(frame[12:ETHERNET], "big") in (IPV4, IPV6)


@dataclass(slots=True)
class Nat:
    """The translation table in the middle: both directions of a flow pass here.

    A flow idle for `timeout_s` is forgotten, and what follows of it vanishes without a word.
    """

    timeout_s: float | None = None
    forgotten: int = 0
    _seen: dict[Flow, float] = field(default_factory=dict)

    def passes(self, frame: bytes, now: float) -> bool:
        if self.timeout_s is None:
            return True
        found = flow(frame)
        if found is None:
            return True
        key, begins = found
        last = self._seen.get(key)
        if not begins and (last is None or now - last > self.timeout_s):
            self.forgotten += 1
            return False
        self._seen[key] = now
        return True


def flow(frame: bytes) -> tuple[Flow, bool] | None:
    """The TCP or UDP flow of an IPv4 frame, and whether this segment may begin it."""
    if len(frame) < ETHERNET + 20 or struct.unpack_from(">H", frame, 12)[0] != IPV4:
        return None
    header = (frame[ETHERNET] & 0x0F) * 4
    protocol = frame[ETHERNET + 9]
    ports = ETHERNET + header
    if protocol not in (TCP, UDP) or len(frame) < ports + 14:
        return None
    source, target = struct.unpack_from(">HH", frame, ports)
    ends = sorted(((frame[26:30], source), (frame[30:34], target)))
    begins = protocol == UDP or bool(frame[ports + 13] & SYN)
    return (protocol, *ends[0], *ends[1]), begins
