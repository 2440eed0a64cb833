"""A recorder for the whole session, and the plainest RTSP client: it shows what is on the wire."""

from __future__ import annotations

import hashlib
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.demo.dvr.sei import Stamp, parse_stamp
from edge_agent.model import Codec, Role


@dataclass
class RtpPacket:
    channel: int
    kind: int
    marker: bool
    sequence: int
    rtp_time: int
    payload: bytes


@dataclass
class Unit:
    """An access unit put together again."""

    rtp_time: int
    nals: list[bytes] = field(default_factory=list)

    @property
    def stamp(self) -> Stamp:
        return next(stamp for nal in self.nals if (stamp := parse_stamp(nal)))

    @property
    def annexb(self) -> bytes:
        return b"".join(b"\x00\x00\x00\x01" + nal for nal in self.nals)


def parse_interleaved(wire: bytes) -> list[RtpPacket]:
    packets, at = [], 0
    while at < len(wire):
        _, channel, length = struct.unpack_from("!cBH", wire, at)
        body = wire[at + 4 : at + 4 + length]
        at += 4 + length
        if 200 <= body[1] <= 204:  # RTCP
            packets.append(RtpPacket(channel, body[1], False, 0, 0, body))
            continue
        sequence, rtp_time = struct.unpack_from("!HI", body, 2)
        packets.append(
            RtpPacket(channel, body[1] & 0x7F, bool(body[1] & 0x80), sequence, rtp_time, body[12:])
        )
    return packets


def assemble(packets: list[RtpPacket], codec: Codec) -> list[Unit]:
    """Access units of RTP channel 0, written from RFC 6184 and 7798 without a look at the server."""
    units: list[Unit] = []
    current: Unit | None = None
    for packet in packets:
        if packet.channel != 0 or packet.kind != 96:
            continue
        current = current or Unit(packet.rtp_time)
        assert packet.rtp_time == current.rtp_time
        _add(current, packet.payload, codec)
        if packet.marker:
            units.append(current)
            current = None
    return units


def _add(unit: Unit, payload: bytes, codec: Codec) -> None:
    if codec is Codec.H264:
        fragment, head, rest = payload[0] & 0x1F == 28, 1, 2
    else:
        fragment, head, rest = (payload[0] >> 1) & 0x3F == 49, 2, 3
    if not fragment:
        unit.nals.append(payload)
        return
    header = payload[head]
    if header & 0x80:
        if codec is Codec.H264:
            unit.nals.append(bytes((payload[0] & 0xE0 | header & 0x1F,)))
        else:
            unit.nals.append(bytes((payload[0] & 0x81 | (header & 0x3F) << 1, payload[1])))
    unit.nals[-1] += payload[rest:]


class RawRtsp:
    """Blocking, one connection. `request` returns status, headers and body; Digest when challenged."""

    def __init__(self, host: str, port: int, user: str, password: str) -> None:
        self.sock = socket.create_connection((host, port), timeout=5)
        self.user, self.password = user, password
        self.session = ""
        self.packets: list[RtpPacket] = []
        self._challenge: dict[str, str] = {}
        self._buffer = b""
        self._cseq = 0

    def request(self, method: str, url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        answer = self._once(method, url, headers)
        if answer[0] == 401 and not self._challenge:
            self._challenge = dict(re.findall(r'(\w+)="([^"]*)"', answer[1]["www-authenticate"]))
            answer = self._once(method, url, headers)
        return answer

    def play(self, url: str, audio: bool = False) -> int:
        """The status of the first request that is refused, else 200."""
        status, headers, _ = self.request("DESCRIBE", url, Accept="application/sdp")
        base = headers.get("content-base", "")
        for track in (0, 1) if audio else (0,):
            if status == 200:
                transport = f"RTP/AVP/TCP;unicast;interleaved={2 * track}-{2 * track + 1}"
                status, answer, _ = self.request("SETUP", f"{base}trackID={track}", Transport=transport)
                self.session = answer.get("session", "").partition(";")[0]
        return self.request("PLAY", base)[0] if status == 200 else status

    def collect(self, seconds: float) -> list[RtpPacket]:
        """Packets that arrive in that time; fewer when the server closes."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                received = self.sock.recv(1 << 16)
            except (TimeoutError, ConnectionError):
                break
            if not received:
                break
            self._buffer += received
        self._take_packets()
        packets, self.packets = self.packets, []
        return packets

    def close(self) -> None:
        self.sock.close()

    def _once(self, method: str, url: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        self._cseq += 1
        lines = [
            f"{method} {url} RTSP/1.0",
            f"CSeq: {self._cseq}",
            *(f"{k}: {v}" for k, v in headers.items()),
        ]
        if self.session:
            lines.append(f"Session: {self.session}")
        if self._challenge:
            lines.append(f"Authorization: {self._authorization(method, url)}")
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode())
        return self._response()

    def _response(self) -> tuple[int, dict[str, str], bytes]:
        while True:
            self._take_packets()
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if found and head.startswith(b"RTSP/1.0"):
                first, *lines = head.decode().split("\r\n")
                headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
                size = int(headers.get("content-length", 0))
                if len(rest) >= size:
                    self._buffer = rest[size:]
                    return int(first.split()[1]), headers, rest[:size]
            received = self.sock.recv(1 << 16)
            if not received:
                raise ConnectionError("closed")
            self._buffer += received

    def _take_packets(self) -> None:
        while self._buffer[:1] == b"$" and len(self._buffer) >= 4:
            size = 4 + int.from_bytes(self._buffer[2:4], "big")
            if len(self._buffer) < size:
                return
            self.packets += parse_interleaved(self._buffer[:size])
            self._buffer = self._buffer[size:]

    def _authorization(self, method: str, url: str) -> str:
        def hashed(text: str) -> str:
            return hashlib.md5(text.encode()).hexdigest()

        realm, nonce = self._challenge["realm"], self._challenge["nonce"]
        response = hashed(
            f"{hashed(f'{self.user}:{realm}:{self.password}')}:{nonce}:{hashed(f'{method}:{url}')}"
        )
        fields = {"username": self.user, "realm": realm, "nonce": nonce, "uri": url, "response": response}
        return "Digest " + ", ".join(f'{name}="{value}"' for name, value in fields.items())


@pytest.fixture(scope="session")
def recorder() -> Iterator[VirtualDvr]:
    """Channel 1 H.264, channel 2 H.265; small pictures, so that a cold cache costs a second."""
    shapes = {"main": "320x180@25", "sub": "160x90@12", "h265": "2"}
    with VirtualDvr(channels=2, interface="none", serial="4E01B7EPAZ0TEST", **shapes) as dvr:
        yield dvr


@pytest.fixture
def dvr(recorder: VirtualDvr) -> Iterator[VirtualDvr]:
    """The session's recorder, healthy again after each test."""
    healthy = recorder.control.state()
    yield recorder
    device, channels = healthy["device"], healthy["channels"]
    assert isinstance(device, dict)
    assert isinstance(channels, dict)
    recorder.control.set_credentials(recorder.credentials.username, recorder.credentials.password)
    recorder.control.set_device(**device)
    for number, state in channels.items():
        recorder.control.set_channel(int(number), **state)


@pytest.fixture
def open_rtsp(dvr: VirtualDvr) -> Iterator[Callable[..., RawRtsp]]:
    """Opens raw clients with the right password unless told otherwise; closes them all."""
    opened: list[RawRtsp] = []

    def connect(password: str = dvr.credentials.password) -> RawRtsp:
        opened.append(RawRtsp(dvr.host, dvr.rtsp_port, dvr.credentials.username, password))
        return opened[-1]

    yield connect
    for client in opened:
        client.close()


@pytest.fixture
def play(dvr: VirtualDvr, open_rtsp: Callable[..., RawRtsp]) -> Callable[..., RawRtsp]:
    """A client that is playing a channel."""

    def start(channel: int = 1, role: Role = Role.MAIN) -> RawRtsp:
        client = open_rtsp()
        assert client.play(dvr.rtsp_url(channel, role)) == 200
        return client

    return start


@dataclass(frozen=True)
class WireTools:
    parse: Callable[[bytes], list[RtpPacket]] = parse_interleaved
    assemble: Callable[[list[RtpPacket], Codec], list[Unit]] = assemble


@pytest.fixture(scope="session")
def wire_tools() -> WireTools:
    """The test's own reading of RTP, independent of the server's code."""
    return WireTools()


@pytest.fixture
def on_the_wire() -> Callable[[bytes, Codec], list[Unit]]:
    return lambda wire, codec: assemble(parse_interleaved(wire), codec)
