"""RTP payloads to NAL units: RFC 6184 (H.264) and RFC 7798 (H.265), as cameras really send them.

A depacketizer is told packets in order and without holes; whoever feeds it calls `reset` after a hole.
Quirks handled: a fragmented unit without its end bit, a whole Annex-B stream inside one unit, start codes
in front of a unit (docs/design/capture.md).
"""

from __future__ import annotations

import re
from typing import Protocol

from edge_agent.capture import h265

_ONE_BYTE = tuple(bytes([value]) for value in range(256))
_START_CODE = re.compile(rb"\x00\x00\x01")
_PROBED_UNITS = 500
MOST_NALS = 1024  # in one picture

STAP_A, FU_A = 24, 28
AP, FU = 48, 49


class Depacketizer(Protocol):
    nals: list[bytes]

    def take(self, packet: bytes, at: int, end: int) -> bool:
        """Add the NAL units of `packet[at:end]` to `nals`; False when the payload makes no sense."""
        ...

    def close(self) -> list[bytes]:
        """The access unit is over: hand out its NAL units and begin the next."""
        ...

    def reset(self) -> None:
        """Packets are missing: forget the unit that is half received."""
        ...


class H264Depacketizer:
    """Non-interleaved mode: single units, STAP-A and FU-A. Other types are ignored (RFC 6184 section 5.4)."""

    def __init__(self) -> None:
        self.nals: list[bytes] = []
        self._pieces: list[bytes] = []
        self._probe = _PROBED_UNITS

    def take(self, packet: bytes, at: int, end: int) -> bool:
        kind = packet[at] & 0x1F
        if kind == FU_A:
            if self._pieces and end - at > 2 and packet[at + 1] < 0x40:  # neither start nor end: the most
                self._pieces.append(packet[at + 2 : end])
                return True
            return self._take_fragment(packet, at, end)
        if self._pieces:
            self._finish_fragments()
        if kind < STAP_A:
            self._add(packet[at:end])
        elif kind == STAP_A:
            return self._take_aggregate(packet, at + 1, end)
        return True

    def close(self) -> list[bytes]:
        if self._pieces:
            self._finish_fragments()
        nals, self.nals = self.nals, []
        return nals

    def reset(self) -> None:
        self._pieces = []

    def _take_fragment(self, packet: bytes, at: int, end: int) -> bool:
        if end - at < 3:
            return False
        head = packet[at + 1]
        if head & 0x80:
            if self._pieces:
                self._finish_fragments()
            self._pieces = [_ONE_BYTE[(packet[at] & 0xE0) | (head & 0x1F)]]
        elif not self._pieces:
            return False
        self._pieces.append(packet[at + 2 : end])
        if head & 0x40:
            self._finish_fragments()
        return True

    def _take_aggregate(self, packet: bytes, at: int, end: int) -> bool:
        while end - at > 2:
            stop = at + 2 + (packet[at] << 8 | packet[at + 1])
            if stop > end or stop == at + 2 or len(self.nals) > MOST_NALS:
                return False
            self._add(packet[at + 2 : stop])
            at = stop
        return at == end

    def _finish_fragments(self) -> None:
        nal = b"".join(self._pieces)
        self._pieces = []
        self._add(nal)

    def _add(self, nal: bytes) -> None:
        if self._probe or nal[0] & 0x1F in (0, 6, 7, 8, 9):
            self._probe = _split_annexb(nal, self.nals, self._probe)
        else:
            self.nals.append(nal)


class H265Depacketizer:
    """Single units, AP and FU; with `don`, decoding order numbers stand in every payload (section 4.4)."""

    def __init__(self, don: bool = False) -> None:
        self.nals: list[bytes] = []
        self._don = 2 if don else 0
        self._order: list[int] = []
        self._pieces: list[bytes] = []
        self._piece_order = 0
        self._probe = _PROBED_UNITS

    def take(self, packet: bytes, at: int, end: int) -> bool:
        if end - at < 3:
            return False
        kind = (packet[at] >> 1) & 0x3F
        if kind == FU:
            return self._take_fragment(packet, at, end)
        if self._pieces:
            self._finish_fragments()
        if kind < AP:
            order = _u16(packet, at + 2, end) if self._don else 0
            self._add(packet[at : at + 2] + packet[at + 2 + self._don : end], order)
        elif kind == AP:
            return self._take_aggregate(packet, at + 2, end)
        return True

    def close(self) -> list[bytes]:
        if self._pieces:
            self._finish_fragments()
        nals, self.nals = self.nals, []
        if self._don:
            nals = _in_decoding_order(nals, self._order)
            self._order = []
        return nals

    def reset(self) -> None:
        self._pieces = []

    def _take_fragment(self, packet: bytes, at: int, end: int) -> bool:
        head = packet[at + 2]
        start = at + 3
        if head & 0x80:
            if self._pieces:
                self._finish_fragments()
            self._pieces = [_ONE_BYTE[(packet[at] & 0x81) | (head & 0x3F) << 1] + _ONE_BYTE[packet[at + 1]]]
            if self._don:
                self._piece_order = _u16(packet, start, end)
                start += 2
        elif not self._pieces:
            return False
        self._pieces.append(packet[start:end])
        if head & 0x40:
            self._finish_fragments()
        return True

    def _take_aggregate(self, packet: bytes, at: int, end: int) -> bool:
        order = 0
        if self._don:
            order = _u16(packet, at, end)
            at += 2
        while end - at > 2:
            stop = at + 2 + (packet[at] << 8 | packet[at + 1])
            if stop > end or stop < at + 4 or len(self.nals) > MOST_NALS:
                return False
            self._add(packet[at + 2 : stop], order)
            at = stop
            if self._don and at < end:
                order = (order + 1 + packet[at]) & 0xFFFF
                at += 1
        return at == end

    def _finish_fragments(self) -> None:
        nal = b"".join(self._pieces)
        self._pieces = []
        self._add(nal, self._piece_order)

    def _add(self, nal: bytes, order: int) -> None:
        before = len(self.nals)
        if self._probe or h265.nal_type(nal) >= h265.VPS:
            self._probe = _split_annexb(nal, self.nals, self._probe)
        else:
            self.nals.append(nal)
        if self._don:
            self._order.extend([order] * (len(self.nals) - before))


def _split_annexb(nal: bytes, nals: list[bytes], probe: int) -> int:
    """Add `nal`, split at start codes; answer how many further units are to be looked into.

    No NAL unit may contain 00 00 01, so finding it proves the quirk and every unit is searched from then
    on. Cameras show it at once: searching all bytes for ever would cost as much as receiving them.
    """
    if _START_CODE.search(nal) is None:
        nals.append(nal)
        return max(probe - 1, 0)
    nals.extend(unit for part in _START_CODE.split(nal, MOST_NALS) if (unit := part.rstrip(b"\x00")))
    return _PROBED_UNITS


def _in_decoding_order(nals: list[bytes], order: list[int]) -> list[bytes]:
    """Sort one access unit by DON, modulo 2^16."""
    if not order:
        return nals
    first = order[0]
    distance = [((number - first + 0x8000) & 0xFFFF) for number in order]
    return [nals[i] for i in sorted(range(len(nals)), key=distance.__getitem__)]


def _u16(packet: bytes, at: int, end: int) -> int:
    return int.from_bytes(packet[at : min(at + 2, end)], "big")
