from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtsp_world import clip

from edge_agent.capture import h264, h265
from edge_agent.capture.parameters import ParameterSets
from edge_agent.errors import FormatError
from edge_agent.model import Codec

HIKVISION = base64.b64decode("Z00AKZpkA8ARPyzUBAQFAAADA+gAAOpgBA==")
H264DVR = base64.b64decode("Z0IAKZY1QPAET8s3AQEBQAAAAwBAAAAHoQ==")
DAHUA = base64.b64decode("QgEBAWAAAAMAsAAAAwAAAwBaoAWCAeFja5JFL83BQYFBAAADAAEAAAMADKE=")


def test_recorded_sps_give_size_codec_and_pace() -> None:
    hikvision, dvr = h264.parse_sps(HIKVISION), h264.parse_sps(H264DVR)
    assert (hikvision.codec_string, hikvision.width, hikvision.height) == ("avc3.4d0029", 1920, 1080)
    assert hikvision.frame_ticks == 3000
    assert (dvr.width, dvr.height, dvr.frame_ticks, dvr.reorder) == (1920, 1080, 6000, 0)
    dahua = h265.parse_sps(DAHUA)
    assert (dahua.codec_string, dahua.width, dahua.height) == ("hev1.1.6.L90.b0", 704, 480)


@pytest.mark.parametrize("b", [0, 2])
def test_an_encoders_own_sps_tells_whether_pictures_are_reordered(b: int) -> None:
    nals = clip(Codec.H264, 20, 10, b).sets
    reorder = h264.parse_sps(nals[0]).reorder
    assert (reorder or 0) > 0 if b else not reorder


def test_cropped_heights_are_the_shown_ones() -> None:
    assert h264.parse_sps(clip(width=200).sets[0]).width == 200
    assert h265.parse_sps(clip(Codec.H265, width=200).sets[1]).width == 200


def test_a_changed_pps_replaces_the_one_with_its_id() -> None:
    sets = ParameterSets(h264.RULES)
    pps = bytes.fromhex("68ce31b2")
    assert sets.take(HIKVISION)
    assert sets.take(pps)
    assert not sets.take(pps)
    assert sets.take(bytes.fromhex("68cf31b2"))
    assert sets.all() == [HIKVISION, bytes.fromhex("68cf31b2")]


def test_an_sps_that_does_not_parse_is_not_believed() -> None:
    sets = ParameterSets(h264.RULES)
    assert not sets.take(HIKVISION[:6])
    assert not sets.take(b"\x67" + b"\x00" * 40)
    assert not sets.complete()


@given(st.binary(max_size=80), st.sampled_from([HIKVISION, H264DVR, DAHUA]), st.integers(0, 60))
def test_mutated_sps_are_read_or_refused(noise: bytes, good: bytes, at: int) -> None:
    for rules in (h264.RULES, h265.RULES):
        try:
            picture = rules.parse_sps(good[:at] + noise + good[at + len(noise) :])
        except FormatError:
            continue
        assert 0 < picture.width <= 16384
        assert 0 < picture.height <= 16384
