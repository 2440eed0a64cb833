"""Two RTSP servers built from their Go modules, with ffmpeg as their cameras."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ENCODERS = {"h264": "libx264 -tune zerolatency", "bframes": "libx264 -bf 2", "h265": "libx265"}
PICTURE = "ffmpeg -v error -re -f lavfi -i testsrc2=size=160x96:rate=25 -preset ultrafast -g 25"
OUTPUT = "-rtsp_transport tcp -f rtsp"


@dataclass(frozen=True)
class GoServer:
    """`lacking`: files that the module's source embeds and its archive does not hold. `unwanted`: patterns
    of files that hinder the build without cgo. `settings`: the configuration, for a port."""

    name: str
    module: str
    version: str
    settings: Callable[[int], str]
    arguments: tuple[str, ...] = ()
    lacking: Mapping[str, str] = field(default_factory=dict)
    unwanted: tuple[str, ...] = ()

    def command(self, folder: Path) -> Callable[[int], Sequence[str]]:
        """Build it in `folder`. Returns the command that runs it on a port."""
        binary = self._build(folder)

        def run(port: int) -> Sequence[str]:
            path = folder / f"{self.name}.yaml"
            path.write_text(self.settings(port))
            return [str(binary), *self.arguments, str(path)]

        return run

    def _build(self, folder: Path) -> Path:
        order = ["go", "mod", "download", "-json", f"{self.module}@{self.version}"]
        found = json.loads(subprocess.run(order, cwd=folder, capture_output=True, check=True).stdout)
        source, binary = folder / "source", folder / self.name
        ignored = shutil.ignore_patterns(*self.unwanted)
        shutil.copytree(found["Dir"], source, ignore=ignored, copy_function=shutil.copyfile)
        for each in (source, *source.rglob("*")):  # the module cache is read-only
            each.chmod(0o755)
        for name, text in self.lacking.items():
            (source / name).write_text(text)
        environment = {**os.environ, "CGO_ENABLED": "0"}
        subprocess.run(["go", "build", "-o", str(binary), "."], cwd=source, env=environment, check=True)
        return binary


def _go2rtc_settings(port: int) -> str:
    streams = "".join(
        f"  {path}: exec:{PICTURE} -c:v {how} {OUTPUT} {{output}}\n" for path, how in ENCODERS.items()
    )
    off = "".join(f'{module}: {{listen: ""}}\n' for module in ("api", "webrtc", "srtp"))
    return f'{off}rtsp: {{listen: "127.0.0.1:{port}"}}\nstreams:\n{streams}'


def _mediamtx_settings(port: int) -> str:
    off = "".join(f"{protocol}: no\n" for protocol in ("rtmp", "hls", "webrtc", "srt"))
    paths = "".join(
        f"  {path}:\n    runOnInit: {PICTURE} -c:v {how} {OUTPUT} rtsp://127.0.0.1:{port}/{path}\n"
        "    runOnInitRestart: yes\n"
        for path, how in ENCODERS.items()
    )
    return f"{off}rtspAddress: 127.0.0.1:{port}\nrtspTransports: [tcp]\npaths:\n{paths}"


GO2RTC = GoServer(
    "go2rtc", "github.com/AlexxIT/go2rtc", "v1.9.9", _go2rtc_settings, ("-config",), unwanted=("*.c",)
)
MEDIAMTX = GoServer(
    "mediamtx", "github.com/bluenviron/mediamtx", "v1.15.3", _mediamtx_settings,
    lacking={"internal/core/VERSION": "v1.15.3", "internal/servers/hls/hls.min.js": ""},
)  # fmt: skip
