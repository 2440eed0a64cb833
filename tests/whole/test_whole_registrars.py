"""Two registrars on one shared subscription, against a real broker; the box is a ledger with a connection."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.demo import broker, keyfile, settings
from edge_agent.demo.broker import Broker
from edge_agent.demo.child import Child
from edge_agent.demo.city import REGISTRARS
from edge_agent.demo.pki import Pki
from edge_agent.demo.settings import Layout
from edge_agent.errors import LedgerError
from edge_agent.events import BoundedInbox
from edge_agent.iccc.link import Arrived, BrokerLink, TlsFiles
from edge_agent.iccc.store import LedgerStore
from edge_agent.iccc.store_rows import Origin
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger.checkpoint import Verifier
from edge_agent.ledger.cursor import Cosigners
from edge_agent.ledger.wire import Batch, Want, WitnessNote
from edge_agent.ledger.writer import LedgerWriter
from edge_agent.seal.keys import BoxKey
from edge_agent.uplink import topics
from edge_agent.uplink.topics import Down, Up

pytestmark = pytest.mark.needs("mosquitto")

Soon = Callable[[Callable[[], object], float, str], None]
SITE = "pump-0300"
LEAVES = 300


@dataclass
class Box:
    """A site that has nothing but a ledger and a connection."""

    ledger: LedgerWriter
    link: BrokerLink
    wants: list[Want] = field(default_factory=list)

    def send_leaf(self, index: int, size: int) -> None:
        checkpoint = str(self.ledger.log.sign(index + 1)) if index % 10 == 9 or index + 1 == size else None
        payload = Batch(index, tuple(self.ledger.log.leaves(index, 1)), checkpoint).encode()
        self.link.publish(topics.up(SITE, Up.LEDGER), payload)

    def heard(self, arrived: Arrived) -> None:
        if arrived.topic == topics.down(SITE, Down.WANT):
            self.wants.append(self.ledger.open_want(arrived.payload))
        else:
            self.ledger.witnessed(WitnessNote.decode(arrived.payload))


@dataclass
class Centre:
    layout: Layout
    pki: Pki
    broker: Broker
    registrars: list[Child] = field(default_factory=list)

    def origin(self) -> Origin | None:
        store = LedgerStore(self.layout.mirror)
        try:
            return store.of_site(SITE)
        except LedgerError:
            return None
        finally:
            store.close()

    def leaves(self, origin: Origin) -> list[bytes]:
        store = LedgerStore(self.layout.mirror)
        try:
            return store.leaves(origin.name, 0, origin.size)
        finally:
            store.close()


@pytest.fixture
def centre(tmp_path: Path, soon: Soon) -> Iterator[Centre]:
    layout = Layout(tmp_path)
    layout.make()
    pki = Pki(layout.pki)
    for worker in REGISTRARS:
        pki.client(worker)
    centre = Centre(layout, pki, broker.choose("mosquitto", layout.broker, pki))
    centre.broker.start()
    for worker in REGISTRARS:
        path = settings.write_registrar_config(layout, pki, centre.broker.port, worker)
        command = [sys.executable, "-m", "edge_agent.iccc.registrar", "--config", str(path)]
        child = Child(worker, command, layout.logs / f"{worker}.log")
        child.start()
        centre.registrars.append(child)
    try:
        yield centre
    finally:
        for child in centre.registrars:
            child.stop()
        centre.broker.stop()


@pytest.fixture
def box(centre: Centre, soon: Soon) -> Iterator[Box]:
    key = BoxKey.load_or_create(centre.layout.state / "box.key")
    centre.layout.boxes.mkdir()
    (centre.layout.boxes / f"{SITE}.pub").write_bytes(b64encode(key.public))
    cosigners = Cosigners(
        Verifier.parse(keyfile.vkey(settings.WITNESS_NAME, centre.pki.witness_key())),
        Verifier.parse(keyfile.vkey(settings.MIRROR_NAME, centre.pki.mirror_key())),
    )
    ledger = LedgerWriter(
        directory=centre.layout.state / "box-ledger",
        origin=notes.origin_of(SITE, key.public),
        sign=key.sign,
        public=key.public,
        clock=SystemClock(),
        inbox=BoundedInbox(),
        cosigners=cosigners,
    )
    ledger.witnessed(None)
    identity = centre.pki.client(SITE)
    tls = TlsFiles(centre.pki.ca, identity.certificate, identity.key)
    url = f"mqtts://127.0.0.1:{centre.broker.port}"
    box = Box(ledger, BrokerLink(url, tls, SITE, lambda a: box.heard(a), lambda *_: None))
    box.link.subscribe(topics.down(SITE, Down.WANT), 1)
    box.link.subscribe(topics.down(SITE, Down.WITNESS), 1)
    box.link.start()
    soon(lambda: box.link.connected, 10, "the box is connected")
    for child in centre.registrars:
        soon(lambda log=child.log: "connected" in log.read_text(encoding="utf-8"), 15, "the registrars too")
    time.sleep(0.3)  # their subscriptions follow CONNECT
    yield box
    box.link.stop()


def burst(box: Box) -> None:
    for number in range(LEAVES):
        box.ledger.append("mark", {"n": number})
    box.ledger.turn(last=True)
    for index in range(LEAVES):
        box.send_leaf(index, LEAVES)


def test_a_burst_is_cosigned_whole_and_no_leaf_is_asked_for_twice(
    centre: Centre, box: Box, soon: Soon
) -> None:
    burst(box)
    soon(lambda: box.ledger.acknowledged.size == LEAVES, 40, "all leaves are cosigned")
    origin = centre.origin()
    assert origin is not None
    assert centre.leaves(origin) == box.ledger.log.leaves(0, LEAVES)
    asked = [index for want in box.wants for index in range(want.first, want.first + want.count)]
    assert len(asked) == len(set(asked))
    for registrar in centre.registrars:
        registrar.stop()
        took = re.search(r"took (\d+) messages, refused 0", registrar.log.read_text(encoding="utf-8"))
        assert took is not None
        assert int(took[1]) > LEAVES // 10, "the other did the work alone"


def test_a_registrar_killed_in_the_middle_of_a_burst_loses_nothing(
    centre: Centre, box: Box, soon: Soon
) -> None:
    burst(box)
    killed = centre.registrars[0]
    soon(lambda: (origin := centre.origin()) and origin.size > 0, 20, "it has begun")
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    killed.stop()
    killed.start()
    soon(lambda: box.ledger.acknowledged.size == LEAVES, 60, "all leaves are cosigned")
    origin = centre.origin()
    assert origin is not None
    assert centre.leaves(origin) == box.ledger.log.leaves(0, LEAVES)
    assert not box.wants, "what the broker kept for the killed one came again by itself"
