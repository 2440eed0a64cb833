"""Who is measured: the agent as it runs in the field, parts of it, and as many ffmpeg as there are cameras.

Each party is a context manager. It writes footage below the directory that it is given and leaves nothing
behind there. The recorder that all of them record is a process apart, and is not measured.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import tomlkit

from bench.process import MIB
from edge_agent.demo.child import Child
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.demo.settings import base64_text
from edge_agent.errors import EdgeAgentError
from edge_agent.host.control_wire import ControlError, call
from edge_agent.model import Role
from edge_agent.seal.keys import generate_recipient

START_S = 60.0
CAMERA_BYTES_S = 500_000  # 4 Mbit/s
AGENT = (sys.executable, "-m", "edge_agent.cli", "run", "--config")
REMUX = (sys.executable, "-m", "bench.remux")


class Party(Protocol):
    name: str
    cameras: int
    directory: Path

    @property
    def pids(self) -> tuple[int, ...]: ...

    def check(self) -> None:
        """Raises EdgeAgentError when it no longer runs."""
        ...

    def __enter__(self) -> Party: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def recorder(cameras: int) -> VirtualDvr:
    """The cameras: 1080p, 25 pictures a second, 4 Mbit/s, H.264, a keyframe every 2 s."""
    return VirtualDvr(
        channels=cameras, main="1920x1080@25", main_kbps=4000, h265="none", interface="none", serial="BENCH"
    )


def settle(party: Party) -> None:
    """Wait until as much is written as all cameras send in 4 s. Raises EdgeAgentError after a minute."""
    deadline = time.monotonic() + START_S
    while footage_bytes(party) < 4 * CAMERA_BYTES_S * party.cameras:
        party.check()
        if time.monotonic() > deadline:
            raise EdgeAgentError(f"{party.name} does not record {party.cameras} cameras after {START_S:g} s")
        time.sleep(0.25)


def footage_bytes(party: Party) -> int:
    return sum(file.stat().st_size for file in party.directory.rglob("*") if file.is_file())


class Agent:
    """A process that records by an agent's configuration: `edge-agent run`, or `command` in its place.

    No broker, no scheduled snapshots; sealing, ring and ledger as in the field.
    """

    def __init__(
        self,
        dvr: VirtualDvr,
        directory: Path,
        cameras: int,
        *,
        name: str = "agent",
        sub: str = "off",
        command: Sequence[str] = AGENT,
    ) -> None:
        self.name = name
        self.cameras = cameras
        self.directory = directory
        self._document = _configuration(dvr, directory, cameras, sub)
        self._child = Child(name, [*command, str(self._config)], directory / "agent.log")

    @property
    def pids(self) -> tuple[int, ...]:
        assert self._child.pid is not None
        return (self._child.pid,)

    def check(self) -> None:
        if not self._child.running:
            raise EdgeAgentError(f"{self.name} ended: {self._child.last_words()}")

    def ask(self, op: str, **args: object) -> dict[str, Any]:
        """A question at the control socket, as the command line asks it. Raises ControlError."""
        return call(self.directory / "control.sock", op, args)

    def streams(self) -> list[dict[str, Any]]:
        """What `status` says of the streams that play."""
        try:
            cameras = self.ask("status")["cameras"]
        except ControlError:
            return []
        return [s for camera in cameras for s in camera["streams"].values() if s["kbps"] > 0]

    def __enter__(self) -> Agent:
        self.directory.mkdir(parents=True)
        self._config.write_text(tomlkit.dumps(self._document), encoding="utf-8")
        self._child.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.stop()
        shutil.rmtree(self.directory)

    @property
    def _config(self) -> Path:
        return self.directory / "edge-agent.toml"


class Ffmpegs:
    """One `ffmpeg -c copy` a camera, each writing a fragmented MP4."""

    name = "ffmpeg"

    def __init__(self, dvr: VirtualDvr, directory: Path, cameras: int) -> None:
        self.cameras = cameras
        self.directory = directory
        self._children = [
            Child(
                f"ffmpeg {camera}", _ffmpeg(url(dvr, camera), directory, camera), directory / f"{camera}.log"
            )
            for camera in range(1, cameras + 1)
        ]

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(child.pid for child in self._children if child.pid is not None)

    def check(self) -> None:
        for child in self._children:
            if not child.running:
                raise EdgeAgentError(f"{child.name} ended: {child.last_words()}")

    def __enter__(self) -> Ffmpegs:
        self.directory.mkdir(parents=True)
        for child in self._children:
            child.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children:
            child.stop()
        shutil.rmtree(self.directory)


def url(dvr: VirtualDvr, camera: int, role: Role = Role.MAIN) -> str:
    account = f"{dvr.credentials.username}:{dvr.credentials.password}"
    return dvr.rtsp_url(camera, role).replace("rtsp://", f"rtsp://{account}@")


def _configuration(dvr: VirtualDvr, directory: Path, cameras: int, sub: str) -> dict[str, Any]:
    entries: list[dict[str, Any]] = []
    for camera in range(1, cameras + 1):
        entry = {"id": f"cam-{camera:02d}", "url": url(dvr, camera)}
        if sub != "off":
            entry["sub_url"] = url(dvr, camera, Role.SUB)
        entries.append(entry)
    return {
        "site": {"id": "bench", "name": "Bench"},
        "state": {"directory": str(directory)},
        "discovery": {"enabled": False},
        "cameras": entries,
        "capture": {"sub": sub},
        "ring": {"directory": str(directory / "ring"), "min_free_bytes": 256 * MIB},
        "keys": {"recipients": [{"id": "iccc", "public_key": base64_text(generate_recipient()[1])}]},
        "uplink": {"enabled": False},
        "snapshots": {"enabled": False},
        "log_level": "WARNING",
    }


def _ffmpeg(source: str, directory: Path, camera: int) -> list[str]:
    command = [
        "ffmpeg",
        "-nostdin",
        "-loglevel",
        "error",
        "-rtsp_transport",
        "tcp",
        "-i",
        source,
        "-c",
        "copy",
    ]
    return [*command, "-f", "mp4", "-movflags", "frag_keyframe+empty_moov", str(directory / f"{camera}.mp4")]
