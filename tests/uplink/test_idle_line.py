"""What an idle line is spared: pings beside acknowledged messages, topics that the broker knows."""

from __future__ import annotations

import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from time import sleep

import pytest
from quiet_broker import QuietBroker
from uplink_world import SITE, Box, Center, running, until

from edge_agent.demo.pki import Pki
from edge_agent.uplink import topics
from edge_agent.uplink.facts import LinkDown
from edge_agent.uplink.messages import HeartbeatData, decode
from edge_agent.uplink.topics import Down, Up

ALIASES = b"\x22" + struct.pack(">H", 2)  # CONNACK: Topic Alias Maximum
QOS_1 = 0x02
HEARTBEAT = topics.up(SITE, Up.HEARTBEAT)


class Acking(QuietBroker):
    """Acknowledges, and notes each PUBLISH's topic with its alias."""

    verdict = b""  # of a PUBACK; none is success

    def __init__(self, pki: Pki, connack_properties: bytes = b"") -> None:
        self.named: list[tuple[str, int | None]] = []
        super().__init__(pki, connack_properties)

    def _took(self, end: ssl.SSLSocket, head: int, body: bytes) -> None:
        length = struct.unpack_from(">H", body)[0]
        topic, packet = body[2 : 2 + length].decode(), body[2 + length : 4 + length]
        size, properties = body[4 + length], body[5 + length :]
        alias = properties[:size].find(b"\x23", 0) if size in (3, 8) else -1
        self.named.append((topic, struct.unpack_from(">H", properties, alias + 1)[0] if alias >= 0 else None))
        if head & QOS_1:
            self._answer(end, 0x40, packet + self.verdict)


@pytest.fixture
def acking(pki: Pki) -> Iterator[Acking]:
    with closing(Acking(pki, ALIASES)) as broker:
        yield broker


def beat(box: Box, broker: Acking, times: int, pause_s: float = 0.0) -> None:
    """Each heartbeat leaves before the next is given, the first after the word that the box is online."""
    until(lambda: broker.named)
    for _ in range(times):
        heard = len(broker.named) + 1
        box.control.send_heartbeat(HeartbeatData())
        until(lambda heard=heard: len(broker.named) == heard)
        until(lambda: not box.control._outbox._under_way)
        sleep(pause_s)


def test_no_ping_runs_beside_messages_that_are_acknowledged(pki: Pki, acking: Acking) -> None:
    box = Box(pki, acking.port, keepalive_s=1)
    with running(box.control):
        box.connected()
        beat(box, acking, 6, pause_s=0.4)
        assert acking.pings == 0


def test_a_line_without_a_word_is_pinged(pki: Pki, acking: Acking) -> None:
    box = Box(pki, acking.port, keepalive_s=1)
    with running(box.control):
        box.connected()
        until(lambda: acking.pings >= 2)
        assert box.inbox.none(LinkDown, 0.05)


def test_messages_that_nobody_acknowledges_do_not_replace_a_ping(pki: Pki) -> None:
    with closing(QuietBroker(pki)) as broker:
        box = Box(pki, broker.port, keepalive_s=1)
        with running(box.control):
            box.connected()
            until(lambda: broker.pings >= 1)


def test_a_broker_that_knows_no_aliases_is_told_every_topic(pki: Pki) -> None:
    with closing(Acking(pki)) as broker:
        box = Box(pki, broker.port)
        with running(box.control):
            box.connected()
            beat(box, broker, 2)
        assert [(t, a) for t, a in broker.named if t == HEARTBEAT] == [(HEARTBEAT, None)] * 2


def test_a_topic_is_spelled_once_and_then_goes_by_its_number(pki: Pki, acking: Acking) -> None:
    box = Box(pki, acking.port)
    with running(box.control):
        box.connected()
        beat(box, acking, 3)
    state = topics.up(SITE, Up.STATE)
    assert acking.named == [(state, 1), (HEARTBEAT, 2), ("", 2), ("", 2), ("", 1)]


def test_a_topic_whose_message_was_refused_is_spelled_again(pki: Pki, acking: Acking) -> None:
    """A broker that refuses early (quota) may not have read so far."""
    acking.verdict = bytes([0x97])
    box = Box(pki, acking.port)
    with running(box.control):
        box.connected()
        beat(box, acking, 2)
    assert acking.named[1:3] == [(HEARTBEAT, 2)] * 2


def test_no_more_topics_go_by_number_than_the_broker_keeps(pki: Pki, acking: Acking) -> None:
    box = Box(pki, acking.port)
    with running(box.control):
        box.connected()
        beat(box, acking, 1)
        for _ in range(2):
            box.control.send_ledger(b"{}")
        until(lambda: len(acking.named) == 4)
    assert acking.named[2:4] == [(topics.up(SITE, Up.LEDGER), None)] * 2


@pytest.mark.needs("mosquitto")
def test_a_real_broker_puts_the_topics_back(box: Box, center: Callable[..., Center]) -> None:
    peer = center("iccc/v1/#")
    with running(box.control):
        box.connected()
        for sequence in range(2, 5):
            box.control.send_heartbeat(HeartbeatData())
            message = peer.wait("/heartbeat")
            assert (message.topic, decode(message.payload).seq) == (HEARTBEAT, sequence)


@pytest.mark.needs("mosquitto")
def test_the_witness_note_comes_unacknowledged_and_commands_do_not(
    box: Box, center: Callable[..., Center], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived: dict[str, int] = {}
    peer = center()
    monkeypatch.setattr(
        "edge_agent.uplink.mqtt.MqttConnection._on_message",
        lambda _self, _client, _data, message: arrived.update({message.topic: message.qos}),
    )
    with running(box.control):
        box.connected()
        for leaf in (Down.WITNESS, Down.COMMAND, Down.WANT, Down.LEAVES, Down.CONFIG):
            peer.publish(topics.down(SITE, leaf), b"x")
        until(lambda: len(arrived) == 5)
    assert [topic for topic, qos in arrived.items() if qos == 0] == [topics.down(SITE, Down.WITNESS)]
