"""The bundle's zip file and the shape of packets: what goes in comes out, and strangers' files do no harm."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture import bundle, bundle_shape
from edge_agent.capture.bundle import Bundle, Manifest, StreamTape, WebExchange
from edge_agent.capture.bundle_shape import Shaper
from edge_agent.errors import FormatError
from edge_agent.model import Codec

GOOD = Bundle(
    Manifest(
        "edge-agent 0", "2026-01-01T00:00Z", "192.0.2.1", 80, 554,
        web=(WebExchange("GetProfiles", "urn:x", (("ProfileToken", "a"),), body="onvif/1.xml"),),
        streams=(StreamTape("rtsp://192.0.2.1/1", 3, "sub"),),
    ),
    {"onvif/1.xml": b"<a/>", bundle.READ_ME: b"hello"},
)  # fmt: skip


def zipped(members: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return held.getvalue()


def test_a_bundle_comes_back_as_it_was_and_the_same_bytes_each_time() -> None:
    packed = bundle.pack(GOOD)
    assert bundle.unpack(packed) == GOOD
    assert bundle.pack(GOOD) == packed
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.namelist()[:2] == [bundle.READ_ME, bundle.MANIFEST]


def _changed(change: Callable[[dict[str, object]], object]) -> bytes:
    document = json.loads(bundle.manifest_json(GOOD.manifest))
    change(document)
    return zipped({bundle.MANIFEST: json.dumps(document).encode()})


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (b"", "not a bundle"),
        (b"PK\x03\x04" + bytes(200), "not a bundle"),
        (bundle.pack(GOOD)[:-40], "not a bundle"),
        (zipped({"x": b""}), "manifest.json is missing"),
        (zipped({bundle.MANIFEST: b"[]"}), "manifest.json"),
        (_changed(lambda d: d.update(format=2)), "format 2; this version reads format 1"),
        (_changed(lambda d: d.pop("http_port")), "http_port"),
        (zipped({bundle.MANIFEST: b"{}", "big": bytes(bundle.MAX_MEMBER + 1)}), "'big' is larger than 2 MB"),
        (zipped({str(n): b"" for n in range(bundle.MAX_MEMBERS + 1)}), "more than 4000 members"),
    ],
    ids=["empty", "noise", "cut", "no-manifest", "list", "newer", "lacking", "bomb", "many"],
)
def test_what_is_no_bundle_is_refused_in_one_sentence(packed: bytes, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        bundle.unpack(packed)


@given(st.binary(max_size=300), st.integers(0, 2000))
def test_damage_never_gets_past_the_door(noise: bytes, at: int) -> None:
    packed = bytearray(bundle.pack(GOOD))
    packed[at : at + len(noise)] = noise
    try:
        bundle.unpack(bytes(packed))
    except FormatError:
        return


def rtp(payload: bytes, sequence: int, ticks: int, marker: bool = False, kind: int = 96) -> bytes:
    return struct.pack("!BBHII", 0x80, kind | marker << 7, sequence & 0xFFFF, ticks & 0xFFFFFFFF, 7) + payload


def test_a_shape_tells_kinds_sizes_and_steps_but_no_picture() -> None:
    shaper = Shaper(Codec.H264)
    picture = bytes(range(7, 107))
    sets = b"\x67\x64\x00\x0a", b"\x68\xee\x38"
    aggregated = b"\x18" + b"".join(len(nal).to_bytes(2, "big") + nal for nal in sets)
    shaper.packet(rtp(aggregated, 65535, 2**32 - 1000), 10.0)
    shaper.packet(rtp(b"\x7c\x85" + picture, 0, 2**32 - 1000), 10.001)
    shaper.packet(rtp(b"\x7c\x45" + picture, 1, 2**32 - 1000, True), 10.002)
    shaper.packet(rtp(b"\x41" + picture, 3, 2600, True), 10.04)
    told = bundle_shape.dump(shaper.shape())
    shape = bundle_shape.load(told)
    assert [(p.kinds, p.start, p.sequence, p.ticks, p.marker) for p in shape.packets] == [
        ((7, 8), True, 0, 0, False),
        ((5,), True, 1, 0, False),
        ((5,), False, 1, 0, True),
        ((1,), True, 2, 3600, True),
    ]
    assert [p.at_us for p in shape.packets] == [0, 1000, 2000, 40000]
    assert bundle_shape.sets_of(shape) == list(sets)
    assert picture[:8] not in told
    assert shape.packets[1].size == 102


def test_a_picture_hidden_behind_a_parameter_set_is_not_kept() -> None:
    shaper = Shaper(Codec.H264)
    annexb = b"\x67\x64\x00\x0a\x00\x00\x00\x01\x65" + b"picture" * 9
    shaper.packet(rtp(annexb, 1, 1), 1.0)
    assert bundle_shape.sets_of(shaper.shape()) == [b"\x67\x64\x00\x0a"]


def test_a_sender_report_tells_how_far_the_devices_clock_is_off() -> None:
    shaper = Shaper(Codec.H265)
    shaper.packet(rtp(b"\x02\x01xx", 1, 90_000), 5.0)
    ours_us = 1_700_000_000_000_000
    ntp = 1_700_000_000 + 2_208_988_800 + 25_200, 1 << 31
    shaper.report(struct.pack("!BBHI5I", 0x80, 200, 6, 7, *ntp, 99_000, 1, 1), 5.1, ours_us)
    (report,) = shaper.shape().reports
    assert (report.wall_offset_ms, report.ticks, report.at_us) == (25_200_500, 9000, 100_000)


@given(st.lists(st.binary(max_size=80), max_size=20), st.sampled_from([None, *Codec]))
def test_no_packet_is_too_strange(packets: list[bytes], codec: Codec | None) -> None:
    shaper = Shaper(codec)
    for number, packet in enumerate(packets):
        shaper.packet(packet, float(number))
        shaper.report(packet, float(number), 0)
    shape = shaper.shape()
    assert bundle_shape.load(bundle_shape.dump(shape)) == shape
    assert len(shape.packets) + shape.left_out == len(packets)


def test_the_counts_of_what_was_replaced_come_along() -> None:
    manifest = replace(GOOD.manifest, redacted={"mac": 3})
    assert bundle.unpack(bundle.pack(Bundle(manifest))).manifest.redacted == {"mac": 3}
