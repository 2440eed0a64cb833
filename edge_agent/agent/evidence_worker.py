"""The evidence thread: the only one that writes holds. Copies half of the time: recording goes first."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from edge_agent.agent.chores import ChoreDone, ChoreFailed
from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.errors import EdgeAgentError
from edge_agent.events import Inbox
from edge_agent.ring.evidence import EvidenceLog
from edge_agent.ring.hold import Bounds, Hold, HoldState, Stretch
from edge_agent.ring.hold_copy import AFTER_US
from edge_agent.ring.reader import RingReader
from edge_agent.seal.record import Record
from edge_agent.supervisor import Beat

log = logging.getLogger(__name__)

MAX_WAITING = 128
SETTLED_US = AFTER_US + 5_000_000  # after a moment, until the mark over it is in the ring
NOTED_WITHIN_S = 60.0

Failed = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Held:
    """A hold that is whole, with its key records. `fresh`: the ledger has not its leaf yet."""

    hold: Hold
    keys: tuple[Record, ...]
    fresh: bool


@dataclass(frozen=True, slots=True)
class Order:
    """Callbacks run in the main thread: `progress` any number of times, then one of the other two."""

    stretch: Stretch
    then: Callable[[Held], None]
    failed: Failed
    progress: Callable[[int], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class _Due:
    order: Order
    hold: Hold
    due_s: float


@dataclass(frozen=True, slots=True)
class _Removal:
    """`noted`: the leaf about it is durable. Before that nothing is removed."""

    holds: tuple[Hold, ...]
    noted: Event
    then: Callable[[int], None]
    failed: Failed
    until_s: float


@dataclass(frozen=True, slots=True)
class _Noting:
    hold: Hold
    noted: Event


class EvidenceWorker:
    """Worker. A full queue refuses the order, and counts it."""

    name = "evidence"

    def __init__(self, log_: EvidenceLog, source: RingReader, clock: Clock, inbox: Inbox) -> None:
        self._log = log_
        self._source = source
        self._clock = clock
        self._inbox = inbox
        self._asked: queue.Queue[Order | _Removal | _Noting] = queue.Queue(MAX_WAITING)
        self._due: list[_Due] = []
        self._removals: list[_Removal] = []
        self._noting: list[_Noting] = []
        self.resumed: Callable[[Held], None] = lambda _: None  # of an earlier run's order; main thread
        self.progress: dict[str, int] = {}  # percent by hold, of those under way; read by any thread
        self.dropped = 0

    def hold(self, order: Order) -> None:
        self._ask(order, order.failed)

    def remove(
        self, holds: tuple[Hold, ...], noted: Event, then: Callable[[int], None], failed: Failed
    ) -> None:
        """Remove them once `noted` is set; `then` gets the bytes."""
        until_s = self._clock.monotonic() + NOTED_WITHIN_S
        self._ask(_Removal(holds, noted, then, failed, until_s), failed)

    def noted(self, hold: Hold, noted: Event) -> None:
        """The leaf is under way: once `noted` is set, the hold says so. Else the next run tells it again."""
        self._ask(_Noting(hold, noted), lambda why: log.info("evidence: %s", why))

    def held(self) -> list[Hold]:
        """As the files say. Any thread but the main one: it reads the disk."""
        return self._log.held()

    def run(self, stop: Event, beat: Beat) -> None:
        self._begin()
        while not stop.is_set():
            beat()
            try:
                asked = self._asked.get(timeout=0.5)
            except queue.Empty:
                pass
            else:
                self._take(asked)
            self._remove_noted()
            self._write_noted()
            now_s = self._clock.monotonic()
            for due in [d for d in self._due if d.due_s <= now_s]:
                self._due.remove(due)
                self._carry_out(due, stop, beat)
                if stop.is_set():
                    return  # what is not whole says so, and goes on at the next start

    def _ask(self, asked: Order | _Removal | _Noting, failed: Failed) -> None:
        try:
            self._asked.put_nowait(asked)
        except queue.Full:
            self.dropped += 1
            failed("too many holds are waiting")

    def _begin(self) -> None:
        """What the run before left: removals to finish, orders to go on with."""
        try:
            self._log.sweep()
        except OSError as error:
            log.error("evidence: %s: %s", error.filename, error.strerror)
        for hold in self._log.held():
            if hold.state is HoldState.COPYING or (hold.state is HoldState.WHOLE and not hold.noted):
                log.info("evidence: %s goes on", hold.stretch.case)
                self._plan(Order(hold.stretch, lambda held: self.resumed(held), _resuming(hold)), hold)

    def _take(self, asked: Order | _Removal | _Noting) -> None:
        if isinstance(asked, _Removal):
            self._removals.append(asked)
            return
        if isinstance(asked, _Noting):
            self._noting.append(asked)
            return
        try:
            self._plan(asked, self._log.admit(asked.stretch, self._clock.now().wall_us))
        except (EdgeAgentError, OSError) as error:
            self._fail(asked.failed, _reason(error))

    def _plan(self, order: Order, hold: Hold) -> None:
        """When the mark over its last record must have come, by a clock that nobody sets."""
        wait_us = order.stretch.to_us + SETTLED_US - self._clock.now().wall_us
        wait_s = 0.0 if hold.state is HoldState.WHOLE else min(max(0.0, wait_us / 1e6), 300.0)
        self.progress[hold.id] = 0
        self._due.append(_Due(order, hold, self._clock.monotonic() + wait_s))

    def _carry_out(self, due: _Due, stop: Event, beat: Beat) -> None:
        hold, order = due.hold, due.order
        try:
            if hold.state is not HoldState.WHOLE and not self._copy(due, stop, beat):
                return
            done, keys = self._log.finish(hold)
        except (EdgeAgentError, OSError) as error:
            self._give_up(due, _reason(error))
        else:
            held = Held(done, tuple(keys), fresh=not done.noted)
            self._inbox.put(ChoreDone(self._clock.now(), order.then, held))
        finally:
            self.progress.pop(hold.id, None)

    def _copy(self, due: _Due, stop: Event, beat: Beat) -> bool:
        """False when the agent ends meanwhile."""
        began_s = time.monotonic()
        for percent in self._log.copy(due.hold, self._source, self._clock.now().wall_us):
            beat()
            self.progress[due.hold.id] = percent
            self._inbox.put(ChoreDone(self._clock.now(), due.order.progress, percent))
            if stop.wait(min(2.0, time.monotonic() - began_s)):
                return False
            began_s = time.monotonic()
        return True

    def _give_up(self, due: _Due, why: str) -> None:
        try:
            self._log.give_up(due.hold, why)
        except OSError as error:
            log.error("evidence: %s: %s", error.filename, error.strerror)
        self._fail(due.order.failed, why)

    def _write_noted(self) -> None:
        for noting in [n for n in self._noting if n.noted.is_set()]:
            self._noting.remove(noting)
            try:
                self._log.note(noting.hold)
            except OSError as error:
                log.error("evidence: %s", _reason(error))

    def _remove_noted(self) -> None:
        now_s = self._clock.monotonic()
        for removal in list(self._removals):
            if not removal.noted.is_set():
                if now_s > removal.until_s:
                    self._removals.remove(removal)
                    self._fail(removal.failed, "the ledger did not take the release; nothing was removed")
                continue
            self._removals.remove(removal)
            self._remove(removal)

    def _remove(self, removal: _Removal) -> None:
        try:
            for hold in removal.holds:
                self._log.drop(hold)
        except OSError as error:
            self._fail(removal.failed, _reason(error))
            return
        size = sum(hold.bytes for hold in removal.holds)
        self._inbox.put(ChoreDone(self._clock.now(), removal.then, size))

    def _fail(self, failed: Failed, why: str) -> None:
        self._inbox.put(ChoreFailed(self._clock.now(), failed, why))


def evidence_log(config: Config, box_id: bytes, run_id: bytes) -> EvidenceLog:
    kept = config.ring.evidence
    bounds = Bounds(kept.max_bytes, kept.automatic_bytes)
    return EvidenceLog(config.evidence_directory, bounds, box_id, run_id)


def _resuming(hold: Hold) -> Failed:
    return lambda why: log.warning("evidence: %s: %s", hold.stretch.case, why)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'evidence'}: {error.strerror}"
    return str(error)
