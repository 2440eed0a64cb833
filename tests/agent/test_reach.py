from __future__ import annotations

import socket
from threading import Event, Thread

from edge_agent.agent.reach import HostChecked, Reach
from edge_agent.clock import SystemClock
from edge_agent.events import BoundedInbox


def knock(port: int) -> HostChecked:
    inbox, stop = BoundedInbox(), Event()
    reach = Reach(SystemClock(), inbox)
    thread = Thread(target=reach.run, args=(stop, lambda: None))
    thread.start()
    try:
        reach.check("127.0.0.1", port)
        fact = inbox.take(5)
        assert isinstance(fact, HostChecked)
        return fact
    finally:
        stop.set()
        thread.join(5)


def test_a_listening_host_is_reachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert knock(server.getsockname()[1]).detail == "accepts connections"


def test_a_refusal_says_that_the_machine_is_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    fact = knock(port)
    assert fact.reachable
    assert "refuses" in fact.detail
