"""What the command centre has acknowledged: the size under the mirror's newest cosignature.

Only the mirror's signature counts as delivery (docs/protocol.md); the witness's brackets our time and feeds
the beacon. The note is kept in a file of its own so that `ledger verify` can hold the log against it. The
file is replaced atomically, at most once a minute: losing it costs a resend, because leaves are idempotent.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_agent import durable
from edge_agent.errors import FormatError, LedgerError
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger.checkpoint import Checkpoint, Note, Verifier
from edge_agent.ledger.wire import WitnessNote

log = logging.getLogger(__name__)

WRITE_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Cosigners:
    """The command centre's two keys, pinned at enrolment."""

    witness: Verifier
    mirror: Verifier


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """`size` leaves are stored over there. `shrank`: it was more before, so leaves must be sent again."""

    size: int = 0
    time_s: int = 0  # the newest cosignature's clock, 0 if there is none
    beacon: bytes = bytes(32)
    shrank: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """A witness note whose signatures hold: our own on both checkpoints, theirs where pinned.

    `time_s` is the newest cosignature's clock, `witness_s` that of the witness's.
    """

    witness: Checkpoint
    mirror: Checkpoint
    time_s: int
    witness_s: int
    beacon: bytes


def read_note(note: WitnessNote, log_key: Verifier, cosigners: Cosigners) -> Seen:
    """Check a note. Raises `LedgerError` or `FormatError`: then it is not to be believed at all."""
    witness, witness_note = notes.open_checkpoint(note.witness, log_key)
    mirror, mirror_note = notes.open_checkpoint(note.mirror, log_key)
    times = [
        _cosigned(witness_note, cosigners.witness),
        _cosigned(mirror_note, cosigners.mirror),
    ]
    newest = notes.cosignature(witness_note, cosigners.witness)
    beacon = hashlib.sha256(newest.value).digest() if newest else bytes(32)
    return Seen(witness, mirror, max(times), times[0], beacon)


class Cursor:
    """Owned by the ledger writer, under its lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written_s = float("-inf")
        self._unwritten: WitnessNote | None = None
        self.now = Acknowledged()

    def load(self, log_key: Verifier, cosigners: Cosigners, own: Callable[[Checkpoint], bool]) -> None:
        """Take up where we were; a file that does not hold is as good as none."""
        try:
            note = WitnessNote.decode(self._path.read_bytes())
            seen = read_note(note, log_key, cosigners)
        except FileNotFoundError:
            return
        except (OSError, FormatError, LedgerError) as error:
            log.warning("%s: not usable, leaves may be sent twice: %s", self._path, error)
            return
        if own(seen.mirror):
            self.now = Acknowledged(seen.mirror.size, seen.time_s, seen.beacon)

    def move(self, note: WitnessNote, seen: Seen, now_s: float) -> Acknowledged:
        """Take over a checked note of our own tree. A note older than the one we have changes nothing."""
        if seen.time_s < self.now.time_s:
            return self.now
        shrank = seen.mirror.size < self.now.size
        self.now = Acknowledged(seen.mirror.size, seen.time_s, seen.beacon, shrank)
        self._unwritten = note
        if now_s - self._written_s >= WRITE_EVERY_S:
            self.flush(now_s)
        return self.now

    def flush(self, now_s: float) -> None:
        """Write the newest note if it is not on disk yet. A failure only costs a resend."""
        if self._unwritten is None:
            return
        try:
            durable.replace(self._path, self._unwritten.encode())
            self._unwritten, self._written_s = None, now_s
        except OSError as error:
            log.warning("%s: %s", self._path, error)


def _cosigned(note: Note, cosigner: Verifier) -> int:
    time_s = notes.cosigned_at(note, cosigner)
    if time_s is None:
        raise LedgerError(f"the checkpoint is not cosigned by {cosigner.name}")
    return time_s
