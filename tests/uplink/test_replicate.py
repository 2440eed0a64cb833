"""Leaves reach the mirror, whatever the link and the broker lose."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import LedgerError
from edge_agent.ledger import leaf
from edge_agent.ledger.wire import MAX_BATCH_BYTES, Batch, Want
from edge_agent.model import Instant
from edge_agent.uplink.replicate import IN_HEARTBEAT, UNCONFIRMED_S, Replicator

AT = Instant(1_790_000_000_000_000, 10**12)


class Ledger:
    """Leaves in memory; signs unless told not to."""

    def __init__(self, count: int = 0) -> None:
        self.kept: list[bytes] = []
        self.signing = True
        self.grow(count)

    @property
    def size(self) -> int:
        return len(self.kept)

    def grow(self, count: int) -> int:
        self.kept += [leaf.encode("mark", {"n": len(self.kept) + i}, AT, bytes(16)) for i in range(count)]
        return self.size

    def entries(self, first: int, count: int) -> list[bytes]:
        return self.kept[first : first + count]

    def checkpoint(self, size: int) -> str:
        if not self.signing:
            raise LedgerError("signing is held")
        return f"checkpoint over {size}"


def batches(replicator: Replicator) -> list[Batch]:
    return [Batch.decode(p) for p in iter(replicator.next_batch, None)]


def test_few_leaves_ride_in_the_heartbeat_and_only_once() -> None:
    ledger = Ledger(3)
    replicator = Replicator(ledger)
    assert replicator.next_batch() is None
    part = replicator.heartbeat_part(0.0)
    assert [text.encode() for text in part.leaves] == ledger.kept
    assert (part.first, part.checkpoint) == (0, "checkpoint over 3")
    assert replicator.heartbeat_part(60.0).leaves == ()


def test_a_backlog_goes_in_batches_of_8_kb_with_the_checkpoint_in_the_last() -> None:
    ledger = Ledger(2000)
    replicator = Replicator(ledger)
    assert replicator.heartbeat_part(0.0).leaves == ()
    replicator.link_lost()
    sent = batches(replicator)
    assert [entry for batch in sent for entry in batch.leaves] == ledger.kept
    assert max(len(b.encode()) for b in sent) <= MAX_BATCH_BYTES
    assert [b.checkpoint for b in sent] == [None] * (len(sent) - 1) + ["checkpoint over 2000"]


def test_a_backlog_crosses_the_line_deflated() -> None:
    ledger = Ledger(300)
    payload = Replicator(ledger).next_batch()
    assert payload is not None
    assert len(payload) < len(Batch.decode(payload).encode()) / 3


def test_a_leaf_whose_body_is_gone_travels_as_its_hash() -> None:
    ledger = Ledger(100)
    ledger.kept[50] = leaf.pruned(leaf.entry_hash(ledger.kept[50]))
    replicator = Replicator(ledger)
    replicator.link_lost()
    sent = [entry for batch in batches(replicator) for entry in batch.leaves]
    assert sent == ledger.kept


def test_an_urgent_leaf_is_an_event_at_once_and_hurries_what_waits() -> None:
    ledger = Ledger()
    replicator = Replicator(ledger)
    ledger.kept.append(
        leaf.encode("camera", {"camera": "cam-01", "state": "dark", "text": "stopped"}, AT, bytes(16))
    )
    (event,) = replicator.synced(ledger.size, [0])
    assert (event.kind, event.camera, event.text, event.index) == ("camera", "cam-01", "stopped", 0)
    assert event.leaf == ledger.kept[0].decode()
    assert [b.first for b in batches(replicator)] == [0]


def test_nothing_is_published_while_the_box_may_not_sign() -> None:
    ledger = Ledger(500)
    ledger.signing = False
    replicator = Replicator(ledger)
    assert replicator.next_batch() is None
    assert replicator.heartbeat_part(0.0, Want(7, 3)).model_dump(exclude_none=True) == {
        "first": 0, "leaves": (), "checkpoint": "", "fetch": {"first": 7, "count": 3},
    }  # fmt: skip


def test_what_is_wanted_again_is_sent_again_and_nonsense_is_not() -> None:
    replicator = Replicator(Ledger(300))
    batches(replicator)
    assert replicator.wanted(Want(100, 5))
    assert [(b.first, b.end) for b in batches(replicator)] == [(100, 105)]
    assert not replicator.wanted(Want(300, 5))
    assert not all(replicator.wanted(Want(n, 1)) for n in range(200))


def test_leaves_that_stay_unconfirmed_are_sent_again() -> None:
    replicator = Replicator(Ledger(5))
    replicator.confirmed(0, 0.0)
    assert len(replicator.heartbeat_part(0.0).leaves) == 5
    assert len(replicator.heartbeat_part(UNCONFIRMED_S + 1).leaves) == 5


def test_a_mirror_that_shrank_is_filled_again() -> None:
    replicator = Replicator(Ledger(10))
    replicator.heartbeat_part(0.0)
    replicator.confirmed(10, 1.0)
    replicator.confirmed(4, 2.0)
    assert len(replicator.heartbeat_part(3.0).leaves) == 6


steps = st.lists(
    st.one_of(
        st.tuples(st.just("grow"), st.integers(1, 2 * IN_HEARTBEAT)),
        st.tuples(st.sampled_from(["beat", "batch", "cut", "cosign", "want", "lose"]), st.just(0)),
    ),
    max_size=60,
)


@given(steps)
def test_every_leaf_arrives_whatever_is_lost_on_the_way(steps: list[tuple[str, int]]) -> None:
    ledger, mirror, now, losing = Ledger(), dict[int, bytes](), 0.0, False
    replicator = Replicator(ledger)

    def deliver(first: int, entries: list[bytes]) -> None:
        if not losing:
            mirror.update(enumerate(entries, first))

    def held() -> int:
        return next((i for i in range(ledger.size) if i not in mirror), ledger.size)

    for what, count in [*steps, ("lose", 0), ("grow", 1)]:
        now += 1
        if what == "grow":
            replicator.synced(ledger.grow(count), [])
        elif what == "beat":
            part = replicator.heartbeat_part(now)
            deliver(part.first, [text.encode() for text in part.leaves])
        elif what == "batch" and (payload := replicator.next_batch()):
            batch = Batch.decode(payload)
            deliver(batch.first, list(batch.leaves))
        elif what == "cut":
            replicator.link_lost()
        elif what == "cosign":
            replicator.confirmed(held(), now)
        elif what == "want" and held() < ledger.size:
            replicator.wanted(Want(held(), 10))
        elif what == "lose":
            losing = not losing
    losing = False
    for _ in range(3):
        now += UNCONFIRMED_S + 1
        part = replicator.heartbeat_part(now)
        deliver(part.first, [text.encode() for text in part.leaves])
        for batch in batches(replicator):
            deliver(batch.first, list(batch.leaves))
        replicator.confirmed(held(), now)
    assert [mirror[i] for i in range(ledger.size)] == ledger.kept
    assert replicator.waiting() == 0
