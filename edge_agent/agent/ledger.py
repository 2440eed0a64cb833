"""The owner's side of the ledger's way out: the witness's note, wants, leaves given back, what is sent next.

Main thread only. Nothing that comes from outside is obeyed before a pinned key, or our own signature, has
vouched for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge_agent.agent.parts import Uplink
from edge_agent.errors import FormatError, LedgerError
from edge_agent.events import Fact
from edge_agent.ledger.facts import LedgerFaulted, LedgerForked, LedgerRepaired, LedgerSynced
from edge_agent.ledger.wire import Batch, Want, WitnessNote
from edge_agent.uplink import replicate
from edge_agent.uplink.facts import LeavesArrived, LeavesWanted, WitnessNoteArrived
from edge_agent.uplink.messages import LedgerPart

if TYPE_CHECKING:
    from edge_agent.agent.owner import Owner

log = logging.getLogger(__name__)

NOTE_PATIENCE_S = 3.0  # a retained note comes with the subscription; after this there is none
LOST_NOTE_PATIENCE_S = 900.0  # of a box that was cosigned before: there must be a note, and it asks for it

NotBelieved = Callable[[str, Exception], None]


class LedgerDesk:
    def __init__(self, owner: Owner, uplink: Uplink, not_believed: NotBelieved) -> None:
        self._owner = owner
        self._ledger = owner.parts.ledger
        self._uplink = uplink
        self._not_believed = not_believed
        self._up = False
        self._note_asked: float | None = None  # since when this connection waits for the note
        self._fetch: Want | None = None
        self._testified = False
        self._told_early = False  # urgent facts went up whose leaves must follow as soon as they may
        self.reactions: dict[type[Fact], Callable[..., None]] = {
            LedgerSynced: self._synced,
            LedgerFaulted: self._faulted,
            LedgerRepaired: self._repaired,
            LedgerForked: self._forked,
            WitnessNoteArrived: self._note_arrived,
            LeavesWanted: self._leaves_wanted,
            LeavesArrived: self._leaves_arrived,
        }

    def link_up(self, now_s: float) -> None:
        self._up, self._testified = True, False
        if not self._ledger.signing:
            self._note_asked = now_s

    def link_down(self) -> None:
        self._up, self._note_asked = False, None

    def tick(self, now_s: float) -> None:
        if self._note_asked is not None and now_s - self._note_asked > self._note_patience():
            self._begin_without_note(now_s - self._note_asked)

    def heartbeat_part(self, now_s: float) -> LedgerPart:
        """Waiting leaves with their checkpoint; without one the box asks for the note, or for leaves."""
        return self._uplink.replicator.heartbeat_part(now_s, self._fetch)

    def _synced(self, fact: LedgerSynced) -> None:
        """Urgent facts go at once; their places in the log only count once the log may be signed."""
        places = {} if fact.checkpoint else {"index": None, "leaf": None}
        hurry = self._told_early and bool(fact.checkpoint)
        if fact.checkpoint:
            self._told_early = False
        elif fact.urgent:
            self._told_early = True
        for event in self._uplink.replicator.synced(fact.size, fact.urgent, hurry=hurry):
            if self._up:
                self._uplink.control.send_event(event.model_copy(update=places))
        self._uplink.control.wake()

    def _faulted(self, fact: LedgerFaulted) -> None:
        log.error("ledger: %s; %d leaves wait in memory", fact.reason, fact.waiting)

    def _note_arrived(self, fact: WitnessNoteArrived) -> None:
        """What the command centre has seen of our ledger: our cursor, and our memory after a rollback."""
        try:
            self._fetch = self._ledger.witnessed(WitnessNote.decode(fact.payload))
        except (FormatError, LedgerError) as error:
            self._not_believed("witness note", error)
            return
        self._note_asked = None
        if self._fetch is not None:
            self._owner.beats.soon()
        else:
            self._uplink.replicator.confirmed(self._ledger.acknowledged.size, fact.at.boot_ns / 1e9)

    def _note_patience(self) -> float:
        return LOST_NOTE_PATIENCE_S if self._ledger.remembers_witness else NOTE_PATIENCE_S

    def _begin_without_note(self, waited_s: float) -> None:
        """A box that was never cosigned finds no note, and begins. One that was must not begin lightly:
        had it been set back, its new signatures would look like fraud. Every heartbeat without a checkpoint
        asks for the note; when even so nobody answers, a ledger that never signs again is worse."""
        self._note_asked = None
        if self._ledger.remembers_witness:
            log.warning("ledger: no witness note for %.0f s; signing goes on without it", waited_s)
            self._owner.journal.unwitnessed(waited_s)
        self._fetch = self._ledger.witnessed(None)

    def _leaves_wanted(self, fact: LeavesWanted) -> None:
        """Only the mirror may ask: leaves cost the shop's bandwidth."""
        try:
            want = self._ledger.open_want(fact.payload)
        except (FormatError, LedgerError) as error:
            self._not_believed("want", error)
            return
        if self._uplink.replicator.wanted(want):
            self._uplink.control.wake()

    def _leaves_arrived(self, fact: LeavesArrived) -> None:
        """After a rollback: leaves that we had signed once, checked against that signature."""
        before = self._fetch
        if before is None:
            return
        try:
            self._fetch = self._ledger.adopt(Batch.decode(fact.payload))
        except (FormatError, LedgerError) as error:
            self._not_believed("leaves", error)
            self._fetch = self._ledger.witnessed(None)
            self._testify()
            return
        if self._fetch is not None and self._fetch != before:
            self._owner.beats.soon()

    def _repaired(self, fact: LedgerRepaired) -> None:
        """What was adopted is what the mirror holds: the rest follows from there."""
        self._fetch, self._told_early = None, True
        self._uplink.replicator.confirmed(fact.base + fact.adopted, fact.at.boot_ns / 1e9)

    def _forked(self, fact: LedgerForked) -> None:
        self._owner.journal.forked(fact.reason)
        self._testify()

    def _testify(self) -> None:
        """Show the command centre what we signed, once a connection: two boxes have our key."""
        if self._testified:
            return
        self._testified = True
        try:
            first, entries, checkpoint = self._ledger.testimony()
        except (OSError, LedgerError) as error:
            log.error("ledger: what was signed cannot be shown: %s", error)
            return
        for payload in replicate.batches(entries, first, checkpoint) if checkpoint else ():
            self._uplink.control.send_ledger(payload)
