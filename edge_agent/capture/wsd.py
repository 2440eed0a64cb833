"""WS-Discovery 1.0 (April 2005) as ONVIF uses it (Core Specification, section 7): messages, no sockets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote, urlsplit

from edge_agent.errors import FormatError

GROUP, PORT = "239.255.255.250", 3702
MAX_DATAGRAM = 65_535
MAX_LIST = 64

_SCOPE = re.compile(r"^onvif://www\.onvif\.org/(?P<key>[A-Za-z]+)/(?P<value>[^/].*)$", re.IGNORECASE)
_MAC = re.compile(r"([0-9a-f]{2}[:-]?){5}[0-9a-f]{2}", re.IGNORECASE)


class Probed(StrEnum):
    """What is asked for. Sent apart: a list of types is an AND, and some devices have only one of them."""

    TRANSMITTER = "dn:NetworkVideoTransmitter"
    DEVICE = "tds:Device"
    ANYTHING = ""


@dataclass(frozen=True, slots=True)
class Match:
    """One ProbeMatch or Hello as it was said; nothing in it is believed yet."""

    epr: str
    types: tuple[str, ...]
    scopes: tuple[str, ...]
    xaddrs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A device that answered. `address` is where the answer came from, `port` where its ONVIF should be;
    port 0: it answered a sweep, and not in ONVIF.
    """

    epr: str
    address: str
    port: int
    xaddrs: tuple[str, ...]
    scopes: tuple[str, ...]
    interface: str
    name: str = ""
    hardware: str = ""
    mac: str = ""
    maker: str = ""  # a guess, when a sweep found it and ONVIF did not answer
    ports: tuple[int, ...] = ()  # those that a sweep found open

    @property
    def foreign(self) -> bool:
        """No XAddr names the address that answered: another subnet, or a misconfigured device."""
        return bool(self.xaddrs) and all(urlsplit_host(x) != self.address for x in self.xaddrs)


def probe(kind: Probed, message_id: str) -> bytes:
    """One Probe, on one line: Hikvision firmware has been seen to ignore a probe with newlines."""
    types = f"<d:Types>{kind.value}</d:Types>" if kind.value else ""
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"'
        ' xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
        ' xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"'
        ' xmlns:dn="http://www.onvif.org/ver10/network/wsdl"'
        ' xmlns:tds="http://www.onvif.org/ver10/device/wsdl">'
        f"<e:Header><w:MessageID>urn:uuid:{message_id}</w:MessageID>"
        '<w:To e:mustUnderstand="true">urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>'
        '<w:Action e:mustUnderstand="true">http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action>'
        f"</e:Header><e:Body><d:Probe>{types}</d:Probe></e:Body></e:Envelope>"
    ).encode()


def matches(datagram: bytes) -> tuple[Match, ...]:
    """The matches in one answer. RelatesTo is not asked for: devices answer with a wrong or no Header.

    Raises FormatError for whatever is not a ProbeMatches, for instance other people's probes.
    """
    from edge_agent.capture import soap  # lxml, only once there is something to read

    if len(datagram) > MAX_DATAGRAM:
        raise FormatError("a datagram larger than a datagram")
    try:
        answer = soap.reply(datagram)
    except soap.SoapFault as fault:
        raise FormatError(f"a fault instead of a match: {fault}") from fault
    if soap.local(answer) not in ("ProbeMatches", "ResolveMatches", "Hello"):
        raise FormatError(f"not a probe match, but {soap.local(answer)[:40]}")
    entries = [answer] if soap.local(answer) == "Hello" else [*soap.elements(answer)]
    return tuple(_match(e) for e in entries[:MAX_LIST])


def found(match: Match, sender: str, interface: str) -> Found:
    """What a match means, given who sent it and where it was heard."""
    scopes = dict(reversed([s for s in map(_scope, match.scopes) if s]))
    mac = _MAC.search(scopes.get("mac", ""))
    return Found(
        epr=match.epr,
        address=sender,
        port=_port(match.xaddrs, sender),
        xaddrs=match.xaddrs,
        scopes=match.scopes,
        interface=interface,
        name=scopes.get("name", ""),
        hardware=scopes.get("hardware", ""),
        mac=plain_mac(mac[0]) if mac else "",
    )


def merge(devices: Iterable[Found]) -> list[Found]:
    """One entry a device: by endpoint reference, then MAC, then address. The first answer keeps its place."""
    merged: list[Found] = []
    for device in devices:
        at = next((i for i, known in enumerate(merged) if same(known, device)), None)
        if at is None:
            merged.append(device)
        else:
            merged[at] = _joined(merged[at], device)
    return merged


def same(a: Found, b: Found) -> bool:
    if a.epr and a.epr == b.epr:
        return True
    if a.mac and b.mac:
        return a.mac == b.mac
    nameless = not (a.epr and b.epr)
    return nameless and (a.address, a.port) == (b.address, b.port)


def plain_mac(text: str) -> str:
    """`AA-BB-..` and `aabb..` as `aa:bb:..`."""
    digits = re.sub(r"[^0-9a-f]", "", text.lower())[:12]
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def urlsplit_host(url: str) -> str:
    """The host of a URL that may be nonsense; empty then."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _match(entry: object) -> Match:
    from edge_agent.capture import soap

    assert isinstance(entry, soap.Element)
    return Match(
        epr=soap.text(entry, "EndpointReference", "Address")[:200],
        types=_words(soap.text(entry, "Types")),
        scopes=_words(soap.text(entry, "Scopes")),
        xaddrs=_words(soap.text(entry, "XAddrs")),
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(word[:500] for word in text.split()[:MAX_LIST])


def _scope(scope: str) -> tuple[str, str] | None:
    found = _SCOPE.match(scope)
    if not found:
        return None
    value = "".join(c for c in unquote(found["value"]) if c.isprintable())
    return found["key"].lower(), value.strip()[:100]


def _port(xaddrs: tuple[str, ...], sender: str) -> int:
    """The port of the XAddr that names the sender, else of the first HTTP one, else 80.

    Read by hand, because `http://10.0.0.2:8106:8106/` exists and `urlsplit` refuses it.
    """
    plain = sorted((x for x in xaddrs if x.startswith("http://")), key=lambda x: urlsplit_host(x) != sender)
    authority = plain[0][7:].partition("/")[0] if plain else ""
    digits = re.search(r"(?<!:):(\d{1,5})(?::\d+)?$", authority)
    port = int(digits[1]) if digits else 80
    return port if 0 < port < 65_536 else 80


def _joined(a: Found, b: Found) -> Found:
    """Two answers of one device: the address reached directly wins over a foreign one."""
    first, second = (b, a) if a.foreign and not b.foreign else (a, b)
    return Found(
        epr=first.epr or second.epr,
        address=first.address,
        port=first.port,
        xaddrs=tuple(dict.fromkeys((*first.xaddrs, *second.xaddrs)))[:MAX_LIST],
        scopes=tuple(dict.fromkeys((*first.scopes, *second.scopes)))[:MAX_LIST],
        interface=first.interface,
        name=first.name or second.name,
        hardware=first.hardware or second.hardware,
        mac=first.mac or second.mac,
    )
