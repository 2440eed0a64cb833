"""WS-Discovery, the answering side (WS-Discovery 2005, ONVIF Core section 7): ProbeMatches over UDP."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from xml.sax.saxutils import escape

from lxml import etree

from edge_agent.demo.dvr.soap import safe_parser

GROUP, PORT = "239.255.255.250", 3702
_MAX_PROBE = 16 * 1024
_RELATES = re.compile(rb"(<(?:\w+:)?RelatesTo[^>]*>)[^<]*(<)")
_DISCOVERY = "http://schemas.xmlsoap.org/ws/2005/04/discovery"
_ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
_SOAP = "http://www.w3.org/2003/05/soap-envelope"
_TYPES = {
    ("http://www.onvif.org/ver10/network/wsdl", "NetworkVideoTransmitter"),
    ("http://www.onvif.org/ver10/device/wsdl", "Device"),
}


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a ProbeMatch says. `endpoint` stays the same for the life of the recorder."""

    endpoint: str
    scopes: tuple[str, ...]
    xaddr: str
    types: bool = True
    header: bool = True
    deaf: bool = False
    silent: bool = False
    recorded: bytes = b""  # said instead of the above, by a replay
    one_line: bool = False  # what has a line end in it is not heard


@dataclass(frozen=True, slots=True)
class Probe:
    message_id: str
    types: tuple[tuple[str, str], ...]
    scopes: tuple[str, ...]


def parse_probe(packet: bytes) -> Probe | None:
    """None for anything but a Probe: the group carries other people's messages too."""
    if len(packet) > _MAX_PROBE:
        return None
    try:
        root = etree.fromstring(packet, safe_parser())
    except (etree.XMLSyntaxError, ValueError):
        return None
    probe = root.find(f".//{{{_DISCOVERY}}}Probe")
    if probe is None:
        return None
    types = probe.find(f"{{{_DISCOVERY}}}Types")
    named = [] if types is None else [_qualified(types, name) for name in (types.text or "").split()]
    scopes = tuple(probe.findtext(f"{{{_DISCOVERY}}}Scopes", "").split())
    return Probe(root.findtext(f".//{{{_ADDRESSING}}}MessageID", "").strip(), tuple(named), scopes)


def matches(probe: Probe, announcement: Announcement) -> bool:
    """Each type and scope asked for must be ours; scopes match by prefix (RFC 3986 rule)."""
    if announcement.recorded:
        return True
    ours = announcement.scopes
    return set(probe.types) <= _TYPES and all(
        any(own.startswith(asked) for own in ours) for asked in probe.scopes
    )


def probe_matches(probe: Probe, announcement: Announcement) -> bytes:
    if announcement.recorded:
        identity = escape(probe.message_id).replace("\\", "").encode()
        return _RELATES.sub(rb"\g<1>" + identity + rb"\g<2>", announcement.recorded)
    header = (
        f"<s:Header><a:MessageID>urn:uuid:{uuid.uuid4()}</a:MessageID>"
        f"<a:RelatesTo>{escape(probe.message_id)}</a:RelatesTo>"
        f"<a:To>{_ADDRESSING}/role/anonymous</a:To><a:Action>{_DISCOVERY}/ProbeMatches</a:Action></s:Header>"
    )
    types = "<d:Types>dn:NetworkVideoTransmitter tds:Device</d:Types>" if announcement.types else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<s:Envelope xmlns:s="{_SOAP}" xmlns:a="{_ADDRESSING}" xmlns:d="{_DISCOVERY}" '
        'xmlns:dn="http://www.onvif.org/ver10/network/wsdl" xmlns:tds="http://www.onvif.org/ver10/device/wsdl">'
        f"{header if announcement.header else ''}<s:Body><d:ProbeMatches><d:ProbeMatch>"
        f"<a:EndpointReference><a:Address>{announcement.endpoint}</a:Address></a:EndpointReference>{types}"
        f"<d:Scopes>{escape(' '.join(announcement.scopes))}</d:Scopes>"
        f"<d:XAddrs>{announcement.xaddr}</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion>"
        "</d:ProbeMatch></d:ProbeMatches></s:Body></s:Envelope>"
    ).encode()


class DiscoveryResponder:
    """Answers on the given interfaces only: one socket on the group, one on the recorder's own address.

    Without interfaces nothing is opened and nothing answered.

    Several recorders share the port through SO_REUSEADDR: each hears every multicast probe, while a unicast
    probe reaches one of those that share an address.
    """

    def __init__(
        self, announce: Callable[[str], Announcement], host: str, interfaces: tuple[str, ...]
    ) -> None:
        self._announce = announce
        self._host = host
        self._interfaces = interfaces
        self._transports: list[asyncio.DatagramTransport] = []
        self._answers: socket.socket | None = None

    async def open(self) -> None:
        if not self._interfaces:
            return
        running = asyncio.get_running_loop()
        self._answers = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._answers.setblocking(False)
        self._answers.bind((self._host, 0))
        for bound in (_group_socket(self._interfaces), _bound_socket(self._host)):
            transport, _ = await running.create_datagram_endpoint(lambda: _Ear(self), sock=bound)
            self._transports.append(transport)

    def close(self) -> None:
        for transport in self._transports:
            transport.abort()
        self._transports.clear()
        if self._answers is not None:
            self._answers.close()
            self._answers = None

    def heard(self, data: bytes, addr: tuple[str, int], multicast: bool) -> None:
        probe = parse_probe(data)
        if probe is None or self._answers is None:
            return
        announcement = self._announce(self._local_address(addr))
        if announcement.silent or (announcement.deaf and multicast):
            return
        if announcement.one_line and b"\n" in data:
            return
        if matches(probe, announcement):
            with contextlib.suppress(OSError):  # the prober is gone or unreachable; it will probe again
                self._answers.sendto(probe_matches(probe, announcement), addr)

    def _local_address(self, peer: tuple[str, int]) -> str:
        """Our address as the prober sees it, when we listen on all of them."""
        if self._host != "0.0.0.0":  # noqa: S104
            return self._host
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
            route.connect(peer)
            return str(route.getsockname()[0])


class _Ear(asyncio.DatagramProtocol):
    """One of the two sockets."""

    def __init__(self, responder: DiscoveryResponder) -> None:
        self._responder = responder
        self._multicast = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._multicast = transport.get_extra_info("sockname")[0] == GROUP

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._responder.heard(data, addr, self._multicast)


def _group_socket(interfaces: tuple[str, ...]) -> socket.socket:
    group = _bound_socket(GROUP)
    for interface in interfaces:
        request = struct.pack("=4s4si", socket.inet_aton(GROUP), bytes(4), socket.if_nametoindex(interface))
        group.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    return group


def _bound_socket(address: str) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "IP_MULTICAST_ALL"):
        bound.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_ALL, 0)
    bound.setblocking(False)
    bound.bind((address, PORT))
    return bound


def _qualified(element: etree._Element, name: str) -> tuple[str, str]:
    prefix, _, local = name.rpartition(":")
    return element.nsmap.get(prefix or None) or "", local
