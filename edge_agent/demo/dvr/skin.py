"""What makes one maker's RTSP answers look unlike another's: the seam between the server and its brands.

The server plays by the protocol; a skin names streams, writes the session description, and may reword or
withhold any answer. `BrandSkin` is one of the built-in makers, `replay_rtsp.ReplaySkin` a recorded device.
"""

from __future__ import annotations

from typing import Protocol

from edge_agent.demo.dvr import rtsp
from edge_agent.demo.dvr.brand import Brand, StreamName, parse_stream_path
from edge_agent.demo.dvr.faults import ChannelFaults
from edge_agent.demo.dvr.pace import Pace
from edge_agent.demo.dvr.rtp import WireLoop
from edge_agent.demo.dvr.rtsp import Request, Response


class Skin(Protocol):
    """Called on the event loop; pure."""

    def stream(self, url: str) -> StreamName | None:
        """The stream that a URL names, with or without a track behind it."""
        ...

    def track(self, url: str) -> int:
        """`rtsp.VIDEO_TRACK` or `rtsp.AUDIO_TRACK`."""
        ...

    def guarded(self, request: Request) -> bool:
        """A login is wanted for this request."""
        ...

    def describe(
        self, name: StreamName, request: Request, wire: WireLoop, faults: ChannelFaults
    ) -> Response: ...

    def dress(self, name: StreamName | None, request: Request, response: Response) -> Response | None:
        """The answer as this device words it; None when it says nothing."""
        ...

    def pace(self, name: StreamName) -> Pace | None:
        """When pictures are sent and how they are stamped; None: evenly."""
        ...


class BrandSkin:
    def __init__(self, brand: Brand) -> None:
        self._brand = brand

    def stream(self, url: str) -> StreamName | None:
        return parse_stream_path(self._brand, url)

    def track(self, url: str) -> int:
        return rtsp.AUDIO_TRACK if f"trackID={rtsp.AUDIO_TRACK}" in url else rtsp.VIDEO_TRACK

    def guarded(self, request: Request) -> bool:
        return request.method != "OPTIONS"

    def describe(self, name: StreamName, request: Request, wire: WireLoop, faults: ChannelFaults) -> Response:
        base = request.url.rstrip("/") + "/"
        body = rtsp.describe(wire.source, self._brand, base, faults, wire.config)
        return Response(200, (("Content-Type", "application/sdp"), ("Content-Base", base)), body)

    def dress(self, name: StreamName | None, request: Request, response: Response) -> Response | None:
        return response

    def pace(self, name: StreamName) -> Pace | None:
        return None
