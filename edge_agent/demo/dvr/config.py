"""What a virtual DVR is, as given on its command line. Fixed for the life of the process."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.demo.dvr.brand import Brand, StreamName
from edge_agent.demo.dvr.media import Shape, default_cache
from edge_agent.demo.dvr.rtp import PAYLOAD_TYPE
from edge_agent.model import Codec, Role

if TYPE_CHECKING:
    from edge_agent.demo.dvr.replay import Replay

_MAIN, _SUB = Shape(1280, 720, 25), Shape(640, 360, 12)
H265_WIDTH, H265_HEIGHT = 640, 360  # small, because software H.265 encoding is slow


@dataclass(frozen=True, slots=True)
class DvrConfig:
    """`inputs` are the channel numbers that exist, not always 1 to n. Port 0 takes a free one."""

    inputs: tuple[int, ...] = (1, 2, 3, 4)
    brand: Brand = Brand.DAHUA
    host: str = "127.0.0.1"
    rtsp_port: int = 0
    http_port: int = 0
    control_port: int = 0
    interfaces: tuple[str, ...] = ("lo",)
    user: str = "admin"
    password: str = field(default="admin123", repr=False)
    serial: str = "4E01B7EPAZ00001"
    cache: Path = field(default_factory=default_cache)
    footage: Path | None = None
    main: Shape = _MAIN
    sub: Shape = _SUB
    h265: tuple[int, ...] = (4,)  # channels whose main stream is H.265
    replay: Replay | None = None  # a recorded device; its streams and shapes come before those above

    def shape(self, name: StreamName) -> Shape:
        if self.replay is not None and name in self.replay.shapes:
            return self.replay.shapes[name]
        if name.role is Role.SUB:
            return self.sub
        if name.channel in self.h265:
            return Shape(H265_WIDTH, H265_HEIGHT, self.main.fps, Codec.H265)
        return self.main

    def payload_type(self, name: StreamName) -> int:
        return self.replay.payload_types.get(name, PAYLOAD_TYPE) if self.replay else PAYLOAD_TYPE

    def streams(self) -> tuple[StreamName, ...]:
        if self.replay is not None:
            return tuple(stream.name for stream in self.replay.streams)
        return tuple(StreamName(number, role) for number in self.inputs for role in (Role.MAIN, Role.SUB))
