"""The ledger thread on real files: durability, signing, faults, restarts, rollback."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.clock import ManualClock, SignedTime
from edge_agent.errors import LedgerError
from edge_agent.events import Fact
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import merkle, verifier
from edge_agent.ledger.checkpoint import Algorithm, Verifier
from edge_agent.ledger.cursor import Cosigners
from edge_agent.ledger.facts import LedgerFaulted, LedgerForked, LedgerRepaired, LedgerSynced
from edge_agent.ledger.wire import Batch, Want, WitnessNote
from edge_agent.ledger.writer import LedgerWriter

KEY = Ed25519PrivateKey.from_private_bytes(b"box" + bytes(29))
PUBLIC = KEY.public_key().public_bytes_raw()
ORIGIN = notes.origin_of("pump-7", PUBLIC)
LOG_KEY = Verifier(ORIGIN, PUBLIC)
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(b"witness" + bytes(25))
MIRROR_KEY = Ed25519PrivateKey.from_private_bytes(b"mirror" + bytes(26))
COSIGNERS = Cosigners(
    Verifier("iccc/witness", WITNESS_KEY.public_key().public_bytes_raw(), Algorithm.COSIGNATURE_V1),
    Verifier("iccc/mirror", MIRROR_KEY.public_key().public_bytes_raw(), Algorithm.COSIGNATURE_V1),
)


@dataclass
class Facts:
    got: list[Fact] = field(default_factory=list)

    def put(self, fact: Fact) -> None:
        self.got.append(fact)

    def of(self, kind: type[Fact]) -> list[Fact]:
        return [fact for fact in self.got if isinstance(fact, kind)]


@dataclass
class Box:
    directory: Path
    clock: ManualClock = field(default_factory=ManualClock)
    facts: Facts = field(default_factory=Facts)
    times: list[SignedTime] = field(default_factory=list)

    def open(self, *, max_queue: int = 100) -> LedgerWriter:
        return LedgerWriter(
            directory=self.directory, origin=ORIGIN, sign=KEY.sign, public=PUBLIC, clock=self.clock,
            inbox=self.facts, cosigners=COSIGNERS, boot=bytes(16), told_time=self.times.append,
            max_queue=max_queue,
        )  # fmt: skip

    def note(self, writer: LedgerWriter, *kinds: str) -> None:
        for kind in kinds:
            writer.append(kind, {})
        self.clock.advance(1)
        writer.turn()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "ledger")


def cosigned(checkpoint: str, time_s: int = 1_790_000_000) -> WitnessNote:
    note = notes.parse_note(checkpoint)
    for key, cosigner in ((WITNESS_KEY, COSIGNERS.witness), (MIRROR_KEY, COSIGNERS.mirror)):
        note = note.with_signature(notes.cosign(note, cosigner, key.sign, time_s))
    return WitnessNote(str(note), str(note), time_s * 1_000_000)


def kinds(writer: LedgerWriter) -> list[str]:
    return [json.loads(leaf)["type"] for leaf in writer.log.leaves(0, writer.log.size)]


def count_syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    seen: list[int] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (seen.append(fd), real(fd))[1])
    return seen


def test_leaves_are_synced_once_a_second_and_only_when_some_wait(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = box.open()
    syncs = count_syncs(monkeypatch)
    for _ in range(30):  # three seconds, ten leaves each
        writer.append("mark", {})
        box.clock.advance(0.1)
        writer.turn()
    for _ in range(30):
        box.clock.advance(0.1)
        writer.turn()
    assert len(syncs) == 4
    assert writer.log.size == 30


def test_an_urgent_leaf_is_synced_at_once_with_all_that_wait(box: Box) -> None:
    writer = box.open()
    writer.witnessed(None)
    box.note(writer, "boot")
    writer.append("mark", {})
    box.clock.advance(0.2)
    writer.turn()
    assert writer.log.size == 1
    writer.append("camera", {"state": "lost"}, urgent=True)
    writer.turn()
    synced = box.facts.of(LedgerSynced)[-1]
    assert isinstance(synced, LedgerSynced)
    assert (synced.first, synced.size, synced.urgent) == (1, 3, (2,))


def test_a_fact_that_is_only_waited_for_is_synced_soon_and_told_without_hurry(box: Box) -> None:
    writer = box.open()
    writer.witnessed(None)
    durable = writer.append_tracked("eviction", {}, urgent=False)
    box.clock.advance(0.2)
    writer.turn()
    assert durable.is_set()
    (synced,) = box.facts.of(LedgerSynced)
    assert isinstance(synced, LedgerSynced)
    assert synced.urgent == ()


def test_a_checkpoint_covers_synced_leaves_and_verifies(box: Box) -> None:
    writer = box.open()
    writer.witnessed(None)
    box.note(writer, "boot", "mark")
    synced = box.facts.of(LedgerSynced)[-1]
    assert isinstance(synced, LedgerSynced)
    head, _ = notes.open_checkpoint(synced.checkpoint, LOG_KEY)
    leaves = writer.log.leaves(0, 2)
    assert head.size == 2
    assert head.root == merkle.root([merkle.leaf_hash(leaf) for leaf in leaves])
    assert writer.log.checkpoint(2) == synced.checkpoint


def test_nothing_is_signed_before_the_command_centre_was_heard(box: Box) -> None:
    writer = box.open()
    box.note(writer, "boot")
    assert [fact.checkpoint for fact in box.facts.of(LedgerSynced) if isinstance(fact, LedgerSynced)] == [""]
    with pytest.raises(LedgerError, match="before it knows"):
        writer.log.checkpoint(1)
    assert writer.witnessed(None) is None
    writer.turn()
    last = box.facts.of(LedgerSynced)[-1]
    assert isinstance(last, LedgerSynced)
    assert notes.open_checkpoint(last.checkpoint, LOG_KEY)[0].size == 1


def test_a_failed_sync_puts_the_same_leaves_into_a_new_part(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = box.open()
    writer.witnessed(None)
    box.note(writer, "boot")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", _refuse)
        box.note(writer, "mark", "camera")
        assert writer.log.size == 1
        assert len(box.facts.of(LedgerFaulted)) == 1
        assert writer.stats()["refused"] == 2
    box.note(writer, "gap")
    assert writer.stats()["refused"] == 0
    assert kinds(writer) == ["boot", "mark", "camera", "gap"]
    assert len(list(box.directory.glob("leaves-*.log"))) == 2
    assert verifier.verify_directory(box.directory).ok
    assert kinds(box.open()) == ["boot", "mark", "camera", "gap"]


def test_a_full_queue_is_confessed_by_a_leaf(box: Box) -> None:
    writer = box.open(max_queue=3)
    for _ in range(5):
        writer.append("mark", {})
    box.clock.advance(1)
    writer.turn()
    box.clock.advance(1)
    writer.turn()
    assert kinds(writer) == ["mark", "mark", "mark", "lost"]
    assert json.loads(writer.log.leaves(3, 1)[0])["data"] == {"count": 2}


def test_a_fact_too_large_for_a_leaf_is_cut_not_lost(box: Box) -> None:
    writer = box.open()
    box.note(writer)
    writer.append("command", {"reason": "x" * 5000})
    box.clock.advance(1)
    writer.turn()
    assert json.loads(writer.log.leaves(0, 1)[0])["data"]["cut"].startswith("{'reason': 'xxx")


def test_append_sync_returns_the_index_once_the_leaf_is_on_disk(box: Box) -> None:
    writer = box.open()
    stop = Event()
    thread = Thread(target=writer.run, args=(stop, lambda: None))
    thread.start()
    try:
        indexes = [writer.append_sync("evict", {"segment": n}) for n in range(1)]
        assert indexes == [0]
        assert json.loads(box.open().log.leaves(0, 1)[0])["data"] == {"segment": 0}
    finally:
        stop.set()
        thread.join(5)


def test_append_sync_gives_up_in_time(box: Box) -> None:
    writer = box.open()
    with pytest.raises(LedgerError, match="not durable within"):
        writer.append_sync("evict", {}, timeout_s=0.01)


def test_a_restart_takes_the_log_up_where_it_was(box: Box) -> None:
    writer = box.open()
    writer.witnessed(None)
    box.note(writer, *["mark"] * 9)
    again = box.open()
    assert again.recovery.signed == 9
    again.witnessed(None)
    box.note(again, "boot")
    assert again.log.size == 10
    assert verifier.verify_directory(box.directory).signed == 10


def test_other_keys_are_refused_the_directory(box: Box) -> None:
    box.open()
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    with pytest.raises(LedgerError, match="belongs to another key"):
        LedgerWriter(
            directory=box.directory, origin=notes.origin_of("pump-7", other), sign=KEY.sign, public=other,
            clock=box.clock, inbox=box.facts, boot=bytes(16),
        )  # fmt: skip


def test_the_mirrors_cosignature_moves_the_cursor_and_survives(box: Box) -> None:
    writer = box.open()
    writer.witnessed(None)
    box.note(writer, "boot", "mark")
    writer.witnessed(cosigned(writer.log.checkpoint(2)))
    assert (writer.acknowledged.size, writer.acknowledged.shrank) == (2, False)
    assert writer.acknowledged.beacon != bytes(32)
    assert box.open().acknowledged.size == 2
    report = verifier.verify_directory(box.directory, cosigners=(COSIGNERS.mirror.vkey,))
    assert (report.ok, report.cosigned) == (True, 2)


def test_a_mirror_that_shrank_is_noticed_and_an_older_note_ignored(box: Box) -> None:
    writer = box.open()
    writer.witnessed(None)
    box.note(writer, *["mark"] * 5)
    writer.witnessed(cosigned(writer.log.checkpoint(5), 1000))
    writer.witnessed(cosigned(writer.log.checkpoint(3), 900))
    assert (writer.acknowledged.size, writer.acknowledged.shrank) == (5, False)
    writer.witnessed(cosigned(writer.log.checkpoint(3), 1100))
    assert (writer.acknowledged.size, writer.acknowledged.shrank) == (3, True)


def test_a_note_without_the_pinned_cosignatures_is_refused(box: Box) -> None:
    writer = box.open()
    writer.witnessed(None)
    box.note(writer, "boot")
    checkpoint = writer.log.checkpoint(1)
    with pytest.raises(LedgerError, match="not cosigned"):
        writer.witnessed(WitnessNote(checkpoint, checkpoint, 0))
    assert writer.acknowledged.size == 0


def test_a_cosignature_over_what_this_run_signed_brackets_the_time(box: Box) -> None:
    writer = box.open()
    writer.witnessed(None)
    box.note(writer, "boot")
    signed_s = box.clock.monotonic()
    box.clock.advance(3)
    writer.witnessed(cosigned(writer.log.checkpoint(1), 1_790_000_003))
    assert box.times == [SignedTime(1_790_000_003, signed_s, signed_s + 3)]


def test_a_cosignature_over_an_earlier_runs_leaves_is_only_a_lower_bound(box: Box) -> None:
    """Else a broker that shows an old note to a restarted box would set its clock back."""
    writer = box.open()
    writer.witnessed(None)
    box.note(writer, "boot")
    old = cosigned(writer.log.checkpoint(1))
    again = box.open()
    again.witnessed(None)
    again.turn()  # signs the tree that it found
    again.witnessed(old)
    assert [time.after_s for time in box.times] == [None]
    box.note(again, "boot")
    again.witnessed(cosigned(again.log.checkpoint(2), 1_790_000_010))
    assert box.times[-1].after_s is not None


def test_a_rolled_back_box_adopts_and_appends_its_own_again(box: Box, tmp_path: Path) -> None:
    writer = box.open()
    writer.witnessed(None)
    box.note(writer, "boot", "mark", "mark")
    shutil.copytree(box.directory, tmp_path / "image")
    box.note(writer, *["mark"] * 4, "camera")
    note, there = cosigned(writer.log.checkpoint(8)), writer.log.leaves(0, 8)

    shutil.rmtree(box.directory)
    shutil.copytree(tmp_path / "image", box.directory)
    box.clock.advance(50)
    old = box.open()
    box.note(old, "boot", "command")  # noted before the command centre was heard
    old = box.open()  # and once more restarted before it
    want = old.witnessed(note)
    assert want == Want(3, 5)
    assert old.adopt(Batch(3, tuple(there[3:5]))) == Want(5, 3)
    assert old.adopt(Batch(4, tuple(there[4:8]))) is None
    old.turn()
    assert kinds(old) == ["boot", *["mark"] * 6, "camera", "rollback", "boot", "command"]
    assert json.loads(old.log.leaves(8, 1)[0])["data"] == {"base": 3, "adopted": 5, "had": 5, "again": 2}
    assert len(box.facts.of(LedgerRepaired)) == 1
    new = notes.open_checkpoint(old.log.checkpoint(11), LOG_KEY)[0]
    head = notes.open_checkpoint(note.mirror, LOG_KEY)[0]
    proof = old.log.consistency(8, 11)
    assert merkle.verify_consistency(8, 11, proof, head.root, new.root)
    assert verifier.verify_directory(box.directory).ok
    assert old.witnessed(note) is None
    assert [time.after_s for time in box.times] == [None]  # of a life before this one
    assert kinds(box.open()) == kinds(old)


def test_forged_leaves_do_not_repair(box: Box, tmp_path: Path) -> None:
    writer = box.open()
    writer.witnessed(None)
    box.note(writer, "boot")
    shutil.copytree(box.directory, tmp_path / "image")
    box.note(writer, "mark")
    note, there = cosigned(writer.log.checkpoint(2)), writer.log.leaves(1, 1)
    old = Box(tmp_path / "image").open()
    assert old.witnessed(note) == Want(1, 1)
    with pytest.raises(LedgerError, match="do not fit"):
        old.adopt(Batch(1, (b'{"forged":1}',)))
    assert old.adopt(Batch(1, tuple(there))) is None
    old.turn()
    assert kinds(old) == ["boot", "mark", "rollback"]


def test_a_box_whose_key_signed_elsewhere_stops_signing(box: Box, tmp_path: Path) -> None:
    writer = box.open()
    writer.witnessed(None)
    box.note(writer, "boot")
    shutil.copytree(box.directory, tmp_path / "twin")
    twin = Box(tmp_path / "twin")
    other = twin.open()
    other.witnessed(None)
    twin.note(other, "mark")
    box.clock.advance(5)
    box.note(writer, "camera")
    writer.witnessed(cosigned(other.log.checkpoint(2)))
    assert len(box.facts.of(LedgerForked)) == 1
    with pytest.raises(LedgerError):
        writer.log.checkpoint(1)
    box.note(writer, "mark")
    assert kinds(writer) == ["boot", "camera", "mark"]  # it goes on noting


def _refuse(_fd: int) -> None:
    raise OSError(5, "Input/output error")
