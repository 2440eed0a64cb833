"""Box and command centre together: the real writer, the real mirror, a lossy way between them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.clock import ManualClock
from edge_agent.events import BoundedInbox
from edge_agent.iccc.ingest import Ingest, Ingested
from edge_agent.iccc.store import LedgerStore
from edge_agent.iccc.witness import Role
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import verifier
from edge_agent.ledger.cursor import Cosigners
from edge_agent.ledger.wire import Batch, HeartbeatLedger, Want, WitnessNote
from edge_agent.ledger.writer import LedgerWriter

SITE = "pump-7"
KEY = Ed25519PrivateKey.from_private_bytes(b"box" + bytes(29))
PUBLIC = KEY.public_key().public_bytes_raw()
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(b"witness" + bytes(25))
MIRROR_KEY = Ed25519PrivateKey.from_private_bytes(b"mirror" + bytes(26))
WITNESS = Role.named("iccc/witness", WITNESS_KEY.public_key().public_bytes_raw(), WITNESS_KEY.sign)
MIRROR = Role.named("iccc/mirror", MIRROR_KEY.public_key().public_bytes_raw(), MIRROR_KEY.sign)
ORIGIN = notes.origin_of(SITE, PUBLIC)


@dataclass
class Site:
    """One box with its ledger directory and what the broker retains for it."""

    directory: Path
    centre: Path
    clock: ManualClock = field(default_factory=ManualClock)
    retained: bytes | None = None
    opened: LedgerStore | None = None

    def boot(self) -> LedgerWriter:
        writer = LedgerWriter(
            directory=self.directory, origin=ORIGIN, sign=KEY.sign, public=PUBLIC, clock=self.clock,
            inbox=BoundedInbox(), cosigners=Cosigners(WITNESS.key, MIRROR.key), boot=bytes(16),
        )  # fmt: skip
        self.note(writer, "boot")
        return writer

    def note(self, writer: LedgerWriter, *kinds: str) -> None:
        for kind in kinds:
            writer.append(kind, {"n": self.clock.boot_ns})
        self.clock.advance(1)
        writer.turn()

    def hear(self, writer: LedgerWriter) -> Want | None:
        """What a connect brings: the retained note."""
        want = writer.witnessed(WitnessNote.decode(self.retained) if self.retained else None)
        writer.turn()
        return want

    @property
    def store(self) -> LedgerStore:
        if self.opened is None:
            self.opened = LedgerStore(self.centre)
            self.opened.enrol(SITE, PUBLIC, self.clock.wall_us)
        return self.opened

    def send(self, writer: LedgerWriter, *, fetch: Want | None = None) -> Ingested:
        """A heartbeat with all that is not acknowledged."""
        first = writer.acknowledged.size
        batch = Batch(first, ()) if fetch else self.batch(writer, first)
        data = {"ledger": HeartbeatLedger(batch, fetch).as_json()}
        payload = json.dumps({"v": 1, "type": "heartbeat", "data": data}).encode()
        ingest, now_us = self.ingest(), self.clock.wall_us
        done = ingest.on_heartbeat(SITE, payload, now_us)
        self.clock.advance(300)
        ingest.notes_due(self.clock.wall_us)
        ingest.publish_note(SITE, lambda note: setattr(self, "retained", note))
        return done

    def batch(self, writer: LedgerWriter, first: int) -> Batch:
        size = writer.log.size
        return Batch(first, tuple(writer.log.leaves(first, size - first)), writer.log.checkpoint(size))

    def ingest(self) -> Ingest:
        return Ingest(self.store, WITNESS, MIRROR)

    def restart_centre(self) -> None:
        self.store.close()
        self.opened = None

    def mirrored(self) -> list[str]:
        return [json.loads(leaf)["type"] for leaf in self.store.leaves(ORIGIN, 0, 10_000)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "ledger", tmp_path / "mirror.sqlite")
    yield site
    site.restart_centre()


def held(writer: LedgerWriter) -> list[str]:
    return [json.loads(leaf)["type"] for leaf in writer.log.leaves(0, writer.log.size)]


def test_days_offline_and_restarts_lose_nothing(site: Site) -> None:
    writer = site.boot()
    site.hear(writer)
    site.send(writer)
    for _ in range(3):  # offline, restarted, restarted
        writer = site.boot()
        site.note(writer, *["mark"] * 50, "camera")
    assert not writer.signing
    assert site.hear(writer) is None
    site.restart_centre()
    site.send(writer)
    site.hear(writer)
    assert site.mirrored() == held(writer)
    assert writer.acknowledged.size == writer.log.size == 157


def test_an_old_image_of_the_state_ends_repaired(site: Site, tmp_path: Path) -> None:
    writer = site.boot()
    site.hear(writer)
    site.note(writer, "mark", "mark")
    site.send(writer)
    shutil.copytree(site.directory, tmp_path / "image")
    site.note(writer, *["mark"] * 700, "camera")
    site.send(writer)
    before = site.mirrored()

    shutil.rmtree(site.directory)
    shutil.copytree(tmp_path / "image", site.directory)
    writer = site.boot()
    site.note(writer, "command")
    want = site.hear(writer)
    asked = 0
    while want is not None:
        done = site.send(writer, fetch=want)
        assert done.leaves is not None
        want, asked = writer.adopt(Batch.decode(done.leaves)), asked + 1
    writer.turn()
    assert asked > 1
    site.send(writer)
    site.hear(writer)
    assert site.mirrored() == [*before, "rollback", "boot", "command"] == held(writer)
    assert site.store.frauds() == []
    report = verifier.verify_directory(site.directory, cosigners=(MIRROR.key.vkey, WITNESS.key.vkey))
    assert (report.ok, report.cosigned) == (True, writer.log.size)


def test_two_boxes_with_the_same_keys_are_fraud(site: Site, tmp_path: Path) -> None:
    writer = site.boot()
    site.hear(writer)
    site.send(writer)
    site.hear(writer)
    shutil.copytree(site.directory, tmp_path / "twin")
    twin = Site(tmp_path / "twin", site.centre, retained=site.retained)
    other = twin.boot()
    twin.hear(other)
    assert twin.send(other).fraud is None
    twin.restart_centre()
    site.note(writer, "camera")
    assert site.send(writer).fraud is not None
    assert len(site.store.frauds()) == 1


WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from edge_agent.clock import SystemClock
from edge_agent.events import BoundedInbox
from edge_agent.ledger.writer import LedgerWriter
key = Ed25519PrivateKey.from_private_bytes(b"box" + bytes(29))
writer = LedgerWriter(directory=Path(sys.argv[1]), origin=sys.argv[2], sign=key.sign,
    public=key.public_key().public_bytes_raw(), clock=SystemClock(), inbox=BoundedInbox())
writer.witnessed(None)
while True:
    writer.append("mark", {}, urgent=True)
    writer.turn()
    print(len(writer.log.checkpoint(writer.log.size)) and writer.log.size, flush=True)
"""


def test_kill_9_at_any_moment_keeps_every_published_leaf(tmp_path: Path) -> None:
    directory, published = tmp_path / "ledger", 0
    for run in range(4):
        command = [sys.executable, "-c", WRITE_UNTIL_KILLED, str(directory), ORIGIN]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(0.02 + 0.037 * run)
            child.kill()
            published = int(child.stdout.read().rsplit(b"\n", 2)[-2])
        report = verifier.verify_directory(directory)
        assert report.problems == ()
        assert report.size >= published > run
