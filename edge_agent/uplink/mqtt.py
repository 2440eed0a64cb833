"""One MQTT 5 connection over mutual TLS. The only module that knows paho.

The link's thread drives paho's socket itself, so every callback runs in that thread, an exception in one is
not lost, and there is no `select()` with its limit of 1024 files. A new client is made for each connection:
nothing of an old one can be sent twice. paho's own queues stay empty, but for the one packet that the
kernel has not taken yet and at most 16 unacknowledged QoS 1 messages.
"""

from __future__ import annotations

import contextlib
import selectors
import ssl
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.clock import Clock
from edge_agent.model import ClockTrust
from edge_agent.uplink.brokers import Broker
from edge_agent.uplink.flow import Flow
from edge_agent.uplink.link import Limits, LinkLost, LinkSettings, Outgoing, Owner, Waker
from edge_agent.uplink.sockets import (
    ClientContext,
    explain,
    retransmits,
    tcp_state,
    tune,
)
from edge_agent.uplink.sockets import tls_context as tls_context

WINDOW = 16  # unacknowledged QoS 1 messages in paho; what waits beyond that waits where it is durable
MAX_INCOMING = 128 * 1024
SYN_TIMEOUT_S = 4.0  # three SYN; a dead line is asked again sooner than a fourth would be
MOST_RETRANSMITS = 5  # in a row, some 31 first time-outs: 8 s at a round trip of 40 ms
MOST_ALIASES = 16  # topics that a connection names by a number once the broker has heard them
FAILURE = 0x80
PACKET_OVERHEAD = 64  # fixed header, packet id and properties of a PUBLISH, generously


class MqttConnection:
    """From CONNECT to the end, for one thread. See `link.Transport`."""

    def __init__(
        self, settings: LinkSettings, broker: Broker, owner: Owner, clock: Clock, waker: Waker
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._owner = owner
        self._clock = clock
        self._waker = waker
        self._selector = selectors.DefaultSelector()
        self._client = self._build_client()
        self._context: ClientContext | None = None
        self._limits: Limits | None = None
        self._ready = False
        self._lost: LinkLost | None = None
        self._flow = Flow()
        self._carried = 0
        self._under_way: dict[int, tuple[Outgoing, float]] = {}  # by paho's message id; when it left
        self._answered = 0.0  # last acknowledgement, or when the first unacknowledged message left
        self._proved = 0.0  # when the newest message left that was acknowledged
        self._aliases: dict[str, int] = {}
        self._known: set[str] = set()  # topics whose alias the broker has surely taken

    def open(self) -> Limits:
        """Connect, subscribe, and wait until the broker granted both. Blocks at most twice the timeout."""
        settings = self._settings
        deadline = self._clock.monotonic() + 2 * settings.connect_timeout_s
        self._leave_will()
        try:
            trusted = self._clock.now().trust > ClockTrust.NONE
            self._context = tls_context(settings, check_dates=trusted)
            self._client.tls_set_context(self._context)
            self._client.connect(
                self._broker.host,
                self._broker.port,
                settings.keepalive_s,
                clean_start=settings.session_expiry_s == 0,
                properties=_connect_properties(settings),
            )
        except (OSError, ValueError) as error:  # ssl.CertificateError is both
            raise LinkLost(explain(error), answered=self._answered_at_all(error)) from error
        self._selector.register(self._waker, selectors.EVENT_READ)
        while not self._ready:
            if self._clock.monotonic() > deadline:
                raise LinkLost("the broker does not answer CONNECT or SUBSCRIBE")
            self.pump(0.1)
        assert self._limits is not None
        return self._limits

    def ready_for(self, qos: int) -> bool:
        """The last packet has gone to the kernel, and for QoS 1 the broker's window is open."""
        if self._lost is not None or self._limits is None or self._client.want_write():
            return False
        return qos == 0 or len(self._under_way) < min(WINDOW, max(1, self._limits.receive_maximum - 2))

    def crowded(self) -> bool:
        sock = self._client.socket() if self._settings.gentle else None
        state = tcp_state(sock) if sock is not None else None
        if state is None:
            return False
        self._flow.observe(state, self._clock.monotonic())
        return state.outstanding >= self._flow.window(state)

    def publish(self, message: Outgoing) -> None:
        assert self._limits is not None
        size = len(message.payload) + len(message.topic) + PACKET_OVERHEAD
        if size > self._limits.max_packet:
            self._owner.refused(message.token, f"{size} bytes; the broker takes {self._limits.max_packet}")
            return
        alias = self._alias(message)
        topic = "" if message.topic in self._known else message.topic
        properties = _publish_properties(message, alias)
        info = self._client.publish(topic, message.payload, message.qos, message.retain, properties)
        if message.qos:
            now = self._clock.monotonic()
            if not self._under_way:
                self._answered = now
            self._under_way[info.mid] = message, now
        self._raise_if_lost()

    def pump(self, timeout_s: float) -> None:
        """Wait for the socket or the waker, then move what can be moved."""
        sock = self._client.socket()
        if sock is None:
            self._raise_if_lost()
            raise LinkLost("the connection was closed")
        wants = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._client.want_write() else 0)
        self._watch(sock, wants)
        for key, ready in self._selector.select(timeout_s):
            if key.fileobj is self._waker:
                self._waker.drain()
            elif ready & selectors.EVENT_READ:
                self._read()
        if self._client.want_write():
            self._client.loop_write()
        self._ping_if_due()
        self._raise_if_lost()
        self._check_liveness()

    def carried(self) -> int:
        sock = self._client.socket()
        state = tcp_state(sock) if sock is not None else None
        self._carried = state.carried if state is not None else self._carried
        return self._carried

    def unacknowledged(self) -> int:
        return len(self._under_way)

    def close(self) -> None:
        """DISCONNECT if there is still someone to hear it; then the last will is not published."""
        if self._client.is_connected() and self._lost is None:
            with contextlib.suppress(OSError, ValueError):
                self._client.disconnect()
        if self._context is not None and self._context.wrapped is not None:
            self._context.wrapped.close()
        self._selector.close()

    def _build_client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._settings.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = min(self._settings.connect_timeout_s, SYN_TIMEOUT_S)
        client.max_inflight_messages_set(WINDOW)
        client.on_socket_open = lambda _client, _userdata, sock: tune(sock)
        client.on_socket_close = self._on_socket_close
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        return client

    def _leave_will(self) -> None:
        will = self._owner.connecting()
        if will is not None:
            delay = _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=self._settings.will_delay_s)
            self._client.will_set(will.topic, will.payload, will.qos, will.retain, delay)

    def _watch(self, sock: Any, wants: int) -> None:
        known = self._selector.get_map().get(sock)
        if known is None:
            self._selector.register(sock, wants)
        elif known.events != wants:
            self._selector.modify(sock, wants)

    def _read(self) -> None:
        """Everything that arrived: TLS may hold decrypted bytes that `select` does not see."""
        while True:
            if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return
            sock = self._client.socket()
            if not isinstance(sock, ssl.SSLSocket) or not sock.pending():
                return

    def _answered_at_all(self, error: OSError | ValueError) -> bool:
        """Whether the broker's host said anything, were it no, or whether the line is what is missing."""
        unreached = self._context is not None and self._context.wrapped is None
        return not unreached or isinstance(error, ConnectionRefusedError)

    def _alias(self, message: Outgoing) -> int | None:
        """A number for the topic (MQTT 5, 3.3.2.3.4); alone it stands once a message with both was taken."""
        assert self._limits is not None
        free = len(self._aliases) < min(self._limits.aliases, MOST_ALIASES)
        if message.qos and free:
            return self._aliases.setdefault(message.topic, len(self._aliases) + 1)
        return self._aliases.get(message.topic)

    def _ping_if_due(self) -> None:
        """paho pings beside whatever traffic: it forgets that it wrote. An acknowledgement proves as much."""
        if self._clock.monotonic() - self._proved >= self._client.keepalive:
            self._client.loop_misc()

    def _check_liveness(self) -> None:
        """`is_connected()` says nothing about a peer that stopped answering; the missing PUBACK does.

        The kernel knows earlier. Its next attempt is by then further away than a new connection: a line that
        was dead for a minute would stay so for another.
        """
        if retransmits(self._client.socket()) >= MOST_RETRANSMITS:
            raise LinkLost("nothing gets through: the line, or a carrier that forgot us")
        waited = self._clock.monotonic() - self._answered
        if self._under_way and waited > self._settings.ack_timeout_s:
            raise LinkLost(f"no acknowledgement for {waited:.0f} s")

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            raise self._lost

    def _on_socket_close(self, _client: paho.Client, _userdata: object, sock: Any) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(sock)

    def _on_connect(
        self, client: paho.Client, _userdata: object, _flags: paho.ConnectFlags, reason: ReasonCode,
        said: Properties | None,
    ) -> None:  # fmt: skip
        if reason.is_failure:
            self._lost = LinkLost(f"refused: {reason}", reason.value, elsewhere=_elsewhere(said))
            return
        self._limits = Limits(
            max_packet=getattr(said, "MaximumPacketSize", 268_435_455),
            receive_maximum=getattr(said, "ReceiveMaximum", 65_535),
            aliases=getattr(said, "TopicAliasMaximum", 0),
        )
        wanted = self._owner.subscriptions()
        if not wanted:
            self._ready = True
            return
        client.subscribe([(topic, SubscribeOptions(qos=qos)) for topic, qos in wanted])

    def _on_subscribe(
        self, _client: paho.Client, _userdata: object, _mid: int, reasons: list[ReasonCode], _said: Properties
    ) -> None:
        refused = [r for r in reasons if r.value >= FAILURE]
        if refused:
            self._lost = LinkLost(f"subscription refused: {refused[0]}", refused[0].value)
        self._ready = not refused

    def _on_disconnect(
        self, _client: paho.Client, _userdata: object, flags: paho.DisconnectFlags, reason: ReasonCode,
        said: Properties | None,
    ) -> None:  # fmt: skip
        if self._lost is not None:
            return
        if flags.is_disconnect_packet_from_server:
            self._lost = LinkLost(
                f"the broker disconnected: {reason}", reason.value, elsewhere=_elsewhere(said)
            )
        elif self._limits is None:
            self._lost = LinkLost("closed before CONNACK; the broker may refuse our certificate")
        else:
            self._lost = LinkLost(f"connection lost: {reason}")

    def _on_publish(
        self, _client: paho.Client, _userdata: object, mid: int, reason: ReasonCode, _said: Properties
    ) -> None:
        """PUBACK. `is_published()` would be True for a denied message as well; the code is not."""
        known = self._under_way.pop(mid, None)
        if known is None:
            return
        message, self._proved = known
        self._answered = self._clock.monotonic()
        if reason.value >= FAILURE:
            self._owner.refused(message.token, str(reason))
            return
        if message.topic in self._aliases:
            self._known.add(message.topic)
        self._owner.acknowledged(message.token)

    def _on_message(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        self._owner.arrived(topic, bytes(message.payload), message.retain)


def _connect_properties(settings: LinkSettings) -> Properties:
    return _properties(
        PacketTypes.CONNECT,
        MaximumPacketSize=MAX_INCOMING,
        ReceiveMaximum=WINDOW,
        SessionExpiryInterval=settings.session_expiry_s,
    )


def _elsewhere(said: Properties | None) -> str:
    return str(getattr(said, "ServerReference", ""))


def _publish_properties(message: Outgoing, alias: int | None) -> Properties | None:
    values = {"MessageExpiryInterval": message.expiry_s, "TopicAlias": alias}
    given = {name: value for name, value in values.items() if value is not None}
    return _properties(PacketTypes.PUBLISH, **given) if given else None


def _properties(packet: int, **values: int) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]  # paho 2.2 has no annotation there
    for name, value in values.items():
        setattr(properties, name, value)
    return properties
