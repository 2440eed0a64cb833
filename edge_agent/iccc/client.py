"""The command centre's client library: hears every site, sends signed commands, opens footage.

    client = IcccClient(settings, boxes)
    client.start()
    reply = client.command("pump-17", "snapshot", {"camera": "cam-01"}, operator="asha", reason="call 4711")
    with client.live("pump-17", "cam-01", Role.SUB, operator="asha", reason="call 4711") as live:
        for item in live: ...

Calls may come from any thread but the link's own (a listener must not wait for a reply).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Condition

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import JsonValue, TypeAdapter, ValidationError

from edge_agent.errors import SealError, UplinkError
from edge_agent.iccc.belief import Boxes, Still
from edge_agent.iccc.coverage import Coverage, read_coverage
from edge_agent.iccc.hearing import Fact, Hearing, Listener, RawListener, StillHeard
from edge_agent.iccc.link import BrokerLink, TlsFiles
from edge_agent.iccc.live import Anchor, LiveReceiver
from edge_agent.iccc.orders import BEGUN, Ordered, Orders, SecondKey
from edge_agent.iccc.orders import CommandRefused as CommandRefused
from edge_agent.iccc.playback import PlaybackReceiver
from edge_agent.iccc.screening import Asked, PlaybackStream
from edge_agent.iccc.stream import LiveStream, MediaRouter
from edge_agent.model import Role
from edge_agent.seal.epoch import Wrap
from edge_agent.seal.opener import Opener
from edge_agent.seal.record import Record
from edge_agent.uplink import messages, topics
from edge_agent.uplink.messages import LiveStarted, Reply
from edge_agent.uplink.topics import MediaKind, Up

REPLY_TIMEOUT_S = 10.0
MAX_COVERAGE_REPLIES = 16
Rewrapped = Callable[[str], Mapping[bytes, Wrap]]
_STARTED: TypeAdapter[LiveStarted] = TypeAdapter(LiveStarted)


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """`kid` names the command key in the boxes' configuration, `recipient_id` the key they seal to."""

    broker: str
    tls: TlsFiles
    client_id: str
    command_key: Ed25519PrivateKey
    kid: str
    recipient_id: str
    recipient_key: bytes
    share: str | None = None  # name of a shared subscription; None: hear everything, retained births too


class IcccClient:
    """One worker of the command centre. Opens nothing until `start`; `stop` ends its threads."""

    def __init__(self, settings: ClientSettings, boxes: Boxes, rewrapped: Rewrapped | None = None) -> None:
        """`rewrapped`: of a site, the keys that a hold sealed again to `settings.recipient_id`."""
        self._settings = settings
        self._boxes = boxes
        self._rewrapped = rewrapped or (lambda _site: {})
        self._media = MediaRouter()
        self._hearing = Hearing(boxes, self._opener, self._replied, self._media.take)
        self._link = BrokerLink(
            settings.broker,
            settings.tls,
            settings.client_id,
            self._hearing.arrived,
            self._hearing.link_changed,
        )
        self._orders = Orders(settings.command_key, settings.kid, self.birth, self._link.publish)

    def start(self) -> None:
        share = self._settings.share
        if share is None:
            self._link.subscribe(f"{topics.ROOT}/+/up/#", 1)
        else:
            self._link.subscribe(topics.ingest_filter(share), 1)
            for leaf in (Up.BIRTH, Up.REPLY):  # shared subscriptions get no retained births
                self._link.subscribe(f"{topics.ROOT}/+/up/{leaf.value}", 1)
        self._link.start()

    def stop(self) -> None:
        self._media.close()
        self._link.stop()

    @property
    def connected(self) -> bool:
        return self._link.connected

    def listen(self, listener: Listener) -> None:
        """Hear every fact, in the link's thread, in order; before `start`. Must not block."""
        self._hearing.listen(listener)

    def listen_raw(self, listener: RawListener) -> None:
        """Hear the exact bytes of every message of a site, believed or not: what the mirror stores."""
        self._hearing.listen_raw(listener)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """For `dn/witness`, `dn/want` and `dn/config`. Raises UplinkError without a connection."""
        self._link.publish(topic, payload, retain=retain)

    def birth(self, site: str) -> messages.Birth | None:
        """The newest believed birth: who the site is, its cameras and its session."""
        return self._hearing.birth(site)

    def command(
        self,
        site: str,
        op: str,
        args: dict[str, JsonValue] | None = None,
        *,
        operator: str,
        reason: str = "",
        timeout_s: float = REPLY_TIMEOUT_S,
    ) -> Reply:
        """Send one signed command and wait for its end.

        Raises CommandRefused when the box rejects it or fails, UplinkError when the site has never
        reported, there is no connection, or no answer comes in `timeout_s`.
        """
        return self._orders.carry_out(site, op, args or {}, operator, reason, timeout_s)[0]

    def order(
        self, site: str, op: str, args: dict[str, JsonValue], *, operator: str, reason: str = "",
        second: SecondKey | None = None,
    ) -> Ordered:  # fmt: skip
        """As `command`, for work of minutes: the caller waits, and forgets. Raises UplinkError."""
        return self._orders.begin(site, op, args, operator, reason, second)

    def snapshot(
        self, site: str, camera: str, *, operator: str, reason: str = "", timeout_s: float = REPLY_TIMEOUT_S
    ) -> Still:
        """A fresh picture of the camera. Raises as `command`."""
        taken: list[Still] = []
        pictured = Condition()

        def keep(fact: Fact) -> None:
            if isinstance(fact, StillHeard) and (fact.site, fact.camera) == (site, camera):
                with pictured:
                    taken.append(fact.still)
                    pictured.notify_all()

        self._hearing.listen(keep)
        try:
            deadline = time.monotonic() + timeout_s
            args: dict[str, JsonValue] = {"camera": camera}
            self._orders.carry_out(site, "snapshot", args, operator, reason, timeout_s)
            with pictured:
                if not pictured.wait_for(lambda: taken, max(0.1, deadline - time.monotonic())):
                    raise UplinkError(f"{site}/{camera}: the box said done, but no picture came")
                return taken[-1]
        finally:
            self._hearing.forget(keep)

    def live(
        self,
        site: str,
        camera: str,
        role: Role = Role.SUB,
        *,
        operator: str,
        reason: str = "",
        lease_s: int = 30,
        timeout_s: float = REPLY_TIMEOUT_S,
    ) -> LiveStream:
        """Start watching. The stream renews its lease while it is read; close it to stop the camera's upload.
        Its `started` tells when the box serves another role than was asked for, and why.

        Nothing is missed: the media topics are subscribed before the command is sent, and parts that
        overtake the reply wait for it. Raises as `command`.
        """
        self._link.subscribe(topics.media_filter(site, kind=MediaKind.LIVE), 0)
        args: dict[str, JsonValue] = {"camera": camera, "role": role.value, "lease_s": lease_s}
        asked_s = time.monotonic()
        reply, arrived_s = self._orders.carry_out(site, "live.start", args, operator, reason, timeout_s)
        started = _started(reply)
        served = started.role or role
        streams = self._hearing.streams(site, camera)
        stream_id = next((stream for stream, named in streams.items() if named is served), None)
        anchor = Anchor(reply.mono * 1_000_000, arrived_s)
        receiver = LiveReceiver(started, anchor, served, self._opener(site), stream_id, streams)

        def order(op: str, extra: dict[str, JsonValue]) -> None:
            lease: dict[str, JsonValue] = {"session": started.session, "lease": started.lease}
            self._orders.send(site, op, lease | extra, operator, reason)

        def box_remembers() -> bool:
            birth = self.birth(site)
            return birth is not None and birth.session == reply.session

        stream = LiveStream(receiver, started, order, lease_s, asked_s, box_remembers)
        self._media.attach(started.session, stream)
        stream.on_close(lambda: self._media.detach(started.session, stream))
        return stream

    def coverage(
        self,
        site: str,
        camera: str,
        role: Role,
        from_us: int,
        to_us: int,
        *,
        operator: str,
        reason: str = "",
        timeout_s: float = REPLY_TIMEOUT_S,
    ) -> Coverage:
        """What the box has recorded between two moments, and why not the rest. Raises as `command`."""
        stream, opener = self._hearing.stream(site, camera, role), self._opener(site)
        found = Coverage(from_us, from_us, (), ())
        for _ in range(MAX_COVERAGE_REPLIES):
            args: dict[str, JsonValue] = {
                "camera": camera, "role": role.value, "from_us": found.to_us, "to_us": to_us,
            }  # fmt: skip
            reply, _s = self._orders.carry_out(site, "ring.coverage", args, operator, reason, timeout_s)
            now_us = messages.wall_us(reply.ts)
            found = found.then(read_coverage(reply.data.result, found.to_us, now_us, stream, opener))
            if not found.from_us < found.to_us < to_us:
                return found
        return found  # a camera that flaps for weeks: `to_us` says how far it was told

    def playback(
        self,
        site: str,
        camera: str,
        role: Role,
        from_us: int,
        to_us: int,
        *,
        speed: float | None = 1.0,
        operator: str,
        reason: str = "",
        timeout_s: float = REPLY_TIMEOUT_S,
        keep: Callable[[Record], None] | None = None,
    ) -> PlaybackStream:
        """Play recorded footage: at `speed`, or with None as fast as the link gives. Close it when done.

        It begins at the keyframe at or before `from_us`. `keep` gets every record as it was sealed, and
        the box's proofs with them (`PlaybackReceiver`). Raises as `command`.
        """
        stream = self._hearing.stream(site, camera, role)
        self._link.subscribe(topics.media_filter(site, kind=MediaKind.PLAYBACK), 1)
        args: dict[str, JsonValue] = {
            "camera": camera, "role": role.value, "from_us": from_us, "to_us": to_us, "speed": speed,
            **({"proofs": True} if keep is not None else {}),
        }  # fmt: skip
        asked_s = time.monotonic()
        ordered = self._orders.begin(site, "playback.start", args, operator, reason)
        try:
            reply, _s = ordered.wait(BEGUN, timeout_s)
            started = _started(reply)
        except UplinkError:
            ordered.forget()
            raise

        def command(op: str, args: dict[str, JsonValue]) -> Reply:
            return self._orders.carry_out(site, op, args, operator, reason, timeout_s)[0]

        def send(op: str, args: dict[str, JsonValue]) -> None:
            self._orders.send(site, op, args, operator, reason)

        receiver = PlaybackReceiver(started, role, self._opener(site), stream, from_us, to_us, keep)
        asked = Asked(from_us, to_us, asked_s, messages.wall_us(reply.ts))
        playback = PlaybackStream(receiver, started, asked, ordered, command, send)
        self._media.attach(started.session, playback)
        playback.on_close(lambda: self._media.detach(started.session, playback))
        return playback

    def media(self, site: str, kind: MediaKind) -> MediaRouter:
        """Hear a site's acknowledged media of one kind; attach to what it returns. Raises UplinkError."""
        self._link.subscribe(topics.media_filter(site, kind=kind), 1)
        return self._media

    @property
    def dropped(self) -> int:
        """Messages that a full queue here has dropped since the start."""
        return self._link.dropped + self._media.dropped

    def _replied(self, reply: Reply) -> None:
        self._orders.hear(reply)

    def _opener(self, site: str) -> Opener:
        public = self._boxes.public_key(site)
        if public is None:
            raise SealError(f"site {site} is not enrolled here")
        settings = self._settings
        return Opener(settings.recipient_id, settings.recipient_key, public, self._rewrapped(site))


def _started(reply: Reply) -> LiveStarted:
    try:
        return _STARTED.validate_python(reply.data.result, strict=False)
    except ValidationError as error:
        raise UplinkError(f"the reply to {reply.data.op} names no session") from error
