"""Witness, mirror and ingest workers on a real SQLite file: order, holes, restarts, forgery, fraud."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.errors import FormatError, LedgerError
from edge_agent.iccc.ingest import Ingest, Ingested
from edge_agent.iccc.store import LedgerStore
from edge_agent.iccc.witness import Role
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import leaf as leaves_
from edge_agent.ledger import merkle
from edge_agent.ledger.checkpoint import Checkpoint, Verifier
from edge_agent.ledger.wire import Batch, HeartbeatLedger, Want, WitnessNote

SITE = "pump-7"
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(b"witness" + bytes(25))
MIRROR_KEY = Ed25519PrivateKey.from_private_bytes(b"mirror" + bytes(26))
WITNESS = Role.named("iccc/witness", WITNESS_KEY.public_key().public_bytes_raw(), WITNESS_KEY.sign)
MIRROR = Role.named("iccc/mirror", MIRROR_KEY.public_key().public_bytes_raw(), MIRROR_KEY.sign)
T0 = 1_790_000_000_000_000
SECOND = 1_000_000


class Box:
    """A box's log in memory, signed with its real key."""

    def __init__(self, seed: bytes = b"box", leaves: Sequence[bytes] = ()) -> None:
        self.key = Ed25519PrivateKey.from_private_bytes(seed.ljust(32, b"\0"))
        self.public = self.key.public_key().public_bytes_raw()
        self.origin = notes.origin_of(SITE, self.public)
        self.leaves = list(leaves)

    def grow(self, count: int, word: str = "mark") -> Box:
        self.leaves += [b'{"%s":%d}' % (word.encode(), len(self.leaves) + n) for n in range(count)]
        return self

    def checkpoint(self, size: int) -> str:
        root = merkle.root([merkle.leaf_hash(leaf) for leaf in self.leaves[:size]])
        return str(notes.sign(Checkpoint(self.origin, size, root), self.public, self.key.sign))

    def batch(self, first: int, end: int, *, signed: bool = True) -> bytes:
        note = self.checkpoint(end) if signed else None
        return Batch(first, tuple(self.leaves[first:end]), note).encode()

    def event(self, index: int) -> bytes:
        """As the uplink sends it: the leaf with its index, and fields for people."""
        data = {"kind": "camera", "text": "lost", "index": index, "leaf": self.leaves[index].decode()}
        return json.dumps({"v": 1, "type": "event", "data": data}).encode()

    def heartbeat(self, first: int, end: int, fetch: Want | None = None) -> bytes:
        part = HeartbeatLedger(Batch(first, tuple(self.leaves[first:end]), self.checkpoint(end)), fetch)
        return json.dumps({"v": 1, "type": "heartbeat", "data": {"ledger": part.as_json()}}).encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mirror.sqlite"


OPENED: list[LedgerStore] = []


@pytest.fixture(autouse=True)
def _close_stores() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def opened(path: Path) -> LedgerStore:
    """A store of this thread, closed when the test ends."""
    OPENED.append(LedgerStore(path))
    return OPENED[-1]


def worker(path: Path, box: Box | None = None) -> Ingest:
    store = opened(path)
    if box:
        store.enrol(SITE, box.public, T0)
    return Ingest(store, WITNESS, MIRROR)


def told(ingest: Ingest, box: Box, first: int, end: int, now_us: int) -> Ingested:
    """An urgent leaf and the batch with its checkpoint right behind it."""
    ingest.on_event(SITE, box.event(end - 1), now_us)
    return ingest.on_ledger(SITE, box.batch(first, end), now_us)


def cosigned_size(note: bytes | None, box: Box) -> int:
    """The size in a witness note after checking all three signatures."""
    assert note is not None
    text = WitnessNote.decode(note).mirror
    head, parsed = notes.open_checkpoint(text, Verifier(box.origin, box.public))
    assert notes.cosigned_at(parsed, WITNESS.key)
    assert notes.cosigned_at(parsed, MIRROR.key)
    assert head.root == merkle.root([merkle.leaf_hash(leaf) for leaf in box.leaves[: head.size]])
    return head.size


def test_an_event_is_stored_and_cosigned_at_once(path: Path) -> None:
    box = Box().grow(3)
    done = told(worker(path, box), box, 0, 3, T0)
    assert (done.first, done.accepted) == (0, tuple(box.leaves))
    assert cosigned_size(done.note, box) == 3


def test_an_event_without_a_ledger_leaf_is_none_of_our_business(path: Path) -> None:
    done = worker(path, Box()).on_event(SITE, b'{"v":1,"data":{"kind":"camera"}}', T0)
    assert done == Ingested(SITE)


def test_heartbeats_are_cosigned_every_five_minutes(path: Path) -> None:
    box = Box().grow(400)
    ingest = worker(path, box)
    sizes = []
    for minute in range(11):
        now = T0 + minute * 60 * SECOND
        done = ingest.on_heartbeat(SITE, box.heartbeat(minute, minute + 1), now)
        sizes += [cosigned_size(n, box) for n in (done.note, *(i.note for i in ingest.notes_due(now))) if n]
    assert sizes == [1, 6, 11]


def test_a_batch_is_cosigned_two_seconds_later_together_with_those_that_follow(path: Path) -> None:
    box = Box().grow(30)
    ingest = worker(path, box)
    assert ingest.on_ledger(SITE, box.batch(0, 10), T0).note is None
    assert ingest.on_ledger(SITE, box.batch(10, 30), T0 + SECOND).note is None
    assert ingest.notes_due(T0 + SECOND) == []
    (due,) = ingest.notes_due(T0 + 2 * SECOND)
    assert cosigned_size(due.note, box) == 30
    assert ingest.notes_due(T0 + 3 * SECOND) == []


def test_a_checkpoint_ahead_of_its_leaves_waits_for_them(path: Path) -> None:
    box = Box().grow(6)
    ingest = worker(path, box)
    assert told(ingest, box, 4, 6, T0).note is None
    assert ingest.on_ledger(SITE, box.batch(0, 2, signed=False), T0).accepted == ()
    done = ingest.on_ledger(SITE, box.batch(2, 4, signed=False), T0)
    assert done.accepted == tuple(box.leaves)
    assert cosigned_size(done.note, box) == 6


def test_leaves_sent_twice_are_stored_once(path: Path) -> None:
    box = Box().grow(9)
    ingest = worker(path, box)
    first = ingest.on_ledger(SITE, box.batch(0, 9), T0)
    again = ingest.on_ledger(SITE, box.batch(3, 9), T0 + SECOND)
    assert (len(first.accepted), again.accepted, again.fraud) == (9, (), None)


def test_two_workers_take_300_leaves_in_random_order_each_once(path: Path) -> None:
    box = Box().grow(300)
    worker(path, box)
    leaves = list(range(300))
    random.Random(7).shuffle(leaves)
    results: list[Ingested] = []
    wants: list[object] = []

    def run(share: list[int]) -> None:
        store = LedgerStore(path)
        ingest = Ingest(store, WITNESS, MIRROR)
        for at, index in enumerate(share):
            results.append(ingest.on_event(SITE, box.event(index), T0 + at))
            results.append(ingest.on_ledger(SITE, box.batch(index, index + 1), T0 + at))
            wants.extend(ingest.wants(T0 + at))
        store.close()

    threads = [threading.Thread(target=run, args=(leaves[half::2],)) for half in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    accepted = sorted(index for r in results for index, _ in enumerate(r.accepted, r.first))
    assert accepted == list(range(300))
    assert max(cosigned_size(r.note, box) for r in results if r.note) == 300
    assert wants == []
    assert worker(path).wants(T0 + 3600 * SECOND) == []


def test_holes_are_asked_for_after_a_quiet_moment_and_by_one_worker(path: Path) -> None:
    box = Box().grow(20)
    one, other = worker(path, box), worker(path)
    told(one, box, 0, 3, T0)
    told(other, box, 5, 6, T0)
    told(one, box, 9, 20, T0)
    assert one.wants(T0 + SECOND) == []
    asked = one.wants(T0 + 2 * SECOND) + other.wants(T0 + 2 * SECOND)
    wants = [Want.open(a.payload, box.origin, MIRROR.key) for a in asked]
    assert wants == [Want(3, 2), Want(6, 3)]
    assert one.wants(T0 + 20 * SECOND) == []
    one.on_ledger(SITE, box.batch(3, 5, signed=False), T0 + 31 * SECOND)
    assert [Want.open(a.payload, box.origin, MIRROR.key) for a in other.wants(T0 + 40 * SECOND)] == [
        Want(6, 3)
    ]


def test_a_drain_that_never_pauses_is_asked_for_its_holes_after_half_a_minute(path: Path) -> None:
    box = Box().grow(60)
    ingest = worker(path, box)
    asked = []
    for second in range(1, 40):  # leaf 0 got lost, one leaf a second follows
        ingest.on_ledger(SITE, box.batch(second, second + 1), T0 + second * SECOND)
        asked += ingest.wants(T0 + second * SECOND)
    assert [Want.open(a.payload, box.origin, MIRROR.key) for a in asked] == [Want(0, 1)]


def test_the_mirror_goes_on_after_its_restart(path: Path) -> None:
    box = Box().grow(700)
    told(worker(path, box), box, 0, 500, T0)
    told(worker(path), box, 600, 700, T0 + SECOND)
    done = told(worker(path), box, 500, 600, T0 + 2 * SECOND)
    assert len(done.accepted) == 200
    assert cosigned_size(done.note, box) == 700
    store = opened(path)
    assert store.root(box.origin, 600) == merkle.root([merkle.leaf_hash(x) for x in box.leaves[:600]])
    assert store.leaves(box.origin, 598, 5) == box.leaves[598:603]


def test_a_forged_leaf_neither_enters_nor_blocks(path: Path) -> None:
    box = Box().grow(5)
    ingest = worker(path, box)
    ingest.on_ledger(SITE, Batch(2, (b'{"forged":1}',)).encode(), T0)
    done = told(ingest, box, 0, 5, T0)
    assert done.accepted == tuple(box.leaves)
    assert done.fraud is None


def test_forged_leaves_alone_are_thrown_away_and_asked_for(path: Path) -> None:
    box = Box().grow(5)
    ingest = worker(path, box)
    ingest.on_ledger(SITE, Batch(0, (b'{"forged":1}',) * 5).encode(), T0)
    done = ingest.on_ledger(SITE, Batch(5, (), box.checkpoint(5)).encode(), T0)
    assert (done.accepted, done.fraud) == ((), None)
    (asked,) = ingest.wants(T0 + 3 * SECOND)
    assert Want.open(asked.payload, box.origin, MIRROR.key) == Want(0, 5)
    assert ingest.on_ledger(SITE, box.batch(0, 5), T0 + 4 * SECOND).accepted == tuple(box.leaves)


def test_a_pruned_leaf_counts_by_its_hash(path: Path) -> None:
    box = Box().grow(4)
    entries = (leaves_.pruned(merkle.leaf_hash(box.leaves[0])), *box.leaves[1:])
    ingest = worker(path, box)
    ingest.on_ledger(SITE, Batch(0, entries, box.checkpoint(4)).encode(), T0)
    (due,) = ingest.notes_due(T0 + 2 * SECOND)
    assert cosigned_size(due.note, box) == 4


def test_a_foreign_key_is_refused(path: Path) -> None:
    box, stranger = Box(), Box(b"stranger").grow(2)
    ingest = worker(path, box)
    with pytest.raises(LedgerError, match="not signed by"):
        told(ingest, stranger, 0, 2, T0)
    with pytest.raises(LedgerError, match="no enrolled"):
        ingest.on_ledger("elsewhere", stranger.batch(0, 2), T0)


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b"[]", b'{"v":1,"first":-1,"count":0}', b'{"v":1,"first":0,"count":2}\n{}', b"\xff" * 9,
     b'{"v":1,"first":0,"count":1}\n' + b'{"x":"' + b"y" * 5000 + b'"}', b'{"v":1,"first":0,"count":1}\n#zz'],
)  # fmt: skip
def test_what_is_no_batch_is_a_format_error(path: Path, payload: bytes) -> None:
    ingest = worker(path, Box())
    with pytest.raises(FormatError):
        ingest.on_ledger(SITE, payload, T0)


def test_two_trees_of_one_size_are_fraud(path: Path) -> None:
    box = Box().grow(5)
    twin = Box(leaves=box.leaves[:4]).grow(1, "other")
    ingest = worker(path, box)
    told(ingest, box, 0, 5, T0)
    done = told(ingest, twin, 4, 5, T0 + SECOND)
    assert done.fraud is not None
    assert notes.parse_note(done.fraud.ours).text != notes.parse_note(done.fraud.theirs).text
    assert opened(path).frauds() == [done.fraud]
    box.grow(1)
    assert told(ingest, box, 5, 6, T0 + 2 * SECOND).note is None  # frozen
    assert told(ingest, twin, 4, 5, T0 + 3 * SECOND).fraud is None  # shouted once


def test_a_late_checkpoint_that_is_no_prefix_is_fraud(path: Path) -> None:
    box = Box().grow(9)
    twin = Box(leaves=box.leaves[:4]).grow(2, "other")
    ingest = worker(path, box)
    told(ingest, box, 0, 9, T0)
    done = ingest.on_heartbeat(SITE, twin.heartbeat(6, 6), T0 + SECOND)
    assert done.fraud is not None
    assert "contradict" in done.fraud.reason


def test_a_longer_history_that_rewrites_cosigned_leaves_is_fraud(path: Path) -> None:
    box = Box().grow(6)
    rewritten = Box(leaves=[*box.leaves[:3], b'{"edited":3}', *box.leaves[4:]]).grow(4)
    ingest = worker(path, box)
    told(ingest, box, 0, 6, T0)
    done = ingest.on_ledger(SITE, rewritten.batch(2, 10), T0 + SECOND)
    assert done.fraud is not None
    assert "extend" in done.fraud.reason


@pytest.mark.parametrize(
    "tamper",
    [
        lambda a: a[:3] + a[4:],
        lambda a: [*a[:3], b'{"new":1}', *a[3:]],
        lambda a: [a[1], a[0], *a[2:]],
        lambda a: a[:7],
        lambda a: [*a[:7], b'{"edited":7}'],
    ],
    ids=["dropped", "inserted", "reordered", "cut", "edited"],
)
def test_a_tampered_history_is_fraud_and_never_cosigned(
    path: Path, tamper: Callable[[list[bytes]], list[bytes]]
) -> None:
    box = Box().grow(8)
    ingest = worker(path, box)
    told(ingest, box, 0, 8, T0)
    evil = Box(leaves=tamper(box.leaves)).grow(4, "later")
    done = ingest.on_ledger(SITE, evil.batch(0, len(evil.leaves)), T0 + SECOND)
    assert (done.accepted, done.note) == ((), None)
    assert done.fraud is not None
    assert cosigned_size(opened(path).of_site(SITE).note, box) == 8


def test_a_rolled_back_box_gets_its_leaves_back(path: Path) -> None:
    box = Box().grow(10)
    ingest = worker(path, box)
    told(ingest, box, 0, 10, T0)
    old = Box(leaves=box.leaves[:4])
    done = ingest.on_heartbeat(SITE, old.heartbeat(4, 4, fetch=Want(4, 6)), T0 + SECOND)
    assert done.leaves is not None
    assert Batch.decode(done.leaves) == Batch(4, tuple(box.leaves[4:]))
    assert done.fraud is None
    assert ingest.on_fetch(SITE, Want(8, 9).encode()).leaves == Batch(8, tuple(box.leaves[8:])).encode()


def test_new_keys_are_a_new_log_of_the_same_site(path: Path) -> None:
    box, renewed = Box().grow(3), Box(b"renewed").grow(2, "succession")
    ingest = worker(path, box)
    told(ingest, box, 0, 3, T0)
    opened(path).enrol(SITE, renewed.public, T0 + SECOND)
    assert cosigned_size(told(ingest, renewed, 0, 2, T0 + 2 * SECOND).note, renewed) == 2
    assert opened(path).leaves(box.origin, 0, 9) == box.leaves


def test_the_retained_note_is_never_older_than_the_store(path: Path) -> None:
    box = Box().grow(2)
    slow, fast = worker(path, box), worker(path)
    told(slow, box, 0, 1, T0)
    retained: list[bytes] = []

    def publish(note: bytes) -> None:
        if not retained:  # the other worker overtakes between our read and our publish
            told(fast, box, 1, 2, T0 + 1)
        retained.append(note)

    slow.publish_note(SITE, publish)
    assert [cosigned_size(note, box) for note in retained] == [1, 2]


def test_a_want_by_another_key_or_for_another_box_is_refused() -> None:
    payload = Want(3, 4).sign("pump-7/ab", T0, MIRROR.key, MIRROR.sign)
    assert Want.open(payload, "pump-7/ab", MIRROR.key) == Want(3, 4)
    with pytest.raises(FormatError):
        Want.open(payload, "pump-8/cd", MIRROR.key)
    with pytest.raises(LedgerError):
        Want.open(payload.replace(b"3 4", b"0 4"), "pump-7/ab", MIRROR.key)
    with pytest.raises(LedgerError):
        Want.open(payload, "pump-7/ab", WITNESS.key)
