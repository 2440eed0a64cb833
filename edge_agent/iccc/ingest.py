"""What an ingest worker does with a box's ledger messages; the MQTT client around it is someone else's.

Any number of workers share one store. Leaves may come twice and in any order, checkpoints before their
leaves: both wait in the store. A signed checkpoint that the stored leaves fit moves the mirror; witness and
mirror then cosign it, at once after an event, soon after a batch, every five minutes otherwise. Holes are
asked for when the box has been quiet for a moment, each leaf by one worker only. Times are the command
centre's own clock in microseconds, handed in.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edge_agent import deflate
from edge_agent.errors import LedgerError
from edge_agent.iccc.store import LedgerStore
from edge_agent.iccc.store_rows import Fraud, Origin, PendingHead
from edge_agent.iccc.witness import Head, Opinion, Role, fit, mirror_opinion, witness_opinion
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import merkle
from edge_agent.ledger.wire import Batch, Want, WitnessNote, event_leaf, heartbeat_ledger

log = logging.getLogger(__name__)

NOTE_EVERY_US = 300_000_000
NOTE_AFTER_BATCH_US = 2_000_000
QUIET_US = 2_000_000
PATIENCE_US = 30_000_000
ASK_AGAIN_US = 30_000_000
MAX_MISSING = 2048
BATCH_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Ingested:
    """What one message led to.

    `accepted` are entries that have just become part of the mirror, from index `first` on: each leaf comes
    out of exactly one worker, once. `note` is for the retained `dn/witness` (see `publish_note`), `leaves`
    for `dn/leaves`. `unsigned` says that the box may sign nothing yet: it waits for the retained note. A
    fraud must be shouted.
    """

    site: str
    first: int = 0
    accepted: tuple[bytes, ...] = ()
    note: bytes | None = None
    leaves: bytes | None = None
    fraud: Fraud | None = None
    unsigned: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A signed want for `dn/want` of the site."""

    site: str
    payload: bytes


class Ingest:
    """One worker's logic. Use it from one thread, with a `LedgerStore` of its own.

    The `on_` methods raise `FormatError` or `LedgerError` for what is not from an enrolled box: count it.
    """

    def __init__(self, store: LedgerStore, witness: Role, mirror: Role) -> None:
        self._store = store
        self._witness = witness
        self._mirror = mirror

    def on_heartbeat(self, site: str, payload: bytes, now_us: int) -> Ingested:
        """A heartbeat with the leaves still waiting; it may ask for leaves back after a rollback."""
        part = heartbeat_ledger(payload)
        if part is None:
            return Ingested(site)
        done = self._take(site, part.batch, now_us, note_in_us=None)
        leaves = self._fetched(site, part.fetch) if part.fetch else None
        return replace(done, leaves=leaves, unsigned=not part.batch.checkpoint)

    def on_event(self, site: str, payload: bytes, now_us: int) -> Ingested:
        """An urgent leaf: it is cosigned as soon as the checkpoint that follows it allows."""
        batch = event_leaf(payload)
        return self._take(site, batch, now_us, note_in_us=0) if batch else Ingested(site)

    def on_ledger(self, site: str, payload: bytes, now_us: int) -> Ingested:
        """A batch of leaves in order."""
        return self._take(site, Batch.decode(payload), now_us, note_in_us=NOTE_AFTER_BATCH_US)

    def on_fetch(self, site: str, payload: bytes) -> Ingested:
        """A rolled-back box asks for leaves it lost."""
        return Ingested(site, leaves=self._fetched(site, Want.decode(payload)))

    def notes_due(self, now_us: int) -> list[Ingested]:
        """Cosign what waits for its five minutes. Call every second from any worker."""
        due = self._store.notes_due(now_us)
        return [Ingested(o.site, note=note) for o in due if (note := self._cosign(o.name, now_us))]

    def wants(self, now_us: int) -> list[Asked]:
        """Ask for holes. Call every second from any worker; no leaf is asked for twice within 30 s."""
        asked: list[Asked] = []
        for origin, top in self._store.with_holes(now_us - QUIET_US, now_us - PATIENCE_US):
            for want in self._holes(origin, top, now_us):
                payload = want.sign(origin.name, now_us, self._mirror.key, self._mirror.sign)
                asked.append(Asked(origin.site, payload))
        return asked

    def publish_note(self, site: str, publish: Callable[[bytes], None]) -> None:
        """Publish the newest retained note, and again as long as another worker moved it meanwhile.

        So the message that stays retained is never older than the store: a box that was rolled back must
        read the newest one, or its honest repair would look like fraud.
        """
        published: bytes | None = None
        while (newest := self._store.of_site(site).note) != published:
            if newest is not None:
                publish(deflate.squeeze(newest))
            published = newest

    # -- steps ----------------------------------------------------------------------------------------------

    def _take(self, site: str, batch: Batch, now_us: int, note_in_us: int | None) -> Ingested:
        origin = self._store.of_site(site)
        pending = _signed_head(batch.checkpoint, origin) if batch.checkpoint else None
        self._store.add(origin, batch.first, batch.leaves, pending, now_us)
        first, accepted, fraud = self._advance(origin.name, now_us)
        note = None
        if accepted or note_in_us == 0:
            self._store.want_note(origin.name, self._note_due(origin, now_us, note_in_us))
        if self._store.note_is_due(origin.name, now_us):
            note = self._cosign(origin.name, now_us)
        return Ingested(site, first, tuple(accepted), note, fraud=fraud)

    def _advance(self, name: str, now_us: int) -> tuple[int, list[bytes], Fraud | None]:
        """Move the mirror as far as signed checkpoints and leaves allow; another worker may help."""
        before = self._store.origin(name)
        gained: list[bytes] = []
        first = before.size
        while not before.frozen:
            fraud = self._judge_late(before, now_us)
            if fraud:
                return first, gained, fraud
            ready = self._ready_heads(before)
            if not ready:
                break
            moved_to, fraud = self._try(before, ready, now_us)
            if fraud:
                return first, gained, fraud
            if moved_to:
                first = first if gained else before.size
                gained += self._store.leaves(name, before.size, moved_to - before.size)
            before = self._store.origin(name)
        return first, gained, None

    def _judge_late(self, origin: Origin, now_us: int) -> Fraud | None:
        """Checkpoints that the mirror has passed already must be prefixes of what it holds."""
        for pending in self._store.pending_heads(origin.name):
            if pending.head.size > origin.size:
                break
            stored = Head(pending.head.size, self._store.root(origin.name, pending.head.size))
            if mirror_opinion(stored, pending.head) is Opinion.FRAUD:
                return self._fraud(
                    origin, pending, "signed a tree that its own later leaves contradict", now_us
                )
            self._store.drop_head(origin.name, pending.head)
        return None

    def _ready_heads(self, origin: Origin) -> list[PendingHead]:
        """Checkpoints all of whose leaves are there, the largest first."""
        heads = [p for p in self._store.pending_heads(origin.name) if p.head.size > origin.size]
        if not heads:
            return []
        present = self._store.present(origin.name, origin.size, heads[-1].head.size)
        end = next(index for index in itertools.count(origin.size) if index not in present)
        return [p for p in reversed(heads) if p.head.size <= end]

    def _try(self, origin: Origin, ready: list[PendingHead], now_us: int) -> tuple[int, Fraud | None]:
        """Move to the largest checkpoint that the leaves fit; returns its size, 0 if none does."""
        base = merkle.frontier_at(self._store.nodes(origin.name), origin.size)
        choices = self._store.candidates(origin.name, origin.size, ready[0].head.size)
        if not all(choices):  # another worker has just thrown some away
            return 0, None
        for pending in ready:
            picks = fit(base, choices[: pending.head.size - origin.size], pending.head.root)
            if picks is not None:
                return self._store.accept(origin, pending, picks) * pending.head.size, None
            if self._fits_otherwise(origin, pending.head):
                reason = "signed a tree that does not extend what it signed before"
                return 0, self._fraud(origin, pending, reason, now_us)
        log.warning(
            "%s: leaves do not give the signed root of %d; asking again", origin.name, ready[0].head.size
        )
        self._store.reject(origin.name, origin.size, ready[0])
        return 0, None

    def _fits_otherwise(self, origin: Origin, head: Head) -> bool:
        """Do leaves that rival verified ones give the signed root? Then the log has two histories."""
        start = self._store.contested_below(origin.name, origin.size)
        if start is None:
            return False
        base = merkle.frontier_at(self._store.nodes(origin.name), start)
        choices = [c[::-1] for c in self._store.candidates(origin.name, start, head.size)]
        return fit(base, choices, head.root) is not None

    def _cosign(self, name: str, now_us: int) -> bytes | None:
        """Witness and mirror sign the mirror's newest checkpoint; None if another worker did so."""
        origin = self._store.origin(name)
        if origin.frozen or not origin.checkpoint:
            return None
        last = origin.noted
        proof = merkle.consistency(self._store.nodes(name), last.size, origin.size) if last else []
        stored = Head(origin.size, self._store.root(name, origin.size))
        opinions = (witness_opinion(last, origin.head, proof), mirror_opinion(stored, origin.head))
        if opinions != (Opinion.COSIGN, Opinion.COSIGN):
            raise LedgerError(f"{name}: the mirror's database contradicts what it signed; restore its backup")
        own, note = notes.open_checkpoint(origin.checkpoint, origin.key)
        time_s = now_us // 1_000_000
        text = str(self._mirror.cosign(self._witness.cosign(note, time_s), time_s))
        encoded = WitnessNote(text, text, now_us).encode()
        return encoded if self._store.keep_note(origin, Head(own.size, own.root), encoded, now_us) else None

    def _note_due(self, origin: Origin, now_us: int, note_in_us: int | None) -> int:
        if note_in_us is not None:
            return now_us + note_in_us
        return max(now_us, origin.noted_us + NOTE_EVERY_US)

    def _fetched(self, site: str, want: Want) -> bytes:
        """Leaves for a rolled-back box, as many as one message should carry."""
        origin = self._store.of_site(site)
        found = self._store.leaves(origin.name, want.first, min(want.count, MAX_MISSING))
        sizes = itertools.accumulate(len(leaf) + 1 for leaf in found)
        fitting = sum(size <= BATCH_BYTES for size in sizes)
        return Batch(want.first, tuple(found[:fitting])).encode()

    def _holes(self, origin: Origin, top: int, now_us: int) -> list[Want]:
        top = min(top, origin.size + MAX_MISSING)
        present = self._store.present(origin.name, origin.size, top)
        missing = [index for index in range(origin.size, top) if index not in present]
        return _ranges(self._store.ask(origin, missing, now_us, now_us + ASK_AGAIN_US))

    def _fraud(self, origin: Origin, pending: PendingHead, reason: str, now_us: int) -> Fraud | None:
        fraud = Fraud(origin.site, origin.name, reason, origin.checkpoint, pending.checkpoint)
        if not self._store.record_fraud(fraud, now_us):
            return None
        log.critical("FRAUD at %s: %s %s", origin.site, origin.name, reason)
        return fraud


def _signed_head(checkpoint: str, origin: Origin) -> PendingHead:
    head, _ = notes.open_checkpoint(checkpoint, origin.key)
    return PendingHead(Head(head.size, head.root), checkpoint, 0)


def _ranges(indexes: Sequence[int]) -> list[Want]:
    """Neighbouring indexes as one want."""
    wants: list[Want] = []
    for index in indexes:
        if wants and wants[-1].first + wants[-1].count == index:
            wants[-1] = Want(wants[-1].first, wants[-1].count + 1)
        else:
            wants.append(Want(index, 1))
    return wants
