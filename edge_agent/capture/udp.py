"""RTP over UDP, for the few devices that refuse TCP (461): a pair of ports, and packets put back in order."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from edge_agent.errors import SourceLost

_ATTEMPTS = 20
_RECEIVE_BUFFER = 1 << 21  # a keyframe of a 4K stream comes in one burst
_DATAGRAM = 1 << 16
_MOST_AT_ONCE = 256  # datagrams a turn, so that one stream cannot keep the thread
WINDOW = 32  # packets held back for a missing one
PATIENCE_NS = 100_000_000


class UdpPair:
    """An even port for RTP and the next one for RTCP, at the address that the device already talks to.

    Only datagrams from the device's address are taken. Capture thread only; nothing blocks.
    """

    def __init__(self, tcp: socket.socket) -> None:
        """Raises SourceLost when no pair of ports is free."""
        self._host = tcp.getpeername()[0]
        self.rtp, self.rtcp = _bind_pair(tcp.family, tcp.getsockname()[0])
        self._order = Reorderer()

    @property
    def port(self) -> int:
        return int(self.rtp.getsockname()[1])

    def receive(self, now_ns: int) -> list[bytes]:
        """RTP packets in the order of their numbers."""
        return self._order.feed(self._datagrams(self.rtp), now_ns)

    def reports(self) -> list[bytes]:
        return self._datagrams(self.rtcp)

    def send_report(self, report: bytes, port: int) -> None:
        """To the device's RTCP port; a report that cannot be sent is not missed."""
        try:
            self.rtcp.sendto(report, (self._host, port))
        except OSError:
            return

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()

    def _datagrams(self, sock: socket.socket) -> list[bytes]:
        found: list[bytes] = []
        for _ in range(_MOST_AT_ONCE):
            try:
                datagram, sender = sock.recvfrom(_DATAGRAM)
            except OSError:  # nothing more, or the echo of a report that nobody wanted
                break
            if sender[0] == self._host:
                found.append(datagram)
        return found


class Reorderer:
    """Puts RTP packets in order: waits for a missing one until 32 others or 100 ms have come. Pure."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._held: dict[int, bytes] = {}
        self._held_since_ns = 0

    def feed(self, packets: Sequence[bytes], now_ns: int) -> list[bytes]:
        """What may go on. A packet that comes too late is handed on as it comes."""
        ready: list[bytes] = []
        for packet in packets:
            if len(packet) >= 12:
                self._take(packet, now_ns, ready)
        if self._held and now_ns - self._held_since_ns > PATIENCE_NS:
            self._skip(now_ns, ready)
        return ready

    def _take(self, packet: bytes, now_ns: int, ready: list[bytes]) -> None:
        number = packet[2] << 8 | packet[3]
        ahead = 0 if self._next is None else (number - self._next) & 0xFFFF
        if ahead >= 1 << 15:
            ready.append(packet)
        elif ahead == 0:
            ready.append(packet)
            self._next = (number + 1) & 0xFFFF
            self._release(now_ns, ready)
        else:
            if not self._held:
                self._held_since_ns = now_ns
            self._held[number] = packet
            if len(self._held) > WINDOW:
                self._skip(now_ns, ready)

    def _skip(self, now_ns: int, ready: list[bytes]) -> None:
        """Give the missing packet up."""
        base = self._next or 0
        self._next = min(self._held, key=lambda number: (number - base) & 0xFFFF)
        self._release(now_ns, ready)

    def _release(self, now_ns: int, ready: list[bytes]) -> None:
        while self._next is not None and (packet := self._held.pop(self._next, None)) is not None:
            ready.append(packet)
            self._next = (self._next + 1) & 0xFFFF
        self._held_since_ns = now_ns


def _bind_pair(family: int, host: str) -> tuple[socket.socket, socket.socket]:
    for _ in range(_ATTEMPTS):
        first, second = _socket(family), _socket(family)
        try:
            first.bind((host, 0))
            port = first.getsockname()[1]
            if port % 2 == 0:
                second.bind((host, port + 1))
                return first, second
        except OSError:
            pass  # the neighbour is taken
        first.close()
        second.close()
    raise SourceLost("no pair of UDP ports is free")


def _socket(family: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    return sock
