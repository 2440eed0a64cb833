"""The Merkle tree of RFC 6962 section 2.1 (the same tree as RFC 9162): hashes, roots and proofs. Pure.

A *node* (level, index) is the hash of a perfect subtree: level 0 are the leaves, node (l, k) covers the
leaves k * 2**l up to (k + 1) * 2**l. Whoever can look nodes up gets every root and proof in O(log n).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

NodeLookup = Callable[[int, int], bytes]
Span = tuple[int, int]


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 || leaf): the prefix keeps a leaf from posing as a node."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The peaks of a growing tree: enough to append and to name the root, whatever the size.

    Not thread-safe; O(log n) memory.
    """

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        if size.bit_count() != len(peaks):
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} peaks, not {len(peaks)}")
        self._size = size
        self._peaks = list(peaks)

    @property
    def size(self) -> int:
        return self._size

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """Hashes of the perfect subtrees that make up the tree, largest first."""
        return tuple(self._peaks)

    def append(self, hash_: bytes) -> list[bytes]:
        """Add one leaf hash; returns it and the nodes that it completes, from the leaf upwards."""
        made = [hash_]
        merges = (self._size ^ (self._size + 1)).bit_length() - 1
        for _ in range(merges):
            made.append(node_hash(self._peaks.pop(), made[-1]))
        self._peaks.append(made[-1])
        self._size += 1
        return made

    def extend(self, hashes: Iterable[bytes]) -> Frontier:
        for hash_ in hashes:
            self.append(hash_)
        return self

    def root(self) -> bytes:
        return _fold(self._peaks)

    def copy(self) -> Frontier:
        return Frontier(self._size, self._peaks)


def root(hashes: Sequence[bytes]) -> bytes:
    """The tree head over a list of leaf hashes."""
    return Frontier().extend(hashes).root()


def nodes_of(hashes: Sequence[bytes]) -> NodeLookup:
    """A lookup over leaf hashes in memory; computes nodes on demand."""

    def look_up(level: int, index: int) -> bytes:
        if level == 0:
            return hashes[index]
        return node_hash(look_up(level - 1, 2 * index), look_up(level - 1, 2 * index + 1))

    return look_up


def span_root(nodes: NodeLookup, start: int, end: int) -> bytes:
    """The head of the leaves [start, end), where `start` is aligned as in a whole tree's right edge."""
    return _fold([nodes(level, index) for level, index in _perfect(start, end)])


def frontier_at(nodes: NodeLookup, size: int) -> Frontier:
    return Frontier(size, [nodes(level, index) for level, index in _perfect(0, size)])


def inclusion(nodes: NodeLookup, index: int, size: int) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size` leaves, RFC 6962 section 2.1.1."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    return [span_root(nodes, start, end) for start, end in _path_spans(index, 0, size)]


def consistency(nodes: NodeLookup, old: int, new: int) -> list[bytes]:
    """The proof that the tree of `old` leaves is a prefix of that of `new`, RFC 6962 section 2.1.2."""
    if not 0 <= old <= new:
        raise ValueError(f"no tree of {old} leaves comes before one of {new}")
    if old in (0, new):
        return []
    return [span_root(nodes, start, end) for start, end in _subproof_spans(old, 0, new, whole=True)]


def verify_inclusion(hash_: bytes, index: int, size: int, proof: Sequence[bytes], root_: bytes) -> bool:
    """RFC 9162 section 2.1.3.2: does the leaf with this hash stand at `index` under `root_`?"""
    if not 0 <= index < size:
        return False
    node, last, seen = index, size - 1, hash_
    for part in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            seen = node_hash(part, seen)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            seen = node_hash(seen, part)
        node, last = node >> 1, last >> 1
    return last == 0 and seen == root_


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """RFC 9162 section 2.1.4.2: is the tree under `old_root` a prefix of that under `new_root`?"""
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    if not 0 < old < new or not proof:
        return False
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    older = newer = path[0]
    for part in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            older, newer = node_hash(part, older), node_hash(part, newer)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            newer = node_hash(newer, part)
        node, last = node >> 1, last >> 1
    return last == 0 and older == old_root and newer == new_root


def _fold(peaks: Sequence[bytes]) -> bytes:
    if not peaks:
        return EMPTY_ROOT
    head = peaks[-1]
    for peak in reversed(peaks[:-1]):
        head = node_hash(peak, head)
    return head


def _perfect(start: int, end: int) -> Iterator[Span]:
    """The nodes (level, index) that tile [start, end), largest first."""
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def _path_spans(index: int, start: int, end: int) -> list[Span]:
    if end - start == 1:
        return []
    middle = start + _split(end - start)
    if index < middle:
        return [*_path_spans(index, start, middle), (middle, end)]
    return [*_path_spans(index, middle, end), (start, middle)]


def _subproof_spans(old: int, start: int, end: int, *, whole: bool) -> list[Span]:
    if old == end:
        return [] if whole else [(start, end)]
    middle = start + _split(end - start)
    if old <= middle:
        return [*_subproof_spans(old, start, middle, whole=whole), (middle, end)]
    return [*_subproof_spans(old, middle, end, whole=False), (start, middle)]


def _split(count: int) -> int:
    """The largest power of two smaller than `count`."""
    return 1 << ((count - 1).bit_length() - 1)
