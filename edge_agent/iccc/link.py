"""One MQTT 5 connection of the command centre: paho behind a bounded queue and a thread of our own.

paho's callbacks only enqueue: an exception in one would end paho's loop while it still calls itself
connected. The handlers run in the link's own thread, in order of arrival.
"""

from __future__ import annotations

import logging
import queue
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import urlsplit

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.errors import UplinkError

log = logging.getLogger(__name__)

QUEUE_MESSAGES = 8192
KEEPALIVE_S = 20
RETRY_S = (1, 5)
UNDER_WAY = 64  # messages that a broker sends ahead of our acknowledgements
_WAIT_S = 0.5


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files; the certificate's common name is the client id."""

    ca: Path
    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Raises UplinkError that names the file which cannot be used."""
        try:
            context = ssl.create_default_context(cafile=str(self.ca))
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise UplinkError(f"TLS files {self.ca}, {self.certificate}: {error}") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message as the broker gave it. `receipt` is for its acknowledgement: connection and packet id."""

    topic: str
    payload: bytes
    retained: bool
    receipt: tuple[int, int] = (0, 0)


class BrokerLink:
    """Connects, reconnects, resubscribes. `heard` and `changed` are called in the link's own thread, or in
    the thread of an owner that calls `open` and `turn` instead of `start`.

    A full queue drops what arrives, media first to suffer, and counts it in `dropped`. With `session_s` the
    broker keeps what arrives while we are away, and a QoS 1 message is acknowledged only after `heard` has
    returned: one that was being handled when the process died comes again.
    """

    def __init__(
        self,
        broker: str,
        tls: TlsFiles,
        client_id: str,
        heard: Callable[[Arrived], None],
        changed: Callable[[bool, str], None],
        *,
        session_s: int = 0,
    ) -> None:
        parts = urlsplit(broker)
        if parts.scheme != "mqtts" or not parts.hostname:
            raise UplinkError(f"broker {broker!r} is not mqtts://host[:port]")
        self._address = (parts.hostname, parts.port or 8883)
        self._heard, self._changed = heard, changed
        self._queue: queue.Queue[Arrived | tuple[bool, str]] = queue.Queue(QUEUE_MESSAGES)
        self._lock = Lock()
        self._filters: dict[str, int] = {}
        self._acknowledged: dict[int, Event] = {}
        self._stop = Event()
        self._session_s = session_s
        self._connection = 0
        self.connected = False
        self.dropped = 0
        self._thread = Thread(target=self._run, name=f"iccc-link-{client_id}", daemon=True)
        self._client = self._make_client(client_id, tls)

    def start(self) -> None:
        """Begin to connect; returns at once and keeps trying until `stop`."""
        self._thread.start()
        self.open()

    def open(self) -> None:
        """As `start`, without a thread of our own: the caller must `turn`."""
        self._client.connect_async(
            *self._address,
            keepalive=KEEPALIVE_S,
            clean_start=not self._session_s,
            properties=_session(self._session_s),
        )
        self._client.loop_start()

    def turn(self, wait_s: float = _WAIT_S) -> None:
        """Handle one thing that happened, or return after `wait_s`."""
        try:
            item = self._queue.get(timeout=wait_s)
        except queue.Empty:
            return
        if isinstance(item, Arrived):
            self._heard(item)
            self._acknowledge(item)
        else:
            self._changed(*item)

    def stop(self) -> None:
        self._stop.set()
        self._client.disconnect()
        self._client.loop_stop()
        if self._thread.is_alive():
            self._thread.join(5)

    def subscribe(self, topic_filter: str, qos: int, timeout_s: float = 5.0) -> None:
        """Subscribe now and after every reconnect. Returns once the broker has acknowledged.

        Not from a handler: it would wait for itself. Raises UplinkError when no answer comes in time.
        """
        with self._lock:
            self._filters[topic_filter] = qos
        if not self.connected:
            return  # on_connect subscribes to everything
        done = Event()
        with self._lock:
            code, message_id = self._client.subscribe([(topic_filter, SubscribeOptions(qos=qos))])
            if code == 0 and message_id is not None:
                self._acknowledged[message_id] = done
        if code != 0 or not done.wait(timeout_s):
            raise UplinkError(f"the broker did not acknowledge the subscription to {topic_filter}")

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Raises UplinkError while there is no connection: an order must not run minutes later."""
        if not self.connected:
            raise UplinkError("no connection to the broker")
        self._client.publish(topic, payload, qos=qos, retain=retain)

    def _make_client(self, client_id: str, tls: TlsFiles) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            manual_ack=bool(self._session_s),
        )
        client.suppress_exceptions = True
        client.tls_set_context(tls.context())
        client.reconnect_delay_set(*RETRY_S)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        client.on_socket_open = _without_delay
        return client

    def _run(self) -> None:
        while not self._stop.is_set():
            self.turn()

    def _acknowledge(self, arrived: Arrived) -> None:
        """Packet ids belong to a connection: what came over an earlier one comes again over this one."""
        connection, packet = arrived.receipt
        if self._session_s and packet and connection == self._connection:
            self._client.ack(packet, 1)

    def _put(self, item: Arrived | tuple[bool, str]) -> None:
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self.dropped += 1

    def _on_connect(
        self, client: Client, _data: object, _flags: object, code: ReasonCode, _properties: Properties | None
    ) -> None:
        if code.is_failure:
            self._put((False, f"the broker refused: {code}"))
            return
        with self._lock:
            filters = [(f, SubscribeOptions(qos=q)) for f, q in self._filters.items()]
            self._acknowledged.clear()
            self._connection += 1
            if filters:
                client.subscribe(filters)
            self.connected = True
        self._put((True, "connected"))

    def _on_disconnect(
        self, _client: Client, _data: object, _flags: object, code: ReasonCode, _properties: Properties | None
    ) -> None:
        self.connected = False
        self._put((False, str(code)))

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        receipt = (self._connection, message.mid if message.qos else 0)
        self._put(Arrived(message.topic, bytes(message.payload), bool(message.retain), receipt))

    def _on_subscribe(
        self, _client: Client, _data: object, message_id: int, _codes: object, _properties: Properties | None
    ) -> None:
        with self._lock:
            done = self._acknowledged.pop(message_id, None)
        if done is not None:
            done.set()


def _session(keep_s: int) -> Properties | None:
    if not keep_s:
        return None
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = keep_s
    properties.ReceiveMaximum = UNDER_WAY
    return properties


def _without_delay(_client: Client, _data: object, raw: Any) -> None:
    """Without TCP_NODELAY a small command waits for the acknowledgement of the one before it."""
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
