"""The media gateway and the console's other doors, against a real broker."""

from __future__ import annotations

import io
import json
import subprocess
import urllib.error
import urllib.request
from typing import Any

import av
import pytest
from websockets.sync.client import connect

pytestmark = pytest.mark.needs("mosquitto")
BASE = "/api/sites/pump-17/cameras"


def head(message: bytes) -> dict[str, Any]:
    size = int.from_bytes(message[:2], "big")
    return dict(json.loads(message[2 : 2 + size]))


def live_starts(box: Any) -> int:
    return sum(1 for command in box.commands if command.op == "live.start")


def test_viewers_share_one_session_and_a_late_one_starts_at_once(console: Any, box: Any, until: Any) -> None:
    address = console.url.replace("http", "ws") + "/ws/live/pump-17/cam-01/sub"
    with connect(address) as first:
        kinds = [head(first.recv(10))["t"] for _ in range(4)]
        assert kinds == ["init", "fragment", "fragment", "fragment"] or "fragment" in kinds
        with connect(address) as second:
            assert head(second.recv(1))["t"] == "init"
            fragment = head(second.recv(1))
            assert fragment["key"]
            assert fragment["measured"]
            assert fragment["sent"]
            assert live_starts(box) == 1
    until(lambda: any(command.op == "live.stop" for command in box.commands))
    until(lambda: not box.sessions)


def test_a_foreign_page_gets_no_live_stream(console: Any) -> None:
    address = console.url.replace("http", "ws") + "/ws/live/pump-17/cam-01/sub"
    with pytest.raises(Exception, match="403"), connect(address, origin="http://evil.example"):
        pass


def test_live_mp4_plays_in_any_player(console: Any) -> None:
    with urllib.request.urlopen(
        f"{console.url}/sites/pump-17/cameras/cam-01/live.mp4?role=sub", timeout=10
    ) as stream:
        assert stream.headers["content-type"] == "video/mp4"
        data = stream.read(20_000)
    with av.open(io.BytesIO(data), mode="r", format="mp4") as container:
        pictures = 0
        try:
            for _ in container.decode(video=0):
                pictures += 1
        except av.error.FFmpegError:  # the read ends in the middle of a fragment
            pass
    assert pictures > 2


@pytest.mark.needs("ffprobe")
def test_live_mp4_is_understood_by_ffprobe(console: Any) -> None:
    url = f"{console.url}/sites/pump-17/cameras/cam-02/live.mp4?role=main"
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name,width,height", "-of", "json", url],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["streams"] == [{"codec_name": "h264", "width": 1280, "height": 720}]


def test_a_snapshot_is_taken_shown_and_kept(console: Any) -> None:
    request = urllib.request.Request(f"{console.url}{BASE}/cam-03/snapshot", method="POST")
    with urllib.request.urlopen(request, timeout=10) as reply:
        taken_ms = json.load(reply)["taken_ms"]
    with urllib.request.urlopen(f"{console.url}{BASE}/cam-03/picture.jpg", timeout=10) as reply:
        assert reply.read().startswith(b"\xff\xd8")
    [site] = console.get_json("/api/state")["sites"]
    assert {c["id"]: c["picture_ms"] for c in site["cameras"]}["cam-03"] >= taken_ms


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{BASE}/cam-99/picture.jpg", 404),
        ("POST", f"{BASE}/cam-99/snapshot", 404),
        ("GET", "/sites/pump-17/cameras/cam-01/live.mp4?role=other", 404),
        ("GET", "/api/faults", 404),
        ("GET", "/static/../app.py", 404),
        ("POST", "/api/state", 405),
    ],
)
def test_what_is_not_there_is_said_so(console: Any, method: str, path: str, status: int) -> None:
    request = urllib.request.Request(console.url + path, method=method)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == status
    refused.value.close()
