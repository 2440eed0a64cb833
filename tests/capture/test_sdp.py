from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtsp_world import clip

from edge_agent.capture import h264, sdp
from edge_agent.errors import FormatError
from edge_agent.model import Codec

HIKVISION = (
    "rtsp://192.168.5.106:554/Streaming/Channels/101/trackID=1?transportmode=unicast&profile=Profile_1"
)


@pytest.mark.parametrize(
    ("name", "encoding", "control", "sets"),
    [
        ("dahua_describe_h265_pcma.txt", "H265", "trackID=0", 3),
        ("h264dvr_describe.txt", "H264", "trackID=3", 2),
        ("hikvision_describe.txt", "H264", HIKVISION, 2),
    ],
)
def test_recorded_descriptions_name_their_video(
    shared: Path, name: str, encoding: str, control: str, sets: int
) -> None:
    text = (shared / "onvif-captures" / "rtsp-retina" / name).read_bytes()
    video = sdp.parse(text.partition(b"\r\n\r\n")[2] or text.partition(b"\n\n")[2]).video()
    assert video is not None
    assert (video.encoding, video.control, len(video.parameter_sets())) == (encoding, control, sets)


def test_the_second_framerate_line_wins_over_a_broken_first() -> None:
    text = b"v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000 \r\na=framerate:0S\r\na=framerate:25\r\n"
    video = sdp.parse(text).video()
    assert video is not None
    assert video.framerate == 25


def test_garbage_sprop_is_passed_over() -> None:
    text = (
        b"v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
        b"a=fmtp:96 sprop-parameter-sets=!!!!,aM4xsg\r\n"
    )
    video = sdp.parse(text).video()
    assert video is not None
    assert video.parameter_sets() == [bytes.fromhex("68ce31b2")]


def test_without_rtpmap_the_parameter_sets_betray_the_codec() -> None:
    text = b"m=video 0 RTP/AVP 96\r\na=fmtp:96 sprop-vps=QAE=\r\n"
    video = sdp.parse(text).video()
    assert video is not None
    assert video.encoding == "H265"


def test_audio_beside_the_video_is_not_chosen() -> None:
    text = b"v=0\r\nm=audio 0 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n" + clip(Codec.H265).sdp()[5:]
    video = sdp.parse(text).video()
    assert video is not None
    assert video.kind == "video"


@pytest.mark.parametrize("text", [b"", b"<html>404</html>", b"v=0\r\n" + b"x" * sdp.LARGEST])
def test_what_is_no_description_is_refused(text: bytes) -> None:
    with pytest.raises(FormatError):
        sdp.parse(text)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=12))
def test_mutated_descriptions_are_read_or_refused(changes: list[tuple[int, int]]) -> None:
    text = bytearray(clip().sdp())
    for at, value in changes:
        text[at % len(text)] = value
    try:
        video = sdp.parse(bytes(text)).video()
    except FormatError:
        return
    for nal in video.parameter_sets() if video else ():
        try:
            h264.parse_sps(nal)
        except FormatError:
            continue
