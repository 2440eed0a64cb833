"""A recorded device's RTSP answers, in its words, around sessions that are really ours. No I/O."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge_agent.capture import sdp
from edge_agent.capture.bundle import Bundle, RtspExchange, StreamTape
from edge_agent.demo.dvr import rtsp
from edge_agent.demo.dvr.brand import StreamName
from edge_agent.demo.dvr.faults import ChannelFaults
from edge_agent.demo.dvr.loops import EncodedLoop
from edge_agent.demo.dvr.pace import Pace
from edge_agent.demo.dvr.rtp import WireLoop
from edge_agent.demo.dvr.rtsp import Request, Response
from edge_agent.errors import FormatError

_XM_LOGIN = re.compile(r"user=[^_&\s]*_password=[^&\s]*?(?=_channel|[&/\s]|$)", re.IGNORECASE)
_NONCE = re.compile(r'nonce="[^"]*"')
_IDLE_WORDS = frozenset({"unicast", "proto", "transportmode"})
_OURS = ("session", "transport", "rtp-info", "content-base", "content-location")


@dataclass(frozen=True, slots=True)
class ReplayStream:
    """One recorded stream. `key` is its URL behind the host, without the login that some put into it."""

    name: StreamName
    key: str
    tape: StreamTape
    description: bytes = b""
    pace: Pace | None = None

    def last(self, method: str) -> RtspExchange | None:
        """The answer that counted: the last one that was no demand for a login."""
        answers = [each for each in self.tape.dialogue if each.method == method and each.status != 401]
        return answers[-1] if answers else None

    def demands(self, method: str) -> RtspExchange | None:
        """The demand for a login that this method met, or, but for OPTIONS, that any method met."""
        all_demands = [each for each in self.tape.dialogue if each.status == 401]
        own = [each for each in all_demands if each.method == method]
        others = [each for each in all_demands if each.method != "OPTIONS"] if method != "OPTIONS" else []
        return next(iter([*own, *others]), None)


class ReplaySkin:
    """`rewrite` puts the replay's addresses where the device's own stood."""

    def __init__(
        self, bundle: Bundle, streams: tuple[ReplayStream, ...], rewrite: Callable[[str], str]
    ) -> None:
        self._bundle = bundle
        self._rewrite = rewrite
        self._by_name = {stream.name: stream for stream in streams}
        self._by_key = sorted(streams, key=lambda stream: -len(stream.key))

    def stream(self, url: str) -> StreamName | None:
        """The longest recorded URL that this one begins with; a track may stand behind it.

        Else the one that says the same: a technician types a URL without the words that ONVIF adds to it.
        """
        asked = key_of(url)
        for stream in self._by_key:
            rest = asked.removeprefix(stream.key)
            if asked.startswith(stream.key) and (not rest or rest[0] in "/?&" or stream.key.endswith("/")):
                return stream.name
        meant = _meant(asked)
        return next((stream.name for stream in self._by_key if _meant(stream.key) == meant), None)

    def track(self, url: str) -> int:
        stream = self.stream(url)
        recorded = self._by_name[stream] if stream else None
        last = url.rstrip("/").rpartition("/")[2]
        for media in _media(recorded.description) if recorded else ():
            if media.control and media.control.rstrip("/").rpartition("/")[2] == last:
                return rtsp.VIDEO_TRACK if media.kind == "video" else rtsp.AUDIO_TRACK
        return rtsp.VIDEO_TRACK

    def guarded(self, request: Request) -> bool:
        name = self.stream(request.url)
        streams = [self._by_name[name]] if name else self._by_key
        return any(stream.demands(request.method) for stream in streams)

    def describe(self, name: StreamName, request: Request, wire: WireLoop, faults: ChannelFaults) -> Response:
        stream = self._by_name[name]
        base = request.url.rstrip("/") + "/"
        honest = (("Content-Type", "application/sdp"), ("Content-Base", base))
        text = self._rewrite(stream.description.decode("latin-1")).encode("latin-1")
        return Response(200, honest, with_sets(text, wire.source))

    def dress(self, name: StreamName | None, request: Request, response: Response) -> Response | None:
        stream = self._by_name.get(name) if name else None
        if stream is None:
            return response
        if response.status == 401:
            demand = stream.demands(request.method)
            return response if demand is None else self._demand(demand, response)
        recorded = stream.last(request.method)
        if recorded is None or response.status >= 400:
            return response
        if not recorded.status:
            return None
        if recorded.status >= 400:
            body = self._bundle.body(recorded.body)
            return Response(recorded.status, _pairs(recorded), body, recorded.reason)
        headers = self._worded(recorded, {n.lower(): v for n, v in response.headers})
        return Response(recorded.status, headers, response.body, recorded.reason)

    def pace(self, name: StreamName) -> Pace | None:
        return self._by_name[name].pace

    def _demand(self, recorded: RtspExchange, response: Response) -> Response:
        """The recorded challenges with nonces that we know."""
        fresh = [_NONCE.search(value) for name, value in response.headers if name == "WWW-Authenticate"]
        nonce = next((found[0] for found in fresh if found), "")
        headers = tuple((name, _NONCE.sub(nonce, value)) for name, value in recorded.headers)
        return Response(401, headers, self._bundle.body(recorded.body), recorded.reason)

    def _worded(self, recorded: RtspExchange, ours: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        headers = []
        for name, value in recorded.headers:
            lowered = name.lower()
            if lowered in _OURS:
                value = _filled(lowered, self._rewrite(value), ours.get(lowered, ""))
            headers.append((name, value))
        return tuple(headers)


def _meant(key: str) -> tuple[str, frozenset[str]]:
    """Path and query words, in any order, but those that select nothing; without a track behind them."""
    path, _, query = key.partition("?")
    words = query.partition("/")[0].split("&")
    return path, frozenset(word for word in words if word.partition("=")[0].lower() not in _IDLE_WORDS)


def key_of(url: str) -> str:
    """Path and query, without host and port, without a login inside the path."""
    _, absolute, rest = url.partition("://")
    path = rest[rest.find("/") :] if "/" in rest else "/"
    return _XM_LOGIN.sub("user=_password=", path if absolute else url)


def with_sets(description: bytes, loop: EncodedLoop) -> bytes:
    """The description with the parameter sets of the loop, where the device gave good ones of its own."""
    ours = [base64.b64encode(nal).decode() for nal in loop.parameter_sets]
    text = description.decode("latin-1")
    if len(ours) == 3:
        for name, value in zip(("sprop-vps", "sprop-sps", "sprop-pps"), ours, strict=True):
            text = _replaced(text, name, value)
        return text.encode("latin-1")
    text = _replaced(text, "sprop-parameter-sets", ",".join(ours))
    level = loop.parameter_sets[0][1:4].hex()
    return re.sub(r"(profile-level-id=)[0-9A-Fa-f]{6}", rf"\g<1>{level}", text).encode("latin-1")


def _replaced(text: str, name: str, value: str) -> str:
    def fresh(found: re.Match[str]) -> str:
        return found[1] + (value if all(map(_is_good, found[2].split(","))) else found[2])

    return re.sub(rf"({name}=)([^;\s]*)", fresh, text)


def _is_good(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) > 3
    except (binascii.Error, ValueError):
        return False


def _filled(name: str, recorded: str, ours: str) -> str:
    """The recorded header with the session's own numbers."""
    if not ours:
        return recorded
    if name == "session":
        _, parameters, rest = recorded.partition(";")
        return ours.partition(";")[0] + parameters + rest
    if name == "transport":
        return _same_parameters(recorded, ours, ";", ("interleaved", "ssrc"))
    if name == "rtp-info":
        return _same_parameters(recorded, ours, ";", ("seq", "rtptime"))
    return recorded


def _same_parameters(recorded: str, ours: str, separator: str, names: tuple[str, ...]) -> str:
    given = dict(part.strip().partition("=")[::2] for part in ours.split(separator))
    for name in names:
        if name in given:
            value = given[name].strip()
            recorded = re.sub(rf"(\b{name}=\s?)[^;,\s]+", rf"\g<1>{value}", recorded)
    return recorded


def _media(description: bytes) -> tuple[sdp.Media, ...]:
    try:
        return sdp.parse(description).media
    except FormatError:
        return ()


def _pairs(recorded: RtspExchange) -> tuple[tuple[str, str], ...]:
    return tuple(recorded.headers)
