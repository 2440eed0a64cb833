"""clip.mp4 plays where people watch: every frame in ffmpeg, from any moment in Chromium and VLC."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_page import Page
from evidence_world import FPS, Box, decoded, minutes

from edge_agent.model import Codec

BOTH = pytest.mark.parametrize("codec", list(Codec))


def story(codec: Codec, out: Path) -> Path:
    """Twelve seconds in one epoch, a pause, four in the next: 16 s of clip. Returns the clip."""
    box = minutes(Box(codec, 320, 180), 3)
    box.pause(30)
    box.record(4)
    box.mark()
    box.export(out / "e.zip")
    with zipfile.ZipFile(out / "e.zip") as archive:
        archive.extract("clip.mp4", out)
    return out / "clip.mp4"


def probe(clip: Path) -> dict:
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json"]
    told = subprocess.run([*command, str(clip)], capture_output=True, check=True, text=True)
    assert told.stderr == ""
    return json.loads(told.stdout)


@BOTH
@pytest.mark.needs("ffmpeg", "ffprobe")
def test_ffmpeg_decodes_every_frame_and_knows_the_length(tmp_path: Path, codec: Codec) -> None:
    clip = story(codec, tmp_path)
    told = probe(clip)
    assert float(told["format"]["duration"]) == pytest.approx(16.0)
    assert told["streams"][0]["nb_read_frames"] == str(16 * FPS)
    assert told["streams"][0]["codec_tag_string"] == ("avc1" if codec is Codec.H264 else "hvc1")
    command = ["ffmpeg", "-v", "warning", "-xerror", "-i", str(clip), "-f", "null", "-"]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stderr == ""


@BOTH
@pytest.mark.needs("ffmpeg")
def test_ffmpeg_seeks_by_the_index(tmp_path: Path, codec: Codec) -> None:
    command = ["ffmpeg", "-v", "error", "-ss", "13", "-i", str(story(codec, tmp_path)), "-f", "framemd5", "-"]
    told = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert sum(not line.startswith("#") for line in told.splitlines()) == 3 * FPS


def test_two_pictures_sizes_are_two_clips(tmp_path: Path) -> None:
    box = minutes(Box())
    box.use(Codec.H265, 160, 96)
    box.record(2)
    box.mark()
    box.export(tmp_path / "e.zip")
    with zipfile.ZipFile(tmp_path / "e.zip") as archive:
        clips = [name for name in archive.namelist() if name.endswith(".mp4")]
        assert clips == ["clip-1.mp4", "clip-2.mp4"]
        assert [decoded(archive.read(name)) for name in clips] == [4 * FPS, 2 * FPS]


def test_the_index_comes_before_the_pictures(tmp_path: Path) -> None:
    raw = story(Codec.H264, tmp_path).read_bytes()
    assert raw.index(b"moov") < raw.index(b"sidx") < raw.index(b"moof")


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves byte ranges, as any file or web server does; players seek by them."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        path = Path(self.translate_path(self.path))
        if not wanted.startswith("bytes=") or not path.is_file():
            super().do_GET()
            return
        content = path.read_bytes()
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(content) - 1), len(content) - 1)
        self.send_response(206)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        self.send_header("Content-Length", str(end - start + 1))
        self.end_headers()
        self.wfile.write(content[start : end + 1])


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    handler = functools.partial(_Ranges, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.needs("chromium")
def test_chromium_plays_and_seeks(tmp_path: Path, served: str, page: Page) -> None:
    story(Codec.H264, tmp_path)
    (tmp_path / "index.html").write_text("<video id=v muted preload=auto src=clip.mp4></video>")
    page.open(f"{served}/index.html")
    page.until("v.readyState >= 2")
    assert page.run("v.duration") == pytest.approx(16.0, abs=0.01)
    assert page.run("[v.videoWidth, v.videoHeight]") == [320, 180]
    page.run("v.currentTime = 13; 0")
    page.until("!v.seeking && v.currentTime >= 13 && v.readyState >= 2")
    page.run("v.play().then(() => 0)")
    page.until("v.ended")
    assert page.run("v.error") is None
    assert page.run("v.getVideoPlaybackQuality().droppedVideoFrames") is not None


@BOTH
@pytest.mark.long
@pytest.mark.needs("cvlc")
def test_vlc_plays_to_the_end(tmp_path: Path, codec: Codec) -> None:
    """Transcoded to nowhere but a file: VLC demuxes and decodes all of it."""
    clip = story(codec, tmp_path)
    out = tmp_path / "vlc.ts"
    sout = f"#transcode{{vcodec=mp2v,vb=800,acodec=none}}:std{{access=file,mux=ts,dst={out}}}"
    command = ["cvlc", "-q", str(clip), "--sout", sout, "vlc://quit"]
    if os.getuid() == 0:  # VLC refuses root
        shutil.chown(tmp_path, "nobody")
        for folder in (tmp_path, *tmp_path.parents[:2]):
            folder.chmod(0o755)
        command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]
    subprocess.run(command, check=True, timeout=90, env={**os.environ, "HOME": str(tmp_path)})
    assert int(probe(out)["streams"][0]["nb_read_frames"]) >= 15 * FPS
