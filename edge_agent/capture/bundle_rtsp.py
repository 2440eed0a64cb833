"""One stream's RTSP conversation with the agent's own session, both sides kept, and its packets' shape.

A second demultiplexer reads the same bytes: what the session makes of an answer does not change what is
kept of it. Blocking sockets, absolute deadlines; TEARDOWN whatever happened before.
"""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass, field, replace

from edge_agent.capture import bundle_shape, rtsp
from edge_agent.capture.bundle import Pairs, RtspExchange, StreamTape
from edge_agent.capture.bundle_shape import Shaper
from edge_agent.capture.bundle_tape import Collected
from edge_agent.capture.ports import CredentialGate
from edge_agent.capture.rtsp_session import RtspSession, State
from edge_agent.errors import EdgeAgentError, FormatError, SourceLost
from edge_agent.model import Codec, Endpoint

CONNECT_S = 4.0
GOODBYE_S = 1.0
LONGEST_VISIT_S = 40.0  # all steps and logins together, before the first packet
_READ = 64 * 1024
_MOST_HEADERS = 60
_REQUEST = re.compile(r"(?m)^([A-Z_]+) (\S+) RTSP/1\.0\r\nCSeq: (\d+)\r\n((?:[^\r\n]+\r\n)*)\r\n")


@dataclass(slots=True)
class RtspTape:
    """Both directions of one connection."""

    collected: Collected
    exchanges: list[RtspExchange] = field(default_factory=list)
    _asked_at: dict[int, float] = field(default_factory=dict)
    _by_cseq: dict[int, int] = field(default_factory=dict)

    def sent(self, data: bytes, now: float) -> None:
        for method, url, cseq, rest in _REQUEST.findall(data.decode("utf-8", "replace")):
            login = re.search(r"Authorization: (\w+)", rest)
            kind = login[1].lower() if login else "none"
            self._by_cseq[int(cseq)] = len(self.exchanges)
            self._asked_at[int(cseq)] = now
            self.exchanges.append(RtspExchange(method, url, kind, status=0, note="no answer"))

    def received(self, message: bytes, now: float) -> None:
        """A reply without CSeq answers the oldest question that waits."""
        try:
            reply = rtsp.parse_reply(message)
        except FormatError:
            return
        cseq = reply.cseq()
        if cseq not in self._by_cseq:
            cseq = next((c for c, at in self._by_cseq.items() if not self.exchanges[at].status), None)
        if cseq is None or self.exchanges[self._by_cseq[cseq]].status:
            return
        at = self._by_cseq[cseq]
        suffix = "sdp" if "sdp" in reply.header("content-type") else "txt"
        self.exchanges[at] = replace(
            self.exchanges[at],
            status=reply.status,
            reason=reply.reason,
            headers=_headers(message),
            body=self.collected.keep("rtsp", f"{self.exchanges[at].method}.{suffix}", reply.body),
            took_ms=round((now - self._asked_at[cseq]) * 1000),
            note="",
        )


def visit(
    stream: StreamTape, endpoint: Endpoint, gate: CredentialGate, seconds: float, collected: Collected
) -> StreamTape:
    """`stream` with everything that the device said and sent. Never raises for what the device does."""
    tape = RtspTape(collected)
    shaper = Shaper(None)
    note = ""
    try:
        with socket.create_connection((endpoint.host, endpoint.port), CONNECT_S) as sock:
            conversation = _Conversation(sock, endpoint, gate, tape, shaper)
            try:
                conversation.play(
                    seconds, time.monotonic() + min(LONGEST_VISIT_S, max(collected.left_s, 1.0))
                )
            finally:
                conversation.say_goodbye()
    except EdgeAgentError as error:
        note = str(error)
    except OSError as error:
        note = f"{endpoint.host}:{endpoint.port} does not answer RTSP: {error.strerror or 'timed out'}"
    shape = shaper.shape()
    member = ""
    if shape.packets:
        member = collected.keep("packets", f"{stream.role}.json", bundle_shape.dump(shape))
    return replace(stream, dialogue=tuple(tape.exchanges), shape=member, note=note)


class _Conversation:
    """Socket, session and tape of one stream, until `say_goodbye`."""

    def __init__(
        self, sock: socket.socket, endpoint: Endpoint, gate: CredentialGate, tape: RtspTape, shaper: Shaper
    ) -> None:
        self._sock = sock
        self._tape = tape
        self._shaper = shaper
        self._demultiplexer = rtsp.Demultiplexer()
        self._session = RtspSession(endpoint, time.monotonic(), gate=gate)

    def play(self, seconds: float, deadline: float) -> None:
        """Until `seconds` of packets have come. Raises SourceLost, SourceRefused, OSError."""
        first: float | None = None
        while (now := time.monotonic()) < (deadline if first is None else min(deadline, first + seconds)):
            self._send(now)
            received = self._receive(min(self._session.deadline(), deadline) - now)
            now = time.monotonic()
            if received is None:
                self._session.tick(now)
                continue
            if not received:
                raise SourceLost("the device closed the connection")
            self._listen(received, now)
            if first is None and self._session.state is State.PLAYING:
                first = now
        if first is None:
            raise SourceLost("the device played nothing in time")

    def say_goodbye(self) -> None:
        """TEARDOWN, and a moment for its answer; a device that is gone does not hold us up."""
        try:
            self._session.tear_down(time.monotonic())
            self._send(time.monotonic())
            until = time.monotonic() + GOODBYE_S
            while not self._answered_goodbye() and (left_s := until - time.monotonic()) > 0:
                received = self._receive(left_s)
                if not received:
                    return
                self._tape_messages(received, time.monotonic())
        except (OSError, EdgeAgentError):
            return

    def _listen(self, received: bytes, now: float) -> None:
        """The tape first: it must have the answer at which the session gives up."""
        self._tape_messages(received, now)
        heard = self._session.receive(received, now)
        if self._shaper.codec is None and self._session.media is not None:
            self._shaper.codec = Codec.H265 if self._session.media.encoding == "H265" else Codec.H264
        for packet in heard.packets:
            self._shaper.packet(packet, now)
        for report in heard.reports:
            self._shaper.report(report, now, time.time_ns() // 1000)

    def _tape_messages(self, received: bytes, now: float) -> None:
        for channel, message in self._demultiplexer.feed(received):
            if channel == rtsp.MESSAGE:
                self._tape.received(message, now)

    def _answered_goodbye(self) -> bool:
        last = self._tape.exchanges[-1] if self._tape.exchanges else None
        return last is None or last.method != "TEARDOWN" or bool(last.status)

    def _send(self, now: float) -> None:
        outgoing = self._session.bytes_to_send()
        if outgoing:
            self._tape.sent(outgoing, now)
            self._sock.settimeout(CONNECT_S)
            self._sock.sendall(outgoing)

    def _receive(self, patience_s: float) -> bytes | None:
        """None when nothing came in time; empty at the end."""
        self._sock.settimeout(max(patience_s, 0.01))
        try:
            return self._sock.recv(_READ)
        except TimeoutError:
            return None


def _headers(message: bytes) -> Pairs:
    """As the device wrote them, in its order; CSeq is ours."""
    head = re.split(rb"\r?\n\r?\n", message, maxsplit=1)[0].decode("utf-8", "replace")
    pairs = (line.partition(":") for line in head.splitlines()[1 : _MOST_HEADERS + 1])
    named = ((name.strip()[:80], value.strip()[:2000]) for name, colon, value in pairs if colon)
    return tuple((name, value) for name, value in named if name.lower() not in ("cseq", "content-length"))
