"""What this box has signed: its newest checkpoint in a file, and when in this run it signed which size.

The file is never synced: recovery hashes the leaves again. The moments turn a cosignature into a bound of the
true time: nobody can have cosigned a tree before we made it.
"""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path

from edge_agent import durable
from edge_agent.clock import SignedTime
from edge_agent.errors import FormatError, LedgerError
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger.checkpoint import Checkpoint, Verifier
from edge_agent.ledger.cursor import Seen

log = logging.getLogger(__name__)

MOMENTS = 1024  # the newest; a note about an older size confirms no clock anyway


class OwnCheckpoint:
    """`checkpoint` in the ledger's directory."""

    def __init__(self, directory: Path, key: Verifier) -> None:
        self._path = directory / "checkpoint"
        self._key = key

    def load(self) -> Checkpoint | None:
        """None when there is none, or none that holds."""
        try:
            return notes.open_checkpoint(self.text(), self._key)[0]
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, FormatError, LedgerError) as error:
            log.warning("ledger: the last checkpoint cannot be read, recomputing: %s", error)
            return None

    def text(self) -> str:
        return self._path.read_text(encoding="utf-8")

    def keep(self, checkpoint: str) -> None:
        try:
            durable.replace(self._path, checkpoint.encode(), synced=False)
        except OSError as error:  # the next one replaces it; recovery then recomputes more
            log.warning("ledger: the checkpoint could not be kept: %s", error)


class SigningTimes:
    """Under the writer's condition. Sizes up to `beyond` count for nothing: their leaves are an earlier
    run's, and so may the cosignature be; a larger tree holds a leaf of this run."""

    def __init__(self, beyond: int) -> None:
        self._beyond = beyond
        self._moments: deque[tuple[int, float]] = deque(maxlen=MOMENTS)

    def signed(self, size: int, boot_s: float) -> None:
        newest = self._moments[-1][0] if self._moments else self._beyond
        if size > newest:
            self._moments.append((size, boot_s))

    def time_of(self, seen: Seen, boot_s: float) -> SignedTime:
        """What the witness's cosignature on a checked note, here at `boot_s`, tells of the time."""
        after_s = next((at for size, at in reversed(self._moments) if size == seen.witness.size), None)
        return SignedTime(seen.witness_s, after_s, boot_s)
