"""Which broker next, and where a broker may send us."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quiet_broker import QuietBroker
from uplink_world import SITE, Box, running, until

from edge_agent.demo.broker import Mosquitto
from edge_agent.demo.pki import Pki
from edge_agent.uplink.brokers import MAX_REDIRECTS, Broker, BrokerOrder
from edge_agent.uplink.facts import LinkDown, LinkUp
from edge_agent.uplink.link import Link, LinkSettings
from edge_agent.uplink.mqtt import MqttConnection

A, B = Broker("a.example"), Broker("b.example")
MOVED = 0x9D


def settings(box: Box, *brokers: Broker, **more: object) -> LinkSettings:
    was = box.settings
    return LinkSettings(brokers, SITE, was.ca, was.certificate, was.key, **more)  # type: ignore[arg-type]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


class Referring(QuietBroker):
    """Answers every CONNECT with a reason and a Server Reference."""

    def __init__(self, pki: Pki, reason: int, reference: str) -> None:
        self.connects = 0
        self._said = bytes([0, reason])
        text = reference.encode()
        super().__init__(pki, b"\x1c" + struct.pack(">H", len(text)) + text)

    def _answer(self, end: object, kind: int, body: bytes) -> None:
        self.connects += 1
        super()._answer(end, kind, self._said + body[2:])  # type: ignore[arg-type]


def test_brokers_are_tried_in_order_and_the_first_again_after_one_that_lasted() -> None:
    order = BrokerOrder((A, B))
    tried = [order.next]
    for steady in (False, False, False, True):
        order.lost(steady=steady)
        tried.append(order.next)
    assert tried == [A, B, A, B, A]
    assert order.rounds == 0


@pytest.mark.parametrize(
    ("reference", "followed"),
    [
        ("b.example", B),
        ("B.EXAMPLE:8884", Broker("B.EXAMPLE", 8884)),
        ("mqtts://c.example", Broker("c.example")),
        ("evil.example b.example:1", Broker("b.example", 1)),
        ("evil.example", None),
        ("b.example.evil.example", None),
        ("b.example@evil.example", None),
        ("evil.example#b.example", None),
        ("b.example:0", None),
        ("b.example:99999", None),
        ("a.example", None),  # where we are already
        ("", None),
    ],
)
def test_a_redirect_is_followed_only_to_hosts_of_the_configuration(
    reference: str, followed: Broker | None
) -> None:
    order = BrokerOrder((A, B), ["c.example"])
    assert order.redirected(reference, A) == followed
    assert order.next == (followed or B)


@given(st.text(max_size=300))
def test_no_reference_leads_to_a_stranger(reference: str) -> None:
    order = BrokerOrder((A, B))
    order.redirected(reference, A)
    assert order.next.host.lower() in {"a.example", "b.example"}


@pytest.mark.parametrize("steady", [False, True])
def test_brokers_that_point_at_each_other_are_left_for_the_others(steady: bool) -> None:
    """Each keeps the box for a while first, or sends it on at once."""
    third = Broker("c.example")
    order, tried = BrokerOrder((A, B, third)), list[Broker]()
    while third not in tried:
        tried.append(order.next)
        assert len(tried) < 10
        order.lost(steady=steady)
        order.redirected("b.example" if tried[-1] == A else "a.example", tried[-1])
    assert tried[:4] == [A, B, A, B]  # a call and three redirects


def test_a_connection_that_settled_forgets_the_redirects() -> None:
    order = BrokerOrder((A, B))
    for _ in range(3 * MAX_REDIRECTS):
        here = order.next
        order.lost(steady=True, settled=True)
        assert order.redirected("b.example" if here == A else "a.example", here)


def test_a_broker_that_sends_us_where_we_do_not_go_is_not_the_next() -> None:
    order = BrokerOrder((A, B))
    order.lost(steady=True)
    assert order.redirected("evil.example", A) is None
    assert order.next == B


def test_after_a_redirect_that_failed_the_configured_order_goes_on() -> None:
    order = BrokerOrder((A, B))
    order.lost(steady=False)
    order.redirected("a.example:99", A)
    order.lost(steady=False)
    assert order.next == B


@pytest.mark.needs("mosquitto")
@pytest.mark.parametrize("reason", [0x9C, MOVED])
def test_a_box_goes_where_its_broker_sends_it(pki: Pki, broker: Mosquitto, reason: int) -> None:
    referring = Referring(pki, reason, f"127.0.0.1:{broker.port}")
    try:
        box = Box(pki, referring.port)
        with running(box.control):
            assert box.connected().broker == f"127.0.0.1:{broker.port}"
        assert referring.connects == 1
    finally:
        referring.close()


@pytest.mark.needs("mosquitto")
def test_a_box_does_not_go_to_a_stranger(pki: Pki, broker: Mosquitto) -> None:
    """The name is the same machine's, but not a configured one."""
    referring = Referring(pki, MOVED, f"localhost:{broker.port}")
    try:
        box = Box(pki, referring.port)
        with running(box.control):
            assert box.inbox.wait(LinkDown).code == MOVED
            until(lambda: referring.connects > 1)
            assert box.inbox.none(LinkUp)
    finally:
        referring.close()


@pytest.mark.needs("mosquitto")
def test_a_redirect_to_an_allowed_host_still_checks_its_certificate(
    pki: Pki, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = QuietBroker(Pki(tmp_path_factory.mktemp("stranger")))
    referring = Referring(pki, MOVED, f"localhost:{stranger.port}")
    try:
        box = Box(pki, referring.port)
        allowed = settings(box, Broker("127.0.0.1", referring.port), redirects=("localhost",))
        box.link.__init__(allowed, box.clock, MqttConnection)  # type: ignore[misc]
        with running(box.control):
            until(lambda: "certificate is not accepted" in box.inbox.wait(LinkDown).reason)
    finally:
        referring.close()
        stranger.close()


@pytest.mark.needs("mosquitto")
def test_the_first_broker_is_returned_to_when_it_answers_again(pki: Pki, broker: Mosquitto) -> None:
    box = Box(pki, broker.port)
    first = Broker("127.0.0.1", closed_port())
    box.control._link = Link(
        settings(box, first, *box.settings.brokers, fail_back_s=0.1), box.clock, MqttConnection
    )
    with running(box.control):
        assert box.connected().broker == f"127.0.0.1:{broker.port}"
        with socket.create_server((first.host, first.port)):
            until(lambda: str(first) in box.inbox.wait(LinkDown, 20).reason, 20)
