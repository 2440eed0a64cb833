"""The owner's ledger desk: whom it believes, how long it waits for the note, what it shows after a fork."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.agent.journal import Journal
from edge_agent.agent.ledger import LOST_NOTE_PATIENCE_S, NOTE_PATIENCE_S, LedgerDesk
from edge_agent.clock import ManualClock
from edge_agent.events import BoundedInbox
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import leaf as leaves_
from edge_agent.ledger.checkpoint import Algorithm, Verifier
from edge_agent.ledger.cursor import Cosigners
from edge_agent.ledger.wire import Batch, Want, WitnessNote
from edge_agent.ledger.writer import LedgerWriter
from edge_agent.uplink.facts import LeavesArrived, LeavesWanted, WitnessNoteArrived
from edge_agent.uplink.replicate import Replicator

SITE = "pump-7"
KEY = Ed25519PrivateKey.from_private_bytes(b"box" + bytes(29))
PUBLIC = KEY.public_key().public_bytes_raw()
ORIGIN = notes.origin_of(SITE, PUBLIC)
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(b"witness" + bytes(25))
MIRROR_KEY = Ed25519PrivateKey.from_private_bytes(b"mirror" + bytes(26))


def cosigner(name: str, key: Ed25519PrivateKey) -> Verifier:
    return Verifier(name, key.public_key().public_bytes_raw(), Algorithm.COSIGNATURE_V1)


WITNESS, MIRROR = cosigner("iccc/witness", WITNESS_KEY), cosigner("iccc/mirror", MIRROR_KEY)


class Bench:
    """A desk with the real ledger, journal and replicator; the connection only notes what it is given."""

    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock()
        self.inbox = BoundedInbox()
        self.ledger = LedgerWriter(
            directory=directory, origin=ORIGIN, sign=KEY.sign, public=PUBLIC, clock=self.clock,
            inbox=self.inbox, cosigners=Cosigners(WITNESS, MIRROR), boot=bytes(16),
        )  # fmt: skip
        self.journal = Journal(self.ledger, bytes(16))
        self.sent: list[bytes] = []
        self.hurried = 0
        self.disbelieved: list[str] = []
        self.replicator = Replicator(self.ledger.log)
        control = SimpleNamespace(
            wake=lambda: None,
            send_event=lambda _: None,
            send_ledger=lambda payload: self.sent.append(payload),
        )
        owner = SimpleNamespace(
            parts=SimpleNamespace(ledger=self.ledger),
            journal=self.journal,
            beats=SimpleNamespace(soon=self._hurry),
        )
        uplink = SimpleNamespace(control=control, replicator=self.replicator)
        self.desk = LedgerDesk(
            cast(Any, owner), cast(Any, uplink), lambda what, _: self.disbelieved.append(what)
        )

    def _hurry(self) -> None:
        self.hurried += 1

    def note(self, count: int = 1) -> None:
        for _ in range(count):
            self.ledger.append("mark", {})
        self.turn()

    def turn(self) -> None:
        self.clock.advance(2)
        self.ledger.turn()
        while (fact := self.inbox.take(0)) is not None:
            self.desk.reactions[type(fact)](fact)

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.desk.tick(self.clock.monotonic())
        self.turn()

    def cosigned(self) -> bytes:
        """The note that the command centre would publish over all that is signed."""
        note = self.ledger.log.sign(self.ledger.log.size)
        time_s = self.clock.now().wall_us // 1_000_000
        for key, private in ((WITNESS, WITNESS_KEY), (MIRROR, MIRROR_KEY)):
            note = note.with_signature(notes.cosign(note, key, private.sign, time_s))
        return WitnessNote(str(note), str(note), self.clock.now().wall_us).encode()

    def hear(self, note: bytes) -> None:
        self.desk.reactions[WitnessNoteArrived](WitnessNoteArrived(self.clock.now(), note))
        self.turn()

    def kinds(self) -> list[str]:
        return [leaves_.decode(leaf).kind for leaf in self.ledger.log.leaves(0, self.ledger.log.size)]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def cosigned_before(directory: Path, leaves: int = 3) -> bytes:
    """An earlier run that the command centre cosigned; returns the note."""
    bench = Bench(directory)
    bench.ledger.witnessed(None)
    bench.note(leaves)
    note = bench.cosigned()
    bench.hear(note)
    bench.ledger.run(_set(), lambda: None)
    return note


def _set() -> Any:
    return SimpleNamespace(is_set=lambda: True)


def test_a_box_that_was_never_cosigned_begins_after_a_moment(directory: Path) -> None:
    bench = Bench(directory)
    bench.desk.link_up(bench.clock.monotonic())
    bench.wait(NOTE_PATIENCE_S - 0.5)
    assert not bench.ledger.signing
    bench.wait(1)
    assert bench.ledger.signing
    assert "unwitnessed" not in bench.kinds()


def test_a_box_that_was_cosigned_asks_for_its_note_and_gives_up_with_a_leaf(directory: Path) -> None:
    cosigned_before(directory)
    bench = Bench(directory)
    bench.desk.link_up(bench.clock.monotonic())
    bench.wait(LOST_NOTE_PATIENCE_S - 10)
    assert not bench.ledger.signing
    assert bench.desk.heartbeat_part(bench.clock.monotonic()).checkpoint == ""
    bench.wait(20)
    assert bench.ledger.signing
    assert "unwitnessed" in bench.kinds()


def test_an_outage_does_not_count_as_waiting_for_the_note(directory: Path) -> None:
    cosigned_before(directory)
    bench = Bench(directory)
    bench.desk.link_up(bench.clock.monotonic())
    bench.desk.link_down()
    bench.wait(10 * LOST_NOTE_PATIENCE_S)
    assert not bench.ledger.signing


def test_only_the_pinned_mirror_may_ask_for_leaves(directory: Path) -> None:
    bench = Bench(directory)
    bench.ledger.witnessed(None)
    bench.note(5)
    bench.desk.heartbeat_part(bench.clock.monotonic())
    want = Want(1, 2)
    stranger = cosigner("iccc/mirror", KEY)
    for payload in (
        want.encode(),
        want.sign(ORIGIN, 1, stranger, KEY.sign),
        want.sign("pump-8/0000", 1, MIRROR, MIRROR_KEY.sign),
        b"nonsense",
    ):
        bench.desk.reactions[LeavesWanted](LeavesWanted(bench.clock.now(), payload))
    assert bench.replicator.next_batch() is None
    assert bench.disbelieved == ["want"] * 4
    bench.desk.reactions[LeavesWanted](
        LeavesWanted(bench.clock.now(), want.sign(ORIGIN, 1, MIRROR, MIRROR_KEY.sign))
    )
    payload = bench.replicator.next_batch()
    assert payload is not None
    assert Batch.decode(payload).first == 1


def test_a_rolled_back_box_fetches_range_by_range_and_does_not_hurry_for_nothing(
    directory: Path, tmp_path: Path
) -> None:
    cosigned_before(directory)
    shutil.copytree(directory, tmp_path / "image")
    later = Bench(directory)
    later.ledger.witnessed(None)
    later.note(600)
    note, held = later.cosigned(), later.ledger.log.leaves(0, later.ledger.log.size)
    later.ledger.run(_set(), lambda: None)

    bench = Bench(tmp_path / "image")
    bench.clock.advance(100)
    bench.desk.link_up(bench.clock.monotonic())
    bench.note()
    bench.hear(note)
    rounds = 0
    while (fetch := bench.desk.heartbeat_part(bench.clock.monotonic()).fetch) is not None:
        before = bench.hurried
        bench.desk.reactions[LeavesArrived](LeavesArrived(bench.clock.now(), Batch(fetch.first, ()).encode()))
        assert bench.hurried == before, "an empty answer is no progress"
        batch = Batch(fetch.first, tuple(held[fetch.first : fetch.first + fetch.count]))
        bench.desk.reactions[LeavesArrived](LeavesArrived(bench.clock.now(), batch.encode()))
        rounds += 1
    bench.turn()
    assert rounds == 3
    assert bench.ledger.log.leaves(0, len(held)) == held
    assert bench.kinds()[len(held) :] == ["rollback", "mark"]
    assert bench.ledger.signing
    assert bench.replicator.waiting() == 2, "what was adopted is not sent again"
    assert bench.desk.heartbeat_part(bench.clock.monotonic()).leaves == ()
    payload = bench.replicator.next_batch()
    assert payload is not None, "the rollback is told in a batch at once, not with the next heartbeat"
    assert Batch.decode(payload).first == len(held)


def test_a_fork_is_told_and_what_was_signed_is_shown_once(directory: Path, tmp_path: Path) -> None:
    note = cosigned_before(directory)
    shutil.copytree(directory, tmp_path / "twin")
    twin, bench = Bench(tmp_path / "twin"), Bench(directory)
    for box in (twin, bench):
        box.desk.link_up(box.clock.monotonic())
        box.hear(note)
    twin.note(5)
    bench.ledger.append("local", {"who": "somebody else"})
    bench.turn()
    bench.hear(twin.cosigned())
    bench.turn()
    assert not bench.ledger.signing
    assert bench.kinds()[-1] == "forked"
    shown = [Batch.decode(payload) for payload in bench.sent]
    assert [batch.first for batch in shown] == [3]
    assert shown[0].checkpoint is not None
    head, _ = notes.open_checkpoint(shown[0].checkpoint, Verifier(ORIGIN, PUBLIC))
    assert head.size == shown[0].end
    bench.hear(twin.cosigned())
    assert len(bench.sent) == 1
