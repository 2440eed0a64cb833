"""The size pattern of a stream: slices alone, keyframes apart, never over two sessions."""

from __future__ import annotations

import pytest
from rtsp_world import KEY, Clip, Packetizer, clip

from edge_agent.capture import sdp
from edge_agent.capture.h264 import RULES as H264
from edge_agent.capture.h265 import RULES as H265
from edge_agent.capture.meter import Pulse, StreamPulsed
from edge_agent.capture.stream import Stream
from edge_agent.clock import ManualClock
from edge_agent.model import Codec

MESSAGE = {Codec.H264: b"\x06" + bytes(300), Codec.H265: b"\x4e\x01" + bytes(300)}  # SEI, a large one


def begun(shown: Clip) -> Stream:
    media = sdp.parse(shown.sdp()).video()
    assert media is not None
    return Stream(media, fragment_s=0.2)


def play(stream: Stream, shown: Clip, clock: ManualClock, times: int = 1) -> None:
    packetizer = Packetizer(shown.codec)
    for number in range(times):
        for nals, stamp in zip(shown.units, shown.stamps, strict=True):
            packets = packetizer.pack((*nals[:-1], MESSAGE[shown.codec], nals[-1]), stamp + number * 144_000)
            stream.feed(packets, clock.boot_ns)
            clock.advance(0.04)


def slices(shown: Clip, *, keyframes: bool) -> int:
    rules = H264 if shown.codec is Codec.H264 else H265
    units = [unit for unit in shown.units if rules.keyframe(unit) is keyframes]
    return sum(len(nal) for unit in units for nal in unit if rules.is_picture(rules.nal_type(nal)))


@pytest.mark.parametrize("codec", list(Codec))
def test_a_pulse_tells_the_bytes_of_slices_with_keyframes_apart(codec: Codec) -> None:
    shown, clock = clip(codec), ManualClock()
    stream, pulse = begun(shown), Pulse(KEY, 2.0)

    assert pulse.take(stream, clock.now()) is None
    play(stream, shown, clock, times=2)
    told = pulse.take(stream, clock.now())

    assert isinstance(told, StreamPulsed)
    assert (told.key, told.seconds) == (KEY, pytest.approx(3.2))
    assert (told.keyframes, told.deltas) == (8, 72)
    assert told.key_bytes == 2 * slices(shown, keyframes=True)
    assert told.delta_bytes == 2 * slices(shown, keyframes=False)


def test_pulses_come_at_their_pace_and_begin_anew_with_each_session() -> None:
    shown, clock = clip(), ManualClock()
    pulse = Pulse(KEY, 3.0)
    assert pulse.take(None, clock.now()) is None

    first = begun(shown)
    pulse.take(first, clock.now())
    play(first, shown, clock)
    assert pulse.take(first, clock.now()) is None

    second = begun(shown)
    pulse.take(second, clock.now())
    play(second, shown, clock, times=2)
    told = pulse.take(second, clock.now())
    assert told is not None
    assert told.keyframes + told.deltas == 80
    clock.advance(3.0)
    quiet = pulse.take(second, clock.now())
    assert quiet is not None
    assert (quiet.keyframes, quiet.deltas, quiet.delta_bytes) == (0, 0, 0)
