"""One stream's RTSP conversation as a sans-I/O state machine.

    options -> describe -> setup -> playing -> closed

`receive` takes bytes and gives the track's packets, `bytes_to_send` drains what is to be written,
`deadline` says when `tick` wants to be called. A SourceRefused or SourceLost raised from any of them ends
the session. Only the reached host is ever talked to: whatever host a URL of the device names is replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from edge_agent.capture import rtsp, rtsp_urls, sdp
from edge_agent.capture.login import CredentialsRefused, Login
from edge_agent.capture.ports import CredentialGate, Leave
from edge_agent.capture.refusals import check, no_video, speaks_http
from edge_agent.capture.rtsp import Reply
from edge_agent.capture.rtsp_auth import Authorizer, strongest
from edge_agent.errors import FormatError, SourceLost, SourceRefused
from edge_agent.model import Endpoint

STEP_S = 5.0
OPTIONS_PATIENCE_S = 1.5  # some DVRs never answer OPTIONS; DESCRIBE is asked without it then
LONGEST_KEEPALIVE_S = 25.0
KEEPALIVE_CLAIM_S = 1.0  # a device that never answers keep-alives must not hold up the other streams
TURN_S = 0.05  # how often we ask whether it is our turn to log in
LONGEST_TURN_S = 30.0  # 32 streams, two at a time, at a recorder that takes a second and more for each
_MOST_UNANSWERED = 64


class State(StrEnum):
    OPTIONS = "options"
    DESCRIBE = "describe"
    SETUP = "setup"
    PLAY = "play"
    PLAYING = "playing"
    CLOSED = "closed"


@dataclass(slots=True)
class Received:
    """What one `receive` brought: RTP and RTCP packets of the video track, in order."""

    packets: list[bytes] = field(default_factory=list)
    reports: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class _Request:
    method: str
    url: str
    headers: dict[str, str]
    answers: int = 0  # to challenges
    signed: bool = False


class RtspSession:
    """Opens one video track over interleaved TCP and keeps it alive. One thread; no I/O."""

    def __init__(
        self,
        endpoint: Endpoint,
        now: float,
        *,
        gate: CredentialGate | None = None,
        open_udp: Callable[[], int] | None = None,
        step_s: float = STEP_S,
    ) -> None:
        """`gate` is asked before credentials are sent; without one they always are.

        `open_udp` opens a pair of UDP ports and names the first. It is called only when the device refuses
        TCP (461); packets then come there, and reports are wanted at the device's `rtcp_port`.
        """
        self.rtcp_port = 0
        self._open_udp = open_udp
        self.state = State.OPTIONS
        self.media: sdp.Media | None = None
        self.server = ""
        self._endpoint = endpoint
        self._step_s = step_s
        self._demultiplexer = rtsp.Demultiplexer()
        self._outgoing = bytearray()
        self._cseq = 0
        self._pending: dict[int, _Request] = {}
        self._login = Login(gate, endpoint)
        self._authorizer: Authorizer | None = None
        self._nonces_serve_once = False
        self._held: tuple[_Request, float] | None = None  # waits for its turn to log in, until then
        self._aggregate = self._base = endpoint.url
        self._session = ""
        self._rtp_channel = 0
        self._over_udp = False
        self._heard = False  # video has come; some servers never answer PLAY itself
        self._keepalive_s = LONGEST_KEEPALIVE_S
        self._keepalive_method = "OPTIONS"
        self._due = 0.0
        self._on_reply: dict[str, Callable[[Reply, float], None]] = {
            "OPTIONS": self._on_options,
            "DESCRIBE": self._on_description,
            "SETUP": self._on_setup,
            "PLAY": self._on_play,
        }
        self._ask("OPTIONS", endpoint.url, now)
        self._due = now + min(OPTIONS_PATIENCE_S, step_s)

    def receive(self, data: bytes, now: float) -> Received:
        """Take what the socket gave. Raises SourceRefused or SourceLost when the session is over."""
        if self.state is State.OPTIONS and data.startswith(b"HTTP/1."):
            raise speaks_http()
        received = Received()
        try:
            frames = self._demultiplexer.feed(data)
        except FormatError as error:
            raise SourceLost(str(error)) from error
        video = self._rtp_channel
        packets = received.packets
        for channel, payload in frames:
            if channel == video:
                packets.append(payload)
            elif channel == video + 1:
                received.reports.append(payload)
            elif channel == rtsp.MESSAGE:
                self._on_message(payload, now)
                video = self._rtp_channel
        self._heard |= bool(packets)
        return received

    def bytes_to_send(self) -> bytes:
        outgoing = bytes(self._outgoing)
        self._outgoing.clear()
        return outgoing

    def deadline(self) -> float:
        """When `tick` wants to be called, in the same seconds as `now`."""
        return self._due

    def tick(self, now: float) -> None:
        """The deadline has passed: a step took too long, or a keep-alive is due."""
        if now < self._due:
            return
        if self._held is not None:
            self._log_in(*self._held, now)
        elif self.state is State.OPTIONS:
            self._describe(now)
        elif self.state is State.PLAY and self._heard:
            self._begin_playing(now)
        elif self.state is State.PLAYING:
            self._keep_alive(now)
        elif self.state is not State.CLOSED:
            raise SourceLost(f"no answer to {self.state.upper()} within {self._step_s:g} s")

    def report(self, rtcp: bytes) -> None:
        """Queue an RTCP packet for the camera."""
        if self.state is State.PLAYING:
            size = len(rtcp)
            self._outgoing += bytes([0x24, self._rtp_channel + 1, size >> 8, size & 0xFF]) + rtcp

    def tear_down(self, now: float) -> None:
        """Queue TEARDOWN if the device holds a session for us, so that it is not left to time out."""
        self._login.leave()
        if self._session and self.state is not State.CLOSED:
            if self._authorizer is not None and self._login.ask(KEEPALIVE_CLAIM_S) is not Leave.GO:
                self._authorizer = None
            self._ask("TEARDOWN", self._aggregate, now)
            self._login.leave()
        self.state = State.CLOSED

    def _ask(self, method: str, url: str, now: float, headers: dict[str, str] | None = None) -> None:
        self._send(_Request(method, url, headers or {}))
        self._due = now + self._step_s

    def _send(self, request: _Request) -> None:
        self._cseq += 1
        if len(self._pending) < _MOST_UNANSWERED:
            self._pending[self._cseq] = request
        headers = dict(request.headers)
        if self._authorizer is not None:
            headers["Authorization"] = self._authorizer.header(request.method, request.url)
            request.signed = True
        if self._session:
            headers["Session"] = self._session
        self._outgoing += rtsp.request(request.method, request.url, self._cseq, headers)

    def _on_message(self, message: bytes, now: float) -> None:
        try:
            reply = rtsp.parse_reply(message)
        except FormatError as error:
            raise SourceLost(str(error)) from error
        request = self._match(reply)
        if request is None or self.state is State.CLOSED:
            return
        self.server = self.server or reply.header("server")[:100]
        if request.signed and reply.status != 401:
            self._login.accepted() if reply.status < 400 else self._login.leave()
        if reply.status == 401 and self.state is State.PLAYING:
            self._on_refused_keepalive(request, reply)
        elif reply.status == 401:
            self._on_challenge(request, reply, now)
        elif request.method in self._on_reply and self.state is not State.PLAYING:
            self._on_reply[request.method](reply, now)
        elif self.state is State.PLAYING:
            self._on_keepalive(request, reply)

    def _match(self, reply: Reply) -> _Request | None:
        """By CSeq; a reply without one answers the only request that waits."""
        cseq = reply.cseq()
        if cseq is None and len(self._pending) == 1:
            cseq = next(iter(self._pending))
        return self._pending.pop(cseq, None) if cseq is not None else None

    def _on_challenge(self, request: _Request, reply: Reply, now: float) -> None:
        """Answer once; once more only if the device says that the nonce alone was stale."""
        challenge = strongest(reply.headers.get("www-authenticate", ()))
        if challenge is None:
            raise CredentialsRefused("the device wants a login of a kind that we do not have (401)")
        credentials = self._login.credentials
        used = self._authorizer.challenge.nonce if self._authorizer else None
        fresh = challenge.stale or (request.answers == 0 and challenge.nonce != used)
        if request.answers > 1 or not fresh:
            raise self._login.refused(f"{reply.reason} {reply.body[:500].decode('utf-8', 'replace')}")
        self._nonces_serve_once |= request.signed and not challenge.stale
        self._authorizer = Authorizer(credentials, challenge)
        self._log_in(request, now + LONGEST_TURN_S, now)

    def _log_in(self, request: _Request, until: float, now: float) -> None:
        """Answer the challenge, as soon as no more answers are on their way than may be wrong."""
        leave = self._login.ask(self._step_s)
        if leave is Leave.STOP:
            raise self._login.stopped()
        if leave is Leave.WAIT and now < until:
            self._held, self._due = (request, until), now + TURN_S
            return
        if leave is Leave.WAIT:
            raise SourceLost("the device has not judged the same password of other streams yet")
        self._held = None
        request.answers += 1
        self._send(request)
        self._due = now + self._step_s

    def _keep_alive(self, now: float) -> None:
        leave = self._login.ask(KEEPALIVE_CLAIM_S) if self._authorizer is not None else Leave.GO
        if leave is Leave.WAIT:
            self._due = now + TURN_S
            return
        if leave is Leave.STOP:
            self._authorizer = None
        self._pending.clear()  # whoever never answers keep-alives is judged by its packets
        self._ask(self._keepalive_method, self._aggregate, now)
        self._due = now + self._keepalive_s

    def _on_refused_keepalive(self, request: _Request, reply: Reply) -> None:
        """The password may have been changed: count it, and play on without it as long as packets come."""
        challenge = strongest(reply.headers.get("www-authenticate", ()))
        if challenge is None or not request.signed:
            return
        if (challenge.stale or self._nonces_serve_once) and not request.answers:
            self._authorizer = Authorizer(self._login.credentials, challenge)
            request.answers += 1
            self._send(request)
        else:
            self._login.refused(reply.reason)
            self._authorizer = None

    def _on_options(self, reply: Reply, now: float) -> None:
        if self.state is State.OPTIONS:
            methods = {word.strip().upper() for word in reply.header("public").split(",")}
            if "GET_PARAMETER" in methods:
                self._keepalive_method = "GET_PARAMETER"
            self._describe(now)

    def _describe(self, now: float) -> None:
        self.state = State.DESCRIBE
        self._ask("DESCRIBE", self._endpoint.url, now, {"Accept": "application/sdp"})

    def _on_description(self, reply: Reply, now: float) -> None:
        check(reply, "DESCRIBE")
        try:
            description = sdp.parse(reply.body)
        except FormatError as error:
            raise SourceRefused(str(error)) from error
        self.media = description.video()
        if self.media is None:
            raise no_video(description)
        base = reply.header("content-base") or reply.header("content-location") or self._endpoint.url
        self._base = rtsp_urls.here(base, self._endpoint.url)
        self._aggregate = rtsp_urls.resolve(description.control, self._base)
        self.state = State.SETUP
        self._set_up(self.media, "RTP/AVP/TCP;unicast;interleaved=0-1", now)

    def _set_up(self, media: sdp.Media, transport: str, now: float) -> None:
        self._ask("SETUP", rtsp_urls.resolve(media.control, self._base), now, {"Transport": transport})

    def _on_setup(self, reply: Reply, now: float) -> None:
        if reply.status == 461 and self._open_udp is not None and self.media is not None:
            first, self._open_udp = self._open_udp(), None
            self._over_udp = True
            self._set_up(self.media, f"RTP/AVP;unicast;client_port={first}-{first + 1}", now)
            return
        check(reply, "SETUP")
        if self._over_udp:
            self.rtcp_port = rtsp_urls.rtcp_port(reply.header("transport"))
        else:
            self._rtp_channel = rtsp_urls.interleaved_channel(reply.header("transport"))
        session, _, parameters = reply.header("session").partition(";")
        self._session = session.strip()
        self._keepalive_s = min(LONGEST_KEEPALIVE_S, rtsp_urls.session_timeout_s(parameters) * 0.4)
        self.state = State.PLAY
        self._ask("PLAY", self._aggregate, now, {"Range": "npt=0.000-"})

    def _on_play(self, reply: Reply, now: float) -> None:
        check(reply, "PLAY")
        self._begin_playing(now)

    def _begin_playing(self, now: float) -> None:
        self.state = State.PLAYING
        self._due = now + self._keepalive_s

    def _on_keepalive(self, request: _Request, reply: Reply) -> None:
        """A refused way to keep alive is not used again; a session that is gone ends ours."""
        if reply.status == 454:
            raise SourceLost("the device has forgotten our session (454)")
        if reply.status >= 400 and request.method == self._keepalive_method:
            other = {"GET_PARAMETER": "OPTIONS", "OPTIONS": "GET_PARAMETER"}
            self._keepalive_method = other[request.method]
