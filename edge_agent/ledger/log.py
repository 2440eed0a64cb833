"""The reading side: leaves, roots, checkpoints and proofs of what is durable. Any thread."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.errors import LedgerError
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import leaf as leaves_
from edge_agent.ledger import merkle
from edge_agent.ledger.checkpoint import Checkpoint, Note, Signer
from edge_agent.ledger.file import LedgerFile


class LedgerLog:
    """A view of one ledger file. `may_sign` is asked before every signature: after a start the box signs
    nothing until it knows what the command centre has seen."""

    def __init__(
        self, file: LedgerFile, origin: str, public: bytes, sign: Signer, may_sign: Callable[[], bool]
    ) -> None:
        self.origin = origin
        self._file = file
        self._public = public
        self._sign = sign
        self._may_sign = may_sign

    @property
    def size(self) -> int:
        return self._file.size

    def leaves(self, first: int, count: int) -> list[bytes]:
        """At most `count` leaves from `first` on, byte for byte. Raises `LedgerError` for a pruned one."""
        entries = self.entries(first, count)
        for index, entry in enumerate(entries, first):
            if leaves_.is_pruned(entry):
                raise LedgerError(f"leaf {index} is pruned or damaged; only its hash is left")
        return entries

    def entries(self, first: int, count: int) -> list[bytes]:
        """As `leaves`, but a leaf whose body is gone comes as its hash (`leaf.pruned`)."""
        return self._file.entries(first, count)

    def root(self, size: int) -> bytes:
        return self._file.root(self._within(size))

    def checkpoint(self, size: int) -> str:
        """The signed note over the first `size` leaves. Raises `LedgerError` while signing is held.

        Ed25519 is deterministic: the same size gives the same bytes for ever.
        """
        if not self._may_sign():
            raise LedgerError("the ledger signs nothing before it knows what the command centre has seen")
        return str(self.sign(size))

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Audit path of leaf `index` under `root(size)`, checked before it is handed out."""
        if not 0 <= index < self._within(size):
            raise LedgerError(f"leaf {index} is not among the first {size}")
        proof = merkle.inclusion(self._file.nodes, index, size)
        if not merkle.verify_inclusion(self._file.leaf_hash(index), index, size, proof, self.root(size)):
            raise LedgerError(f"the hash file is damaged near leaf {index}; run `ledger verify`")
        return proof

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the first `old` leaves are a prefix of the first `new`, checked likewise."""
        if not 0 <= old <= self._within(new):
            raise LedgerError(f"no tree of {old} leaves comes before one of {new}")
        proof = merkle.consistency(self._file.nodes, old, new)
        if not merkle.verify_consistency(old, new, proof, self.root(old), self.root(new)):
            raise LedgerError(f"the hash file is damaged below leaf {new}; run `ledger verify`")
        return proof

    def sign(self, size: int) -> Note:
        """Sign without asking. Ledger thread only."""
        return notes.sign(Checkpoint(self.origin, size, self.root(size)), self._public, self._sign)

    def _within(self, size: int) -> int:
        if not 0 <= size <= self._file.size:
            raise LedgerError(f"the ledger has {self._file.size} durable leaves, not {size}")
        return size
