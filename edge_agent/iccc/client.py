"""The command centre's client library: hears every site, sends signed commands, opens footage.

    client = IcccClient(settings, boxes)
    client.start()
    reply = client.command("pump-17", "snapshot", {"camera": "cam-01"}, operator="asha", reason="call 4711")
    with client.live("pump-17", "cam-01", Role.SUB, operator="asha", reason="call 4711") as live:
        for item in live: ...

Calls may come from any thread but the link's own (a listener must not wait for a reply).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Condition, Lock

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import JsonValue, TypeAdapter, ValidationError

from edge_agent.errors import EdgeAgentError, FormatError, SealError, UplinkError
from edge_agent.iccc.belief import Boxes, Still, StillParts, believe, open_still
from edge_agent.iccc.coverage import Coverage, read_coverage
from edge_agent.iccc.link import Arrived, BrokerLink, TlsFiles
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
from edge_agent.uplink.messages import LiveStarted, Message, Reply
from edge_agent.uplink.topics import MediaKind, MediaTopic, Up, UpTopic

log = logging.getLogger(__name__)

REPLY_TIMEOUT_S = 10.0
MAX_COVERAGE_REPLIES = 16
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


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that is believed."""

    site: str
    message: Message
    retained: bool


@dataclass(frozen=True, slots=True)
class StillHeard:
    site: str
    camera: str
    still: Still


@dataclass(frozen=True, slots=True)
class Disbelieved:
    """Something that came on a site's topic and is not believed; `why` is for the log and the operator."""

    site: str
    topic: str
    why: str


@dataclass(frozen=True, slots=True)
class LinkChanged:
    up: bool
    reason: str


Fact = Heard | StillHeard | Disbelieved | LinkChanged
Listener = Callable[[Fact], None]
Rewrapped = Callable[[str], Mapping[bytes, Wrap]]
RawListener = Callable[[UpTopic | MediaTopic, bytes], None]


class IcccClient:
    """One worker of the command centre. Opens nothing until `start`; `stop` ends its threads."""

    def __init__(self, settings: ClientSettings, boxes: Boxes, rewrapped: Rewrapped | None = None) -> None:
        """`rewrapped`: of a site, the keys that a hold sealed again to `settings.recipient_id`."""
        self._settings = settings
        self._rewrapped = rewrapped or (lambda _site: {})
        self._boxes = boxes
        self._lock = Lock()
        self._pictured = Condition(self._lock)
        self._births: dict[str, messages.Birth] = {}
        self._stills: dict[str, StillParts] = {}
        self._listeners: tuple[Listener, ...] = ()
        self._raw_listeners: tuple[RawListener, ...] = ()
        self._media = MediaRouter()
        self._link = BrokerLink(
            settings.broker, settings.tls, settings.client_id, self._arrived, self._link_changed
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
        self._listeners = (*self._listeners, listener)

    def listen_raw(self, listener: RawListener) -> None:
        """Hear the exact bytes of every message of a site, believed or not: what the mirror stores."""
        self._raw_listeners = (*self._raw_listeners, listener)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """For `dn/witness`, `dn/want` and `dn/config`. Raises UplinkError without a connection."""
        self._link.publish(topic, payload, retain=retain)

    def birth(self, site: str) -> messages.Birth | None:
        """The newest believed birth: who the site is, its cameras and its session."""
        with self._lock:
            return self._births.get(site)

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

        def keep(fact: Fact) -> None:
            if isinstance(fact, StillHeard) and (fact.site, fact.camera) == (site, camera):
                with self._pictured:
                    taken.append(fact.still)
                    self._pictured.notify_all()

        self._add(keep)
        try:
            deadline = time.monotonic() + timeout_s
            args: dict[str, JsonValue] = {"camera": camera}
            self._orders.carry_out(site, "snapshot", args, operator, reason, timeout_s)
            with self._pictured:
                if not self._pictured.wait_for(lambda: taken, max(0.1, deadline - time.monotonic())):
                    raise UplinkError(f"{site}/{camera}: the box said done, but no picture came")
                return taken[-1]
        finally:
            self._remove(keep)

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
        receiver = LiveReceiver(
            started, Anchor(reply.mono * 1_000_000, arrived_s), served, self._opener(site),
            self._stream_id(site, camera, served), self._streams(site, camera),
        )  # fmt: skip

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
        stream, opener = self._known_stream(site, camera, role), self._opener(site)
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
        stream = self._known_stream(site, camera, role)
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

    # --- hearing, in the link's thread ---------------------------------------------------------------

    def _arrived(self, arrived: Arrived) -> None:
        try:
            topic = topics.parse(arrived.topic)
        except FormatError as error:
            self._tell(Disbelieved("", arrived.topic, str(error)))
            return
        for raw in self._raw_listeners:
            if isinstance(topic, UpTopic | MediaTopic):
                raw(topic, arrived.payload)
        if isinstance(topic, MediaTopic):
            self._media.take(topic.session, arrived.payload)
        elif isinstance(topic, UpTopic):
            self._hear(topic, arrived)

    def _hear(self, topic: UpTopic, arrived: Arrived) -> None:
        try:
            if topic.leaf is Up.SNAPSHOT and topic.camera:
                self._hear_still(topic.site, topic.camera, arrived.payload)
            elif topic.leaf is not Up.LEDGER:
                self._hear_message(topic, arrived)
        except EdgeAgentError as error:
            self._tell(Disbelieved(topic.site, arrived.topic, str(error)))

    def _hear_message(self, topic: UpTopic, arrived: Arrived) -> None:
        message = believe(topic, arrived.payload, self._boxes)
        if isinstance(message, messages.Birth):
            with self._lock:
                self._births[topic.site] = message
        elif isinstance(message, Reply):
            self._orders.hear(message)
        self._tell(Heard(topic.site, message, arrived.retained))

    def _hear_still(self, site: str, camera: str, payload: bytes) -> None:
        whole = self._stills.setdefault(site, StillParts()).receive(camera, payload)
        if whole is not None:
            self._tell(StillHeard(site, camera, open_still(whole, self._opener(site))))

    def _link_changed(self, up: bool, reason: str) -> None:
        self._tell(LinkChanged(up, reason))

    def _tell(self, fact: Fact) -> None:
        for listener in self._listeners:
            listener(fact)

    def _add(self, listener: Listener) -> None:
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def _remove(self, listener: Listener) -> None:
        with self._lock:
            self._listeners = tuple(known for known in self._listeners if known is not listener)

    def _opener(self, site: str) -> Opener:
        public = self._boxes.public_key(site)
        if public is None:
            raise SealError(f"site {site} is not enrolled here")
        settings = self._settings
        return Opener(settings.recipient_id, settings.recipient_key, public, self._rewrapped(site))

    def _known_stream(self, site: str, camera: str, role: Role) -> bytes:
        """Recorded footage is believed of a stream that the signed birth names, and of no other."""
        if self.birth(site) is None:
            raise UplinkError(f"site {site} has not reported yet")
        stream = self._stream_id(site, camera, role)
        if stream is None:
            raise UplinkError(f"{site}: {camera} has no {role.value} stream")
        return stream

    def _stream_id(self, site: str, camera: str, role: Role) -> bytes | None:
        named = {named: stream for stream, named in self._streams(site, camera).items()}
        return named.get(role)

    def _streams(self, site: str, camera: str) -> dict[bytes, Role]:
        """What the signed birth names as the camera's streams."""
        birth = self.birth(site)
        infos = birth.data.cameras if birth else ()
        named = next((info.streams for info in infos if info.id == camera), {})
        return {bytes.fromhex(stream): role for role, stream in named.items()}


def _started(reply: Reply) -> LiveStarted:
    try:
        return _STARTED.validate_python(reply.data.result, strict=False)
    except ValidationError as error:
        raise UplinkError(f"the reply to {reply.data.op} names no session") from error
