"""A box's ledger from its files alone, read-only: beside a running daemon, or without one."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

from edge_agent.errors import FormatError, LedgerError
from edge_agent.export.proofs import LedgerView
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import leaf as leaves
from edge_agent.ledger import parts
from edge_agent.ledger.checkpoint import Verifier
from edge_agent.ledger.merkle import HASH_BYTES
from edge_agent.ledger.wire import WitnessNote

CACHED_PARTS = 4  # of 4 MiB each


class BoxLedger:
    """Opens `directory` for proofs under its newest signed checkpoint. Close it when done; one thread.

    Raises LedgerError when there is no checkpoint, or when it is not by `key`.
    """

    def __init__(self, directory: Path, key: Verifier) -> None:
        self._directory = directory
        self._key = key
        try:
            self._own = (directory / "checkpoint").read_text(encoding="utf-8")
            self._hashes = os.open(directory / "hashes", os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, UnicodeDecodeError) as error:
            raise LedgerError(f"{directory}: no signed ledger that can be read here: {error}") from error
        self._cache: OrderedDict[Path, tuple[bytes, parts.Scan]] = OrderedDict()
        self._size = notes.open_checkpoint(self._own, key)[0].size
        self._stretches = parts.overlay(parts.list_parts(directory), self._size)

    def close(self) -> None:
        os.close(self._hashes)

    def view(self) -> LedgerView:
        cosigned, witnessed = self._notes()
        return LedgerView(self._key, self.entries, self.node, self._own, cosigned, witnessed)

    def entries(self, first: int, count: int) -> list[bytes]:
        """The leaves [first, first + count); one whose body is gone comes as its hash."""
        found = []
        for stretch in self._stretches:
            for index in range(max(first, stretch.first), min(first + count, stretch.end)):
                found.append((index, self._leaf(stretch, index)))
        bodies = {index: leaf for index, leaf in found if leaf is not None}
        wanted = range(first, min(first + count, self._size))
        return [bodies.get(index) or leaves.pruned(self.node(0, index)) for index in wanted]

    def node(self, level: int, index: int) -> bytes:
        """The hash of a perfect subtree; where it stands is told in docs/ledger.md, "Files"."""
        last = ((index + 1) << level) - 1
        entry = 2 * last - last.bit_count() + level
        hash_ = os.pread(self._hashes, HASH_BYTES, entry * HASH_BYTES)
        if len(hash_) != HASH_BYTES:
            raise LedgerError(f"{self._directory}: node {level}/{index} is missing; run `ledger verify`")
        return hash_

    def _leaf(self, stretch: parts.Stretch, index: int) -> bytes | None:
        content, scan = self._part(stretch.part.path)
        at = index - stretch.part.first
        return parts.leaf_at(content, scan.offsets[at]) if at < len(scan.offsets) else None

    def _part(self, path: Path) -> tuple[bytes, parts.Scan]:
        known = self._cache.get(path)
        if known is None:
            try:
                content = path.read_bytes()
            except OSError as error:
                raise LedgerError(f"{path}: {error.strerror}") from error
            known = self._cache[path] = (content, parts.scan(content))
            while len(self._cache) > CACHED_PARTS:
                self._cache.popitem(last=False)
        return known

    def _notes(self) -> tuple[str, str]:
        """The mirror's and the witness's note; empty when none is kept, or it is ahead of what is here."""
        try:
            kept = WitnessNote.decode((self._directory / "cosigned").read_bytes())
            return self._within(kept.mirror), self._within(kept.witness)
        except (OSError, FormatError, LedgerError):
            return "", ""

    def _within(self, note: str) -> str:
        return note if notes.open_checkpoint(note, self._key)[0].size <= self._size else ""
