"""RTSP 1.0 messages and session descriptions (RFC 2326, 4566), the server's side. No I/O."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field

from edge_agent.demo.dvr.brand import Brand
from edge_agent.demo.dvr.faults import ChannelFaults, Sprop
from edge_agent.demo.dvr.loops import EncodedLoop
from edge_agent.demo.dvr.old_codecs import JPEG_PAYLOAD_TYPE, MPEG4_PAYLOAD_TYPE
from edge_agent.demo.dvr.rtp import AUDIO_PAYLOAD_TYPE, CLOCK_RATE, PAYLOAD_TYPE
from edge_agent.errors import FormatError
from edge_agent.model import Codec

MAX_REQUEST = 16 * 1024
METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, SET_PARAMETER, TEARDOWN"
VIDEO_TRACK, AUDIO_TRACK = 0, 1
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    453: "Not Enough Bandwidth",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
    501: "Not Implemented",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    url: str
    headers: dict[str, str]  # names in lower case

    @property
    def cseq(self) -> str:
        return self.headers.get("cseq", "0")


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    reason: str = ""  # empty: the usual one


@dataclass(slots=True)
class RequestReader:
    """Bytes of one connection to requests; the client's interleaved RTCP is counted and dropped."""

    rtcp_packets: int = 0
    _buffer: bytearray = field(default_factory=bytearray)

    def feed(self, received: bytes) -> list[Request]:
        """Raises FormatError on what is not RTSP or too long."""
        self._buffer += received
        requests = []
        while self._buffer:
            if self._buffer[0] == 0x24:
                if not self._skip_interleaved():
                    break
            elif (request := self._take_request()) is not None:
                requests.append(request)
            else:
                break
        return requests

    def _skip_interleaved(self) -> bool:
        if len(self._buffer) < 4:
            return False
        size = 4 + int.from_bytes(self._buffer[2:4], "big")
        if len(self._buffer) < size:
            return False
        del self._buffer[:size]
        self.rtcp_packets += 1
        return True

    def _take_request(self) -> Request | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_REQUEST:
                raise FormatError("RTSP request without an end")
            return None
        request = _parse(bytes(self._buffer[:end]))
        size = end + 4 + _content_length(request)
        if len(self._buffer) < size:
            return None
        del self._buffer[:size]
        return request


def format_response(response: Response, cseq: str) -> bytes:
    reason = response.reason or _REASONS.get(response.status, "Status")
    lines = [f"RTSP/1.0 {response.status} {reason}", f"CSeq: {cseq}"]
    lines += [f"{name}: {value}" for name, value in response.headers]
    if response.body:
        lines.append(f"Content-Length: {len(response.body)}")
    return "\r\n".join([*lines, "", ""]).encode() + response.body


def describe(loop: EncodedLoop, brand: Brand, base: str, faults: ChannelFaults, config: bytes = b"") -> bytes:
    """The SDP of one stream; Dahua names tracks relatively, Hikvision by whole URLs.

    `config` is an MPEG-4 stream's own description of itself.
    """
    prefix = base if brand is Brand.HIKVISION else ""
    kind, codec_lines = _codec_lines(loop, faults, config)
    lines = [
        "v=0",
        "o=- 2253040596 2253040596 IN IP4 0.0.0.0",
        "s=Media Server",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
        f"m=video 0 RTP/AVP {kind}",
        f"a=control:{prefix}trackID={VIDEO_TRACK}",
        f"a=framerate:{float(loop.fps):f}",
        f"a=x-dimensions:{loop.width},{loop.height}",
        *codec_lines,
        "a=recvonly",
    ]
    if faults.pcma:
        lines += [
            f"m=audio 0 RTP/AVP {AUDIO_PAYLOAD_TYPE}",
            f"a=control:{prefix}trackID={AUDIO_TRACK}",
            f"a=rtpmap:{AUDIO_PAYLOAD_TYPE} PCMA/8000",
            "a=recvonly",
        ]
    return "\r\n".join([*lines, ""]).encode()


def interleaved_channel(transport: str) -> int | None:
    """The RTP channel the client wants, -1 when it leaves the choice to us; None unless TCP interleaved."""
    for offer in transport.split(","):
        parts = [part.strip() for part in offer.split(";")]
        if parts[0].upper() != "RTP/AVP/TCP":
            continue
        wanted = next((part[12:] for part in parts if part.startswith("interleaved=")), "")
        first = wanted.partition("-")[0]
        return int(first) if first.isdigit() and int(first) < 255 else -1
    return None


def _codec_lines(loop: EncodedLoop, faults: ChannelFaults, config: bytes) -> tuple[int, list[str]]:
    """The payload type and what says which codec it is."""
    if faults.mjpeg:
        return JPEG_PAYLOAD_TYPE, []
    if faults.mpeg4:
        rtpmap = f"a=rtpmap:{MPEG4_PAYLOAD_TYPE} MP4V-ES/{CLOCK_RATE}"
        fmtp = f"a=fmtp:{MPEG4_PAYLOAD_TYPE} profile-level-id=3;config={config.hex()}"
        return MPEG4_PAYLOAD_TYPE, [rtpmap, fmtp]
    name, fmtp = "H265" if loop.codec is Codec.H265 else "H264", _fmtp(loop, faults.sprop)
    rtpmap = f"a=rtpmap:{PAYLOAD_TYPE} {name}/{CLOCK_RATE}"
    return PAYLOAD_TYPE, [rtpmap, f"a=fmtp:{PAYLOAD_TYPE} {fmtp}"] if fmtp else [rtpmap]


def _fmtp(loop: EncodedLoop, sprop: Sprop) -> str:
    sets = _encoded(loop.parameter_sets, sprop)
    if loop.codec is Codec.H265:
        names = ("sprop-vps", "sprop-sps", "sprop-pps")
        return ";".join(f"{name}={value}" for name, value in zip(names, sets, strict=False))
    level = loop.parameter_sets[0][1:4].hex()
    head = f"packetization-mode=1;profile-level-id={level}"
    return f"{head};sprop-parameter-sets={','.join(sets)}" if sets else head


def _encoded(sets: Iterable[bytes], sprop: Sprop) -> list[str]:
    if sprop is Sprop.MISSING:
        return []
    if sprop is Sprop.GARBAGE:
        return [base64.b64encode(each[:3]).decode() + "!" for each in sets]
    return [base64.b64encode(each).decode() for each in sets]


def _parse(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("RTSP/1."):
        raise FormatError(f"not an RTSP request: {first[:80]!r}")
    pairs = (line.partition(":") for line in lines)
    return Request(
        words[0].upper(), words[1], {name.strip().lower(): value.strip() for name, _, value in pairs}
    )


def _content_length(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    if not text.isdigit() or int(text) > MAX_REQUEST:
        raise FormatError("RTSP request with an impossible Content-Length")
    return int(text)
