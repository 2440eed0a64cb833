"""The hash file: every leaf hash and every node of the tree, kept for ever, each found by one `pread`.

A leaf's hash is followed at once by the nodes which that leaf completes, so the file only grows: leaf i
stands at entry 2i - popcount(i), and node (l, k) l entries after the last leaf that it covers. Two hashes a
leaf, 64 bytes; 400 days of minute marks are 38 MB. Everything in it derives from the leaves, so it is never
synced on its own: recovery believes it up to the newest signed checkpoint and recomputes the rest.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edge_agent.errors import LedgerError
from edge_agent.ledger import merkle
from edge_agent.ledger.merkle import HASH_BYTES, Frontier


class HashFile:
    """One writer (the ledger thread); any thread may read nodes of leaves below `size`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        entries = os.fstat(self._fd).st_size // HASH_BYTES
        self._frontier = merkle.frontier_at(self.node, _leaves_in(entries))

    @property
    def size(self) -> int:
        return self._frontier.size

    def close(self) -> None:
        os.close(self._fd)

    def node(self, level: int, index: int) -> bytes:
        """The hash of a perfect subtree. Any thread."""
        last_leaf = ((index + 1) << level) - 1
        entry = _entry(last_leaf) + level
        hash_ = os.pread(self._fd, HASH_BYTES, entry * HASH_BYTES)
        if len(hash_) != HASH_BYTES:
            raise LedgerError(f"{self._path}: node {level}/{index} is missing; run `ledger verify`")
        return hash_

    def leaf_hashes(self, first: int, count: int) -> list[bytes]:
        return [self.node(0, index) for index in range(first, first + count)]

    def root(self, size: int) -> bytes:
        return merkle.span_root(self.node, 0, size)

    def append(self, hashes: Sequence[bytes]) -> None:
        """Write leaf hashes and the nodes they complete. Ledger thread only; not durable by itself."""
        offset = _entry(self._frontier.size) * HASH_BYTES
        grown = self._frontier.copy()
        entries = b"".join(made for hash_ in hashes for made in grown.append(hash_))
        _write_all(self._fd, entries, offset)
        self._frontier = grown

    def rewind(self, size: int) -> None:
        """Forget the leaves from `size` on: recovery and rollback repair only."""
        self._frontier = merkle.frontier_at(self.node, size)

    def trim(self) -> None:
        """Cut off what lies beyond `size`: hashes of leaves that did not survive. Recovery only."""
        os.ftruncate(self._fd, _entry(self.size) * HASH_BYTES)

    def frontier(self, size: int) -> Frontier:
        return merkle.frontier_at(self.node, size)


def _entry(leaf: int) -> int:
    """How many entries come before leaf `leaf`: one a leaf and one a completed node."""
    return 2 * leaf - leaf.bit_count()


def _leaves_in(entries: int) -> int:
    """The number of leaves that are complete, with their nodes, in so many entries."""
    low, high = 0, entries
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _entry(middle) <= entries else (low, middle - 1)
    return low


def _write_all(fd: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
