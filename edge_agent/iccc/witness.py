"""The command centre's two roles towards a box's ledger. Pure: decisions and signatures, no storage.

The *witness* says: this checkpoint is consistent with every one that I saw before. The *mirror* says: I have
stored these leaves. Two roles, two keys, two statements (C2SP tlog-witness, tlog-mirror); only the mirror's
acknowledges. Whoever keeps their state does so by compare-and-set, because several workers share it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import merkle
from edge_agent.ledger.checkpoint import Algorithm, Note, Signer, Verifier
from edge_agent.ledger.merkle import Frontier

MAX_COMBINATIONS = 64


class Opinion(Enum):
    COSIGN = auto()
    WAIT = auto()  # not enough is known yet
    KNOWN = auto()  # older than what was signed already, and consistent as far as can be said
    FRAUD = auto()  # the log signed two trees that cannot both be


@dataclass(frozen=True, slots=True)
class Head:
    """A tree head under the log's verified signature."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Role:
    """One cosigning key."""

    key: Verifier
    sign: Signer

    @classmethod
    def named(cls, name: str, public: bytes, sign: Signer) -> Role:
        return cls(Verifier(name, public, Algorithm.COSIGNATURE_V1), sign)

    def cosign(self, note: Note, time_s: int) -> Note:
        return note.with_signature(notes.cosign(note, self.key, self.sign, time_s))


def witness_opinion(last: Head | None, offered: Head, proof: Sequence[bytes]) -> Opinion:
    """May the witness sign `offered` after `last`? `proof` leads from `last` to `offered`; it need not be
    believed, it is checked here."""
    if last is None or last.size == 0:
        return Opinion.COSIGN
    if offered.size == last.size:
        return Opinion.COSIGN if offered.root == last.root else Opinion.FRAUD
    if offered.size < last.size:
        return Opinion.KNOWN
    consistent = merkle.verify_consistency(last.size, offered.size, proof, last.root, offered.root)
    return Opinion.COSIGN if consistent else Opinion.WAIT


def mirror_opinion(stored: Head, offered: Head) -> Opinion:
    """`stored` is what the mirror holds, recomputed from its leaves at the offered size or below it."""
    if stored.size < offered.size:
        return Opinion.WAIT
    return Opinion.COSIGN if stored == offered else Opinion.FRAUD


def fit(base: Frontier, choices: Sequence[Sequence[bytes]], root: bytes) -> tuple[bytes, ...] | None:
    """Pick one candidate hash a leaf so that the tree over `base` and the picks has the signed `root`.

    Leaves come without a signature of their own: whoever holds the broker can slip some in, and only a
    checkpoint tells which are true. Where candidates compete, at most 64 combinations are tried; beyond
    that the caller throws the range away and asks for it again.
    """
    settled = next((at for at, options in enumerate(choices) if len(options) > 1), len(choices))
    common = [options[0] for options in choices[:settled]]
    start = base.copy().extend(common)
    for picks in itertools.islice(itertools.product(*choices[settled:]), MAX_COMBINATIONS):
        if start.copy().extend(picks).root() == root:
            return (*common, *picks)
    return None
