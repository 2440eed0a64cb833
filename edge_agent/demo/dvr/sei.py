"""The true send time inside each access unit: a user-data-unregistered SEI message (H.264 and H.265 annex D).

Payload: the 16-byte UUID below, then 26 ASCII digits: 16 for the wall clock in microseconds since 1970 at
the moment of sending, 10 for the frame's serial number in its RTSP session. Digits keep the length fixed
and never need emulation prevention, so that the server can patch them into a packed packet. SEI messages
survive muxing: delay, freezes and missing frames are measured from the recorded stream, not guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.model import Codec

SEND_TIME_UUID = bytes.fromhex("ed9ea9e27f5d4c6b9a3c51d7e84bb26e")
DIGITS = 26
_TIME_DIGITS = 16
_HEADERS = {Codec.H264: b"\x06", Codec.H265: bytes((39 << 1, 1))}
_USER_DATA_UNREGISTERED = 5
_STOP_BIT = b"\x80"


@dataclass(frozen=True, slots=True)
class Stamp:
    """`sent_us`: wall clock in microseconds; `serial`: counts the frames of one RTSP session from 0."""

    sent_us: int
    serial: int


def stamp_nal(codec: Codec, stamp: Stamp) -> bytes:
    """The SEI NAL unit that carries `stamp`; its digits are the last 26 bytes before the stop bit."""
    payload = SEND_TIME_UUID + stamp_digits(stamp)
    return _HEADERS[codec] + bytes((_USER_DATA_UNREGISTERED, len(payload))) + payload + _STOP_BIT


def stamp_digits(stamp: Stamp) -> bytes:
    return b"%016d%010d" % (stamp.sent_us, stamp.serial % 10**10)


def parse_stamp(nal: bytes) -> Stamp | None:
    """The stamp of one NAL unit without start code; None for any other NAL unit."""
    at = nal.find(SEND_TIME_UUID, 0, 64)
    if at < 3 or not _is_sei(nal):
        return None
    digits = nal[at + len(SEND_TIME_UUID) : at + len(SEND_TIME_UUID) + DIGITS]
    if len(digits) != DIGITS or not digits.isdigit():
        return None
    return Stamp(int(digits[:_TIME_DIGITS]), int(digits[_TIME_DIGITS:]))


def parse_send_time(nal: bytes) -> int | None:
    """Wall clock in microseconds at which the DVR sent this access unit; None unless `nal` is its SEI."""
    stamp = parse_stamp(nal)
    return None if stamp is None else stamp.sent_us


def _is_sei(nal: bytes) -> bool:
    return nal[0] & 0x1F == 6 or (nal[0] >> 1) & 0x3F == 39
