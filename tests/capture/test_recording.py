"""Packets to records: what comes back out of sealed records is what the camera sent."""

from __future__ import annotations

import io
import itertools

import av
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from rtsp_world import KEY, Clip, Packetizer, Shelf, clip, played, spec_for

from edge_agent.capture import fmp4, sdp
from edge_agent.capture.recorder import Recorder
from edge_agent.capture.stream import Stream, annexb
from edge_agent.clock import ManualClock
from edge_agent.errors import FormatError
from edge_agent.model import ClockTrust, Codec, StreamKey
from edge_agent.seal.keys import BoxKey, Recipient
from edge_agent.seal.opener import Opener
from edge_agent.seal.record import Aead, Flag, Kind, Record
from edge_agent.seal.sealer import StreamSealer
from edge_agent.tap import Tap

FRAME_NS = 40_000_000
BOTH = pytest.mark.parametrize("codec", list(Codec))


class Bench:
    """One stream's pure half, fed by hand: a Stream and a Recorder with a real sealer."""

    def __init__(self, shown: Clip, *, budget: int | None = None, record: bool = True) -> None:
        self.clock = ManualClock()
        self.shelf = Shelf(budget)
        self.taps: dict[StreamKey, Tap[Record]] = {}
        self._reader = X25519PrivateKey.generate()
        self._box = BoxKey(bytes(32))
        recipient = Recipient("iccc", self._reader.public_key().public_bytes_raw())
        sealer = StreamSealer(
            box=self._box,
            recipients=[recipient],
            stream_id=bytes(16),
            boot_id=bytes(16),
            aead=Aead.AES_256_GCM,
        )
        self.recorder = Recorder(spec_for(1, record=record), sealer, self.shelf, self.taps, self.clock)
        self.packetizer = Packetizer(shown.codec)
        self.shown = shown
        self.visit()

    def visit(self, description: bytes | None = None) -> None:
        """A new session."""
        media = sdp.parse(description or self.shown.sdp()).video()
        assert media is not None
        self.stream = Stream(media, fragment_s=0.2, floor_ns=self.recorder.end_ns)

    def show(
        self, shown: Clip | None = None, *, skip: int = 0, drop: int | None = None, stamp: int = 0
    ) -> None:
        """One pass of a clip, a picture every 40 ms; `drop` loses the last packet of that picture."""
        shown = shown or self.shown
        for index, nals in enumerate(shown.units[skip:], skip):
            packets = self.packetizer.pack(nals, shown.stamps[index] + stamp)
            self.feed(packets[:-1] if index == drop else packets)

    def feed(self, packets: list[bytes]) -> None:
        for run in self.stream.feed(packets, self.clock.boot_ns):
            self.recorder.take(run)
        self.clock.advance(FRAME_NS / 1e9)

    def finish(self) -> None:
        run = self.stream.finish()
        if run is not None:
            self.recorder.take(run)

    @property
    def records(self) -> list[Record]:
        return self.shelf.records.get(KEY, [])

    def of(self, kind: Kind) -> list[Record]:
        return [r for r in self.records if r.header.kind is kind]

    def epochs(self) -> list[bytes]:
        """One MP4 for each epoch, opened with the recipient's key, which also checks the chain."""
        opener = Opener("iccc", self._reader.private_bytes_raw(), self._box.public)
        clips: dict[bytes, bytes] = {}
        for record in self.records:
            plain = opener.open(record)
            if record.header.kind in (Kind.INIT, Kind.FRAGMENT):
                clips[record.header.epoch] = clips.get(record.header.epoch, b"") + plain
        return list(clips.values())


@BOTH
def test_every_picture_comes_back_as_it_was(codec: Codec) -> None:
    bench = Bench(clip(codec))
    bench.show()
    bench.finish()
    (mp4,) = bench.epochs()
    assert played(mp4) == list(bench.shown.digests)


@BOTH
def test_b_pictures_come_back_in_their_order_and_time(codec: Codec) -> None:
    bench = Bench(clip(codec, 40, 20, b=2))
    bench.show()
    bench.finish()
    (mp4,) = bench.epochs()
    assert played(mp4) == list(bench.shown.digests)
    with av.open(io.BytesIO(mp4)) as container:
        shown_at = sorted(p.pts for p in container.demux(video=0) if p.pts is not None)
    assert {b - a for a, b in itertools.pairwise(shown_at)} == {3600}


def test_nal_units_are_stored_bit_by_bit() -> None:
    bench = Bench(clip())
    bench.show()
    bench.finish()
    (mp4,) = bench.epochs()
    for nals in bench.shown.units:
        assert b"".join(len(n).to_bytes(4, "big") + n for n in nals) in mp4


def test_fragments_are_cut_at_keyframes_and_every_fifth_of_a_second() -> None:
    bench = Bench(clip(gop=13))
    bench.show()
    bench.finish()
    fragments = [r.header for r in bench.of(Kind.FRAGMENT)]
    assert [h.duration_us for h in fragments] == [200_000, 200_000, 120_000] * 3 + [40_000]
    assert [bool(h.flags & Flag.KEYFRAME) for h in fragments] == [True, False, False] * 3 + [True]
    assert [h.tfdt for h in fragments][:4] == [0, 18_000, 36_000, 46_800]
    steps = [b.boot_ns - a.boot_ns for a, b in itertools.pairwise(fragments)]
    assert set(steps) == {200_000_000, 120_000_000}


def test_a_session_after_one_whose_epoch_was_renewed_is_recorded() -> None:
    """Its media time begins at 0 again, before the one at which the last epoch began."""
    bench = Bench(clip(gop=5))
    bench.show()
    bench.recorder.renew()
    bench.show(stamp=10 * 90_000)
    bench.recorder.lost("no video packets for 5 s", bench.clock.boot_ns)
    before = len(bench.of(Kind.FRAGMENT))
    bench.visit()
    bench.show()
    bench.finish()
    assert len(bench.of(Kind.FRAGMENT)) > before
    assert [h.tfdt for h in (r.header for r in bench.of(Kind.FRAGMENT)[before:])][:2] == [0, 18_000]
    assert len(bench.epochs()) == 3


@BOTH
def test_the_init_describes_itself(codec: Codec) -> None:
    shown = clip(codec)
    media = sdp.parse(shown.sdp()).video()
    assert media is not None
    init = fmp4.init_segment(Stream(media, fragment_s=0.2).sets)
    assert fmp4.describe(init.data) == init
    assert (init.width, init.height, init.timescale) == (160, 96, 90_000)


@pytest.mark.parametrize("cut", [0, 7, 40, 300, 500])
def test_what_is_no_init_is_refused(cut: int) -> None:
    media = sdp.parse(clip().sdp()).video()
    assert media is not None
    init = fmp4.init_segment(Stream(media, fragment_s=0.2).sets).data
    with pytest.raises(FormatError):
        fmp4.describe(init[:cut])


def test_after_a_loss_nothing_undecodable_is_recorded_and_the_gap_is_told() -> None:
    shown = clip(gop=10)
    bench = Bench(shown)
    bench.packetizer.limit = 60
    bench.show(drop=13)
    bench.finish()
    (mp4,) = bench.epochs()
    kept = [d for i, d in enumerate(shown.digests) if not 13 <= i < 20]
    assert played(mp4) == kept
    (gap,) = bench.of(Kind.GAP)
    after = next(r for r in bench.records if r.header.n == gap.header.n + 1)
    assert after.header.flags == Flag.KEYFRAME | Flag.DISCONTINUITY


def test_a_new_size_is_a_new_epoch_and_a_new_pps_is_not() -> None:
    small, wide = clip(), clip(width=200)
    bench = Bench(small)
    bench.show()
    bench.show(wide, stamp=3600 * 40)
    bench.finish()
    first, second = bench.epochs()
    assert played(first) == list(small.digests)
    assert played(second) == list(wide.digests)
    again = Bench(small)
    again.feed(again.packetizer.pack((*small.units[0][:1], b"\x68\xce\x31\xb2", *small.units[0][1:]), 0))
    again.show(skip=1)
    again.finish()
    assert len(again.epochs()) == 1


def test_missing_sprop_waits_for_the_parameter_sets_in_band() -> None:
    bench = Bench(clip())
    bench.visit(b"v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n")
    bench.show(skip=3)
    bench.finish()
    (mp4,) = bench.epochs()
    assert played(mp4) == list(bench.shown.digests[10:])


def test_without_credit_fragments_are_dropped_to_the_next_keyframe_and_a_gap_is_sealed() -> None:
    bench = Bench(clip(gop=10), budget=4000)
    bench.show()
    starved = len(bench.of(Kind.FRAGMENT))
    bench.shelf.budget = 1_000_000
    bench.show(stamp=3600 * 40)
    bench.finish()
    assert bench.recorder.dropped > 0
    (gap,) = bench.of(Kind.GAP)
    resumed = bench.of(Kind.FRAGMENT)[starved]
    assert resumed.header.n == gap.header.n + 1
    assert resumed.header.flags & Flag.KEYFRAME
    assert [r.header.n for r in bench.records] == list(range(len(bench.records)))
    bench.epochs()


def test_credit_equals_what_is_put_but_for_the_key_record() -> None:
    bench = Bench(clip(), budget=10_000_000)
    bench.show()
    bench.finish()
    put = sum(len(r.raw) for r in bench.records if r.header.kind is not Kind.KEY)
    assert bench.shelf.reserved == put


def test_a_reconnect_is_a_new_epoch_that_tells_the_gap_and_never_goes_back() -> None:
    bench = Bench(clip())
    bench.show()
    bench.finish()
    bench.recorder.lost("no video packets for 5 s", bench.recorder.end_ns)
    bench.clock.advance(7)
    bench.visit()
    bench.show()
    bench.finish()
    assert [played(mp4) for mp4 in bench.epochs()] == [list(bench.shown.digests)] * 2
    (gap,) = bench.of(Kind.GAP)
    assert gap.header.duration_us == 7_000_000 + 40_000
    starts = [r.header.boot_ns for r in bench.of(Kind.FRAGMENT)]
    assert starts == sorted(starts)


def test_a_clock_step_begins_a_new_epoch_at_the_next_keyframe_and_mixes_nothing() -> None:
    bench = Bench(clip(gop=10))
    bench.clock.trust = ClockTrust.NONE
    bench.recorder.renew()
    bench.show(clip(gop=10), skip=0)
    bench.clock.step_wall(7 * 3600)
    bench.clock.trust = ClockTrust.NTP
    bench.show(stamp=3600 * 40)
    bench.finish()
    walls: dict[bytes, list[int]] = {}
    for record in bench.of(Kind.FRAGMENT):
        walls.setdefault(record.header.epoch, []).append(record.header.wall_us)
    before, after = walls.values()
    assert before == sorted(before)
    assert after == sorted(after)
    assert after[0] - before[-1] > 6 * 3600 * 1_000_000


def test_epochs_end_after_ten_minutes_at_a_keyframe() -> None:
    bench = Bench(clip(gop=10))
    for turn in range(3):
        bench.show(stamp=3600 * 40 * turn)
        bench.clock.advance(400)
    bench.finish()
    assert len(bench.of(Kind.KEY)) == 2


def test_a_warm_stream_is_sealed_only_once_somebody_taps_it() -> None:
    bench = Bench(clip(gop=10), record=False)
    bench.show()
    assert not bench.recorder.fragments
    tap = bench.taps[KEY] = Tap()
    bench.show(stamp=3600 * 40)
    backlog = tap.subscribe(lambda record: None)
    assert [r.header.kind for r in backlog[:2]] == [Kind.KEY, Kind.INIT]
    assert backlog[2].header.flags & Flag.KEYFRAME
    assert not bench.records


def test_a_tap_asked_for_in_the_middle_of_an_epoch_gets_its_key_and_init() -> None:
    bench = Bench(clip(gop=10))
    bench.show()
    tap = bench.taps[KEY] = Tap()
    bench.show(stamp=3600 * 40)
    kinds = [r.header.kind for r in tap.subscribe(lambda record: None)]
    assert kinds[:3] == [Kind.KEY, Kind.INIT, Kind.FRAGMENT]
    assert len(bench.of(Kind.KEY)) == 1


@BOTH
def test_the_newest_keyframe_decodes_alone(codec: Codec) -> None:
    bench = Bench(clip(codec))
    bench.show()
    unit = bench.stream.keyframe
    assert unit is not None
    decoder = av.CodecContext.create("h264" if codec is Codec.H264 else "hevc", "r")
    frames = decoder.decode(av.Packet(annexb(bench.stream.sets.all(), unit))) + decoder.decode(None)
    assert len(frames) == 1


def test_a_stalling_camera_does_not_hold_back_what_has_come() -> None:
    bench = Bench(clip())
    bench.feed(bench.packetizer.pack(bench.shown.units[0], 0))
    assert bench.stream.flush(bench.clock.boot_ns) is None
    run = bench.stream.flush(bench.clock.boot_ns + 500_000_000)
    assert run is not None
    assert run.end_dts - run.units[0].dts == 3600
