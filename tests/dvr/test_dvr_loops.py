"""Loops, packets and streamer, without a socket: what is sent decodes, everywhere and for ever."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.demo.dvr import media, rtp
from edge_agent.demo.dvr.faults import ChannelFaults
from edge_agent.demo.dvr.loops import EncodedLoop, EncodedUnit, read_loop, split_annexb, write_loop
from edge_agent.demo.dvr.media import LoopKey, Shape, Variant
from edge_agent.demo.dvr.sei import Stamp, parse_send_time, parse_stamp, stamp_nal
from edge_agent.demo.dvr.streamer import Streamer, new_track
from edge_agent.model import Codec

SMALL = Shape(160, 96, 25)
HEALTHY = ChannelFaults()
Wire = Callable[[bytes, Codec], list[Any]]
WireTools = Any  # of conftest.py, which importlib mode does not let us import


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loops")


def streamer(loop: EncodedLoop, now: float = 0.0) -> Streamer:
    return Streamer(rtp.pack_loop(loop), new_track(0), None, now)


def run(player: Streamer, frames: int, faults: ChannelFaults = HEALTHY) -> bytes:
    return b"".join(player.frame(player.due, 1_000_000 + index, faults) for index in range(frames))


def decode(units: list[Any], codec: Codec) -> list[av.VideoFrame]:
    decoder = av.CodecContext.create("hevc" if codec is Codec.H265 else "h264", "r")
    decoder.options = {"err_detect": "explode"}
    frames = [frame for unit in units for frame in decoder.decode(av.Packet(unit.annexb))]
    return frames + decoder.decode(None)


@given(st.sampled_from(list(Codec)), st.integers(0, 10**16 - 1), st.integers(0, 10**10 - 1))
def test_a_stamp_comes_back_and_needs_no_emulation_prevention(
    codec: Codec, sent_us: int, serial: int
) -> None:
    nal = stamp_nal(codec, Stamp(sent_us, serial))
    assert parse_stamp(nal) == Stamp(sent_us, serial)
    assert parse_send_time(nal) == sent_us
    assert b"\x00\x00" not in nal


@given(st.binary(max_size=80))
def test_other_nal_units_carry_no_stamp(nal: bytes) -> None:
    assert parse_stamp(nal) is None


@given(st.lists(st.integers(4, 9000), min_size=1, max_size=4), st.sampled_from(list(Codec)))
def test_packets_put_together_again_are_the_nal_units(
    wire_tools: WireTools, sizes: list[int], codec: Codec
) -> None:
    head = b"\x65" if codec is Codec.H264 else b"\x26\x01"
    nals = tuple(head + bytes((index + 1,)) * (size - len(head)) for index, size in enumerate(sizes))
    unit = rtp.pack_unit(codec, EncodedUnit(nals, True))
    wire = rtp.fill(unit, 0, 65_534, 2**32 + 5, 7, b"0" * 26)
    packets = wire_tools.parse(wire)
    assert [packet.sequence for packet in packets] == [(65_534 + n) & 0xFFFF for n in range(len(packets))]
    assert [packet.marker for packet in packets] == [False] * (len(packets) - 1) + [True]
    (got,) = wire_tools.assemble(packets, codec)
    assert got.rtp_time == 5
    assert tuple(nal for nal in got.nals if parse_stamp(nal) is None) == nals


@pytest.mark.parametrize("codec", list(Codec))
def test_every_picture_decodes_across_the_loops_seam(codec: Codec, cache: Path, on_the_wire: Wire) -> None:
    loop = media.load(cache, LoopKey(1, False, dataclasses.replace(SMALL, codec=codec)))
    count = len(loop.units) * 2 + 10
    units = on_the_wire(run(streamer(loop), count), codec)
    assert len(units) == count
    assert len(decode(units, codec)) == count
    steps = {(after.rtp_time - before.rtp_time) & 0xFFFFFFFF for before, after in pairwise(units)}
    assert steps == {3600}
    assert [unit.stamp.serial for unit in units] == list(range(count))


@pytest.mark.parametrize("codec", list(Codec))
def test_a_long_gop_has_one_keyframe_and_still_decodes(codec: Codec, cache: Path, on_the_wire: Wire) -> None:
    loop = media.load(cache, LoopKey(1, False, dataclasses.replace(SMALL, codec=codec), Variant.LONG_GOP))
    frames = decode(on_the_wire(run(streamer(loop), 600), codec), codec)
    assert len(frames) == 600
    assert [frame.key_frame for frame in frames].count(True) == 1


def test_no_two_sampling_periods_meet_the_same_picture(cache: Path) -> None:
    for channel in range(1, 9):
        frames = len(media.load(cache, LoopKey(channel, False, Shape(32, 32, 25))).units)
        assert all(seconds * 25 % frames for seconds in range(1, 121))


def test_variants_change_what_they_say(cache: Path) -> None:
    normal, smaller, other, slate = (
        media.load(cache, LoopKey(1, False, Shape(320, 192, 25), variant))
        for variant in (Variant.NORMAL, Variant.SMALLER, Variant.OTHER_PPS, Variant.SLATE)
    )
    assert smaller.parameter_sets[0] != normal.parameter_sets[0]
    assert (smaller.width, smaller.height) == (160, 96)
    assert other.parameter_sets[0] == normal.parameter_sets[0]
    assert other.parameter_sets[1] != normal.parameter_sets[1]
    assert slate.parameter_sets == normal.parameter_sets
    assert slate.kbps < normal.kbps / 5


def test_the_bench_gets_the_rate_it_asked_for(cache: Path) -> None:
    loop = media.load(cache, LoopKey(1, False, Shape(640, 360, 25, kbps=1000)))
    assert 850 < loop.kbps < 1150


def test_a_damaged_cache_file_is_encoded_again(tmp_path: Path) -> None:
    key = LoopKey(1, True, SMALL)
    loop = media.load(tmp_path, key)
    path = tmp_path / key.file_name()
    path.write_bytes(path.read_bytes()[:-1])
    assert read_loop(path) is None
    assert media.load(tmp_path, key) == loop
    assert read_loop(path) == loop


@given(
    st.lists(st.tuples(st.booleans(), st.lists(st.binary(min_size=1, max_size=40), max_size=3)), max_size=5)
)
def test_a_loop_file_gives_back_what_was_written(listed: list[tuple[bool, list[bytes]]]) -> None:
    units = tuple(EncodedUnit(tuple(nals), keyframe) for keyframe, nals in listed)
    loop = EncodedLoop(Codec.H265, 640, 360, Fraction(30000, 1001), units, seamless=True)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a.loop"
        write_loop(path, loop)
        assert read_loop(path) == loop
        assert [each.name for each in Path(directory).iterdir()] == ["a.loop"]


def test_encoder_messages_and_fillers_are_left_out() -> None:
    nals = (b"\x00\x09\xf0", b"\x06\x05\x01\x00\x80", b"\x65\x88\x84", b"\x0c\xff\x80")
    stream = b"\x00" + b"".join(b"\x00\x00\x01" + nal.lstrip(b"\x00") for nal in nals)
    assert split_annexb(Codec.H264, stream, True).nals == (b"\x65\x88\x84",)


def test_timestamps_jump_step_back_stand_still_and_reset_on_order(cache: Path, on_the_wire: Wire) -> None:
    player = streamer(media.load(cache, LoopKey(1, False, SMALL)))
    player.rtp_time = 0

    def times(faults: ChannelFaults) -> list[int]:
        return [unit.rtp_time for unit in on_the_wire(run(player, 3, faults), Codec.H264)]

    first = times(HEALTHY)
    jumped = times(dataclasses.replace(HEALTHY, rtp_shift_s=18_000.0))
    assert (jumped[0] - first[-1]) & 0xFFFFFFFF == (3600 + 18_000 * 90_000) & 0xFFFFFFFF
    back = times(dataclasses.replace(HEALTHY, rtp_shift_s=-2.0))
    assert (first[-1] - back[0]) & 0xFFFFFFFF == 180_000 - 4 * 3600
    assert len(set(times(dataclasses.replace(HEALTHY, rtp_constant=True)))) == 1
    player.reset_timestamps()
    assert times(HEALTHY) == [0, 3600, 7200]


def test_stamped_and_sent_rates_may_differ(cache: Path, on_the_wire: Wire) -> None:
    player = streamer(media.load(cache, LoopKey(1, False, SMALL)))
    units = on_the_wire(run(player, 22, dataclasses.replace(HEALTHY, sent_fps=21.0)), Codec.H264)
    assert (units[21].rtp_time - units[0].rtp_time) & 0xFFFFFFFF == 21 * 3600
    assert player.due == pytest.approx(22 / 21)


def test_after_a_pause_the_next_picture_is_a_keyframe(cache: Path, on_the_wire: Wire) -> None:
    player = streamer(media.load(cache, LoopKey(1, False, SMALL)))
    run(player, 7)
    player.pause(player.due, HEALTHY)
    (unit,) = on_the_wire(run(player, 1), Codec.H264)
    assert unit.nals[0][0] & 0x1F == 7
    assert unit.stamp.serial == 7


def test_loss_leaves_holes_in_the_sequence(cache: Path, wire_tools: WireTools) -> None:
    player = streamer(media.load(cache, LoopKey(1, False, SMALL)))
    wire = run(player, 200, dataclasses.replace(HEALTHY, loss=0.3))
    numbers = [packet.sequence for packet in wire_tools.parse(wire) if packet.kind == 96]
    spanned = (numbers[-1] - numbers[0] & 0xFFFF) + 1
    assert 0.5 < len(numbers) / spanned < 0.9


def test_a_sender_report_says_when_and_how_much(cache: Path) -> None:
    player = streamer(media.load(cache, LoopKey(1, False, SMALL)))
    wire = player.frame(0.0, 1_790_000_000_500_000, dataclasses.replace(HEALTHY, sr_skew_s=3600.0))
    report = wire[wire.rindex(b"$\x01") :]
    seconds, fraction, rtp_time = (int.from_bytes(report[at : at + 4], "big") for at in (12, 16, 20))
    assert seconds == 1_790_000_000 + 3600 + 2_208_988_800
    assert fraction == 1 << 31
    assert rtp_time == player.rtp_time


def test_every_second_report_jumps_when_told_to(cache: Path) -> None:
    player = streamer(media.load(cache, LoopKey(1, False, SMALL)))
    faults = dataclasses.replace(HEALTHY, sr_jump_s=-60.0)
    wires = [player.frame(now, 1_790_000_000_000_000, faults) for now in (0.0, 6.0, 12.0)]
    seconds = [int.from_bytes(wire[(at := wire.rindex(b"$\x01") + 12) : at + 4], "big") for wire in wires]
    assert [each - seconds[1] for each in seconds] == [-60, 0, -60]


def test_annexb_is_the_same_picture_as_one_unit_with_start_codes(cache: Path, on_the_wire: Wire) -> None:
    loop = media.load(cache, LoopKey(1, False, SMALL))
    (unit,) = on_the_wire(run(streamer(loop), 1, dataclasses.replace(HEALTHY, annexb=True)), Codec.H264)
    (joined,) = unit.nals
    pieces = joined.split(b"\x00\x00\x00\x01")
    assert [piece for piece in pieces if piece[0] & 0x1F != 6] == list(loop.units[0].nals)


def test_a_snapshot_is_a_jpeg_of_the_right_size(cache: Path) -> None:
    loop = media.load(cache, LoopKey(1, False, SMALL))
    picture = cv2.imdecode(np.frombuffer(media.jpeg_of(loop), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (96, 160, 3)
