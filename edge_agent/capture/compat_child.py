"""The compatibility process: fetches one stream with FFmpeg and hands its pictures to the daemon.

`python -m edge_agent.capture.compat_child`, started by `compat_pool`. It has no keys and no files; the order
with the password comes through the pipe, never by argument or environment. H.264 and H.265 are handed on as
they came, MJPEG and MPEG-4 Part 2 are converted. It ends when a pipe closes, at SIGTERM, or with its stream,
and says TEARDOWN if it can.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from typing import BinaryIO
from urllib.parse import quote, urlsplit

import av
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edge_agent.capture import compat_wire as wire
from edge_agent.capture import sandbox
from edge_agent.capture.compat_convert import CONVERTED, Arrived, Converter, nals_of
from edge_agent.capture.compat_wire import Cause, Way
from edge_agent.errors import FormatError
from edge_agent.model import Codec

MEMORY_BYTES = 512 * 1024**2  # address space, most of it mapped libraries; resident is below 60 MB at 720p
SOCKETS = 12  # UDP tries a few pairs of ports
CPU_S_PER_PICTURE = 20
OPEN_S, READ_S = 10.0, 8.0  # behind the daemon's own deadlines, for a process whose daemon is gone
LONGEST_LOGIN = 127  # bytes, percent-encoded: FFmpeg's RTSP client cuts it there
NOMINAL_FRAME = 3_600
_TICKS_PER_S = 90_000
_PASSED_ON = {"h264": Codec.H264, "hevc": Codec.H265}
_PROTOCOLS = {Way.RTSP: "rtsp,rtp,udp,tcp", Way.TUNNEL: "rtsp,rtp,http,tcp"}


class Refused(Exception):
    """The stream ends with what the daemon is told."""

    def __init__(self, cause: Cause, sentence: str) -> None:
        super().__init__(sentence)
        self.cause = cause


def main() -> None:
    """One order, one stream."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(OSError):
        os.nice(5)  # recording as it comes goes before converting
    orders, out = sys.stdin.buffer, sys.stdout.buffer
    rehearse()
    sandbox.enter_with_network(MEMORY_BYTES, SOCKETS)
    send(out, wire.Ready())
    order = receive(orders)
    try:
        play(order, out)
    except Refused as refusal:
        send(out, wire.Failed(refusal.cause, str(refusal)))
    except av.error.FFmpegError as error:  # its `filename` would carry the password
        send(out, wire.Failed(Cause.LOST, f"FFmpeg: {error.strerror}"))


def rehearse() -> None:
    """Convert one small picture while modules can still be loaded: PyAV loads some at their first use."""
    camera = av.CodecContext.create("mjpeg", "w")
    assert isinstance(camera, VideoCodecContext)
    camera.width, camera.height, camera.pix_fmt, camera.time_base = 64, 64, "yuvj420p", Fraction(1, 25)
    jpeg = b"".join(bytes(packet) for packet in camera.encode(VideoFrame(64, 64, "yuvj420p")))
    with av.open(io.BytesIO(jpeg), "r", format="mjpeg") as container:
        stream = container.streams.video[0]
        order = wire.Order("", "", 0, Way.RTSP)
        if not all(unit.nals for unit in units(container, stream, order)):
            raise FormatError("FFmpeg does not convert")


def play(order: wire.Order, out: BinaryIO) -> None:
    """Until the stream ends: always with an exception. The container's end says TEARDOWN."""
    with opened(order) as container:
        check_peers(order)
        sandbox.close_network()
        stream = container.streams.video[0]
        name = stream.codec_context.name
        if name not in _PASSED_ON and name not in CONVERTED:
            raise Refused(Cause.UNPLAYABLE, f"the device sends {name}, which is not converted")
        send(out, description(stream, order))
        for unit in units(container, stream, order, partial(sandbox.limit_cpu, CPU_S_PER_PICTURE)):
            send(out, unit)
    raise Refused(Cause.LOST, "the device ended the stream")


def opened(order: wire.Order) -> InputContainer:
    """Raises Refused, in words of ours: FFmpeg's messages name the URL with the password in it."""
    options = {
        "rtsp_transport": "http" if order.way is Way.TUNNEL else "udp+tcp",
        "rtsp_flags": "prefer_tcp",
        "protocol_whitelist": _PROTOCOLS[order.way],
        "allowed_media_types": "video",
        "timeout": str(int(READ_S * 1e6)),
        "analyzeduration": "500000",
        "probesize": "1000000",
        "fpsprobesize": "0",
    }
    try:
        return av.open(url_of(order), "r", format="rtsp", options=options, timeout=(OPEN_S, READ_S))
    except av.error.HTTPUnauthorizedError:
        raise Refused(Cause.UNAUTHORIZED, "the device refuses the user name or password (401)") from None
    except av.error.HTTPClientError as error:
        raise Refused(Cause.REFUSED, f"the device refuses the stream ({error.strerror})") from None
    except av.error.FFmpegError as error:
        raise Refused(Cause.LOST, f"FFmpeg cannot open the stream: {error.strerror}") from None


def url_of(order: wire.Order) -> str:
    """With the login as FFmpeg wants it: in the URL, percent-encoded."""
    parts = urlsplit(order.url)
    host = f"[{order.host}]" if ":" in order.host else order.host
    login = f"{quote(order.username, safe='')}:{quote(order.password, safe='')}@" if order.username else ""
    if len(login) > LONGEST_LOGIN + 1:
        raise Refused(Cause.REFUSED, "user name and password are too long for FFmpeg's RTSP client")
    query = f"?{parts.query}" if parts.query else ""
    return f"rtsp://{login}{host}:{order.port}{parts.path or '/'}{query}"


def check_peers(order: wire.Order) -> None:
    """FFmpeg follows redirects; what another host sends is not this camera's picture. Raises Refused."""
    for number in range(3, 3 + SOCKETS):
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
        except OSError:
            continue
        sock = socket.socket(fileno=number)
        try:
            peer = sock.getpeername() if sock.type == socket.SOCK_STREAM else (order.host, order.port)
        except OSError:
            peer = ("nobody", 0)
        sock.detach()
        if peer[:2] != (order.host.partition("%")[0], order.port):
            raise Refused(Cause.REFUSED, "the device redirects the stream elsewhere; we do not follow")


def description(stream: VideoStream, order: wire.Order) -> wire.Opened:
    context = stream.codec_context
    source = CONVERTED.get(context.name, "")
    rate = float(stream.average_rate or 0)
    if source:
        return wire.Opened(Codec.H264, source, min(rate, order.max_fps) if rate else order.max_fps)
    return wire.Opened(_PASSED_ON[context.name], "", min(rate, 240.0), nals_of(context.extradata or b""))


def units(
    container: InputContainer,
    stream: VideoStream,
    order: wire.Order,
    guard: Callable[[], None] = lambda: None,
) -> Iterator[wire.Unit]:
    """The stream's pictures as they come, converted if need be; `guard` is called before each."""
    converted = stream.codec_context.name in CONVERTED
    converter = Converter(stream, order.max_fps, order.max_width) if converted else None
    begun = False
    for arrived in arrivals(container, stream):
        begun |= arrived.packet.is_keyframe
        guard()
        if not begun:
            continue
        if converter is not None:
            yield from converter.feed(arrived)
        elif nals := nals_of(bytes(arrived.packet)):
            yield wire.Unit(arrived.arrival_ns, arrived.ticks, nals, arrived.packet.is_corrupt)


def arrivals(container: InputContainer, stream: VideoStream) -> Iterator[Arrived]:
    """Packets with their display time; one without (FFmpeg's first) is put one picture after the last."""
    ticks = -NOMINAL_FRAME
    for packet in container.demux(stream):
        arrival_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if not packet.size:
            return
        stamp, base = packet.pts if packet.pts is not None else packet.dts, packet.time_base
        ticks = ticks + NOMINAL_FRAME if stamp is None or base is None else int(stamp * base * _TICKS_PER_S)
        yield Arrived(packet, ticks, arrival_ns)


def receive(orders: BinaryIO) -> wire.Order:
    (length,) = wire.LENGTH.unpack(orders.read(wire.LENGTH.size))
    return wire.decode_order(orders.read(length))


def send(out: BinaryIO, message: wire.Message) -> None:
    try:
        out.write(wire.encode(message))
        out.flush()
    except FormatError:
        return  # a picture too large to be recorded


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
    os._exit(0)  # nothing to tidy; skips the libraries' slow teardown
