"""What the ledger tells the owner."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.events import Fact


@dataclass(frozen=True, slots=True)
class LedgerSynced(Fact):
    """The leaves [first, size) are durable. `urgent` are the indexes to publish at once.

    `checkpoint` is the signed note over `size` leaves, empty while signing is held after a start.
    """

    first: int
    size: int
    urgent: tuple[int, ...]
    checkpoint: str


@dataclass(frozen=True, slots=True)
class LedgerFaulted(Fact):
    """Writing failed; the leaves wait in RAM and go into a new part file in `retry_in_s`."""

    reason: str
    waiting: int
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class LedgerRepaired(Fact):
    """This box had been rolled back. `adopted` leaves came back from the command centre from index `base`
    on; `again` of its own were appended once more behind the `rollback` leaf."""

    base: int
    adopted: int
    again: int


@dataclass(frozen=True, slots=True)
class LedgerForked(Fact):
    """Two checkpoints under our key contradict each other. Signing stays held: the site needs new keys."""

    reason: str
