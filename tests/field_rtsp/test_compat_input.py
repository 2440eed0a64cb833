"""What our RTSP client cannot play, played all the same: MJPEG, MPEG-4 Part 2, and RTSP inside HTTP.

A quarter of a minute in which the processes behind it are killed, their recorder hangs and sends noise, while
a neighbour on the same recorder is recorded by ourselves. The tests judge what a reader finds afterwards.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import psutil
import pytest
from field_box import FieldBox, Footage, until
from gstreamer import gst_server

from edge_agent.capture.compat import StreamConverted
from edge_agent.capture.compat_pool import CompatPool
from edge_agent.capture.ports import StreamStats
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.model import Credentials, Endpoint, Role, StreamKey

RECOVERY_S = 15.0
PASSWORD = "p@ss:/#?"
SMALL = {"main": "320x180@25", "sub": "160x90@12", "h265": "none", "interface": "none", "password": PASSWORD}
CONVERTED = {"mjpeg": "MJPEG", "mpeg4": "MPEG-4 Part 2"}
STREAMS = ("mjpeg", "mpeg4", "tunnel", "neighbour")
NO_PYAV = """
import sys, threading
from edge_agent.capture.loop import CaptureLoop
from edge_agent.cli import probe
from edge_agent.model import Credentials, Endpoint
url, host, port, password = sys.argv[1:]
good = probe.stream("cam", Endpoint(url, host, int(port), Credentials("admin", password)), 15)
print(good, sorted(m for m in sys.modules if m.split(".")[0] in ("av", "cv2")))
"""


def key(name: str) -> StreamKey:
    return StreamKey(name, Role.MAIN)


def state(box: FieldBox, name: str) -> str:
    stats = box.loop.stats().get(key(name))
    return stats.state if stats else ""


def plays(box: FieldBox, name: str, since_us: int = 0) -> bool:
    newest = box.loop.keyframe(key(name))
    return state(box, name) == "playing" and newest is not None and newest.at.wall_us > since_us


@dataclass
class QuarterMinute:
    """What happened, and when (wall time, microseconds)."""

    box: FieldBox
    recorder: VirtualDvr
    tunnelled: VirtualDvr
    log: list[str] = field(default_factory=list)
    seen: dict[str, bytes] = field(default_factory=dict)  # what /proc told of the processes
    resident: list[int] = field(default_factory=list)
    probed: str = ""
    killed_us: int = 0
    mended_us: int = 0
    stats: dict[StreamKey, StreamStats] = field(default_factory=dict)
    sessions_left: int = 0
    children_left: int = 0
    wrong_passwords: object = None
    _footage: dict[str, Footage] = field(default_factory=dict)

    def footage(self, name: str) -> Footage:
        if name not in self._footage:
            self._footage[name] = self.box.footage(key(name))
        return self._footage[name]

    def playing(self, since_us: int = 0) -> bool:
        return all(plays(self.box, name, since_us) for name in STREAMS)

    def pid(self, name: str) -> int:
        return self.box.loop.compat.pids[key(name)]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuarterMinute]:
    with ExitStack() as stack:
        options = {**SMALL, "serial": "4E01B7EPCOMPAT1"}
        recorder = stack.enter_context(VirtualDvr(4, host="127.0.0.73", **options))
        options["serial"] = "4E01B7EPCOMPAT2"
        tunnelled = stack.enter_context(VirtualDvr(2, host="127.0.0.74", **options))
        told = QuarterMinute(FieldBox(tmp_path_factory.mktemp("ring")), recorder, tunnelled)
        stack.callback(told.box.stop)
        stack.enter_context(heard(told.log))
        told.box.loop.compat = CompatPool(places=3)
        begin(told)
        look_at_processes(told)
        with probing(told):
            disturb(told)
        told.stats = told.box.loop.stats()
        told.box.stop()
        time.sleep(0.3)
        told.sessions_left = recorder.control.sessions() + tunnelled.control.sessions()
        told.children_left = len(
            [p for p in psutil.Process().children() if "compat_child" in str(p.cmdline())]
        )
        told.wrong_passwords = tunnelled.control.state()["wrong_passwords"]
        yield told


def begin(told: QuarterMinute) -> None:
    """First a wrong password, then every stream, then one conversion too many."""
    told.recorder.control.set_channel(1, mjpeg=True)
    told.recorder.control.set_channel(2, mpeg4=True)
    told.recorder.control.set_channel(4, mjpeg=True)
    told.tunnelled.control.set_device(rtsp="tunnel", lockout_after=5)
    wrong = Credentials("admin", "not-this-one")
    told.box.record(key("wrong"), replace(told.tunnelled.endpoint(2), credentials=wrong))
    until(lambda: state(told.box, "wrong") == "refused", 15, "refused for good")
    for number, name in ((1, "mjpeg"), (2, "mpeg4"), (3, "neighbour")):
        told.box.record(key(name), told.recorder.endpoint(number))
    told.box.record(key("tunnel"), told.tunnelled.endpoint(1))
    until(told.playing, 20, "every stream plays")
    told.box.record(key("too-many"), told.recorder.endpoint(4))
    until(lambda: told.box.facts.lost(key("too-many")), 10, "one too many is refused")
    told.box.loop.stop_stream(key("too-many"))
    time.sleep(2)


def look_at_processes(told: QuarterMinute) -> None:
    for name in ("mjpeg", "mpeg4", "tunnel"):
        place = Path("/proc", str(told.pid(name)))
        told.seen[name] = (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
        told.seen[f"{name} limits"] = (place / "limits").read_bytes()
        links = [str(fd.readlink()) for fd in (place / "fd").iterdir()]
        told.seen[f"{name} files"] = "\n".join(links).encode()
        told.resident.append(psutil.Process(told.pid(name)).memory_info().rss)


@contextmanager
def probing(told: QuarterMinute) -> Iterator[None]:
    """`camera test` in a process of its own meanwhile: it converts channel 4."""
    endpoint = told.recorder.endpoint(4)
    command = [sys.executable, "-c", NO_PYAV, endpoint.url, endpoint.host, str(endpoint.port), PASSWORD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield
        told.probed = process.communicate(timeout=30)[0]


def disturb(told: QuarterMinute) -> None:
    """A process dies, noise comes, stamps begin anew; then the recorder falls silent on one channel."""
    control = told.recorder.control
    told.killed_us = told.box.clock.now().wall_us
    os.kill(told.pid("mpeg4"), signal.SIGKILL)
    control.set_channel(1, garbage=0.7)
    time.sleep(1.5)
    control.set_channel(1, garbage=0.0)
    told.tunnelled.control.act("reset-timestamps", 1)
    time.sleep(0.6)
    control.set_channel(1, mode="mute")
    until(lambda: told.box.facts.lost(key("mjpeg")), 10, "the silence is noticed")
    control.set_channel(1, mode="on")
    told.mended_us = told.box.clock.now().wall_us
    until(lambda: told.playing(told.mended_us), RECOVERY_S + 5, "every stream plays again")
    time.sleep(1.5)


@contextmanager
def heard(log: list[str]) -> Iterator[None]:
    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.append(record.getMessage())

    logger, listener = logging.getLogger("edge_agent"), Listener()
    before, _ = logger.level, logger.addHandler(listener)
    logger.setLevel(logging.DEBUG)
    yield
    logger.setLevel(before)
    logger.removeHandler(listener)


@pytest.mark.parametrize("name", STREAMS)
def test_it_is_recorded_playable_and_as_long_as_the_clock_says(told: QuarterMinute, name: str) -> None:
    told.footage(name).assert_plays()
    assert sum(epoch.media_s for epoch in told.footage(name).epochs) > 5


@pytest.mark.parametrize("name", ["mjpeg", "mpeg4"])
def test_a_conversion_is_told_in_the_stats_as_a_fact_and_in_the_file(told: QuarterMinute, name: str) -> None:
    sentence = f"converted from {CONVERTED[name]}, 10 pictures a second"
    assert told.stats[key(name)].converted == sentence
    facts = [
        f.converted for f in told.box.facts.kept if isinstance(f, StreamConverted) and f.key == key(name)
    ]
    assert facts == [sentence]
    assert all(f"converted from {CONVERTED[name]}\0".encode() in e.init for e in told.footage(name).epochs)


def test_what_is_only_fetched_for_us_keeps_the_cameras_own_bits(told: QuarterMinute) -> None:
    last = told.footage("tunnel").epochs[-1].mp4
    sent = told.tunnelled.control.sent().nals["1/main"]
    assert any(piece in last for piece in sent)
    assert told.stats[key("tunnel")].converted == ""
    assert b"converted" not in told.footage("tunnel").epochs[0].init


@pytest.mark.parametrize("name", ["mjpeg", "mpeg4"])
def test_ten_pictures_a_second_and_a_keyframe_every_two(told: QuarterMinute, name: str) -> None:
    for epoch in told.footage(name).epochs:
        assert len(epoch.packets) <= epoch.media_s * 10 + 3
        keys = [float(p.pts * p.time_base) for p in epoch.packets if p.is_keyframe]
        gaps = [b - a for a, b in pairwise(keys)]
        assert all(gap < 2.5 for gap in gaps)


def test_a_killed_process_is_recorded_again_in_time_and_the_gap_is_told(told: QuarterMinute) -> None:
    found = told.footage("mpeg4")
    assert found.resumed_s(told.killed_us) <= RECOVERY_S
    assert [gap.stated for gap in found.gaps] == [True]
    reasons = [lost.reason for lost in told.box.facts.lost(key("mpeg4"))]
    assert reasons == ["the compatibility process ended without a word"]


def test_a_silent_recorder_is_noticed_and_recorded_again_in_time(told: QuarterMinute) -> None:
    assert told.box.facts.lost(key("mjpeg"))[0].reason == "no video packets for 5 s"
    assert told.footage("mjpeg").resumed_s(told.mended_us) <= RECOVERY_S


def test_noise_costs_pictures_that_are_told_as_a_gap_and_nothing_else(told: QuarterMinute) -> None:
    gaps = told.footage("mjpeg").gaps
    assert all(gap.stated for gap in gaps)
    assert len(gaps) >= 2
    assert len(told.box.facts.lost(key("mjpeg"))) == 1  # the silence, later


def test_the_neighbour_notices_nothing(told: QuarterMinute) -> None:
    told.footage("neighbour").assert_gapless()
    assert len(told.footage("neighbour").epochs) == 1
    assert told.box.facts.lost(key("neighbour")) == []


def test_stamps_that_begin_anew_cost_a_tunnelled_stream_nothing(told: QuarterMinute) -> None:
    assert told.box.facts.lost(key("tunnel")) == []


def test_one_conversion_too_many_is_refused_with_a_sentence(told: QuarterMinute) -> None:
    reason = told.box.facts.lost(key("too-many"))[0].reason
    assert reason.startswith("the device sends MJPEG; switch this stream to H.264")
    assert "3 streams are converted already" in reason


def test_a_wrong_password_is_given_twice_and_no_more(told: QuarterMinute) -> None:
    assert told.wrong_passwords == 2
    assert "No further attempt" in told.box.facts.lost(key("wrong"))[-1].reason


def test_the_password_is_in_no_argument_no_environment_and_no_log(told: QuarterMinute) -> None:
    spelt = [PASSWORD.encode(), b"p%40ss", b"not-this-one"]
    seen = b"".join(told.seen.values()) + "\n".join(told.log).encode()
    assert told.log
    assert not any(each in seen for each in spelt)


@pytest.mark.parametrize("name", ["mjpeg", "mpeg4", "tunnel"])
def test_the_process_can_write_no_file_and_has_none_open(told: QuarterMinute, name: str) -> None:
    assert b"Max file size             0 " in told.seen[f"{name} limits"]
    links = told.seen[f"{name} files"].decode().splitlines()
    assert all(link.startswith(("pipe:", "socket:", "/dev/null")) for link in links)


def test_memory_is_bounded(told: QuarterMinute) -> None:
    assert max(told.resident) < 100 << 20


def test_every_session_is_torn_down_and_no_process_is_left(told: QuarterMinute) -> None:
    assert (told.sessions_left, told.children_left) == (0, 0)


def test_the_capturing_process_itself_never_loads_pyav(told: QuarterMinute) -> None:
    """`camera test` runs the daemon's own capture; it tells the conversion, too."""
    assert "converted from MJPEG, 10 pictures a second" in told.probed
    assert told.probed.splitlines()[-1] == "True []"


def old_camera(path: Path) -> Path:
    """A minute of MPEG-4 Part 2: Debian's GStreamer can send it, but not make it."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.gop_size = 160, 96, 25
        for index in range(60 * 25):
            frame = av.VideoFrame(160, 96, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([index % 200 + 20]) * plane.buffer_size)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            file.mux(stream.encode(frame))
    return path


@pytest.mark.parametrize("path", ["mjpeg", "mpeg4"])
def test_gstreamer_sends_it_and_ffmpeg_agrees_on_the_picture(tmp_path: Path, path: str) -> None:
    server, box = gst_server(old_camera(tmp_path / "loop.mp4")), FieldBox(tmp_path / "ring")
    try:
        server.start()
        url = f"rtsp://127.0.0.1:{server.port}/{path}"
        box.record(key(path), Endpoint(url, "127.0.0.1", server.port))
        until(lambda: plays(box, path), 15, "it is recorded")
        with av.open(url, options={"rtsp_transport": "tcp"}, timeout=5) as judge:
            frame = next(iter(judge.decode(video=0)))
    finally:
        box.stop()
        server.kill()
    found = box.footage(key(path))
    found.assert_plays()
    assert set(found.epochs[0].sizes) == {(frame.width, frame.height)}
    assert box.facts.lost(key(path)) == []
