"""VLC's RTSP server as a judge: over UDP, as it refuses TCP; with B-frames, and in H.265."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from judges import Outcome, Server, live_through

PATHS = ("bframes", "h265")
ENCODERS = {"bframes": "libx264 -bf 2", "h265": "libx265 -x265-params log-level=none"}
NOBODY = "65534"  # VLC refuses to run as root

pytestmark = pytest.mark.needs("cvlc", "ffmpeg", "setpriv")


def programme(folder: Path, port: int) -> Path:
    """A minute of pictures for each path, and VLC's orders to broadcast them."""
    orders = folder / "vlm.conf"
    lines = []
    for path in PATHS:
        film = folder / f"{path}.mp4"
        if not film.exists():
            encode(film, ENCODERS[path])
        output = f"#rtp{{sdp=rtsp://127.0.0.1:{port}/{path}}}"
        lines += [
            f"new {path} broadcast enabled",
            f"setup {path} input {film}",
            f"setup {path} output {output}",
        ]
        lines += [f"control {path} play"]
    orders.write_text("\n".join(lines))
    return orders


def encode(film: Path, how: str) -> None:
    source = "-f lavfi -i testsrc2=size=160x96:rate=25 -t 60 -preset ultrafast -g 25 -pix_fmt yuv420p"
    command = f"ffmpeg -v error {source} -c:v {how} {film}"
    subprocess.run(command.split(), check=True, timeout=120)


@pytest.fixture(scope="module")
def vlc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        folder.chmod(0o755)

        def command(port: int) -> list[str]:
            as_nobody = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]
            orders = ["--rtsp-host", "127.0.0.1", "--vlm-conf", str(programme(folder, port))]
            return [*(as_nobody if os.geteuid() == 0 else []), "cvlc", *orders]

        yield live_through(Server(command), tmp_path_factory.mktemp("vlc"), PATHS, over_udp=PATHS)


@pytest.mark.parametrize("path", PATHS)
def test_vlcs_frames_are_recorded_as_ffmpeg_reads_them(vlc: Outcome, path: str) -> None:
    vlc.assert_identical(path)


@pytest.mark.parametrize("path", PATHS)
def test_vlc_killed_and_started_again_is_recorded_again_in_time(vlc: Outcome, path: str) -> None:
    vlc.assert_reconnected(path)


def test_another_camera_does_not_notice_vlc_dying(vlc: Outcome) -> None:
    vlc.assert_other_untouched()
