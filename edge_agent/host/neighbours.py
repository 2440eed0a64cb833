"""Who is there on our own network, as the kernel's neighbour table says: IPv4 by ARP, IPv6 by NDP.

Read over rtnetlink (RTM_GETNEIGH, rtnetlink(7)), which needs no privilege. An entry outlives its machine by
half a minute and more, so an entry alone proves nothing: what counts is when the machine was last heard.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

RTM_NEWNEIGH, RTM_GETNEIGH = 28, 30
NLM_F_REQUEST_DUMP = 0x301
NLMSG_ERROR, NLMSG_DONE = 2, 3
NDA_DST, NDA_CACHEINFO = 1, 3
NUD_INCOMPLETE, NUD_FAILED = 0x01, 0x20
HZ = 100  # USER_HZ: the unit of the ages, on every architecture that we run on
MAX_ANSWERS = 256
TIMEOUT_S = 1.0

_HEADER = struct.Struct("=IHHII")
_NDMSG = struct.Struct("=BxxxiHBB")
_ATTRIBUTE = struct.Struct("=HH")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """`heard_s`: seconds since it proved to be there. `failed`: nobody answers for this address."""

    address: str
    failed: bool
    heard_s: float


def present(neighbour: Neighbour | None, within_s: float) -> bool | None:
    """True when it was heard in the last `within_s`, False when nobody answers for its address.

    None when that cannot be told: a routed host, or an entry that is older than the question.
    """
    if neighbour is None:
        return None
    if neighbour.failed:
        return False
    return True if neighbour.heard_s <= within_s else None


def neighbours() -> dict[str, Neighbour]:
    """All that the kernel knows, by address; empty where it may not be asked. Takes milliseconds."""
    request = _NDMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    message = _HEADER.pack(_HEADER.size + len(request), RTM_GETNEIGH, NLM_F_REQUEST_DUMP, 1, 0) + request
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as sock:
            sock.settimeout(TIMEOUT_S)
            sock.send(message)
            return {found.address: found for found in _answers(sock)}
    except OSError:
        return {}


def _answers(sock: socket.socket) -> Iterator[Neighbour]:
    for _ in range(MAX_ANSWERS):
        buffer = sock.recv(1 << 16)
        for kind, body in messages(buffer):
            if kind in (NLMSG_DONE, NLMSG_ERROR):
                return
            found = read(body) if kind == RTM_NEWNEIGH else None
            if found is not None:
                yield found


def messages(buffer: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, body) of each netlink message; what is cut short ends it."""
    at = 0
    while at + _HEADER.size <= len(buffer):
        length, kind, *_ = _HEADER.unpack_from(buffer, at)
        if length < _HEADER.size or at + length > len(buffer):
            return
        yield kind, buffer[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def read(body: bytes) -> Neighbour | None:
    """One entry; None when it is of another family or tells no address."""
    if len(body) < _NDMSG.size:
        return None
    family, _, state, _, _ = _NDMSG.unpack_from(body)
    address, heard_s, at = "", float("inf"), _NDMSG.size
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size:
            return None
        value = body[at + _ATTRIBUTE.size : at + length]
        if kind == NDA_DST and (family, len(value)) in ((socket.AF_INET, 4), (socket.AF_INET6, 16)):
            address = socket.inet_ntop(family, value)
        elif kind == NDA_CACHEINFO and len(value) >= 4:
            heard_s = struct.unpack_from("=I", value)[0] / HZ
        at += (length + 3) & ~3
    failed = bool(state & (NUD_INCOMPLETE | NUD_FAILED))
    return Neighbour(address, failed, heard_s) if address else None
