"""One connection to a device: socket, RTSP session and stream, until something ends it. Capture thread only.

Every method may raise SourceLost or SourceRefused, and then the visit is over; it never blocks.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import secrets
import selectors
import socket
from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.capture import rtp
from edge_agent.capture.ports import CredentialGate
from edge_agent.capture.rtsp_session import RtspSession, State
from edge_agent.capture.sessions import NeverPlayed
from edge_agent.capture.stream import Run, Stream
from edge_agent.capture.udp import UdpPair
from edge_agent.errors import SourceLost
from edge_agent.model import Endpoint, Instant

CONNECT_S = 5.0
REPORT_S = 4.5  # some cameras end a session that sends no RTCP for 5 s (gortsplib)
LONG_GROUP_S = 5.0  # packets lost in a longer one: a new session, for most devices begin it with a keyframe
LOSS_BURST_S = 0.5  # no sooner after a loss, so that one burst costs one session
_MOST_UNSENT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Pace:
    """The loop's settings."""

    fragment_s: float
    silence_s: float
    pulse_s: float = 10.0  # how often the sizes of the pictures are told


class Visit:
    """Connects, plays, and gives every run of pictures to `on_run`.

    The socket is registered with the loop's selector under `owner`; `floor_ns` is the box time up to which
    the stream was recorded before.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        selector: selectors.BaseSelector,
        owner: object,
        on_run: Callable[[Run], None],
        pace: Pace,
        now: Instant,
        floor_ns: int,
        gate: CredentialGate,
    ) -> None:
        self.stream: Stream | None = None
        self.last_packet: Instant | None = None
        self.bytes = 0
        self.camera_clock: tuple[int, Instant] | None = None
        self.converted = ""  # never: what we fetch ourselves is recorded as it comes
        self._endpoint = endpoint
        self._selector = selector
        self._owner = owner
        self._on_run = on_run
        self._pace = pace
        self._floor_ns = floor_ns
        self._gate = gate
        self._session: RtspSession | None = None
        self._unsent = b""
        self._ssrc = secrets.randbits(32)
        self._due_s = _seconds(now) + CONNECT_S
        self._report_due_s = 0.0
        self._playing_since_s: float | None = None
        self._echo = (0, 0.0)
        self._udp: UdpPair | None = None
        self._sock = _connect(endpoint)
        selector.register(self._sock, selectors.EVENT_WRITE, owner)

    @property
    def state(self) -> str:
        return self._session.state.value if self._session else "connecting"

    def played_s(self, now: Instant) -> float:
        return _seconds(now) - self._playing_since_s if self._playing_since_s is not None else 0.0

    def on_ready(self, mask: int, buffer: memoryview, now: Instant) -> bool:
        """The socket wants us; True when `buffer` was filled, so that more may wait."""
        try:
            if self._session is None:
                self._session = self._connected(now)
                self._send(self._session)
                return False
            if mask & selectors.EVENT_WRITE:
                self._send(self._session)
            more = bool(mask & selectors.EVENT_READ) and self._read(self._session, buffer, now)
            if self._udp is not None:
                self._read_udp(self._udp, self._session, now)
            return more
        except OSError as error:
            raise SourceLost(f"connection lost: {error.strerror or error}") from error

    def on_time(self, now: Instant) -> None:
        """Look at the deadlines; called some ten times a second."""
        if self._session is None:
            if _seconds(now) > self._due_s:
                raise SourceLost(f"no connection to {self._endpoint.host}:{self._endpoint.port} within 5 s")
            return
        self._session.tick(_seconds(now))
        if self._udp is not None:
            self._read_udp(self._udp, self._session, now)
        if self._session.state is State.PLAYING:
            self._check_silence(now)
            self._report(self._session, now)
        if self.stream is not None:
            self._check_stream(self.stream, now)
        try:
            self._send(self._session)
        except OSError as error:
            raise SourceLost(f"connection lost: {error.strerror or error}") from error

    def close(self, now: Instant) -> socket.socket | None:
        """Give what is left to `on_run` and say TEARDOWN. The socket that is returned wants to be drained."""
        self._selector.unregister(self._sock)
        self._close_udp()
        try:
            if self.stream is not None and (run := self.stream.finish()) is not None:
                self._on_run(run)
        except BaseException:
            self._sock.close()  # a bug behind `on_run` must not cost a descriptor at every reconnect
            raise
        try:
            if self._session is not None:
                self._session.tear_down(_seconds(now))
                self._sock.send(self._unsent + self._session.bytes_to_send())
                self._sock.shutdown(socket.SHUT_WR)
                return self._sock
        except OSError:
            pass  # it is gone already, which is what we wanted
        self._sock.close()
        return None

    def _connected(self, now: Instant) -> RtspSession:
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            where = f"{self._endpoint.host}:{self._endpoint.port}"
            raise SourceLost(f"no connection to {where}: {os.strerror(code)}")
        self._selector.modify(self._sock, selectors.EVENT_READ, self._owner)
        return RtspSession(self._endpoint, _seconds(now), gate=self._gate, open_udp=self._open_udp)

    def _open_udp(self) -> int:
        """The device refuses TCP."""
        pair = self._udp = UdpPair(self._sock)
        for sock in (pair.rtp, pair.rtcp):
            self._selector.register(sock, selectors.EVENT_READ, self._owner)
        return pair.port

    def _close_udp(self) -> None:
        pair, self._udp = self._udp, None
        if pair is not None:
            for sock in (pair.rtp, pair.rtcp):
                self._selector.unregister(sock)
            pair.close()

    def _read_udp(self, pair: UdpPair, session: RtspSession, now: Instant) -> None:
        packets = pair.receive(now.boot_ns)
        if packets:
            self._take_video(session, packets, sum(map(len, packets)), now)
        for report in pair.reports():
            self._take_report(report, now)

    def _read(self, session: RtspSession, buffer: memoryview, now: Instant) -> bool:
        try:
            size = self._sock.recv_into(buffer)
        except BlockingIOError:
            return False
        if not size:
            raise SourceLost("the device closed the connection")
        received = session.receive(bytes(buffer[:size]), _seconds(now))
        if received.packets:
            self._take_video(session, received.packets, size, now)
        for report in received.reports:
            self._take_report(report, now)
        self._send(session)
        return size == len(buffer)

    def _take_video(self, session: RtspSession, packets: list[bytes], size: int, now: Instant) -> None:
        if self.stream is None:
            if session.media is None:
                return
            self.stream = Stream(session.media, fragment_s=self._pace.fragment_s, floor_ns=self._floor_ns)
        self.bytes += size
        self.last_packet = now
        for run in self.stream.feed(packets, now.boot_ns):
            self._on_run(run)

    def _take_report(self, report: bytes, now: Instant) -> None:
        sender = rtp.parse_sender_report(report)
        if sender is not None:
            self.camera_clock = (sender.wall_us, now)
            self._echo = (sender.ntp_middle, _seconds(now))

    def _check_silence(self, now: Instant) -> None:
        if self._playing_since_s is None:
            self._playing_since_s = _seconds(now)
        heard_s = _seconds(self.last_packet) if self.last_packet else self._playing_since_s
        if _seconds(now) - heard_s > self._pace.silence_s:
            kind = SourceLost if self.last_packet else NeverPlayed
            raise kind(f"no video packets for {self._pace.silence_s:g} s")

    def _report(self, session: RtspSession, now: Instant) -> None:
        if self.stream is None or _seconds(now) < self._report_due_s:
            return
        self._report_due_s = _seconds(now) + REPORT_S
        echo, at_s = self._echo
        report = rtp.receiver_report(self._ssrc, self.stream.access, echo, _seconds(now) - at_s)
        if self._udp is None:
            session.report(report)
        elif session.rtcp_port:
            self._udp.send_report(report, session.rtcp_port)

    def _check_stream(self, stream: Stream, now: Instant) -> None:
        run = stream.flush(now.boot_ns)
        if run is not None:
            self._on_run(run)
        if _needs_keyframe(stream, now.boot_ns):
            raise SourceLost("packets were lost and no keyframe followed; asking anew for one")

    def _send(self, session: RtspSession) -> None:
        unsent = self._unsent + session.bytes_to_send()
        if unsent:
            try:
                unsent = unsent[self._sock.send(unsent) :]
            except BlockingIOError:
                if len(unsent) > _MOST_UNSENT:
                    raise SourceLost("the device takes no more of what we send") from None
        if bool(unsent) != bool(self._unsent):
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if unsent else 0)
            self._selector.modify(self._sock, wanted, self._owner)
        self._unsent = unsent


def _needs_keyframe(stream: Stream, now_ns: int) -> bool:
    """Packets were lost, and the keyframe that would mend it is not to be expected soon."""
    if stream.lost_since_ns is None or now_ns - stream.lost_since_ns < LOSS_BURST_S * 1e9:
        return False
    group_ns = max(stream.gop_ns, now_ns - stream.keyframe_boot_ns)
    return group_ns > LONG_GROUP_S * 1e9


def _connect(endpoint: Endpoint) -> socket.socket:
    """Begin a connection. Only addresses are taken: a name would block the thread in DNS."""
    try:
        version = ipaddress.ip_address(endpoint.host.partition("%")[0]).version
    except ValueError as error:
        raise SourceLost(f"{endpoint.host!r} is no address") from error
    sock = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex((endpoint.host, endpoint.port))
    except (OSError, OverflowError) as error:
        sock.close()
        raise SourceLost(f"no connection to {endpoint.host}:{endpoint.port}: {error}") from error
    if code not in (0, errno.EINPROGRESS):
        sock.close()
        raise SourceLost(f"no connection to {endpoint.host}:{endpoint.port}: {os.strerror(code)}")
    return sock


def _seconds(at: Instant) -> float:
    return at.boot_ns / 1e9
