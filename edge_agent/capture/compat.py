"""One visit through the compatibility process: what `Visit` is for a socket, this is for a pipe.

    starting -> login -> opening -> playing

Capture thread only; every method may raise SourceLost or SourceRefused, and then the visit is over. The
process opens the stream itself; it gets the password once it is ready and the lock-out gate agrees.
"""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.capture import compat_wire as wire
from edge_agent.capture import h264, h265, sdp
from edge_agent.capture.compat_pool import CompatPool
from edge_agent.capture.compat_wire import Cause, Way
from edge_agent.capture.login import Login
from edge_agent.capture.ports import CredentialGate, Leave
from edge_agent.capture.refusals import OnlyThroughCompat
from edge_agent.capture.sessions import NeverPlayed
from edge_agent.capture.stream import Run, Stream
from edge_agent.capture.visit import Pace
from edge_agent.errors import FormatError, SourceLost, SourceRefused
from edge_agent.events import Fact
from edge_agent.model import AccessUnit, Codec, Endpoint, Instant, StreamKey

START_S = 30.0  # importing FFmpeg takes a Pi with a cold card many seconds
TURN_S = 15.0  # for others' logins to be judged
OPEN_S = 12.0  # FFmpeg gives up by itself after 10 s; whoever does not even say that hangs
LONGEST_DELAY_NS = 10_000_000_000  # a picture is not believed to have waited longer for us


@dataclass(frozen=True, slots=True)
class StreamConverted(Fact):
    """The stream is recorded in another codec than the camera's, as `converted` says; empty: no longer."""

    key: StreamKey
    converted: str


class Step(StrEnum):
    STARTING = "starting"
    LOGIN = "login"
    OPENING = "opening"
    PLAYING = "playing"


class CompatVisit:
    """Gives every run of pictures to `on_run`, as `Visit` does. `need` is why we are here."""

    def __init__(
        self,
        key: StreamKey,
        endpoint: Endpoint,
        need: OnlyThroughCompat,
        pool: CompatPool,
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
        self.converted = ""
        self._endpoint = endpoint
        self._need = need
        self._pool = pool
        self._selector = selector
        self._on_run = on_run
        self._pace = pace
        self._floor_ns = floor_ns
        self._login = Login(gate, endpoint)
        self._inflow = wire.Inflow()
        self._step = Step.STARTING
        self._since_s = _seconds(now)  # when the step began
        self._playing_since_s: float | None = None
        self._arrival_ns = 0
        self._blame = ""
        self._process = pool.begin(key, str(need), _seconds(now))
        selector.register(self._process.pictures, selectors.EVENT_READ, owner)

    @property
    def state(self) -> str:
        return self._step.value

    def played_s(self, now: Instant) -> float:
        return _seconds(now) - self._playing_since_s if self._playing_since_s is not None else 0.0

    def on_ready(self, _mask: int, buffer: memoryview, now: Instant) -> bool:
        """The pipe wants us; True when `buffer` was filled, so that more may wait."""
        try:
            size = os.readv(self._process.pictures, [buffer])
        except BlockingIOError:
            return False
        if not size:
            raise self._dead("ended without a word")
        self.bytes += size
        try:
            for message in self._inflow.feed(buffer[:size]):
                self._take(message, now)
        except FormatError as error:
            raise self._dead(f"talks nonsense: {error}") from error
        return size == len(buffer)

    def on_time(self, now: Instant) -> None:
        """Look at the deadlines; called some ten times a second."""
        waited_s = _seconds(now) - self._since_s
        match self._step:
            case Step.STARTING if waited_s > START_S:
                raise self._dead(f"did not start within {START_S:g} s")
            case Step.LOGIN:
                self._log_in(now)
            case Step.OPENING if waited_s > OPEN_S:
                self._login.leave()
                raise self._dead(f"hung for {OPEN_S:g} s over opening the stream")
            case Step.PLAYING:
                self._check_silence(now)
                self._flush(now)

    def close(self, now: Instant) -> socket.socket | None:
        """Give what is left to `on_run` and let the process go; it says TEARDOWN. No socket is left over."""
        self._selector.unregister(self._process.pictures)
        if self._step is Step.OPENING:
            self._login.leave()
        self._pool.end(self._process, _seconds(now), self._blame)
        if self.stream is not None and (run := self.stream.finish()) is not None:
            self._on_run(run)
        return None

    def _take(self, message: wire.Message, now: Instant) -> None:
        match message:
            case wire.Ready() if self._step is Step.STARTING:
                self._enter(Step.LOGIN, now)
                self._log_in(now)
            case wire.Opened() if self._step is Step.OPENING:
                self._open(message, now)
            case wire.Unit() if self.stream is not None:
                self._take_unit(self.stream, message, now)
            case wire.Failed():
                raise self._failure(message)
            case _:
                raise FormatError(f"{type(message).__name__} while {self._step.value}")

    def _log_in(self, now: Instant) -> None:
        """Hand over the order as soon as no more answers are on their way than may be wrong."""
        if self._endpoint.credentials is not None:
            leave = self._login.ask(OPEN_S)
            if leave is Leave.STOP:
                raise self._login.stopped()
            if leave is Leave.WAIT:
                if _seconds(now) - self._since_s > TURN_S:
                    raise SourceLost("the device has not judged the same password of other streams yet")
                return
        self._enter(Step.OPENING, now)
        try:
            os.write(self._process.orders, wire.encode_order(self._order()))  # the empty pipe holds it
        except (FormatError, OSError) as error:
            raise self._dead(f"takes no order: {error}") from error

    def _order(self) -> wire.Order:
        endpoint = self._endpoint
        login = endpoint.credentials
        return wire.Order(
            endpoint.url,
            endpoint.host,
            endpoint.port,
            self._need.way,
            login.username if login else "",
            login.password if login else "",
        )

    def _open(self, opened: wire.Opened, now: Instant) -> None:
        if self._endpoint.credentials is not None:
            self._login.accepted()
        self._enter(Step.PLAYING, now)
        self._playing_since_s = _seconds(now)
        rate = opened.fps if 0.1 <= opened.fps <= 240 else None
        media = sdp.Media("video", 96, "H264" if opened.codec is Codec.H264 else "H265", framerate=rate)
        origin = f"converted from {opened.source}" if opened.source else ""
        if origin:
            self.converted = f"{origin}, {opened.fps:g} pictures a second"
        self.stream = Stream(media, fragment_s=self._pace.fragment_s, floor_ns=self._floor_ns, origin=origin)
        for nal in opened.sets:
            self.stream.sets.take(nal)

    def _take_unit(self, stream: Stream, unit: wire.Unit, now: Instant) -> None:
        """The process stamps arrivals itself; what it says is held within what is possible."""
        rules = h264.RULES if stream.codec is Codec.H264 else h265.RULES
        if not any(rules.is_picture(rules.nal_type(nal)) for nal in unit.nals):
            raise FormatError("a picture without a slice")
        earliest_ns = max(self._arrival_ns, now.boot_ns - LONGEST_DELAY_NS)
        self._arrival_ns = min(max(unit.arrival_ns, earliest_ns), now.boot_ns)
        self.last_packet = now
        keyframe = rules.keyframe(unit.nals)
        access = AccessUnit(unit.nals, unit.rtp_time, self._arrival_ns, keyframe, unit.lost)
        for run in stream.take(access):
            self._on_run(run)

    def _check_silence(self, now: Instant) -> None:
        heard_s = _seconds(self.last_packet) if self.last_packet else self._since_s
        if _seconds(now) - heard_s > self._pace.silence_s:
            kind = SourceLost if self.last_packet else NeverPlayed
            raise kind(f"no video packets for {self._pace.silence_s:g} s")

    def _flush(self, now: Instant) -> None:
        if self.stream is not None and (run := self.stream.flush(now.boot_ns)) is not None:
            self._on_run(run)

    def _failure(self, failed: wire.Failed) -> SourceLost | SourceRefused:
        """What the process told, as what our own client would have raised."""
        if self._step is not Step.OPENING:
            return SourceLost(failed.sentence)
        self._step = Step.LOGIN  # the login has been judged, or never will be
        if failed.cause is Cause.UNAUTHORIZED and self._endpoint.credentials is not None:
            self._blame = "was refused the password"  # that our own client has just shown to be right
            return self._login.refused(failed.sentence)
        self._login.leave()
        if self._need.way is Way.TUNNEL:
            self._blame = (
                "finds no RTSP inside HTTP"  # mostly a wrong port: not to be tried every ten seconds
            )
            return SourceRefused(f"{self._need}; nor is there RTSP inside HTTP ({failed.sentence})")
        if failed.cause is Cause.UNPLAYABLE:
            return SourceRefused(str(self._need))
        return SourceLost(failed.sentence) if failed.cause is Cause.LOST else SourceRefused(failed.sentence)

    def _dead(self, what: str) -> SourceLost:
        self._blame = what
        return SourceLost(f"the compatibility process {what}")

    def _enter(self, step: Step, now: Instant) -> None:
        self._step, self._since_s = step, _seconds(now)


def _seconds(at: Instant) -> float:
    return at.boot_ns / 1e9
