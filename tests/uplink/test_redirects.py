"""A broker that takes a box, and then sends it elsewhere in the middle of the connection (DISCONNECT)."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from quiet_broker import QuietBroker
from uplink_world import Box, running, until

from edge_agent.demo.broker import Mosquitto
from edge_agent.demo.pki import Pki
from edge_agent.uplink.brokers import MAX_REDIRECTS, SERVER_MOVED, USE_ANOTHER_SERVER, Broker
from edge_agent.uplink.facts import LinkDown, LinkUp
from edge_agent.uplink.link import Link
from edge_agent.uplink.mqtt import MqttConnection

SUBACK, DISCONNECT = 0x90, 0xE0
REFUSED = "certificate is not accepted"


class Leaving(QuietBroker):
    """Takes every client, and says goodbye as soon as it has subscribed."""

    def __init__(self, pki: Pki, reason: int = SERVER_MOVED) -> None:
        self.reason, self.reference, self.visits = reason, "", 0
        super().__init__(pki)

    def _answer(self, end: ssl.SSLSocket, kind: int, body: bytes) -> None:
        super()._answer(end, kind, body)
        if kind == SUBACK:
            self.visits += 1
            text = self.reference.encode()
            properties = b"\x1c" + struct.pack(">H", len(text)) + text
            super()._answer(end, DISCONNECT, bytes([self.reason, len(properties)]) + properties)
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def leaving(pki: Pki) -> Iterator[Callable[..., Leaving]]:
    with ExitStack() as undo:

        def start(of: Pki = pki, reason: int = SERVER_MOVED) -> Leaving:
            broker = Leaving(of, reason)
            undo.callback(broker.close)
            return broker

        yield start


def box_of(pki: Pki, *ports: int, redirects: tuple[str, ...] = ()) -> Box:
    box = Box(pki, ports[0])
    brokers = tuple(Broker("127.0.0.1", port) for port in ports)
    settings = replace(box.settings, brokers=brokers, redirects=redirects)
    box.control._link = Link(settings, box.clock, MqttConnection)
    return box


@pytest.mark.needs("mosquitto")
@pytest.mark.parametrize("reason", [USE_ANOTHER_SERVER, SERVER_MOVED])
def test_a_box_goes_where_the_goodbye_sends_it(
    pki: Pki, broker: Mosquitto, leaving: Callable[..., Leaving], reason: int
) -> None:
    first = leaving(reason=reason)
    first.reference = f"127.0.0.1:{broker.port}"
    box = box_of(pki, first.port)
    with running(box.control):
        assert box.connected().broker == f"127.0.0.1:{first.port}"
        assert box.inbox.wait(LinkDown).code == reason
        assert box.connected().broker == first.reference
    assert first.visits == 1


@pytest.mark.needs("mosquitto")
def test_a_goodbye_that_names_a_stranger_leads_to_the_next_broker_of_the_configuration(
    pki: Pki, broker: Mosquitto, leaving: Callable[..., Leaving]
) -> None:
    """`localhost` is this machine, and no name that the configuration knows."""
    first, stranger = leaving(), leaving()
    first.reference = f"localhost:{stranger.port}"
    box = box_of(pki, first.port, broker.port)
    with running(box.control):
        until(lambda: box.connected().broker == f"127.0.0.1:{broker.port}")
    assert stranger.visits == 0


@pytest.mark.needs("mosquitto")
def test_where_a_goodbye_leads_the_certificate_is_checked_and_the_configured_order_goes_on(
    pki: Pki, broker: Mosquitto, leaving: Callable[..., Leaving], tmp_path_factory: pytest.TempPathFactory
) -> None:
    first, stranger = leaving(), leaving(Pki(tmp_path_factory.mktemp("stranger")))
    first.reference = f"localhost:{stranger.port}"
    box = box_of(pki, first.port, broker.port, redirects=("localhost",))
    with running(box.control):
        until(lambda: REFUSED in box.inbox.wait(LinkDown).reason)
        until(lambda: box.connected().broker == f"127.0.0.1:{broker.port}")
    assert stranger.visits == 0


@pytest.mark.needs("mosquitto")
def test_brokers_that_hand_a_box_round_for_ever_lose_it_to_the_next_one(
    pki: Pki, broker: Mosquitto, leaving: Callable[..., Leaving]
) -> None:
    one, other = leaving(), leaving()
    one.reference, other.reference = f"127.0.0.1:{other.port}", f"127.0.0.1:{one.port}"
    box = box_of(pki, one.port, broker.port)
    with running(box.control):
        until(lambda: box.connected().broker == f"127.0.0.1:{broker.port}")
        assert box.inbox.none(LinkUp)
    assert one.visits + other.visits == 1 + MAX_REDIRECTS


def test_a_goodbye_with_a_broken_reference_is_a_goodbye(pki: Pki, leaving: Callable[..., Leaving]) -> None:
    first = leaving()
    first.reference = "::not a host:" + "9" * 80
    box = box_of(pki, first.port)
    with running(box.control):
        assert box.inbox.wait(LinkDown).code == SERVER_MOVED
        until(lambda: first.visits > 1)
