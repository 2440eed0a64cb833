"""Conversion in the compatibility process: paced, bounded, and honest about what was damaged."""

from __future__ import annotations

import io
import random
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture import compat_child, h264
from edge_agent.capture.compat_convert import Arrived, Converter, Pace, nals_of
from edge_agent.capture.compat_wire import Order, Unit, Way

FRAME = 3_600
MS = 1_000_000


def pictures(codec: str, count: int, size: tuple[int, int] = (320, 240)) -> list[av.Packet]:
    """Moving bars, 25 a second, as they come out of a container: with the padding that decoders want."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height = size
    encoder.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    encoder.time_base, encoder.gop_size = Fraction(1, 25), 10
    encoder.options = {"qmin": "2", "qmax": "2"}
    coded = b""
    for index in range(count):
        pixels = np.full((size[1], size[0], 3), 60, np.uint8)
        pixels[:, index * 7 % (size[0] - 16) :][:, :16] = (200, 40, 90)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=encoder.pix_fmt)
        frame.pts = index
        coded += b"".join(bytes(packet) for packet in encoder.encode(frame))
    with container_of(codec, coded) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


def container_of(codec: str, coded: bytes) -> av.container.InputContainer:
    return av.open(io.BytesIO(coded), format="mjpeg" if codec == "mjpeg" else "m4v")


def converted(codec: str, packets: list[av.Packet], max_width: int = 1280) -> list[Unit]:
    units: list[Unit] = []
    with container_of(codec, bytes(packets[0])) as container:
        through = Converter(container.streams.video[0], 10, max_width)
        for index, packet in enumerate(packets):
            packet.pts, packet.time_base = index * FRAME, Fraction(1, 90_000)
            units += through.feed(Arrived(packet, index * FRAME, index * 40 * MS))
    return units


def decoded(units: list[Unit]) -> list[av.VideoFrame]:
    decoder = av.CodecContext.create("h264", "r")
    frames = []
    for unit in units:
        frames += decoder.decode(av.Packet(b"".join(b"\0\0\0\1" + nal for nal in unit.nals)))
    return frames + decoder.decode(None)


@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4"])
def test_ten_pictures_a_second_come_out_each_at_its_own_time_and_without_reordering(codec: str) -> None:
    units = converted(codec, pictures(codec, 100))
    assert 38 <= len(units) <= 42
    times = [unit.rtp_time for unit in units]
    assert times == sorted(times)
    assert {time % FRAME for time in times} == {0}
    assert all(unit.arrival_ns == unit.rtp_time // FRAME * 40 * MS for unit in units)
    assert len(decoded(units)) == len(units)
    assert [u.rtp_time for u in units if h264.keyframe(u.nals)] == [0, 50 * FRAME]  # every two seconds


def test_the_picture_is_the_cameras() -> None:
    packets = pictures("mjpeg", 1)
    shown = decoded(converted("mjpeg", packets))[0].to_ndarray(format="gray").astype(float)
    source = av.CodecContext.create("mjpeg", "r").decode(packets[0])[0].to_ndarray(format="gray")
    error = float(np.mean((shown - source.astype(float)) ** 2))
    assert 10 * np.log10(255**2 / max(error, 1e-9)) > 30  # decibels


def test_a_wide_picture_becomes_narrower_and_keeps_its_shape() -> None:
    frame = decoded(converted("mjpeg", pictures("mjpeg", 1, (642, 482)), max_width=320))[0]
    assert (frame.width, frame.height) == (320, 240)


def test_another_size_begins_with_a_keyframe_and_new_parameter_sets() -> None:
    units = converted("mjpeg", [*pictures("mjpeg", 5), *pictures("mjpeg", 5, (160, 120))])
    assert [(f.width, f.height) for f in decoded(units)] == [(320, 240)] * 2 + [(160, 120)] * 2
    assert [h264.keyframe(unit.nals) for unit in units] == [True, False, True, False]


@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4"])
def test_after_garbage_the_next_picture_is_a_keyframe_that_says_what_is_missing(codec: str) -> None:
    random.seed(5)
    packets = pictures(codec, 40)
    noise = [av.Packet(random.randbytes(3000)) for _ in range(10)]
    units = converted(codec, [*packets[:10], *noise, *packets[20:]])
    marked = [unit for unit in units if unit.lost]
    assert marked
    assert all(h264.keyframe(unit.nals) for unit in marked)


def spoilt(packet: av.Packet) -> av.Packet:
    """Noise where the second half of the picture was, behind it the padding that decoders want."""
    whole = bytes(packet)
    half = len(whole) // 2
    return av.Packet(whole[:half] + random.randbytes(half) + bytes(64))


def test_noise_inside_a_jpeg_is_no_picture() -> None:
    packets = pictures("mjpeg", 60)
    units = converted("mjpeg", [*packets[:20], *map(spoilt, packets[20:40]), *packets[40:]])
    assert not [unit for unit in units if 20 <= unit.rtp_time // FRAME < 40]
    assert [unit.rtp_time // FRAME for unit in units if unit.lost] == [40]


def test_a_camera_that_never_writes_a_proper_jpeg_is_recorded_all_the_same() -> None:
    short = [av.Packet(bytes(packet)[:-200] + bytes(64)) for packet in pictures("mjpeg", 150)]
    units = converted("mjpeg", short)
    assert len(units) >= 30
    assert len(decoded(units)) == len(units)


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1800, 3600, 90_000, -5, 2**33]), st.integers(1, 200)), max_size=80
    ),
    st.integers(1, 30),
)
def test_no_stamps_make_the_pace_let_more_pass_than_the_clock_allows(
    steps: list[tuple[int, int]], max_fps: int
) -> None:
    """Stamps and arrivals may disagree, but then the longer of both has passed."""
    pace, ticks, arrival_ns, passed_s, count = Pace(max_fps), 0, 0, 0.0, 0
    for step, waited_ms in steps:
        ticks, arrival_ns = ticks + step, arrival_ns + waited_ms * MS
        passed_s += max(step / 90_000 if 0 < step <= 180_000 else 0, waited_ms / 1000)
        count += pace.due(ticks, arrival_ns)
    assert count <= passed_s * max_fps + 3


def test_a_converter_that_is_too_slow_gets_fewer_pictures() -> None:
    """Each picture costs 150 ms here, and ten a second come: it works two thirds of the time."""
    pace, busy_until_ns, count = Pace(10), 0, 0
    for index in range(100):
        arrival_ns = max(index * 100 * MS, busy_until_ns)
        if pace.due(index * 9000, arrival_ns):
            count += 1
            pace.worked(arrival_ns, 150 * MS)
            busy_until_ns = arrival_ns + 150 * MS
    assert 30 <= count <= 50


@given(st.lists(st.binary(min_size=2, max_size=20), min_size=1, max_size=5))
def test_annex_b_is_cut_at_its_start_codes(raw: list[bytes]) -> None:
    nals = [b"\x65" + nal.replace(b"\x00", b"\x01") for nal in raw]
    assert nals_of(b"".join(b"\0\0\0\1" + nal for nal in nals)) == tuple(nals)
    assert nals_of(b"".join(b"\0\0\1" + nal for nal in nals)) == tuple(nals)


def test_the_login_goes_into_the_url_escaped_and_to_the_reached_host() -> None:
    order = Order("rtsp://dvr.local:8554/a/b?c=1&d=2", "10.0.0.9", 554, Way.RTSP, "ad min", "p@ss:/#?")
    assert compat_child.url_of(order) == "rtsp://ad%20min:p%40ss%3A%2F%23%3F@10.0.0.9:554/a/b?c=1&d=2"
    sixth = Order("rtsp://x/", "fe80::1", 554, Way.RTSP)
    assert compat_child.url_of(sixth) == "rtsp://[fe80::1]:554/"


def test_a_login_that_ffmpeg_would_cut_short_is_not_sent() -> None:
    with pytest.raises(compat_child.Refused):
        compat_child.url_of(Order("rtsp://x/", "10.0.0.9", 554, Way.RTSP, "admin", "é" * 40))


def test_the_rehearsal_converts_a_picture() -> None:
    compat_child.rehearse()
