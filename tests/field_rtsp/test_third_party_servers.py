"""RTSP servers that others wrote, as judges: what we record is what ffmpeg reads from the same server.

GStreamer's server comes with Debian. go2rtc is built from its Go module, in `make long` only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from gstreamer import gst_server
from judges import Outcome, Server, live_through

PATHS = ("h264", "bframes", "h265")
GST_PATHS = (*PATHS, "udp")  # the last over UDP only
GO2RTC = "github.com/AlexxIT/go2rtc"
GO2RTC_VERSION = "v1.9.9"


@pytest.fixture(scope="module")
def gstreamer(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return live_through(gst_server(), tmp_path_factory.mktemp("gst"), GST_PATHS, over_udp={"udp"})


@pytest.fixture(scope="module")
def go2rtc(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("go2rtc")
    binary = build_go2rtc(folder)

    def command(port: int) -> list[str]:
        (folder / "go2rtc.yaml").write_text(go2rtc_settings(port))
        return [str(binary), "-config", str(folder / "go2rtc.yaml")]

    return live_through(Server(command), folder / "ring", PATHS)


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
