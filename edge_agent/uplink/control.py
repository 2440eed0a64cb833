"""The control connection: births, heartbeats, events, replies and snapshots up; signed commands down.

One worker thread drives the link and verifies commands; any thread may hand something down to be sent.
Nothing blocks: what does not fit is dropped by the outbox's rules and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Lock
from typing import Protocol

from edge_agent import deflate
from edge_agent.clock import Clock
from edge_agent.errors import FormatError
from edge_agent.events import Inbox
from edge_agent.seal.record import Record
from edge_agent.supervisor import Beat
from edge_agent.uplink import parts, topics, ulid
from edge_agent.uplink.commands import Code, CommandVerifier, Refusal
from edge_agent.uplink.facts import (
    CommandArrived,
    CommandRefused,
    LeavesArrived,
    LeavesWanted,
    LinkDown,
    LinkUp,
    MessageRefused,
    PolicyArrived,
    WitnessNoteArrived,
)
from edge_agent.uplink.link import Broker, Limits, Link, Outgoing
from edge_agent.uplink.messages import (
    BirthData,
    EventData,
    HeartbeatData,
    Liveness,
    Message,
    ReplyData,
    StateData,
    encode,
)
from edge_agent.uplink.outbox import Lane, Outbox
from edge_agent.uplink.policy import MAX_POLICY
from edge_agent.uplink.stamper import Stamper
from edge_agent.uplink.topics import Down, Up

MAX_NOTE = 16 * 1024
MAX_LEAVES = 120 * 1024
MAX_BACKLOG_UNDER_WAY = 4  # of the window of 16: live words always find room
STRANGERS_PER_MINUTE = 6  # refusals of unsigned bytes that reach the owner; the rest are counted


class Backlog(Protocol):
    """Leaves of the ledger that the link sends when nothing else waits. Called in the link's thread."""

    def next_batch(self) -> bytes | None: ...

    def link_lost(self) -> None:
        """Whatever was handed out and is not cosigned must be handed out again."""
        ...


@dataclass(frozen=True, slots=True)
class ControlStats:
    """For `status`. `dropped` by lane; `unheard` counts refusals that did not reach the owner."""

    connected: bool
    session: str
    connects: int
    waiting: int
    dropped: dict[str, int]
    unheard: int


class ControlLink:
    """Worker `control`. `sign` puts the box's signature on births and replies."""

    name = "control"

    def __init__(
        self,
        *,
        site: str,
        link: Link,
        inbox: Inbox,
        clock: Clock,
        verifier: CommandVerifier,
        sign: Callable[[Message], bytes],
        groups: Sequence[str] = (),
        heartbeat_s: float = 60,
        backlog: Backlog | None = None,
    ) -> None:
        self._site = site
        self._link = link
        self._inbox = inbox
        self._clock = clock
        self._verifier = verifier
        self._sign = sign
        self._groups = tuple(groups)
        self._heartbeat_expiry_s = max(1, round(3 * heartbeat_s))
        self._backlog = backlog
        self._backlog_under_way: set[int] = set()
        self._lock = Lock()  # guards the outbox and the stamper, held for microseconds
        self._outbox = Outbox()
        self._stamper = Stamper(ulid.new(clock.now().wall_us))
        self._connected = False
        self._strangers: list[float] = []
        self._unheard = 0
        self._next_backlog_token = -1  # below zero: never a token of the outbox

    def run(self, stop: Event, beat: Beat) -> None:
        self._link.serve(self, stop, beat)

    def kick(self) -> None:
        """The network came up: try to connect now. Any thread."""
        self._link.kick()

    def wake(self) -> None:
        """The backlog has something to send. Any thread."""
        self._link.wake()

    @property
    def carried(self) -> int:
        """IP bytes so far, in both directions. Any thread."""
        return self._link.carried

    @property
    def session(self) -> str:
        return self._stamper.session

    def stats(self) -> ControlStats:
        with self._lock:
            dropped = {lane.name.lower(): n for lane, n in self._outbox.dropped.items() if n}
            waiting = self._outbox.waiting()
        return ControlStats(
            self._connected, self.session, self._link.connects, waiting, dropped, self._unheard
        )

    # Handed down by the owner, from any thread.

    def send_birth(self, data: BirthData) -> None:
        """Say who is here; retained and signed. Once after every `LinkUp`."""
        with self._lock:
            payload = self._sign(self._stamper.birth(data, self._clock.now()))
        self._put(Lane.PRESENCE, Outgoing(topics.up(self._site, Up.BIRTH), payload, retain=True))

    def send_heartbeat(self, data: HeartbeatData) -> None:
        """The newest heartbeat replaces one that still waits."""
        with self._lock:
            payload = deflate.squeeze(encode(self._stamper.heartbeat(data, self._clock.now())))
        topic = topics.up(self._site, Up.HEARTBEAT)
        self._put(Lane.HEARTBEAT, Outgoing(topic, payload, expiry_s=self._heartbeat_expiry_s))

    def send_event(self, data: EventData) -> None:
        with self._lock:
            payload = encode(self._stamper.event(data, self._clock.now()))
        self._put(Lane.EVENT, Outgoing(topics.up(self._site, Up.EVENT), payload))

    def send_reply(self, data: ReplyData) -> None:
        """Where a command stands; signed by the box."""
        with self._lock:
            payload = self._sign(self._stamper.reply(data, self._clock.now()))
        self._put(Lane.REPLY, Outgoing(topics.up(self._site, Up.REPLY), payload))

    def send_snapshot(self, camera: str, records: Sequence[Record]) -> bool:
        """The records of one still, laid end to end, in as few parts as fit. False when it was dropped."""
        session = ulid.to_bytes(ulid.new(self._clock.now().wall_us))
        raw = b"".join(record.raw for record in records)
        topic = topics.snapshot(self._site, camera)
        cut = parts.split(raw, session, 0, parts.MAX_PART)
        return self._put(Lane.SNAPSHOT, *(Outgoing(topic, payload) for payload in cut))

    def send_ledger(self, payload: bytes) -> bool:
        """One batch of leaves; not sent again by itself when the connection is lost."""
        return self._put(Lane.LEDGER, Outgoing(topics.up(self._site, Up.LEDGER), payload))

    # Called by the link, in its thread.

    def connecting(self) -> Outgoing:
        """Every connection has a new nonce: a command queued for the last one must not run in this one."""
        now = self._clock.now()
        with self._lock:
            self._stamper = Stamper(ulid.new(now.wall_us))
        return self._state(Liveness.OFFLINE, "connection lost")

    def subscriptions(self) -> list[tuple[str, int]]:
        """The witness note is retained, the newest counts, and the next one comes within minutes: without
        acknowledgements it costs a fifth less."""
        heard = (Down.COMMAND, Down.WANT, Down.LEAVES, Down.CONFIG)
        mine = [topics.down(self._site, leaf) for leaf in heard]
        surely = mine + [topics.group_command(group) for group in self._groups]
        return [(topics.down(self._site, Down.WITNESS), 0), *((topic, 1) for topic in surely)]

    def link_up(self, broker: Broker, limits: Limits) -> None:
        online = self._state(Liveness.ONLINE, "")
        with self._lock:
            self._outbox.requeue()
            self._outbox.forget(Lane.PRESENCE)
            self._outbox.put(Lane.PRESENCE, [online])
        self._forget_backlog()
        self._connected = True
        self._inbox.put(LinkUp(self._clock.now(), self.session, str(broker)))

    def link_down(self, reason: str, code: int | None) -> None:
        self._connected = False
        with self._lock:
            self._outbox.requeue()
        self._forget_backlog()
        self._inbox.put(LinkDown(self._clock.now(), reason, code))

    def next_message(self, *, window_open: bool, room: bool) -> Outgoing | None:
        if not window_open:
            return None
        with self._lock:
            message = self._outbox.take(urgent_only=not room)
        return message or (self._next_of_backlog() if room else None)

    def next_due(self) -> float | None:
        return None

    def acknowledged(self, token: int) -> None:
        if token < 0:
            self._backlog_under_way.discard(token)
            return
        with self._lock:
            self._outbox.settle(token)

    def refused(self, token: int, reason: str) -> None:
        if token < 0:
            self._backlog_under_way.discard(token)
            topic = topics.up(self._site, Up.LEDGER)
        else:
            with self._lock:
                message = self._outbox.settle(token)
            topic = message.topic if message else ""
        self._inbox.put(MessageRefused(self._clock.now(), topic, reason))

    def arrived(self, topic: str, payload: bytes, retained: bool) -> None:
        try:
            parsed = topics.parse(topic)
        except FormatError:
            return
        match parsed:
            case topics.GroupTopic():
                self._take_command(payload)
            case topics.DownTopic(leaf=Down.COMMAND):
                self._take_command(payload)
            case topics.DownTopic(leaf=Down.WITNESS) if 0 < len(payload) <= MAX_NOTE:  # empty: cleared
                self._inbox.put(WitnessNoteArrived(self._clock.now(), payload))
            case topics.DownTopic(leaf=Down.WANT) if len(payload) <= MAX_NOTE:
                self._inbox.put(LeavesWanted(self._clock.now(), payload))
            case topics.DownTopic(leaf=Down.LEAVES) if len(payload) <= MAX_LEAVES:
                self._inbox.put(LeavesArrived(self._clock.now(), payload))
            case topics.DownTopic(leaf=Down.CONFIG) if len(payload) <= MAX_POLICY:
                self._inbox.put(PolicyArrived(self._clock.now(), payload))

    def farewell(self) -> Outgoing:
        return self._state(Liveness.OFFLINE, "stopped")

    def _state(self, state: Liveness, cause: str) -> Outgoing:
        with self._lock:
            message = self._stamper.state(StateData(state=state, cause=cause), self._clock.now())
        return Outgoing(topics.up(self._site, Up.STATE), encode(message), retain=True)

    def _put(self, lane: Lane, *messages: Outgoing) -> bool:
        with self._lock:
            taken = self._outbox.put(lane, messages)
        self._link.wake()
        return taken

    def _next_of_backlog(self) -> Outgoing | None:
        if self._backlog is None or len(self._backlog_under_way) >= MAX_BACKLOG_UNDER_WAY:
            return None
        batch = self._backlog.next_batch()
        if batch is None:
            return None
        token, self._next_backlog_token = self._next_backlog_token, self._next_backlog_token - 1
        self._backlog_under_way.add(token)
        return Outgoing(topics.up(self._site, Up.LEDGER), batch, token=token)

    def _forget_backlog(self) -> None:
        self._backlog_under_way.clear()
        if self._backlog is not None:
            self._backlog.link_lost()

    def _take_command(self, payload: bytes) -> None:
        now = self._clock.now()
        try:
            command = self._verifier.verify(payload, session=self.session, now=now)
        except Refusal as refusal:
            self._report(refusal)
            return
        self._inbox.put(CommandArrived(now, command))

    def _report(self, refusal: Refusal) -> None:
        """Whoever can publish to us must not be able to flood the owner or the ledger with nonsense."""
        if refusal.code in (Code.MALFORMED, Code.UNKNOWN_KID, Code.BAD_SIGNATURE) and not refusal.kid:
            now = self._clock.monotonic()
            self._strangers = [t for t in self._strangers if now - t < 60]
            if len(self._strangers) >= STRANGERS_PER_MINUTE:
                self._unheard += 1
                return
            self._strangers.append(now)
        self._inbox.put(
            CommandRefused(
                self._clock.now(),
                refusal.code,
                str(refusal),
                refusal.kid,
                refusal.operator,
                refusal.op,
                refusal.command_id,
            )
        )
