"""The media connection: opened when somebody watches, closed a while after the last viewer left.

Its certificate `{site}.av` may write media and nothing else. It is a connection of its own because video in
a shared one delays a heartbeat by seconds (docs/protocol.md, Connections).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Event, Lock
from typing import Protocol

from edge_agent.clock import Clock
from edge_agent.errors import UplinkError
from edge_agent.events import Inbox
from edge_agent.model import Role
from edge_agent.seal.record import Record
from edge_agent.supervisor import Beat
from edge_agent.tap import Tap
from edge_agent.uplink.clip import WINDOW
from edge_agent.uplink.clip_session import ALL_SENT, ClipSession
from edge_agent.uplink.facts import ViewingEnded
from edge_agent.uplink.link import TICK_S, Broker, Limits, Link, Outgoing
from edge_agent.uplink.live import LiveSession
from edge_agent.uplink.messages import LiveStarted
from edge_agent.uplink.playback import PlaybackSession
from edge_agent.uplink.topics import MediaKind

log = logging.getLogger(__name__)

LINGER_S = 30.0
MAX_VIEWINGS = 16
MAX_CLIPS = 2  # each reads the disk beside the recording
_TURN = {MediaKind.PLAYBACK: 1, MediaKind.CLIP: 2}


class Viewing(Protocol):
    """One session on the media connection: parts for the link, leases for the owner."""

    session: str
    camera: str
    role: Role
    topic: str
    kind: MediaKind
    qos: int

    @property
    def dropped(self) -> int: ...
    @property
    def sent(self) -> int: ...
    def renew(self, lease: str, lease_s: float) -> bool: ...
    def leave(self, lease: str) -> bool: ...
    def ended(self, now: float) -> str: ...
    def next_part(self, now: float) -> bytes | None: ...
    def next_due(self) -> float | None: ...
    def reconnected(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class MediaStats:
    connected: bool
    connects: int
    live: int
    playback: int
    clips: int
    dropped: int  # records that missed their deadline, since start


class MediaLink:
    """Worker `media`. Sessions are begun and ended from the main thread, fed to the link in its own."""

    name = "media"

    def __init__(
        self, *, site: str, link: Link, inbox: Inbox, clock: Clock, linger_s: float = LINGER_S
    ) -> None:
        self._site = site
        self._link = link
        self._inbox = inbox
        self._clock = clock
        self._linger_s = linger_s
        self._lock = Lock()  # guards the list of viewings, never held while one of them works
        self._viewings: tuple[Viewing, ...] = ()
        self._close_at = 0.0
        self._work = Event()
        self._connected = False
        self._token = 0
        self._under_way: dict[int, Outgoing] = {}
        self._again: list[Outgoing] = []
        self._dropped = 0

    def run(self, stop: Event, beat: Beat) -> None:
        while not stop.is_set():
            beat()
            if self._wanted():
                self._link.serve(self, stop, beat, self._wanted)
                self._connected = False
                self._under_way.clear()
            self._work.wait(TICK_S)
            self._work.clear()

    def start_live(
        self, camera: str, role: Role, tap: Tap[Record], *, lease: str, lease_s: float,
        smaller: Tap[Record] | None = None,
    ) -> LiveStarted:  # fmt: skip
        """Begin, or join those who watch already. `lease` is the command's id. Raises UplinkError.

        `smaller` serves instead while the line does not carry the stream.
        """
        for viewing in self._viewings:
            if isinstance(viewing, LiveSession) and (viewing.camera, viewing.role) == (camera, role):
                joined = viewing.join(lease, lease_s)
                if joined is not None:
                    self._hurry()
                    return joined
        session = LiveSession(self._site, camera, role, tap, self._clock, self._link.wake, smaller)
        started = session.join(lease, lease_s)
        assert started is not None  # nobody can have left it yet
        self._add(session)
        return started

    def start_playback(
        self, camera: str, role: Role, records: Iterable[Record], *, lease: str, lease_s: float,
        speed: float | None = 1.0,
    ) -> LiveStarted:  # fmt: skip
        """Send recorded footage, at `speed` or as fast as the link gives (None). Raises UplinkError."""
        session = PlaybackSession(self._site, camera, role, lease, self._clock, self._link.wake)
        started = session.start(records, speed, lease_s)
        self._add(session)
        return started

    def start_clip(
        self, camera: str, role: Role, payloads: Iterable[bytes], *, lease: str, lease_s: float
    ) -> ClipSession:
        """Send the parts of a clip, behind all that somebody watches. Raises UplinkError."""
        if sum(v.kind is MediaKind.CLIP for v in self._viewings) >= MAX_CLIPS:
            raise UplinkError(f"{MAX_CLIPS} clips are being fetched already; wait for one")
        session = ClipSession(self._site, camera, role, lease, lease_s, self._clock, self._link.wake)
        session.start(payloads)
        self._add(session)
        return session

    def seek_playback(
        self, session: str, records: Iterable[Record], *, speed: float | None = 1.0
    ) -> int | None:
        """The number of the first of the new records; None when there is no such session, or it has ended."""
        for viewing in self._viewings:
            if isinstance(viewing, PlaybackSession) and viewing.session == session:
                first = viewing.seek(records, speed)
                self._link.wake()
                return first
        return None

    def renew(self, session: str, lease: str, lease_s: float) -> bool:
        """Prolong a lease from now on; False when it has run out: start again."""
        return any(v.renew(lease, lease_s) for v in self._viewings if v.session == session)

    def stop(self, session: str, lease: str) -> bool:
        """Give a lease back; the session ends with its last one."""
        left = any(v.leave(lease) for v in self._viewings if v.session == session)
        self._link.wake()
        return left

    def kick(self) -> None:
        """The way out is back, or the command centre is: try to connect now. Any thread."""
        self._link.kick()

    @property
    def carried(self) -> int:
        """IP bytes so far, in both directions. Any thread."""
        return self._link.carried

    def stats(self) -> MediaStats:
        viewings = self._viewings
        kinds = [viewing.kind for viewing in viewings]
        live, playback = kinds.count(MediaKind.LIVE), kinds.count(MediaKind.PLAYBACK)
        clips = kinds.count(MediaKind.CLIP)
        dropped = self._dropped + sum(v.dropped for v in viewings)
        return MediaStats(self._connected, self._link.connects, live, playback, clips, dropped)

    # Called by the link, in its thread.

    def connecting(self) -> None:
        return None

    def subscriptions(self) -> Sequence[tuple[str, int]]:
        return ()

    def link_up(self, broker: Broker, limits: Limits) -> None:
        self._connected = True
        self._again = [self._under_way[token] for token in sorted(self._under_way)]
        self._under_way.clear()
        for viewing in self._viewings:
            viewing.reconnected()

    def link_down(self, reason: str, code: int | None) -> None:
        self._connected = False

    def arrived(self, topic: str, payload: bytes, retained: bool) -> None:
        """Nothing is subscribed here."""

    def acknowledged(self, token: int) -> None:
        self._under_way.pop(token, None)

    def refused(self, token: int, reason: str) -> None:
        message = self._under_way.pop(token, None)
        log.warning("media: the broker refused a part on %s: %s", message.topic if message else "?", reason)

    def next_message(self, *, window_open: bool, room: bool) -> Outgoing | None:
        """Live, what a lost connection left, playback, clips; among equals whoever was served longest ago.

        Nothing here is urgent.
        """
        if not room:
            return None
        now = self._clock.monotonic()
        viewings = self._viewings
        live = self._next_of((v for v in viewings if v.kind is MediaKind.LIVE), now, window_open)
        if live is not None:
            return live
        if self._again and window_open:
            return self._sent(self._again.pop(0))
        others = (v for v in viewings if v.kind is not MediaKind.LIVE)
        return self._next_of(sorted(others, key=lambda v: _TURN[v.kind]), now, window_open)

    def next_due(self) -> float | None:
        return min((due for v in self._viewings if (due := v.next_due()) is not None), default=None)

    def farewell(self) -> None:
        return None

    def _next_of(self, viewings: Iterable[Viewing], now: float, window_open: bool) -> Outgoing | None:
        for viewing in viewings:
            if viewing.qos and not window_open:
                return None
            if viewing.kind is MediaKind.CLIP and self._outstanding(viewing) >= WINDOW:
                continue
            payload = viewing.next_part(now)
            if payload is not None:
                self._turn(viewing)
                return self._sent(Outgoing(viewing.topic, payload, qos=viewing.qos))
        return None

    def _sent(self, message: Outgoing) -> Outgoing:
        self._token += 1
        numbered = Outgoing(message.topic, message.payload, self._token, message.qos)
        if message.qos:
            self._under_way[self._token] = numbered
        return numbered

    def _outstanding(self, viewing: Viewing) -> int:
        under_way = (*self._under_way.values(), *self._again)
        return sum(message.topic == viewing.topic for message in under_way)

    def _turn(self, viewing: Viewing) -> None:
        with self._lock:
            if len(self._viewings) > 1 and viewing in self._viewings:
                self._viewings = (*(v for v in self._viewings if v is not viewing), viewing)

    def _add(self, viewing: Viewing) -> None:
        with self._lock:
            full = len(self._viewings) >= MAX_VIEWINGS
            if not full:
                self._viewings = (*self._viewings, viewing)
        if full:
            viewing.close()
            raise UplinkError(f"{MAX_VIEWINGS} viewings already; stop one first")
        self._work.set()
        self._hurry()

    def _hurry(self) -> None:
        """Somebody waits for a picture."""
        self._link.kick()
        self._link.wake()

    def _wanted(self) -> bool:
        """Somebody watches, or did a moment ago. Viewings without a lease end here."""
        now = self._clock.monotonic()
        for viewing in self._viewings:
            reason = viewing.ended(now)
            if reason and not (reason == ALL_SENT and self._outstanding(viewing)):
                self._end(viewing, reason)
            elif isinstance(viewing, LiveSession):
                viewing.steer(now)
        if self._viewings:
            self._close_at = now + self._linger_s
        return bool(self._viewings) or now < self._close_at

    def _end(self, viewing: Viewing, reason: str) -> None:
        with self._lock:
            self._viewings = tuple(v for v in self._viewings if v is not viewing)
        viewing.close()
        self._dropped += viewing.dropped
        now = self._clock.now()
        self._inbox.put(
            ViewingEnded(now, viewing.session, viewing.kind.value, viewing.camera, reason, viewing.sent)
        )
