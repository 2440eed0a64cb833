from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from edge_agent.agent.reach import HostChecked, Reach
from edge_agent.clock import SystemClock
from edge_agent.events import BoundedInbox


@contextmanager
def knocking(first_pause_s: float = 5.0) -> Iterator[tuple[Reach, Callable[[], HostChecked]]]:
    inbox, stop = BoundedInbox(), Event()
    reach = Reach(SystemClock(), inbox, first_pause_s)
    thread = Thread(target=reach.run, args=(stop, lambda: None))
    thread.start()

    def answer() -> HostChecked:
        fact = inbox.take(5)
        assert isinstance(fact, HostChecked)
        return fact

    try:
        yield reach, answer
    finally:
        stop.set()
        thread.join(5)


def knock(port: int) -> HostChecked:
    with knocking() as (reach, answer):
        reach.want(frozenset({("127.0.0.1", port)}))
        return answer()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_listening_host_is_reachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        fact = knock(server.getsockname()[1])
    assert (fact.reachable, fact.refuses, fact.detail) == (True, False, "accepts connections")


def test_a_refusal_says_that_the_machine_is_on() -> None:
    fact = knock(closed_port())
    assert fact.reachable
    assert fact.refuses
    assert "refuses" in fact.detail


def test_a_silent_host_is_knocked_at_until_nobody_wants_it_any_more() -> None:
    port = closed_port()
    with knocking(first_pause_s=0.3) as (reach, answer):
        reach.want(frozenset({("127.0.0.1", port)}))
        assert answer().refuses
        with socket.create_server(("127.0.0.1", port)):
            while answer().refuses:
                pass
        reach.want(frozenset())


def test_hosts_beyond_the_most_are_counted() -> None:
    reach = Reach(SystemClock(), BoundedInbox())
    reach.want(frozenset((f"192.0.2.{i}", 554) for i in range(70)))
    assert reach.dropped == 6
