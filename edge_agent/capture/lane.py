"""One stream from `start_stream` to `stop_stream`: visit after visit, with back-off. Capture thread only.

waiting --due--> visiting --lost--> waiting (0.5 s, doubling to 10 s, with jitter)
                    |    ^
                    |    +--only the compatibility process can play it: visiting through that, at once
                    |
                    +--credentials refused--> refused: until start_stream, or the gate lets them through
"""

from __future__ import annotations

import logging
import random
import selectors
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_agent.capture.compat import CompatVisit, StreamConverted
from edge_agent.capture.compat_pool import CompatPool
from edge_agent.capture.login import CredentialsRefused
from edge_agent.capture.meter import Meter, Pulse
from edge_agent.capture.ports import CredentialGate, Door, StreamStats
from edge_agent.capture.recorder import Recorder
from edge_agent.capture.refusals import OnlyThroughCompat
from edge_agent.capture.sessions import SessionBudget
from edge_agent.capture.stream import Stream, annexb
from edge_agent.capture.visit import Pace, Visit
from edge_agent.errors import SourceLost, SourceRefused
from edge_agent.events import Inbox, StreamLost, StreamStarted
from edge_agent.model import AccessUnit, Instant, Keyframe, StreamKey, StreamSpec

if TYPE_CHECKING:
    Drain = Callable[[socket.socket], None]
    GiveWay = Callable[[StreamKey, str], None]

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
_STEADY_S = 5.0  # a visit that played so long was no failed attempt


class Lane:
    """Keeps one stream coming and tells its owner of starts and losses. `drain` takes sockets we leave."""

    def __init__(
        self,
        spec: StreamSpec,
        recorder: Recorder,
        inbox: Inbox,
        selector: selectors.BaseSelector,
        drain: Drain,
        pace: Pace,
        gate: CredentialGate,
        budget: SessionBudget,
        give_way: GiveWay,
        compat: CompatPool,
    ) -> None:
        """`give_way(sub, reason)` ends the visit of `sub`, so that a main stream may have its place."""
        self.spec = spec
        self.recorder = recorder
        self._inbox = inbox
        self._selector = selector
        self._drain = drain
        self._pace = pace
        self._gate = gate
        self._budget = budget
        self._server = f"{spec.endpoint.host}:{spec.endpoint.port}"
        self._give_way = give_way
        self._compat = compat
        self._visit: Visit | CompatVisit | None = None
        self._told_converted = ""
        self._announced = False
        self._refused = False
        self._retry_at_ns = 0
        self._pause_s = FIRST_PAUSE_S
        self._reason = ""
        self._since: Instant | None = None  # the last video packet, or when we began to try
        self._meter = Meter()
        self._pulse = Pulse(spec.key, pace.pulse_s)
        self._newest: tuple[StreamKey, Stream, AccessUnit, Instant] | None = None

    def on_ready(self, mask: int, buffer: memoryview, now: Instant) -> bool:
        """The socket wants us; True when more may wait in it than `buffer` holds."""
        visit = self._visit
        if visit is None:
            return False
        try:
            more = visit.on_ready(mask, buffer, now)
        except (SourceLost, SourceRefused) as end:
            self._end(end, now)
            return False
        if visit.stream is not None:
            self._look_at(visit.stream, now)
        return more

    def on_time(self, now: Instant) -> None:
        """Deadlines and retries; called some ten times a second."""
        try:
            if self._visit is not None:
                self._visit.on_time(now)
                self._meter.tick(self._visit, self.recorder, now)
                pulse = self._pulse.take(self._visit.stream, now)
                if pulse is not None:
                    self._inbox.put(pulse)
            elif now.boot_ns >= self._retry_at_ns and not self._barred() and self._has_room(now):
                self._begin(now)
        except (SourceLost, SourceRefused) as end:
            self._end(end, now)

    def fail(self, now: Instant, reason: str) -> None:
        """A bug of ours ended the visit: what it still holds is given up, and the stream tried again."""
        if self._visit is not None:
            self._visit.stream = None
        self._lose(SourceLost(reason), now)

    def pause(self, now: Instant, reason: str) -> None:
        """Leave the session or the place to a stream that matters more, until we may begin again."""
        if self._visit is not None:
            self._lose(SourceLost(reason), now)

    def stop(self, now: Instant, reason: str) -> None:
        """Leave the device with a TEARDOWN. The lane is not used again."""
        self._leave(now, reason)

    def keyframe(self) -> Keyframe | None:
        """The newest keyframe in clear. Any thread."""
        newest = self._newest
        if newest is None:
            return None
        key, stream, unit, at = newest
        return Keyframe(key, stream.codec, annexb(stream.sets.all(), unit), at)

    def stats(self) -> StreamStats:
        """Any thread; a moment's view, not a consistent one."""
        visit = self._visit
        state = visit.state if visit else "refused" if self._refused else "waiting"
        return replace(self._meter.stats(visit, self.recorder), state=state, reason=self._reason)

    def _begin(self, now: Instant) -> None:
        self._since = self._since or now
        self._meter.visits += 1
        floor_ns = self.recorder.end_ns
        take = self.recorder.take
        self._visit = Visit(
            self.spec.endpoint, self._selector, self, take, self._pace, now, floor_ns, self._gate
        )
        self._budget.begun(self._server, self.spec.key, now.boot_ns / 1e9)

    def _has_room(self, now: Instant) -> bool:
        return self._budget.may_begin(self._server, self.spec.key, now.boot_ns / 1e9)

    def _barred(self) -> bool:
        """Refused for good, unless another stream has shown since that the credentials are right."""
        endpoint = self.spec.endpoint
        if self._refused and endpoint.credentials is not None:
            self._refused = not self._gate.may_try(endpoint.host, endpoint.credentials, Door.RTSP)
        return self._refused

    def _look_at(self, stream: Stream, now: Instant) -> None:
        """Keep the newest keyframe at hand; the first one of a visit starts the stream."""
        unit = stream.keyframe
        if unit is None or (self._newest is not None and self._newest[2] is unit):
            return
        self._newest = (self.spec.key, stream, unit, self.recorder.instant(stream.keyframe_boot_ns))
        picture = stream.sets.format
        if not self._announced and picture is not None:
            self._announced = True
            self._reason = ""
            self._budget.played(self._server, self.spec.key, now.boot_ns / 1e9)
            log.info("%s: %s %d x %d", self.spec.key, picture.codec_string, picture.width, picture.height)
            size = (picture.width, picture.height)
            self._inbox.put(StreamStarted(now, self.spec.key, stream.codec, *size))
            self._tell_converted(now)

    def _tell_converted(self, now: Instant) -> None:
        """That the pictures are not the camera's own bits, or are again: once, not at every reconnect."""
        converted = self._visit.converted if self._visit else ""
        if converted != self._told_converted:
            self._told_converted = converted
            log.warning("%s: %s", self.spec.key, converted or "recorded as it comes again")
            self._inbox.put(StreamConverted(now, self.spec.key, converted))

    def _end(self, end: SourceLost | SourceRefused, now: Instant) -> None:
        """A visit is over; what only the compatibility process can play goes on there."""
        if isinstance(end, OnlyThroughCompat) and isinstance(self._visit, Visit):
            try:
                self._go_through_compat(end, now)
            except (SourceLost, SourceRefused) as refusal:
                self._lose(refusal, now)
        else:
            self._lose(end, now)

    def _go_through_compat(self, need: OnlyThroughCompat, now: Instant) -> None:
        key, visit = self.spec.key, self._visit
        self._visit = None
        if visit is not None and (sock := visit.close(now)) is not None:
            self._drain(sock)
        rival = self._compat.rival(key)
        if rival is not None:
            self._give_way(rival, f"{key} is converted in its place: only so many streams are at a time")
        self._visit = CompatVisit(
            key,
            self.spec.endpoint,
            need,
            self._compat,
            self._selector,
            self,
            self.recorder.take,
            self._pace,
            now,
            self.recorder.end_ns,
            self._gate,
        )

    def _lose(self, end: SourceLost | SourceRefused, now: Instant) -> None:
        """End the visit, tell the owner, and plan the next unless our credentials were refused."""
        auth = isinstance(end, CredentialsRefused) and end.final
        refused = isinstance(end, SourceRefused)
        reason = str(end)
        self._leave(now, reason)
        pause_s = self._pause_s * random.uniform(0.7, 1.0)
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        self._refused = auth
        self._retry_at_ns = now.boot_ns + int(pause_s * 1e9)
        if reason != self._reason:
            again = "" if auth else f"; again in {pause_s:.1f} s"
            log.warning("%s: %s%s", self.spec.key, reason, again)
        self._reason = reason
        retry_in_s = 0.0 if auth else pause_s
        self._inbox.put(StreamLost(now, self.spec.key, self._since or now, reason, retry_in_s, refused, auth))
        weaker = self._budget.refused(self._server, self.spec.key, end, now.boot_ns / 1e9)
        if weaker is not None:
            self._give_way(weaker, f"the recorder's session limit: {self.spec.key} goes first")

    def _leave(self, now: Instant, reason: str) -> None:
        visit, self._visit = self._visit, None
        self._budget.ended(self._server, self.spec.key)
        if visit is None:
            return
        sock = visit.close(now)
        if sock is not None:
            self._drain(sock)
        self._since = visit.last_packet or self._since
        if visit.played_s(now) > _STEADY_S:
            self._pause_s = FIRST_PAUSE_S
        if self._announced:
            self.recorder.lost(reason, self.recorder.end_ns)
        self._announced = False
        self._meter.close(visit)
