"""Measures a line with short MQTT connections under the media certificate's name.

The control connection of a running agent keeps its own name and is never evicted. When a viewer comes
meanwhile, the agent's media connection evicts ours, and the measurement ends: `ViewerCame`.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from edge_agent.clock import Clock
from edge_agent.errors import UplinkError
from edge_agent.model import Role
from edge_agent.uplink import topics, ulid
from edge_agent.uplink.link import Broker, Limits, LinkLost, LinkSettings, Outgoing, Waker
from edge_agent.uplink.mqtt import MqttConnection
from edge_agent.uplink.probe_judge import Goodput, Idle
from edge_agent.uplink.probe_reach import STEP_S, ProbeFailed

ANSWER_S = 8.0  # a PUBACK that takes longer is none
TAKEN_OVER = 0x8E
REFUSALS = frozenset({0x80, 0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C})
IDLE_KEEPALIVE_S = 600  # no ping of the library's may spoil a pause
PART_BYTES = 16 * 1024
EXPIRY_S = 1  # nobody shall find our filling later
WARM_UP = 0.25  # of the bytes: TCP is still finding out how fast it may be

HALF_DEAD = "a half-dead line: restart the modem, look at signal and antenna, test another line"
CUT = "the broker or a firewall in between cut it: ask the command centre for its log; measure again"
REFUSED = "compare `openssl x509 -noout -subject -in CERTIFICATE` with site.id; was the certificate revoked?"
ACL = "the command centre must add the access rules for media (docs/broker/acl) to its broker"


class ViewerCame(UplinkError):
    """The agent needed the media connection, whose name we used."""


@dataclass(slots=True)
class Talk:
    """The owner of one connection: says nothing by itself, keeps what was answered. See `link.Owner`."""

    answered: set[int] = field(default_factory=set)
    refusal: str = ""

    def connecting(self) -> Outgoing | None:
        return None

    def subscriptions(self) -> Sequence[tuple[str, int]]:
        return ()

    def link_up(self, broker: Broker, limits: Limits) -> None: ...
    def link_down(self, reason: str, code: int | None) -> None: ...
    def arrived(self, topic: str, payload: bytes, retained: bool) -> None: ...

    def acknowledged(self, token: int) -> None:
        self.answered.add(token)

    def refused(self, token: int, reason: str) -> None:
        self.answered.add(token)
        self.refusal = reason

    def next_message(self, *, window_open: bool, room: bool) -> Outgoing | None:
        return None

    def next_due(self) -> float | None:
        return None

    def farewell(self) -> Outgoing | None:
        return None


class Measured(MqttConnection):
    """A connection that also tells what the kernel counted on it."""

    def segments(self) -> Segments:
        sock: Any = self._client.socket()
        try:
            info: bytes = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256) if sock else b""
        except OSError:
            info = b""
        return parse_segments(info)


class Probe:
    """One open connection, for one thread. Every method ends.

    Raises ProbeFailed for what the technician can cure, ViewerCame when the agent took its name back.
    """

    def __init__(self, site: str, connection: Measured, talk: Talk, clock: Clock) -> None:
        session = ulid.new(clock.now().wall_us)
        self._topic = topics.media(site, session, topics.MediaKind.CLIP, "doctor", Role.MAIN)
        self._connection = connection
        self._talk = talk
        self._clock = clock
        self._token = 0

    def round_trips(self, count: int) -> list[float]:
        """Seconds until each of `count` small messages was acknowledged."""
        with _explained("round trip"):
            return [self.ask() for _ in range(count)]

    def goodput(self, seconds: float, budget_bytes: int, kbps: float | None = None) -> Goodput:
        """Fill the line as gently as live video would, for so long or until the budget is spent.

        With `kbps` no more than that: what is lost then is not lost in a queue that we filled.
        """
        before, sent = self._connection.segments(), 0
        samples = [(self._clock.monotonic(), before.acknowledged)]
        ends = samples[0][0] + seconds
        with _explained("goodput"):
            while self._clock.monotonic() < ends:
                if sent >= budget_bytes and not self._connection.unacknowledged():
                    break
                room = budget_bytes
                if kbps is not None:
                    room = min(room, round((self._clock.monotonic() - samples[0][0]) * kbps * 125))
                while (filled := self._fill(room - sent)) > 0:
                    sent += filled
                self._connection.pump(0.005)
                self._check_refusal()
                self._sample(samples)
        after = self._connection.segments()
        return Goodput(_kbps(samples), sent, after.sent - before.sent, after.resent - before.resent)

    def pause(self, seconds: float) -> None:
        """Say nothing for so long, then ask whether anybody is still there. Raises LinkLost if not."""
        ends = self._clock.monotonic() + seconds
        while (left := ends - self._clock.monotonic()) > 0:
            self._connection.pump(min(left, 0.5))
        self.ask()

    def ask(self) -> float:
        """Seconds until one small message was acknowledged. Raises LinkLost."""
        began = self._clock.monotonic()
        token = self._publish(b"?")
        while token not in self._talk.answered:
            if self._clock.monotonic() - began > ANSWER_S:
                raise LinkLost(f"no acknowledgement for {ANSWER_S:.0f} s")
            self._connection.pump(0.2)
        self._check_refusal()
        return self._clock.monotonic() - began

    def _fill(self, left: int) -> int:
        if left <= 0 or not self._connection.ready_for(1) or self._connection.crowded():
            return 0
        self._publish(bytes(PART_BYTES))
        return PART_BYTES

    def _sample(self, samples: list[tuple[float, int]]) -> None:
        """Raises LinkLost when nothing was acknowledged for long."""
        now, acknowledged = self._clock.monotonic(), self._connection.segments().acknowledged
        if acknowledged > samples[-1][1]:
            samples.append((now, acknowledged))
        elif now - samples[-1][0] > ANSWER_S:
            raise LinkLost(f"the line went silent: no acknowledgement for {ANSWER_S:.0f} s")

    def _publish(self, payload: bytes) -> int:
        self._token += 1
        self._connection.publish(Outgoing(self._topic, payload, self._token, expiry_s=EXPIRY_S))
        return self._token

    def _check_refusal(self) -> None:
        if self._talk.refusal:
            where = "/".join(self._topic.split("/")[:3])
            raise ProbeFailed("broker", f"publishing under {where} is refused: {self._talk.refusal}", ACL)


@dataclass(frozen=True, slots=True)
class Segments:
    """The kernel's counters of one connection: bytes acknowledged, segments with data sent and sent again."""

    acknowledged: int
    sent: int
    resent: int


def parse_segments(info: bytes) -> Segments:
    """Linux `struct tcp_info` (linux/tcp.h, since 4.6); all zero where it is shorter."""
    if len(info) < 160:
        return Segments(0, 0, 0)
    (resent,) = struct.unpack_from("=I", info, 100)
    (acknowledged,) = struct.unpack_from("=Q", info, 120)
    (sent,) = struct.unpack_from("=I", info, 156)
    return Segments(acknowledged, sent, resent)


@contextmanager
def probing(site: str, settings: LinkSettings, broker: Broker, clock: Clock) -> Iterator[Probe]:
    """Connect as `settings.client_id`, which must be the media certificate's name."""
    quiet = replace(
        settings,
        keepalive_s=IDLE_KEEPALIVE_S,
        connect_timeout_s=STEP_S,
        ack_timeout_s=2 * ANSWER_S,
        gentle=True,
    )
    talk, waker = Talk(), Waker()
    connection = Measured(quiet, broker, talk, clock, waker)
    try:
        with _explained("broker"):
            connection.open()
        yield Probe(site, connection, talk, clock)
    finally:
        connection.close()
        waker.close()


def idle_limit(
    connect: Callable[[], AbstractContextManager[Probe]],
    pauses_s: Sequence[float],
    tell: Callable[[float], None],
) -> Idle:
    """Ever longer silence on one connection, until it is forgotten or the pauses are through.

    A second connection proves that the line itself lives. `tell` hears each pause before it begins.
    Raises ProbeFailed when the line is dead, ViewerCame.
    """
    survived = 0.0
    with connect() as probe:
        for pause_s in pauses_s:
            tell(pause_s)
            try:
                probe.pause(pause_s)
            except LinkLost as lost:
                _raise_if_taken(lost)
                break
            survived = pause_s
        else:
            return Idle(survived, None)
    with connect() as again:
        again.round_trips(1)
    return Idle(survived, pause_s)


@contextmanager
def _explained(step: str) -> Iterator[None]:
    """A lost connection in the technician's words."""
    try:
        yield
    except LinkLost as lost:
        _raise_if_taken(lost)
        raise ProbeFailed(step, str(lost), _cure(lost)) from lost


def _cure(lost: LinkLost) -> str:
    if lost.code in REFUSALS or "refuse" in str(lost):
        return REFUSED
    return CUT if "connection lost" in str(lost) or lost.code is not None else HALF_DEAD


def _raise_if_taken(lost: LinkLost) -> None:
    if lost.code == TAKEN_OVER:
        raise ViewerCame("somebody began to watch, and the agent needs its media connection") from lost


def _kbps(samples: Sequence[tuple[float, int]]) -> float:
    """Over what came after the warm-up; over everything when that was but one acknowledgement."""
    first, last = samples[0], samples[-1]
    warm = first[1] + (last[1] - first[1]) * WARM_UP
    begin = next((sample for sample in samples if sample[1] >= warm), first)
    if begin[0] >= last[0]:
        begin = first
    return (last[1] - begin[1]) * 8 / 1000 / max(last[0] - begin[0], 1e-3)
