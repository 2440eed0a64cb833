"""The broker as the boxes meet it: real mosquitto, real certificates, hostile neighbours."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.demo.broker import Broker, BrokerError, IotCore, Mosquitto, choose
from edge_agent.demo.pki import Pki, client_context

WAIT_S = 10.0
QUIET_S = 0.4
NO_SUBSCRIBER = 0x10
NOT_AUTHORIZED = 0x87
SESSION = "01J00000000000000000000000"


class Client:
    """A paho client that records what happens to it, in order."""

    def __init__(
        self,
        broker: Broker,
        pki: Pki,
        name: str | None,
        client_id: str = "",
        *,
        will: str = "",
        keep: bool = False,
    ) -> None:
        self.connects: Queue[int] = Queue()
        self.disconnects: Queue[int] = Queue()
        self.acks: Queue[int] = Queue()
        self.subscribed: Queue[int] = Queue()
        self.messages: Queue[tuple[str, bytes]] = Queue()
        self.mqtt = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id or (name or "nobody"),
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
        )
        self.mqtt.tls_set_context(client_context(pki.ca, pki.client(name) if name else None))
        self.mqtt.on_connect = lambda _c, _u, _f, reason, _p: self.connects.put(reason.value)
        self.mqtt.on_disconnect = lambda _c, _u, _f, reason, _p: self.disconnects.put(reason.value)
        self.mqtt.on_publish = lambda _c, _u, _mid, reason, _p: self.acks.put(reason.value)
        self.mqtt.on_subscribe = lambda _c, _u, _mid, reasons, _p: self.subscribed.put(reasons[0].value)
        self.mqtt.on_message = lambda _c, _u, message: self.messages.put((message.topic, message.payload))
        if will:
            self.mqtt.will_set(will, b"offline", qos=1, retain=True)
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = 3600 if keep else 0
        self.mqtt.connect("127.0.0.1", broker.port, clean_start=not keep, properties=session)
        self.mqtt.loop_start()

    def up(self) -> Client:
        assert self.connects.get(timeout=WAIT_S) == 0
        return self

    def subscribe(self, pattern: str) -> Client:
        self.mqtt.subscribe(pattern, qos=1)
        assert self.subscribed.get(timeout=WAIT_S) <= 1
        return self

    def publish(self, topic: str, payload: bytes = b"x", *, retain: bool = False) -> bool:
        """Publish at QoS 1; False when the broker answers "not authorized"."""
        self.mqtt.publish(topic, payload, qos=1, retain=retain)
        reason = self.acks.get(timeout=WAIT_S)
        assert reason in (0, NO_SUBSCRIBER, NOT_AUTHORIZED)
        return reason != NOT_AUTHORIZED

    def hears_nothing(self) -> bool:
        try:
            self.messages.get(timeout=QUIET_S)
        except Empty:
            return True
        return False

    def vanish(self) -> None:
        """As a power cut does it: no farewell, and the last will speaks."""
        self.mqtt.loop_stop()
        sock = self.mqtt.socket()
        assert isinstance(sock, ssl.SSLSocket)
        sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


class City:
    def __init__(self, broker: Broker, pki: Pki) -> None:
        self.broker = broker
        self.pki = pki
        self._clients: list[Client] = []

    def client(self, name: str | None, client_id: str = "", *, will: str = "", keep: bool = False) -> Client:
        client = Client(self.broker, self.pki, name, client_id, will=will, keep=keep)
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.broker.stop()


def _city(directory: Path, kind: type[Mosquitto] | type[IotCore]) -> City:
    pki = Pki(directory / "pki")
    pki.client("iccc-console")
    broker = kind(directory / "broker", pki)
    broker.start()
    return City(broker, pki)


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    if Mosquitto.program() is None and os.environ.get("EDGE_AGENT_CI") != "1":
        pytest.skip("needs mosquitto")
    made = _city(tmp_path_factory.mktemp("city"), Mosquitto)
    yield made
    made.close()


pytestmark = pytest.mark.needs("mosquitto")


def test_a_site_is_heard_by_the_command_centre(city: City) -> None:
    console = city.client("iccc-console").up().subscribe("$share/ingest/iccc/v1/+/up/#")
    assert city.client("pump-1").up().publish("iccc/v1/pump-1/up/heartbeat", b"alive")
    assert console.messages.get(timeout=WAIT_S) == ("iccc/v1/pump-1/up/heartbeat", b"alive")


def test_a_site_cannot_speak_for_another(city: City) -> None:
    console = city.client("iccc-console").up().subscribe("iccc/v1/pump-3/up/#")
    assert not city.client("pump-2").up().publish("iccc/v1/pump-3/up/state")
    assert console.hears_nothing()


def test_a_site_cannot_hear_another(city: City) -> None:
    """Mosquitto grants such a subscription and filters at delivery, so delivery is what is tried."""
    eavesdropper = city.client("pump-4").up()
    for pattern in ("#", "iccc/v1/pump-5/#", "iccc/v1/+/dn/#", "$share/x/iccc/v1/+/up/#"):
        eavesdropper.subscribe(pattern)
    assert city.client("iccc-console").up().publish("iccc/v1/pump-5/dn/command")
    assert city.client("pump-5").up().publish("iccc/v1/pump-5/up/event")
    assert eavesdropper.hears_nothing()


def test_commands_reach_their_site_and_its_groups(city: City) -> None:
    site = city.client("pump-6").up().subscribe("iccc/v1/pump-6/dn/#").subscribe("iccc/v1/all/pumps/command")
    console = city.client("iccc-console").up()
    assert console.publish("iccc/v1/pump-6/dn/command", b"one")
    assert console.publish("iccc/v1/all/pumps/command", b"many")
    assert {site.messages.get(timeout=WAIT_S)[1] for _ in range(2)} == {b"one", b"many"}


@pytest.mark.parametrize(
    "topic",
    ["iccc/v1/pump-7/dn/command", "iccc/v1/all/pumps/command", f"iccc/v1/pump-8.av/{SESSION}/live/cam/sub"],
)
def test_a_site_cannot_command_even_itself(city: City, topic: str) -> None:
    assert not city.client("pump-7").up().publish(topic, retain=True)


def test_the_media_certificate_writes_media_and_nothing_else(city: City) -> None:
    media = city.client("pump-9.av").up()
    assert media.publish(f"iccc/v1/pump-9.av/{SESSION}/live/cam-01/sub")
    assert not media.publish("iccc/v1/pump-9/up/heartbeat")
    assert not media.publish(f"iccc/v1/pump-1.av/{SESSION}/live/cam-01/sub")


def test_a_stolen_client_id_does_not_evict_its_owner(city: City) -> None:
    owner = city.client("pump-10").up().subscribe("iccc/v1/pump-10/dn/#")
    thief = city.client("pump-11", client_id="pump-10").up().subscribe("iccc/v1/pump-10/dn/#")
    assert city.client("iccc-console").up().publish("iccc/v1/pump-10/dn/command", b"for the owner")
    assert owner.messages.get(timeout=WAIT_S)[1] == b"for the owner"
    assert thief.hears_nothing()
    assert owner.disconnects.empty()


def test_the_certificate_alone_decides_the_client_id(city: City) -> None:
    owner = city.client("pump-12").up().subscribe("iccc/v1/pump-12/dn/#")
    twin = city.client("pump-12", client_id="something-else").up()
    assert owner.disconnects.get(timeout=WAIT_S) >= 0x80  # the common name is the client id
    assert twin.publish("iccc/v1/pump-12/up/state")


def test_what_is_retained_of_a_site_is_not_shown_to_another(city: City) -> None:
    owner = city.client("pump-20").up()
    assert owner.publish("iccc/v1/pump-20/up/birth", b"keys and cameras", retain=True)
    assert city.client("iccc-console").up().publish("iccc/v1/pump-20/dn/config", b"policy", retain=True)
    for name in ("pump-21", "pump-20.av"):
        stranger = city.client(name).up()
        for pattern in ("iccc/v1/pump-20/up/birth", "iccc/v1/pump-20/dn/config"):
            stranger.subscribe(pattern)
        assert stranger.hears_nothing()


def test_a_last_will_cannot_speak_for_another_site(city: City) -> None:
    console = city.client("iccc-console").up().subscribe("iccc/v1/+/up/state")
    liar = city.client("pump-22", will="iccc/v1/pump-23/up/state")
    if liar.connects.get(timeout=WAIT_S) == 0:
        liar.vanish()
    city.client("pump-24", will="iccc/v1/pump-24/up/state").up().vanish()
    assert console.messages.get(timeout=WAIT_S) == ("iccc/v1/pump-24/up/state", b"offline")
    assert console.hears_nothing()


def test_commands_that_wait_for_a_sleeping_box_do_not_go_to_a_thief_of_its_name(city: City) -> None:
    city.client("pump-25", keep=True).up().subscribe("iccc/v1/pump-25/dn/#").close()
    assert city.client("iccc-console").up().publish("iccc/v1/pump-25/dn/command", b"while asleep")
    thief = city.client("pump-26", client_id="pump-25", keep=True).up()
    assert thief.hears_nothing()
    owner = city.client("pump-25", keep=True).up()
    assert owner.messages.get(timeout=WAIT_S)[1] == b"while asleep"


def test_the_media_certificate_neither_evicts_nor_hears_its_own_site(city: City) -> None:
    owner = city.client("pump-27").up().subscribe("iccc/v1/pump-27/dn/#")
    media = city.client("pump-27.av", client_id="pump-27").up().subscribe("iccc/v1/pump-27/dn/#")
    assert city.client("iccc-console").up().publish("iccc/v1/pump-27/dn/command", b"for the box")
    assert owner.messages.get(timeout=WAIT_S)[1] == b"for the box"
    assert media.hears_nothing()
    assert owner.disconnects.empty()


def test_a_certificate_for_the_name_of_all_groups_commands_nobody(city: City) -> None:
    """No site may be called so; wildcards and slashes no certificate of ours can carry (test_pki.py)."""
    odd = city.client("all").up()
    odd.subscribe("iccc/v1/pump-28/dn/#").subscribe("iccc/v1/+/up/#")
    assert not odd.publish("iccc/v1/pump-28/up/state")
    assert not odd.publish("iccc/v1/all/pumps/command")
    assert city.client("iccc-console").up().publish("iccc/v1/pump-28/dn/command", b"x")
    assert city.client("pump-28").up().publish("iccc/v1/pump-28/up/event", b"x")
    assert odd.hears_nothing()


def test_no_certificate_no_connection(city: City) -> None:
    assert _answer_to_connect(city, client_context(city.pki.ca, None)) == b""


def test_a_certificate_of_another_ca_is_refused(city: City, tmp_path: Path) -> None:
    foreign = Pki(tmp_path).client("pump-1")
    assert _answer_to_connect(city, client_context(city.pki.ca, foreign)) == b""


def test_tls_before_1_2_is_refused(city: City) -> None:
    context = client_context(city.pki.ca, city.pki.client("pump-1"))
    assert _answer_to_connect(city, context)[:1] == CONNACK
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    assert _answer_to_connect(city, context) == b""


def test_retained_state_survives_a_restart(tmp_path: Path) -> None:
    city = _city(tmp_path, Mosquitto)
    try:
        assert city.client("pump-1").up().publish("iccc/v1/pump-1/up/state", b"online", retain=True)
        port = city.broker.port
        city.broker.stop()
        assert not city.broker.running
        city.broker.start()
        assert city.broker.port == port
        console = city.client("iccc-console").up().subscribe("iccc/v1/pump-1/up/state")
        assert console.messages.get(timeout=WAIT_S)[1] == b"online"
    finally:
        city.close()


def test_a_port_that_is_taken_is_explained(city: City, tmp_path: Path) -> None:
    second = Mosquitto(tmp_path, Pki(tmp_path / "pki"), city.broker.port)
    with pytest.raises(BrokerError, match=rf"port {city.broker.port}"):
        second.start()


def test_the_embedded_broker_carries_the_largest_message_over_tls(tmp_path: Path) -> None:
    city = _city(tmp_path, IotCore)
    try:
        assert "no client certificate" in city.broker.notice
        largest = bytes(120 * 1024)
        console = city.client("iccc-console").up().subscribe("iccc/v1/+/up/#")
        assert city.client("pump-1").up().publish("iccc/v1/pump-1/up/snapshot/cam-01", largest)
        assert console.messages.get(timeout=WAIT_S)[1] == largest
    finally:
        city.close()


def test_choice_of_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pki = Pki(tmp_path)
    assert isinstance(choose("auto", tmp_path, pki), Mosquitto)
    monkeypatch.setattr(Mosquitto, "program", staticmethod(lambda: None))
    assert isinstance(choose("auto", tmp_path, pki), IotCore)
    with pytest.raises(BrokerError, match="apt-get install mosquitto"):
        choose("mosquitto", tmp_path, pki).start()


CONNACK = b"\x20"
CONNECT = bytes.fromhex("101500044d51545405020005000008") + b"whatever"


def _answer_to_connect(city: City, context: ssl.SSLContext) -> bytes:
    """What comes back for a CONNECT: empty when TLS refuses, under TLS 1.3 only after our handshake."""
    try:
        with (
            socket.create_connection(("127.0.0.1", city.broker.port), timeout=WAIT_S) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
        ):
            tls.sendall(CONNECT)
            return tls.recv(64)
    except OSError:
        return b""
