"""What the uplink's tests run against: a command centre's plain client, a wire that breaks, a box."""

from __future__ import annotations

import queue
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Event, Thread
from typing import TypeVar

import paho.mqtt.client as paho
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_agent.clock import SystemClock
from edge_agent.demo.pki import Pki
from edge_agent.events import BoundedInbox, Fact
from edge_agent.model import ClockTrust
from edge_agent.seal.record import Flag, Header, Kind, Record, build_record, parse_record
from edge_agent.tap import Tap
from edge_agent.uplink import ulid
from edge_agent.uplink.commands import Command, CommandRole, CommandVerifier, TrustedKey, sign_command
from edge_agent.uplink.control import ControlLink
from edge_agent.uplink.facts import LinkUp
from edge_agent.uplink.link import Broker, Link, LinkSettings
from edge_agent.uplink.media import MediaLink
from edge_agent.uplink.messages import sign_message
from edge_agent.uplink.mqtt import MqttConnection
from edge_agent.uplink.parts import Reassembler

SITE = "pump-17"
CENTER = "iccc-test"
ONE, TWO, THREE = (ulid.from_bytes(bytes([n] * 16)) for n in (1, 2, 3))  # leases
F = TypeVar("F", bound=Fact)


def until(condition: Callable[[], object], timeout_s: float = 8.0) -> None:
    """Wait for what another thread or process does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("did not happen in time")
        time.sleep(0.005)


@contextmanager
def running(worker: ControlLink | MediaLink) -> Iterator[Event]:
    """Run a worker as the supervisor does, and stop it."""
    stop, failed = Event(), []

    def body() -> None:
        try:
            worker.run(stop, lambda: None)
        except BaseException as error:  # shown by the test, not by the interpreter's hook
            failed.append(error)

    thread = Thread(target=body, daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        worker._link.wake()  # else it notices within half a second: too long for so many tests
        thread.join(5)
    assert not failed, failed
    assert not thread.is_alive()


class Facts(BoundedInbox):
    def wait(self, kind: type[F], timeout_s: float = 8.0) -> F:
        """The next fact of this kind; others before it are passed over."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            fact = self.take(left)
            if isinstance(fact, kind):
                return fact
        raise AssertionError(f"no {kind.__name__}")

    def none(self, kind: type[Fact], for_s: float = 0.3) -> bool:
        deadline = time.monotonic() + for_s
        while (left := deadline - time.monotonic()) > 0:
            if isinstance(self.take(left), kind):
                return False
        return True


class Center:
    """A plain MQTT client with a command centre's certificate, or with anybody's."""

    def __init__(self, port: int, context: ssl.SSLContext, name: str, *filters: str) -> None:
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.reasons: dict[int, int] = {}
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.tls_set_context(context)
        self._client.on_socket_open = lambda _c, _u, s: s.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        self._client.on_message = lambda _c, _u, message: self.messages.put(message)
        self._client.on_publish = lambda _c, _u, mid, reason, _p: self.reasons.update({mid: reason.value})
        subscribed = Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        until(self._client.is_connected)
        if filters:
            self._client.subscribe([(f, 1) for f in filters])
            assert subscribed.wait(5)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """The PUBACK's reason code."""
        info = self._client.publish(topic, payload, 1, retain)
        until(lambda: info.mid in self.reasons)
        return self.reasons[info.mid]

    def wait(self, suffix: str, timeout_s: float = 8.0) -> paho.MQTTMessage:
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                message = self.messages.get(timeout=left)
            except queue.Empty:
                break
            if message.topic.endswith(suffix):
                return message
        raise AssertionError(f"nothing on {suffix}")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Wire:
    """A TCP wire to the broker that can be cut, or held so that nothing passes and nobody is told."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._open = Event()
        self._open.set()
        Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._open.set()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            self._ends += [near, far]
            for source, sink in ((near, far), (far, near)):
                Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._open.wait()
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            if end is source:
                end.close()


class Box:
    """A box's control link with its keys."""

    def __init__(self, pki: Pki, port: int, **settings: object) -> None:
        identity = pki.client(SITE)
        self.clock = SystemClock(lambda: ClockTrust.NTP)
        self.key = Ed25519PrivateKey.generate()
        self.operator = Ed25519PrivateKey.generate()
        self.inbox = Facts()
        self.settings = LinkSettings(
            (Broker("127.0.0.1", port),), SITE, pki.ca, identity.certificate, identity.key,
            **{"session_expiry_s": 3600, "will_delay_s": 0, **settings},  # type: ignore[arg-type]
        )  # fmt: skip
        self.link = Link(self.settings, self.clock, MqttConnection)
        trusted = {"op-1": TrustedKey(CommandRole.OPERATOR, self.operator.public_key())}
        self.control = ControlLink(
            site=SITE,
            link=self.link,
            inbox=self.inbox,
            clock=self.clock,
            verifier=CommandVerifier(trusted, SITE, frozenset({"pumps"})),
            sign=partial(sign_message, self.key, "box"),
            groups=["pumps"],
        )

    def connected(self) -> LinkUp:
        return self.inbox.wait(LinkUp)

    def command(self, nonce: str, **changes: object) -> Command:
        now_s = self.clock.now().wall_us // 1_000_000
        fields: dict[str, object] = {
            "id": ulid.new(self.clock.now().wall_us), "site": SITE, "session": nonce, "op": "snapshot",
            "args": {"camera": "cam-01"}, "operator": "asha", "reason": "check",
            "iat": now_s, "exp": now_s + 60,
        }  # fmt: skip
        return Command.model_validate({**fields, **changes})

    def signed(self, nonce: str, **changes: object) -> bytes:
        return sign_command(self.operator, "op-1", self.command(nonce, **changes))


def records(count: int, *, size: int = 3000, gop: int = 10, epoch: bytes = b"e" * 16) -> list[Record]:
    """Key, init and `count` fragments of 0.2 s; a keyframe every `gop`."""

    def build(kind: Kind, number: int, body: bytes, flags: Flag = Flag.NONE) -> Record:
        at_us = 1_790_000_000_000_000 + max(0, number - 2) * 200_000
        header = Header(
            kind, b"s" * 16, epoch, number, len(body), len(body), at_us, number, b"b" * 16, bytes(32),
            flags, duration_us=200_000 if kind is Kind.FRAGMENT else 0,
        )  # fmt: skip
        return build_record(header, body)

    head = [build(Kind.KEY, 0, b"key"), build(Kind.INIT, 1, b"init")]
    return head + [
        build(Kind.FRAGMENT, 2 + i, bytes([i % 256]) * size, Flag.NONE if i % gop else Flag.KEYFRAME)
        for i in range(count)
    ]


def feed(tap: Tap[Record], some: list[Record]) -> None:
    """Publish as the capture thread does."""
    head = [r for r in some if r.header.kind is not Kind.FRAGMENT]
    if head:
        tap.begin_epoch(*head)
    for record in some[len(head) :]:
        tap.publish(record, len(record.raw), keyframe=record.header.keyframe)


class Viewer:
    """Collects the records of one media session from a command centre's client."""

    def __init__(self, center: Center, session: str) -> None:
        self._center = center
        self._session = session
        self._parts = Reassembler(ulid.to_bytes(session))

    def next(self, timeout_s: float = 8.0) -> Record:
        while True:
            message = self._center.messages.get(timeout=timeout_s)
            if self._session not in message.topic:
                continue
            raw = self._parts.receive(message.payload)
            if raw is not None:
                return parse_record(raw)

    def take(self, count: int) -> list[Record]:
        return [self.next() for _ in range(count)]
