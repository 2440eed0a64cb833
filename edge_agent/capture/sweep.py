"""When nobody answers the multicast: knock at every address of the local /24, gently, and look who opens.

Some switches drop multicast, and many recorders have ONVIF off. A knock is one TCP connection at a time to a
host, at most 128 hosts at once; nothing is sent that a browser or a player would not send.
"""

from __future__ import annotations

import errno
import ipaddress
import selectors
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from edge_agent.capture import brands, rtsp_ask, rtsp_auth, wsd
from edge_agent.capture.wsd import Found
from edge_agent.errors import SourceLost

RTSP = 554
PORTS = (80, 8000, 8899, 34567, 37777)
AT_ONCE = 128
KNOCK_S = 0.8
WAKE_S = 1.0  # a host that must be found by ARP first
FINGERPRINT_S = 1.5
MAX_HOSTS = 254
MAX_ANSWERING = 32
ARP_TABLE = Path("/proc/net/arp")
_NOWHERE = "/edge-agent-asks-who-you-are"  # no recorder has such a stream


@dataclass(frozen=True, slots=True)
class Network:
    """One interface of ours: its address and the part of its network that is swept."""

    interface: str
    address: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Doors:
    """Which ports of a host are open, and which at least answered with a refusal."""

    open: frozenset[int]
    alive: bool


def network(interface: str, address: str, netmask: str) -> Network:
    """At most the /24 around our own address, without it; a point-to-point link has nobody to sweep."""
    ours = ipaddress.IPv4Interface(f"{address}/{netmask or 24}")
    narrow = (
        ours.network if ours.network.prefixlen >= 24 else ipaddress.IPv4Interface(f"{address}/24").network
    )
    hosts = tuple(str(host) for host in narrow.hosts() if host != ours.ip)[:MAX_HOSTS]
    return Network(interface, address, hosts if narrow.prefixlen < 31 else ())


def sweep(networks: Sequence[Network], stop: Event) -> list[Found]:
    """Recorders and cameras among the hosts of `networks`, with a guess at their maker; at most 32.

    Takes about 5 s a network. What neither speaks RTSP nor opens a recorder's own port is left out.
    """
    found: list[Found] = []
    for net in networks:
        if net.hosts and not stop.is_set():
            found += _sweep(net, stop)
    return found[:MAX_ANSWERING]


def knock(targets: Iterable[tuple[str, int]], stop: Event, *, wait_s: float, source: str) -> dict[str, Doors]:
    """Try to connect to each (host, port) and hang up; who answered, by host."""
    open_ports: dict[str, set[int]] = {}
    alive: set[str] = set()
    waiting = iter(targets)
    with selectors.DefaultSelector() as selector:
        while not stop.is_set():
            _fill(selector, waiting, wait_s, source)
            if not selector.get_map():
                break
            for key, _ in selector.select(0.05):
                host, port, _ = key.data
                error = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # type: ignore[union-attr]
                if error == 0:
                    open_ports.setdefault(host, set()).add(port)
                if error in (0, errno.ECONNREFUSED):
                    alive.add(host)
                _close(selector, key)
            for key in [k for k in selector.get_map().values() if k.data[2] < time.monotonic()]:
                _close(selector, key)
        for key in list(selector.get_map().values()):
            _close(selector, key)
    return {host: Doors(frozenset(open_ports.get(host, ())), True) for host in alive}


def macs() -> dict[str, str]:
    """Hardware address of each neighbour that the kernel knows, by IPv4 address."""
    try:
        lines = ARP_TABLE.read_text(encoding="ascii", errors="replace").splitlines()[1:]
    except OSError:
        return {}
    fields = (line.split() for line in lines)
    complete = 0x2
    return {f[0]: wsd.plain_mac(f[3]) for f in fields if len(f) >= 4 and int(f[2], 16) & complete}


def _sweep(net: Network, stop: Event) -> list[Found]:
    first = knock(((h, RTSP) for h in net.hosts), stop, wait_s=WAKE_S, source=net.address)
    neighbours = macs()
    awake = [h for h in net.hosts if h in first or h in neighbours]
    others = knock(((h, p) for p in PORTS for h in awake), stop, wait_s=KNOCK_S, source=net.address)
    doors = {host: frozenset().union(*(d[host].open for d in (first, others) if host in d)) for host in awake}
    candidates = [(h, ports) for h, ports in doors.items() if ports & {RTSP, 34567, 37777}][:MAX_ANSWERING]
    with ThreadPoolExecutor(8, thread_name_prefix="fingerprint") as pool:
        makers = list(pool.map(lambda each: _maker(*each), candidates))
    return [
        Found(
            epr="",
            address=host,
            port=0,
            xaddrs=(),
            scopes=(),
            interface=net.interface,
            mac=neighbours.get(host, ""),
            maker=maker,
            ports=tuple(sorted(ports)),
        )
        for (host, ports), maker in zip(candidates, makers, strict=True)
        if maker is not None
    ]


def _maker(host: str, ports: frozenset[int]) -> str | None:
    """The maker as far as it can be told, empty if it cannot; None when this is no RTSP device at all."""
    by_port = next((brands.BY_PORT[port] for port in sorted(ports) if port in brands.BY_PORT), "")
    if RTSP not in ports:
        return by_port
    try:
        realm, server = introduction(host, RTSP)
    except SourceLost:
        return by_port or None
    brand = brands.fingerprint(realm, server)
    return brand.name if brand else by_port


def introduction(host: str, port: int) -> tuple[str, str]:
    """Realm and `Server` of an RTSP server, from a DESCRIBE of what does not exist. Raises SourceLost."""
    url = f"rtsp://{host}:{port}{_NOWHERE}"
    reply = rtsp_ask.ask(host, port, "DESCRIBE", url, timeout_s=FINGERPRINT_S)
    challenge = rtsp_auth.strongest(reply.headers.get("www-authenticate", ()))
    realm = challenge.parameters.get("realm", "") if challenge else ""
    return realm[:100], reply.header("server")[:100]


def _fill(
    selector: selectors.BaseSelector, waiting: Iterator[tuple[str, int]], wait_s: float, source: str
) -> None:
    while len(selector.get_map()) < AT_ONCE:
        target = next(waiting, None)
        if target is None:
            return
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.bind((source, 0))  # the interface that was chosen, whatever the routes say
            code = sock.connect_ex(target)
        except OSError:
            code = errno.EHOSTUNREACH
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            continue
        selector.register(sock, selectors.EVENT_WRITE, (*target, time.monotonic() + wait_s))


def _close(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    selector.unregister(key.fileobj)
    key.fileobj.close()  # type: ignore[union-attr]
