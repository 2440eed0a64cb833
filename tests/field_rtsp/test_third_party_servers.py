"""RTSP servers that others wrote, as judges: what we record is what ffmpeg reads from the same server.

GStreamer's server comes with Debian. go2rtc and MediaMTX are built from Go modules, in `make long` only.
"""

from __future__ import annotations

import pytest
from go_servers import GO2RTC, MEDIAMTX
from gstreamer import gst_server
from judges import Outcome, Server, live_through

PATHS = ("h264", "bframes", "h265")
GST_PATHS = (*PATHS, "udp")  # the last over UDP only


@pytest.fixture(scope="module")
def gstreamer(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return live_through(gst_server(), tmp_path_factory.mktemp("gst"), GST_PATHS, over_udp={"udp"})


@pytest.fixture(scope="module", params=[GO2RTC, MEDIAMTX], ids=lambda server: server.name)
def from_go(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp(request.param.name)
    return live_through(Server(request.param.command(folder)), folder / "ring", PATHS)


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
def test_their_frames_are_recorded_as_ffmpeg_reads_them(from_go: Outcome, path: str) -> None:
    from_go.assert_identical(path)


@pytest.mark.long
@pytest.mark.needs("ffmpeg", "go")
@pytest.mark.parametrize("path", PATHS)
def test_killed_and_started_again_they_are_recorded_again_in_time(from_go: Outcome, path: str) -> None:
    from_go.assert_reconnected(path)


@pytest.mark.long
@pytest.mark.needs("ffmpeg", "go")
def test_another_camera_does_not_notice_them_dying(from_go: Outcome) -> None:
    from_go.assert_other_untouched()
