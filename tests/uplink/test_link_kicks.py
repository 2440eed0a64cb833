"""What ends the pause before the next attempt: the way out is back, or somebody waits for a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from uplink_world import ONE, SITE, TWO, Box, Facts, running, until

from edge_agent.agent.parts import Uplink
from edge_agent.clock import SystemClock
from edge_agent.demo.broker import Mosquitto
from edge_agent.demo.pki import Pki
from edge_agent.model import Role
from edge_agent.seal.record import Record
from edge_agent.tap import Tap
from edge_agent.uplink import topics
from edge_agent.uplink.link import Broker, Limits, Link, LinkLost, LinkSettings
from edge_agent.uplink.media import MediaLink
from edge_agent.uplink.mqtt import MqttConnection
from edge_agent.uplink.replicate import Replicator

NOWHERE = LinkSettings((Broker("a.example"),), "pump-1", Path("ca"), Path("certificate"), Path("key"))


@pytest.fixture
def endless_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _low, _high: 600.0)


def media_of(pki: Pki, port: int) -> MediaLink:
    identity, clock = pki.client(topics.media_client(SITE)), SystemClock()
    settings = LinkSettings(
        (Broker("127.0.0.1", port),), identity.common_name, pki.ca, identity.certificate, identity.key
    )
    return MediaLink(site=SITE, link=Link(settings, clock, MqttConnection), inbox=Facts(), clock=clock)


def watch(media: MediaLink, lease: str) -> None:
    media.start_live("cam-01", Role.MAIN, Tap[Record](), lease=lease, lease_s=60)


def pausing(media: MediaLink) -> bool:
    return bool(media._link._said)


@pytest.mark.needs("mosquitto")
@pytest.mark.parametrize("how", ["the way out is back", "another viewer"])
def test_a_viewer_does_not_wait_out_a_pause_that_is_over(
    pki: Pki, broker: Mosquitto, endless_pauses: None, how: str
) -> None:
    broker.stop()
    media, box = media_of(pki, broker.port), Box(pki, broker.port)
    with running(media):
        watch(media, ONE)
        until(lambda: pausing(media))
        broker.start()
        if how == "another viewer":
            watch(media, TWO)
        else:
            Uplink(box.control, media, Replicator(Empty())).kick()
        until(lambda: media.stats().connected)


@dataclass
class Steps:
    """A transport that is refused, or taken and lost, step by step; it owns itself."""

    taken: Iterator[bool]
    opened: int = 0
    lose: Event = field(default_factory=Event)

    def __call__(self, *_: Any) -> Any:
        return self

    def open(self) -> Limits:
        self.opened += 1
        if not next(self.taken):
            raise LinkLost("refused")
        return Limits(1000, 20)

    def pump(self, timeout_s: float) -> None:
        if self.lose.wait(timeout_s):
            raise LinkLost("lost")

    def ready_for(self, qos: int) -> bool:
        return False

    def carried(self) -> int:
        return 0

    def next_due(self) -> None:
        return None

    def close(self) -> None: ...
    def link_up(self, *_: object) -> None: ...
    def link_down(self, *_: object) -> None: ...


def test_a_kick_during_an_attempt_counts_and_one_while_connected_does_not(endless_pauses: None) -> None:
    """Else a broker's restart would be followed by a whole city in the same second."""
    steps, stop = Steps(iter((False, True, False))), Event()
    link = Link(NOWHERE, SystemClock(), steps)
    thread = Thread(target=link.serve, args=(steps, stop, lambda: None), daemon=True)
    thread.start()
    until(lambda: steps.opened == 1)
    link.kick()
    until(lambda: link.connects == 1)
    link.kick()
    steps.lose.set()
    until(lambda: link._said == "lost")
    assert steps.opened == 2
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
    assert steps.opened == 2


class Empty:
    """A ledger without a leaf."""

    size = 0

    def entries(self, first: int, count: int) -> list[bytes]:
        return []

    def checkpoint(self, size: int) -> str:
        return ""


def test_a_kick_before_the_first_attempt_is_no_hurry_later(endless_pauses: None) -> None:
    steps, stop = Steps(iter((False, False))), Event()
    link = Link(NOWHERE, SystemClock(), steps)
    link.kick()
    thread = Thread(target=link.serve, args=(steps, stop, lambda: None), daemon=True)
    thread.start()
    until(lambda: link._said == "refused")
    stop.set()
    thread.join(5)
    assert steps.opened == 1
