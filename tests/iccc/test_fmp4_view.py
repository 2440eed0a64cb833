"""Reading fragments: those of FFmpeg's muxer, those of the box's own writer, and noise."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture import fmp4
from edge_agent.capture.timeline import Placed
from edge_agent.demo.dvr import sei
from edge_agent.errors import FormatError
from edge_agent.iccc.fmp4_view import SEND_TIME_UUID, send_times, view_init, view_samples
from edge_agent.model import AccessUnit, Codec, Role


def muxed(codec: str) -> bytes:
    """12 pictures as FFmpeg writes fragmented MP4."""
    buffer = io.BytesIO()
    options = {"movflags": "empty_moov+default_base_moof+frag_keyframe"}
    with av.open(buffer, "w", format="mp4", options=options) as out:
        stream = out.add_stream(codec, rate=Fraction(12))
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.options = {"x265-params": "log-level=none", "preset": "ultrafast", "tune": "zerolatency"}
        for number in range(12):
            frame = av.VideoFrame(320, 240, "yuv420p")
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize(("codec", "family", "prefix"), [
    ("libx264", Codec.H264, "avc1."), ("libx265", Codec.H265, "hev1."),
])  # fmt: skip
def test_ffmpegs_own_init_and_fragments_are_read(codec: str, family: Codec, prefix: str) -> None:
    data = muxed(codec)
    at = data.index(b"moof") - 4
    view = view_init(data[:at])
    samples = view_samples(data[at:])
    assert (view.family, view.width, view.height) == (family, 320, 240)
    assert view.codec.startswith(prefix)
    assert len(samples) == 12
    assert [s.pts for s in samples] == sorted(s.pts for s in samples)
    assert sum(s.duration for s in samples) == view.timescale


def test_a_hevc_codec_string_is_what_browsers_expect() -> None:
    data = muxed("libx265")
    codec = view_init(data[: data.index(b"moof") - 4]).codec
    name, profile, compatibility, level = codec.split(".")[:4]
    assert (name, profile, compatibility) == ("hev1", "1", "6")
    assert level.startswith("L")


def test_send_times_of_the_virtual_recorder_are_found_with_their_pictures(loops: Any) -> None:
    loop = loops[Role.SUB]
    placed = []
    for number, unit in enumerate(loop.units[:3]):
        nals = (sei.stamp_nal(Codec.H264, sei.Stamp(1_790_000_000_000_000 + number, number)), *unit.nals)
        placed.append(Placed(AccessUnit(nals, number, 0, unit.keyframe), 9000 + 7500 * number, 0, 0, False))
    data = fmp4.fragment(7, 9000, placed, 9000 + 3 * 7500)
    assert send_times(data, Codec.H264) == tuple(
        (9000 + 7500 * n, 1_790_000_000_000_000 + n) for n in range(3)
    )


def test_the_uuid_is_the_virtual_recorders() -> None:
    assert SEND_TIME_UUID == sei.SEND_TIME_UUID


def test_a_sample_that_reaches_beyond_its_fragment_is_refused() -> None:
    data = muxed("libx264")
    at = data.index(b"moof") - 4
    with pytest.raises(FormatError):
        view_samples(data[at : at + 600])


@given(st.binary(max_size=400))
def test_noise_is_refused_with_our_own_error(noise: bytes) -> None:
    for read in (view_init, view_samples):
        with pytest.raises(FormatError):
            read(noise)


_FILE = muxed("libx264")
_AT = _FILE.index(b"moof") - 4


@given(st.integers(0, _AT - 1), st.integers(0, 255))
def test_a_damaged_init_is_read_or_refused_never_a_crash(at: int, value: int) -> None:
    damaged = bytearray(_FILE[:_AT])
    damaged[at] = value
    try:
        view_init(bytes(damaged))
    except FormatError:
        return


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_fragment_is_read_or_refused_never_a_crash(at: int, value: int) -> None:
    damaged = bytearray(_FILE[_AT:])
    damaged[at] = value
    try:
        send_times(bytes(damaged), Codec.H264)
    except FormatError:
        return
