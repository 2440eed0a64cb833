"""RTSP servers that others wrote, as judges: what we record is what ffmpeg reads from the same server.

GStreamer's server comes with Debian. go2rtc is built from its Go module, in `make long` only.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from field_box import FieldBox, Footage, nals_of, until

from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.model import Codec, Endpoint, Role, StreamKey

RECOVERY_S = 15.0
PATHS = ("h264", "bframes", "h265")
GST_PATHS = (*PATHS, "udp")  # the last over UDP only
OTHER = StreamKey("other", Role.MAIN)
GST_SERVER = Path(__file__).with_name("gst_server.py")
DEBIAN_PYTHON = "/usr/bin/python3"
GO2RTC = "github.com/AlexxIT/go2rtc"
GO2RTC_VERSION = "v1.9.9"


class Server:
    """One server process on a port of its own, killed without mercy and started again."""

    def __init__(self, command: Callable[[int], Sequence[str]]) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as probe:
            self.port = int(probe.getsockname()[1])
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command(self.port),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until(self._listens, 20, "the server listens")

    def kill(self) -> None:
        """With its own children, such as go2rtc's encoders."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0


@dataclass
class Outcome:
    box: FieldBox
    killed_us: int
    read: dict[str, list[bytes]]  # what ffmpeg read: digests of slices, by path

    def footage(self, path: str) -> Footage:
        return self.box.footage(key(path))

    def assert_identical(self, path: str) -> None:
        """Slice by slice, from the first that ffmpeg read to the end of the shorter recording."""
        recorded = [
            digest for p in self.footage(path).epochs[0].packets for digest in slices(nals_of(bytes(p)), path)
        ]
        theirs = self.read[path]
        begins = recorded.index(theirs[0])
        common = min(len(recorded) - begins, len(theirs))
        assert common >= 50
        assert recorded[begins : begins + common] == theirs[:common]

    def assert_reconnected(self, path: str) -> None:
        found = self.footage(path)
        found.assert_plays()
        assert len(found.epochs) == 2
        assert found.resumed_s(self.killed_us) <= RECOVERY_S

    def assert_other_untouched(self) -> None:
        found = self.box.footage(OTHER)
        found.assert_plays()
        found.assert_gapless()
        assert self.box.facts.lost(OTHER) == []


def key(path: str) -> StreamKey:
    return StreamKey(path, Role.MAIN)


def live_through(server: Server, directory: Path, paths: Sequence[str] = PATHS) -> Outcome:
    """Record beside a virtual recorder, let ffmpeg read the same, kill the server and start it again."""
    with ExitStack() as stack:
        shapes = {"main": "320x180@25", "sub": "160x90@12", "h265": "none", "interface": "none"}
        recorder = stack.enter_context(VirtualDvr(1, host="127.0.0.70", serial="4E01B7EP3RDPARTY", **shapes))
        server.start()
        stack.callback(server.kill)
        box = FieldBox(directory)
        stack.callback(box.stop)
        box.record(OTHER, recorder.endpoint(1))
        for path in paths:
            url = f"rtsp://127.0.0.1:{server.port}/{path}"
            box.record(key(path), Endpoint(url, "127.0.0.1", server.port))
        until(lambda: _recording(box, len(paths) + 1), 30, "everything is recorded")
        read = read_by_ffmpeg(server.port, paths)
        killed_us = box.clock.now().wall_us
        server.kill()
        until(lambda: all(box.facts.lost(key(path)) for path in paths), 10, "the loss is noticed")
        server.start()
        until(lambda: _recording(box, len(paths) + 1), RECOVERY_S + 5, "everything is recorded again")
        time.sleep(2)
    return Outcome(box, killed_us, read)


def _recording(box: FieldBox, streams: int) -> bool:
    stats = box.loop.stats()
    return len(stats) == streams and all(s.state == "playing" and s.fps > 5 for s in stats.values())


def read_by_ffmpeg(port: int, paths: Sequence[str]) -> dict[str, list[bytes]]:
    """Three seconds of every path at once, as elementary streams."""
    command = (
        "ffmpeg -v fatal -rtsp_transport {how} -i rtsp://127.0.0.1:{port}/{path} -c copy -t 3 -f {kind} -"
    )
    readers = {}
    for path in paths:
        kind, how = "hevc" if path == "h265" else "h264", "udp" if path == "udp" else "tcp"
        arguments = command.format(port=port, path=path, kind=kind, how=how).split()
        readers[path] = subprocess.Popen(arguments, stdout=subprocess.PIPE)
    streams = {path: reader.communicate(timeout=30)[0] for path, reader in readers.items()}
    return {path: slices(stream.split(b"\x00\x00\x01"), path) for path, stream in streams.items()}


def slices(nals: Sequence[bytes], path: str) -> list[bytes]:
    """Digests of the units that carry pictures."""
    codec = Codec.H265 if path == "h265" else Codec.H264
    whole = [nal.rstrip(b"\x00") for nal in nals]
    return [hashlib.sha256(nal).digest() for nal in whole if nal and _is_slice(nal, codec)]


def _is_slice(nal: bytes, codec: Codec) -> bool:
    return nal[0] >> 1 & 0x3F < 32 if codec is Codec.H265 else 1 <= nal[0] & 0x1F <= 5


def has_gstreamer() -> bool:
    asked = (
        "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer;"
        "Gst.init(None); assert all(map(Gst.ElementFactory.find, ('x264enc', 'x265enc', 'rtph265pay')))"
    )
    found = Path(DEBIAN_PYTHON).exists()
    return (
        found
        and subprocess.run([DEBIAN_PYTHON, "-c", asked], capture_output=True, check=False).returncode == 0
    )


def gst_server() -> Server:
    if not has_gstreamer():
        missing = "gir1.2-gst-rtsp-server-1.0, python3-gi, gstreamer1.0-plugins-{base,good,bad,ugly}"
        if os.environ.get("EDGE_AGENT_CI") == "1":
            pytest.fail(f"CI must have {missing}")
        pytest.skip(f"needs {missing}: apt-get install them to run this test")
    return Server(lambda port: [DEBIAN_PYTHON, str(GST_SERVER), str(port)])


@pytest.fixture(scope="module")
def gstreamer(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return live_through(gst_server(), tmp_path_factory.mktemp("gst"), GST_PATHS)


@pytest.fixture(scope="module")
def go2rtc(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("go2rtc")
    binary = build_go2rtc(folder)

    def command(port: int) -> list[str]:
        (folder / "go2rtc.yaml").write_text(go2rtc_settings(port))
        return [str(binary), "-config", str(folder / "go2rtc.yaml")]

    return live_through(Server(command), folder / "ring")


def build_go2rtc(folder: Path) -> Path:
    """From the module proxy, without a stray C file that Go refuses to see in a package without cgo."""
    environment = {**os.environ, "CGO_ENABLED": "0"}
    order = ["go", "mod", "download", "-json", f"{GO2RTC}@{GO2RTC_VERSION}"]
    found = json.loads(subprocess.run(order, cwd=folder, capture_output=True, check=True).stdout)
    source = folder / "source"
    shutil.copytree(found["Dir"], source, ignore=shutil.ignore_patterns("*.c"), copy_function=shutil.copyfile)
    for each in (source, *source.rglob("*")):
        each.chmod(0o755)
    subprocess.run(
        ["go", "build", "-o", str(folder / "go2rtc"), "."], cwd=source, env=environment, check=True
    )
    return folder / "go2rtc"


def go2rtc_settings(port: int) -> str:
    encoders = {"h264": "libx264 -tune zerolatency", "bframes": "libx264 -bf 2", "h265": "libx265"}
    picture = "ffmpeg -v error -re -f lavfi -i testsrc2=size=160x96:rate=25 -preset ultrafast -g 25"
    output = "-rtsp_transport tcp -f rtsp {output}"
    streams = "".join(f"  {path}: exec:{picture} -c:v {how} {output}\n" for path, how in encoders.items())
    off = "".join(f'{module}: {{listen: ""}}\n' for module in ("api", "webrtc", "srtp"))
    return f'{off}rtsp: {{listen: "127.0.0.1:{port}"}}\nstreams:\n{streams}'


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("path", GST_PATHS)
def test_gstreamers_frames_are_recorded_as_ffmpeg_reads_them(gstreamer: Outcome, path: str) -> None:
    gstreamer.assert_identical(path)


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("path", GST_PATHS)
def test_gstreamer_killed_and_started_again_is_recorded_again_in_time(gstreamer: Outcome, path: str) -> None:
    gstreamer.assert_reconnected(path)


@pytest.mark.needs("ffmpeg")
def test_another_camera_does_not_notice_gstreamer_dying(gstreamer: Outcome) -> None:
    gstreamer.assert_other_untouched()


def test_mjpeg_is_told_in_one_sentence(tmp_path: Path) -> None:
    server, box, path = gst_server(), FieldBox(tmp_path / "ring"), "mjpeg"
    try:
        server.start()
        box.record(key(path), Endpoint(f"rtsp://127.0.0.1:{server.port}/{path}", "127.0.0.1", server.port))
        until(lambda: box.facts.lost(key(path)), 10, "the refusal")
    finally:
        box.stop()
        server.kill()
    assert box.facts.lost(key(path))[0].reason.startswith(
        "the device sends MJPEG; switch this stream to H.264"
    )


@pytest.mark.long
@pytest.mark.needs("ffmpeg", "go")
@pytest.mark.parametrize("path", PATHS)
def test_go2rtcs_frames_are_recorded_as_ffmpeg_reads_them(go2rtc: Outcome, path: str) -> None:
    go2rtc.assert_identical(path)


@pytest.mark.long
@pytest.mark.needs("ffmpeg", "go")
@pytest.mark.parametrize("path", PATHS)
def test_go2rtc_killed_and_started_again_is_recorded_again_in_time(go2rtc: Outcome, path: str) -> None:
    go2rtc.assert_reconnected(path)


@pytest.mark.long
@pytest.mark.needs("ffmpeg", "go")
def test_another_camera_does_not_notice_go2rtc_dying(go2rtc: Outcome) -> None:
    go2rtc.assert_other_untouched()
