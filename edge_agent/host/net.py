"""How far does the box reach? Its port, its router, the name service: questions on the way to the broker.

A switch between box and recorder keeps the port's link up whatever is behind it: the port tells of the box's
own cable alone. Read from /sys/class/net and /proc/net/route; nothing here needs a privilege.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from edge_agent.host import neighbours
from edge_agent.host.knock import knock

ROUTES = Path("/proc/net/route")
INTERFACES = Path("/sys/class/net")
ROUTER_PORTS = (53, 80, 443)  # refused is an answer too
ROUTER_S = 2.0
DNS_S = 4.0


@dataclass(frozen=True, slots=True)
class Route:
    """The default route: its interface, and the router's address."""

    interface: str
    router: str


def default_route(table: str) -> Route | None:
    """The one of the lowest metric in /proc/net/route; None without any."""
    best: tuple[int, Route] | None = None
    for line in table.splitlines()[1:]:
        fields = line.split()
        try:
            name, destination, gateway, flags, metric, mask = (fields[i] for i in (0, 1, 2, 3, 6, 7))
            if int(destination, 16) or int(mask, 16) or not int(flags, 16) & 0x2:
                continue
            address = str(ipaddress.IPv4Address(int(gateway, 16).to_bytes(4, "little")))
            if best is None or int(metric) < best[0]:
                best = int(metric), Route(name, address)
        except (IndexError, ValueError, OverflowError):
            continue
    return best[1] if best else None


def carrier(interface: str, interfaces: Path = INTERFACES) -> bool | None:
    """Whether the port has a link; None when there is no such port or it does not tell."""
    try:
        return (interfaces / interface / "carrier").read_text(encoding="ascii").strip() == "1"
    except FileNotFoundError:
        return None
    except OSError:  # EINVAL: the interface is down, which is no link either
        return False


def router_answers(address: str, timeout_s: float = ROUTER_S) -> bool | None:
    """True when it answers any knock or was heard since; False when nobody answers for its address."""
    began = time.monotonic()
    if any(a.answers for a in knock([(address, port) for port in ROUTER_PORTS], timeout_s).values()):
        return True
    return neighbours.present(neighbours.neighbours().get(address), time.monotonic() - began)


class NameQuestion:
    """Is a name known to the name service? The system's resolver cannot be interrupted, so it is waited for
    in a thread of its own; while one still waits, no other is begun."""

    def __init__(self) -> None:
        self._thread: Thread | None = None
        self._addresses: tuple[str, ...] = ()

    def ask(self, host: str, timeout_s: float = DNS_S) -> bool | None:
        """None for an address, which needs no name service. False: no answer in time, or no such name."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return bool(self.addresses(host, timeout_s))
        return None

    def addresses(self, host: str, timeout_s: float = DNS_S) -> tuple[str, ...]:
        """The host's addresses, or its own if it is one; empty when the name service does not tell."""
        if self._thread is not None and self._thread.is_alive():
            return ()
        self._addresses = ()
        self._thread = Thread(target=self._resolve, args=(host,), name="name-question", daemon=True)
        self._thread.start()
        self._thread.join(timeout_s)
        return self._addresses

    def _resolve(self, host: str) -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        self._addresses = tuple(dict.fromkeys(str(info[4][0]) for info in found))
