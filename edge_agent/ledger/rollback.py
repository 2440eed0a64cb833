"""After a power cut or an old image: does the command centre know more of this log than we do? Pure.

The box signs nothing after a start until it has read `dn/witness`. If the note there, signed by our own key,
covers more than we hold, an honest box was set back. It fetches those leaves, checks them against its own
signature, adopts them, writes a `rollback` leaf and appends again what it had noted meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from edge_agent.errors import LedgerError
from edge_agent.ledger.checkpoint import Checkpoint
from edge_agent.ledger.leaf import Json, is_pruned
from edge_agent.ledger.merkle import Frontier, leaf_hash
from edge_agent.ledger.wire import Batch, Want

WANT_AT_ONCE = 256


class Standing(Enum):
    SETTLED = auto()  # what was seen is a prefix of what we hold
    BEHIND = auto()  # we lack leaves that we once signed
    FORKED = auto()  # our key signed two logs


@dataclass(frozen=True, slots=True)
class Own:
    """Our side: leaves held, leaves under a signature of ours, and whether we sign already."""

    size: int
    signed: int
    signing: bool
    root: Callable[[int], bytes]


def assess(own: Own, seen: Checkpoint) -> Standing:
    """Compare with a checkpoint under our own, verified signature."""
    if seen.size <= own.size and own.root(seen.size) == seen.root:
        return Standing.SETTLED
    if own.signing or seen.size <= own.signed:
        return Standing.FORKED
    return Standing.BEHIND


class Repair:
    """Gathers the leaves [base, target.size) in order; accepts them only if they give the signed root."""

    def __init__(self, base: Frontier, target: Checkpoint) -> None:
        self._base = base
        self.target = target
        self.adopted: list[bytes] = []

    @property
    def base(self) -> int:
        return self._base.size

    def want(self) -> Want | None:
        """The next range to ask for, None when all of it is there."""
        at = self.base + len(self.adopted)
        return Want(at, min(self.target.size - at, WANT_AT_ONCE)) if at < self.target.size else None

    def add(self, batch: Batch) -> Want | None:
        """Take a batch; returns what is wanted next. Raises `LedgerError` if all is there and contradicts
        our signature: then the batch was forged or our key signed two logs. The gathering starts anew."""
        at = self.base + len(self.adopted)
        if batch.first <= at < batch.end:
            fresh = batch.leaves[at - batch.first : self.target.size - batch.first]
            if any(is_pruned(entry) for entry in fresh):
                raise LedgerError("the command centre no longer has the leaves that this box lost")
            self.adopted += fresh
        if (want := self.want()) is not None:
            return want
        hashes = [leaf_hash(leaf) for leaf in self.adopted]
        if self._base.copy().extend(hashes).root() != self.target.root:
            self.adopted.clear()
            raise LedgerError("the leaves that came back do not fit the checkpoint that we signed")
        return None

    def unseen(self, own: Sequence[bytes]) -> list[bytes]:
        """Those of our leaves from `base` on that the command centre does not have."""
        same = 0
        for ours, theirs in zip(own, self.adopted, strict=False):
            if ours != theirs:
                break
            same += 1
        return [leaf for leaf in own[same:] if not is_pruned(leaf)]

    def facts(self, had: int, again: int) -> dict[str, Json]:
        """The data of the `rollback` leaf."""
        return {"base": self.base, "adopted": len(self.adopted), "had": had, "again": again}
