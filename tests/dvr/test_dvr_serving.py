"""The recorder as a process: RTSP as clients meet it, healthy and with each fault."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from edge_agent.demo.dvr import media
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.demo.dvr.media import LoopKey, Shape, Variant
from edge_agent.demo.dvr.sei import parse_send_time
from edge_agent.errors import DeviceError
from edge_agent.model import Codec, Role

Client = Any  # RawRtsp of conftest.py, which importlib mode does not let us import
Open = Callable[..., Client]
QUICK = {"rtsp_transport": "tcp", "analyzeduration": "200000"}


def with_password(url: str, dvr: VirtualDvr) -> str:
    return url.replace("rtsp://", f"rtsp://{dvr.credentials.username}:{dvr.credentials.password}@")


def pictures(client: Client, seconds: float = 0.5) -> int:
    return sum(1 for packet in client.collect(seconds) if packet.kind == 96 and packet.marker)


@pytest.mark.parametrize(("channel", "codec"), [(1, "h264"), (2, "hevc")])
def test_pyav_plays_a_stream_with_its_send_times(dvr: VirtualDvr, channel: int, codec: str) -> None:
    url = with_password(dvr.rtsp_url(channel), dvr)
    with av.open(url, options=QUICK, timeout=(5.0, 5.0)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) in {
            ("h264", 320, 180),
            ("hevc", 640, 360),
        }
        assert stream.codec_context.name == codec
        stamps = []
        for packet in container.demux(stream):
            nals = bytes(packet).split(b"\x00\x00\x01")
            stamps += [sent for nal in nals if nal and (sent := parse_send_time(nal))]
            if len(stamps) >= 20:
                break
    assert stamps == sorted(stamps)
    assert abs(stamps[-1] / 1e6 - time.time()) < 5


@pytest.mark.needs("ffprobe")
def test_ffprobe_reads_the_sub_stream(dvr: VirtualDvr) -> None:
    url = with_password(dvr.rtsp_url(1, Role.SUB), dvr)
    shown = ["-show_entries", "stream=codec_name,width,height", "-of", "json"]
    command = ["ffprobe", "-v", "error", "-rtsp_transport", "tcp", "-analyzeduration", "200000", *shown, url]
    answer = json.loads(subprocess.run(command, capture_output=True, timeout=20, check=True).stdout)
    assert answer["streams"] == [{"codec_name": "h264", "width": 160, "height": 90}]


def test_pictures_come_with_stamps_reports_and_steady_timestamps(play: Open, wire_tools: Any) -> None:
    client = play(2)
    packets = client.collect(0.8)
    units = wire_tools.assemble(packets, Codec.H265)
    assert len(units) >= 10
    assert [unit.stamp.serial for unit in units] == list(range(len(units)))
    assert {(b.rtp_time - a.rtp_time) & 0xFFFFFFFF for a, b in pairwise(units)} == {3600}
    assert 200 in {packet.kind for packet in packets}
    assert abs(units[-1].stamp.sent_us / 1e6 - time.time()) < 2


def test_a_wrong_password_is_refused_and_counted(dvr: VirtualDvr, open_rtsp: Open) -> None:
    before = dvr.control.state()["wrong_passwords"]
    assert open_rtsp(password="wrong").play(dvr.rtsp_url(1)) == 401
    assert dvr.control.state()["wrong_passwords"] == before + 1


def test_changed_credentials_hold_for_new_requests(dvr: VirtualDvr, open_rtsp: Open) -> None:
    dvr.control.set_credentials("admin", "p@ss:/#?")
    assert open_rtsp().play(dvr.rtsp_url(1)) == 401
    assert open_rtsp(password="p@ss:/#?").play(dvr.rtsp_url(1)) == 200


def test_a_locked_account_refuses_the_right_password(dvr: VirtualDvr, open_rtsp: Open) -> None:
    dvr.control.set_device(lockout_after=2)
    for _ in range(2):
        open_rtsp(password="wrong").play(dvr.rtsp_url(1))
    assert open_rtsp().play(dvr.rtsp_url(1)) == 403


def test_unknown_inputs_and_paths_are_not_found(dvr: VirtualDvr, open_rtsp: Open) -> None:
    client = open_rtsp()
    assert client.request("DESCRIBE", dvr.rtsp_url(3))[0] == 404
    assert client.request("DESCRIBE", f"rtsp://{dvr.host}:{dvr.rtsp_port}/bogus")[0] == 404


def test_udp_and_unknown_methods_are_refused(dvr: VirtualDvr, open_rtsp: Open) -> None:
    client = open_rtsp()
    udp = "RTP/AVP;unicast;client_port=5000-5001"
    assert client.request("SETUP", dvr.rtsp_url(1) + "/trackID=0", Transport=udp)[0] == 461
    assert client.request("RECORD", dvr.rtsp_url(1))[0] == 501
    assert client.request("PLAY", dvr.rtsp_url(1))[0] == 455
    assert client.request("GET_PARAMETER", dvr.rtsp_url(1), Session="nobody")[0] == 454


def test_teardown_ends_the_session_but_not_the_connection(dvr: VirtualDvr, play: Open) -> None:
    client = play(1)
    assert dvr.control.sessions(1) == 1
    assert client.request("GET_PARAMETER", dvr.rtsp_url(1))[0] == 200
    assert client.request("TEARDOWN", dvr.rtsp_url(1))[0] == 200
    assert dvr.control.sessions(1) == 0
    client.session = ""
    assert client.request("OPTIONS", dvr.rtsp_url(1))[0] == 200


def test_an_input_that_is_off_plays_without_packets_and_returns_with_a_keyframe(
    dvr: VirtualDvr, play: Open, wire_tools: Any
) -> None:
    watching = play(1)
    dvr.control.set_channel(1, mode="off")
    watching.collect(0.2)
    assert watching.collect(0.3) == []
    assert play(1).collect(0.3) == []
    assert pictures(play(2)) > 5
    dvr.control.set_channel(1, mode="on")
    units = wire_tools.assemble(watching.collect(0.4), Codec.H264)
    assert units[0].nals[0][0] & 0x1F == 7


def test_a_slate_is_a_still_picture_of_tiny_frames(dvr: VirtualDvr, play: Open, wire_tools: Any) -> None:
    client = play(1)
    dvr.control.set_channel(1, mode="slate")
    client.collect(0.2)
    units = wire_tools.assemble(client.collect(0.6), Codec.H264)
    assert len(units) >= 8
    assert all(len(unit.annexb) < 400 for unit in units)


@pytest.mark.parametrize("mode", ["slate", "black", "frozen"])
def test_a_still_picture_has_a_clock_that_runs_and_nothing_else_that_moves(mode: str, tmp_path: Path) -> None:
    loop = media.load(tmp_path, LoopKey(1, False, Shape(320, 192, 25), Variant(mode)))
    jpegs = [media.jpeg_of(loop, second * 25) for second in range(0, 16, 2)]
    shown = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE).astype(int) for jpeg in jpegs]
    differs = np.any([abs(one - shown[0]) > 24 for one in shown[1:]], axis=0)

    assert differs[:16, :160].any()
    assert not differs[32:].any()
    assert np.median([len(unit.nals[-1]) for unit in loop.units if not unit.keyframe]) < 60


def test_a_black_input_is_shown_and_the_recorder_does_not_know(dvr: VirtualDvr, play: Open) -> None:
    dvr.control.set_channel(1, mode="black")
    assert pictures(play(1)) > 5


def test_all_cameras_lose_their_supply_at_once(dvr: VirtualDvr) -> None:
    dvr.control.set_channels(mode="slate")
    channels = dvr.control.state()["channels"]
    assert isinstance(channels, dict)
    assert [state["mode"] for state in channels.values()] == ["slate", "slate"]


def test_a_reboot_takes_its_time_and_moves_the_start(dvr: VirtualDvr, play: Open, open_rtsp: Open) -> None:
    before = dvr.control.state()["started"]
    play(1)
    dvr.control.act("reboot", seconds=0.4)
    with pytest.raises(ConnectionRefusedError):
        open_rtsp()
    until = time.monotonic() + 10
    while dvr.control.state()["started"] == before and time.monotonic() < until:
        time.sleep(0.05)
    assert pictures(play(1)) > 5


def test_a_stall_silences_open_sessions_only(dvr: VirtualDvr, play: Open) -> None:
    stalled = play(1)
    dvr.control.set_channel(1, mode="stall")
    stalled.collect(0.2)
    assert stalled.collect(0.3) == []
    assert pictures(play(1)) > 5


def test_a_recorder_that_is_off_is_gone_and_comes_back_at_the_same_ports(
    dvr: VirtualDvr, play: Open, open_rtsp: Open
) -> None:
    client = play(1)
    dvr.control.set_device(off=True)
    client.collect(2.0)
    assert client.sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        open_rtsp()
    dvr.control.set_device(off=False)
    assert pictures(play(1)) > 5


def test_sessions_beyond_the_limit_get_453(dvr: VirtualDvr, play: Open, open_rtsp: Open) -> None:
    play(1)
    dvr.control.set_device(session_limit=dvr.control.sessions())
    assert open_rtsp().play(dvr.rtsp_url(2)) == 453


def test_a_cut_ends_one_channels_sessions(dvr: VirtualDvr, play: Open) -> None:
    first, second = play(1), play(2)
    dvr.control.act("cut", channel=1)
    first.collect(1.0)
    assert first.sock.recv(1) == b""
    assert pictures(second) > 5


def test_a_silent_recorder_accepts_and_never_answers(dvr: VirtualDvr, open_rtsp: Open) -> None:
    dvr.control.set_device(rtsp="silent")
    client = open_rtsp()
    client.sock.settimeout(0.4)
    with pytest.raises(TimeoutError):
        client.request("OPTIONS", dvr.rtsp_url(1))


def test_a_session_nobody_keeps_alive_is_cut(dvr: VirtualDvr, play: Open) -> None:
    client = play(1)
    dvr.control.set_device(session_timeout_s=0.5)
    client.collect(2.0)
    assert client.sock.recv(1) == b""


def test_audio_comes_as_a_second_track(dvr: VirtualDvr, open_rtsp: Open) -> None:
    dvr.control.set_channel(1, pcma=True)
    client = open_rtsp()
    assert b"PCMA/8000" in client.request("DESCRIBE", dvr.rtsp_url(1))[2]
    assert client.play(dvr.rtsp_url(1), audio=True) == 200
    packets = client.collect(0.6)
    assert {packet.kind for packet in packets if packet.channel == 2} == {8}
    assert {packet.kind for packet in packets if packet.channel == 0} == {96}


def test_another_resolution_comes_in_the_same_session(dvr: VirtualDvr, play: Open, wire_tools: Any) -> None:
    client = play(1)
    before = wire_tools.assemble(client.collect(0.2), Codec.H264)
    dvr.control.set_channel(1, variant="smaller")
    after = wire_tools.assemble(client.collect(0.5), Codec.H264)
    sets = {nal for unit in before + after for nal in unit.nals if nal[0] & 0x1F == 7}
    assert len(sets) == 2


def test_sent_pieces_are_found_in_what_a_client_received(
    dvr: VirtualDvr, play: Open, wire_tools: Any
) -> None:
    client = play(1)
    received = b"".join(unit.annexb for unit in wire_tools.assemble(client.collect(0.8), Codec.H264))
    pieces = dvr.control.sent().nals["1/main"]
    assert pieces
    assert all(len(piece) == 64 for piece in pieces)
    assert any(piece in received for piece in pieces)


def test_unknown_faults_and_channels_are_refused_by_name(dvr: VirtualDvr) -> None:
    with pytest.raises(DeviceError, match="no such fault: colour"):
        dvr.control.set_channel(1, colour="red")
    with pytest.raises(DeviceError, match="takes bool"):
        dvr.control.set_device(off="yes")
    with pytest.raises(DeviceError, match="no such thing"):
        dvr.control.set_channel(9, mode="off")


def test_hikvision_paths_and_missing_inputs() -> None:
    shapes = {"main": "160x96@25", "sub": "160x96@12", "h265": "none"}
    with VirtualDvr(channels=(2,), brand="hikvision", serial="HIK", **shapes) as dvr:
        assert dvr.channels == (2,)
        assert dvr.rtsp_url(2, Role.SUB).endswith("/Streaming/Channels/202")
        url = with_password(dvr.rtsp_url(2), dvr)
        with av.open(url, options=QUICK, timeout=(5.0, 5.0)) as container:
            assert next(container.decode(video=0)).width == 160


def test_real_clips_are_served(shared: Path) -> None:
    with VirtualDvr(channels=1, footage=shared / "media", sub="160x96@12", serial="CLIP") as dvr:
        url = with_password(dvr.rtsp_url(1), dvr)
        with av.open(url, options=QUICK, timeout=(5.0, 5.0)) as container:
            assert next(container.decode(video=0)).width == 768


def test_a_bad_option_ends_with_a_message() -> None:
    command = [sys.executable, "-m", "edge_agent.demo.dvr", "--interface", "nothere0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "virtual DVR:" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_on_a_signal_with_a_client_connected(number: signal.Signals) -> None:
    shapes = ["--channels=1", "--main=160x96@25", "--sub=160x96@12", "--serial=SIG"]
    command = [sys.executable, "-m", "edge_agent.demo.dvr", *shapes]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        url = f"rtsp://admin:admin123@127.0.0.1:{ready['rtsp_port']}/cam/realmonitor?channel=1&subtype=0"
        with av.open(url, options=QUICK, timeout=(5.0, 5.0)):
            process.send_signal(number)
            out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, b"", b"")


def test_it_dies_with_its_parent() -> None:
    script = (
        "import time; from edge_agent.demo.dvr.client import VirtualDvr\n"
        "dvr = VirtualDvr(channels=1, main='160x96@25', sub='160x96@12', serial='ORPHAN')\n"
        "dvr.start(); print(dvr.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while _runs(orphan) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _runs(orphan)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    return state != "Z"
