"""Judging by RTSP servers that others wrote: what we record is what ffmpeg reads from the same server, it is
recorded again in time after the server is killed and started again, and another camera does not notice.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from field_box import FieldBox, Footage, nals_of, until

from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.model import Codec, Endpoint, Role, StreamKey

RECOVERY_S = 15.0
OTHER = StreamKey("other", Role.MAIN)


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


def live_through(
    server: Server, directory: Path, paths: Sequence[str], *, over_udp: Collection[str] = ()
) -> Outcome:
    """Record beside a virtual recorder, let ffmpeg read the same, kill the server and start it again."""
    with ExitStack() as stack:
        shapes: dict[str, Any] = {
            "main": "320x180@25",
            "sub": "160x90@12",
            "h265": "none",
            "interface": "none",
        }
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
        read = read_by_ffmpeg(server.port, paths, over_udp)
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


def read_by_ffmpeg(port: int, paths: Sequence[str], over_udp: Collection[str]) -> dict[str, list[bytes]]:
    """Three seconds of every path at once, as elementary streams."""
    command = (
        "ffmpeg -v fatal -rtsp_transport {how} -i rtsp://127.0.0.1:{port}/{path} -c copy -t 3 -f {kind} -"
    )
    readers = {}
    for path in paths:
        kind, how = "hevc" if path == "h265" else "h264", "udp" if path in over_udp else "tcp"
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
