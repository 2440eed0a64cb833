from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rtsp_world import Clip, Packetizer, clip

from edge_agent.capture import h264, h265, rtp
from edge_agent.capture.depacketize import H264Depacketizer, H265Depacketizer
from edge_agent.capture.rtp import AccessUnits
from edge_agent.model import AccessUnit, Codec

BOTH = pytest.mark.parametrize("codec", list(Codec))


def units_of(codec: Codec, don: bool = False) -> AccessUnits:
    if codec is Codec.H264:
        return AccessUnits(h264.RULES, H264Depacketizer())
    return AccessUnits(h265.RULES, H265Depacketizer(don))


def packets_of(shown: Clip, start: int = 0, limit: int = 400) -> list[bytes]:
    packetizer = Packetizer(shown.codec, sequence=start, limit=limit)
    return [p for nals, t in zip(shown.units, shown.stamps, strict=True) for p in packetizer.pack(nals, t)]


def slices_of(codec: Codec, nals: tuple[bytes, ...]) -> tuple[bytes, ...]:
    rules = h264.RULES if codec is Codec.H264 else h265.RULES
    return tuple(nal for nal in nals if rules.is_picture(rules.nal_type(nal)))


@BOTH
def test_pictures_come_out_as_they_went_in(codec: Codec) -> None:
    shown = clip(codec)
    units = units_of(codec).feed(packets_of(shown, start=65_500), 7)
    assert [u.nals for u in units] == list(shown.units)
    assert [u.keyframe for u in units[:11]] == [True] + [False] * 9 + [True]
    assert not any(u.lost for u in units)
    assert [u.rtp_time for u in units] == list(shown.stamps)


@BOTH
def test_one_packet_at_a_time_or_all_at_once_is_the_same(codec: Codec) -> None:
    packets = packets_of(clip(codec))
    one, many = units_of(codec), units_of(codec)
    assert [u.nals for p in packets for u in one.feed([p], 1)] == [u.nals for u in many.feed(packets, 1)]


def test_a_missing_packet_marks_its_picture_and_is_counted() -> None:
    shown = clip()
    packets = packets_of(shown)
    victim = next(i for i, p in enumerate(packets) if struct.unpack_from(">I", p, 4)[0] == 3600 * 3)
    units = units_of(Codec.H264)
    done = units.feed(packets[:victim] + packets[victim + 1 :], 1)
    assert units.lost == 1
    assert [u.rtp_time // 3600 for u in done if u.lost] == [3 if len(done) == len(shown.units) else 4]


def test_a_repeated_packet_changes_nothing() -> None:
    packets = packets_of(clip())
    doubled = [p for p in packets for _ in range(2)]
    units = units_of(Codec.H264)
    assert [u.nals for u in units.feed(doubled, 1)] == list(clip().units)
    assert units.lost == 0


def test_the_timestamp_ends_a_picture_when_no_marker_does() -> None:
    packets = [bytes([p[0], p[1] & 0x7F]) + p[2:] for p in packets_of(clip())]
    done = units_of(Codec.H264).feed(packets, 1)
    assert [u.nals for u in done] == list(clip().units[:-1])


def test_a_marker_on_parameter_sets_ends_no_picture() -> None:
    shown = clip()
    packetizer = Packetizer(Codec.H264)
    packets = [p for nal in shown.units[0] for p in packetizer.pack([nal], 0)]
    done = units_of(Codec.H264).feed(packets, 1)
    assert [u.nals for u in done] == [shown.units[0]]


def test_parameter_sets_with_a_stamp_of_their_own_are_kept_for_the_picture() -> None:
    shown = clip()
    packetizer = Packetizer(Codec.H264)
    packets = packetizer.pack(shown.sets, 5) + packetizer.pack(shown.units[0][-1:], 3600)
    (unit,) = units_of(Codec.H264).feed(packets, 1)
    assert unit.nals == (*shown.sets, shown.units[0][-1])


def test_a_whole_annexb_stream_in_one_unit_is_split() -> None:
    shown = clip()
    whole = b"\x00\x00\x00\x01".join(shown.units[0])
    (unit,) = units_of(Codec.H264).feed(Packetizer(Codec.H264).pack([whole], 0), 1)
    assert unit.nals == shown.units[0]


def test_stap_a_and_a_fragment_without_its_end_bit() -> None:
    sps, pps = clip().sets
    idr = next(n for n in clip().units[0] if h264.nal_type(n) == h264.IDR)
    stap = b"\x18" + b"".join(struct.pack(">H", len(n)) + n for n in (sps, pps))
    packetizer = Packetizer(Codec.H264)
    half = len(idr) // 2
    packets = [
        packetizer.packet(stap, 0, marker=False),
        packetizer.packet(bytes([idr[0] & 0xE0 | 28, 0x80 | 5]) + idr[1:half], 0, marker=False),
        packetizer.packet(bytes([idr[0] & 0xE0 | 28, 5]) + idr[half:], 0, marker=False),
        packetizer.packet(b"\x41\x9a", 3600, marker=True),
    ]
    first = units_of(Codec.H264).feed(packets, 1)[0]
    assert first.nals == (sps, pps, idr)
    assert first.keyframe


def test_h265_aggregates_and_decoding_order_numbers() -> None:
    shown = clip(Codec.H265)
    vps, sps, pps = shown.sets
    slice_ = shown.units[0][-1]
    packetizer = Packetizer(Codec.H265)
    aggregate = b"\x60\x01" + struct.pack(">H", 10)
    for index, nal in enumerate((vps, sps, pps)):
        aggregate += (b"\x00" if index else b"") + struct.pack(">H", len(nal)) + nal
    head, kind = bytes([slice_[0] & 0x81 | 49 << 1, slice_[1]]), slice_[0] >> 1 & 0x3F
    half = len(slice_) // 2
    late = [
        head + bytes([0x80 | kind]) + struct.pack(">H", 13) + slice_[2:half],
        head + bytes([0x40 | kind]) + slice_[half:],
    ]
    packets = [packetizer.packet(p, 0, marker=False) for p in (*late, aggregate)]
    packets += [packetizer.packet(b"\x02\x01" + struct.pack(">H", 14) + b"\xd0\x00", 3600, marker=True)]
    first = units_of(Codec.H265, don=True).feed(packets, 1)[0]
    assert first.nals == (vps, sps, pps, slice_)


def test_csrcs_extension_and_padding_are_skipped() -> None:
    packet = packets_of(clip())[0]
    body = packet[12:]
    odd = (
        bytes([0x80 | 0x20 | 0x10 | 2, packet[1]])
        + packet[2:12]
        + bytes(8)
        + b"\xbe\xde\x00\x01abcd"
        + body
        + b"\0\0\3"
    )
    units = units_of(Codec.H264)
    units.feed([odd], 1)
    assert units._depacketizer.nals == [body]


def test_a_new_source_begins_anew_without_counting_a_loss() -> None:
    shown = clip()
    units = units_of(Codec.H264)
    units.feed(packets_of(shown), 1)
    again = [p[:8] + b"\0\0\0\x99" + p[12:] for p in packets_of(shown, start=30_000)]
    done = units.feed(again, 1)
    assert [u.nals for u in done] == list(shown.units)
    assert [u.lost for u in done[:2]] == [True, False]
    assert done[0].whole
    assert units.lost == 0


@BOTH
def test_a_keyframe_behind_a_hole_is_whole_unless_it_misses_something_itself(codec: Codec) -> None:
    shown = clip(codec)
    packets = packets_of(shown, limit=60)
    stamps = [struct.unpack_from(">I", p, 4)[0] // 3600 for p in packets]
    before, first = stamps.index(9), stamps.index(10)
    last = stamps.index(11) - 1
    for dropped, keyframes in ((range(before, first), 4), ((last - 1,), 3), ((last,), 3)):
        kept = [p for i, p in enumerate(packets) if i not in dropped]
        done = units_of(codec).feed(kept, 1)
        assert any(u.lost for u in done)
        assert sum(u.keyframe and u.whole for u in done) == keyframes


def test_stamps_count_on_past_32_bits() -> None:
    shown = clip()
    packetizer = Packetizer(Codec.H264)
    packets = [
        p for nals, t in zip(shown.units, shown.stamps, strict=True) for p in packetizer.pack(nals, t - 9000)
    ]
    done = units_of(Codec.H264).feed(packets, 1)
    assert [b.rtp_time - a.rtp_time for a, b in itertools.pairwise(done)] == [3600] * (len(done) - 1)


def test_every_slice_marked_is_found_out() -> None:
    first, second = b"\x65\x88\x01\x02", b"\x65\x40\x03\x04"
    packetizer = Packetizer(Codec.H264)
    packets = [
        packetizer.packet(nal, stamp, marker=True)
        for stamp in range(0, 3600 * 4, 3600)
        for nal in (first, second)
    ]
    done = units_of(Codec.H264).feed(packets, 1)
    assert [u.nals for u in done[2:]] == [(first, second)] * 2


def test_a_sender_report_is_the_cameras_opinion_of_time() -> None:
    wall_s = 1_790_000_000
    packet = struct.pack(">BBHIIIIII", 0x80, 200, 6, 9, wall_s + 2_208_988_800, 1 << 31, 4242, 1, 1)
    report = rtp.parse_sender_report(struct.pack(">BBHI", 0x80, 201, 1, 9) + packet)
    assert report is not None
    assert (report.wall_us, report.rtp_stamp) == (wall_s * 1_000_000 + 500_000, 4242)


def test_our_report_names_what_was_received() -> None:
    units = units_of(Codec.H264)
    units.feed(packets_of(clip()), 1)
    report = rtp.receiver_report(77, units, 0xABCD, 0.5)
    assert struct.unpack_from(">II", report, 4) == (77, 0x1234)
    assert struct.unpack_from(">I", report, 16)[0] == units.highest_sequence
    assert struct.unpack_from(">II", report, 24) == (0xABCD, 32768)
    assert len(report) % 4 == 0


@settings(max_examples=200)
@given(st.sampled_from(list(Codec)), st.booleans(), st.lists(st.binary(max_size=60), max_size=30))
def test_any_bytes_are_taken(codec: Codec, don: bool, packets: list[bytes]) -> None:
    headed = [b"\x80\x60" + p if i % 2 else p for i, p in enumerate(packets)]
    units = units_of(codec, don)
    units.feed(headed, 1)
    assert len(units._depacketizer.nals) <= 2048


@settings(max_examples=100)
@given(
    st.sampled_from(list(Codec)),
    st.lists(
        st.tuples(st.sampled_from(["drop", "swap", "mutate", "double"]), st.integers(0, 10**6)), max_size=20
    ),
)
def test_unmarked_pictures_are_exactly_those_sent(codec: Codec, faults: list[tuple[str, int]]) -> None:
    """Whatever is dropped or reordered: a picture that is not marked lost equals one that was sent."""
    shown = clip(codec)
    packets = packets_of(shown)
    mutated = False
    for what, where in faults:
        at = where % len(packets)
        if what == "drop" and len(packets) > 1:
            del packets[at]
        elif what == "swap":
            packets[at - 1], packets[at] = packets[at], packets[at - 1]
        elif what == "double":
            packets.insert(at, packets[at])
        elif what == "mutate":
            mutated = True
            packets[at] = packets[at][: where % 40] + bytes([where & 0xFF]) + packets[at][where % 40 + 1 :]
    done = units_of(codec).feed(packets, 1)
    assert all(isinstance(u, AccessUnit) and u.nals for u in done)
    if not mutated:
        assert {u.nals for u in done[1:-1] if not u.lost} <= set(shown.units)
        sent = {slices_of(codec, nals) for nals in shown.units}
        assert {slices_of(codec, u.nals) for u in done[1:-1] if u.whole} <= sent
