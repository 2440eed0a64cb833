"""The owner's side of the evidence log: orders to hold and release, their leaves and replies. Main thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from threading import Event
from typing import TYPE_CHECKING, Any

from edge_agent.agent.evidence_worker import Held, Order
from edge_agent.agent.reports import base64_text
from edge_agent.errors import RingError
from edge_agent.model import Role, StreamKey
from edge_agent.ring.hold import Hold, HoldState, Stretch
from edge_agent.uplink.messages import timestamp

if TYPE_CHECKING:
    from edge_agent.agent.owner import Owner

log = logging.getLogger(__name__)

LONGEST_US = 24 * 3_600_000_000
AHEAD_US = 2_000_000
PAGE_CHARS = 40_000  # of key records in one reply, which holds 64 KB
MAX_REFUSED = 32
AUTOMATIC = "dark-"

Failed = Callable[[str], None]


class EvidenceDesk:
    """Also the night watch's `EvidenceKeeper`."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._worker = owner.parts.evidence
        self.refused: dict[str, str] = {}  # by hold, why: for who asks again at the box; the newest ones
        self._worker.resumed = lambda held: self._noted(held, "agent")

    def stretch(self, camera: str, role: Role, from_us: int, to_us: int, case: str) -> Stretch:
        """Raises RingError with what is wrong about it."""
        stream = self._owner.stream_ids.get(StreamKey(camera, role))
        if stream is None or not self._owner.footage.records(role):
            raise RingError(f"{camera}/{role.value} is not recorded here")
        if case.startswith(AUTOMATIC):
            raise RingError(f"a case's name does not begin with {AUTOMATIC}: those are the night watch's")
        if to_us <= from_us or to_us > self._owner.parts.clock.now().wall_us + AHEAD_US:
            raise RingError("only what is recorded can be held: the end must be after the start, and past")
        if to_us - from_us > LONGEST_US:
            raise RingError("one hold is at most 24 hours; hold the time in several")
        return Stretch(case, camera, role, stream, from_us, to_us)

    def hold(
        self, stretch: Stretch, who: str, then: Callable[[Held], None], failed: Failed,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:  # fmt: skip
        def held(fact: Held) -> None:
            self._noted(fact, who)
            then(fact)

        def refused(why: str) -> None:
            self.refused[stretch.id] = why
            while len(self.refused) > MAX_REFUSED:
                self.refused.pop(next(iter(self.refused)))
            failed(why)

        self.refused.pop(stretch.id, None)
        self._worker.hold(Order(stretch, held, refused, progress))

    def keep(self, camera: str, from_us: int, to_us: int, why: str) -> None:
        """The seconds around a camera going dark, held by itself. Best stream that is recorded."""
        for role in Role:
            stream = self._owner.stream_ids.get(StreamKey(camera, role))
            if stream is not None and self._owner.footage.records(role):
                case = AUTOMATIC + why.removeprefix("incident ")[:48]
                stretch = Stretch(case, camera, role, stream, from_us, to_us, automatic=True)
                self._worker.hold(Order(stretch, lambda held: self._noted(held, "night watch"), _quiet(case)))
                return

    def release(self, case: str, who: str, then: Callable[[int], None], failed: Failed) -> None:
        """Remove all that is held for a case, after the leaf about it. `then` gets the bytes."""

        def found(holds: list[Hold]) -> None:
            mine = tuple(hold for hold in holds if hold.stretch.case == case)
            if not mine:
                failed(f"nothing is held for case {case}")
                return
            self._worker.remove(mine, self._note_release(case, mine, who), then, failed)

        self._owner.parts.chores.ask(self._worker.held, found, failed)

    def listing(self, then: Callable[[list[dict[str, Any]]], None], failed: Failed) -> None:
        self._owner.parts.chores.ask(
            self._worker.held, lambda holds: then([self._line(hold) for hold in holds]), failed
        )

    def _line(self, hold: Hold) -> dict[str, Any]:
        return describe(hold) | {"percent": self._worker.progress.get(hold.id)}

    def _noted(self, held: Held, who: str) -> None:
        hold = held.hold
        if not held.fresh:
            return
        stretch = hold.stretch
        log.info("evidence: %s of %s is held, %d records", stretch.case, stretch.camera, hold.records)
        leaf = _leaf(hold) | {"who": who}
        self._worker.noted(hold, self._owner.journal.hold(leaf, alarm=not stretch.automatic))

    def _note_release(self, case: str, holds: tuple[Hold, ...], who: str) -> Event:
        told = {"case": case, "holds": len(holds), "bytes": sum(h.bytes for h in holds), "who": who}
        return self._owner.journal.release(told | {"ids": [hold.id for hold in holds[:32]]})


def describe(hold: Hold) -> dict[str, Any]:
    """For status answers and `ring ls --json`."""
    stretch = hold.stretch
    return {
        "id": hold.id, "case": stretch.case, "camera": stretch.camera, "role": stretch.role.value,
        "from_us": stretch.from_us, "to_us": stretch.to_us, "automatic": stretch.automatic,
        "state": hold.state.value, "held_at_us": hold.held_at_us, "records": hold.records,
        "bytes": hold.bytes, "digest": hold.digest, "text": hold.text,
    }  # fmt: skip


def pages(held: Held) -> Iterator[list[str]]:
    """The key records, base64, as many together as one reply may carry."""
    page: list[str] = []
    for text in (base64_text(record.raw) for record in held.keys):
        if page and sum(map(len, page)) + len(text) > PAGE_CHARS:
            yield page
            page = []
        page.append(text)
    yield page


def _leaf(hold: Hold) -> dict[str, Any]:
    stretch = hold.stretch
    return {
        "id": hold.id, "case": stretch.case, "camera": stretch.camera, "role": stretch.role.value,
        "from": timestamp(stretch.from_us), "to": timestamp(stretch.to_us), "records": hold.records,
        "bytes": hold.bytes, "digest": hold.digest, "whole": hold.state is HoldState.WHOLE,
    }  # fmt: skip


def _quiet(case: str) -> Failed:
    return lambda why: log.info("evidence: %s: %s", case, why)
