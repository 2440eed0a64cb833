"""The ledger thread: takes facts from anyone, makes them durable, signs, tells the owner.

At most one sync a second and only with leaves waiting; an urgent leaf is synced at once, together with all
that wait. Only what is synced is signed. Nothing is signed after a start before `witnessed` was called.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Event

from edge_agent import clock as clocks
from edge_agent import durable
from edge_agent.clock import Clock, SignedTime
from edge_agent.errors import LedgerError
from edge_agent.events import Inbox
from edge_agent.ledger import leaf as leaves_
from edge_agent.ledger.checkpoint import Checkpoint, Signer, Verifier
from edge_agent.ledger.cursor import Acknowledged, Cosigners, Cursor, read_note
from edge_agent.ledger.facts import LedgerFaulted, LedgerForked, LedgerRepaired, LedgerSynced
from edge_agent.ledger.file import LedgerFile, Recovery
from edge_agent.ledger.leaf import Json
from edge_agent.ledger.log import LedgerLog
from edge_agent.ledger.queue import LeafQueue, Waiting
from edge_agent.ledger.rollback import Own, Repair, Standing, assess
from edge_agent.ledger.signed import OwnCheckpoint, SigningTimes
from edge_agent.ledger.wire import Batch, Want, WitnessNote
from edge_agent.supervisor import Beat

log = logging.getLogger(__name__)

SYNC_EVERY_S = 1.0
URGENT_EVERY_S = 0.1
LONGEST_PAUSE_S = 60.0
NAP_S = 0.25
MAX_QUEUE = 16_384
MAX_TESTIMONY = 1024


@dataclass(slots=True)
class _State:
    """Guarded by the writer's condition."""

    signing: bool = False
    owes_checkpoint: bool = False
    forked: bool = False
    repair: Repair | None = None
    repair_ready: bool = False


class LedgerWriter:
    """A supervised worker and the door to the ledger. `append`, `witnessed`, `adopt`: any thread."""

    name = "ledger"

    def __init__(
        self,
        *,
        directory: Path,
        origin: str,
        sign: Signer,
        public: bytes,
        clock: Clock,
        inbox: Inbox,
        cosigners: Cosigners | None = None,
        boot: bytes | None = None,
        told_time: Callable[[SignedTime], None] = lambda _: None,
        max_queue: int = MAX_QUEUE,
    ) -> None:
        """Open or create it in `directory`. Raises `LedgerError` if it belongs to other keys, OSError.

        `told_time` is called with what each note that holds tells of the time; it must not block.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self._key = Verifier(origin, public)
        self._clock = clock
        self._inbox = inbox
        self._boot = boot if boot is not None else clocks.boot_id()
        self._cosigners = cosigners
        self._told_time = told_time
        _claim(directory, self._key)
        self._own_checkpoint = OwnCheckpoint(directory, self._key)
        self._file = LedgerFile(directory, self._own_checkpoint.load())
        self._signed = self._file.recovery.signed
        self._more = Condition()
        self._queue = LeafQueue(max_queue, self._more)
        self._state = _State()
        self._signing_times = SigningTimes(self._file.size)
        self.log = LedgerLog(self._file, origin, public, sign, lambda: self._state.signing)
        self._cursor = Cursor(directory / "cosigned")
        if cosigners:
            self._cursor.load(self._key, cosigners, self._is_ours)
        self._synced_s = float("-inf")
        self._pause_s = 0.0
        self._repair_s = float("-inf")
        if self._file.recovery.contradicts:
            log.error("ledger: the leaves on disk are not those that were signed; run `ledger verify`")

    # -- any thread -----------------------------------------------------------------------------------------

    @property
    def recovery(self) -> Recovery:
        """What opening the file found: for the `boot` leaf."""
        return self._file.recovery

    @property
    def acknowledged(self) -> Acknowledged:
        """The durable cursor: what the mirror has cosigned."""
        return self._cursor.now

    @property
    def signing(self) -> bool:
        return self._state.signing

    @property
    def remembers_witness(self) -> bool:
        """A cosigned checkpoint of ours is known here: the command centre must have one to show, too."""
        return self._cosigners is not None and self._cursor.now.size > 0

    def testimony(self) -> tuple[int, list[bytes], str]:
        """After a fork: the newest checkpoint that we signed, and the leaves under it behind the last
        cosigned size, with the index of the first. No new signature, but held against what the command
        centre has it proves two histories under one key. The checkpoint is empty if there is none.

        Raises `LedgerError` or `OSError` when it cannot be read.
        """
        first, signed = self._cursor.now.size, self._own_checkpoint.load()
        if signed is None or signed.size <= first:
            return first, [], ""
        entries = self.log.entries(first, min(signed.size - first, MAX_TESTIMONY))
        return first, entries, self._own_checkpoint.text()

    def open_want(self, payload: bytes) -> Want:
        """Read a `dn/want`. Raises `LedgerError` or `FormatError` unless the pinned mirror signed it."""
        if self._cosigners is None:
            raise LedgerError("no mirror key is pinned: the want cannot be checked")
        return Want.open(payload, self._key.name, self._cosigners.mirror)

    def append(self, kind: str, data: Mapping[str, Json], *, urgent: bool = False) -> None:
        """Note a fact. Never blocks and never raises; what is too large is cut to its beginning.

        When 16,384 leaves wait (a disk that refuses for days), further facts are counted instead, and the
        count becomes a `lost` leaf: the ledger says itself that it is incomplete.
        """
        self._queue.put(Waiting(self._encode(kind, data), urgent))

    def append_tracked(self, kind: str, data: Mapping[str, Json], *, urgent: bool = True) -> Event:
        """Note a fact and sync it soon; the event that comes back is set once it is durable. Never blocks.

        When the queue is full the fact is only counted, and the event stays unset. What is not `urgent`
        is told with the next heartbeat.
        """
        durable = Event()
        self._queue.put(Waiting(self._encode(kind, data), urgent=urgent, durable=durable))
        return durable

    def append_sync(self, kind: str, data: Mapping[str, Json], *, timeout_s: float = 5.0) -> int:
        """Note a fact and wait until it is durable; returns its index. Never from the ledger thread.

        Raises `LedgerError` when it is not durable in time; it may still become so.
        """
        waiting = Waiting(self._encode(kind, data), urgent=True, durable=(durable := Event()))
        if not self._queue.put(waiting):
            raise LedgerError(f"the ledger's queue is full: no {kind} leaf")
        if not durable.wait(timeout_s):
            raise LedgerError(f"the {kind} leaf was not durable within {timeout_s} s")
        return waiting.index

    def witnessed(self, note: WitnessNote | None) -> Want | None:
        """Take the retained note of the command centre; None says that it has none. Begins signing.

        Returns a range to fetch if this box was rolled back: ask for it and hand the answer to `adopt`.
        Raises `LedgerError` or `FormatError` for a note that cannot be believed; nothing changes then.
        """
        with self._more:
            if note is None:
                if self._state.repair is None:
                    self._begin_signing()
                return self._state.repair.want() if self._state.repair else None
            if self._cosigners is None:
                raise LedgerError("no cosigner keys are pinned: the note cannot be checked")
            seen = read_note(note, self._key, self._cosigners)
            standings = {assess(self._own(), seen.witness), assess(self._own(), seen.mirror)}
            if Standing.FORKED in standings:
                self._hold_for_ever(f"a note of {seen.witness.size} leaves is under our key but not ours")
                return None
            if Standing.BEHIND in standings:
                return self._begin_repair(max(seen.witness, seen.mirror, key=lambda head: head.size))
            now_s = self._clock.monotonic()
            self._cursor.move(note, seen, now_s)
            self._told_time(self._signing_times.time_of(seen, now_s))
            self._begin_signing()
            return None

    def adopt(self, batch: Batch) -> Want | None:
        """Take leaves that were fetched back; returns what to fetch next, None when the repair can run."""
        with self._more:
            repair = self._state.repair
            if repair is None or self._state.repair_ready:
                return None
            want = repair.add(batch)
            self._state.repair_ready = want is None
            self._more.notify()
            return want

    def stats(self) -> dict[str, int]:
        """`refused`: leaves that wait because the disk took none at the last try."""
        refused = len(self._queue) if self._pause_s else 0
        return {"size": self.log.size, "refused": refused, "acknowledged": self.acknowledged.size}

    # -- ledger thread --------------------------------------------------------------------------------------

    def run(self, stop: Event, beat: Beat) -> None:
        while not stop.is_set():
            beat()
            self._wait_for_work()
            self.turn()
        for _ in range(2):  # a first failure costs its part; the second try goes into a new one
            self.turn(last=True)
        self._cursor.flush(self._clock.monotonic())

    def turn(self, *, last: bool = False) -> None:
        """One round: repair if one is ready, then sync what is due, then sign what is owed."""
        if self._state.repair_ready and self._clock.monotonic() >= self._repair_s:
            self._perform_repair()
        if last or self._due_in() <= 0:
            self._sync()
        if self._state.owes_checkpoint and not self._queue:
            self._announce(self._file.size, [])

    def _wait_for_work(self) -> None:
        with self._more:
            if (pause := self._due_in()) > 0 and not self._state.owes_checkpoint:
                self._more.wait(min(pause, NAP_S))

    def _due_in(self) -> float:
        """Seconds until the next sync; NAP_S if nothing waits."""
        if not self._queue:
            return NAP_S
        usual = URGENT_EVERY_S if self._queue.hurry else SYNC_EVERY_S
        return self._synced_s + max(usual, self._pause_s) - self._clock.monotonic()

    def _sync(self) -> None:
        batch = self._queue.take_all()
        if not batch:
            return
        self._synced_s = self._clock.monotonic()
        try:
            first = self._file.append([waiting.leaf for waiting in batch])
        except OSError as error:
            self._keep_for_later(batch, error)
            return
        self._pause_s = 0.0
        for index, waiting in enumerate(batch, first):
            waiting.index = index
            if waiting.durable:
                waiting.durable.set()
        if lost := self._queue.take_lost():
            self.append("lost", {"count": lost})
        self._announce(first, [w.index for w in batch if w.urgent])

    def _announce(self, first: int, urgent: list[int]) -> None:
        """Sign what is durable, keep the signature, tell the owner."""
        size = self._file.size
        checkpoint = ""
        if self._state.signing:
            with self._more:
                self._signing_times.signed(size, self._clock.monotonic())
            checkpoint = str(self.log.sign(size))
            self._own_checkpoint.keep(checkpoint)
            self._signed, self._state.owes_checkpoint = size, False
        self._inbox.put(LedgerSynced(self._clock.now(), first, size, tuple(urgent), checkpoint))

    def _keep_for_later(self, batch: list[Waiting], error: OSError) -> None:
        waiting = self._queue.put_back(batch)
        self._pause_s = min(max(1.0, self._pause_s * 2), LONGEST_PAUSE_S)
        log.error("ledger: %s; %d leaves wait, next try in %.0f s", error, waiting, self._pause_s)
        self._inbox.put(LedgerFaulted(self._clock.now(), str(error), waiting, self._pause_s))

    def _perform_repair(self) -> None:
        repair = self._state.repair
        if repair is None:
            return
        had = self._file.size
        again = repair.unseen(self._file.entries(repair.base, had - repair.base))
        note = self._encode("rollback", repair.facts(had, len(again)))
        try:
            self._file.replace_from(repair.base, [*repair.adopted, note, *again])
        except OSError as error:
            log.error("ledger: the rollback cannot be repaired yet: %s", error)
            self._repair_s = self._clock.monotonic() + LONGEST_PAUSE_S
            return
        with self._more:
            self._state.repair, self._state.repair_ready = None, False
            self._signing_times = SigningTimes(repair.base + len(repair.adopted))
            self._begin_signing()
        log.warning("ledger: was rolled back to %d; adopted %d leaves", repair.base, len(repair.adopted))
        self._inbox.put(LedgerRepaired(self._clock.now(), repair.base, len(repair.adopted), len(again)))

    # -- steps, under the condition -------------------------------------------------------------------------

    def _begin_signing(self) -> None:
        if self._state.forked or self._state.signing:
            return
        self._state.signing = self._state.owes_checkpoint = True
        self._more.notify()

    def _begin_repair(self, target: Checkpoint) -> Want | None:
        """Keep an unfinished repair of the same target; the note may arrive several times."""
        if self._state.repair is None or self._state.repair.target != target:
            self._state.repair = Repair(self._file.frontier(self._signed), target)
            self._state.repair_ready = False
        return self._state.repair.want()

    def _hold_for_ever(self, reason: str) -> None:
        if not self._state.forked:
            log.critical("ledger: FORKED: %s; this site needs new keys", reason)
            self._inbox.put(LedgerForked(self._clock.now(), reason))
        self._state.forked, self._state.signing = True, False

    # -- helpers --------------------------------------------------------------------------------------------

    def _own(self) -> Own:
        return Own(self._file.size, self._signed, self._state.signing, self._file.root)

    def _is_ours(self, seen: Checkpoint) -> bool:
        return seen.size <= self._file.size and self._file.root(seen.size) == seen.root

    def _encode(self, kind: str, data: Mapping[str, Json]) -> bytes:
        now = self._clock.now()
        try:
            return leaves_.encode(kind, data, now, self._boot)
        except LedgerError as error:
            log.error("ledger: %s; only its beginning is noted", error)
            return leaves_.encode(kind, {"cut": ascii(data)[:1024]}, now, self._boot)


def _claim(directory: Path, key: Verifier) -> None:
    """Write down whose ledger this is, once. New keys are a new log in a new directory."""
    path = directory / "vkey"
    if not path.exists():
        durable.replace(path, (key.vkey + "\n").encode())
    if path.read_text(encoding="utf-8").strip() != key.vkey:
        raise LedgerError(f"{directory} belongs to another key: move it aside, new keys are a new ledger")
