"""Real pictures, packetised, and a small RTSP server that behaves as scripted, on a real socket."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

import av
import numpy as np

from edge_agent.capture.h264 import RULES as H264
from edge_agent.capture.h265 import RULES as H265
from edge_agent.events import Fact
from edge_agent.model import Codec, Credentials, Endpoint, Fragment, Role, StreamKey, StreamSpec
from edge_agent.seal.record import Record, sealed_size

KEY = StreamKey("cam-01", Role.MAIN)


@dataclass(frozen=True)
class Clip:
    """Access units in decoding order, display stamps at 25 a second, digests of the decoded pictures."""

    codec: Codec
    units: tuple[tuple[bytes, ...], ...]
    stamps: tuple[int, ...]
    digests: tuple[str, ...]

    @property
    def sets(self) -> list[bytes]:
        rules = H264 if self.codec is Codec.H264 else H265
        return [nal for nal in self.units[0] if rules.nal_type(nal) in rules.set_types]

    def sdp(self, extra: str = "") -> bytes:
        texts = [base64.b64encode(nal).decode() for nal in self.sets]
        sprop = (
            f"sprop-parameter-sets={','.join(texts)}"
            if self.codec is Codec.H264
            else ";".join(f"sprop-{n}={t}" for n, t in zip(("vps", "sps", "pps"), texts, strict=True))
        )
        name = self.codec.value.upper()
        return (
            f"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\n"
            f"a=rtpmap:96 {name}/90000\r\na=fmtp:96 packetization-mode=1;{sprop}\r\n"
            f"a=control:trackID=1\r\n{extra}"
        ).encode()


@lru_cache(maxsize=8)
def clip(codec: Codec = Codec.H264, count: int = 40, gop: int = 10, b: int = 0, width: int = 160) -> Clip:
    """Encode moving bars; every picture differs."""
    name = "libx264" if codec is Codec.H264 else "libx265"
    encoder = av.CodecContext.create(name, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, 96, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    quiet = f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={b}:repeat-headers=1:log-level=none"
    encoder.options = {"preset": "ultrafast", f"{name[3:]}-params": quiet + (":open-gop=0" if b else "")}
    packets = []
    for index in range(count):
        pixels = np.full((96, width, 3), 30, np.uint8)
        pixels[:, (index * 7) % (width - 8) : (index * 7) % (width - 8) + 8] = (index * 5 % 255, 200, 90)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = index
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    units = tuple(_units(bytes(packet)) for packet in packets)
    return Clip(codec, units, tuple(int(p.pts) * 3600 for p in packets), tuple(_decoded(codec, packets)))


def _units(annexb: bytes) -> tuple[bytes, ...]:
    parts = re.split(rb"\x00{2,3}\x01", annexb)
    return tuple(part.rstrip(b"\x00") for part in parts if part)


def _decoded(codec: Codec, packets: Sequence[av.Packet]) -> list[str]:
    decoder = av.CodecContext.create("h264" if codec is Codec.H264 else "hevc", "r")
    frames = [f for p in packets for f in decoder.decode(av.Packet(bytes(p)))] + list(decoder.decode(None))
    return [digest(frame) for frame in frames]


def digest(frame: av.VideoFrame) -> str:
    return hashlib.sha256(frame.to_ndarray(format="yuv420p").tobytes()).hexdigest()


def played(mp4: bytes) -> list[str]:
    """Digests of the pictures as a player shows them."""
    with av.open(io.BytesIO(mp4)) as container:
        return [digest(frame) for frame in container.decode(video=0)]


@dataclass
class Packetizer:
    """RFC 6184 and RFC 7798 in small packets; counts on over several calls."""

    codec: Codec
    sequence: int = 0
    ssrc: int = 0x1234
    limit: int = 400

    def pack(self, nals: Sequence[bytes], stamp: int) -> list[bytes]:
        payloads = [p for nal in nals for p in self._payloads(nal)]
        return [self.packet(p, stamp, marker=p is payloads[-1]) for p in payloads]

    def packet(self, payload: bytes, stamp: int, *, marker: bool) -> bytes:
        header = struct.pack(
            ">BBHII", 0x80, marker << 7 | 96, self.sequence & 0xFFFF, stamp & 0xFFFF_FFFF, self.ssrc
        )
        self.sequence += 1
        return header + payload

    def _payloads(self, nal: bytes) -> list[bytes]:
        if len(nal) <= self.limit:
            return [nal]
        if self.codec is Codec.H264:
            body, head, kind = nal[1:], bytes([nal[0] & 0xE0 | 28]), nal[0] & 0x1F
        else:
            body, head, kind = nal[2:], bytes([nal[0] & 0x81 | 49 << 1, nal[1]]), nal[0] >> 1 & 0x3F
        pieces = [body[i : i + self.limit] for i in range(0, len(body), self.limit)]
        last = len(pieces) - 1
        return [head + bytes([(i == 0) << 7 | (i == last) << 6 | kind]) + p for i, p in enumerate(pieces)]


def interleaved(packet: bytes, channel: int = 0) -> bytes:
    return struct.pack(">BBH", 0x24, channel, len(packet)) + packet


@dataclass
class Script:
    """How the server behaves. `serve` sends what follows PLAY; without it the clip loops in real time."""

    clip: Clip
    authenticate: Sequence[str] = ()  # WWW-Authenticate headers
    accept: Callable[[str, str], bool] = lambda method, header: True
    statuses: dict[str, str] = field(default_factory=dict)  # method -> "453 Not Enough Bandwidth"
    headers: dict[str, str] = field(default_factory=dict)  # method -> header lines
    sdp: bytes | None = None
    silent: set[str] = field(default_factory=set)
    serve: Callable[[socket.socket, threading.Event], None] | None = None


class Server:
    """Accepts any number of connections on loopback; `requests` is what it was asked."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[str] = []
        self.connections = 0
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._open: list[socket.socket] = []
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def methods(self) -> list[str]:
        return [text.split(" ", 1)[0] for text in self.requests]

    def close(self) -> None:
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(5)

    def hang_up(self) -> None:
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(sock)
            thread = threading.Thread(target=self._converse, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _converse(self, sock: socket.socket) -> None:
        pending = b""
        with sock:
            try:
                while not self._stop.is_set():
                    got = sock.recv(4096)
                    if not got:
                        return
                    pending = _without_frames(pending + got)
                    while b"\r\n\r\n" in pending:
                        text, pending = pending.split(b"\r\n\r\n", 1)
                        pending = _without_frames(pending)
                        self._answer(sock, text.decode())
            except OSError:
                return

    def _answer(self, sock: socket.socket, text: str) -> None:
        self.requests.append(text)
        method = text.split(" ", 1)[0]
        script = self.script
        if method in script.silent:
            return
        found = re.search(r"(?m)^Authorization: (.*?)\r?$", text)
        if script.authenticate and not (found and script.accept(method, found[1])):
            challenges = "".join(f"WWW-Authenticate: {c}\r\n" for c in script.authenticate)
            self._reply(sock, text, "401 Unauthorized", challenges)
            return
        status = script.statuses.get(method, "200 OK")
        extra = script.headers.get(method, _HEADERS.get(method, ""))
        body = (script.sdp or script.clip.sdp()) if method == "DESCRIBE" and status.startswith("200") else b""
        self._reply(sock, text, status, extra, body)
        if method == "PLAY" and status.startswith("200"):
            serve = script.serve or self._play
            thread = threading.Thread(target=self._serve, args=(serve, sock), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _reply(self, sock: socket.socket, text: str, status: str, extra: str, body: bytes = b"") -> None:
        cseq = re.search(r"CSeq: (\d+)", text)
        head = f"RTSP/1.0 {status}\r\nCseq: {cseq[1] if cseq else 0}\r\n{extra}"
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        sock.sendall((head + length + "\r\n").encode() + body)

    def _serve(self, serve: Callable[[socket.socket, threading.Event], None], sock: socket.socket) -> None:
        try:
            serve(sock, self._stop)
        except OSError:
            return

    def _play(self, sock: socket.socket, stop: threading.Event) -> None:
        send_clip(sock, stop, self.script.clip)


_HEADERS = {
    "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN\r\n",
    "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;ssrc= d6d6627\r\nSession: 7088;timeout=60\r\n",
    "PLAY": "Session: 7088\r\n",
}


def send_clip(
    sock: socket.socket, stop: threading.Event, shown: Clip, *, speed: float = 1.0, loops: int = 1000
) -> None:
    """The clip over and over in real time, stamps going on."""
    packetizer = Packetizer(shown.codec)
    began = time.monotonic()
    sent = 0
    for turn in range(loops):
        for nals, stamp in zip(shown.units, shown.stamps, strict=True):
            sock.sendall(
                b"".join(map(interleaved, packetizer.pack(nals, stamp + turn * 3600 * len(shown.units))))
            )
            sent += 1
            if stop.wait(max(0.0, began + sent * 0.04 / speed - time.monotonic())):
                return


def _without_frames(pending: bytes) -> bytes:
    """Drop interleaved RTCP that the client sends."""
    while pending[:1] == b"$" and len(pending) >= 4:
        size = 4 + (pending[2] << 8 | pending[3])
        if len(pending) < size:
            break
        pending = pending[size:]
    return pending


class Facts:
    """An inbox that keeps everything."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def put(self, fact: Fact) -> None:
        self.facts.append(fact)

    def of(self, kind: type[Fact]) -> list[Fact]:
        return [fact for fact in self.facts if isinstance(fact, kind)]


class Shelf:
    """A sink that keeps records and honours a budget of bytes, as the ring does."""

    def __init__(self, budget: int | None = None) -> None:
        self.records: dict[StreamKey, list[Record]] = {}
        self.budget = budget
        self.reserved = 0
        self.ended: list[StreamKey] = []

    def reserve(self, role: Role, size: int) -> bool:
        if self.budget is not None and size > self.budget:
            return False
        if self.budget is not None:
            self.budget -= size
        self.reserved += size
        return True

    def put(self, key: StreamKey, record: Record) -> None:
        self.records.setdefault(key, []).append(record)

    def end_stream(self, key: StreamKey, stream_id: bytes) -> None:
        self.ended.append(key)


def spec_for(
    port: int,
    *,
    path: str = "/live",
    key: StreamKey = KEY,
    record: bool = True,
    password: str | None = "secret",
) -> StreamSpec:
    login = Credentials("admin", password) if password is not None else None
    endpoint = Endpoint(f"rtsp://127.0.0.1:{port}{path}", "127.0.0.1", port, login)
    return StreamSpec(key, endpoint, bytes(16), record)


def credit_for(fragments: Sequence[Fragment]) -> int:
    return sum(sealed_size(len(fragment.data)) for fragment in fragments)


def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
