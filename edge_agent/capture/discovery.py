"""WS-Discovery on every chosen interface: a socket each, three kinds of probe, several rounds.

Only the named interfaces hear anything: a demo names `lo` and the shop's network stays silent.
"""

from __future__ import annotations

import logging
import selectors
import socket
import struct
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from threading import Event

from edge_agent.capture import sweep as sweeping
from edge_agent.capture import wsd
from edge_agent.capture.sweep import Network
from edge_agent.capture.wsd import Found
from edge_agent.errors import FormatError

log = logging.getLogger(__name__)

MAX_FOUND = 256
MAX_DATAGRAMS = 4096
UNICAST_S = 1.5  # to answer a probe that was addressed to it alone
OnFound = Callable[[Found], bool | None]


def discover(
    interfaces: Sequence[str],
    *,
    rounds: int = 3,
    timeout_s: float = 4.0,
    stop: Event,
    on_found: OnFound | None = None,
    sweep: bool = False,
    on_sweep: Callable[[int], None] | None = None,
) -> list[Found]:
    """Ask for ONVIF devices and listen, `timeout_s` in total; ends early when `stop` is set.

    `interfaces` empty means every interface that is up, has IPv4 and is not loopback. An interface that
    cannot send (a dead VPN) is logged and left out. `on_found` is called once a device, in this thread; it
    answers True when no further device is needed.

    With `sweep`, and only if nobody answered, every address of the local /24 of each interface is knocked at
    (never of the loopback), and who is there is asked alone: some 6 s more. `on_sweep` is told how many.
    """
    with selectors.DefaultSelector() as selector:
        networks = _addresses(interfaces)
        for net in networks:
            sock = _open(net.interface, net.address)
            if sock is not None:
                selector.register(sock, selectors.EVENT_READ, net.interface)
        try:
            devices = _rounds(selector, rounds, timeout_s, stop, on_found)
            around = [n for n in networks if not n.address.startswith("127.")]
            if devices or not sweep or not any(n.hosts for n in around):
                return devices
            if on_sweep is not None:
                on_sweep(sum(len(n.hosts) for n in around))
            return _sweep(selector, around, stop, on_found)
        finally:
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]


def _sweep(
    selector: selectors.BaseSelector, networks: list[Network], stop: Event, on_found: OnFound | None
) -> list[Found]:
    """Who is there, and what they say of themselves when asked alone: an ONVIF answer tells most."""
    there = sweeping.sweep(networks, stop)
    for key in list(selector.get_map().values()):
        sock = key.fileobj
        assert isinstance(sock, socket.socket)
        for device in there:
            if device.interface == key.data:
                with suppress(OSError):
                    sock.sendto(wsd.probe(wsd.Probed.ANYTHING, str(uuid.uuid4())), (device.address, wsd.PORT))
    answers = [*_listen(selector, time.monotonic() + UNICAST_S, stop)] if there else []
    devices = [_introduced(device, answers) for device in there]
    for device in devices:
        if on_found is not None and on_found(device):
            break
    return devices


def _introduced(device: Found, answers: Iterable[Found]) -> Found:
    """The ONVIF answer of a swept device, with what the sweep knows; the device as swept without one."""
    for answer in answers:
        if answer.address == device.address:
            mac = answer.mac or device.mac
            return replace(answer, mac=mac, maker=device.maker, ports=device.ports)
    return device


def _rounds(
    selector: selectors.BaseSelector, rounds: int, timeout_s: float, stop: Event, on_found: OnFound | None
) -> list[Found]:
    devices: list[Found] = []
    if not selector.get_map():
        return devices
    for number in range(rounds):
        _ask(selector)
        until = time.monotonic() + timeout_s / rounds
        for device in _listen(selector, until, stop):
            before = len(devices)
            devices = wsd.merge([*devices, device])[:MAX_FOUND]
            if len(devices) > before and on_found is not None and on_found(devices[-1]):
                return devices
        if stop.is_set():
            break
        log.debug("discovery round %d: %d devices", number + 1, len(devices))
    return devices


def _ask(selector: selectors.BaseSelector) -> None:
    for key in list(selector.get_map().values()):
        sock = key.fileobj
        assert isinstance(sock, socket.socket)
        try:
            for kind in wsd.Probed:
                sock.sendto(wsd.probe(kind, str(uuid.uuid4())), (wsd.GROUP, wsd.PORT))
        except OSError as error:
            log.warning("discovery leaves out interface %s: %s", key.data, error)
            selector.unregister(sock)
            sock.close()


def _listen(selector: selectors.BaseSelector, until: float, stop: Event) -> Iterable[Found]:
    heard = 0
    while heard < MAX_DATAGRAMS and not stop.is_set() and (left_s := until - time.monotonic()) > 0:
        if not selector.get_map():
            stop.wait(left_s)
            return
        for key, _ in selector.select(min(left_s, 0.2)):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            heard += 1
            yield from _receive(sock, key.data)


def _receive(sock: socket.socket, interface: str) -> list[Found]:
    try:
        datagram, (sender, _) = sock.recvfrom(wsd.MAX_DATAGRAM)
        return [wsd.found(match, sender, interface) for match in wsd.matches(datagram)]
    except FormatError as error:
        log.debug("discovery: %s", error)
    except OSError as error:  # an ICMP error that belongs to an earlier probe
        log.debug("discovery on %s: %s", interface, error)
    return []


def _open(name: str, address: str) -> socket.socket | None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind((address, 0))
        # ip_mreqn with the interface's index: works on `lo`, without routes, and with equal addresses.
        group = struct.pack("=4s4si", socket.inet_aton(wsd.GROUP), bytes(4), socket.if_nametoindex(name))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, group)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
    except OSError as error:
        log.warning("discovery leaves out interface %s: %s", name, error)
        sock.close()
        return None
    return sock


def _addresses(interfaces: Sequence[str]) -> list[Network]:
    """The first IPv4 network of the named interfaces, or of all that are up and not loopback."""
    import psutil

    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    have = {
        name: [(a.address, a.netmask or "") for a in addresses if a.family == socket.AF_INET]
        for name, addresses in psutil.net_if_addrs().items()
    }
    for name in interfaces:
        if name not in up or not have.get(name):
            log.warning("discovery leaves out interface %s: it is down or has no IPv4 address", name)
    chosen = interfaces or [name for name in sorted(up) if not _loopback(have.get(name, []))]
    return [
        sweeping.network(name, *address)
        for name in chosen
        if name in up
        for address in have.get(name, [])[:1]
    ]


def _loopback(addresses: list[tuple[str, str]]) -> bool:
    return any(address.startswith("127.") for address, _ in addresses)
