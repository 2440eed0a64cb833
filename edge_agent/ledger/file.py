"""The ledger on disk: append, sync, read, recover. One writer thread; any thread reads.

Steps of one sync, in order: write frames, `fdatasync` the part, write hashes, move `size`. Only then may the
new size be signed. A failed write or sync is never retried on the same file: its leaves go verbatim into a
new part. Opening believes the hash file up to the newest checkpoint that we signed, and the leaves beyond it.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from edge_agent import durable
from edge_agent.ledger import leaf as leaves_
from edge_agent.ledger import merkle, parts
from edge_agent.ledger.checkpoint import Checkpoint
from edge_agent.ledger.hashes import HashFile
from edge_agent.ledger.parts import Part, Scan, Stretch

PART_BYTES = 4 * 1024 * 1024
CACHED_SCANS = 8


@dataclass(frozen=True, slots=True)
class Recovery:
    """What opening found; `contradicts` means: what we once signed is not what we hold now."""

    size: int
    signed: int  # leaves under our newest signed checkpoint that is still true
    torn: bool
    damaged: int  # leaves whose hash is known but whose body cannot be read
    contradicts: bool


class LedgerFile:
    """`directory` must exist. `signed` is our newest own checkpoint, its signature already checked."""

    def __init__(self, directory: Path, signed: Checkpoint | None = None) -> None:
        self._directory = directory
        self._parts = parts.list_parts(directory)
        self._hashes = HashFile(directory / "hashes")
        self._scans: dict[Path, Scan] = {}
        self._lock = Lock()
        self._fd: int | None = None
        self._size = 0
        self._stretches: list[Stretch] = []
        self.recovery = self._recover(signed)

    # -- reading, any thread --------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many leaves are durable."""
        return self._size

    @property
    def nodes(self) -> merkle.NodeLookup:
        return self._hashes.node

    def leaf_hash(self, index: int) -> bytes:
        return self._hashes.node(0, index)

    def root(self, size: int) -> bytes:
        return self._hashes.root(size)

    def frontier(self, size: int) -> merkle.Frontier:
        """The peaks of the tree of the first `size` leaves."""
        return self._hashes.frontier(size)

    def entries(self, first: int, count: int) -> list[bytes]:
        """The leaves [first, first + count) that exist; one that cannot be read comes as its hash."""
        end = min(first + count, self._size)
        stretches = self._stretches
        at = max(0, bisect_right(stretches, first, key=lambda stretch: stretch.first) - 1)
        pruned = range(first, min(end, stretches[0].first if stretches else end))
        found = [leaves_.pruned(self.leaf_hash(index)) for index in pruned]
        for stretch in stretches[at:]:
            if stretch.first >= end:
                break
            found += self._entries_of(stretch, max(first, stretch.first), min(end, stretch.end))
        return found

    # -- writing, ledger thread only ------------------------------------------------------------------------

    def append(self, batch: Sequence[bytes]) -> int:
        """Write leaves and make them durable; returns the index of the first.

        On `OSError` nothing has become part of the ledger and the part is given up: call again with the same
        leaves and they go into a new one.
        """
        first = self._size
        content = b"".join(parts.frame(leaf) for leaf in batch)
        try:
            fd = self._writable_part(len(content))
            durable.write_all(fd, content)
            os.fdatasync(fd)
            self._hashes.append([merkle.leaf_hash(leaf) for leaf in batch])
        except OSError:
            self._leave_part()
            raise
        self._publish(first + len(batch))
        return first

    def replace_from(self, base: int, batch: Sequence[bytes]) -> None:
        """Let `batch` stand from index `base` on, all of it or none: rollback repair.

        What stood there stays on disk, in its old part. A crash leaves either the old or the new state.
        """
        self._leave_part()
        part = self._next_part(base)
        durable.replace(part.path, b"".join(parts.frame(leaf) for leaf in batch))
        self._parts = [*self._parts, part]
        self._hashes.rewind(base)
        self._hashes.append([merkle.leaf_hash(leaf) for leaf in batch])
        self._publish(base + len(batch))

    def prune(self, before: int) -> int:
        """Unlink the parts that hold only leaves below `before`; their hashes stay. Returns how many."""
        needed = {stretch.part.path for stretch in self._stretches if stretch.end > before}
        gone = [part for part in self._parts if part.path not in needed and part.first < before]
        gone = [part for part in gone if part.sequence < max(p.sequence for p in self._parts)]
        self._parts = [part for part in self._parts if part not in gone]
        self._publish(self._size)
        for part in gone:
            part.path.unlink()
        durable.sync_directory(self._directory)
        return len(gone)

    def close(self) -> None:
        self._leave_part()
        self._hashes.close()

    # -- steps ----------------------------------------------------------------------------------------------

    def _recover(self, signed: Checkpoint | None) -> Recovery:
        trusted = self._trusted(signed)
        self._hashes.rewind(trusted)
        readable, torn = self._rebuild_from(trusted)
        self._hashes.trim()
        size = max(trusted, readable)
        last = self._parts[-1] if self._parts else None
        if last and not torn and readable == size:
            self._fd = os.open(last.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            os.fsync(self._fd)  # leaves that a killed process wrote but never synced
        self._publish(size)
        contradicts = signed is not None and (signed.size > size or self.root(signed.size) != signed.root)
        sure = 0 if contradicts or signed is None else signed.size
        return Recovery(size, sure, torn, max(0, trusted - readable), contradicts)

    def _trusted(self, signed: Checkpoint | None) -> int:
        """How far the hash file is believed: our own signature vouches for it.

        Without one only the pruned leaves are taken from it, because nothing else knows them any more.
        """
        if signed and self._hashes.size >= signed.size and self._hashes.root(signed.size) == signed.root:
            return signed.size
        stretches = parts.overlay(self._parts, 2**62)
        return min(stretches[0].first if stretches else 0, self._hashes.size)

    def _rebuild_from(self, trusted: int) -> tuple[int, bool]:
        """Hash the leaves beyond `trusted`. Returns how far leaves can be read, and if a tail is torn."""
        stretches = parts.overlay(self._parts, 2**62)
        reached, torn = 0, False
        for stretch in stretches:
            if stretch.end <= trusted and stretch is not stretches[-1]:
                reached = stretch.end
                continue
            if stretch.first > max(reached, trusted):
                return reached, True  # a hole beyond the last signature: what follows has no known place
            content = stretch.part.path.read_bytes()
            scan = parts.scan(content)
            reached = min(stretch.first + len(scan.offsets), stretch.end)
            fresh = range(self._hashes.size - stretch.first, reached - stretch.first)
            hashes = _hashes_at(content, [scan.offsets[i] for i in fresh])
            self._hashes.append(hashes)
            torn = scan.torn or len(hashes) < len(fresh)
            if len(hashes) < len(fresh):
                return self._hashes.size, torn
        return reached, torn

    def _entries_of(self, stretch: Stretch, first: int, end: int) -> list[bytes]:
        try:
            with stretch.part.path.open("rb", buffering=0) as file:
                scan = self._scan(stretch)
                start = stretch.part.first
                have = min(end, start + len(scan.offsets))
                found = [self._checked(file.fileno(), scan, i, i - start) for i in range(first, have)]
        except FileNotFoundError:  # pruned
            found = []
        missing = range(first + len(found), end)
        return found + [leaves_.pruned(self.leaf_hash(index)) for index in missing]

    def _checked(self, fd: int, scan: Scan, index: int, at: int) -> bytes:
        offset = scan.offsets[at]
        following = scan.offsets[at + 1] if at + 1 < len(scan.offsets) else scan.end
        leaf = parts.leaf_at(os.pread(fd, following - offset, offset), 0)
        hash_ = self.leaf_hash(index)
        return leaf if leaf and merkle.leaf_hash(leaf) == hash_ else leaves_.pruned(hash_)

    def _scan(self, stretch: Stretch) -> Scan:
        """Where each frame of a part begins, from the cache if it reaches far enough."""
        wanted = stretch.end - stretch.part.first
        with self._lock:
            known = self._scans.pop(stretch.part.path, None)
            if known is None or len(known.offsets) < wanted:  # it grows, or a write was under way
                known = _scan_further(stretch.part.path, known)
            self._scans[stretch.part.path] = known
            while len(self._scans) > CACHED_SCANS:
                del self._scans[next(iter(self._scans))]
            return known

    def _publish(self, size: int) -> None:
        self._stretches = parts.overlay(self._parts, size)
        self._size = size

    def _writable_part(self, incoming: int) -> int:
        if self._fd is not None and os.fstat(self._fd).st_size + incoming > PART_BYTES:
            self._leave_part()
        if self._fd is None:
            part = self._next_part(self._size)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._parts = [*self._parts, part]
            self._fd = os.open(part.path, flags, 0o640)
            durable.sync_directory(self._directory)
        return self._fd

    def _next_part(self, first: int) -> Part:
        sequence = self._parts[-1].sequence + 1 if self._parts else 1
        return Part(self._directory / parts.part_name(sequence, first), sequence, first)

    def _leave_part(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _scan_further(path: Path, known: Scan | None) -> Scan:
    start = known.end if known else 0
    with path.open("rb") as file:
        file.seek(start)
        more = parts.scan(file.read())
    offsets = known.offsets[:] if known else more.offsets[:0]
    offsets.extend(offset + start for offset in more.offsets)
    return Scan(offsets, more.end + start, more.torn)


def _hashes_at(content: bytes, offsets: Sequence[int]) -> list[bytes]:
    """Leaf hashes of the frames at `offsets`, up to the first that cannot be read."""
    found: list[bytes] = []
    for offset in offsets:
        leaf = parts.leaf_at(content, offset)
        if leaf is None:
            break
        found.append(merkle.leaf_hash(leaf))
    return found
