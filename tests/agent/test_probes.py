"""Power and the way out: asked at their pace, and at once when something has changed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest

from edge_agent.agent.probes import NetProbed, PowerProbe, Probes
from edge_agent.clock import ManualClock, SystemClock
from edge_agent.events import BoundedInbox
from edge_agent.host import net


@contextmanager
def probing(broker: tuple[str, int] | None) -> Iterator[tuple[Probes, BoundedInbox]]:
    inbox, stop, clock = BoundedInbox(), Event(), SystemClock()
    probes = Probes(clock, inbox, PowerProbe(clock, "off"), broker, net_every_s=30.0)
    thread = Thread(target=probes.run, args=(stop, lambda: None), daemon=True)
    thread.start()
    try:
        yield probes, inbox
    finally:
        stop.set()
        thread.join(15)


def next_net(inbox: BoundedInbox) -> NetProbed:
    while not isinstance(fact := inbox.take(20), NetProbed):
        assert fact is not None
    return fact


def test_a_broker_that_listens_answers_and_a_closed_port_does_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with probing(("127.0.0.1", server.getsockname()[1])) as (_, inbox):
            fact = next_net(inbox)
        assert (fact.dns, fact.broker) == (None, True)
        port = server.getsockname()[1]
    with probing(("127.0.0.1", port)) as (_, inbox):
        assert next_net(inbox).broker is False


def test_while_our_own_link_is_up_nobody_knocks() -> None:
    with probing(("broker.invalid", 8883)) as (probes, inbox):
        first = next_net(inbox)
        assert (first.dns, first.broker) == (False, False)
        probes.link(up=True)
        fact = next_net(inbox)
        assert (fact.dns, fact.broker) == (None, True)


def test_a_cable_put_back_ends_the_wait_for_the_next_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    plugged, returned, stop, inbox, clock = Event(), Event(), Event(), BoundedInbox(), SystemClock()
    monkeypatch.setattr(net, "default_route", lambda _table: net.Route("lan", "192.0.2.1"))
    monkeypatch.setattr(net, "carrier", lambda _interface: plugged.is_set())
    monkeypatch.setattr(net, "router_answers", lambda _address: False)
    probes = Probes(clock, inbox, PowerProbe(clock, "off"), None, net_every_s=30.0, returned=returned.set)
    thread = Thread(target=probes.run, args=(stop, lambda: None), daemon=True)
    thread.start()
    assert next_net(inbox).carrier is False
    assert not returned.is_set()
    plugged.set()
    assert returned.wait(5)
    assert next_net(inbox).carrier is True
    stop.set()
    thread.join(15)


def test_without_a_command_centre_nothing_is_claimed_of_it() -> None:
    with probing(None) as (_, inbox):
        fact = next_net(inbox)
    assert (fact.dns, fact.broker) == (None, None)


def test_a_ups_that_was_there_and_is_not_is_unknown_and_one_that_never_was_is_no_signal() -> None:
    reply = b'BEGIN LIST UPS\nUPS apc "x"\nEND LIST UPS\n'
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                for line in (reply, b'VAR apc ups.status "OB"\n', b'VAR apc battery.charge "61.4"\n'):
                    peer.recv(1024)
                    peer.sendall(line)
                peer.recv(1024)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        probe = PowerProbe(ManualClock(), f"127.0.0.1:{port}")
        assert probe.read() == (False, "UPS apc", 61)
        thread.join(5)
    assert probe.read() == (None, "UPS apc", None)

    clock = ManualClock()
    never = PowerProbe(clock, f"127.0.0.1:{port}")
    assert never._ups() is None
    assert never._next_look > clock.monotonic()
