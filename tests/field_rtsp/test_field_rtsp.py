"""What recorders do to RTSP in the field: one half minute in which everything goes wrong at once.

Some twenty streams of seven virtual recorders play into one real capture thread and one real ring. After
three seconds each gets a fault of its own; nine seconds later the devices are mended. Every test below judges
what a reader finds in the ring afterwards. The numbers are those of the field's list of cases.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import av
import pytest
from field_box import FieldBox, Footage, nals_of, until

from edge_agent.capture import device
from edge_agent.capture.ports import StreamStats
from edge_agent.clock import SystemClock
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.model import Codec, Keyframe, Role, StreamKey
from edge_agent.seal.record import Kind, Record

RECOVERY_S = 15.0
PASSWORD = "p@ss:/#?"


def main(name: object) -> StreamKey:
    return StreamKey(f"cam-{name:02d}" if isinstance(name, int) else str(name), Role.MAIN)


@dataclass
class HalfMinute:
    """What happened, and when (wall time, microseconds)."""

    box: FieldBox
    recorders: dict[str, VirtualDvr]
    channels: tuple[device.Channel, ...] = ()
    broken_us: int = 0
    mended_us: int = 0
    ended_us: int = 0
    log: list[str] = field(default_factory=list)
    sessions: dict[str, dict[int, int]] = field(default_factory=dict)
    stats: dict[StreamKey, StreamStats] = field(default_factory=dict)
    keyframes: dict[str, Keyframe | None] = field(default_factory=dict)
    watched: list[Record] = field(default_factory=list)
    sent: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    _footage: dict[StreamKey, Footage] = field(default_factory=dict)

    @property
    def farm(self) -> VirtualDvr:
        return self.recorders["farm"]

    @property
    def smart(self) -> VirtualDvr:
        return self.recorders["smart"]

    def footage(self, name: object) -> Footage:
        key = main(name)
        if key not in self._footage:
            self._footage[key] = self.box.footage(key)
        return self._footage[key]

    def covers_all(self, name: object) -> bool:
        """Recorded from the beginning to the end without a pause."""
        found = self.footage(name)
        return (
            found.epochs[0].from_us < self.broken_us
            and found.epochs[-1].to_us > self.ended_us - 2_000_000
            and found.gaps == []
        )


def make_recorders() -> dict[str, VirtualDvr]:
    """Each at an address of its own: wrong passwords and session limits are counted by address."""
    small = {"main": "320x180@25", "sub": "160x90@12", "h265": "none", "interface": "none"}
    kinds: dict[str, tuple[int, str, dict[str, object]]] = {
        "farm": (16, "dahua", {"h265": "16"}),
        "smart": (6, "dahua", {}),
        "silent": (1, "dahua", {}),
        "never-plays": (1, "dahua", {}),
        "limited": (2, "dahua", {}),
        "dead": (1, "dahua", {}),
        "hikvision": (1, "hikvision", {"password": PASSWORD}),
    }
    return {
        name: VirtualDvr(
            channels, brand, host=f"127.0.0.{40 + at}", serial=f"4E01B7EPFIELD{at}", **{**small, **more}
        )
        for at, (name, (channels, brand, more)) in enumerate(kinds.items())
    }


@pytest.fixture(scope="module")
def half_minute(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HalfMinute]:
    log: list[str] = []
    with ExitStack() as stack:
        stack.enter_context(heard(log))
        recorders = make_recorders()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(VirtualDvr.start, recorders.values()))
        for recorder in recorders.values():
            stack.callback(recorder.stop)
        told = HalfMinute(FieldBox(tmp_path_factory.mktemp("ring")), recorders, log=log)
        stopping = stack.enter_context(ExitStack())
        stopping.callback(told.box.stop)
        prepare(told)
        live_through(told)
        stopping.close()
        yield told


@contextmanager
def heard(log: list[str]) -> Iterator[None]:
    """Everything that the agent logs, down to the smallest detail."""
    listener, logger = logging.Handler(), logging.getLogger("edge_agent")
    listener.emit = lambda record: log.append(record.getMessage())  # type: ignore[method-assign]
    before = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.DEBUG)
    yield
    logger.setLevel(before)
    logger.removeHandler(listener)


def prepare(told: HalfMinute) -> None:
    """Start every stream; what is to be wrong from the first connection on is wrong now."""
    told.farm.control.set_channel(11, pcma=True)
    told.farm.control.set_channel(12, sent_fps=21)
    told.farm.control.set_channel(13, sr_absent=True)
    told.farm.control.set_channel(14, sr_skew_s=7 * 3600)
    told.farm.control.set_channel(15, sr_jump_s=-86_400)
    for number in (1, 2):
        told.smart.control.set_channel(number, variant="long-gop")
    told.smart.control.set_channel(3, annexb=True)
    told.smart.control.set_channel(4, sprop="garbage")
    told.smart.control.set_channel(6, rtp_constant=True, sprop="missing")
    told.recorders["hikvision"].control.set_device(rtsp="early")
    told.recorders["limited"].control.set_device(session_limit=1)
    farm = told.farm
    found = device.probe(farm.host, farm.http_port, farm.credentials, clock=SystemClock())
    told.channels = found.channels
    told.box.loop.tap(main(1)).subscribe(told.watched.append)
    for channel in told.channels:
        assert channel.main is not None
        told.box.record(main(channel.number), channel.main)
    for name, recorder in told.recorders.items():
        for number in recorder.channels if name not in ("farm", "limited") else ():
            told.box.record(main(f"{name}-{number}"), recorder.endpoint(number))
    limited = told.recorders["limited"]
    told.box.record(main("limited-1"), limited.endpoint(1))
    until(lambda: playing(told, set()), 20, "every healthy stream plays")
    told.box.record(main("limited-2"), limited.endpoint(2))


def playing(told: HalfMinute, excepted: set[str]) -> bool:
    stats = told.box.loop.stats()
    return all(each.fragments > 0 for key, each in stats.items() if key.camera not in excepted)


def live_through(told: HalfMinute) -> None:
    time.sleep(3)
    told.broken_us = told.box.clock.now().wall_us
    break_everything(told)
    time.sleep(6)
    told.keyframes["smart-1"] = told.box.loop.keyframe(main("smart-1"))
    time.sleep(3)
    told.mended_us = told.box.clock.now().wall_us
    told.farm.control.set_channel(4, mode="on")
    for name in ("silent", "never-plays", "dead"):
        told.recorders[name].control.set_device(rtsp="good")
    told.recorders["limited"].control.set_device(session_limit=0)
    with suppress(AssertionError):  # who is late is named by the tests
        until(lambda: all_play_now(told), RECOVERY_S + 3, "everything plays again")
    time.sleep(3)
    told.ended_us = told.box.clock.now().wall_us
    told.stats = told.box.loop.stats()
    told.sent = {n: told.farm.control.sent().nals[f"{n}/main"] for n in told.farm.channels}
    for name, recorder in told.recorders.items():
        told.sessions[name] = {number: recorder.control.sessions(number) for number in recorder.channels}


def break_everything(told: HalfMinute) -> None:
    control = told.farm.control
    control.set_channel(2, mode="stall")
    control.act("cut", channel=3)
    control.set_channel(4, mode="mute")
    control.act("reset-timestamps", channel=5)
    control.set_channel(6, rtp_shift_s=-2)
    control.set_channel(7, rtp_shift_s=5 * 3600)
    control.set_channel(8, rtp_constant=True)
    control.set_channel(9, variant="smaller")
    control.set_channel(10, variant="other-pps")
    for name in ("silent", "never-plays", "dead"):
        recorder = told.recorders[name]
        recorder.control.set_device(rtsp=name)
        if name != "dead":
            recorder.control.act("cut")
    told.smart.control.set_channel(2, loss=0.3)
    time.sleep(0.4)
    told.smart.control.set_channel(2, loss=0.0)


def all_play_now(told: HalfMinute) -> bool:
    """Every stream has had a keyframe since the devices were mended."""
    return all(s.state == "playing" and s.fps > 0 for s in told.box.loop.stats().values())


def test_case_16_sixteen_inputs_in_thirty_two_profiles_are_recorded_under_their_own_numbers(
    half_minute: HalfMinute,
) -> None:
    assert [c.number for c in half_minute.channels] == list(range(1, 17))
    assert all(c.verified and c.sub is not None for c in half_minute.channels)
    for number in (1, 5, 11, 14, 16):
        last = half_minute.footage(number).epochs[-1].mp4
        seen = {n for n, pieces in half_minute.sent.items() if any(piece in last for piece in pieces)}
        assert seen == {number}


def test_case_16_each_sub_stream_is_the_small_picture_of_its_main_stream(
    half_minute: HalfMinute, tmp_path: Path
) -> None:
    half_minute.farm.control.set_channel(9, variant="normal")
    box = FieldBox(tmp_path)
    for channel in half_minute.channels:
        assert channel.sub is not None
        box.record(StreamKey(f"cam-{channel.number:02d}", Role.SUB), channel.sub)
    until(lambda: [s.fragments > 0 for s in box.loop.stats().values()] == [True] * 16, 15, "all are recorded")
    sizes = {(s.width, s.height) for s in box.loop.stats().values()}
    box.stop()
    assert sizes == {(160, 90)}


def test_case_17_h265_behind_a_profile_that_does_not_say_so_is_recorded_as_h265(
    half_minute: HalfMinute,
) -> None:
    found = half_minute.footage(16)
    found.assert_plays()
    assert half_minute.covers_all(16)
    assert half_minute.stats[main(16)].codec is Codec.H265
    with av.open(as_file(found.epochs[0].mp4)) as container:
        assert container.streams.video[0].codec_context.name == "hevc"


def test_case_21_a_stalled_session_is_left_and_another_opened(half_minute: HalfMinute) -> None:
    found = half_minute.footage(2)
    found.assert_plays()
    assert found.resumed_s(half_minute.broken_us) <= RECOVERY_S
    (lost,) = half_minute.box.facts.lost(main(2))
    assert "no video packets" in lost.reason


def test_case_21_a_session_closed_by_the_recorder_is_opened_again_at_once(half_minute: HalfMinute) -> None:
    found = half_minute.footage(3)
    found.assert_plays()
    assert found.resumed_s(half_minute.broken_us) <= 5
    assert [gap.stated for gap in found.gaps] in ([], [True])


def test_case_21_an_input_that_plays_without_frames_is_back_when_they_come(half_minute: HalfMinute) -> None:
    found = half_minute.footage(4)
    found.assert_plays()
    assert found.resumed_s(half_minute.mended_us) <= RECOVERY_S
    assert [gap.stated for gap in found.gaps] == [True]


@pytest.mark.parametrize(
    ("stream", "sentence"),
    [
        ("silent-1", "no answer to DESCRIBE within 5 s"),
        ("never-plays-1", "no answer to PLAY within 5 s"),
        ("limited-2", "session limit"),
        ("dead-1", "no video packets for 5 s"),
    ],
    ids=["accepts and never answers", "never plays", "453", "power cut"],
)
def test_case_21_a_recorder_that_refuses_is_named_and_back_in_time(
    half_minute: HalfMinute, stream: str, sentence: str
) -> None:
    found = half_minute.footage(stream)
    found.assert_plays()
    assert found.resumed_s(half_minute.mended_us) <= RECOVERY_S
    assert any(sentence in lost.reason for lost in half_minute.box.facts.lost(main(stream)))


@pytest.mark.parametrize("stream", [1, 16, "smart-3", "hikvision-1", "limited-1"])
def test_case_21_the_others_lose_nothing(half_minute: HalfMinute, stream: object) -> None:
    half_minute.footage(stream).assert_plays()
    assert half_minute.covers_all(stream)
    assert half_minute.box.facts.lost(main(stream)) == []


@pytest.mark.parametrize(
    "stream", [5, 6, 7, 8, "smart-6"], ids=["reset", "back 2 s", "jump 5 h", "constant", "always constant"]
)
def test_case_22_timestamps_gone_wrong_leave_no_mark(half_minute: HalfMinute, stream: object) -> None:
    found = half_minute.footage(stream)
    found.assert_plays()
    assert half_minute.covers_all(stream)
    assert half_minute.box.facts.lost(main(stream)) == []


def test_case_23_another_resolution_begins_another_file(half_minute: HalfMinute) -> None:
    found = half_minute.footage(9)
    found.assert_plays()
    assert [set(epoch.sizes) for epoch in found.epochs] == [{(320, 180)}, {(160, 80)}]
    assert half_minute.covers_all(9)


def test_case_23_another_pps_alone_does_not(half_minute: HalfMinute) -> None:
    found = half_minute.footage(10)
    found.assert_plays()
    assert len(found.epochs) == 1
    assert half_minute.covers_all(10)
    pps = {nal for packet in found.epochs[0].packets for nal in nals_of(bytes(packet)) if nal[0] & 0x1F == 8}
    assert len(pps) == 2


def test_case_24_one_keyframe_in_minutes_is_recorded_and_nobody_reconnects(half_minute: HalfMinute) -> None:
    found = half_minute.footage("smart-1")
    found.assert_plays()
    assert half_minute.covers_all("smart-1")
    assert half_minute.box.facts.lost(main("smart-1")) == []
    assert sum(p.is_keyframe for p in found.epochs[0].packets) == 1


def test_case_24_a_viewer_has_the_keyframe_though_it_is_old(half_minute: HalfMinute) -> None:
    keyframe = half_minute.keyframes["smart-1"]
    assert keyframe is not None
    assert keyframe.at.wall_us < half_minute.broken_us
    decoder = av.CodecContext.create("h264", "r")
    pictures = [*decoder.decode(av.Packet(keyframe.annexb)), *decoder.decode(None)]
    assert [(p.width, p.height) for p in pictures] == [(320, 180)]


def test_case_24_packets_lost_in_a_group_of_minutes_cost_seconds_not_minutes(half_minute: HalfMinute) -> None:
    found = half_minute.footage("smart-2")
    found.assert_plays()
    assert found.resumed_s(half_minute.broken_us) <= 5
    assert found.epochs[-1].to_us > half_minute.ended_us - 2_000_000


def test_case_25_audio_beside_the_video_leaves_it_intact(half_minute: HalfMinute) -> None:
    half_minute.footage(11).assert_plays()
    assert half_minute.covers_all(11)
    assert half_minute.stats[main(11)].lost_packets == 0


@pytest.mark.parametrize("stream", [13, 14, 15], ids=["absent", "7 h off", "jumping"])
def test_case_26_sender_reports_never_reach_the_index(half_minute: HalfMinute, stream: int) -> None:
    half_minute.footage(stream).assert_plays()
    assert half_minute.covers_all(stream)
    assert half_minute.stats[main(stream)].discontinuities == 0


def test_case_27_pictures_stamped_faster_than_sent_leave_no_phantom_gaps(half_minute: HalfMinute) -> None:
    found = half_minute.footage(12)
    found.assert_plays()
    assert half_minute.covers_all(12)
    (epoch,) = found.epochs
    assert abs(len(epoch.packets) / 21 - epoch.media_s) < 1


def test_case_28_a_password_full_of_signs_works_and_is_never_told(half_minute: HalfMinute) -> None:
    half_minute.footage("hikvision-1").assert_plays()
    told = [*half_minute.log, *map(repr, half_minute.box.facts.kept)]
    assert half_minute.log
    assert not any(PASSWORD in line or "p%40ss" in line for line in told)


def test_case_29_a_viewer_costs_the_recorder_no_session(half_minute: HalfMinute) -> None:
    opener = half_minute.box.opener()
    opened = [(r.header.kind, opener.open(r)) for r in half_minute.watched]
    pictures = b"".join(plain for kind, plain in opened if kind in (Kind.INIT, Kind.FRAGMENT))
    with av.open(as_file(pictures)) as container:
        assert sum(1 for _ in container.decode(video=0)) > 300
    assert half_minute.sessions["farm"] == dict.fromkeys(range(1, 17), 1)
    assert half_minute.sessions["dead"] == {1: 1}


def test_annexb_inside_rtp_and_garbage_sprop_record_as_if_nothing_were(half_minute: HalfMinute) -> None:
    for stream in ("smart-3", "smart-4"):
        half_minute.footage(stream).assert_plays()
        assert half_minute.covers_all(stream)


def test_neither_tcp_nor_udp_is_refused_with_the_sentence_that_cures_it(
    half_minute: HalfMinute, tmp_path: Path
) -> None:
    recorder = half_minute.recorders["silent"]
    recorder.control.set_device(rtsp="no-transport")
    box = FieldBox(tmp_path)
    box.record(main("udp"), recorder.endpoint(1))
    until(lambda: box.facts.lost(main("udp")), 10, "refused")
    box.stop()
    assert "allow RTSP over TCP" in box.facts.lost(main("udp"))[0].reason


def as_file(mp4: bytes) -> io.BytesIO:
    return io.BytesIO(mp4)
