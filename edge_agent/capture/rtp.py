"""RTP and RTCP (RFC 3550): packets of one video track to access units, and what the reports say.

`AccessUnits.feed` is the hot path: some 6,000 packets a second with 16 cameras. It reads the fixed header
with one `unpack_from` and leaves the payload where it is; docs/design/capture.md has the measured cost.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edge_agent.capture.depacketize import MOST_NALS, Depacketizer
from edge_agent.capture.parameters import Rules
from edge_agent.model import AccessUnit

LARGEST_UNIT = 4 * 1024 * 1024  # bytes; an 8K keyframe has two million
_PACKET_COST = 64  # bytes of memory for a packet's own sake, so that tiny packets are bounded too
VIDEO_RATE = 90_000

_HEADER = struct.Struct(">BBHII")
_SENDER_REPORT = struct.Struct(">BBHIIIIII")
_RECEIVER_REPORT = struct.Struct(">BBHII I IIII")
_FAR = 0x8000 - 1000  # a hole this large is a restart of the numbering, not a loss
_NTP_EPOCH_S = 2_208_988_800
_DESCRIPTION = struct.Struct(">BBHIBB4sBB")


class AccessUnits:
    """Collects one track's packets into pictures, and counts what is missing.

    The marker bit and a change of timestamp both end a picture. A marker on parameter sets alone does
    not, and a camera that marks every slice is found out and no longer believed.
    """

    def __init__(self, rules: Rules, depacketizer: Depacketizer, clock_rate: int = VIDEO_RATE) -> None:
        self.packets = 0
        self.lost = 0
        self.malformed = 0
        self.ssrc: int | None = None
        self.cycles = 0
        self._rules = rules
        self._depacketizer = depacketizer
        self._clock_rate = clock_rate
        self._next = 0  # sequence number expected
        self._stamp = 0
        self._size = 0
        self._open = False  # a packet of the current picture has come
        self._holed = False  # packets are missing in the current picture or just before it
        self._broken = False  # in it
        self._hole_ahead = self._hole_before = False  # before the next one, before the current one
        self._ended_by_marker = False
        self._repeated = False  # same timestamp as the picture that a marker has just ended
        self._marker_lies = False
        self._carried: list[bytes] = []
        self._rtp_time = 0
        self._unwrapped_from: int | None = None
        self._arrival_ns = 0

    @property
    def highest_sequence(self) -> int:
        """Extended as RFC 3550 section 6.4.1 wants it."""
        return (self.cycles << 16) | ((self._next - 1) & 0xFFFF)

    @property
    def rtp_time(self) -> int:
        return self._rtp_time

    def feed(self, packets: list[bytes], arrival_ns: int) -> list[AccessUnit]:
        """Take packets that arrived together; returns the pictures that they completed."""
        done: list[AccessUnit] = []
        take = self._depacketizer.take
        for packet in packets:
            size = len(packet)
            if size < 13:
                self.malformed += size > 0
                continue
            first, second, sequence, stamp, ssrc = _HEADER.unpack_from(packet)
            at = 12
            if first != 0x80:
                at, size = _payload(packet)
                if at >= size:
                    self.malformed += first >> 6 != 2
                    continue
            if (sequence != self._next or ssrc != self.ssrc) and not self._resume(sequence, ssrc, done):
                continue
            self._next = (sequence + 1) & 0xFFFF
            if not self._next:
                self.cycles += 1
            if stamp != self._stamp or not self._open:
                self._begin(stamp, arrival_ns, done)
            elif self._hole_ahead:
                self._hole_ahead, self._broken = False, True
            self._size += size - at + _PACKET_COST
            if not take(packet, at, size) or self._size > LARGEST_UNIT:
                self._broken = True
                self._spoil()
            if second & 0x80 and not self._marker_lies and self._has_picture():
                self._finish(done, by_marker=True)
        self.packets += len(packets)
        return done

    def _resume(self, sequence: int, ssrc: int, done: list[AccessUnit]) -> bool:
        """Deal with a hole, a late packet or a new source; False when the packet is to be dropped."""
        if self.ssrc is None:
            self.ssrc = ssrc
            return True
        missing = (sequence - self._next) & 0xFFFF
        if ssrc != self.ssrc:
            self.ssrc = ssrc
            if self._open:
                self._finish(done, by_marker=False)
        elif missing > 0xFFFF - 1000:
            return False  # late or twice: its place has been given up already
        elif missing < _FAR:
            self.lost += missing
        if sequence < self._next:
            self.cycles += 1
        self._broken |= self._open  # its end may be missing
        self._hole_ahead = True
        self._spoil()
        return True

    def _begin(self, stamp: int, arrival_ns: int, done: list[AccessUnit]) -> None:
        if self._open:
            self._finish(done, by_marker=False)
        self._repeated = self._ended_by_marker and stamp == self._stamp
        self._hole_before, self._hole_ahead = self._hole_ahead, False
        self._open = True
        self._stamp = stamp
        self._arrival_ns = arrival_ns

    def _spoil(self) -> None:
        self._holed = True
        self._depacketizer.reset()
        if self._size > LARGEST_UNIT or len(self._depacketizer.nals) > MOST_NALS:
            self._depacketizer.nals.clear()
            self._size = 0

    def _has_picture(self) -> bool:
        """A marker after nothing but SPS, PPS or SEI ends no picture."""
        rules = self._rules
        nals = self._depacketizer.nals
        return any(rules.is_picture(rules.nal_type(nal)) for nal in reversed(nals) if nal)

    def _finish(self, done: list[AccessUnit], *, by_marker: bool) -> None:
        rules = self._rules
        nals = self._carried + [n for n in self._depacketizer.close() if len(n) > rules.header_size]
        broken = self._broken
        self._carried = []
        self._open = self._broken = False
        self._size = 0
        pictures = [nal for nal in nals if rules.is_picture(rules.nal_type(nal))]
        if len(nals) > MOST_NALS:
            self._holed = True
            return
        if not pictures:
            self._carried = nals  # parameter sets stamped otherwise than the picture that they precede
            return
        if self._repeated and not rules.first_slice(pictures[0]):
            self._marker_lies = True  # this is the rest of the picture before
            self._holed = broken = True
        self._ended_by_marker = by_marker
        self._unwrap()
        whole = not broken and (not self._hole_before or rules.first_slice(pictures[0]))
        lost = self._holed or not whole
        keyframe = rules.keyframe(nals)
        done.append(AccessUnit(tuple(nals), self._rtp_time, self._arrival_ns, keyframe, lost, whole))
        self._holed = False

    def _unwrap(self) -> None:
        """Count on past 2^32, forward or back by the shorter way, in 90 kHz ticks."""
        if self._unwrapped_from is not None:
            step = ((self._stamp - self._unwrapped_from + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
            self._rtp_time += (
                step if self._clock_rate == VIDEO_RATE else step * VIDEO_RATE // self._clock_rate
            )
        self._unwrapped_from = self._stamp


@dataclass(frozen=True, slots=True)
class SenderReport:
    """The camera's opinion: its wall clock when its media clock showed `rtp_stamp`."""

    ssrc: int
    wall_us: int
    rtp_stamp: int
    ntp_middle: int  # echoed in our report


def parse_sender_report(packet: bytes) -> SenderReport | None:
    """The first sender report of a compound RTCP packet; None when there is none."""
    at = 0
    while at + 8 <= len(packet):
        first, kind, words = packet[at], packet[at + 1], packet[at + 2] << 8 | packet[at + 3]
        if first >> 6 != 2:
            return None
        if kind == 200 and at + 28 <= len(packet):
            _, _, _, ssrc, seconds, fraction, stamp, _, _ = _SENDER_REPORT.unpack_from(packet, at)
            wall_us = (seconds - _NTP_EPOCH_S) * 1_000_000 + (fraction * 1_000_000 >> 32)
            return SenderReport(ssrc, wall_us, stamp, (seconds & 0xFFFF) << 16 | fraction >> 16)
        at += 4 * (words + 1)
    return None


def receiver_report(own_ssrc: int, units: AccessUnits, echo: int, since_report_s: float) -> bytes:
    """A compound RR + SDES for what `units` has received. `echo` is the last report's `ntp_middle`."""
    delay = min(int(since_report_s * 65536), 0xFFFF_FFFF) if echo else 0
    lost = min(units.lost, 0x7F_FFFF)
    report = _RECEIVER_REPORT.pack(
        0x81, 201, 7, own_ssrc, units.ssrc or 0, lost, units.highest_sequence & 0xFFFF_FFFF, 0, echo, delay
    )
    return report + _DESCRIPTION.pack(0x81, 202, 3, own_ssrc, 1, 4, b"edge", 0, 0)


def _payload(packet: bytes) -> tuple[int, int]:
    """Where the payload stands behind CSRCs, an extension and before padding; empty when malformed."""
    first, size = packet[0], len(packet)
    if first >> 6 != 2:
        return size, size
    at = 12 + 4 * (first & 0x0F)
    if first & 0x10:
        if at + 4 > size:
            return size, size
        at += 4 + 4 * (packet[at + 2] << 8 | packet[at + 3])
    if first & 0x20:
        size -= packet[-1]
    return at, size
